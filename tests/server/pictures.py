"""The pictures of the console in the documents, taken from a real server.

    CLOCHE_CHROMIUM=/usr/bin/chromium python -m tests.server.pictures docs/images

Everything on them happened, but for one thing: the runs of the overview are moved back over the
last hour, which nobody would wait for.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx

from cloche import tool
from cloche.exec.errors import RuntimeFailedError
from cloche.script.tools import ToolSet

ROOT = Path(__file__).parents[2]
WIDTH = 1200
HOUR_NS = 3_600_000_000_000
TIME_NS_MAX = 2**63 - 1
RUN_COUNT = 160
PROGRAMS = (
    ("python", "import json\nprint(json.dumps({'sum': sum(range(1000))}))"),
    ("python", "rows = sorted((n * 7919 % 1009 for n in range(20000)))\nprint(rows[-1])"),
    ("javascript", "console.log([3, 1, 2].toSorted().join())"),
    ("typescript", "const total: number = [1, 2, 3].reduce((a, b) => a + b);\nconsole.log(total)"),
    ("python", "import statistics\nprint(statistics.median([4, 1, 9]))"),
)
FAILING = ("python", "raise ValueError('no such order')")
INVOICES = """const orders = await tools.open_orders({month: "March"});
for (const order of orders.filter((order) => order.cents > 0)) {
  // Everything above 1,000 needs a person.
  await tools.send_invoice({
    customer: order.customer,
    amount: order.cents,
    text: "Your order of March.\\nThank you!",
    urgent: false,
  });
}
"""
LETTER = """// Whoever ordered most gets a letter.
const orders = [3, 11, 7];
const most = Math.max(...orders);
const twice = await tools.double({number: most});
console.log("most:", most, "twice:", twice);
await tools.place({name: "letter"});
return await tools.send({to: "ann"});
"""


@tool(requires_approval=False)
def open_orders(month: str) -> list[dict[str, str | int]]:
    """Return the orders that have no invoice yet.

    Args:
        month: of the orders.
    """
    return [{"customer": "Ada Ltd", "cents": 125_000, "month": month}]


@tool(requires_approval=True)
def send_invoice(customer: str, amount: int, text: str, urgent: bool) -> str:
    """Send an invoice.

    Args:
        customer: who gets it.
        amount: in cents.
        text: above the sum.
        urgent: whether it goes out today.
    """
    return f"{customer}: {amount} {text} {urgent}"


def tools() -> ToolSet:
    """Return the tools of the scripts."""
    from .tools import double, place, send

    return ToolSet(open_orders, send_invoice, send, double, place)


TOOLS = tools()


def take(folder: Path) -> None:
    """Take all pictures into a folder."""
    from .process import SECRETS_KEY, serving

    options = ["--tools", "tests.server.pictures:TOOLS"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        settings = {
            "PYTHONPATH": str(ROOT),
            "CLOCHE_SECRET_STORE": str(place / "net.db"),
            "CLOCHE_SECRET_KEY": SECRETS_KEY,
        }
        with serving(place, *options, **settings) as server:
            key = server.key
            _run_programs(server)
            server.stop()
        _spread(place / "s.db")
        with serving(place, *options, **settings) as server:
            server.key = key
            _photograph(server, folder)


def _run_programs(server) -> None:
    chance = random.Random(7)
    with server.client() as client:
        for _ in range(RUN_COUNT):
            language, code = FAILING if chance.random() < 0.06 else chance.choice(PROGRAMS)
            with suppress(RuntimeFailedError):
                client.run(code, language=language)


def _spread(store: Path) -> None:
    """Move runs back over the last hour, in their order."""
    chance, now_ns = random.Random(8), time.time_ns()
    with closing(sqlite3.connect(store)) as database, database:
        rows = database.execute("SELECT id, created_ns FROM runs ORDER BY created_ns").fetchall()
        ages = sorted((chance.randrange(HOUR_NS) for _ in rows), reverse=True)
        for (run_id, created_ns), age_ns in zip(rows, ages, strict=True):
            moved_ns = now_ns - age_ns
            database.execute(
                "UPDATE runs SET ended_ns = ended_ns + ?, created_ns = ? WHERE id = ?",
                (moved_ns - created_ns, moved_ns, run_id),
            )
            database.execute(
                "UPDATE documents SET name = ? WHERE name LIKE ?",
                (f"{TIME_NS_MAX - moved_ns:019d}.{run_id}", f"%.{run_id}"),
            )


def _photograph(server, folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    from .test_console_browser import Tab

    found = os.environ.get("CLOCHE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = Tab(browser, server, viewport={"width": WIDTH, "height": 600})
        tab.sign_in(server.key)
        _picture(tab, folder / "console-overview.png", "light")
        bearer = {"authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=server.url, headers=bearer, timeout=60) as asker:
            _photograph_scripts(tab, asker, folder)
            _photograph_app(tab, server, asker, folder)
        browser.close()


def _photograph_scripts(tab, asker, folder: Path) -> None:
    asker.post("/v1/scripts", json={"source": INVOICES, "session": "billing"}).raise_for_status()
    tab.page.goto("/console/approvals")
    tab.page.get_by_role("link", name="send_invoice").click()
    _picture(tab, folder / "console-approval.png", "dark")
    script = asker.post("/v1/scripts", json={"source": LETTER, "session": "mail"}).json()
    tab.page.goto("/console/approvals")
    tab.page.get_by_role("link", name="send", exact=True).click()
    tab.page.get_by_label("to", exact=True).fill("bob")
    tab.page.get_by_role("button", name="Approve", exact=True).click()
    tab.page.wait_for_selector("text=is approved, with changed arguments.")
    tab.page.goto(f"/console/scripts/{script['id']}")
    tab.page.wait_for_selector(".status.completed >> text=/^completed$/")
    _picture(tab, folder / "console-script.png", "light")


def _photograph_app(tab, server, asker, folder: Path) -> None:
    from .test_console_browser import _deploy, _visit

    for version in ("one", "two", "three"):
        _deploy(server, "shop", version)
        for visitor in ("ann", "bob"):
            _visit(server, visitor)
    _visit(server, "mallory")
    asker.post("/v1/apps/shop/env", json={"set": {"COLOR": "blue"}}).raise_for_status()
    tab.page.goto("/console/apps/shop")
    tab.page.get_by_role("button", name="Roll back").click()
    tab.page.wait_for_selector("text=v2 answers")
    tab.page.get_by_label("Of 100 clients, for version 3").select_option("10")
    tab.page.get_by_role("button", name="Let version 3 be the canary").click()
    tab.page.wait_for_selector("text=v3 answers 10 of 100")
    _picture(tab, folder / "console-app.png", "light", height=1280)


def _picture(tab, path: Path, scheme: str, height: int = 1400) -> None:
    """Take a picture of a page, or of its upper part."""
    tab.page.wait_for_load_state()
    tab.page.emulate_media(color_scheme=scheme)
    whole = tab.page.evaluate("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": min(height, whole)}
    tab.page.screenshot(path=path, full_page=True, clip=clip)


if __name__ == "__main__":
    take(Path(sys.argv[1]))

"""The console in a real browser: the story of a person, live output, no errors, accessible."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from cloche.exec.errors import RuntimeFailedError

from .process import serving
from .test_scripts_story import replayed

playwright = pytest.importorskip("playwright.sync_api")

BROWSER = os.environ.get("CLOCHE_CHROMIUM") or shutil.which("chromium")
AXE = os.environ.get("CLOCHE_AXE")  # axe.min.js of the package axe-core
PICTURES = os.environ.get("CLOCHE_PICTURES")  # a folder: keep a picture of each page
ASKING = "import cloche\ntry:\n    cloche.idempotency_key()\nexcept Exception:\n    pass"
SENDING = """// Whoever ordered most gets a letter.
const orders = [3, 11, 7];
const most = Math.max(...orders);
const twice = await tools.double({number: most});
console.log("most:", most, "twice:", twice);
await tools.place({name: "letter"});
return await tools.send({to: "ann"});
"""
SLOW_SCRIPT = "for (let n = 0; n < 3e7; n++); return await tools.double({number: 1})"
APP = """
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const name = url.searchParams.get("name") ?? "nobody";
    const [seen, theme] = await Promise.all([env.kv.get("seen"), env.kv.get("theme")]);
    await env.kv.set("seen", (seen ?? 0) + 1);
    console.log("hello", name);
    if (name === "mallory") throw new Error("the door stays shut");
    return new Response(`VERSION: hello ${name}`);
  },
};
"""
MANIFEST = {"main": "main.js", "storage": ["kv"], "record": {"sample": 1}}
SLOW = "import time\nprint('first', flush=True)\nfor n in range(3):\n    print(n)"

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium; CLOCHE_CHROMIUM names one"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real server."""
    folder = tmp_path_factory.mktemp("console")
    settings = {
        "CLOCHE_SECRET_STORE": str(folder / "net.db"),
        "CLOCHE_SECRET_KEY": b64encode(bytes(32)).decode(),
    }
    with serving(folder, **settings) as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    """A browser."""
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """A tab, and what went wrong in it."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(base_url=server.url, **options)
        self.page = self.context.new_page()
        self.problems = []
        self.page.on("console", self._say)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.page.on("request", lambda request: self._ask(request.url, server.url))

    def _say(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _ask(self, url, own):
        if not url.startswith(own):
            self.problems.append(f"asked for {url}")

    def sign_in(self, key):
        """Sign in."""
        self.page.goto("/console")
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("text=Sign out")

    def look(self, name):
        """Hold a page against what holds for every page, and keep a picture of it if asked."""
        self.page.wait_for_load_state()  # a click does not wait for the style of where it leads
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert self.page.evaluate(wide), f"{name} is wider than the window"
        if PICTURES:
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                path = Path(PICTURES) / f"{name}-{scheme}.png"
                self.page.screenshot(path=path, full_page=True)
        if AXE:
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.page.evaluate(Path(AXE).read_text())
                found = self.page.evaluate("axe.run()")["violations"]
                assert not [
                    (each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found
                ], (name, scheme)
        assert not self.problems, (name, self.problems)


def test_the_story_of_a_person(server, chromium):
    """Signs in, runs a program, and works in a session."""
    tab = Tab(chromium, server, viewport={"width": 1200, "height": 800})
    page = tab.page
    page.goto("/console")
    tab.look("sign-in")
    tab.sign_in(server.key)
    with server.client() as client:
        for number in range(12):
            with suppress(RuntimeFailedError):
                client.run(f"assert {number} % 5\nprint({number})", language="python")
    page.reload()
    tab.look("overview")

    page.get_by_role("link", name="Runs", exact=True).click()
    tab.look("runs")
    page.get_by_text("Run a program").click()
    page.get_by_label("Program", exact=True).fill(SLOW)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".status.completed")
    assert page.locator("[data-stream=stdout]").inner_text() == "first\n0\n1\n2\n"
    tab.look("run")

    page.get_by_role("link", name="Sessions", exact=True).click()
    page.get_by_label("Name (may be left out)").fill("notes")
    page.get_by_role("button", name="New session").click()
    page.get_by_label("Program", exact=True).fill("open('a.txt', 'w').write('hello')\nb = 2")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".status.completed")
    page.get_by_label("Program", exact=True).fill("print(b * 21)")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector("text=42")
    page.wait_for_selector(".status.completed")
    tab.look("session")
    page.get_by_role("link", name="a.txt").click()
    assert page.locator("pre").inner_text() == "hello"
    tab.look("file")
    page.go_back()
    _upload_and_fork(tab)
    page.get_by_role("button", name="Go back to operation 1").click()
    page.wait_for_selector("text=as it was after operation 1")
    page.get_by_role("link", name="Sessions", exact=True).click()
    tab.look("sessions")


def _upload_and_fork(tab):
    """Upload two files into a session, go another way in a fork, and come back."""
    page = tab.page
    chosen = [{"name": f"{each}.csv", "mimeType": "text/csv", "buffer": b"1,2"} for each in "xy"]
    page.get_by_label("Upload files to this folder").set_input_files(chosen)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_selector("text=2 files, 6 B, are in /.")
    page.get_by_role("button", name="Snapshot", exact=True).click()
    page.get_by_label("Name of the fork").fill("another way")
    page.get_by_role("button", name="Fork", exact=True).click()
    page.wait_for_selector("text=This is the fork")
    page.get_by_label("Program", exact=True).fill("print(b)")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_selector(".status.completed")
    tab.look("session-tree")
    page.locator(".tree").get_by_role("link", name="notes").click()


def test_what_an_operator_sets_up(server, chromium):
    """Hosts are allowed and explained, secrets kept, keys made; signing out ends it."""
    tab = Tab(chromium, server, viewport={"width": 1200, "height": 800})
    page = tab.page
    tab.sign_in(server.key)
    page.get_by_role("link", name="Egress", exact=True).click()
    page.get_by_label("Entry", exact=True).fill("GET https://api.example.com/v1")
    page.get_by_role("button", name="Add").click()
    page.get_by_label("URL", exact=True).fill("https://api.example.com/v2")
    page.get_by_role("button", name="Explain").click()
    page.wait_for_selector("text=but not this path")
    tab.look("egress")
    page.get_by_role("link", name="Secrets", exact=True).click()
    page.get_by_label("Name", exact=True).fill("API_KEY")
    page.get_by_label("Value", exact=True).fill("correct-horse-battery")
    page.get_by_label("Hosts it may go to").fill("api.example.com")
    page.get_by_role("button", name="Keep").click()
    page.wait_for_selector("text=Secret API_KEY is kept.")
    tab.look("secrets")
    page.get_by_role("link", name="Limits", exact=True).click()
    tab.look("limits")
    page.get_by_role("link", name="Keys", exact=True).click()
    page.get_by_text("Make a key").click()
    page.get_by_label("run", exact=True).check()
    page.get_by_role("button", name="Make", exact=True).click()
    page.wait_for_selector("text=The new key.")
    tab.look("keys")
    page.get_by_role("link", name="Approvals", exact=True).click()
    tab.look("approvals")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("text=It begins with")
    assert not tab.problems


def test_what_an_operator_looks_after(server, chromium):
    """A webhook is added, pinged and listed; a tenant gets a limit; both are in the audit."""
    tab = Tab(chromium, server, viewport={"width": 1200, "height": 800})
    page = tab.page
    tab.sign_in(server.key)
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_label("URL (https").fill("https://hooks.example.com/cloche")
    page.get_by_role("button", name="Add").click()
    page.wait_for_selector("text=It is shown this once")
    tab.look("webhook-made")
    page.get_by_role("button", name="Ping").click()
    page.wait_for_selector("text=A ping is on its way.")
    tab.look("webhook")
    page.get_by_role("link", name="Webhooks", exact=True).click()
    tab.look("webhooks")
    page.get_by_role("link", name="Tenants", exact=True).click()
    tab.look("tenants")
    page.get_by_role("link", name="default", exact=True).click()
    page.get_by_label("Sessions of default").fill("500")
    page.get_by_role("button", name="Set").click()
    page.wait_for_selector("text=The limits hold from now on.")
    tab.look("tenant")
    page.get_by_role("link", name="Audit", exact=True).click()
    tab.look("audit")


def test_effects_and_approvals(tmp_path, chromium):
    """An effect unfolds below its bar; a script waits through a SIGKILL for a person's answer."""
    root = str(Path(__file__).parents[2])
    options = ["--tools", "tests.server.tools:TOOLS"]
    settings = {"PYTHONPATH": root, "CLOCHE_SECRET_STORE": str(tmp_path / "net.db")}
    with serving(tmp_path, *options, **settings) as server:
        key, first = server.key, Tab(chromium, server)
        with httpx.Client(base_url=server.url, headers=_bearer(key)) as asker:
            body = {"code": ASKING, "language": "python", "policy": {"durable": {"allow": ["*"]}}}
            run = asker.post("/v1/run", json=body).json()
            script = asker.post("/v1/scripts", json={"source": SENDING, "session": "mail"}).json()
        assert script["status"] == "suspended"
        first.sign_in(key)
        first.page.goto(f"/console/runs/{run['id']}")
        first.page.locator(".timeline a").first.click()
        first.page.wait_for_selector(".timeline .card >> text=Completion")
        first.look("run-effects")
        first.page.goto(f"/console/scripts/{script['id']}")
        first.page.wait_for_selector("text=It waits for 1 decision.")
        first.page.locator(".timeline a").first.click()
        first.page.wait_for_selector(".timeline .card >> text=Completion")
        first.look("script-waiting")
        server.kill()
    with serving(tmp_path, *options, **settings) as server:
        tab = Tab(chromium, server)
        tab.sign_in(key)
        tab.page.goto("/console/approvals")
        tab.look("approvals-waiting")
        tab.page.get_by_role("link", name="send", exact=True).click()
        tab.look("approval")
        tab.page.get_by_label("to", exact=True).fill("bob")
        tab.page.get_by_role("button", name="Approve", exact=True).click()
        tab.page.wait_for_selector("text=is approved, with changed arguments.")
        path = f"/v1/scripts/{script['id']}"
        with httpx.Client(base_url=server.url, headers=_bearer(key)) as asker:
            for _ in range(100):
                found = asker.get(path).json()
                if found["status"] == "completed":
                    break
                tab.page.wait_for_timeout(100)
        assert (found["status"], found["value"]) == ("completed", "sent to bob")
        assert replayed(tmp_path, script["id"], options[1])["value"] == "sent to bob"
        _look_at_a_script(tab, server, key, script["id"])


def _look_at_a_script(tab, server, key, script_id):
    """Undo what a script did, and see another one end by itself."""
    tab.page.get_by_role("link", name="Scripts", exact=True).click()
    tab.look("scripts")
    tab.page.get_by_role("link", name=script_id[:12]).click()
    tab.look("script")
    tab.page.get_by_role("button", name="Roll back").click()
    tab.page.wait_for_selector("text=Some of its calls could not be undone.")
    with httpx.Client(base_url=server.url, headers=_bearer(key)) as asker:
        body = {"source": SLOW_SCRIPT, "wait": False}
        slow = asker.post("/v1/scripts", json=body).json()
    tab.page.goto(f"/console/scripts/{slow['id']}")
    tab.page.wait_for_selector(".status.completed")
    assert not tab.problems


def _bearer(key):
    return {"authorization": f"Bearer {key}"}


def _deploy(server, name, version):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps({**MANIFEST, "name": name}))
        files.writestr("main.js", APP.replace("VERSION", version))
    headers = {**_bearer(server.key), "content-type": "application/zip"}
    url = f"{server.url}/v1/apps/{name}/versions"
    answer = httpx.post(url, content=out.getvalue(), headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text


def _visit(server, name, app="shop"):
    return httpx.get(f"{server.url}/apps/{app}/", params={"name": name}, timeout=30)


def test_an_app(server, chromium):
    """An app is watched, taken back, given a canary, and a request of it runs again."""
    tab = Tab(chromium, server, viewport={"width": 1200, "height": 800})
    page = tab.page
    tab.sign_in(server.key)
    page.get_by_role("link", name="Apps", exact=True).click()
    page.wait_for_selector("h1 >> text=Apps")
    for version in ("one", "two", "three"):
        _deploy(server, "shop", version)
        for name in ("ann", "bob"):
            assert _visit(server, name).text == f"{version}: hello {name}"
    assert _visit(server, "mallory").status_code == 500
    page.reload()
    tab.look("apps")
    page.get_by_role("link", name="shop", exact=True).click()
    page.get_by_label("Name", exact=True).fill("COLOR")
    page.get_by_label("Value", exact=True).fill("blue")
    page.get_by_role("button", name="Set", exact=True).click()
    page.wait_for_selector("text=COLOR has a new value.")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_selector("text=v2 answers")
    page.get_by_label("Of 100 clients, for version 3").select_option("10")
    page.get_by_role("button", name="Let version 3 be the canary").click()
    page.wait_for_selector("text=v3 answers 10 of 100")
    tab.look("app")

    page.get_by_role("link", name="All of it, live").click()
    page.wait_for_selector("text=What is written from now on appears here.")
    _visit(server, "<b>eve</b>")
    page.wait_for_selector(".log >> text=hello <b>eve</b>")
    tab.look("app-logs")
    page.go_back()
    page.get_by_role("link", name="More of them").click()
    tab.look("app-requests")
    page.get_by_role("row", name="mallory").get_by_role("link").click()
    page.locator(".timeline a").nth(1).click()
    page.wait_for_selector(".timeline .card >> text=Completion")
    page.get_by_role("button", name="Replay").click()
    page.wait_for_selector("text=Replayed: the same bytes. Status 500")
    tab.look("app-request")


def test_a_phone(server, chromium):
    """On a narrow screen nothing is wider than the screen."""
    tab = Tab(chromium, server, viewport={"width": 360, "height": 740}, has_touch=True)
    tab.sign_in(server.key)
    with server.client() as client:
        client.run("print('x' * 500)", language="python")
    _deploy(server, "pocket", "one")
    _visit(server, "ann", app="pocket")
    names = (
        "runs scripts sessions approvals egress secrets limits keys webhooks audit apps"
        " tenants tenants/default apps/pocket apps/pocket/logs apps/pocket/requests"
    )
    for name in names.split():
        tab.page.goto(f"/console/{name}")
        tab.look(f"phone-{name.replace('/', '-')}")
    tab.page.goto("/console")
    tab.look("phone-overview")
    tab.page.get_by_role("link", name=re.compile("^[0-9a-f]{12}$")).first.click()
    tab.look("phone-run")


def test_long_names(server, chromium):
    """What has a long name, or none, makes no page wider than the window."""
    name, word = "n" * 200, "w" * 250
    with httpx.Client(base_url=server.url, headers=_bearer(server.key), timeout=60) as asker:
        session = asker.post("/v1/sessions", json={"language": "python", "name": name}).json()
        code = f"open('{name}', 'w').write('{word}')\nopen('empty', 'w')\nimport os\nos.mkdir('d')"
        asker.post(f"/v1/sessions/{session['id']}/run", json={"code": code})
        hook = asker.post("/v1/webhooks", json={"url": f"https://hooks.example.com/{word}"}).json()
        asker.post("/v1/net/allowlist", json={"entry": f"GET https://long.example.com/{word}"})
        _deploy(server, "long", "one")
        _visit(server, word, app="long")
        asker.post("/v1/apps/long/env", json={"set": {"N" * 120: "v"}})
        asked = asker.get("/v1/apps/long/requests").json()["items"][0]["id"]
    place = f"sessions/{session['id']}"
    paths = (
        f"{place} {place}/file?path=/{name} {place}/file?path=/empty sessions egress webhooks"
        f" webhooks/{hook['id']} egress?url=https://a.example.com/{word} apps/long"
        f" apps/long/requests apps/long/requests/{asked} audit"
    )
    for width in (1200, 390):
        tab = Tab(chromium, server, viewport={"width": width, "height": 800})
        tab.sign_in(server.key)
        for number, path in enumerate(paths.split()):
            tab.page.goto(f"/console/{path}")
            tab.look(f"long-{width}-{number}")


def test_a_connection_that_is_over(server, chromium):
    """Where a browser does not try again by itself, the page says what to do."""
    _deploy(server, "over", "one")
    tab = Tab(chromium, server)
    tab.sign_in(server.key)
    tab.page.route("**/tail?*", lambda route: route.fulfill(content_type="text/html", body=""))
    tab.page.goto("/console/apps/over/logs")
    tab.page.wait_for_selector("text=The server has ended the connection. Load the page again")


def test_the_keyboard(server, chromium):
    """The first Tab leads to a link over the sections, and what has the focus is seen."""
    tab = Tab(chromium, server)
    tab.sign_in(server.key)
    tab.page.goto("/console/runs")
    tab.page.keyboard.press("Tab")
    skip = tab.page.locator(":focus")
    assert skip.inner_text() == "Skip to content"
    assert skip.bounding_box()["x"] >= 0
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.page.evaluate(outline) == "solid"
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "main"

"""Measures hosted apps: requests a second of one core, without a network.

    python bench/apps.py            a table
    python bench/apps.py --json     for machines
    python bench/apps.py --quick    fewer repetitions
    python bench/apps.py --http     a server on one processor, 32 connections of wrk on the other

Without `--http` a request goes through `AppHost.handle`: input, run, effects, checked response.
Time is that of the process (all its threads), so what the pool does off the critical path counts,
too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cloche.apps.adapters.host import AppHost
from cloche.apps.bundle import bundle_of
from cloche.apps.manifest import find_manifest
from cloche.apps.messages import AppRequest, Collected
from cloche.exec.adapters.runner import Runner
from cloche.exec.api import default_runner
from cloche.gate.adapters.memory import MemorySink
from cloche.limits import Limits

if TYPE_CHECKING:
    from cloche.apps.adapters.builder import BuiltApp

LIMITS = Limits()
JAVASCRIPT = """
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    return new Response(`hello ${pathname} ${request.headers.get("accept")}`);
  },
};
"""
PYTHON = """
def handle(request):
    return f"hello {request.path} {request.headers.get('accept')}"
"""
REQUEST = AppRequest(
    method="GET",
    target="/greet/someone?lang=en",
    lines=(
        (b"host", b"app.example"),
        (b"user-agent", b"bench/1.0 (of requests that look like requests)"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"accept-language", b"en-US,en;q=0.9"),
        (b"cookie", b"session=0123456789abcdef0123456789abcdef"),
    ),
    host="app.example",
    scheme="https",
    client="192.0.2.1",
)
CASES = (
    ("JavaScript, fresh instance", JAVASCRIPT, "main.js", "fresh", False, 2000),
    ("JavaScript, fresh instance, recorded", JAVASCRIPT, "main.js", "fresh", True, None),
    ("JavaScript, warm instance", JAVASCRIPT, "main.js", "warm", False, 5000),
    ("Python, fresh instance", PYTHON, "main.py", "fresh", False, None),
    ("Python, warm instance", PYTHON, "main.py", "warm", False, None),
)


def built(host: AppHost, code: str, main: str, instances: str) -> BuiltApp:
    """Return a version of this code."""
    manifest = json.dumps({"name": "bench", "instances": instances}).encode()
    bundle = bundle_of({main: code.encode(), "cloche.app.json": manifest}, LIMITS)
    return host.build(bundle, find_manifest(bundle, LIMITS))


def measure(host: AppHost, app: BuiltApp, *, record: bool, count: int) -> dict[str, float]:
    """Return microseconds of a request: of the processor, and of who waits."""
    waits = []
    for index in range(count + 20):
        if index == 20:
            began = time.process_time()
        started = time.perf_counter()
        reply = Collected()
        host.handle(app, REQUEST, reply, record=MemorySink() if record else None)
        waits.append(time.perf_counter() - started)
        if reply.status != 200:
            sys.exit(f"status {reply.status}: {bytes(reply.body).decode()}")
    processor_us = (time.process_time() - began) / count * 1e6
    return {
        "processor_us": round(processor_us, 1),
        "requests_per_s": round(1e6 / processor_us),
        "median_us": round(statistics.median(waits[20:]) * 1e6, 1),
    }


def through_server(options: argparse.Namespace) -> None:
    """Measure what a server with these apps does, and print it."""
    import apps_http

    apps, names = {}, {}
    for name, code, main_path, instances, record, _ in CASES:
        if record or options.only not in name:
            continue  # a server keeps the journal of every request until it ended well
        app = f"{main_path.removeprefix('main.')}-{instances}"
        manifest = json.dumps({"name": app, "instances": instances}).encode()
        apps[app], names[app] = (
            {main_path: code.encode(), "cloche.app.json": manifest},
            name,
        )
    if options.only in "a file":
        static = json.dumps({"name": "files", "static": {"folder": "public"}}).encode()
        apps["files"] = {"public/greet/someone": b"hello", "cloche.app.json": static}
        names["files"] = "a file"
    rows = apps_http.measure(apps, 2 if options.quick else 8)
    print(json.dumps({names[app]: row for app, row in rows.items()}, indent=1))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Measure hosted apps.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--http", action="store_true", help="through a server")
    parser.add_argument("--only", default="", help="rows with this word")
    options = parser.parse_args()
    if options.http:
        through_server(options)
        return
    count = 200 if options.quick else 2000
    host = AppHost(Runner(default_runner().images, pool_size=2), LIMITS)
    rows = {}
    for name, code, main_path, instances, record, target in CASES:
        if options.only not in name:
            continue
        app = built(host, code, main_path, instances)
        rows[name] = {**measure(host, app, record=record, count=count), "target": target}
        host.release(app)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("", "requests/s a core", "processor µs", "median µs", "target /s, with network")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row['requests_per_s']:,}",
            str(row["processor_us"]),
            str(row["median_us"]),
            "" if row["target"] is None else f"{row['target']:,}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()

"""Hosted apps over HTTP: one processor for the server, the other for 32 clients (see apps.py)."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cloche.apps.bundle import bundle_of
from cloche.apps.open import open_apps
from cloche.apps.routing import AppName
from cloche.limits import Limits
from cloche.store.open import open_store
from server import Serving, wait_ready

CLIENT_COUNT = 32
WARM_S = 1
LINES = (
    "User-Agent: bench/1.0 (of requests that look like requests)",
    "Accept: */*",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-US,en;q=0.9",
    "Cookie: session=0123456789abcdef0123456789abcdef",
)


def deploy(folder: Path, apps: dict[str, dict[str, bytes]]) -> None:
    """Put apps into the store that `Serving` opens."""
    limits = Limits()
    opened = open_apps(open_store(str(folder / "s.db")), limits)
    for name, files in apps.items():
        opened.deploy(AppName(tenant="default", name=name), bundle_of(files, limits), who="bench")
    opened.host.close()


def measure(apps: dict[str, dict[str, bytes]], seconds: float) -> dict[str, dict[str, Any]]:
    """Return requests a second, processor time and times of requests for `GET /greet/someone`."""
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        deploy(Path(folder), apps)
        serving = Serving(Path(folder), 1, {processors[0]})
        try:
            wait_ready(serving)
            return {
                name: _load(serving, name, "/greet/someone?lang=en", seconds, processors[-1])
                for name in apps
            }
        finally:
            serving.stop()


def _load(
    serving: Serving, app: str, target: str, seconds: float, processor: int
) -> dict[str, Any]:
    _wrk(serving, app, target, WARM_S, processor)
    before = serving.processor_s()
    text = _wrk(serving, app, target, seconds, processor)
    spent = sum(serving.processor_s()) - sum(before)
    found = re.search(r"(\d+) requests in ([\d.]+)s", text)
    shares = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", text))
    if found is None or "Non-2xx" in text:
        raise SystemExit(text)
    count = int(found[1])
    return {
        "processor_us": round(spent / count * 1e6, 1),
        "requests_per_s": round(count / spent),
        "measured_per_s": round(count / float(found[2])),
        "p50": shares["50"],
        "p99": shares["99"],
        "load": round(os.getloadavg()[0], 1),
    }


def _wrk(serving: Serving, app: str, target: str, seconds: float, processor: int) -> str:
    lines = (f"Host: {app}.localhost:{serving.port}", *LINES)
    command = [
        *("taskset", "-c", str(processor), "wrk", "-t1", f"-c{CLIENT_COUNT}", "--latency"),
        f"-d{max(1, round(seconds))}s",
        *(part for line in lines for part in ("-H", line)),
        f"http://127.0.0.1:{serving.port}{target}",
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout

"""The server under load: one processor for the server and its workers, the other for the clients.

    python bench/server.py [--seconds 5] [--clients 32] [--workers 1] [--only WORD] [--json]

Each row starts `cloche serve` on a store of its own, lets it run a few programs, and then asks for
`POST /v1/run` from so many connections at once for a while. The rate is of answers, the times are
of one request as its client sees it, the processor time is that of the server and its workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = {"JavaScript": ("javascript", "console.log(1)"), "Python": ("python", "print(1)")}
# (name, language, fields of the request, least requests a second that a row has to reach)
ROWS = [
    ("JavaScript, not kept", "JavaScript", {"keep": False}, 1500),
    ("Python, not kept", "Python", {"keep": False}, 600),
    ("JavaScript, kept", "JavaScript", {}, None),
    ("Python, kept", "Python", {}, None),
]
TAIL_MAX = 6  # p99 at most so many times p50
WARM_S = 1.0
KEY = re.compile(r"admin key, shown once: (\S+)")
ADDRESS = re.compile(r"cloche serves http://127\.0\.0\.1:(\d+)")
TICKS = os.sysconf("SC_CLK_TCK")


class Serving:
    """A server on one processor, with its workers."""

    def __init__(self, folder: Path, workers: int, processors: set[int], *options: str) -> None:
        command = [
            *(sys.executable, "-c", "from cloche.cli import main; main()", "serve"),
            *("--bind", "127.0.0.1:0", "--store", str(folder / "s.db")),
            *("--workers", str(workers)),
            *options,
        ]
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, processors)  # what a process starts has the same
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(0, before)
        self.key = self.port = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := KEY.match(line):
                self.key = match[1]
            if match := ADDRESS.match(line):
                self.port = match[1]
                return
        raise SystemExit("the server did not start")

    def pids(self) -> list[int]:
        """Return the server and its workers."""
        found = [self.process.pid]
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                found += map(int, (task / "children").read_text().split())
        return found

    def processor_s(self) -> list[float]:
        """Return the processor time of each of them so far."""
        found = []
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found.append((int(fields[11]) + int(fields[12])) / TICKS)
        return found

    def memory_mb(self) -> list[float]:
        """Return the private memory of each of them."""
        found = []
        for pid in self.pids():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            private = re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)
            found.append(sum(map(int, private)) / 1024)
        return found

    def stop(self) -> None:
        """Let it end."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Client(asyncio.Protocol):
    """One connection that asks for the same again and again."""

    def __init__(self, request: bytes, times: list[float], until: float) -> None:
        self._request, self._times, self._until = request, times, until
        self._held = b""
        self.done = asyncio.get_running_loop().create_future()
        self.bad_count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and ask again."""
        self._held += data
        head, mark, rest = self._held.partition(b"\r\n\r\n")
        match = re.search(rb"content-length: (\d+)", head)
        if not mark or match is None or len(rest) < int(match[1]):
            return
        now = time.perf_counter()
        self._times.append(now - self._began)
        if not head.startswith(b"HTTP/1.1 200") or b'"completed"' not in rest:
            self.bad_count += 1
        self._held = b""
        if now < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Say that it is over."""
        if not self.done.done():
            self.done.set_result(None)


async def load(
    serving: Serving, body: bytes, clients: int, seconds: float
) -> tuple[list[float], int]:
    """Return the time of each request, and how many were answered badly."""
    request = (
        b"POST /v1/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        % (serving.key.encode(), len(body), body)
    )
    loop, times = asyncio.get_running_loop(), list[float]()
    until = time.perf_counter() + seconds
    made = [
        await loop.create_connection(
            lambda: Client(request, times, until), "127.0.0.1", int(serving.port)
        )
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return times, sum(client.bad_count for _, client in made)


def measure(
    row: tuple[str, str, dict[str, object], int | None], options: argparse.Namespace
) -> dict:
    """Return the numbers of one row."""
    name, program, fields, target = row
    language, code = PROGRAMS[program]
    body = json.dumps({"language": language, "code": code, **fields}).encode()
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(Path(folder), options.workers, {processors[0]})
        os.sched_setaffinity(0, {processors[-1]})
        try:
            wait_ready(serving)
            asyncio.run(load(serving, body, options.clients, WARM_S))
            before = serving.processor_s()
            began = time.perf_counter()
            times, bad_count = asyncio.run(load(serving, body, options.clients, options.seconds))
            took = time.perf_counter() - began
            spent = [
                after - first for after, first in zip(serving.processor_s(), before, strict=True)
            ]
            memory = serving.memory_mb()
        finally:
            serving.stop()
            os.sched_setaffinity(0, set(processors))
    times.sort()
    count = len(times)
    return {
        "name": name,
        "target": target,
        "rate": count / took,
        "bad": bad_count,
        "p50_ms": times[count // 2] * 1000,
        "p99_ms": times[count * 99 // 100] * 1000,
        "server_us": spent[0] / count * 1e6,
        "workers_us": sum(spent[1:]) / count * 1e6,
        "per_core": count / sum(spent),
        "memory_mb": memory,
    }


def wait_ready(serving: Serving) -> None:
    """Wait until the server takes runs."""
    import http.client

    for _ in range(600):
        connection = http.client.HTTPConnection("127.0.0.1", int(serving.port))
        connection.request("GET", "/readyz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.1)
    raise SystemExit("the server did not become ready")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = [measure(row, options) for row in ROWS if options.only in row[0]]
    if options.json:
        print(json.dumps(found))
        return
    print("| what | requests/s | a core of processor time | p50 | p99 / p50 | server | workers |")
    print("|---|---|---|---|---|---|---|")
    for row in found:
        tail = row["p99_ms"] / row["p50_ms"]
        print(
            f"| {row['name']} | {row['rate']:.0f} | {row['per_core']:.0f} | {row['p50_ms']:.1f} ms "
            f"| {tail:.1f} | {row['server_us']:.0f} µs | {row['workers_us']:.0f} µs |"
            + (f"  ({row['bad']} bad)" if row["bad"] else "")
        )


if __name__ == "__main__":
    main()

"""A server at work for minutes: does anything grow that should not?

    python bench/soak.py [--minutes 4] [--rate 60] [--workers 1] [--neighbour]

A `cloche serve` with its workers gets a mixture of requests at a steady rate, whatever it answers:
runs (kept and not), sessions with files, scripts, an app with storage, streams. The rate is about
70 % of what the machine takes; the processor time that is printed says how much it was. For each
minute: the times of requests as clients see them, private memory and descriptors of the server and
its workers, and what the machine itself did: the longest that the disk took for one small durable
write beside the server's, and the longest that a thread which only sleeps was late. The last lines
compare the first minute behind the warm-up with the last one.

With `--neighbour` two tenants ask for runs: one at a steady rate, alone at first and then while
the other asks at ten times its rate limit.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import re
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from server import Serving, wait_ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

APP = """
export default {
  async fetch(request, env) {
    const count = ((await env.kv.get("count")) ?? 0) + 1;
    await env.kv.set("count", count);
    console.log("asked", count);
    return new Response(String(count));
  },
};
"""
TOOLS = """
from cloche import tool
from cloche.script.tools import ToolSet

@tool(requires_approval=False)
def double(number: int) -> int:
    '''Double a number.

    Args:
        number: which.
    '''
    return 2 * number

TOOLS = ToolSet(double)
"""
SESSION_COUNT = 8
OPEN_COUNT_MAX = 200  # requests under way; beyond that the server does not keep up
MINUTE_S = 60.0
CONNECTIONS = 16  # of one tenant of two
PROBE_S = 0.05


def archive() -> bytes:
    """Return the app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.js", APP)
        files.writestr("cloche.app.json", '{"name": "soak", "main": "main.js", "storage": ["kv"]}')
    return out.getvalue()


class Mixture:
    """Requests of every kind, in turns."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._numbers = itertools.count()
        kinds = [
            self.run,
            self.lost,
            self.lost,
            self.app,
            self.app,
            self.stream,
            self.script,
            self.session,
            self.file,
            self.look,
        ]
        self._kinds = itertools.cycle(kinds)

    def next(self) -> Callable[[], Awaitable[httpx.Response]]:
        """Return what is asked next."""
        return next(self._kinds)

    async def run(self) -> httpx.Response:
        """Run a program that is kept."""
        body = {"language": "python", "code": f"print({next(self._numbers)})"}
        return await self._http.post("/v1/run", json=body)

    async def lost(self) -> httpx.Response:
        """Run a program that is not kept."""
        body = {"language": "javascript", "code": "console.log(1)", "keep": False}
        return await self._http.post("/v1/run", json=body)

    async def app(self) -> httpx.Response:
        """Ask the app."""
        return await self._http.get("/", headers={"host": "soak.localhost"})

    async def stream(self) -> httpx.Response:
        """Hear a run; every third listener leaves in the middle."""
        body = {"language": "python", "code": "for n in range(20): print(n, flush=True)"}
        headers = {"accept": "text/event-stream"}
        is_left = next(self._numbers) % 3 == 0
        async with self._http.stream("POST", "/v1/run", json=body, headers=headers) as answer:
            async for _ in answer.aiter_bytes():
                if is_left:
                    break
        return answer

    async def script(self) -> httpx.Response:
        """Run a script that calls a tool."""
        source = "return await tools.double({number: 21})"
        return await self._http.post("/v1/scripts", json={"source": source, "tools": "soak"})

    def _session(self) -> str:
        return f"/v1/sessions/soak-{next(self._numbers) % SESSION_COUNT}"

    async def session(self) -> httpx.Response:
        """Run in a session."""
        return await self._http.post(f"{self._session()}/run", json={"code": "x = 1\nprint(x)"})

    async def file(self) -> httpx.Response:
        """Write a file of a session."""
        content = bytes(next(self._numbers) % 256 for _ in range(100)) * 40
        return await self._http.put(f"{self._session()}/files/f", content=content)

    async def look(self) -> httpx.Response:
        """List runs."""
        return await self._http.get("/v1/runs?limit=20")


class Probe(threading.Thread):
    """Watches the machine: how long it lets a durable write and a sleeper wait."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._file = (folder / "probe").open("wb", buffering=0)
        self._disk_s = self._late_s = 0.0

    def run(self) -> None:
        """Write and sleep for as long as the process lives."""
        while True:
            began = time.perf_counter()
            self._file.seek(0)
            self._file.write(bytes(4096))
            os.fdatasync(self._file.fileno())
            wrote = time.perf_counter()
            time.sleep(PROBE_S)
            self._disk_s = max(self._disk_s, wrote - began)
            self._late_s = max(self._late_s, time.perf_counter() - wrote - PROBE_S)

    def longest_ms(self) -> tuple[float, float]:
        """Return the longest durable write and the latest sleeper since the last question."""
        found = self._disk_s * 1000, self._late_s * 1000
        self._disk_s = self._late_s = 0.0
        return found


class Minute:
    """What was seen in a while."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.bad: dict[str, int] = {}

    def percentile_ms(self, share: float) -> float:
        """Return the time that so many requests did not take longer than."""
        found = sorted(self.times)
        return found[min(len(found) - 1, int(len(found) * share))] * 1000 if found else 0.0


async def ask(what: Callable[[], Awaitable[httpx.Response]], minute: Minute) -> None:
    """Ask once, and note how long it took."""
    began = time.perf_counter()
    try:
        answer = await what()
    except httpx.HTTPError as error:
        minute.bad[type(error).__name__] = minute.bad.get(type(error).__name__, 0) + 1
        return
    minute.times.append(time.perf_counter() - began)
    if answer.status_code >= 300:
        name = str(answer.status_code)
        minute.bad[name] = minute.bad.get(name, 0) + 1


async def steadily(
    next_one: Callable[[], Callable[[], Awaitable[httpx.Response]]],
    rate: float,
    seconds: float,
    minute: Minute,
) -> None:
    """Ask at a rate for a while, whatever is answered and however late."""
    tasks: set[asyncio.Task[None]] = set()
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        if len(tasks) >= OPEN_COUNT_MAX:
            minute.bad["not asked"] = minute.bad.get("not asked", 0) + 1
            continue
        task = asyncio.ensure_future(ask(next_one(), minute))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


def descriptors(serving: Serving) -> int:
    """Return how many descriptors the server and its workers have."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in serving.pids())


def client_of(serving: Serving) -> httpx.AsyncClient:
    """Return a client of a server."""
    headers = {"authorization": f"Bearer {serving.key}"}
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    url = f"http://127.0.0.1:{serving.port}"
    return httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60)


async def soak(serving: Serving, options: argparse.Namespace, probe: Probe) -> list[dict[str, Any]]:
    """Return a row for each minute."""
    rows = []
    async with client_of(serving) as http:
        (await http.post("/v1/apps/soak/versions", content=archive())).raise_for_status()
        for number in range(SESSION_COUNT):
            body = {"language": "python", "name": f"soak-{number}"}
            (await http.post("/v1/sessions", json=body)).raise_for_status()
        mixture = Mixture(http)
        await steadily(mixture.next, options.rate, options.warm, Minute())
        for number in range(1, options.minutes + 1):
            minute, before = Minute(), sum(serving.processor_s())
            probe.longest_ms()
            await steadily(mixture.next, options.rate, options.minute, minute)
            disk_ms, late_ms = probe.longest_ms()
            await asyncio.sleep(1)
            memory = serving.memory_mb()
            row = {
                "minute": number,
                "requests": len(minute.times),
                "bad": minute.bad,
                "p50_ms": minute.percentile_ms(0.5),
                "p99_ms": minute.percentile_ms(0.99),
                "server_mb": memory[0],
                "workers_mb": sum(memory[1:]),
                "descriptors": descriptors(serving),
                "disk_ms": disk_ms,
                "late_ms": late_ms,
                "processors": (sum(serving.processor_s()) - before) / options.minute,
            }
            print(
                f"| {number} | {row['requests']} | {row['p50_ms']:.1f} ms | {row['p99_ms']:.0f} ms "
                f"| {row['server_mb']:.0f} MB | {row['workers_mb']:.0f} MB "
                f"| {row['descriptors']} | {row['processors']:.2f} | {disk_ms:.0f} ms "
                f"| {late_ms:.0f} ms | {minute.bad or ''} |",
                flush=True,
            )
            rows.append(row)
    return rows


def verdict(rows: list[dict[str, Any]]) -> None:
    """Say what grew from the first minute to the last."""
    first, last = rows[0], rows[-1]
    for name, share, least in (
        ("p50_ms", 1.5, 5.0),
        ("p99_ms", 1.5, 50.0),
        ("server_mb", 1.1, 16.0),
        ("workers_mb", 1.1, 16.0),
        ("descriptors", 1.1, 16.0),
    ):
        grew = last[name] - first[name] > least and last[name] > first[name] * share
        says = "GROWS" if grew else "does not grow"
        print(f"{name}: {first[name]:.1f} -> {last[name]:.1f}: {says}")


async def plainly(serving: Serving, key: str, rate: float, seconds: float, minute: Minute) -> None:
    """Ask for a small run at a rate, over connections that cost their client next to nothing."""
    body = b'{"language": "javascript", "code": "console.log(1)", "keep": false}'
    request = (
        b"POST /v1/run HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        % (key.encode(), len(body), body)
    )
    turns, began = itertools.count(), time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(serving.port))
        while (number := next(turns)) < rate * seconds:
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            asked = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            status = head[9:12].decode()
            if status == "200":
                minute.times.append(time.perf_counter() - asked)
            else:
                minute.bad[status] = minute.bad.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


async def neighbours(serving: Serving, options: argparse.Namespace) -> None:
    """Say what one tenant sees of another that asks for ten times what it may."""
    allowed = 60  # runs a second that a tenant may begin
    keys = {}
    async with client_of(serving) as http:
        for tenant in ("quiet", "loud"):
            body = {"scopes": ["run"], "tenant": tenant}
            keys[tenant] = (await http.post("/v1/keys", json=body)).json()["key"]
            limits = {"tenant_run_rate_limit": allowed * 60, "tenant_run_burst_max": allowed}
            answer = await http.put(f"/v1/tenants/{tenant}", json={"limits": limits})
            answer.raise_for_status()
    alone, beside, other = Minute(), Minute(), Minute()
    rate, seconds = allowed / 2, options.minute / 3
    await plainly(serving, keys["quiet"], rate, 3, Minute())
    await plainly(serving, keys["quiet"], rate, seconds, alone)
    await asyncio.gather(
        plainly(serving, keys["quiet"], rate, seconds, beside),
        plainly(serving, keys["loud"], allowed * 10, seconds, other),
    )
    for name, minute in (("alone", alone), ("beside the loud one", beside), ("loud", other)):
        print(
            f"{name}: {len(minute.times)} requests, p50 {minute.percentile_ms(0.5):.1f} ms, "
            f"p99 {minute.percentile_ms(0.99):.1f} ms {minute.bad or ''}"
        )
    times = beside.percentile_ms(0.99) / alone.percentile_ms(0.99)
    print(f"p99 beside the loud one is {times:.1f} times that alone")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=4)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--warm", type=float, default=20.0, help="seconds before the first minute")
    parser.add_argument("--minute", type=float, default=MINUTE_S, help="seconds of a minute")
    parser.add_argument("--neighbour", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "soak_tools.py").write_text(TOOLS)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, (folder, os.environ.get("PYTHONPATH")))
        )
        sys.path.insert(0, folder)
        serving = Serving(
            Path(folder), options.workers, {processors[0]}, "--tools", "soak=soak_tools:TOOLS"
        )
        os.sched_setaffinity(0, {processors[-1]})
        try:
            wait_ready(serving)
            print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
            if options.neighbour:
                asyncio.run(neighbours(serving, options))
                return
            print(
                "| minute | requests | p50 | p99 | server | workers | descriptors | processors "
                "| longest write | latest sleeper |"
            )
            print("|" + "---|" * 10)
            probe = Probe(Path(folder))
            probe.start()
            rows = asyncio.run(soak(serving, options, probe))
        finally:
            serving.stop()
    verdict(rows)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()

"""What outbound HTTP costs: `python bench/egress.py [--quick] [--json] [--profile WHAT]`.

A server with TLS on loopback, in a process of its own; the egress and plain aiohttp call it from
this one, in turns, so that the machine's moods meet both. CPU time is that of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import ipaddress
import json
import multiprocessing
import pstats
import resource
import ssl
import statistics
import sys
import time

import aiohttp
import trustme
from aiohttp.abc import AbstractResolver

from cloche.egress.adapters.egress import Egress, NetRun
from cloche.egress.allowlist import Entry, NetPolicy, RuleSet, decide
from cloche.egress.budget import RunBudget
from cloche.egress.errors import NetSizeError
from cloche.egress.headers import request_headers
from cloche.egress.message import request_of
from cloche.egress.url import parse_url
from cloche.limits import Limits

HOST = "api.example.com"
BODY = b'{"ok":true,"items":[1,2,3]}'
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    BODY
)
BIG_BYTES = 1 << 30
CALLS_OF_RUN = 20  # what net.max_calls allows at most
HEADERS = {"accept": "application/json", "x-request-id": "0123456789", "user-agent": "bench"}
LIMITS = Limits().replace(
    {
        "net": {
            "max_calls": CALLS_OF_RUN,
            "app_concurrency": 20,
            "concurrency": 100,
            "budget": 10_000,
            "call_timeout": 10_000,
            "cache_max_items": 100,
            "cache_max_bytes": 1 << 20,
        },
        "egress": {"slot_timeout_ms": 60_000, "waiting_count_max": 1000},
    }
)


# --- the server ---


def serve(context, ready):
    """Answer with a small body; with 1 GB at /big, and at /endless without saying how much."""

    async def answer(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                if path in (b"/big", b"/endless"):
                    size = b"Content-Length: %d\r\n" % BIG_BYTES if path == b"/big" else b""
                    writer.write(b"HTTP/1.1 200 OK\r\n" + size + b"Connection: close\r\n\r\n")
                    for _ in range(BIG_BYTES >> 16):
                        writer.write(bytes(1 << 16))
                        await writer.drain()
                        await asyncio.sleep(0)  # so that it is heard when the client has gone
                        if writer.is_closing():
                            break
                    break
                writer.write(SMALL + BODY)
        writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, backlog=500)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def server():
    """Run the server; yield its port and a function that makes contexts trusting it."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)

    def trusting():
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        authority.configure_trust(context)
        return context

    forking = multiprocessing.get_context("fork")  # a context of TLS cannot be sent
    ours, theirs = forking.Pipe()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    process = forking.Process(target=serve, args=(context, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), trusting
    finally:
        process.terminate()
        process.join()


class Loopback(AbstractResolver):
    """Every name is here, for both clients."""

    async def resolve(self, host, port=0, family=0):
        """Return the address of loopback."""
        del family
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": 2,
                "proto": 6,
                "flags": 0,
            }
        ]

    async def close(self):
        """There is nothing to close."""


class Names:
    """The same for the egress."""

    async def resolve(self, host, port):
        """Return the address of loopback."""
        del host, port
        return [ipaddress.IPv4Address("127.0.0.1")]


def make_egress(trusting):
    return Egress(LIMITS, resolver=Names(), check=lambda _: None, tls=trusting())


def make_run(port, app="app", **entry):
    policy = NetPolicy(allow=[Entry(host=HOST, ports=(port,), **entry)])
    return NetRun(run_id="run", app=app, policy=policy, budget=RunBudget(LIMITS))


# --- what is measured ---


async def sequential(port, trusting, count, rounds):
    """Return CPU seconds per call of both clients, the median of some rounds."""
    url = f"https://{HOST}:{port}/v1/items?page=1"
    egress = make_egress(trusting)
    connector = aiohttp.TCPConnector(ssl=trusting(), resolver=Loopback(), use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=10)
    times = {"egress": [], "aiohttp": []}

    async def with_egress(calls):
        run = None
        for index in range(calls):
            if index % CALLS_OF_RUN == 0:
                run = make_run(port)
            request = request_of({"url": url, "headers": HEADERS}, LIMITS)
            response = await egress.fetch(request, run)
            assert response.body == BODY

    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def with_aiohttp(calls):
            for _ in range(calls):
                async with session.get(url, headers=HEADERS) as response:
                    assert await response.read() == BODY

        for work in (with_egress, with_aiohttp):
            await work(50)  # connections, code and caches are warm
        for _ in range(rounds):
            for name, work in (("egress", with_egress), ("aiohttp", with_aiohttp)):
                start = time.process_time()
                await work(count)
                times[name].append((time.process_time() - start) / count)
    await egress.close()
    return {name: statistics.median(found) for name, found in times.items()}


async def concurrent(port, trusting, rounds):
    """Return latencies of 200 calls on their way at once, 10 of each of 20 scopes, and calls/s."""
    egress = make_egress(trusting)
    url = f"https://{HOST}:{port}/v1/items"
    latencies = []

    async def caller(app):
        run = make_run(port, app)
        for _ in range(rounds):
            if run.budget.calls + 1 > CALLS_OF_RUN:
                run = make_run(port, app)
            start = time.perf_counter()
            await egress.fetch(request_of({"url": url}, LIMITS), run)
            latencies.append(time.perf_counter() - start)

    async def all_of_them():
        await asyncio.gather(*(caller(f"app-{index % 20}") for index in range(200)))

    await all_of_them()  # connections are made
    latencies.clear()
    start = time.perf_counter()
    await all_of_them()
    took = time.perf_counter() - start
    await egress.close()
    return sorted(latencies), len(latencies) / took


def rules(count):
    """Return the CPU time of judging URL, lists and headers, for a list of 100 entries."""
    entries = [Entry(host=f"h{index}.example.com", methods=("GET",)) for index in range(98)]
    entries += [Entry(host="*.example.org"), Entry(host=HOST, methods=("GET",), paths=("/v1",))]
    lists = [RuleSet("run", ()), RuleSet("global", entries)]
    urls = [f"https://{HOST}/v1/items/{index}?page=1" for index in range(1000)]
    limit_bytes = LIMITS.egress.url_limit_bytes
    times = []
    for _ in range(10):
        start = time.process_time()
        for index in range(count // 10):
            url = parse_url(urls[index % 1000], limit_bytes=limit_bytes)
            request_headers(HEADERS, LIMITS)
            assert decide(url, "GET", lists).allowed
        times.append((time.process_time() - start) / (count // 10))
    return statistics.median(times)


async def hits(port, trusting, count):
    """Return the CPU time of a call that the cache answers."""
    egress = make_egress(trusting)
    run = make_run(port, cache_ttl_s=60)
    request = request_of({"url": f"https://{HOST}:{port}/v1/items", "headers": HEADERS}, LIMITS)
    await egress.fetch(request, run)
    times = []
    for _ in range(count // CALLS_OF_RUN):
        run = make_run(port, cache_ttl_s=60)
        start = time.process_time()
        for _ in range(CALLS_OF_RUN):
            assert (await egress.fetch(request, run)).cached
        times.append((time.process_time() - start) / CALLS_OF_RUN)
    await egress.close()
    return statistics.median(times)


async def refused(port, trusting):
    """Return how much the process grew at most while 1 GB was refused, in bytes, both ways."""
    egress = make_egress(trusting)
    run = make_run(port)
    await egress.fetch(request_of({"url": f"https://{HOST}:{port}/x"}, LIMITS), run)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in ("/big", "/endless"):
        try:
            await egress.fetch(request_of({"url": f"https://{HOST}:{port}{path}"}, LIMITS), run)
        except NetSizeError:
            continue
        raise AssertionError(f"{path} was not refused")
    await egress.close()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


# --- the table ---


def measure(quick):
    share = 10 if quick else 1
    with server() as (port, trusting):
        grown = asyncio.run(refused(port, trusting))  # first: a high-water mark stays
        cpu = asyncio.run(sequential(port, trusting, 1000 // share, 3 if quick else 7))
        latencies, rate = asyncio.run(concurrent(port, trusting, 20 // share))
        hit = asyncio.run(hits(port, trusting, 20_000 // share))
    p50, p99 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99))
    ratio = cpu["egress"] / cpu["aiohttp"]
    judged = rules(50_000 // share)
    return [
        ("CPU time of a call: egress / aiohttp", 1.35, ratio, "x"),
        ("CPU time of a call: aiohttp", None, cpu["aiohttp"] * 1e6, "µs"),
        ("CPU time of a call: egress", None, cpu["egress"] * 1e6, "µs"),
        ("200 calls at once: p99 / p50", 10, p99 / p50, "x"),
        ("200 calls at once: p50", None, p50 * 1e3, "ms"),
        ("200 calls at once: rate", None, rate, "calls/s"),
        ("URL, lists and headers judged", 15, judged * 1e6, "µs"),
        ("cache hit", 40, hit * 1e6, "µs"),
        ("memory that 1 GB refused takes", 8, grown / (1 << 20), "MB"),
    ]


def profile(what):
    """Print where the time goes."""
    with server() as (port, trusting):
        profiler = cProfile.Profile()
        profiler.enable()
        if what == "rules":
            rules(20_000)
        elif what == "hit":
            asyncio.run(hits(port, trusting, 5000))
        else:
            asyncio.run(sequential(port, trusting, 1000, 1))
        profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", choices=("calls", "rules", "hit"))
    options = parser.parse_args()
    if options.profile:
        profile(options.profile)
        return
    rows = measure(options.quick)
    if options.json:
        names = ("what", "target", "measured", "unit")
        json.dump([dict(zip(names, row, strict=True)) for row in rows], sys.stdout)
        return
    print("| what | at most | measured | met |\n|---|---|---|---|")
    for what, target, value, unit in rows:
        bound = "" if target is None else f"{target} {unit}"
        met = "" if target is None else "yes" if value <= target else "**no**"
        print(f"| {what} | {bound} | {value:.3g} {unit} | {met} |")


if __name__ == "__main__":
    main()

"""The 28 cases that the source plan names, in its order and with its numbers.

Cases 20 and 21 (a guest reads JSON) are in test_cases_in_guests.py.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.egress.support import OK, World, redirect, response, run

from cloche.egress.allowlist import Entry
from cloche.egress.budget import NS_PER_MS
from cloche.egress.errors import (
    NetBlockedError,
    NetBudgetError,
    NetLimitError,
    NetSizeError,
    NetTimeoutError,
)


def refused(url, kind, match, *, allow=("api.example.com",), **world):
    """Check that a call is refused before anything is resolved or sent."""

    async def scenario():
        async with World(**world) as net:
            net.new_run(*allow)
            with pytest.raises(kind, match=match):
                await net.fetch(url)
            assert net.lookups == []

    run(scenario())


def test_01_happy_https():
    """A call to an allowed host over TLS gives its response."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com", answer=response(body=b"hello", X="y"))
            net.allow(server, "api.example.com")
            found = await net.fetch(f"https://api.example.com:{server.port}/a?b=c")
            assert (found.status, found.reason, found.body) == (200, "OK", b"hello")
            assert dict(found.headers) == {"content-length": "5", "x": "y"}
            assert found.url == f"https://api.example.com:{server.port}/a?b=c"
            (request,) = server.requests
            assert request.head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
            assert request.header("host") == [f"api.example.com:{server.port}"]
            assert [r.outcome for r in net.records] == []
            net.egress.flush()
            assert [(r.outcome, r.status) for r in net.records] == [("allowed", 200)]

    run(scenario())


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://127.0.0.1:8080/", id="02"),
        pytest.param("https://192.168.1.1/", id="03"),
        pytest.param("http://169.254.169.254/latest/meta-data/", id="04"),
        pytest.param("https://[::1]/", id="05"),
        pytest.param("https://93.184.216.34/", id="06"),
    ],
)
def test_02_to_06_addresses(url):
    """An address is refused before anything else, private or not."""
    refused(url, NetBlockedError, "is an address")


def test_07_not_allowlisted():
    """A host that no entry names is refused, and its name is not even resolved."""
    refused("https://other.example.com/", NetBlockedError, "not in allowlist")


def test_08_wildcard_matches():
    """A name below a wildcard is called."""

    async def scenario():
        async with World() as net:
            server = await net.server("a.b.example.com")
            net.allow(server, "*.example.com")
            found = await net.fetch(f"https://a.b.example.com:{server.port}/")
            assert found.body == b"ok"

    run(scenario())


def test_09_wildcard_is_not_the_apex():
    """The name that a wildcard stands below is refused."""
    refused("https://example.com/", NetBlockedError, "not in allowlist", allow=["*.example.com"])


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("https://internal.example.com/", "blocked address for internal.example.com: private"),
        ("https://10.0.0.1/", "is an address"),
        ("https://169.254.169.254/latest/", "is an address"),
        ("https://other.example.org/", "redirect to a host that is not allowed"),
    ],
)
def test_10_redirect_to_private(location, match):
    """A redirect passes every rule again, by name and by address."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com", answer=redirect(location))
            net.names["internal.example.com"] = ("10.0.0.1",)
            net.new_run("internal.example.com")
            net.allow(server, "api.example.com")
            with pytest.raises(NetBlockedError, match=match):
                await net.fetch(f"https://api.example.com:{server.port}/")
            assert len(server.requests) == 1

    run(scenario())


def test_11_redirect_to_http():
    """The scheme https is never left, even where the entry allows http."""

    async def scenario():
        async with World() as net:
            plain = await net.server("plain.example.com", tls=False)
            location = f"http://plain.example.com:{plain.port}/"
            server = await net.server("api.example.com", answer=redirect(location))
            net.allow(plain, "plain.example.com", http=True)
            net.allow(server, "api.example.com", http=True)
            with pytest.raises(NetBlockedError, match="from https to http"):
                await net.fetch(f"https://api.example.com:{server.port}/")
            assert plain.requests == []

    run(scenario())


def test_12_more_than_3_redirects():
    """Three redirects are followed, the fourth is refused."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com")

            def answer(request):
                left = int(request.target[1:])
                return redirect(f"/{left - 1}") if left else OK

            server.answer = answer
            net.allow(server, "api.example.com")
            found = await net.fetch(f"https://api.example.com:{server.port}/3")
            assert found.url.endswith("/0")
            assert found.redirected
            with pytest.raises(NetBlockedError, match="too many redirects: 3 were followed"):
                await net.fetch(f"https://api.example.com:{server.port}/4")
            assert len(server.requests) == 8

    run(scenario())


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_13_response_over_1_mib(framing):
    """A body of exactly the limit is whole, one byte more is an error and never cut."""

    def answer(request):
        size = int(request.target[1:])
        if framing == "length":
            return response(body=b"x" * size)
        if framing == "chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
                size,
                b"x" * size,
            )

        async def close(_, writer):
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * size)
            await writer.drain()

        return close

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com", answer=answer)
            net.allow(server, "api.example.com")
            origin = f"https://api.example.com:{server.port}"
            assert len((await net.fetch(f"{origin}/{1 << 20}")).body) == 1 << 20
            with pytest.raises(NetSizeError, match="response body too large"):
                await net.fetch(f"{origin}/{(1 << 20) + 1}")

    run(scenario())


def test_14_the_sixth_call():
    """A run makes five calls; the sixth is refused for good."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com")
            net.allow(server, "api.example.com")
            for _ in range(5):
                await net.fetch(f"https://api.example.com:{server.port}/")
            with pytest.raises(NetLimitError, match=r"net\.max_calls allows 5") as caught:
                await net.fetch(f"https://api.example.com:{server.port}/")
            assert not caught.value.retryable
            assert len(server.requests) == 5

    run(scenario())


def test_15_no_time_left():
    """A call that could not end in what is left of the run's time is refused at once."""

    async def scenario():
        now = [0]
        async with World(clock=lambda: now[0]) as net:
            server = await net.server("api.example.com")
            net.allow(server, "api.example.com")
            net.run.budget.begin(0)
            net.run.budget.end(3990 * NS_PER_MS)
            with pytest.raises(NetBudgetError, match=r"net\.budget = 4000 ms"):
                await net.fetch(f"https://api.example.com:{server.port}/")
            assert server.requests == []

    run(scenario())


@pytest.mark.parametrize(("spent_ms", "allowed"), [(3000, True), (3001, False)])
def test_15_less_than_a_second_left(spent_ms, allowed):
    """How much must be left is a limit: with one second of it, as planned, less is refused."""

    async def scenario():
        now = [0]
        async with World({"egress": {"call_min_ms": 1000}}, clock=lambda: now[0]) as net:
            server = await net.server("api.example.com")
            net.allow(server, "api.example.com")
            net.run.budget.begin(0)
            net.run.budget.end(spent_ms * NS_PER_MS)
            call = net.fetch(f"https://api.example.com:{server.port}/")
            if allowed:
                assert (await call).status == 200
            else:
                with pytest.raises(NetBudgetError):
                    await call
            assert len(server.requests) == allowed

    run(scenario())


class Held:
    """A server that keeps its answers until they are released."""

    def __init__(self):
        self.release = asyncio.Event()
        self.inside = 0

    async def __call__(self, request):
        self.inside += 1
        await self.release.wait()
        return OK


async def until(condition):
    """Wait until a condition holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for is in a server
        await asyncio.sleep(0.001)


def test_16_the_sixth_call_at_once():
    """Five calls of an app are on their way; the sixth waits, then is refused and may retry."""

    async def scenario():
        async with World({"net": {"max_calls": 20}, "egress": {"slot_timeout_ms": 30}}) as net:
            held = Held()
            server = await net.server("api.example.com", answer=held)
            net.allow(server, "api.example.com")
            url = f"https://api.example.com:{server.port}/"
            calls = [asyncio.ensure_future(net.fetch(url)) for _ in range(5)]
            await until(lambda: held.inside == 5)
            with pytest.raises(NetLimitError, match=r"net\.app_concurrency") as caught:
                await net.fetch(url)
            assert caught.value.retryable
            held.release.set()
            assert [r.body for r in await asyncio.gather(*calls)] == [b"ok"] * 5
            assert net.egress.slots.held == 0
            assert (await net.fetch(url)).body == b"ok"

    run(scenario())


def test_17_the_21st_call_at_once():
    """Twenty calls of four apps are on their way; one of a fifth app is refused."""

    async def scenario():
        async with World({"egress": {"slot_timeout_ms": 30}}) as net:
            held = Held()
            server = await net.server("api.example.com", answer=held)
            url = f"https://api.example.com:{server.port}/"
            entry = Entry(host="api.example.com", ports=(server.port,))
            runs = [net.new_run(entry, run_id=f"run-{number}") for number in range(5)]
            calls = [
                asyncio.ensure_future(net.fetch(url, run=runs[number % 4])) for number in range(20)
            ]
            await until(lambda: held.inside == 20)
            with pytest.raises(NetLimitError, match=r"net\.concurrency"):
                await net.fetch(url, run=runs[4])
            held.release.set()
            await asyncio.gather(*calls)
            assert net.egress.slots.held == 0

    run(scenario())


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.1",),
        ("93.184.216.34", "10.0.0.1"),
        ("::ffff:127.0.0.1",),
        ("169.254.169.254",),
        ("64:ff9b::a00:1",),
        (*(["93.184.216.34"] * 20), "192.168.0.1"),
    ],
)
def test_18_a_name_that_resolves_to_private(addresses):
    """One refused address among all that a name has is enough."""

    async def scenario():
        async with World() as net:
            net.names["api.example.com"] = addresses
            net.new_run("api.example.com")
            with pytest.raises(NetBlockedError, match="blocked address for api"):
                await net.fetch("https://api.example.com/")

    run(scenario())


def test_19_timeout_in_the_body():
    """A deadline that passes while the body comes is a timeout, and the connection is closed."""

    async def scenario():
        async with World() as net:

            async def slow(reader, writer):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
                await writer.drain()
                await reader.read()

            server = await net.server("api.example.com", answer=lambda _: slow)
            net.allow(server, "api.example.com")
            with pytest.raises(NetTimeoutError, match="request timed out after 80 ms"):
                await net.fetch(f"https://api.example.com:{server.port}/", timeout_ms=80)
            await until(lambda: server.open_connections == 0)
            assert net.egress.slots.held == 0

    run(scenario())


def test_22_proxies_of_the_environment(monkeypatch):
    """HTTP_PROXY and its like change nothing."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9")
        monkeypatch.setitem(os.environ, name.lower(), "http://127.0.0.1:9")
    test_01_happy_https()


def test_23_no_compression():
    """Identity is asked for whatever a guest says, and what comes encoded is not decoded."""

    async def scenario():
        async with World() as net:
            data = b"\x1f\x8b\x08 not opened"
            server = await net.server(
                "api.example.com", answer=response(body=data, Content_Encoding="gzip")
            )
            net.allow(server, "api.example.com")
            found = await net.fetch(
                f"https://api.example.com:{server.port}/", headers={"Accept-Encoding": "gzip, br"}
            )
            assert found.body == data
            assert server.requests[0].header("accept-encoding") == ["identity"]

    run(scenario())


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("API.Example.COM", id="24"),
        pytest.param("api.example.com.", id="25"),
    ],
)
def test_24_and_25_spellings_of_a_host(host):
    """Upper case and a final dot are the same host, for the list and for the server."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com")
            net.allow(server, "api.example.com")
            await net.fetch(f"https://{host}:{server.port}/")
            assert server.requests[0].header("host") == [f"api.example.com:{server.port}"]
            assert net.lookups == ["api.example.com"]

    run(scenario())


def test_26_the_usual_port():
    """:443 is the port that needs no mention; the call gets as far as the name's address."""

    async def scenario():
        async with World() as net:
            net.new_run("api.example.com")
            net.names["api.example.com"] = ("10.0.0.1",)
            with pytest.raises(NetBlockedError, match="blocked address"):
                await net.fetch("https://api.example.com:443/")

    run(scenario())


def test_27_methods_in_lower_case():
    """The usual methods are sent in upper case."""

    async def scenario():
        async with World() as net:
            server = await net.server("api.example.com")
            net.allow(server, "api.example.com")
            await net.fetch(f"https://api.example.com:{server.port}/", method="post", body="x")
            assert server.requests[0].method == "POST"
            assert server.requests[0].body == b"x"

    run(scenario())


def test_28_a_large_request_is_refused_before_the_dial():
    """A body over net.max_req_body is refused before a name is resolved."""

    async def scenario():
        async with World() as net:
            net.new_run("api.example.com")
            with pytest.raises(NetSizeError, match="request body too large"):
                await net.fetch(
                    "https://api.example.com/", method="POST", body="x" * (1 << 20) + "x"
                )
            assert net.lookups == []

    run(scenario())

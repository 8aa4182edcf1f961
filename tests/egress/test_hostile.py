"""Servers that mean harm: each call ends in its code, in time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import gzip
import ssl

import pytest
import trustme
from tests.egress.patient import clock_ns
from tests.egress.support import OK, World, authority, redirect, response, run

from cloche.egress.allowlist import Entry
from cloche.egress.errors import (
    NetBlockedError,
    NetError,
    NetSizeError,
    NetTimeoutError,
)

QUICK = {
    "egress": {
        "connect_timeout_ms": 300,
        "header_timeout_ms": 200,
        "resolve_timeout_ms": 100,
        "attempt_delay_ms": 20,
        "breaker_failure_count": 0,
    }
}


def attack(behaviour, *, code, reason=None, limits=QUICK, timeout_ms=400, within_s=2.0, **server):
    """Call a server that behaves so, and check how that ends."""

    async def scenario():
        async with World(limits) as net:
            hostile = await net.server(
                "evil.example.com",
                answer=(lambda _: behaviour) if callable(behaviour) else behaviour,
                **server,
            )
            net.allow(hostile, "evil.example.com")
            started_ns = clock_ns()
            with pytest.raises(NetError) as caught:
                await net.fetch(f"https://evil.example.com:{hostile.port}/", timeout_ms=timeout_ms)
            assert (clock_ns() - started_ns) / 1e9 < within_s
            assert caught.value.code == code, caught.value
            assert reason is None or caught.value.reason == reason, caught.value
            assert net.egress.slots.held == net.egress.slots.waiting == 0
            await _until(lambda: hostile.open_connections == 0)
            assert [record.code for record in net.records] == [code]

    run(scenario())


async def _until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a server
            await asyncio.sleep(0.001)


def drip(data, pause_s=0.01):
    """Return a behaviour that writes byte by byte, and then no more."""

    async def behave(reader, writer):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause_s)
        await reader.read()

    return behave


def send(data, *, close=True):
    """Return a behaviour that writes this, then closes or says nothing more."""

    async def behave(reader, writer):
        writer.write(data)
        await writer.drain()
        if not close:
            await reader.read()

    return behave


def flood(start, piece, end=b""):
    """Return a behaviour that writes for as long as somebody listens."""

    async def behave(reader, writer):
        writer.write(start)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(end)

    return behave


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (send(b"", close=False), "response"),
        (drip(HEAD + b"A: " + b"a" * 1000), "response"),
        (send(HEAD + b"A: b\r\n", close=False), "response"),
        (drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.002), "response"),
        (send(HEAD + b"Content-Length: 10\r\n\r\nsome", close=False), "deadline"),
        (drip(HEAD + b"Content-Length: 1000\r\n\r\n" + b"a" * 1000, 0.002), "deadline"),
        (send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", close=False), "deadline"),
        (send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", close=False), "deadline"),
        (flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), None),
    ],
    ids=[
        "silent",
        "slow-headers",
        "half-headers",
        "continue-for-ever",
        "half-body",
        "slow-body",
        "half-chunk",
        "no-chunk",
        "small-chunks",
    ],
)
def test_slow_servers(behaviour, reason):
    """Whatever is slow ends at its deadline, however it keeps the connection busy."""
    limits = {**QUICK, "net": {"max_response": 1 << 20}}
    attack(behaviour, code="NET_TIMEOUT", reason=reason, limits=limits, timeout_ms=1200)


@pytest.mark.parametrize(
    "behaviour",
    [
        flood(HEAD + b"\r\n", b"x" * 65536),
        flood(HEAD + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536),
        flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        send(HEAD + b"Content-Length: 1073741824\r\n\r\n"),
        response(body=gzip.compress(b"\0" * (1 << 28), 1), Content_Encoding="gzip"),
    ],
    ids=["endless", "huge-length", "endless-chunks", "claimed-gigabyte", "gzip-bomb"],
)
def test_endless_bodies(behaviour):
    """A body is given up at the limit; nothing is inflated."""
    attack(behaviour, code="NET_SIZE", reason="response")


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(100_000)),
        b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(90)),
        b"A: " + b"a" * 100_000 + b"\r\n",
        b"A" * 100_000 + b": a\r\n",
        b"A: a\r\n" * 101,
    ],
    ids=["100000-headers", "90-large", "long-value", "long-name", "101-headers"],
)
def test_many_and_large_headers(head):
    """Number and size of headers are bounded."""
    attack(send(HEAD + head + b"Content-Length: 0\r\n\r\n"), code="NET_SIZE", reason="headers")


def test_endless_headers():
    """Headers without an end are given up at their limit."""
    attack(flood(HEAD, b"A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 50), code="NET_SIZE")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 xyz OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"220 smtp.example.com ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        HEAD + b"Content-Length: 10\r\n\r\nshort",
        b"",
    ],
)
def test_what_is_no_http(data):
    """Malformed messages and wrong lengths are errors, never a response."""
    attack(send(data), code="NET_ERROR")


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nA: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
COUNTED = HEAD + b"Content-Length: 5\r\nA: b\r\n\r\nabcde"


@pytest.mark.parametrize("whole", [CHUNKED, COUNTED], ids=["chunked", "counted"])
def test_a_connection_that_closes_at_every_byte(whole):
    """A response cut at any place is an error; only the whole one is a response."""

    async def scenario():
        limits = {**QUICK, "net": {"max_calls": 20}}
        async with World(limits) as net:
            server = await net.server(
                "evil.example.com", answer=lambda r: send(whole[: int(r.target[1:])])
            )
            for cut in range(len(whole) + 1):
                net.new_run()
                net.allow(server, "evil.example.com")
                url = f"https://evil.example.com:{server.port}/{cut}"
                if cut == len(whole):
                    assert (await net.fetch(url)).body == b"abcde"
                    continue
                with pytest.raises(NetError) as caught:
                    await net.fetch(url)
                assert caught.value.code == "NET_ERROR"
                net.check_nothing_is_left()
            await _until(lambda: server.open_connections == 0)

    run(scenario())


@pytest.mark.parametrize("count", [0, 1, 5, 6, 50, 200, 800])
def test_a_handshake_that_is_cut(count):
    """A connection that closes within the TLS handshake is an error; nothing was sent."""

    async def scenario():
        async with World(QUICK) as net:
            real = await net.server("evil.example.com")
            seen = []

            async def relay(reader, writer):
                inner_reader, inner = await asyncio.open_connection("127.0.0.1", real.port)
                inner.write(await reader.read(65536))
                data = await inner_reader.read(65536)
                seen.append(len(data))
                writer.write(data[:count])
                await writer.drain()
                for each in (writer, inner):
                    each.close()

            cutting = await asyncio.start_server(relay, "127.0.0.1", 0)
            port = cutting.sockets[0].getsockname()[1]
            net.run = net.new_run(Entry(host="evil.example.com", ports=(port,)))
            with pytest.raises(NetError) as caught:
                await net.fetch(f"https://evil.example.com:{port}/")
            assert caught.value.code == "NET_ERROR"
            assert real.requests == []
            assert min(seen) > count
            cutting.close()

    run(scenario())


@pytest.mark.parametrize(
    "location", ["/", "https://evil.example.com:{port}/", "//evil.example.com:{port}/x", "?"]
)
def test_redirect_loops(location):
    """A loop ends at the limit of redirects."""

    async def scenario():
        async with World(QUICK) as net:
            server = await net.server("evil.example.com")
            server.answer = redirect(location.format(port=server.port))
            net.allow(server, "evil.example.com")
            with pytest.raises(NetBlockedError, match="too many redirects"):
                await net.fetch(f"https://evil.example.com:{server.port}/")
            assert len(server.requests) == 4

    run(scenario())


def test_dns_that_changes_between_calls():
    """A name that turns private is refused when it is asked again; a connection stays pinned."""

    async def scenario():
        async with World(QUICK) as net:
            answers = [("127.0.0.1",), ("10.0.0.1",), ("169.254.169.254",)]
            closing = response(body=b"ok", Connection="close")
            server = await net.server("evil.example.com", answer=closing)
            net.names["evil.example.com"] = functools.partial(answers.pop, 0)
            net.allow(server, "evil.example.com")
            url = f"https://evil.example.com:{server.port}/"
            assert (await net.fetch(url)).body == b"ok"
            for _ in range(2):
                with pytest.raises(NetBlockedError, match="blocked address"):
                    await net.fetch(url)
            assert len(server.requests) == 1

    run(scenario())


def test_a_name_is_resolved_once_for_a_connection():
    """What was checked is what is connected to: nobody asks for the name a second time."""

    async def scenario():
        async with World(QUICK) as net:
            server = await net.server("evil.example.com")
            answers = [("127.0.0.1",)]
            net.names["evil.example.com"] = answers.pop
            net.allow(server, "evil.example.com")
            for _ in range(3):
                await net.fetch(f"https://evil.example.com:{server.port}/")
            assert net.lookups == ["evil.example.com"]
            assert server.connections == 1

    run(scenario())


async def _sleep():
    await asyncio.sleep(60)


def _fail(error):
    def lookup():
        raise error

    return lookup


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (_sleep, "NET_TIMEOUT", "resolve"),
        ((), "NET_ERROR", "dns"),
        (None, "NET_ERROR", "dns"),
        (_fail(UnicodeError("label too long")), "NET_ERROR", "dns"),
    ],
    ids=["slow", "empty", "none", "unicode"],
)
def test_broken_name_servers(answer, code, reason):
    """A name without an answer is an error, one without an answer in time a timeout."""

    async def scenario():
        async with World(QUICK) as net:
            net.names["evil.example.com"] = answer
            net.new_run("evil.example.com")
            with pytest.raises(NetError) as caught:
                await net.fetch("https://evil.example.com/")
            assert (caught.value.code, caught.value.reason) == (code, reason)

    run(scenario())


def certificate(**options):
    """Return a server context with a certificate made so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = options.pop("issuer", None) or authority()
    issuer.issue_cert(options.pop("name", "evil.example.com"), **options).configure_cert(context)
    return context


def old_tls():
    """Return a server context that speaks TLS 1.1 only."""
    context = certificate()
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (lambda: certificate(name="other.example.com"), "certificate"),
        (lambda: certificate(name="*.com"), "certificate"),
        (lambda: certificate(name="127.0.0.1"), "certificate"),
        (
            lambda: certificate(
                not_after=dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
                not_before=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
            ),
            "certificate",
        ),
        (lambda: certificate(issuer=trustme.CA()), "certificate"),
        (old_tls, "connect"),
        (lambda: None, "connect"),
    ],
    ids=["other-name", "wildcard", "address", "expired", "unknown-issuer", "tls-1.1", "no-tls"],
)
def test_tls_that_proves_nothing(context, reason):
    """A certificate for another name, expired or of an unknown issuer, and old TLS are refused."""

    async def scenario():
        async with World(QUICK) as net:
            tls = context()
            server = await net.server("evil.example.com", tls=tls or False)
            net.allow(server, "evil.example.com")
            with pytest.raises(NetError) as caught:
                await net.fetch(f"https://evil.example.com:{server.port}/")
            assert caught.value.code in ("NET_ERROR", "NET_TIMEOUT")
            assert caught.value.reason == reason
            assert server.requests == []

    run(scenario())


def test_nobody_listens():
    """A refused connection is an error that may be retried."""

    async def scenario():
        async with World(QUICK) as net:
            server = await net.server("evil.example.com")
            net.names["evil.example.com"] = ("::1",)
            net.allow(server, "evil.example.com")
            with pytest.raises(NetError) as caught:
                await net.fetch(f"https://evil.example.com:{server.port}/")
            assert (caught.value.reason, caught.value.retryable) == ("connect", True)

    run(scenario())


@pytest.mark.parametrize("dead", [("::1",), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_the_next_address_is_tried(dead):
    """Of several good addresses one that works is enough."""

    async def scenario():
        async with World(QUICK) as net:
            server = await net.server("evil.example.com")
            net.names["evil.example.com"] = tuple(dict.fromkeys((*dead, "127.0.0.1")))
            net.allow(server, "evil.example.com")
            found = await net.fetch(f"https://evil.example.com:{server.port}/")
            assert found.body == b"ok"

    run(scenario())


def test_bytes_behind_a_response_answer_nothing():
    """What a server sends unasked is not the response of the next call."""

    async def scenario():
        async with World(QUICK) as net:
            poison = OK + response(body=b"poison")
            server = await net.server("evil.example.com", answer=poison)
            net.allow(server, "evil.example.com")
            url = f"https://evil.example.com:{server.port}/"
            assert (await net.fetch(url)).body == b"ok"
            await asyncio.sleep(0.05)
            server.answer = OK
            try:
                assert (await net.fetch(url)).body == b"ok"
            except NetError as error:
                assert error.code == "NET_ERROR"  # noqa: PT017 - either is right

    run(scenario())


def test_a_cancelled_call_leaves_nothing():
    """Who gives up gives back slot and connection."""

    async def scenario():
        async with World(QUICK) as net:

            async def silent(reader, writer):
                await reader.read()

            server = await net.server("evil.example.com", answer=lambda _: silent)
            net.allow(server, "evil.example.com")
            task = asyncio.ensure_future(net.fetch(f"https://evil.example.com:{server.port}/"))
            await _until(lambda: server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _until(lambda: server.open_connections == 0)
            assert net.egress.slots.held == 0
            assert net.run.budget.spent_ns(0) >= 0

    run(scenario())


def test_upgrades_are_no_response():
    """A server that switches protocols ends the call."""
    attack(
        send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxx"),
        code="NET_ERROR",
    )


def test_the_names_of_the_errors():
    """The classes have the codes that guests branch on."""
    assert NetTimeoutError.code == "NET_TIMEOUT"
    assert NetSizeError.code == "NET_SIZE"

"""The defects of the reference implementation, with its numbers: none of them is ours.

Those that are not here are elsewhere: test_index_of_cases.py says where.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.egress.patient import clock_ns
from tests.egress.support import OK, World, redirect, response, run

from cloche.egress.allowlist import Entry
from cloche.egress.budget import RunBudget
from cloche.egress.errors import (
    NetAuthError,
    NetBlockedError,
    NetBudgetError,
    NetError,
    NetRateError,
    NetStoreError,
    NetTimeoutError,
)
from cloche.egress.secrets import Secret
from cloche.limits import Limits

NS_PER_MS = 1_000_000
VALUE = "sk-live-0123456789"
CACHE = {"net": {"cache_max_items": 10, "cache_max_bytes": 1 << 20, "max_calls": 20}}


def secret(**more):
    """Return a secret for a.example.com on every port that a test may get."""
    return Secret(
        **{
            "name": "KEY",
            "value": VALUE,
            "domains": ("a.example.com",),
            "ports": tuple(range(1024, 65_536)),
            **more,
        }
    )


async def silent(reader, writer):
    """Say nothing for as long as somebody listens."""
    await reader.read()


@pytest.mark.parametrize(
    ("entry", "args", "net", "after_ms"),
    [
        ({}, {"timeout_ms": 60}, {}, 60),
        ({"timeout_ms": 70}, {}, {}, 70),
        ({"timeout_ms": 70}, {"timeout_ms": 5000}, {}, 70),
        ({"timeout_ms": 5000}, {"timeout_ms": 80}, {}, 80),
        ({}, {}, {"call_timeout": 1000}, 1000),
        ({}, {}, {"budget": 1000}, 1000),
    ],
)
def test_03_every_timeout_is_applied(entry, args, net, after_ms):
    """The option, the entry, the limit of a call and the run's budget: the least one counts."""

    async def scenario():
        async with World({"net": net}) as world:
            server = await world.server("a.example.com", answer=lambda _: silent)
            world.allow(server, "a.example.com", **entry)
            started_ns = clock_ns()
            with pytest.raises(NetTimeoutError, match=f"timed out after {after_ms} ms"):
                await world.fetch(f"https://a.example.com:{server.port}/", **args)
            assert after_ms <= (clock_ns() - started_ns) / NS_PER_MS < after_ms + 20

    run(scenario())


def test_03_the_budget_is_shared_by_all_calls():
    """What one call used, the next does not have."""

    async def scenario():
        async with World({"net": {"budget": 1000}}) as world:
            server = await world.server("a.example.com", answer=lambda _: silent)
            world.allow(server, "a.example.com")
            url = f"https://a.example.com:{server.port}/"
            with pytest.raises(NetTimeoutError):
                await world.fetch(url, timeout_ms=900)
            started_ns = clock_ns()
            with pytest.raises((NetTimeoutError, NetBudgetError)):
                await world.fetch(url)
            assert (clock_ns() - started_ns) / NS_PER_MS < 120
            with pytest.raises(NetBudgetError):
                await world.fetch(url)

    run(scenario())


async def failing_call(world, how):
    """Make a call with a secret in its query fail, and return the error."""
    server = await world.server("a.example.com")
    world.secrets["KEY"] = secret(inject_as="query", key="key")
    world.new_run(secrets=("KEY",))
    world.allow(server, "a.example.com")
    url = f"https://a.example.com:{server.port}/x?own=query"
    if how == "refused":
        world.names["a.example.com"] = ("::1",)
    elif how == "closed":

        async def close(reader, writer):
            writer.close()

        server.answer = lambda _: close
    elif how == "malformed":
        server.answer = b"nonsense\r\n\r\n"
    elif how == "timeout":
        server.answer = lambda _: silent
    elif how == "redirect":
        server.answer = lambda request: redirect(f"https://{request.target.split('=')[-1]}.com/")
    elif how == "large":
        server.answer = response(body=b"x" * (1 << 21))
    with pytest.raises(NetError) as caught:
        await world.fetch(url, auth="KEY", timeout_ms=200)
    return caught.value


@pytest.mark.parametrize("how", ["refused", "closed", "malformed", "timeout", "redirect", "large"])
def test_04_no_error_holds_a_secret(how):
    """However a call fails, neither error nor log has the value, nor the query."""

    async def scenario():
        async with World() as world:
            error = await failing_call(world, how)
            shown = f"{error!r} {error.to_document()} {error.__cause__!r} {error.__context__!r}"
            world.egress.flush()
            assert world.records
            for text in (shown, repr(world.records)):
                assert VALUE not in text
                assert "own=query" not in text

    run(scenario())


def test_04_no_referer():
    """No request says where it came from, with a guest's own Referer too."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com")
            server.answer = lambda r: redirect("/next") if r.target != "/next" else OK
            world.allow(server, "a.example.com")
            await world.fetch(
                f"https://a.example.com:{server.port}/?q", headers={"Referer": "https://x/?q"}
            )
            assert [request.header("referer") for request in server.requests] == [[], []]

    run(scenario())


@pytest.mark.parametrize("inject_as", ["bearer", "header", "query", "basic", "placeholder"])
def test_05_secrets_do_not_follow_redirects(inject_as):
    """The next origin gets no secret in any form, though the list allows it."""

    async def scenario():
        async with World() as world:
            other = await world.server("b.example.com")
            away = f"https://b.example.com:{other.port}/"
            server = await world.server("a.example.com", answer=redirect(away, "307 X"))
            world.secrets["KEY"] = secret(
                inject_as=inject_as, key="X-Key" if inject_as != "bearer" else ""
            )
            world.new_run(secrets=("KEY",))
            world.allow(server, "a.example.com")
            world.allow(other, "b.example.com")
            args = {"auth": "KEY"}
            if inject_as == "placeholder":
                args = {
                    "method": "POST",
                    "headers": {"X-Key": "{{secret:KEY}}"},
                    "body": "{{secret:KEY}}",
                }
            found = await world.fetch(f"https://a.example.com:{server.port}/", **args)
            assert found.body == b"ok"
            sent = server.requests[0].head + server.requests[0].body
            assert world.used == ["KEY"]
            assert b"{{secret" not in sent
            crossed = other.requests[0].head + other.requests[0].body
            assert VALUE.encode() not in crossed
            assert not other.requests[0].header("authorization")

    run(scenario())


def test_05_secrets_stay_on_their_own_origin():
    """A redirect within the origin gets the secret again; its path rule is asked again."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com")
            server.answer = lambda r: OK if r.target == "/v1/end" else redirect(r.target[3:])
            world.secrets["KEY"] = secret(paths=("/v1",))
            world.new_run(secrets=("KEY",))
            world.allow(server, "a.example.com")
            origin = f"https://a.example.com:{server.port}"
            await world.fetch(f"{origin}/v1/v1/end", auth="KEY")
            assert [r.header("authorization") for r in server.requests] == [[f"Bearer {VALUE}"]] * 2
            with pytest.raises(NetAuthError, match="not this path"):
                await world.fetch(f"{origin}/v1/other", auth="KEY")

    run(scenario())


def test_05_secrets_need_https_and_their_domain():
    """A secret goes neither over http nor to another allowed host, and nothing is sent."""

    async def scenario():
        async with World() as world:
            plain = await world.server("a.example.com", tls=False)
            other = await world.server("b.example.com")
            world.secrets["KEY"] = secret()
            world.new_run(secrets=("KEY",))
            world.allow(plain, "a.example.com", http=True)
            world.allow(other, "b.example.com")
            with pytest.raises(NetAuthError, match="over https only"):
                await world.fetch(f"http://a.example.com:{plain.port}/", auth="KEY")
            with pytest.raises(NetAuthError, match=r"restricted to a\.example\.com"):
                await world.fetch(f"https://b.example.com:{other.port}/", auth="KEY")
            world.secrets.clear()
            with pytest.raises(NetAuthError, match="not found"):
                await world.fetch(f"https://b.example.com:{other.port}/", auth="KEY")
            with pytest.raises(NetAuthError, match="may not be used in this run"):
                await world.fetch(f"https://b.example.com:{other.port}/", auth="OTHER")
            assert plain.requests == other.requests == []
            assert world.used == []

    run(scenario())


def test_06_echoes_are_scrubbed():
    """A server that repeats all that it got does not hand the secret to the guest."""

    async def scenario():
        async with World() as world:

            def echo(request):
                return response(
                    f"200 {VALUE}",
                    request.head + request.body,
                    X_Echo=request.header("authorization")[0],
                    Set_Cookie=VALUE,
                )

            server = await world.server("a.example.com", answer=echo)
            world.secrets["KEY"] = secret()
            world.new_run(secrets=("KEY",), cookies=True)
            world.allow(server, "a.example.com")
            url = f"https://a.example.com:{server.port}/"
            found = await world.fetch(url, auth="KEY", method="POST", body="x")
            assert VALUE in server.requests[0].header("authorization")[0]
            assert VALUE not in repr(found)
            assert b"authorization: bearer [secret:key]" in found.body.lower()
            assert dict(found.headers)["x-echo"] == "Bearer [secret:KEY]"
            assert "content-length" not in dict(found.headers)

    run(scenario())


def test_06_a_redirect_that_echoes_the_query():
    """Location is scrubbed too: the URL that a guest sees, and the one that is called next."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com")
            server.answer = lambda r: (
                OK if r.target.startswith("/end") else redirect("/end" + r.target[1:])
            )
            world.secrets["KEY"] = secret(inject_as="query", key="key")
            world.new_run(secrets=("KEY",))
            world.allow(server, "a.example.com")
            found = await world.fetch(f"https://a.example.com:{server.port}/?a=1", auth="KEY")
            assert [r.target for r in server.requests] == [
                f"/?a=1&key={VALUE}",
                f"/end?a=1&key={VALUE}",
            ]
            assert VALUE not in found.url

    run(scenario())


def test_10_slots_are_exact_under_contention():
    """However many ask at once, never more than the limit are inside."""

    async def scenario():
        limits = {
            "net": {"max_calls": 20, "app_concurrency": 3},
            "egress": {"slot_timeout_ms": 5000},
        }
        async with World(limits) as world:
            inside = most = 0

            async def answer(_):
                nonlocal inside, most
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.005)
                inside -= 1
                return OK

            server = await world.server("a.example.com", answer=answer)
            world.allow(server, "a.example.com")
            url = f"https://a.example.com:{server.port}/"
            found = await asyncio.gather(*(world.fetch(url) for _ in range(20)))
            assert [r.status for r in found] == [200] * 20
            assert most == 3
            assert world.egress.slots.held == 0

    run(scenario())


def test_10_a_cache_hit_costs_neither_slot_nor_token():
    """With one token and no free slot, what is cached is still answered."""

    async def scenario():
        async with World({**CACHE, "egress": {"slot_timeout_ms": 0}}) as world:
            server = await world.server("a.example.com")
            world.new_run(app="shop")
            world.allow(server, "a.example.com", cache_ttl_s=60, rate_limit=1)
            url = f"https://a.example.com:{server.port}/"
            assert not (await world.fetch(url)).cached
            for _ in range(5):
                assert world.egress.slots.ask("shop", lambda: None)
            for _ in range(3):
                assert (await world.fetch(url)).cached
            with pytest.raises(NetRateError) as caught:
                await world.fetch(url + "other")
            assert caught.value.retry_after_ms > 50_000
            assert len(server.requests) == 1
            for _ in range(5):
                world.egress.slots.give_back("shop")

    run(scenario())


def test_11_every_decision_is_logged():
    """Allowed, denied, cached and failed calls are all there; errors at once."""

    async def scenario():
        async with World(CACHE) as world:
            server = await world.server("a.example.com")
            world.names["down.example.com"] = ("::1",)
            world.allow(server, "a.example.com", cache_ttl_s=60)
            world.allow(server, "down.example.com")
            url = f"https://a.example.com:{server.port}/p?secret=1"
            await world.fetch(url)
            await world.fetch(url)
            assert world.records == []
            with pytest.raises(NetBlockedError):
                await world.fetch("https://other.example.com/")
            assert len(world.records) == 3
            with pytest.raises(NetError):
                await world.fetch(f"https://down.example.com:{server.port}/")
            assert [(r.outcome, r.host, r.path, r.status, r.code) for r in world.records] == [
                ("allowed", "a.example.com", "/p", 200, None),
                ("cached", "a.example.com", "/p", 200, None),
                ("denied", "other.example.com", "/", None, "NET_BLOCKED"),
                ("failed", "down.example.com", "/", None, "NET_ERROR"),
            ]
            assert world.records[0].response_bytes == 2

    run(scenario())


def test_11_a_log_that_cannot_be_written_stops_nothing():
    """Records wait, the oldest give way, and what is missing is counted."""

    class Full:
        def __init__(self):
            self.broken, self.kept, self.dropped = True, [], 0

        def store(self, records, dropped):
            if self.broken:
                raise NetStoreError(action="write the log", reason="disk full")
            self.kept += records
            self.dropped += dropped

    async def scenario():
        sink = Full()
        async with World({"net": {"log_buffer": 100, "max_calls": 1}}, log=sink) as world:
            for number in range(150):
                world.new_run(run_id=f"run-{number}")
                with pytest.raises(NetBlockedError):
                    await world.fetch("https://other.example.com/")
            sink.broken = False
            world.egress.flush()
            assert [r.run_id for r in sink.kept] == [f"run-{number}" for number in range(50, 150)]
            assert sink.dropped == 50

    run(scenario())


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer mine"}, {"Cookie": "a=1"}], ids=["auth", "cookie"]
)
def test_12_no_cache_with_credentials(headers):
    """What was fetched with credentials is neither stored nor answered from the store."""

    async def scenario():
        async with World(CACHE) as world:
            server = await world.server("a.example.com")
            world.new_run(cookies=True)
            world.allow(server, "a.example.com", cache_ttl_s=60)
            url = f"https://a.example.com:{server.port}/"
            for _ in range(2):
                assert not (await world.fetch(url, headers=headers)).cached
            assert not (await world.fetch(url)).cached
            assert not (await world.fetch(url, headers=headers)).cached
            assert (await world.fetch(url)).cached

    run(scenario())


def test_12_no_cache_with_a_secret_or_across_apps():
    """A response with a secret is not stored, and apps do not see each other's."""

    async def scenario():
        async with World(CACHE) as world:
            server = await world.server("a.example.com")
            world.secrets["KEY"] = secret()
            url = f"https://a.example.com:{server.port}/"
            for app in ("shop", "blog"):
                world.new_run(secrets=("KEY",), app=app)
                world.allow(server, "a.example.com", cache_ttl_s=60)
                for _ in range(2):
                    assert not (await world.fetch(url, auth="KEY")).cached
                assert not (await world.fetch(url)).cached
                assert (await world.fetch(url.upper().replace("HTTPS", "https"))).cached
            assert world.egress.cache.stats.items == 2

    run(scenario())


def test_12_a_stale_response_is_revalidated():
    """A 304 answers with the stored body; it costs a call to the server and no body."""

    async def scenario():
        now = [0]
        async with World(CACHE, clock=lambda: now[0]) as world:

            def answer(request):
                if request.header("if-none-match") == ['"1"']:
                    return b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nX: new\r\n\r\n'
                return response(body=b"body", ETag='"1"', Cache_Control="max-age=10")

            server = await world.server("a.example.com", answer=answer)
            world.allow(server, "a.example.com", cache_ttl_s=60)
            url = f"https://a.example.com:{server.port}/"
            assert not (await world.fetch(url)).cached
            now[0] += 11 * 10**9
            world.run.budget = RunBudget(world.limits)
            found = await world.fetch(url)
            assert (found.status, found.body, found.cached) == (200, b"body", True)
            assert dict(found.headers)["x"] == "new"
            assert len(server.requests) == 2

    run(scenario())


def test_12_a_change_invalidates():
    """A POST to a URL removes what was stored of it."""

    async def scenario():
        async with World(CACHE) as world:
            server = await world.server("a.example.com")
            world.allow(server, "a.example.com", cache_ttl_s=60)
            url = f"https://a.example.com:{server.port}/"
            await world.fetch(url)
            await world.fetch(url, method="POST", body="x")
            assert not (await world.fetch(url)).cached

    run(scenario())


def test_13_lists_that_change_are_seen_at_once():
    """A shared list may be changed while a run goes on; the next call sees it."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com")
            world.new_run(scopes=("app:shop", "global"))
            url = f"https://a.example.com:{server.port}/"
            with pytest.raises(NetBlockedError):
                await world.fetch(url)
            entry = Entry(host="a.example.com", ports=(server.port,))
            world.lists["global"] = [entry]
            assert (await world.fetch(url)).body == b"ok"
            world.lists["app:shop"] = [Entry(host="*.example.com", action="deny")]
            with pytest.raises(NetBlockedError, match="of app:shop denies"):
                await world.fetch(url)

    run(scenario())


def test_16_what_a_guest_may_not_set():
    """Framing and routing headers of a guest do not reach the server; userinfo is refused."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com")
            world.allow(server, "a.example.com")
            origin = f"https://a.example.com:{server.port}"
            await world.fetch(
                f"{origin}/",
                method="POST",
                body="four",
                headers={
                    "Host": "internal",
                    "Content-Length": "999",
                    "Transfer-Encoding": "chunked",
                    "Connection": "Upgrade",
                    "Upgrade": "x",
                    "TE": "trailers",
                    "Trailer": "x",
                    "Cookie": "a=1",
                    "X-Forwarded-For": "10.0.0.1",
                    "X-Own": "kept",
                },
            )
            (sent,) = server.requests
            assert sorted(name for name, _ in sent.headers) == [
                "accept",
                "accept-encoding",
                "content-length",
                "host",
                "user-agent",
                "x-own",
            ]
            assert (sent.header("content-length"), sent.body) == (["4"], b"four")
            with pytest.raises(NetBlockedError):
                await world.fetch(f"https://user:pass@a.example.com:{server.port}/")
            with pytest.raises(NetBlockedError, match="not this port"):
                await world.fetch("https://a.example.com:22/")

    run(scenario())


def test_the_breaker_leaves_a_host_alone():
    """After failures in a row calls are refused without a connection, until a probe succeeds."""

    async def scenario():
        now = [0]
        limits = {
            "net": {"max_calls": 20},
            "egress": {"breaker_failure_count": 3, "breaker_open_ms": 1000},
        }
        async with World(limits, clock=lambda: now[0]) as world:
            server = await world.server("a.example.com", answer=response("503 Busy"))
            world.allow(server, "a.example.com")
            url = f"https://a.example.com:{server.port}/"
            for _ in range(3):
                assert (await world.fetch(url)).status == 503
            with pytest.raises(NetRateError) as caught:
                await world.fetch(url)
            assert caught.value.reason == "breaker"
            assert len(server.requests) == 3
            server.answer = OK
            now[0] += 10**9
            assert (await world.fetch(url)).status == 200
            assert (await world.fetch(url)).status == 200

    run(scenario())


def test_failures_of_one_tenant_are_its_own():
    """A host that a tenant may not ask for a while is open to the others, and to it again later."""

    async def scenario():
        limits = {"egress": {"breaker_failure_count": 2, "breaker_open_ms": 60_000}}
        async with World(limits, clock=lambda: 0) as world:
            server = await world.server("a.example.com", answer=response("503 Busy"))
            url = f"https://a.example.com:{server.port}/"
            entry = Entry(host="a.example.com", ports=(server.port,))
            one, two = (world.new_run(entry, tenant=tenant) for tenant in ("one", "two"))
            for _ in range(2):
                assert (await world.fetch(url, one)).status == 503
            with pytest.raises(NetRateError) as caught:
                await world.fetch(url, one)
            assert caught.value.reason == "breaker"
            assert (await world.fetch(url, two)).status == 503
            server.answer = OK
            assert (await world.fetch(url, two)).status == 200
            # Its success tells nothing about the calls of the first.
            with pytest.raises(NetRateError):
                await world.fetch(url, one)

    run(scenario())


def test_redirect_modes():
    """`manual` hands the redirect to the guest, `error` refuses it."""

    async def scenario():
        async with World() as world:
            server = await world.server("a.example.com", answer=redirect("/next"))
            world.allow(server, "a.example.com")
            url = f"https://a.example.com:{server.port}/"
            found = await world.fetch(url, redirect="manual")
            assert (found.status, dict(found.headers)["location"]) == (302, "/next")
            with pytest.raises(NetBlockedError, match="does not follow"):
                await world.fetch(url, redirect="error")

    run(scenario())


def test_limits_of_this_room_are_in_range():
    """Every default is inside its own range, whatever the machine."""
    assert Limits().egress.run_bytes_max >= Limits().net.max_response

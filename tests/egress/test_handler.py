"""Effects of kind http.fetch, and the service beneath."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.egress.support import OK, World

from cloche.egress.adapters.handler import HttpHandler
from cloche.egress.adapters.own import own_addresses
from cloche.egress.adapters.service import NetService
from cloche.egress.allowlist import Entry, NetPolicy
from cloche.gate.effect import EffectRequest
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits


@pytest.fixture
def service():
    """Return a service with a world, and its world."""
    worlds = []

    def make():
        worlds.append(World({"net": {"app_concurrency": 20, "max_calls": 20}}))
        return worlds[0].egress

    opened = NetService(make)
    opened.call(lambda egress: None)
    opened.world = worlds[0]
    yield opened
    opened.submit(lambda egress: worlds[0].__aexit__()).result()
    opened.close()


def start(service, answer=OK):
    """Start a server on the loop of a service."""
    return service.submit(lambda _: service.world.server("a.example.com", answer=answer)).result()


def handler_of(service, server, limits=None, **options):
    """Return a handler that may call a server."""
    policy = NetPolicy(allow=[Entry(host="a.example.com", ports=(server.port,))], **options)
    return HttpHandler(service, policy, limits or service.world.limits)


async def all_given_back(egress):
    """Wait until no call holds a slot: a call that is ended gives its slot back a little later."""
    async with asyncio.timeout(30):
        while egress.slots.held:  # noqa: ASYNC110 - what is waited for is in the calls
            await asyncio.sleep(0.001)


def effect(server, target=None, **args):
    """Return an effect that calls a server."""
    origin = f"https://a.example.com:{server.port}"
    return EffectRequest(
        sequence=0,
        task="main",
        ordinal=0,
        kind="http.fetch",
        target=target or f"{args.get('method', 'GET')} {origin}",
        args={"url": origin + "/", **args},
    )


def test_calls_of_a_traced_run(service):
    """They say of which run and effect they are; without the policy they say nothing of it."""
    server = start(service)
    handler_of(service, server).perform(effect(server, method="POST"), "run-1")
    for run_id in ("run-1", "run-1", "run-2"):
        handler = handler_of(service, server, trace=True)
        handler.perform(effect(server, method="POST"), run_id)
    plain, first, again, other = (dict(request.headers) for request in server.requests)
    assert not {"traceparent", "idempotency-key"} & set(plain)
    assert (first["traceparent"], first["idempotency-key"]) == (
        again["traceparent"],
        again["idempotency-key"],
    )
    assert other["traceparent"].split("-")[1] != first["traceparent"].split("-")[1]
    assert other["idempotency-key"] != first["idempotency-key"]


def test_a_call_is_a_value(service):
    """A response is plain data."""
    server = start(service)
    assert handler_of(service, server).perform(effect(server), "run-1") == {
        "status": 200,
        "reason": "OK",
        "url": f"https://a.example.com:{server.port}/",
        "redirected": False,
        "headers": [["content-length", "2"], ["content-type", "text/plain"]],
        "body": "ok",
    }


@pytest.mark.parametrize(
    "target",
    ["GET https://b.example.com", "GET https://a.example.com", "GET a.example.com", "x", "*"],
)
def test_the_target_must_be_what_is_called(service, target):
    """What the gate was told is compared with the URL: rules of the gate cannot be dodged."""
    server = start(service)
    handler = handler_of(service, server)
    for asked in (effect(server, target), effect(server, method="POST", target=target)):
        with pytest.raises(EffectFailure) as caught:
            handler.perform(asked, "run-1")
        assert caught.value.error.code == "NET_BLOCKED"
    assert server.requests == []


def test_a_failure_has_its_code(service):
    """Code, retryable and when to retry reach the guest as data."""
    server = start(service)
    policy = NetPolicy(allow=[Entry(host="a.example.com", ports=(server.port,), rate_limit=1)])
    handler = HttpHandler(service, policy, service.world.limits)
    handler.perform(effect(server), "run-1")
    with pytest.raises(EffectFailure) as caught:
        handler.perform(effect(server), "run-1")
    error = caught.value.error
    assert (error.code, error.retryable) == ("NET_RATE", True)
    assert 50_000 < error.retry_after_ms <= 60_000
    with pytest.raises(EffectFailure) as caught:
        handler.perform(effect(server, url=3), "run-1")
    assert (caught.value.error.code, caught.value.error.retryable) == ("NET_BLOCKED", False)


def test_calls_of_threads_overlap(service):
    """Ten calls at once are on their way at once."""
    barrier = asyncio.Barrier(10)

    async def answer(_):
        await barrier.wait()
        return OK

    server = start(service, answer)
    handler = handler_of(service, server)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: handler.perform(effect(server), "run-1"), range(10)))
    assert [value["body"] for value in found] == ["ok"] * 10


def test_a_run_that_is_over_has_no_calls(service):
    """Closing the handler ends what is on its way, and refuses what comes later."""

    async def silent(reader, writer):
        await reader.read()

    server = start(service, lambda _: silent)
    handler = handler_of(service, server)
    failures = []

    def call():
        try:
            handler.perform(effect(server), "run-1")
        except EffectFailure as failure:
            failures.append(failure.error.message)

    thread = threading.Thread(target=call)
    thread.start()
    while not server.requests:
        time.sleep(0.001)
    handler.close()
    thread.join()
    call()
    assert failures == ["the run is over"] * 2
    service.submit(all_given_back).result()


def test_a_call_that_is_given_up(service):
    """It ends at once, also when it has not begun; the others of its run go on."""

    async def silent(reader, writer):
        await reader.read()

    server = start(service, lambda request: silent if len(server.requests) == 1 else OK)
    handler = handler_of(service, server)
    failures = []

    def call(request):
        try:
            handler.perform(request, "run-1")
        except EffectFailure as failure:
            failures.append((failure.error.code, failure.error.message))

    request = effect(server)
    thread = threading.Thread(target=call, args=(request,))
    thread.start()
    while not server.requests:
        time.sleep(0.001)
    handler.cancel(request)
    thread.join()
    early = msgspec.structs.replace(request, sequence=7)
    handler.cancel(early)
    call(early)
    assert failures == [("NET_ERROR", "the call was given up")] * 2
    assert len(server.requests) == 1
    other = msgspec.structs.replace(request, sequence=8)
    assert handler.perform(other, "run-1")["status"] == 200
    service.submit(all_given_back).result()


def test_a_body_that_does_not_fit_into_a_value(service):
    """A response larger than an effect's value may be is an error."""
    server = start(service)
    limits = Limits().replace({"gate": {"value_limit_bytes": 200_000}})
    handler = handler_of(service, server, limits)
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    with pytest.raises(EffectFailure, match="too large for a value"):
        handler.perform(effect(server), "run-1")


def test_a_closed_service_begins_again():
    """Closing twice is nothing, and a service that was not used has nothing to close."""
    made = []
    before = set(threading.enumerate())  # services of the process have threads, too
    service = NetService(lambda: made.append(World()) or made[-1].egress)
    service.close()
    assert made == []
    for _ in range(2):
        service.call(lambda egress: None)
        service.close()
    service.close()
    assert len(made) == 2
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "cloche-net"]


def test_addresses_of_this_machine(tmp_path):
    """They are read from what the kernel says; nothing to read is no address."""
    trie = tmp_path / "trie"
    trie.write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n"
        "        |-- 93.184.216.34\n           /32 host LOCAL\n"
        "        |-- 93.184.216.255\n           /32 link BROADCAST\n"
    )
    six = tmp_path / "six"
    six.write_text("26064700000000000000000000001111 02 40 00 80 eth0\nnonsense\n\n")
    found = {str(address) for address in own_addresses(trie, six)}
    assert found == {"93.184.216.34", "2606:4700::1111"}
    assert own_addresses(tmp_path / "no", tmp_path / "no") == frozenset()

"""Attack: calls without number or end, answers without end, and runs that leave calls behind."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tests.egress.support import OK, redirect, response
from tests.exec.net_support import CALLS, allowing, net_world, silent

import cloche
from abuse.support import PATIENT_LIMITS, attack, completes, times_out
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.api import execute, make_request

WAIT_S = 60
CHUNK_COUNT = 1000  # 64 MB, beyond every limit of a response

CALL = {
    "python": 'import net\norigin = "{origin}"\n',
    "javascript": 'const origin = "{origin}";\n',
}
MANY = {
    "python": (
        "import asyncio\n"
        "async def call():\n"
        "    try:\n        return (await net.afetch(origin)).status\n"
        "    except net.NetError as error:\n        return error.code\n"
        "async def all():\n    return await asyncio.gather(*(call() for _ in range(100)))\n"
        "found = asyncio.run(all())\n"
        "print(*sorted({str(one) for one in found}), found.count(200))\n"
    ),
    "javascript": (
        "const call = () => fetch(origin).then((r) => r.status, (e) => e.code);\n"
        "const found = await Promise.all(Array.from({ length: 100 }, call));\n"
        "console.log([...new Set(found.map(String))].sort().join(' '),\n"
        "  found.filter((one) => one === 200).length);\n"
    ),
}
ONE = {
    "python": (
        "try:\n    print(net.fetch(origin).status)\nexcept net.NetError as error:\n"
        "    print(error.code)\n"
    ),
    "javascript": (
        "try { console.log(net.fetch(origin).status); } catch (e) { console.log(e.code); }\n"
    ),
}
FORGOTTEN = {
    "python": (
        "import asyncio\n"
        "loop = asyncio.get_running_loop()\n"
        "tasks = [loop.create_task(net.afetch(origin)) for _ in range(2)]\n"
        "await net.afetch(origin + '/there')\n"
    ),
    "javascript": (
        "for (let i = 0; i < 2; i++) fetch(origin).catch(() => 0);\n"
        "await fetch(origin + '/there');\n"
        "process.exit(0);\n"
    ),
}
both = pytest.mark.parametrize("language", CALL)


def program(language, server, code):
    """Return a program that knows its server."""
    return CALL[language].format(origin=f"https://a.example.com:{server.port}") + code


def nothing_is_left(net, server):
    """Assert that no slot is held, and that every connection is closed in the end."""
    assert net.world.egress.slots.held == 0
    until_s = time.monotonic() + WAIT_S
    while server.open_connections:
        assert time.monotonic() < until_s
        time.sleep(0.005)


@both
def test_calls_without_number(language):
    """No more calls are made than a run may make; the others end in their code."""
    with net_world() as net:
        server = net.server()
        out = completes(
            program(language, server, MANY[language]), language, policy=allowing(server)
        )
        maximum = net.world.limits.net.max_calls
        assert len(server.requests) <= maximum
        assert net.world.egress.slots.held == 0
    *codes, count = out.split()
    assert codes[0] == "200"
    assert int(count) <= maximum
    assert set(codes[1:]) <= {"NET_LIMIT", "BUDGET_CONCURRENCY"}


@both
def test_answers_without_end(language):
    """A body that never ends is refused when it is too large, and its connection is closed."""

    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(CHUNK_COUNT):
            writer.write(b"x" * 65536)
            await writer.drain()
            await asyncio.sleep(0)  # a closed connection is not waited for

    with net_world() as net:
        server = net.server(answer=lambda _: endless)
        code = program(language, server, ONE[language])
        assert completes(code, language, policy=allowing(server)) == "NET_SIZE\n"
        nothing_is_left(net, server)


@both
def test_redirects_without_end(language):
    """A circle of redirects ends at its limit."""
    with net_world() as net:
        server = net.server(answer=redirect("/"))
        code = program(language, server, ONE[language])
        assert completes(code, language, policy=allowing(server)) == "NET_BLOCKED\n"
        assert len(server.requests) == 1 + net.world.limits.net.max_redirects


@both
def test_a_run_that_is_out_of_time(language):
    """The run's own limit ends it while it waits for an answer; the call ends with it.

    The call may last as long as the run, so either may end first: what follows keeps the run
    until its own end.
    """
    until_the_end = {"egress": {"run_left_min_ms": 0, "run_reserve_ms": 0}}
    with net_world() as net:
        server = net.server(answer=lambda _: silent)
        waits = {
            "python": "try:\n    await net.afetch(origin)\nfinally:\n    while True: pass\n",
            "javascript": "try { await fetch(origin); } finally { for (;;); }\n",
        }
        code = program(language, server, waits[language])
        times_out(code, language, policy=allowing(server), limits=until_the_end)
        settle(net)
        nothing_is_left(net, server)


@both
def test_a_run_that_forgets_its_calls(language):
    """A run that ends with calls on their way leaves none behind."""
    held, are_there = [], asyncio.Event()

    def answer(request):
        """Answer one call, once the two are there that get no answer."""
        if request.target == "/there":
            return when_there()
        held.append(request)
        if len(held) == 2:
            are_there.set()
        return silent

    async def when_there():
        await are_there.wait()
        return response(Connection="close")

    with net_world() as net:
        server = net.server(answer=answer)
        _, error = attack(
            program(language, server, FORGOTTEN[language]),
            language,
            policy=allowing(server),
        )
        assert error is None
        settle(net)
        nothing_is_left(net, server)
        assert reasons(net) == ["cancelled"] * 2


@both
def test_a_run_that_is_cancelled(language):
    """Whoever cancels a run cancels its calls, also one that waits inside of a turn."""
    with net_world() as net:
        cancel = CancelToken()

        def answer(_request):
            cancel.cancel()
            return silent

        server = net.server(answer=answer)
        waits = {
            "python": "await net.afetch(origin)",
            "javascript": "await fetch(origin)",
        }
        request = make_request(
            program(language, server, waits[language]),
            language=language,
            limits=PATIENT_LIMITS,
            policy=allowing(server),
        )
        execution = execute(request, cancel=cancel)
        assert execution.error.fields["reason"] == "cancelled"
        settle(net)
        nothing_is_left(net, server)
        assert reasons(net) == ["cancelled"]


def reasons(net):
    """Return why calls failed: one that a run takes with it has not run out of time."""
    return [record.reason for record in net.world.records if record.outcome == "failed"]


def settle(net):
    """Let the service's loop finish what it was told."""
    until_s = time.monotonic() + WAIT_S
    while net.service.call(lambda egress: egress.slots.held):
        assert time.monotonic() < until_s
        time.sleep(0.005)


@both
def test_many_runs_leave_nothing(language):
    """Thirty runs that call use the connections of one service, and hold none of its slots."""
    with net_world() as net:
        before = services()
        server = net.server(answer=OK)
        code = program(language, server, ONE[language])
        for _ in range(30):
            result = cloche.run(
                code,
                language=language,
                policy=allowing(server),
                limits=PATIENT_LIMITS.replace(CALLS),
            )
            assert result.run.stdout == "200\n"
        assert net.world.egress.slots.held == 0
        assert server.open_connections <= 2
        assert services() == before


def services():
    """Return how many services have a thread."""
    return sum(thread.name == "cloche-net" for thread in threading.enumerate())

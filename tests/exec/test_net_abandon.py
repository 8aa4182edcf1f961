"""Calls that programs give up: cancelled at the host at once, and replayed to the same bytes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.egress.support import AT_LEISURE, OK

import cloche
from cloche.exec.api import default_runner, execute, make_request, read_journal
from cloche.gate.entries import EffectStarted
from cloche.gate.journal import Journal

from .net_support import allowing, net_world
from .support import LANGUAGES

# Gives up calls that are never answered, and makes another in the one slot that there is: first
# when the call is on its way, which the host waits for at what is printed, then after a time.
PROGRAMS = {
    "javascript": """
const control = new AbortController();
setTimeout(() => { console.log("given up"); control.abort(); }, 0);
for (const signal of [control.signal, AbortSignal.timeout(80)]) {
  await fetch(origin + "/never", { signal }).catch((error) => console.log(error.name));
  console.log((await fetch(origin + "/")).status);
}
""",
    "python": """
import asyncio, net
async def give_up(task):
    await asyncio.sleep(0)
    print("given up", flush=True)
    task.cancel()
async def first(task):
    await asyncio.gather(task, give_up(task))
async def second(task):
    await asyncio.wait_for(task, 0.08)
for end in (first, second):
    try:
        await end(asyncio.ensure_future(net.afetch(origin + "/never")))
    except (TimeoutError, asyncio.CancelledError) as error:
        print(type(error).__name__)
    print((await net.afetch(origin + "/")).status)
task = asyncio.ensure_future(net.afetch(origin + "/"))
await task
print(task.cancel())
""",
}
PRINTED = {
    "javascript": "given up\nAbortError\n200\nTimeoutError\n200\n",
    "python": "given up\nCancelledError\n200\nTimeoutError\n200\nFalse\n",
}
ONE_AT_ONCE = {
    **AT_LEISURE,
    "guests": {"timeout_ms": 60_000},
    "net": {**AT_LEISURE["net"], "app_concurrency": 1},
    "gate": {"effect_concurrency_max": 1},
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_calls_that_are_given_up_end_at_the_host(language, is_recorded, tmp_path):
    """Their slot and connection serve the next call, and nothing of them is left when it comes."""
    is_on_its_way = threading.Event()

    def on_output(stream, data):
        if b"given up" in data:
            assert is_on_its_way.wait(60)

    async def answer(request):
        if request.target == "/never":
            is_on_its_way.set()
            await asyncio.Event().wait()
        return OK

    path = tmp_path / "journal" if is_recorded else None
    with net_world(ONE_AT_ONCE) as net:
        server = net.server(answer=answer)
        say = "origin = " if language == "python" else "const origin = "
        live = execute(
            make_request(
                f'{say}"https://a.example.com:{server.port}"\n{PROGRAMS[language]}',
                language=language,
                policy=allowing(server),
                limits=cloche.load_limits(ONE_AT_ONCE),
            ),
            record=path,
            on_output=on_output,
        )
        held = net.service.call(lambda egress: egress.slots.held)
        net.service.call(lambda egress: egress.flush())
        reasons = [record.reason for record in net.world.records]
    assert (live.error, live.result.run.stderr) == (None, "")
    assert live.result.run.stdout == PRINTED[language]
    assert held == 0
    assert reasons[:2] == ["cancelled", None]
    # After 80 ms a busy machine may not have begun the other one.
    assert reasons[2:4] in (["cancelled", None], [None], [None, None])
    if path is not None:
        again = cloche.replay(path)
        assert again.result.run == live.result.run
        assert again.journal_hash == live.journal_hash


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_resumed_run_gives_up_what_it_had_begun(language, tmp_path):
    """Wherever the record of such a run stops, it goes on to the same end."""
    path = tmp_path / "journal"

    async def answer(request):
        if request.target == "/never":
            await asyncio.Event().wait()
        return OK

    with net_world(ONE_AT_ONCE) as net:
        server = net.server(answer=answer)
        say = "origin = " if language == "python" else "const origin = "
        request = make_request(
            f'{say}"https://a.example.com:{server.port}"\n{PROGRAMS[language]}',
            language=language,
            policy=allowing(server),
            limits=cloche.load_limits(ONE_AT_ONCE),
        )
        execute(request, record=path)
        entries = read_journal(path).entries
        first = next(n for n, entry in enumerate(entries) if isinstance(entry, EffectStarted))
        for count in range(first, len(entries)):
            before = Journal(entries[:count], bytes(32))
            resumed = default_runner().execute(request, resume=before)
            assert resumed.result.run.stdout == PRINTED[language], count
        assert net.service.call(lambda egress: egress.slots.held) == 0

"""The events of a run, pulled by a loop or awaited."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.exec.support import ENDLESS, FAILING, both, small

import cloche
from cloche import (
    Failed,
    File,
    Finished,
    InvalidRunError,
    RuntimeFailedError,
    StderrChunk,
    StdoutChunk,
    TimeoutExceededError,
)


def no_run_goes_on():
    """Wait until every thread that ran an iterator's program has ended; return whether they did."""
    threads = [thread for thread in threading.enumerate() if thread.name == "cloche-run"]
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


def joined(events, kind):
    """Return the data of all events of a kind."""
    return b"".join(event.data for event in events if isinstance(event, kind))


TALK = {
    "python": "import sys\nprint('a', flush=True)\nprint('b', file=sys.stderr)\nprint('c')\n"
    "sys.exit(4)",
    "javascript": "console.log('a'); console.error('b'); console.log('c'); process.exit(4)",
}


def check_talk(events):
    """Check the events of TALK."""
    assert [type(event) for event in events].count(Finished) == 1
    *chunks, last = events
    assert joined(chunks, StdoutChunk) == b"a\nc\n"
    assert joined(chunks, StderrChunk) == b"b\n"
    kinds = [type(chunk) for chunk in chunks]
    assert kinds.index(StderrChunk) < len(kinds) - 1 - kinds[::-1].index(StdoutChunk)
    run = last.result.run
    assert (run.stdout, run.stderr, run.exit_code) == ("a\nc\n", "b\n", 4)


@both
def test_events(language):
    """Events are the pieces of output in order, then one Finished with the whole result."""
    check_talk(list(cloche.events(TALK[language], language=language)))


@both
def test_run_streaming(language):
    """The async form yields the same events."""

    async def collect():
        return [event async for event in cloche.run_streaming(TALK[language], language=language)]

    check_talk(asyncio.run(collect()))


@both
def test_events_of_a_failure(language):
    """The last event of a run that failed is Failed, with its error and the output so far."""
    code, message, _ = FAILING[language]
    events = list(cloche.events(code, language=language))
    assert type(events[-1]) is Failed
    assert type(events[-1].error) is RuntimeFailedError
    assert events[-1].error.message == message
    assert joined(events, StdoutChunk) == b"before\n"


@both
def test_output_is_live(language):
    """Output comes while the program runs: it can be stopped by closing the iterator."""
    events = cloche.events(ENDLESS[language], language=language, limits=small(timeout_ms=10**6))
    assert next(events) == StdoutChunk(data=b"before\n")
    events.close()
    assert list(events) == []
    assert no_run_goes_on()


@both
def test_async_output_is_live(language):
    """The async iterator can be left early too, and the run ends with it."""

    async def first():
        stream = cloche.run_streaming(
            ENDLESS[language], language=language, limits=small(timeout_ms=10**6)
        )
        async for event in stream:
            await stream.aclose()
            return event
        return None

    assert asyncio.run(first()) == StdoutChunk(data=b"before\n")
    assert no_run_goes_on()


def test_the_loop_stays_free():
    """While a program runs, the event loop serves others."""

    async def both_at_once():
        loop, served = asyncio.get_running_loop(), threading.Event()

        def ask():
            loop.call_soon_threadsafe(served.set)
            return served.wait(30)

        stream = cloche.run_streaming("print(tools.ask())", language="python", tools={"ask": ask})
        return [event async for event in stream][-1]

    assert asyncio.run(both_at_once()).result.run.stdout == "True\n"


@both
def test_an_endless_program_is_stopped(language):
    """The last event of a run over its time is Failed, and says so."""
    events = list(cloche.events(ENDLESS[language], language=language, limits=small(timeout_ms=200)))
    assert type(events[-1].error) is TimeoutExceededError


def test_what_the_caller_did_wrong_is_raised():
    """A request that cannot be is raised by the iterators, not told as an event."""
    with pytest.raises(InvalidRunError):
        next(cloche.events("1", seed=-1))
    with pytest.raises(InvalidRunError):
        next(cloche.events("1", files=[File(name="", content=b"")]))

    async def streamed():
        async for _ in cloche.run_streaming("1", image="javascript", language="python"):
            pass

    with pytest.raises(InvalidRunError):
        asyncio.run(streamed())

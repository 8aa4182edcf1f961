"""Recorded requests: run again from their journal, and compared with it."""

from __future__ import annotations

import pytest

from apps.support import LIMITS, ask, build, host
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.errors import DivergenceError
from cloche.gate.journal import load_journal

CASES = [
    ("javascript", ("export default { async fetch(r) { return new Response(crypto.randomUUID() + "
     "Date.now() + await r.text(), { status: 201, headers: { 'x-a': 'b' } }) } }")),
    ("javascript", ("export default { fetch: () => new Response((async function* () { "
     "yield 'a'; await new Promise((r) => setTimeout(r, 100)); yield 'b' })()) }")),
    ("python", ("import uuid, time\ndef handle(r): return 201, {'x-a': 'b'}, "
     "f'{uuid.uuid4()} {time.time()} {r.text()}'")),
    ("python", ("import asyncio\nasync def handle(r):\n    async def g():\n        yield 'a'\n"
     "        await asyncio.sleep(0.1)\n        yield 'b'\n    return g()")),
]  # fmt: skip


def recorded(built, **options):
    """Return (what was asked, its journal)."""
    sink = MemorySink()
    asked = ask(built, record=sink, **options)
    return asked, load_journal(sink.to_bytes(), LIMITS)


@pytest.mark.parametrize(("language", "code"), CASES)
def test_a_recorded_request_gives_the_same_response(language, code):
    """The same bytes, from the same input, in the same image, without waiting."""
    built = build(code, language)
    asked, journal = recorded(built, method="POST", body=b"in")
    execution, response = host().replay(built, journal)
    assert response is not None
    assert response.is_whole
    assert (response.status, response.body) == (asked.status, bytes(asked.reply.body))
    assert list(response.lines) == asked.reply.lines
    assert execution.journal_hash == asked.execution.journal_hash == journal.hash


@pytest.mark.parametrize(("language", "code"), CASES)
def test_a_version_rebuilt_elsewhere_replays_it(language, code):
    """Who has the files needs nothing else."""
    _, journal = recorded(build(code, language))
    host().replay(build(code, language), journal)


def test_another_response_is_a_divergence():
    """The answer is an effect: what differs from the record is told with both sides."""
    first = build("export default () => new Response('one')")
    second = build("export default () => new Response('two')")
    _, journal = recorded(first)
    with pytest.raises(DivergenceError, match="image"):
        host().replay(second, journal)
    with pytest.raises(DivergenceError) as caught:
        host().replay(second, journal.moved(image_id=second.image.id, state="app"))
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_a_failed_request_replays_to_the_same_failure():
    """What failed then fails again, and no response is made up."""
    built = build("export default { async fetch(r) { throw new RangeError(await r.text()) } }")
    asked, journal = recorded(built, method="POST", body=b"why")
    execution, response = host().replay(built, journal)
    assert response is None
    assert execution.error.message == asked.execution.error.message == "RangeError: why"


def test_effects_are_answered_from_the_record():
    """Storage is not asked again."""

    class Kv:
        count = 0

        def perform(self, request, run_id):
            Kv.count += 1
            return Kv.count

    code = """
from _cloche import host
def handle(r): return str(host.effect("kv", "get", {"key": "n"}))
"""
    built = build(code, "python", storage=["kv"])
    asked, journal = recorded(built, handlers={"kv": Kv()})
    _, response = host().replay(built, journal)
    assert response.body == asked.reply.body == b"1"
    assert Kv.count == 1


def test_an_unrecorded_request_has_no_journal():
    """Nothing is hashed where nobody keeps it."""
    assert ask(build("export default () => new Response('x')")).execution.journal_hash is None

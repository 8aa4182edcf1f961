"""Bodies of apps that come and go in pieces: streams, large bodies, clients that leave."""

from __future__ import annotations

import time

import pytest

from apps.support import ask, build
from cloche.apps.messages import Collected
from cloche.apps.ports import ClientGoneError


class Slow(Collected):
    """Takes a piece when it is told to, and may leave."""

    def __init__(self, *, leaves_after: int = 10**9) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self._leaves_after = leaves_after

    def write(self, data: bytes) -> None:
        if len(self.pieces) >= self._leaves_after:
            raise ClientGoneError
        self.pieces.append(data)
        self.times.append(time.monotonic())


STREAMS = [
    ("javascript", """export default { fetch() {
        let n = 0;
        return new Response(new ReadableStream({
          pull(c) { n += 1; c.enqueue(`piece ${n};`); if (n === 3) c.close(); },
        })) } }"""),
    ("javascript", """export default { fetch() {
        const numbers = [1, 2, 3];
        return new Response((async function* () { for (const n of numbers) yield `piece ${n};` })())
      } }"""),
    ("python", "def handle(r):\n    yield from (f'piece {n};' for n in (1, 2, 3))"),
    ("python", ("async def handle(r):\n    async def g():\n        for n in (1, 2, 3):\n"
     "            yield f'piece {n};'\n    return g()")),
]  # fmt: skip


@pytest.mark.parametrize(("language", "code"), STREAMS)
def test_a_stream_comes_piece_by_piece(language, code):
    """Each piece goes to the client when it is there."""
    reply = Slow()
    asked = ask(build(code, language), reply=reply)
    assert asked.execution.failure is None, asked.printed
    assert reply.pieces == [b"piece 1;", b"piece 2;", b"piece 3;"]
    assert reply.is_whole
    assert asked.execution.body_bytes == 24


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", """export default { fetch() {
            let n = 0;
            return new Response(new ReadableStream({
              pull(c) { n += 1; c.enqueue("x"); },
              cancel(reason) { console.log("cancelled", n, reason.name) },
            })) } }"""),
        ("python", ("def handle(r):\n    def g():\n        n = 0\n        try:\n"
         "            while True:\n                n += 1\n                yield 'x'\n"
         "        finally:\n            print('cancelled', n)\n    return g()")),
        ("python", ("async def handle(r):\n    async def g():\n        n = 0\n        try:\n"
         "            while True:\n                n += 1\n                yield 'x'\n"
         "        finally:\n            print('cancelled', n)\n    return g()")),
    ],
)  # fmt: skip
def test_a_client_that_leaves_ends_the_stream(language, code):
    """The source is told, and an endless stream ends; nothing has failed."""
    reply = Slow(leaves_after=2)
    asked = ask(build(code, language), reply=reply)
    assert asked.printed.startswith("cancelled ")
    assert asked.execution.client_gone
    assert asked.execution.failure is None
    assert not reply.is_whole


def test_pieces_of_a_stream_take_their_time():
    """Sleeping between two pieces is real: an app that ticks each second does not flood."""
    for language, code in (
        (
            "javascript",
            """export default { fetch: () => new Response((async function* () {
            yield "a"; await new Promise((r) => setTimeout(r, 300)); yield "b" })()) }""",
        ),
        (
            "python",
            "import time\ndef handle(r):\n    yield 'a'\n    time.sleep(0.3)\n    yield 'b'",
        ),
    ):
        built, reply = build(code, language), Slow()
        asked_s = time.monotonic()
        ask(built, reply=reply)
        assert reply.pieces == [b"a", b"b"]
        assert reply.times[1] - asked_s > 0.3, "the second piece came before its time"


def test_large_bodies_go_out_in_pieces():
    """What is larger than an effect takes is cut, and comes together again."""
    for language, code in (
        ("javascript", "export default { fetch: () => new Response('ä😀'.repeat(400_000)) }"),
        ("python", "def handle(r): return 'ä😀' * 400_000"),
    ):
        asked = ask(build(code, language))
        assert asked.execution.failure is None, asked.printed
        assert asked.text == "ä😀" * 400_000
    for language, code in (
        (
            "javascript",
            "export default { fetch: () => new Response(new Uint8Array(3_000_001).fill(7)) }",
        ),
        ("python", "def handle(r): return b'\\x07' * 3_000_001"),
    ):
        assert bytes(ask(build(code, language)).reply.body) == b"\x07" * 3_000_001


class Pieces:
    """A body that comes in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.asked: list[int] = []

    def read(self, limit_bytes: int) -> bytes:
        self.asked.append(limit_bytes)
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("javascript", """export default { async fetch(request) {
            let n = 0; for await (const piece of request.body) n += piece.length;
            return new Response(`${n}`) } }"""),
        ("javascript", ("export default { fetch: async (r) => "
         "new Response(`${(await r.bytes()).length}`) }")),
        ("python", "def handle(r): return str(sum(map(len, r.stream())))"),
        ("python", "def handle(r): return str(len(r.body)) if r.body else ''"),
    ],
)  # fmt: skip
def test_a_large_body_is_read_as_it_comes(language, code):
    """Pieces are asked for until none is left."""
    body = Pieces(b"a" * 100_000, b"b" * 5, b"c")
    asked = ask(build(code, language), method="POST", body=body)
    assert asked.execution.failure is None, asked.printed
    assert asked.text == "100006"
    assert len(body.asked) == 4


def test_head_gets_no_body():
    """Status, fields and length are those of GET."""
    asked = ask(
        build("export default () => new Response('abc', { headers: { a: 'b' } })"), method="HEAD"
    )
    assert (asked.status, asked.text, asked.header("a")) == (200, "", ["b"])

"""Every limit of a message, at its edge and one past it, for every split."""

from __future__ import annotations

import re

import pytest

from cloche.limits import Limits
from cloche.web.http1 import chunked, framing, head
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.parser import RequestParser

from .support import parse, refusal, single_bytes, two_ways

START = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


def code_of(raw, caps):
    """Return why bytes are refused, the same for every way of cutting them in two."""
    whole = parse([raw], caps)
    assert parse(single_bytes(raw), caps) == whole
    for pieces in two_ways(raw):
        assert parse(pieces, caps) == whole
    return refusal(whole)


def test_defaults_are_the_settings():
    """Without arguments the caps are those of the group `web`."""
    assert Http1Caps.from_limits(Limits().web) == Http1Caps()


def test_request_line():
    """A request line may be as long as its limit; longer ones are found before they end."""
    caps = Http1Caps(request_line_limit_bytes=30)
    for size, code in ((30, None), (31, "LINE_TOO_LONG"), (60, "LINE_TOO_LONG")):
        line = b"GET /" + b"a" * (size - 14) + b" HTTP/1.1"
        assert len(line) == size
        assert code_of(line + b"\r\nHost: a\r\n\r\n", caps) == code
    assert refusal(parse([b"GET /" + b"a" * 26], caps, end=False)) == "LINE_TOO_LONG"
    assert refusal(parse([b"GET /" + b"a" * 25 + b"\r"], caps, end=False)) is None


def test_field_line():
    """A field line may be as long as its limit."""
    caps = Http1Caps(field_line_limit_bytes=20)
    for size, code in ((20, None), (21, "HEADER_TOO_LARGE")):
        assert code_of(START + b"x:" + b"a" * (size - 2) + b"\r\n\r\n", caps) == code
    assert refusal(parse([START + b"a" * 21], caps, end=False)) == "HEADER_TOO_LARGE"


def test_head():
    """A head may be as large as its limit, every CRLF counted."""
    caps = Http1Caps(head_limit_bytes=60)
    for size, code in ((60, None), (61, "HEADER_TOO_LARGE"), (62, "HEADER_TOO_LARGE")):
        raw = START + b"x:" + b"a" * (size - len(START) - 6) + b"\r\n\r\n"
        assert len(raw) == size
        assert code_of(raw, caps) == code
    assert code_of(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Http1Caps(head_limit_bytes=10)) == (
        "HEADER_TOO_LARGE"
    )


def test_field_count():
    """So many field lines, and not one more."""
    caps = Http1Caps(field_count_max=3)
    assert code_of(START + b"a:\r\n" * 2 + b"\r\n", caps) is None
    assert code_of(START + b"a:\r\n" * 3 + b"\r\n", caps) == "TOO_MANY_HEADERS"


def test_the_first_fault_wins():
    """A fault behind a limit is not looked for, and a limit behind a fault neither."""
    caps = Http1Caps(field_line_limit_bytes=20, field_count_max=2)
    assert code_of(START + b"a" * 30 + b"\n: b\r\n\r\n", caps) == "HEADER_TOO_LARGE"
    assert code_of(START + b"a\n" + b"b" * 30 + b"\r\n\r\n", caps) == "BAD_HEADER_LINE"
    assert code_of(START + b"a\r\n" + b"b:\r\n" * 9 + b"\r\n", caps) == "BAD_HEADER_LINE"
    assert code_of(START + b"b:\r\n" * 9 + b"a\r\n\r\n", caps) == "TOO_MANY_HEADERS"


def test_body():
    """A body may be as long as its limit, by length and by chunks."""
    caps = Http1Caps(body_limit_bytes=5)
    assert code_of(START + b"Content-Length: 5\r\n\r\nhello", caps) is None
    assert code_of(START + b"Content-Length: 6\r\n\r\nhello!", caps) == "BODY_TOO_LARGE"
    assert code_of(CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", caps) is None
    assert code_of(CHUNKED + b"2\r\nhe\r\n4\r\nllo!\r\n0\r\n\r\n", caps) == "BODY_TOO_LARGE"
    assert code_of(CHUNKED + b"ffffffffffffffff\r\n", caps) == "BODY_TOO_LARGE"


def test_chunk_line():
    """A chunk line may be as long as its limit; longer ones are found before they end."""
    caps = Http1Caps(chunk_line_limit_bytes=10)
    assert code_of(CHUNKED + b"1;abcdefgh\r\nx\r\n0\r\n\r\n", caps) is None
    assert code_of(CHUNKED + b"1;abcdefghi\r\nx\r\n0\r\n\r\n", caps) == "BAD_CHUNK"
    assert refusal(parse([CHUNKED + b"1;abcdefghi"], caps, end=False)) == "BAD_CHUNK"
    assert refusal(parse([CHUNKED + b"1;abcdefgh\r"], caps, end=False)) is None


def test_chunk_overhead():
    """Each chunk's framing is paid for by an eighth of its data, the rest by the budget."""
    caps = Http1Caps(chunk_overhead_limit_bytes=15)
    one = b"1\r\nx\r\n"  # five bytes of framing, the last chunk too
    assert code_of(CHUNKED + one * 2 + b"0\r\n\r\n", caps) is None
    assert code_of(CHUNKED + one * 3 + b"0\r\n\r\n", caps) == "CHUNK_OVERHEAD"
    paid = b"30\r\n" + b"x" * 48 + b"\r\n"
    assert code_of(CHUNKED + paid * 20 + b"0\r\n\r\n", caps) is None
    assert code_of(CHUNKED + b"2f\r\n" + b"x" * 47 + b"\r\n" + one * 2 + b"0\r\n\r\n", caps) == (
        "CHUNK_OVERHEAD"
    )
    assert refusal(parse([CHUNKED + one * 4], caps, end=False)) == "CHUNK_OVERHEAD"


def test_trailers():
    """Trailers have a size and a count."""
    caps = Http1Caps(trailer_limit_bytes=14, trailer_count_max=2)
    last = CHUNKED + b"0\r\n"
    assert code_of(last + b"a: b\r\nc: d\r\n\r\n", caps) is None
    assert code_of(last + b"a: b\r\nc: de\r\n\r\n", caps) == "BAD_TRAILER"
    assert code_of(last + b"a:\r\n" * 2 + b"\r\n", caps) is None
    assert code_of(last + b"a:\r\n" * 3 + b"\r\n", caps) == "BAD_TRAILER"
    assert refusal(parse([last + b"a" * 13], caps, end=False)) == "BAD_TRAILER"


@pytest.mark.parametrize(
    "line",
    [b"x", b" x: y", b"x : y", b"x: \x00", b"x: a\nb", b": y", b"Content-Length: 0", b"hOST: a"],
)
def test_trailers_that_are_refused(line):
    """A trailer is a field line, and none that frames, routes or authenticates."""
    assert code_of(CHUNKED + b"0\r\n" + line + b"\r\n\r\n", None) == "BAD_TRAILER"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\nx\r\n",
        b"1;\r\nx\r\n",
        b"1;a=\r\nx\r\n",
        b'1;a="b\r\nx\r\n',
        b"1;a\x00\r\nx\r\n",
        b"1;a\nb\r\nx\r\n",
        b"1\rx\r\n",
        b"1\r\nxy",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx\r0\r\n\r\n",
        b"00000000000000001\r\nx\r\n",
        b"1_0\r\n",
    ],
)
def test_chunks_that_are_refused(body):
    """A size is hexadecimal digits, a line ends with CRLF, and so does the data."""
    assert code_of(CHUNKED + body, None) == "BAD_CHUNK"


class CountingBuffer(bytearray):
    """What the parser keeps, counting the bytes that are looked at or copied."""

    touched = 0

    def find(self, wanted, start, end=None):
        """Count what a search goes over."""
        end = len(self) if end is None else min(end, len(self))
        found = super().find(wanted, start, end)
        CountingBuffer.touched += max(0, (end if found < 0 else found) - start)
        return found

    def __bytes__(self):
        """Count a copy."""
        CountingBuffer.touched += len(self)
        return bytes(memoryview(self))


def touched(raw, caps):
    """Return how many bytes are looked at when a request comes byte by byte."""
    CountingBuffer.touched = 0
    parser = RequestParser(caps)
    parser._rest = CountingBuffer()
    for piece in single_bytes(raw):
        parser.feed(piece)
    return CountingBuffer.touched


class CountingBytes(bytes):
    """What is fed, counting the bytes that are copied out of it."""

    __slots__ = ()
    copied = 0

    def __getitem__(self, key):
        """Count a slice."""
        found = super().__getitem__(key)
        CountingBytes.copied += len(found) if isinstance(key, slice) else 0
        return found


def test_waiting_requests_are_not_copied():
    """However many requests wait in one piece, an answer does not copy those behind it."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    CountingBytes.copied = 0
    parser = RequestParser(Http1Caps(pipelining_depth_max=1))
    events = parser.feed(CountingBytes(raw))
    while not parser.is_reading:
        events += parser.answered()
    assert len(events) == 4000
    assert CountingBytes.copied <= len(raw)


WIDE = Http1Caps(
    request_line_limit_bytes=1 << 20,
    field_line_limit_bytes=1 << 20,
    head_limit_bytes=1 << 20,
    field_count_max=100_000,
    chunk_overhead_limit_bytes=1 << 30,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda size: b"GET /" + b"a" * size,
        lambda size: START + b"x: " + b"a" * size,
        lambda size: START + b"x: y\r\n" * (size // 6),
        lambda size: START + b"\r" * size,
        lambda size: START + b"x: " + b"\ra" * (size // 2) + b"\r\n\r\n",
        lambda size: CHUNKED + b"1\r\nx\r\n" * (size // 6),
        lambda size: CHUNKED + (b"1;" + b"a" * 300 + b"\r\nx\r\n") * (size // 300),
    ],
)
def test_work_is_linear_in_the_input(make):
    """Twice the bytes, one at a time, are twice the work, and never a rescan of what was kept."""
    small, large = touched(make(4000), WIDE), touched(make(8000), WIDE)
    assert large <= 2.2 * small + 1000


@pytest.mark.parametrize(
    "pattern",
    [
        head.HEAD,
        head.FIELD,
        head._REQUEST_LINE,
        head._ANY_TARGET,
        framing._HOST,
        framing._AUTHORITY_FORM,
        framing._ABSOLUTE_FORM,
        framing._LENGTH,
        chunked._SIZE_LINE,
    ],
    ids=lambda pattern: pattern.pattern[:20],
)
def test_expressions_never_go_back(pattern):
    """No expression has an open repetition that could give back what it took."""
    open_ended = re.findall(
        r"(\w+)_REPEAT, \(\d+, MAXREPEAT", str(re._parser.parse(pattern.pattern))
    )
    assert set(open_ended) <= {"POSSESSIVE"}

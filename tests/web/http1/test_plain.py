"""Heads that are read quickly mean what they mean when they are read line by line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.http1 import plain, repeated
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.events import RequestHead
from cloche.web.http1.framing import read_head
from cloche.web.http1.parser import RequestParser
from cloche.web.http1.plain import FIELD_COUNT_MAX, SHAPE_COUNT_MAX, PlainHeads, shape_of
from cloche.web.http1.repeated import KEPT_LIMIT_BYTES, PAUSE_COUNT, VARYING_COUNT_MAX

from .support import answered, parse

NAMES = (
    b"Host host hOST Connection Content-Length Transfer-Encoding Expect Upgrade Cookie X-Id Accept "
    b"te Set-Cookie X_A !#$%&'*+-.^`|~ "
).split(b" ")  # and an empty one
VALUES = (
    b"a|a:80|a:|[::1]|a b|a%2|%41|(|keep-alive|Keep-Alive|close|upgrade|keep-alive, close|chunked|5"
    b"|05|5, 5|+5|99999999999999999999|100-continue|websocket|x: y|\tx|x |\xff||\x00|a\rb|a\nb"
).split(b"|")
LINES = (
    b"GET / HTTP/1.1|POST /a?b#c HTTP/1.1|get /%zz HTTP/1.1|GET * HTTP/1.1|GET http://a/ HTTP/1.1"
    b"|CONNECT / HTTP/1.1|CONNECT a:1 HTTP/1.1|CONNECTED / HTTP/1.1|GET / HTTP/1.0|GET / HTTP/2.0"
    b"|GET  / HTTP/1.1|GET / HTTP/1.1 |GET /\xff HTTP/1.1|" + b"A" * 33 + b" / HTTP/1.1"
).split(b"|")
SPACES = (b": ", b":", b":\t", b":  ", b" : ")
CAPS = Http1Caps(pipelining_depth_max=1000)


def head_of(*fields, line=b"GET / HTTP/1.1"):
    """Return a request of this line and these field lines, without a body."""
    return b"\r\n".join((line, *fields, b"", b""))


def lines_of(fields):
    """Return field lines of names, spaces and values."""
    return [b"".join(field) for field in fields]


USUAL = st.tuples(
    st.sampled_from([b"Host", b"Connection", b"Cookie", b"X-Id", b"Content-Length"]),
    st.just(b": "),
    st.sampled_from([b"a", b"keep-alive", b"5", b"0", b"x y", b"b"]),
)
ANY = st.tuples(st.sampled_from(NAMES), st.sampled_from(SPACES), st.sampled_from(VALUES))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(LINES), st.lists(USUAL | ANY, max_size=6), st.booleans())
def test_what_is_read_is_what_framing_says(line, fields, with_host):
    """A head that is plain is the same head by the other way; what is refused is never plain."""
    lines = [b"Host: a"] * with_host + lines_of(fields)
    data = b"before" + head_of(*lines, line=line)
    found = PlainHeads(CAPS).read(data, len(b"before"))
    if found is not None:
        assert found == (read_head(data, len(b"before"), len(data), CAPS), len(data))
        assert isinstance(found[0], RequestHead)


PLAIN = (b"Host: a:80", b"X-Id: 1", b"x-id: a: \xff b", b"Content-Length: 5", b"Cookie: a")


@pytest.mark.parametrize(
    "head",
    [
        head_of(*PLAIN),
        head_of(*PLAIN, b"Connection: keep-alive"),
        head_of(*PLAIN[::-1], line=b"A" * 32 + b' /"?% HTTP/1.1'),
        head_of(*PLAIN, *(b"X: y" for _ in range(FIELD_COUNT_MAX - len(PLAIN)))),
    ],
)
def test_what_is_plain(head):
    """What clients send is read quickly."""
    assert PlainHeads(CAPS).read(head, 0) == (read_head(head, 0, len(head), CAPS), len(head))


@pytest.mark.parametrize(
    "head",
    [
        head_of(*PLAIN, line=b"GET http://a/ HTTP/1.1"),
        head_of(*PLAIN, line=b"GET / HTTP/1.0"),
        head_of(*PLAIN, line=b"CONNECT /a HTTP/1.1"),
        head_of(*PLAIN, b"Transfer-Encoding: chunked"),
        head_of(*PLAIN, b"Expect: 100-continue"),
        head_of(*PLAIN, b"Upgrade: websocket"),
        head_of(*PLAIN, b"Connection: close"),
        head_of(*PLAIN, b"Host: a:80"),
        head_of(*PLAIN, b"Content-Length: 5"),
        head_of(*PLAIN, b"Connection: keep-alive", b"connection: keep-alive"),
        head_of(*PLAIN, b"A:b"),
        head_of(*PLAIN, b"A: b "),
        head_of(*PLAIN, b"A:  b"),
        head_of(*PLAIN, b"A: "),
        head_of(*PLAIN[1:]),
        head_of(b"Host: (", b"Host: ["),
        head_of(b"Host: ["),
        head_of(b"Host: a", b"Content-Length: 1048577"),
        head_of(b"Host: a", b"Content-Length: -1"),
        head_of(*PLAIN, *(b"X: y" for _ in range(FIELD_COUNT_MAX - len(PLAIN) + 1))),
        head_of(b"Host: a", b"X: " + b"a" * plain.SHAPE_LIMIT_BYTES),
        head_of(*PLAIN)[:-1],
    ],
)
def test_what_is_left_to_framing(head):
    """What is wrong or unusual is not judged here."""
    assert PlainHeads(CAPS).read(head, 0) is None


def test_a_host_is_looked_at_each_time():
    """One that was valid says nothing of another one."""
    heads = PlainHeads(CAPS)
    assert heads.read(head_of(b"Host: a"), 0) is not None
    assert heads.read(head_of(b"Host: ["), 0) is None
    assert heads.read(head_of(b"Host: ["), 0) is None


@pytest.mark.parametrize(
    "caps",
    [
        Http1Caps(field_count_max=FIELD_COUNT_MAX - 1),
        Http1Caps(request_line_limit_bytes=30),
        Http1Caps(field_line_limit_bytes=30),
        Http1Caps(head_limit_bytes=30),
    ],
)
def test_heads_that_may_be_over_a_limit_are_left_to_framing(caps):
    """No limit of a head is judged here, and none is passed over."""
    assert PlainHeads(caps).read(head_of(b"Host: a", b"X-Id: 1"), 0) is None


def test_what_is_remembered_of_names_is_bounded():
    """Clients that send other names each time do not grow the memory, nor learn from values."""
    heads = PlainHeads(CAPS)
    for number in range(2 * SHAPE_COUNT_MAX):
        assert heads.read(head_of(b"Host: a", b"X-%d: secret" % number), 0) is not None
    assert shape_of.cache_info().currsize <= SHAPE_COUNT_MAX
    assert shape_of((b"Host", b"X")) is shape_of((b"Host", b"X"))


# Heads of one connection.

SEQUENCES = st.lists(
    st.tuples(st.sampled_from(LINES[:4]), st.lists(USUAL | ANY, max_size=4)), min_size=2, max_size=5
)


def follow(heads, caps=CAPS):
    """Check that each head means on one connection what it means on a new one."""
    parser = RequestParser(caps)
    for head in heads:
        expected = parse([head], caps, answer=True)
        found = answered(parser, parser.feed(head))
        if parser.is_closed or not parser.is_idle:
            found += parser.finish()
            assert found == expected
            return
        assert found == expected


@settings(deadline=None)
@given(SEQUENCES)
def test_heads_that_follow_each_other(sequence):
    """Whatever a connection has learnt, the next head is read as on a new one."""
    follow([head_of(b"Host: a", *lines_of(fields), line=line) for line, fields in sequence])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(NAMES[4:12]), min_size=1, max_size=6),
    st.data(),
)
def test_heads_with_other_values(names, data):
    """Values that vary are checked each time, wherever they stand and whatever they are."""
    pools = {name: st.sampled_from([b"1", b"22", b"a: b"]) for name in names}
    if data.draw(st.booleans()):
        pools[data.draw(st.sampled_from(names))] = st.sampled_from(VALUES)
    follow(
        head_of(b"Host: a", *(name + b": " + data.draw(pools[name]) for name in names))
        for _ in range(5)
    )


def numbered(*values):
    """Return a head with these values, each in a field of its own."""
    return head_of(b"Host: a", *(b"X-%d: %b" % pair for pair in enumerate(values)), b"Y: z")


def learnt(*heads):
    """Return what a connection has kept of some heads."""
    reader = PlainHeads(CAPS)
    for head in heads:
        assert reader.read(head, 0) is not None
    return reader._repeated


def test_values_that_vary_are_learnt():
    """Once a value was another one, it alone is read; a second one is learnt beside it."""
    fields = learnt(numbered(b"1", b"1"), numbered(b"2", b"1"))
    found, end = fields.find(numbered(b"333 ", b"1"), 0)
    assert end == len(numbered(b"333 ", b"1"))
    assert found.fields == [(b"host", b"a"), (b"x-0", b"333"), (b"x-1", b"1"), (b"y", b"z")]
    assert fields.find(numbered(b"3", b"2"), 0) is None
    fields = learnt(numbered(b"1", b"1"), numbered(b"2", b"1"), numbered(b"2", b"2"))
    assert fields.find(numbered(b"", b"4"), 0)[0].fields[1:3] == [(b"x-0", b""), (b"x-1", b"4")]


@pytest.mark.parametrize(
    "value", [b"a\nb", b"a\rb", b"\x00", b"\x7f", b"a\r\nHost: b", b"a\r\n\r\n"]
)
def test_values_that_vary_are_checked(value):
    """A value that no field may have, or more than a value, is no repetition."""
    fields = learnt(numbered(b"1"), numbered(b"2"))
    assert fields.find(numbered(b"3"), 0) is not None
    assert fields.find(numbered(value), 0) is None


def test_values_that_vary_are_within_the_limits():
    """A head with a longer value may not be larger than a head that is read so."""
    fields = learnt(numbered(b"1"), numbered(b"2"))
    room = plain.SHAPE_LIMIT_BYTES - len(numbered(b""))
    assert fields.find(numbered(b"a" * room), 0) is not None
    assert fields.find(numbered(b"a" * (room + 1)), 0) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"Host: a", b"X: y"), (b"Host: b", b"X: y")),
        ((b"Host: a", b"Content-Length: 1"), (b"Host: a", b"Content-Length: 2")),
    ],
)
def test_fields_that_frame_do_not_vary(one, other):
    """Another Host or length is another head."""
    assert learnt(head_of(*one)).find(head_of(*other), 0) is None
    assert learnt(head_of(*one), head_of(*other)).head is None


def test_learning_pauses():
    """Where too much differs nothing is kept for a while, and then again."""
    few = [b"%d" % number for number in range(VARYING_COUNT_MAX)]
    assert learnt(numbered(*few), numbered(*reversed([*few[1:], b"9"]))).head is not None
    many = [*few, b"x"]
    first, second = numbered(*many), numbered(*(value + b"y" for value in many))
    assert learnt(first, second).pause_count == PAUSE_COUNT
    waiting = learnt(first, second, *[first] * PAUSE_COUNT)
    assert (waiting.head, waiting.pause_count) == (None, 0)
    assert learnt(first, second, *[first] * (PAUSE_COUNT + 1)).find(first, 0) is not None


def test_large_fields_are_not_kept():
    """What a connection keeps is bounded."""
    size = KEPT_LIMIT_BYTES - len(b"Host: a\r\nX-0: \r\nY: z\r\n\r\n")
    assert learnt(numbered(b"a" * size)).head is not None
    assert learnt(numbered(b"a" * (size + 1))).head is None
    assert repeated.KEPT_LIMIT_BYTES < plain.SHAPE_LIMIT_BYTES

"""The stream form: what is a request, where it ends, what follows; splits do not matter."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.events import END, Data, Reject, RequestHead
from cloche.web.http1.parser import RequestParser

from .support import answered, parse, refusal, requests, single_bytes, two_ways

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;a=b; c="d;\\""\r\nhello\r\n00006\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n'
)
CLOSE = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
CONNECT = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"


def head_of(fields=b"Host: a\r\n", line=b"GET / HTTP/1.1"):
    """Return a request of this line and these fields."""
    return line + b"\r\n" + fields + b"\r\n"


def code_of(raw, caps=None):
    """Return why a request is refused, the same for every way of cutting it in two."""
    whole = parse([raw], caps)
    assert parse(single_bytes(raw), caps) == whole
    for pieces in two_ways(raw):
        assert parse(pieces, caps) == whole
    return refusal(whole)


def test_a_request_without_a_body():
    """A head and its end; names are lowercase, values have no white space around them."""
    raw = head_of(b"HOST:a\r\nX-Empty:\r\nX-Space: \t b c\t \r\n", b"GET /a?b=%20 HTTP/1.1")
    head = RequestHead(
        "GET",
        "/a?b=%20",
        "1.1",
        [(b"host", b"a"), (b"x-empty", b""), (b"x-space", b"b c")],
        0,
        True,
        False,
        False,
    )
    assert parse([raw]) == [head, END]


def test_a_body_of_known_length():
    """The body is as long as its field says, and pieces come as they arrive."""
    head, body, end = parse([POST])
    assert (head.content_length, body, end) == (5, Data(b"hello"), END)
    parser = RequestParser()
    assert [type(event) for event in parser.feed(POST[:-3])] == [RequestHead, Data]
    assert parser.feed(POST[-3:-1]) == [Data(b"ll")]
    assert parser.feed(POST[-1:]) == [Data(b"o"), END]


def test_a_chunked_body():
    """Extensions and trailers are dropped; leading zeros of a size mean nothing."""
    head, body, end = parse([CHUNKED])
    assert (head.content_length, body, end) == (None, Data(b"hello world"), END)


def test_pipelined_requests():
    """Requests one behind the other are the requests."""
    events = parse([GET + POST + CHUNKED + GET + CLOSE])
    found = [(head.target, body) for head, body in requests(events)]
    assert found == [
        ("/", b""),
        ("/p", b"hello"),
        ("/c", b"hello world"),
        ("/", b""),
        ("/last", b""),
    ]
    assert events == [event for raw in (GET, POST, CHUNKED, GET, CLOSE) for event in parse([raw])]


def test_nothing_is_read_behind_a_close():
    """What follows a request that closes is no request, and no error."""
    parser = RequestParser()
    assert len(parser.feed(CLOSE + GET)) == 2
    assert parser.is_closed
    assert not parser.is_reading
    assert parser.feed(GET) == []
    assert parser.finish() == []


def test_nothing_is_read_behind_a_refusal():
    """After the first error not one byte more is interpreted."""
    parser = RequestParser()
    events = parser.feed(GET + b"GET  HTTP/1.1\r\n\r\n" + GET)
    assert [type(event) for event in events] == [RequestHead, type(END), Reject]
    assert parser.feed(GET) == []
    assert parser.is_closed


def test_depth_of_pipelining():
    """With so many requests open the parser stops, and goes on with each answer."""
    parser = RequestParser(Http1Caps(pipelining_depth_max=2))
    assert len(requests(parser.feed(GET * 5 + GET[:9]))) == 2
    assert not parser.is_reading
    assert parser.feed(GET[9:-1]) == []
    for _ in range(3):
        assert len(requests(parser.answered())) == 1
        assert not parser.is_reading
    assert parser.answered() == []
    assert parser.is_reading
    assert len(requests(parser.feed(GET[-1:]))) == 1


def test_an_offer_to_upgrade_stops_reading():
    """What follows an upgrade is not HTTP before the offer is declined."""
    parser = RequestParser()
    head, end = parser.feed(UPGRADE + GET)
    assert (head.upgrades, end, parser.is_reading) == (True, END, False)
    assert [event.target for event in parser.answered()[:1]] == ["/"]
    assert parser.is_reading


def test_an_upgrade_that_is_taken():
    """The bytes behind it belong to the other protocol, whenever they came."""
    parser = RequestParser()
    parser.feed(UPGRADE + b"\x81")
    assert parser.feed(b"\x00") == []
    assert parser.take_over() == b"\x81\x00"
    assert parser.is_closed
    assert parser.feed(GET) == []


def test_an_upgrade_waits_for_the_answers_before_it():
    """Answers to earlier requests do not decline an offer."""
    parser = RequestParser()
    assert len(requests(parser.feed(GET + UPGRADE + GET))) == 2
    assert parser.answered() == []
    assert not parser.is_reading
    assert len(requests(parser.answered())) == 1


@pytest.mark.parametrize(
    "fields",
    [b"Upgrade: x\r\n", b"Connection: upgrade\r\n", b"Connection: upgrade\r\nUpgrade:\r\n"],
)
def test_what_is_no_offer(fields):
    """Both fields are needed, and a protocol must be named."""
    assert parse([head_of(b"Host: a\r\n" + fields)])[0].upgrades is False


def test_connect_never_goes_on_as_http():
    """Whatever the answer to CONNECT, what follows is not a request."""
    parser = RequestParser()
    head, _ = parser.feed(CONNECT + GET)
    assert (head.method, head.target, head.upgrades) == ("CONNECT", "a:443", True)
    assert parser.answered() == []
    assert parser.is_closed


def test_a_close_with_a_declined_offer():
    """A connection that was to close after the offer closes."""
    raw = UPGRADE.replace(b"keep-alive", b"close")
    parser = RequestParser()
    assert len(parser.feed(raw + GET)) == 2
    assert parser.answered() == []
    assert parser.is_closed


@pytest.mark.parametrize("cut", range(1, len(CHUNKED)))
def test_an_end_inside_of_a_message(cut):
    """Input that ends inside of a request is an error, at any byte."""
    assert refusal(parse([CHUNKED[:cut]])) == "TRUNCATED"


def test_an_end_between_messages():
    """Input that ends behind a request, or behind an empty line, is no error."""
    assert refusal(parse([GET])) is None
    assert refusal(parse([GET, b"\r\n"])) is None
    assert refusal(parse([GET, b"\r"])) == "TRUNCATED"
    assert parse([]) == []


def test_an_end_while_requests_wait():
    """The half that was kept is an error once it is its turn."""
    parser = RequestParser(Http1Caps(pipelining_depth_max=1))
    parser.feed(GET + POST[:-1])
    assert parser.finish() == []
    assert refusal(parser.answered()) == "TRUNCATED"


def test_idle():
    """A connection is idle only where not a byte of a request was seen."""
    parser = RequestParser()
    assert parser.is_idle
    parser.feed(b"G")
    assert not parser.is_idle
    parser.feed(GET[1:])
    assert parser.is_idle
    parser.feed(POST[:-1])
    assert not parser.is_idle


def test_expectations():
    """100-continue is told; anything else is refused; an old client is not understood to ask."""
    assert parse([head_of(b"Host: a\r\nExpect: 100-Continue\r\n")])[0].expects_continue
    assert code_of(head_of(b"Host: a\r\nExpect: 200-ok\r\n")) == "EXPECTATION_UNKNOWN"
    assert code_of(head_of(b"Host: a\r\n" + b"Expect: 100-continue\r\n" * 2)) is not None
    old = head_of(b"Expect: x\r\n", b"GET / HTTP/1.0")
    assert not parse([old], Http1Caps(http_1_0=True))[0].expects_continue


def test_http_1_0():
    """An older client is answered with 505; where it is admitted, its connection closes."""
    raw = head_of(b"Connection: keep-alive\r\n", b"GET / HTTP/1.0")
    assert code_of(raw) == "UNSUPPORTED_VERSION"
    caps = Http1Caps(http_1_0=True)
    head, end = parse([raw + GET], caps)
    assert (head.version, head.keep_alive, end) == ("1.0", False, END)
    assert code_of(head_of(b"Host: a b\r\n", b"GET / HTTP/1.0"), caps) == "BAD_HOST"
    chunked = CHUNKED.replace(b"1.1", b"1.0")
    assert code_of(chunked, caps) == "BAD_TRANSFER_ENCODING"


def test_empty_lines_before_a_request():
    """Two empty lines are passed over, a third is none of HTTP; a bare line feed never."""
    for count in (1, 2):
        assert parse([b"\r\n" * count + GET]) == parse([GET])
        assert parse(single_bytes(GET + b"\r\n" * count + GET)) == parse([GET + GET])
    assert code_of(b"\r\n" * 3 + GET) == "BAD_START_LINE"
    assert code_of(b"\n" + GET) == "BAD_START_LINE"
    assert code_of(b"\r" + GET) == "BAD_START_LINE"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"GET /", "BAD_START_LINE"),
        (b"GET  / HTTP/1.1", "BAD_START_LINE"),
        (b"GET / HTTP/1.1 ", "BAD_START_LINE"),
        (b" GET / HTTP/1.1", "BAD_START_LINE"),
        (b"GET\t/ HTTP/1.1", "BAD_START_LINE"),
        (b"GET / a HTTP/1.1", "BAD_START_LINE"),
        (b"GET / http/1.1", "BAD_START_LINE"),
        (b"GET / HTTP/1", "BAD_START_LINE"),
        (b"GET / HTTP/11.1", "BAD_START_LINE"),
        (b"G\x00T / HTTP/1.1", "BAD_START_LINE"),
        (b"G@T / HTTP/1.1", "BAD_START_LINE"),
        (b"GET / HTTP/1.1\n", "BAD_START_LINE"),
        (b"GET /\r HTTP/1.1", "BAD_START_LINE"),
        (b"GET / HTTP/0.9", "UNSUPPORTED_VERSION"),
        (b"GET / HTTP/1.2", "UNSUPPORTED_VERSION"),
        (b"PRI * HTTP/2.0", "UNSUPPORTED_VERSION"),
        (b"M" * 33 + b" / HTTP/1.1", "BAD_METHOD"),
        (b"GET /a#b HTTP/1.1", "BAD_TARGET"),
        (b"GET /\xff HTTP/1.1", "BAD_TARGET"),
        (b"GET /\x7f HTTP/1.1", "BAD_TARGET"),
        (b"GET a HTTP/1.1", "BAD_TARGET"),
        (b"GET * HTTP/1.1", "BAD_TARGET"),
        (b"GET ftp://a/ HTTP/1.1", "BAD_TARGET"),
        (b"GET http:///a HTTP/1.1", "BAD_TARGET"),
        (b"GET http:// HTTP/1.1", "BAD_TARGET"),
        (b"GET http://:80/ HTTP/1.1", "BAD_TARGET"),
        (b"GET http://a:b/ HTTP/1.1", "BAD_TARGET"),
        (b"GET a:443 HTTP/1.1", "BAD_TARGET"),
        (b"CONNECT / HTTP/1.1", "BAD_TARGET"),
        (b"CONNECT a HTTP/1.1", "BAD_TARGET"),
        (b"CONNECT :1 HTTP/1.1", "BAD_TARGET"),
        (b"CONNECT http://a:443/ HTTP/1.1", "BAD_TARGET"),
    ],
)
def test_request_lines_that_are_refused(line, code):
    """Each part of the request line has its own error."""
    assert code_of(head_of(line=line)) == code


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://a HTTP/1.1",
        b"GET HTTPS://u:p@[::1]:8443/x?y HTTP/1.1",
        b"GET http://a?b HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT [::1]:443 HTTP/1.1",
        b'GET /"<>\\^`{|}% HTTP/1.1',
        b"GET //a HTTP/1.1",
        b"m!#$%&'*+-.^_`|~9 / HTTP/1.1",
        b"M" * 32 + b" / HTTP/1.1",
    ],
)
def test_request_lines_that_are_accepted(line):
    """All four forms of a target, and any method that is a token."""
    assert code_of(head_of(line=line)) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b"Host: a\r\n b\r\n", "OBS_FOLD"),
        (b" Host: a\r\n", "OBS_FOLD"),
        (b"\tHost: a\r\n", "OBS_FOLD"),
        (b"Host: a\r\nb\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\n: b\r\n", "BAD_HEADER_LINE"),
        (b"Host : a\r\n", "BAD_HEADER_LINE"),
        (b"Host\x00: a\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\nb: \x00\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\nb: \x7f\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\nb: \x0b\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\nb: c\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\rb: c\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\r\n", "BAD_HEADER_LINE"),
        (b"Host: a\r\n\xc3\xa4: b\r\n", "BAD_HEADER_LINE"),
        (b"", "BAD_HOST"),
        (b"Host: a\r\nHost: a\r\n", "BAD_HOST"),
        (b"Host: a\r\nhost:\r\n", "BAD_HOST"),
        (b"Host: a b\r\n", "BAD_HOST"),
        (b"Host: a, b\r\n", "BAD_HOST"),
        (b"Host: a/b\r\n", "BAD_HOST"),
        (b"Host: u@a\r\n", "BAD_HOST"),
        (b"Host: a:b\r\n", "BAD_HOST"),
        (b"Host: a:123456\r\n", "BAD_HOST"),
        (b"Host: [::1\r\n", "BAD_HOST"),
        (b"Host: %zz\r\n", "BAD_HOST"),
        (b"Host: \xff\r\n", "BAD_HOST"),
    ],
)
def test_fields_that_are_refused(fields, code):
    """A field line has one spelling, and there is exactly one valid Host."""
    assert code_of(head_of(fields)) == code


@pytest.mark.parametrize(
    "fields",
    [
        b"Host:\r\n",
        b"Host: [::1]:80\r\n",
        b"Host: a-b.c_d:\r\n",
        b"Host: %C3%B1\r\n",
        b"Host: a\r\nX_Y: \xe4\xff\tb\r\n",
        b"Host: a\r\n!#$%&'*+-.^_`|~9:\r\n",
    ],
)
def test_fields_that_are_accepted(fields):
    """Hosts of all kinds, names of all token characters, and old text in values."""
    assert code_of(head_of(fields)) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "TE_AND_CL"),
        (b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n", "TE_AND_CL"),
        (b"Transfer-Encoding: gzip\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding:\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: chunked, chunked\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: chunked\r\n" * 2, "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: chunked, gzip\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: chunked;a=b\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: xchunked\r\n", "BAD_TRANSFER_ENCODING"),
        (b"Transfer-Encoding: gzip, chunked\r\n", "TRANSFER_ENCODING_UNSUPPORTED"),
        (b"Transfer-Encoding: identity, Chunked\r\n", "TRANSFER_ENCODING_UNSUPPORTED"),
        (b"Content-Length:\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: +5\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: -0\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 5 5\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 0x5\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 5_0\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 5,\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: \xb2\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 00000000000000000005\r\n", "CONTENT_LENGTH_INVALID"),
        (b"Content-Length: 5, 6\r\n", "CONTENT_LENGTH_CONFLICT"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", "CONTENT_LENGTH_CONFLICT"),
        (b"Content-Length: 5, 05\r\n", "CONTENT_LENGTH_CONFLICT"),
        (b"Content-Length: 1048577\r\n", "BODY_TOO_LARGE"),
        (b"Content-Length: 9999999999999999999\r\n", "BODY_TOO_LARGE"),
    ],
)
def test_framing_that_is_refused(fields, code):
    """A body has one length that every reader agrees on, or the request is refused."""
    assert code_of(head_of(b"Host: a\r\n" + fields, b"POST / HTTP/1.1")) == code


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5\r\ncontent-length:5\r\n",
        b"Content-Length: 0000000000000000005\r\n",
    ],
)
def test_lengths_that_agree(fields):
    """Several equal lengths are one."""
    raw = head_of(b"Host: a\r\n" + fields) + b"hello"
    assert requests(parse([raw]))[0][1] == b"hello"


LINES = [
    b"GET / HTTP/1.1",
    b"PUT /a?b HTTP/1.1",
    b"GET http://b/ HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET a HTTP/1.1",
    b"CONNECT /a HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/2.0",
    b"GET / HTTP/1.1 ",
    b"GET  / HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"A" * 33 + b" / HTTP/1.1",
    b"GET /" + b"a" * 40 + b" HTTP/1.1",
]
BLOCKS = [
    b"Host: a\r\nX-A: b \r\n",
    b"Host: a\r\nConnection: close\r\n",
    b"Host: a\r\nConnection: upgrade\r\nUpgrade: b\r\n",
    b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n",
    b"Host: a\r\nX-A: " + b"b" * 2000 + b"\r\n",
]


@pytest.mark.parametrize("http_1_0", [False, True])
@pytest.mark.parametrize("limit_bytes", [8192, 50])
@pytest.mark.parametrize("second", LINES)
@pytest.mark.parametrize("block", BLOCKS)
def test_fields_that_are_sent_again(block, second, limit_bytes, http_1_0):
    """A request with the fields of the one before means what it means on a new connection."""
    caps = Http1Caps(request_line_limit_bytes=limit_bytes, http_1_0=http_1_0)
    parser = RequestParser(caps)
    before = parse([head_of(block)], caps)
    assert answered(parser, parser.feed(head_of(block))) == before
    if parser.is_closed:
        return
    assert parser.feed(head_of(block, second)) == parse([head_of(block, second)], caps)


def test_fields_that_are_sent_again_with_bodies():
    """Each request has its own body, of the same length or in chunks."""
    for message in (POST, CHUNKED):
        once = parse([message])
        assert parse([message * 3]) == once * 3


def test_fields_of_two_requests_are_two_lists():
    """Who changes the fields of one request does not change those of the next."""
    first, _, second, _ = RequestParser().feed(GET + GET)
    first.fields.append((b"x", b"y"))
    assert second.fields == [(b"host", b"a")]


def test_fields_that_are_almost_the_same():
    """One byte more, less or another one is another head."""
    for other in (b"Host: b\r\n", b"Host: a\r\nX: y\r\n", b"", b"Host: ab\r\n", b"Host:a\r\n"):
        assert parse([GET + head_of(other)])[2:] == parse([head_of(other)])


CODINGS = st.sampled_from([GET, POST, CHUNKED, UPGRADE, CLOSE, CONNECT, b"\r\n", b"GET /\n"])


@settings(deadline=None)
@given(st.lists(CODINGS, max_size=5), st.data())
def test_any_split_gives_the_same_events(messages, data):
    """However bytes are cut, the events are the same, answered at once or not."""
    raw = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    for answer in (False, True):
        assert parse(pieces, answer=answer) == parse([raw], answer=answer)


@settings(deadline=None)
@given(st.lists(st.sampled_from([GET, POST, CHUNKED]), min_size=1, max_size=3), st.data())
def test_mutations_never_break_the_parser(messages, data):
    """Whatever is changed in a request, the events end well and do not depend on splits."""
    raw = bytearray(b"".join(messages))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        new = data.draw(
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b" ", b"\x00", b":", b"0", b"\xff", b",;="]
            )
            | st.binary(max_size=3)
        )
        raw[at : at + data.draw(st.integers(0, 3))] = new
    raw = bytes(raw)
    whole = parse([raw])
    assert all(not isinstance(event, Reject) for event in whole[:-1])
    cut = data.draw(st.integers(0, len(raw)))
    assert parse([raw[:cut], raw[cut:]]) == whole
    assert parse(single_bytes(raw)) == whole


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"CONNECT !:0 HTTP/1.1\r\nHost:\r\n\r\n")
@example(b"GET / HTTP/1.1\r\n\r\n")
def test_noise(raw):
    """Arbitrary bytes never raise, and never become a request without a Host."""
    assert parse(single_bytes(raw)) == parse([raw])
    for head, _ in requests(parse([raw])):
        assert [name for name, _ in head.fields].count(b"host") == 1


# RFC 9110 section 5.6.2, written out: the punctuation that a token may have.
TOKEN = frozenset(b"!#$%&'*+-.^_`|~") | frozenset(
    byte for byte in range(128) if chr(byte).isalnum()
)


@pytest.mark.parametrize("byte", range(256))
def test_what_a_token_has(byte):
    """Names of fields and methods have these bytes and no others."""
    accepted = code_of(head_of(b"Host: a\r\nx" + bytes((byte,)) + b"y: 1\r\n")) is None
    # A colon ends the name, and what follows it is the value.
    assert accepted is (byte in TOKEN or byte == ord(":"))
    method = code_of(head_of(line=b"A" + bytes((byte,)) + b" / HTTP/1.1")) is None
    assert method is (byte in TOKEN)

"""Mutation fuzzing of everything in the web room that reads bytes of strangers.

Invariant under test, for every input: no exception but the typed ones, the same result however the
bytes are split, nothing read behind a refusal, and what is accepted by a strict decoder is encoded
to the same bytes again. Time is looked at by whoever gives a clock.

Deterministic: a seed and a number name one input, so a failure is repeated by `run_one`.
"""

# ruff: noqa: PLR2004, ISC004 - numbers of mutations; requests of several lines
from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.web.cookies import parse_cookies
from cloche.web.encodings import cassette, data_model, headers, messages, settings, slices, traffic
from cloche.web.encodings.errors import DecodeError
from cloche.web.errors import BadRequestError, HttpError
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.errors import Http1Error
from cloche.web.http1.events import Data, End, Reject
from cloche.web.http1.one_shot import parse_req_v1
from cloche.web.http1.parser import RequestParser
from cloche.web.multipart import MultipartReader
from cloche.web.target import decode_path, parse_pairs
from cloche.web.websocket.frames import Failure, FrameReader, write_close, write_message, write_ping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Target = Callable[[bytes, random.Random], None]

SIZE_MAX: Final = 16_384
MUTATION_COUNT_MAX: Final = 6
SPLIT_COUNT_MAX: Final = 4
_MASK: Final = b"\x01\x02\x03\x04"

REQUESTS: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
    b"GET http://a.b/c HTTP/1.1\r\nHost: a.b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\nraw",
    b'\r\nGET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b="2"\r\nX:\t obs\xff \r\n\r\n',
)
FORMS: Final = (
    b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--X\r\nContent-Disposition: form-data; name="f"; filename="a%22.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nline\r\n--Xx\r\n--X--\r\n",
    b"--X\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--X--",
)
TEXTS: Final = (
    b"/users/a%20b/../c?x=1&x=2&y=%26&+=%C3%A9",
    b"/%2e%2e/%2F/%00/\xff",
    b'a=1; b="2"; c; =d; e=f=g; __Host-x=y',
)
FRAMES: Final = (
    write_message("text \u00e9", mask=_MASK) + write_close(1000, "bye", mask=_MASK),
    write_message(b"\x00" * 200, mask=_MASK, fin=False) + write_ping(b"p", mask=_MASK),
    write_message("packed", mask=_MASK, deflate=True),
)
_WORDS: Final = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"-1", b"+5",
    b"ffffffffffffffff", b"99999999999999999999", b"\xff", b"\x80", b"HTTP/1.0", b"HTTP/2.0",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Length: 5\r\n", b"content-length:5,5\r\n", b"Content-Length: 6\r\n", b"Host: b\r\n",
    b" folded\r\n", b"X\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"--X", b"--",
    b"%2e%2e", b"%00", b"%zz", b"%2f", b'"', b"\\", b"X7WC", b"\x01\x00\x00\x00",
)  # fmt: skip
_CODECS: Final[tuple[tuple[Any, Any], ...]] = (
    (headers.decode_headers, headers.encode_headers),
    (messages.decode_request, messages.encode_request),
    (messages.decode_response, messages.encode_response),
    (messages.decode_document, messages.encode_document),
    (cassette.decode_cassette, cassette.encode_cassette),
    (traffic.decode_traffic, traffic.encode_traffic),
    (data_model.decode_value, data_model.encode_value),
    (data_model.decode_document, data_model.encode_document),
    (slices.decode_slices, slices.encode_slices),
    (settings.decode_parser_caps, settings.encode_parser_caps),
    (settings.decode_server_caps, settings.encode_server_caps),
    (settings.decode_tls_config, settings.encode_tls_config),
)


class Finding(msgspec.Struct, frozen=True):
    """An input that broke the invariant; `number` with its seed makes it again."""

    target: str
    number: int
    data: bytes
    problem: str


def blobs() -> tuple[bytes, ...]:
    """Return one valid blob of each encoding, to begin with."""
    table = headers.HeaderTable(((b"host", b"a"), (b"set-cookie", b"b"), (b"set-cookie", b"c")))
    asked = messages.HttpRequest(method=messages.Method.GET, target=b"/a", headers=table)
    answered = messages.HttpResponse(status=200, headers=table, body=b"hello")
    pair = cassette.WebCassette(request=asked, response=answered)
    told = (traffic.Told(kind=1, value=7), traffic.Told(kind=3, value=b"ab"))
    value = data_model.from_json('{"a":[1,2.5,null,true,"x"],"b":{}}')
    caps = settings.Http1ParserCaps()
    return (
        headers.encode_headers(table),
        messages.encode_request(asked),
        messages.encode_response(answered),
        messages.encode_response(messages.HttpFailure(number=7, message="no")),
        cassette.encode_cassette(pair),
        traffic.encode_traffic([traffic.Exchange(pair=pair, client="a", told=told)]),
        data_model.encode_value(value),
        data_model.encode_document(data_model.Success(value=value)),
        settings.encode_parser_caps(caps),
    )


def check_parser(data: bytes, source: random.Random) -> None:
    """Requests of a connection: the same events for any split, and none behind a refusal."""
    caps = Http1Caps(http_1_0=bool(source.getrandbits(1)), pipelining_depth_max=2)
    answers = bool(source.getrandbits(1))
    whole = _events([data], caps, answers=answers)
    assert whole == _events(_split(data, source), caps, answers=answers), "another split differs"
    assert all(not isinstance(event, Reject) for event in whole[:-1]), "read on behind a refusal"


def check_one_shot(data: bytes, source: random.Random) -> None:
    """One request: a document that can be decoded, or a typed refusal."""
    del source
    try:
        messages.decode_document(parse_req_v1(data))
    except Http1Error:
        return


def check_frames(data: bytes, source: random.Random) -> None:
    """A WebSocket: the same events for any split, and none behind a failure."""
    deflate = bool(source.getrandbits(1))
    whole = _messages([data], deflate=deflate)
    assert whole == _messages(_split(data, source), deflate=deflate), "another split differs"
    assert all(not isinstance(event, Failure) for event in whole[:-1]), "read on behind a failure"


def check_form(data: bytes, source: random.Random) -> None:
    """A form with files: the same parts or the same refusal for any split."""
    assert _parts([data]) == _parts(_split(data, source)), "another split differs"


def check_text(data: bytes, source: random.Random) -> None:
    """Targets, queries, cookies: text or a typed refusal; cookies never refuse."""
    del source
    text = data.decode("latin-1")
    parse_cookies([text])
    for read in (decode_path, parse_pairs):
        try:
            read(text)
        except BadRequestError:
            continue


def check_codecs(data: bytes, source: random.Random) -> None:
    """Strict encodings: what is accepted is the only spelling of its value."""
    del source
    for decode, encode in _CODECS:
        try:
            value = decode(data)
        except DecodeError:
            continue
        assert encode(value) == data, f"{decode.__name__} accepts two spellings"


TARGETS: Final[dict[str, tuple[Target, tuple[bytes, ...]]]] = {
    "parser": (check_parser, REQUESTS),
    "one_shot": (check_one_shot, REQUESTS),
    "frames": (check_frames, FRAMES),
    "form": (check_form, FORMS),
    "text": (check_text, TEXTS),
    "codecs": (check_codecs, blobs()),
}


def make_input(name: str, number: int, seed: int, more: Sequence[bytes] = ()) -> bytes:
    """Return the input of a number: a seed of the target or one of `more`, mutated."""
    source = random.Random(f"{seed} {name} {number}")  # noqa: S311 - inputs are to be made again
    seeds = TARGETS[name][1] + (tuple(more) if name in {"parser", "one_shot"} else ())
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, MUTATION_COUNT_MAX)):
        _mutate(data, seeds, source)
    return bytes(data[:SIZE_MAX])


def run_one(name: str, number: int, seed: int = 0, more: Sequence[bytes] = ()) -> Finding | None:
    """Try one input; return what it broke, or None."""
    data = make_input(name, number, seed, more)
    source = random.Random(f"{seed} split {number}")  # noqa: S311 - as above
    try:
        TARGETS[name][0](data, source)
    except Exception as broken:  # noqa: BLE001 - whatever it is, it is the finding
        return Finding(name, number, data, f"{type(broken).__name__}: {broken}")
    return None


def _mutate(data: bytearray, seeds: Sequence[bytes], source: random.Random) -> None:
    at = source.randint(0, len(data))
    kind = source.randrange(7)
    if kind == 0 and at < len(data):
        data[at] = source.randrange(256)
    elif kind == 1 and at < len(data):
        data[at] ^= 1 << source.randrange(8)
    elif kind == 2:
        data[at:at] = source.choice(_WORDS)
    elif kind == 3:
        del data[at : at + source.randint(1, 16)]
    elif kind == 4:
        data[at:at] = data[at : at + source.randint(1, 64)] * source.randint(1, 8)
    elif kind == 5:
        other = source.choice(seeds)
        begin = source.randint(0, len(other))
        data[at:at] = other[begin : begin + source.randint(1, 64)]
    else:
        del data[at:]


def _split(data: bytes, source: random.Random) -> list[bytes]:
    count = source.randint(1, SPLIT_COUNT_MAX)
    if count == SPLIT_COUNT_MAX:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(source.randint(0, len(data)) for _ in range(count))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _events(pieces: list[bytes], caps: Http1Caps, *, answers: bool) -> list[Any]:
    parser = RequestParser(caps)
    found: list[Any] = []
    waiting: list[Any]
    for piece in pieces:
        waiting = parser.feed(piece)
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, Data) and found and isinstance(found[-1], Data):
                found[-1] = Data(found[-1].data + event.data)
            else:
                found.append(event)
            if answers and isinstance(event, End):
                waiting += parser.answered()
    return found + parser.finish()


def _messages(pieces: list[bytes], *, deflate: bool) -> list[Any]:
    reader = FrameReader(message_limit_bytes=4096, deflate=deflate)
    return [event for piece in pieces for event in reader.feed(piece)]


def _parts(pieces: list[bytes]) -> tuple[list[Any], str]:
    reader = MultipartReader(b"X")
    parts: list[Any] = []
    try:
        for piece in pieces:
            parts += reader.feed(piece)
        reader.finish()
    except HttpError as refused:
        # Parts before a fault come or do not, as it is in one piece with them or not.
        return [], refused.code
    return parts, ""

"""The deterministic adapter: applications answer pinned bytes, without a socket or a clock.

Invariants:
- the same application, request and seed give the same bytes, in any process;
- nothing waits: time stands still between requests, and a handler that suspends is an error;
- a stream that the server would break off, behind a head that is sent, is an error and no answer;
- a request that no cassette answers is the failure 2009, never a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.web.app import App, answer_failure
from cloche.web.encodings.cassette import WebCassette, decode_cassette, encode_cassette
from cloche.web.encodings.codes import BY_NAME
from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import (
    HttpFailure,
    HttpRequest,
    HttpResponse,
    decode_request,
    encode_request,
    encode_response,
)
from cloche.web.errors import ChannelClosedError
from cloche.web.request import Request
from cloche.web.response import Upgrade
from cloche.web.sendable import UNSENDABLE, check_response, close_pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from cloche.web.http1.events import Field
    from cloche.web.response import Response

START_NS: Final = 1_700_000_000_000_000_000  # when fixtures happen: 2023-11-14 22:13:20 UTC
_HANDSHAKE: Final = (
    (b"host", b"fixture"),
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)
MISS: Final = BY_NAME["REPLAY_MISS"]


class SuspendedError(ClocheError):
    """Code waited for something that a fixture does not have. State: the code was stopped there."""

    code = "WEB_FIXTURE_SUSPENDED"
    blame = "caller"

    def __init__(self) -> None:
        super().__init__(
            "the handler waits for something outside of the application, and in a fixture nothing "
            "is there; give it what it needs through services or state"
        )


class BrokenOffError(ClocheError):
    """A stream fails, or has another length than was said. State: what was made of it is dropped.

    A server has sent status and fields by then, and breaks the connection off: no response has
    these bytes. `__cause__` is what the stream raised, where it did.
    """

    code = "WEB_FIXTURE_BROKEN_OFF"
    blame = "caller"

    def __init__(self, *, problem: str, status: int, sent_bytes: int) -> None:
        super().__init__(
            f"the response {status} is broken off behind {sent_bytes} bytes of its body: {problem}",
            problem=problem,
            status=status,
            sent_bytes=sent_bytes,
        )


class FixtureCallError(ClocheError):
    """A fixture was called with what it does not take. State: nothing was asked."""

    code = "WEB_FIXTURE_CALL"
    blame = "caller"

    def __init__(self, *, function: str, expected: str, found: str) -> None:
        super().__init__(
            f"{function} takes {expected}, not {found}",
            function=function,
            expected=expected,
            found=found,
        )


class FixtureServices:
    """A clock that is moved by hand, randomness from a seed, a log that is kept."""

    def __init__(self, seed: int = 0) -> None:
        self.time_ns = START_NS
        self.records: list[dict[str, object]] = []
        self._seed = seed
        self._drawn = 0

    def now_ns(self) -> int:
        """Return the time of the fixture."""
        return self.time_ns

    def monotonic_ns(self) -> int:
        """Return the time since the fixture began."""
        return self.time_ns - START_NS

    def random_bytes(self, count: int) -> bytes:
        """Return the next bytes that follow from the seed."""
        found = b""
        while len(found) < count:
            self._drawn += 1
            found += hashlib.sha256(b"%d %d" % (self._seed, self._drawn)).digest()
        return found[:count]

    async def within(self, work: Awaitable[Any], timeout_ms: int) -> Any:
        """Return the result of some work. Time stands still, so it is always in time."""
        del timeout_ms
        return await work

    def heartbeat(
        self, pieces: AsyncIterable[bytes], interval_ms: int, beat: bytes
    ) -> AsyncIterable[bytes]:
        """Return the pieces alone: time stands still, so none is late."""
        del interval_ms, beat
        return pieces

    def log(self, record: Mapping[str, object]) -> None:
        """Keep a record."""
        self.records.append(dict(record))


def run_now(work: Awaitable[Any]) -> Any:
    """Return the result of a coroutine that does not wait for anything.

    Raises:
        SuspendedError: it does.
    """
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    if hasattr(steps, "close"):
        steps.close()
    raise SuspendedError


def answer(app: App, request: HttpRequest, services: FixtureServices | None = None) -> HttpResponse:
    """Return what an application answers to a request.

    A response that the server would not send is 500, as there; `services` has the reason.

    Raises:
        SuspendedError: a handler waits.
        BrokenOffError: a stream fails, or has another length than was said.
    """
    found = Request(
        method=request.method.value,
        target=request.target.decode("ascii"),
        fields=request.headers.lines,
        body=request.body,
        services=FixtureServices() if services is None else services,
        scheme="https",
    )
    return run_now(_answer(app, found))  # type: ignore[no-any-return]


def run_v1(app: App, cassette: bytes, services: FixtureServices | None = None) -> bytes:
    """Return the X7RS bytes that an application answers to the request of an X7WC blob.

    `services` are the application's; what it logs, such as the reason of a 500, is in `records`.

    Raises:
        FixtureCallError: an argument is of another type.
        DecodeError: the bytes are no X7WC.
        SuspendedError, BrokenOffError: as `answer`.
    """
    _check_call("run_v1", app, cassette, services)
    return encode_response(answer(app, decode_cassette(cassette).request, services))


def record_v1(app: App, request: bytes, services: FixtureServices | None = None) -> bytes:
    """Return the X7WC bytes of an X7RQ blob and what an application answers to it.

    Raises:
        FixtureCallError: an argument is of another type.
        DecodeError: the bytes are no X7RQ.
        SuspendedError, BrokenOffError: as `answer`.
    """
    _check_call("record_v1", app, request, services)
    found = decode_request(request)
    return encode_cassette(WebCassette(request=found, response=answer(app, found, services)))


def _check_call(function: str, app: object, blob: object, services: object) -> None:
    """Refuse what would only fail somewhere inside, where it says nothing of the call."""
    expectations = (
        (app, App, "an App of cloche.web first"),
        (blob, bytes, "a blob as bytes second"),
        (services, FixtureServices | None, "FixtureServices or nothing third"),
    )
    for value, kind, expected in expectations:
        if not isinstance(value, kind):
            found = type(value).__name__
            raise FixtureCallError(function=function, expected=expected, found=found)


class Cassettes:
    """Recorded pairs that answer requests: each the earliest that is equal and was not used."""

    def __init__(self, blobs: Iterable[bytes]) -> None:
        self._left: dict[bytes, list[HttpResponse | HttpFailure]] = {}
        for blob in blobs:
            pair = decode_cassette(blob)
            self._left.setdefault(encode_request(pair.request), []).append(pair.response)

    def answer_v1(self, request: bytes) -> bytes:
        """Return the X7RS bytes that answer an X7RQ blob; the failure 2009 if none is left.

        Raises:
            DecodeError: the bytes are no X7RQ.
        """
        found = decode_request(request)
        waiting = self._left.get(request)
        if waiting:
            return encode_response(waiting.pop(0))
        message = f"no cassette is left for {found.method.value} {found.target.decode()}"
        return encode_response(HttpFailure(number=MISS.number, message=message))


class FixtureChannel:
    """A WebSocket whose client says what was written down, and then closes with 1000.

    `sent` is what the application said; `close_code` how it ended, whoever closed first.
    """

    def __init__(self, messages: Iterable[str | bytes]) -> None:
        self.sent: list[str | bytes] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._left = list(messages)

    async def receive(self) -> str | bytes:
        """Return the next message of the client."""
        self._check_open()
        if not self._left:
            await self.close()
            self._check_open()
        return self._left.pop(0)

    async def send(self, content: str | bytes) -> None:
        """Keep a message of the application."""
        self._check_open()
        self.sent.append(content)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason

    def _check_open(self) -> None:
        if self.close_code is not None:
            raise ChannelClosedError(close_code=self.close_code, reason=self.close_reason)


def converse(
    app: App,
    target: str,
    messages: Iterable[str | bytes] = (),
    *,
    fields: tuple[Field, ...] = (),
    services: FixtureServices | None = None,
) -> FixtureChannel | Response:
    """Return what was said on a WebSocket, or the response where it was not opened.

    Raises:
        SuspendedError: the handler waits for something besides the client.
    """
    request = Request(
        method="GET",
        target=target,
        fields=(*_HANDSHAKE, *fields),
        services=FixtureServices() if services is None else services,
        scheme="https",
    )
    response: Response = run_now(app.handle(request))
    if not isinstance(response.body, Upgrade):
        return response
    channel = FixtureChannel(messages)
    run_now(response.body.run(channel))
    return channel


async def _answer(app: App, request: Request) -> HttpResponse:
    response = await app.handle(request)
    try:
        check_response(response, request.method)
        headers = _as_sent(response)
    except (*UNSENDABLE, EncodeError) as refused:
        await close_pieces(response.body)
        response = answer_failure(request, refused)
        headers = _as_sent(response)
    if request.method == "HEAD":
        await close_pieces(response.body)
        return HttpResponse(status=response.status, headers=headers)
    return HttpResponse(status=response.status, headers=headers, body=await read_body(response))


def _as_sent(response: Response) -> HeaderTable:
    """Return the fields as they arrive: names in lowercase, values without space around them."""
    lines = ((name.lower(), value.strip(b" \t")) for name, value in response.fields)
    return HeaderTable(tuple(lines))


async def read_body(response: Response) -> bytes:
    """Return the whole body of a response, a stream read to its end and closed.

    Raises:
        SuspendedError: the stream waits.
        BrokenOffError: it fails, or has another length than was said.
    """
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, Upgrade):
        return b""
    found = bytearray()
    try:
        if isinstance(body, AsyncIterable):
            async for piece in body:
                _take(response, found, piece)
        else:
            for piece in body:
                _take(response, found, piece)
    except (BrokenOffError, SuspendedError):
        raise
    except Exception as raised:
        problem = f"the stream raised {type(raised).__name__}: {raised}"
        raise _broken(response, found, problem) from raised
    finally:
        await close_pieces(body)
    if response.length is not None and len(found) < response.length:
        raise _broken(response, found, f"{response.length} were said, and these are all")
    return bytes(found)


def _take(response: Response, found: bytearray, piece: bytes) -> None:
    """Add a piece; one that goes beyond what was said is not sent."""
    more = memoryview(piece)
    if response.length is not None and len(found) + len(more) > response.length:
        raise _broken(response, found, f"{response.length} were said, and more come")
    found += more


def _broken(response: Response, found: bytearray, problem: str) -> BrokenOffError:
    return BrokenOffError(problem=problem, status=response.status, sent_bytes=len(found))

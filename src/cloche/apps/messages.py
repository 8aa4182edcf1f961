"""Requests as the input of a run, responses as its effects.

Pure. Owns the words between host and guest (docs/apps.md). Invariants:
- a request is X7RQ on standard input, so a journal holds it and a replay needs nothing else;
- what an app answers is checked as a whole before any of it goes on: a status, lines that HTTP can
  carry, no line that belongs to the connection; a value cannot begin another line;
- an `Answer` goes from nothing to started to ended, and no other way.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.apps.errors import AppMethodError, AppRequestError
from cloche.apps.ports import AppSocket, BodyReader, ClientGoneError, Line, ReplySink
from cloche.gate.canonical import decode
from cloche.gate.entries import EffectStarted
from cloche.gate.ports import EffectFailure
from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable, encode_headers
from cloche.web.encodings.messages import HttpRequest, Method, encode_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.gate.journal import Journal
    from cloche.limits import Limits

STATUS_MIN: Final = 200
STATUS_MAX: Final = 599
NO_BODY: Final = frozenset({204, 205, 304})
CLIENT_GONE: Final = "CLIENT_GONE"
BAD_RESPONSE: Final = "BAD_RESPONSE"
ANSWERED: Final = "ALREADY_ANSWERED"
TOO_LARGE: Final = "RESPONSE_TOO_LARGE"
# Lines of the connection, and the length, are written by whoever writes the response.
DROPPED: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
CLOSE_NORMAL: Final = 1000  # RFC 6455 section 7.4.1
CLOSE_FAILED: Final = 1011
# What a server may say of itself (going away, refused data, policy, too big, failed), and own ones.
CLOSE_CODES: Final = frozenset({CLOSE_NORMAL, 1001, 1003, *range(1007, 1012), *range(3000, 5000)})
CLOSE_REASON_LIMIT_BYTES: Final = 123
POLL_S: Final = 0.1  # how often who waits for a message looks whether the run is over
TEXTS_KEPT: Final = 64  # heads and questions that are made once
HEAD_OVERHEAD_BYTES: Final = 4  # colon, space and line end of a header line
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
# RFC 9110 section 5.5: no control character but the tab.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HOST: Final = re.compile(
    r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRequest:
    """A request for an app.

    Args:
        method: as sent.
        target: path and query, as sent.
        lines: header lines, names in lowercase, in order of arrival.
        body: all of it, or who reads it.
        scheme: `http` or `https`.
        host: name and port that were asked for.
        client: address of the client, as text.
    """

    method: str
    target: str
    lines: tuple[Line, ...] = ()
    body: bytes | BodyReader = b""
    scheme: str = "http"
    host: str = "localhost"
    client: str = ""


def input_of(request: AppRequest) -> bytes:
    """Return the standard input that holds a request: X7RQ, with its body where that is whole.

    Raises:
        AppMethodError: apps get no requests of this method.
        AppRequestError: the target, a header or the host is none.
    """
    try:
        method = Method(request.method)
    except ValueError:
        problem = f"apps do not answer {request.method[:20]!r}"
        raise AppMethodError(problem, method=request.method[:20]) from None
    body = request.body if isinstance(request.body, bytes) else b""
    try:
        if body:
            return _encoded(method, request.target, request.lines, body)
        return _bodyless(method, request.target, request.lines)
    except (EncodeError, UnicodeEncodeError):
        raise AppRequestError("the target or a header field is none that HTTP has") from None


def _encoded(method: Method, target: str, lines: tuple[Line, ...], body: bytes = b"") -> bytes:
    table, headers = _table_of(lines)
    asked = HttpRequest(method=method, target=target.encode("ascii"), headers=table, body=body)
    return encode_request(asked, headers=headers)


_bodyless = lru_cache(maxsize=TEXTS_KEPT)(_encoded)  # clients ask for the same again


@lru_cache(maxsize=TEXTS_KEPT)
def _table_of(lines: tuple[Line, ...]) -> tuple[HeaderTable, bytes]:
    """Return header lines as a table and as its bytes: clients send the same ones again."""
    table = HeaderTable(lines)
    return table, encode_headers(table)


def question_of(request: AppRequest, do: Literal["fetch", "websocket"] = "fetch") -> str:
    """Return what the run of a request is asked to do."""
    is_large = not isinstance(request.body, bytes)
    return _question(do, request.scheme, request.host, request.client, is_large)


@lru_cache(maxsize=TEXTS_KEPT)
def _question(do: str, scheme: str, host: str, client: str, is_large: bool) -> str:
    if not _HOST.fullmatch(host) or scheme not in DEFAULT_PORTS:
        raise AppRequestError(f"{host[:80]!r} is no host")
    name = host.lower().removesuffix(DEFAULT_PORTS[scheme])
    # The JavaScript guest takes the first two as they stand here, without parsing them.
    document: dict[str, Any] = {"do": do, "origin": f"{scheme}://{name}"}
    if client:
        document["client"] = client
    if is_large:
        document["large"] = True
    return json.dumps(document, separators=(",", ":"))


def event_question(kind: Literal["scheduled", "job"], event: object) -> str:
    """Return what the run of an event is asked to do."""
    return json.dumps({"do": kind, "event": event}, separators=(",", ":"))


def load_question(main: str) -> str:
    """Return what the run that makes an image is asked to do."""
    return json.dumps({"do": "load", "main": main}, separators=(",", ":"))


# --- responses ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status and header lines of a response."""

    status: int
    lines: tuple[Line, ...]


def head_of(args: Any, limits: Limits) -> Head:
    """Return the head that an effect's arguments say.

    Raises:
        EffectFailure: BAD_RESPONSE, with what is wrong.
    """
    if not isinstance(args, dict):
        raise _bad("a response is an object with status and headers")
    status = args.get("status")
    if type(status) is not int or not STATUS_MIN <= status <= STATUS_MAX:
        raise _bad(f"the status is {status!r}; it is from {STATUS_MIN} to {STATUS_MAX}"[:200])
    pairs = args.get("headers", [])
    if not isinstance(pairs, list):
        raise _bad("headers are a list of pairs")
    apps = limits.apps
    if len(pairs) > apps.response_header_count_max:
        raise _bad(f"more than {apps.response_header_count_max} header lines")
    lines = tuple(line for pair in pairs if (line := _line(pair))[0] not in DROPPED)
    size = sum(len(name) + len(value) + HEAD_OVERHEAD_BYTES for name, value in lines)
    if size > apps.response_header_limit_bytes:
        raise _bad(f"header lines of more than {apps.response_header_limit_bytes} bytes")
    return Head(status=status, lines=lines)


def _line(pair: Any) -> Line:
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(t) is str for t in pair):  # noqa: PLR2004
        raise _bad("a header is a pair of texts: name and value")
    name, value = pair
    if not _NAME.fullmatch(name):
        raise _bad(f"{name[:80]!a} is no name of a header")
    value = value.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise _bad(f"the header {name} has a value that no header can have: {value[:80]!a}")
    return name.lower().encode("ascii"), value.encode("latin-1")


def data_of(value: Any) -> bytes:
    """Return the bytes of a text, or of `{"b64": text}`.

    Raises:
        EffectFailure: BAD_RESPONSE; it is neither.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise _bad("a body in base64 that is none") from None
    raise _bad('a body is a text, or bytes as {"b64": text}')


def _bad(problem: str) -> EffectFailure:
    return EffectFailure(BAD_RESPONSE, problem)


class Answer:
    """The response of one request, as its effects come.

    Args:
        reply: gets it.
        limits: group `apps`.
        is_head: whether the body is not wanted (HEAD).
    """

    def __init__(self, reply: ReplySink, limits: Limits, *, is_head: bool = False) -> None:
        self._reply = reply
        self._limits = limits
        self._is_head = is_head
        self.status = 0  # 0 until there is one
        self.body_bytes = 0
        self.is_ended = False
        self.client_gone = False

    def respond(self, args: Any) -> None:
        """Take a whole response."""
        head = head_of(args, self._limits)
        body = data_of(args.get("body", ""))
        self._count(len(body))
        self._start(head, len(body))
        if body and head.status not in NO_BODY and not self._is_head:
            self._passed(self._reply.write, body)
        self.end()

    def start(self, args: Any) -> None:
        """Take the head of a response that comes in pieces."""
        self._start(head_of(args, self._limits), None)

    def write(self, args: Any) -> None:
        """Take a piece."""
        if not self.status or self.is_ended:
            raise EffectFailure(ANSWERED, "no response is open: nothing can be written")
        data = data_of(args.get("data") if isinstance(args, dict) else None)
        self._count(len(data))
        if self.client_gone:
            raise EffectFailure(CLIENT_GONE, "the client is gone")
        if data and not self._is_head and self.status not in NO_BODY:
            self._passed(self._reply.write, data)

    def end(self) -> None:
        """The response is whole."""
        if not self.status or self.is_ended:
            raise EffectFailure(ANSWERED, "no response is open: nothing can be ended")
        self.is_ended = True
        if not self.client_gone:
            self._passed(self._reply.end)

    def fail(self, status: int, lines: tuple[Line, ...], body: bytes) -> None:
        """Answer for an app that did not, or break off what it had begun."""
        if self.is_ended or self.client_gone:
            return
        self.is_ended = True
        try:
            if self.status:
                self._reply.abort()
                return
            self._reply.start(status, lines, len(body))
            self.status = status
            if not self._is_head:
                self._reply.write(body)
            self._reply.end()
        except ClientGoneError:
            self.client_gone = True

    def _start(self, head: Head, length_bytes: int | None) -> None:
        if self.status:
            raise EffectFailure(ANSWERED, "this request was answered already")
        self.status = head.status
        # What has no body is whole with its head: nothing can be streamed behind it.
        length_bytes = 0 if head.status in NO_BODY else length_bytes
        self._passed(self._reply.start, head.status, head.lines, length_bytes)

    def _count(self, size: int) -> None:
        limit_bytes = self._limits.apps.response_limit_bytes
        if self.body_bytes + size > limit_bytes:
            problem = f"a response has at most {limit_bytes} bytes (apps.response_limit_bytes)"
            raise EffectFailure(TOO_LARGE, problem)
        self.body_bytes += size

    def _passed(self, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except ClientGoneError:
            self.client_gone = True
            raise EffectFailure(CLIENT_GONE, "the client is gone") from None


# --- WebSockets ---


class Conversation:
    """The WebSocket of one request, as its effects come.

    Args:
        socket: carries the messages.
        limits: group `apps`.
        offered: subprotocols that the client named.
        is_over: whether the run is to end: nobody waits for messages any more.
    """

    def __init__(
        self,
        socket: AppSocket,
        limits: Limits,
        *,
        offered: tuple[str, ...],
        is_over: Callable[[], bool],
    ) -> None:
        self._socket = socket
        self._limit_bytes = limits.apps.socket_message_limit_bytes
        self._offered = offered
        self._is_over = is_over
        self.is_accepted = False
        self.is_closed = False
        self.sent_bytes = 0

    def accept(self, args: Any) -> None:
        """Answer the handshake, with one of the subprotocols that were offered or with none."""
        if self.is_accepted:
            raise EffectFailure(ANSWERED, "this WebSocket was accepted already")
        protocol = args.get("protocol") if isinstance(args, dict) else None
        if protocol is not None and protocol not in self._offered:
            raise _bad(f"the client did not offer the subprotocol {ascii(protocol)[:80]}")
        self.is_accepted = True
        try:
            self._socket.accept(protocol)
        except ClientGoneError:
            raise self._gone() from None

    def send(self, args: Any) -> None:
        """Send a message: a text, or bytes in base64."""
        self._check_open()
        data = args.get("data") if isinstance(args, dict) else None
        content = data if isinstance(data, str) else data_of(data)
        size = len(content.encode()) if isinstance(content, str) else len(content)
        if size > self._limit_bytes:
            problem = f"a message has at most {self._limit_bytes} bytes"
            raise EffectFailure(TOO_LARGE, f"{problem} (apps.socket_message_limit_bytes)")
        self.sent_bytes += size
        try:
            self._socket.send(content)
        except ClientGoneError:
            raise self._gone() from None

    def receive(self) -> dict[str, str] | None:
        """Return the next message as `{"text"}` or `{"b64"}`, None when there is none any more."""
        if not self.is_accepted:
            raise EffectFailure(ANSWERED, "this WebSocket is not open: accept it first")
        content: str | bytes | None = None
        while not self.is_closed:
            try:
                content = self._socket.receive(POLL_S)
                break
            except TimeoutError:
                if self._is_over():
                    break
        if content is None:
            self.is_closed = True
            return None
        if isinstance(content, str):
            return {"text": content}
        return {"b64": base64.b64encode(content).decode()}

    def close(self, args: Any) -> None:
        """Close with a code that applications may use (RFC 6455 section 7.4)."""
        code = args.get("code", CLOSE_NORMAL) if isinstance(args, dict) else None
        reason = args.get("reason", "") if isinstance(args, dict) else None
        if type(code) is not int or code not in CLOSE_CODES:
            raise _bad("a code is 1000, 1001, 1003, from 1007 to 1011, or from 3000 to 4999")
        if not isinstance(reason, str) or len(reason.encode()) > CLOSE_REASON_LIMIT_BYTES:
            raise _bad(f"a reason is a text of at most {CLOSE_REASON_LIMIT_BYTES} bytes")
        self._check_open()
        self.is_closed = True
        self._socket.close(code, reason)

    def finish(self, *, is_well: bool) -> None:
        """The run is over: close what it left open."""
        if self.is_accepted:
            self.is_closed = True
            self._socket.close(CLOSE_NORMAL if is_well else CLOSE_FAILED, "")

    def _check_open(self) -> None:
        if not self.is_accepted or self.is_closed:
            raise EffectFailure(CLIENT_GONE, "this WebSocket is not open")

    def _gone(self) -> EffectFailure:
        self.is_closed = True
        return EffectFailure(CLIENT_GONE, "the client is gone")


def offered_protocols(request: AppRequest) -> tuple[str, ...]:
    """Return the subprotocols that a handshake names, in order."""
    values = [value for name, value in request.lines if name == b"sec-websocket-protocol"]
    texts = (text.strip() for value in values for text in value.decode("latin-1").split(","))
    return tuple(text for text in texts if text)


# --- recorded ---


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResponse:
    """What a recorded request was answered."""

    status: int
    lines: tuple[Line, ...]
    body: bytes
    is_whole: bool


def recorded_response(journal: Journal, limits: Limits) -> RecordedResponse | None:
    """Return the response that a journal holds; None where there was none."""
    collected = Collected()
    answer = Answer(collected, limits)
    steps = {
        "respond": answer.respond,
        "respond.start": answer.start,
        "respond.write": answer.write,
    }
    for entry in journal.entries:
        if not isinstance(entry, EffectStarted) or entry.kind != "app":
            continue
        try:
            if entry.target == "respond.end":
                answer.end()
            elif entry.target in steps:
                steps[entry.target](decode(entry.args))
        except EffectFailure:
            continue  # as it failed then
    if not collected.status:
        return None
    return RecordedResponse(
        status=collected.status,
        lines=tuple(collected.lines),
        body=bytes(collected.body),
        is_whole=collected.is_whole,
    )


class Collected:
    """A reply that is kept as a whole (a `ReplySink`)."""

    def __init__(self) -> None:
        self.status = 0
        self.lines: list[Line] = []
        self.body = bytearray()
        self.is_whole = False
        self.is_aborted = False

    def start(self, status: int, lines: Any, length_bytes: int | None) -> None:  # noqa: ARG002
        """Keep the head."""
        self.status, self.lines = status, list(lines)

    def write(self, data: bytes) -> None:
        """Keep a piece."""
        self.body += data

    def end(self) -> None:
        """It is whole."""
        self.is_whole = True

    def abort(self) -> None:
        """It will never be."""
        self.is_aborted = True

"""What both clients have in common on the wire: headers, retries, the library's errors.

Invariants: every POST has an Idempotency-Key, so that sending it again is safe; what is retried is
a connection that broke and a server that said when to come back, nothing else.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from cloche.client.calls import Call, Reply

_BUSY: Final = frozenset({429, 503})
_CONFLICT: Final = 409
_PENDING: Final = b"SERVER_IDEMPOTENCY_PENDING"
_WAIT_S_MAX: Final = 10.0
_BREAK_S: Final = 0.2  # before a connection that broke is tried again; doubles each time
CONNECT_S: Final = 10.0


class HttpMissingError(ClocheError):
    """The library that the clients stand on is not installed."""

    code = "CLIENT_INCOMPLETE"
    blame = "environment"

    def __init__(self) -> None:
        super().__init__("the client needs httpx; install it with `pip install cloche[client]`")


class KeyMalformedError(ClocheError):
    """What was given as a key of a server cannot be one."""

    code = "CLIENT_KEY"
    blame = "caller"

    def __init__(self) -> None:
        super().__init__("this is no key of a server; one begins with clk_ and has no white space")


def httpx_module() -> Any:
    """Return httpx.

    Raises:
        HttpMissingError: it is not installed.
    """
    try:
        import httpx  # noqa: PLC0415 - an extra
    except ImportError:
        raise HttpMissingError from None
    return httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A call as it is sent: the same each time it is tried."""

    method: str
    url: str
    params: dict[str, str]
    headers: dict[str, str]
    content: bytes | None

    def listening_from(self, last_id: str) -> Sending:
        """Return the same, from behind an event."""
        if not last_id:
            return self
        return replace(self, headers={**self.headers, "last-event-id": last_id})


@dataclass(slots=True)
class Heard:
    """What became of one connection to events, where it was not their end."""

    problem: str = "the stream ended before the run"
    refusal: Reply | None = None
    retry_after: str | None = None


def sending_of(call: Call[Any], *, as_events: bool = False) -> Sending:
    """Return how a call is sent; `as_events` asks for its answer as a stream."""
    content, media_type = call.payload()
    headers = {} if content is None else {"content-type": media_type}
    if as_events:
        headers["accept"] = "text/event-stream"
    if call.method == "POST":
        headers["idempotency-key"] = secrets.token_hex(16)
    return Sending(
        method=call.method,
        url=call.path,
        params=dict(call.query),
        headers=headers,
        content=content,
    )


def pause_s(reply: Reply | None, retry_after: str | None, attempt: int) -> float | None:
    """Return how long to wait before the next attempt; None where there is to be none.

    Args:
        reply: what was answered; None where the connection broke.
        retry_after: the field of that name.
        attempt: how many there were, from 1.
    """
    if reply is None:
        return float(min(_BREAK_S * 2 ** (attempt - 1), _WAIT_S_MAX))
    is_pending = reply.status == _CONFLICT and _PENDING in reply.content
    if reply.status not in _BUSY and not is_pending:
        return None
    try:
        return min(float(retry_after or "1"), _WAIT_S_MAX)
    except ValueError:
        return 1.0


def default_headers(key: str) -> dict[str, str]:
    """Return what every request has.

    Args:
        key: of a server; white space around it, as of a file that it was read from, is left out.

    Raises:
        KeyMalformedError: no key looks like this. It is not in the message, which may be logged.
    """
    key = key.strip() if isinstance(key, str) else ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise KeyMalformedError
    return {"authorization": f"Bearer {key}", "user-agent": "cloche-client"}

"""What serving an app needs from the world, as protocols: where its answers and its lines go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Line = tuple[bytes, bytes]


class ClientGoneError(Exception):
    """The client of a request left: nothing of its response is wanted any more."""


class ReplySink(Protocol):
    """Gets the response of one request, on the thread that runs the app.

    Calls come in the order `start`, `write` any number of times, then `end` or `abort`. What is
    given is checked: statuses from 200 to 599, lines that HTTP can carry, no length among them.
    """

    def start(self, status: int, lines: Sequence[Line], length_bytes: int | None) -> None:
        """Take status and header lines; `length_bytes` where the whole body follows at once.

        It is 0 where the status has no body (204, 205, 304).

        Raises:
            ClientGoneError: the client left.
        """

    def write(self, data: bytes) -> None:
        """Take a piece of the body; returns when there is room for another.

        Raises:
            ClientGoneError: the client left, or took nothing for too long.
        """

    def end(self) -> None:
        """The response is whole."""

    def abort(self) -> None:
        """The response stops in its middle: its client must not take it for whole.

        Raises:
            ClientGoneError: the client left before.
        """


class BodyReader(Protocol):
    """A body that is too large to be given at once."""

    def read(self, limit_bytes: int) -> bytes:
        """Return at most so many bytes, at least one; none at the end.

        Raises:
            ClientGoneError: the client left before the end.
            AppRequestTooLargeError: it sent more than an app takes.
        """


class AppSocket(Protocol):
    """The WebSocket of one request, as seen from the thread that runs the app.

    `accept` comes first and once; the others behind it. `receive` may be called while another
    thread sends.
    """

    def accept(self, protocol: str | None) -> None:
        """Answer the handshake.

        Raises:
            ClientGoneError: the client left.
        """

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next message, None once the WebSocket is closed.

        Raises:
            TimeoutError: none came in this time.
        """

    def send(self, content: str | bytes) -> None:
        """Send a message; returns when there is room for another.

        Raises:
            ClientGoneError: the WebSocket is closed.
        """

    def close(self, code: int, reason: str) -> None:
        """Close it; again is nothing."""


class LogSink(Protocol):
    """Gets the lines of an app's log."""

    def log(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        """Take a line: `debug`, `info`, `warn` or `error`."""

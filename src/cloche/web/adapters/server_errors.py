"""What goes wrong on the way between a socket and an application.

Those that are `HttpError`s are answered to the client, the others are told to whoever started the
server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.errors import ClocheError
from cloche.web.errors import HttpError

if TYPE_CHECKING:
    from cloche.web.encodings.codes import Code
    from cloche.web.http1.events import Field


class ProtocolError(HttpError):
    """Bytes of a client are no HTTP/1.1 that is accepted. State: nothing further is interpreted."""

    code = "WEB_PROTOCOL"

    def __init__(self, *, reason: Code) -> None:
        super().__init__(
            f"the request was refused: {reason.summary}", number=reason.number, name=reason.name
        )


class FramingTooLargeError(ProtocolError):
    """A body has more framing than data may have. State: nothing further is interpreted."""

    code = "WEB_FRAMING_TOO_LARGE"
    status = 413
    blame = "limit"


class ClientTooSlowError(HttpError):
    """A client sent nothing, or too little, for too long. State: its connection ends."""

    code = "WEB_CLIENT_TOO_SLOW"
    status = 408
    blame = "limit"
    retryable = True

    def __init__(self, *, part: str) -> None:
        super().__init__(f"the {part} of the request came too slowly", part=part)


class BodyBrokenError(HttpError):
    """The connection ended inside of a body. State: what was read is not the whole."""

    code = "WEB_BODY_BROKEN"

    def __init__(self) -> None:
        super().__init__("the connection ended inside of the body")


class ServerBusyError(HttpError):
    """The server stops, or has no room. State: the request was not begun; it can be sent again."""

    code = "WEB_SERVER_BUSY"
    status = 503
    blame = "environment"
    retryable = True

    def response_fields(self) -> tuple[Field, ...]:
        """Return when to come back."""
        return ((b"retry-after", b"1"),)

    def __init__(self) -> None:
        super().__init__("the server stops or has no room; try again")


class BindError(ClocheError):
    """An address cannot be listened on. State: nothing listens there."""

    code = "WEB_BIND"
    blame = "caller"

    def __init__(self, *, address: str, problem: str) -> None:
        super().__init__(f"cannot listen on {address}: {problem}", address=address, problem=problem)


class TlsError(ClocheError):
    """Certificates or settings of TLS cannot be used. State: what was in use stays in use."""

    code = "WEB_TLS"
    blame = "caller"

    def __init__(self, *, subject: str, problem: str) -> None:
        super().__init__(f"TLS of {subject}: {problem}", subject=subject, problem=problem)


class ServerStateError(ClocheError):
    """A server was asked for what it cannot do now. State: it is as it was."""

    code = "WEB_SERVER_STATE"
    blame = "caller"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"the server {problem}", problem=problem)

"""Whether a response can be sent, before a byte of it is.

Owns what every way to send one refuses alike, and what is refused with 500: a status that is no
end, a body that is none or may not be there, a field that cannot be written.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final

from cloche.web.http1.errors import Http1ResponseError
from cloche.web.http1.serializer import BAD_STATUS, start_stream, write_response
from cloche.web.response import Upgrade

if TYPE_CHECKING:
    from cloche.web.response import Response

_SWITCHING: Final = 101
_FINAL: Final = 200  # the first status that is not interim
# What a response of wrong values, or of wrong types, is refused with.
UNSENDABLE: Final = (Http1ResponseError, TypeError, ValueError, AttributeError)


def check_response(response: Response, method: str) -> None:
    """Refuse what the server would not send for a request of this method.

    Raises:
        Http1ResponseError: a status, a field or a body that cannot be written.
        TypeError, ValueError, AttributeError: a part of it is of another type. With each of them
            (`UNSENDABLE`) nothing of the body was read.
    """
    fields = response.fields
    if isinstance(response.body, Upgrade):
        write_response(_SWITCHING, fields, method=method)
        return
    check_end(response)
    if type(response.body) is bytes:
        write_response(response.status, fields, response.body, method=method)
        return
    check_pieces(response.body)
    start_stream(response.status, fields, method=method, length=response.length)


def check_end(response: Response) -> None:
    """Refuse a status that is no end: the client would wait for another one.

    Raises:
        Http1ResponseError: it is interim.
    """
    if response.status < _FINAL:
        problem = f"status {response.status} is interim, and a response ends"
        raise Http1ResponseError(reason=BAD_STATUS, problem=problem)


def check_pieces(body: Any) -> None:
    """Refuse what is no stream of bytes, as far as its type says.

    Raises:
        TypeError: it is none.
    """
    if isinstance(body, str | bytearray | memoryview) or not isinstance(
        body, AsyncIterable | Iterable
    ):
        raise TypeError(f"a body is bytes or a stream of bytes, not {type(body).__name__}")


async def close_pieces(pieces: Any) -> None:
    """Let a stream that is not read to its end give back what it holds."""
    if hasattr(pieces, "aclose"):
        await pieces.aclose()
    elif hasattr(pieces, "close"):
        pieces.close()

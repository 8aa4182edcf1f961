"""The handshake of a server (RFC 6455 section 4.2).

Invariants:
- what is not exactly a handshake is answered as an HTTP error, never accepted;
- a page of another site cannot open a connection unless its origin is listed: browsers send cookies
  with handshakes and ask nobody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.web.errors import BadRequestError, ForbiddenError, HttpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.web.http1.events import Field
    from cloche.web.request import Request

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KEY_SIZE: Final = 16
VERSION: Final = "13"


class UpgradeRequiredError(HttpError):
    """This path speaks WebSocket of version 13 alone."""

    code = "WEB_UPGRADE_REQUIRED"
    status = 426
    headers = (
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", VERSION.encode()),
    )

    def __init__(self, *, found: str) -> None:
        super().__init__(
            f"this is a WebSocket of version {VERSION}; the request asks for '{found}'",
            found=found,
        )


class Handshake(msgspec.Struct, frozen=True):
    """A handshake that is accepted: the fields of the 101, and what was agreed on."""

    fields: tuple[Field, ...]
    subprotocol: str | None
    deflate: bool


def accept_handshake(
    request: Request,
    *,
    subprotocols: Sequence[str] = (),
    origins: Sequence[str] = (),
    deflate: bool = False,
) -> Handshake:
    """Return the answer to a handshake.

    Args:
        request: a request whose connection offers to change its protocol.
        subprotocols: what the application speaks, the preferred first; the first that the client
            offers too is taken.
        origins: origins besides the request's own that may connect. Clients that are no browser
            send no origin, and may.
        deflate: whether to agree on permessage-deflate, if offered. Each message is compressed on
            its own, so that no memory is kept for a connection.

    Raises:
        UpgradeRequiredError: the request asks for no WebSocket, or another version.
        BadRequestError: the method or key is wrong.
        ForbiddenError: the origin is not allowed.
    """
    if "websocket" not in _tokens(request, "upgrade"):
        raise UpgradeRequiredError(found=request.header("upgrade") or "")
    if request.method != "GET" or "upgrade" not in _tokens(request, "connection"):
        raise BadRequestError(where="handshake", problem="it is no GET with Connection: upgrade")
    version = request.header("sec-websocket-version") or ""
    if version != VERSION:
        raise UpgradeRequiredError(found=version)
    key = request.header("sec-websocket-key") or ""
    if not _is_key(key):
        raise BadRequestError(where="handshake", problem="the key is not 16 bytes in base64")
    _check_origin(request, origins)
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    fields: list[Field] = [
        (b"connection", b"upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", base64.b64encode(digest)),
    ]
    offered = _words(request, "sec-websocket-protocol")
    subprotocol = next((name for name in subprotocols if name in offered), None)
    if subprotocol is not None:
        fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
    agreed = deflate and any(map(_is_deflate, _words(request, "sec-websocket-extensions")))
    if agreed:
        extension = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        fields.append((b"sec-websocket-extensions", extension))
    return Handshake(tuple(fields), subprotocol, agreed)


def _check_origin(request: Request, origins: Sequence[str]) -> None:
    origin = request.header("origin")
    if origin is None or origin in origins or origin == f"{request.scheme}://{request.host}":
        return
    raise ForbiddenError(problem="this origin may not open a WebSocket here")


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key.encode(), validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False


def _is_deflate(extension: str) -> bool:
    """Return whether an offer of permessage-deflate is one that we can keep (RFC 7692)."""
    name, *parameters = [part.strip() for part in extension.split(";")]
    known = {"server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits"}
    # A smaller window of the server would have to be kept; such an offer is declined.
    return (
        name == "permessage-deflate"
        and {parameter.partition("=")[0].strip() for parameter in parameters} <= known
    )


def _tokens(request: Request, header: str) -> list[str]:
    return [word.lower() for word in _words(request, header) if _TOKEN.fullmatch(word)]


def _words(request: Request, header: str) -> list[str]:
    return [word.strip() for value in request.headers(header) for word in value.split(",")]

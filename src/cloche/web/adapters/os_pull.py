"""The server that is pulled: listen, accept, read a request, write its response, close.

Invariants:
- handles are numbers that are never used again; what a wrong one names is an error;
- one request on each connection: behind its response the stream is closed (WEB-P0-01);
- every wait has a deadline, those of the caps; all bytes pass the one parser and serializer.

For small programs and tests, on one thread at a time. Everything else is for `server`.
"""

from __future__ import annotations

import ssl
import time
from itertools import count
from typing import TYPE_CHECKING, Final, Literal

from cloche.errors import ClocheError
from cloche.web.adapters.listen import address_of, close_socket, open_sockets, parse_bind
from cloche.web.adapters.tls import TlsContexts, TlsSettings
from cloche.web.encodings.codes import BY_NAME
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import HttpRequest, Method, encode_request
from cloche.web.encodings.settings import (
    Http1ServerCaps,
    TlsServerConfig,
    decode_server_caps,
    decode_tls_config,
    encode_server_caps,
    encode_tls_config,
)
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.errors import Http1Error
from cloche.web.http1.events import Data, End, Reject, RequestHead
from cloche.web.http1.head import BAD_METHOD
from cloche.web.http1.parser import RequestParser
from cloche.web.http1.serializer import CONTINUE
from cloche.web.http1.serializer import write_resp_v1 as serialize

if TYPE_CHECKING:
    import socket

DEFAULT_CAPS: Final = Http1ServerCaps(
    header_limit_bytes=16_384,
    body_limit_bytes=1_048_576,
    read_timeout_ms=10_000,
    write_timeout_ms=30_000,
)
_READ_BYTES: Final = 65_536
_MS_PER_S: Final = 1000
_METHODS: Final = {method.value: method for method in Method}
_numbers = count(1)
Reason = Literal["CONNECT", "INVALID_REQ", "TIMEOUT", "TLS"]  # of the names of NET_ERR
_listeners: Final[dict[int, socket.socket]] = {}
_streams: Final[dict[int, socket.socket]] = {}


class PullError(ClocheError):
    """The network refused or broke. `number` is one of NET_ERR. State: the stream is of no use."""

    code = "WEB_PULL"
    blame = "environment"

    def __init__(self, *, reason: Reason, problem: str) -> None:
        found = BY_NAME[f"NET_ERR_{reason}"]
        super().__init__(f"{found.summary}: {problem}", number=found.number, name=found.name)


def tls_cfg_v1(certificates: bytes, key: bytes) -> bytes:
    """Return the X7TL blob of a chain and a key, both PEM.

    Raises:
        EncodeError: one of them is empty.
    """
    return encode_tls_config(TlsServerConfig(certificates=certificates, key=key))


def http1_caps_v1(
    max_header_bytes: int, max_body_bytes: int, read_timeout_ms: int, write_timeout_ms: int
) -> bytes:
    """Return the X7HC blob of these caps.

    Raises:
        EncodeError: one is out of range.
    """
    caps = Http1ServerCaps(
        header_limit_bytes=max_header_bytes,
        body_limit_bytes=max_body_bytes,
        read_timeout_ms=read_timeout_ms,
        write_timeout_ms=write_timeout_ms,
    )
    return encode_server_caps(caps)


def listen_v1(address: str) -> int:
    """Listen on an address; return the handle of the listener.

    Raises:
        BindError: it cannot be.
    """
    (found,) = open_sockets([parse_bind(address)])
    handle = next(_numbers)
    _listeners[handle] = found
    return handle


def address_v1(listener: int) -> str:
    """Return where a listener listens; its port is a real one.

    Raises:
        PullError: there is no such listener.
    """
    return address_of(_listener(listener))


def accept_v1(listener: int, tls: bytes = b"", caps: bytes = b"") -> int:
    """Wait for a connection; return the handle of its stream.

    Args:
        listener: a handle of `listen_v1`.
        tls: an X7TL blob; no bytes mean plain HTTP.
        caps: an X7HC blob; its timeout for reading is that of waiting and of the handshake.

    Raises:
        PullError: nobody came, or the handshake failed.
        DecodeError: a blob is malformed.
    """
    found = _listener(listener)
    timeout_s = _caps(caps).read_timeout_ms / _MS_PER_S
    context = TlsContexts(TlsSettings(certificate=decode_tls_config(tls))) if tls else None
    found.settimeout(timeout_s)
    try:
        accepted, _ = found.accept()
    except TimeoutError:
        raise PullError(reason="TIMEOUT", problem="nobody connected in time") from None
    accepted.settimeout(timeout_s)
    if context is not None:
        try:
            accepted = context.context.wrap_socket(accepted, server_side=True)
        except OSError as error:
            accepted.close()
            reason: Reason = "TIMEOUT" if isinstance(error, TimeoutError) else "TLS"
            raise PullError(reason=reason, problem=str(error)) from error
    handle = next(_numbers)
    _streams[handle] = accepted
    return handle


def read_req_v1(stream: int, caps: bytes = b"") -> bytes:
    """Return the X7RQ blob of the request of a stream.

    Raises:
        Http1Error: the bytes are no request; answer with its status, then close.
        PullError: it did not come in time, or the connection ended.
        DecodeError: the caps are malformed.
    """
    found, limits = _stream(stream), _caps(caps)
    parser = RequestParser(
        Http1Caps(
            request_line_limit_bytes=limits.header_limit_bytes,
            field_line_limit_bytes=limits.header_limit_bytes,
            head_limit_bytes=limits.header_limit_bytes,
            body_limit_bytes=limits.body_limit_bytes,
        )
    )
    until = time.monotonic() + limits.read_timeout_ms / _MS_PER_S
    head: RequestHead | None = None
    pieces: list[bytes] = []
    while True:
        data = _receive(found, until)
        for event in parser.feed(data) if data else parser.finish():
            if isinstance(event, RequestHead):
                head = event
                if head.method not in _METHODS:
                    raise Http1Error(reason=BAD_METHOD)
                if head.expects_continue:
                    _send(found, CONTINUE, until)
            elif isinstance(event, Data):
                pieces.append(event.data)
            elif isinstance(event, Reject):
                raise Http1Error(reason=event.code)
            elif isinstance(event, End) and head is not None:
                return _encoded(head, b"".join(pieces))
        if not data:
            raise PullError(reason="CONNECT", problem="the connection ended without a request")


def write_resp_v1(stream: int, response: bytes, caps: bytes = b"") -> int:
    """Write the response of an X7RS blob; return 0.

    Raises:
        DecodeError: a blob is malformed.
        Http1ResponseError: it cannot be written. State: no byte of it was.
        PullError: the client did not take it in time, or left.
    """
    found, limits = _stream(stream), _caps(caps)
    data = serialize(response)
    _send(found, data, time.monotonic() + limits.write_timeout_ms / _MS_PER_S)
    return 0


def close_v1(handle: int) -> int:
    """Close a stream or a listener; return 0, or 1 where there is none."""
    listener = _listeners.pop(handle, None)
    if listener is not None:
        close_socket(listener)
        return 0
    found = _streams.pop(handle, None)
    if found is None:
        return 1
    found.close()
    return 0


def _encoded(head: RequestHead, body: bytes) -> bytes:
    request = HttpRequest(
        method=_METHODS[head.method],
        target=head.target.encode(),
        headers=HeaderTable(tuple(head.fields)),
        body=body,
    )
    return encode_request(request)


def _receive(found: socket.socket, until: float) -> bytes:
    try:
        found.settimeout(max(0.001, until - time.monotonic()))
        data = found.recv(_READ_BYTES)
    except TimeoutError:
        raise PullError(reason="TIMEOUT", problem="the request was not complete in time") from None
    except ssl.SSLError as error:
        raise PullError(reason="TLS", problem=str(error)) from error
    except OSError as error:
        raise PullError(reason="CONNECT", problem=str(error)) from error
    if time.monotonic() > until:
        raise PullError(reason="TIMEOUT", problem="the request was not complete in time")
    return data


def _send(found: socket.socket, data: bytes, until: float) -> None:
    try:
        found.settimeout(max(0.001, until - time.monotonic()))
        found.sendall(data)
    except TimeoutError:
        raise PullError(reason="TIMEOUT", problem="the client did not read in time") from None
    except OSError as error:
        raise PullError(reason="CONNECT", problem=str(error)) from error


def _caps(caps: bytes) -> Http1ServerCaps:
    return decode_server_caps(caps) if caps else DEFAULT_CAPS


def _listener(handle: int) -> socket.socket:
    found = _listeners.get(handle)
    if found is None:
        raise PullError(reason="INVALID_REQ", problem=f"there is no listener {handle}")
    return found


def _stream(handle: int) -> socket.socket:
    found = _streams.get(handle)
    if found is None:
        raise PullError(reason="INVALID_REQ", problem=f"there is no stream {handle}")
    return found

"""Request ids, the access log, errors, time and size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.web.app import answer_failure
from cloche.web.errors import ContentTooLargeError, HandlerTimeoutError, SettingError

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

_IDENTITY: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_NS_PER_US: Final = 1000


def request_id(*, header: str = "x-request-id", trusted: bool = False) -> Middleware:
    """Give each request an id, `context["request_id"]`, and tell it in the response.

    `trusted` takes over the id that arrives, where a proxy in front sets it and it is a short word;
    otherwise a client could write into the log what it likes.
    """
    name = header.lower().encode("ascii")

    async def middleware(request: Request, following: Next) -> Response:
        identity = request.header(header) if trusted else None
        if identity is None or _IDENTITY.fullmatch(identity) is None:
            identity = request.services.random_bytes(16).hex()
        request.context["request_id"] = identity
        response = await following(request)
        return response.replacing(name, identity.encode())

    return middleware


def access_log() -> Middleware:
    """Log each request when its response begins: one record, no body, no query, no cookies."""

    async def middleware(request: Request, following: Next) -> Response:
        services = request.services
        started_ns = services.monotonic_ns()
        response = await following(request)
        duration_us = (services.monotonic_ns() - started_ns) // _NS_PER_US
        body = response.body
        services.log(
            {
                "event": "request",
                "method": request.method,
                "path": request.path,
                "template": request.template,
                "status": response.status,
                "duration_us": duration_us,
                "body_bytes": len(body) if isinstance(body, bytes) else response.length,
                "client": request.client,
                "request_id": request.context.get("request_id"),
            }
        )
        return response

    return middleware


def catch_errors() -> Middleware:
    """Answer what middleware inside of this raises, so that what is outside sees a response."""

    async def middleware(request: Request, following: Next) -> Response:
        try:
            return await following(request)
        except Exception as raised:  # noqa: BLE001 - becomes a response, and a line of the log
            return answer_failure(request, raised)

    return middleware


def timeout(timeout_ms: int) -> Middleware:
    """Answer 504 where no response has begun after so long; the handler is cancelled."""
    if timeout_ms < 1:
        raise SettingError(setting="timeout_ms", problem="it is below 1")

    async def middleware(request: Request, following: Next) -> Response:
        try:
            found: Response = await request.services.within(following(request), timeout_ms)
        except TimeoutError:
            raise HandlerTimeoutError(timeout_ms=timeout_ms) from None
        return found

    return middleware


def body_limit(limit_bytes: int) -> Middleware:
    """Answer 413 where a body is longer, before it is read if its length is known."""
    if limit_bytes < 0:
        raise SettingError(setting="limit_bytes", problem="it is below 0")

    async def middleware(request: Request, following: Next) -> Response:
        stated = request.header("content-length")
        if stated is not None and stated.isdecimal() and int(stated) > limit_bytes:
            raise ContentTooLargeError(limit_bytes=limit_bytes)
        request.limit_body(limit_bytes)
        return await following(request)

    return middleware

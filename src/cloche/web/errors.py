"""What goes wrong with a request or an application, with the HTTP status that answers it.

Invariant: a message is shown to the client, so it says what the client sent and can change, and
nothing of the server.
"""

from __future__ import annotations

from typing import ClassVar

from cloche.errors import Blame, ClocheError


class HttpError(ClocheError):
    """A request is answered with an error. Handlers raise it, or one of its kinds."""

    code = "WEB_ERROR"
    blame: ClassVar[Blame] = "remote"
    status: ClassVar[int] = 400
    headers: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()

    def response_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the header fields that belong to the answer."""
        return self.headers


class BadRequestError(HttpError):
    """A part of the request is malformed."""

    code = "WEB_BAD_REQUEST"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"the {where} is malformed: {problem}", where=where, problem=problem)


class UnauthorizedError(HttpError):
    """Nobody known asks. `challenge` says how to become known."""

    code = "WEB_UNAUTHORIZED"
    status = 401

    def __init__(self, *, challenge: str) -> None:
        super().__init__("credentials are missing or wrong", challenge=challenge)

    def response_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the challenge (RFC 9110 section 11.6.1)."""
        return ((b"www-authenticate", self.fields["challenge"].encode("latin-1")),)


class ForbiddenError(HttpError):
    """Who asks may not do it."""

    code = "WEB_FORBIDDEN"
    status = 403

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"refused: {problem}", problem=problem)


class NotFoundError(HttpError):
    """Nothing is at this path."""

    code = "WEB_NOT_FOUND"
    status = 404

    def __init__(self, *, path: str) -> None:
        super().__init__(f"nothing is at {path}", path=path)


class MethodNotAllowedError(HttpError):
    """Something is at this path, and answers other methods."""

    code = "WEB_METHOD_NOT_ALLOWED"
    status = 405

    def __init__(self, *, method: str, allowed: list[str]) -> None:
        super().__init__(
            f"{method} is not answered here; allowed are {', '.join(allowed)}",
            method=method,
            allowed=allowed,
        )

    def response_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return what is allowed (RFC 9110 section 15.5.6)."""
        return ((b"allow", ", ".join(self.fields["allowed"]).encode()),)


class ContentTooLargeError(HttpError):
    """The body is longer than this route takes."""

    code = "WEB_CONTENT_TOO_LARGE"
    status = 413
    blame = "limit"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes", limit_bytes=limit_bytes)


class TooManyPartsError(ContentTooLargeError):
    """A form has more parts than this route takes."""

    def __init__(self, *, part_count_max: int) -> None:
        HttpError.__init__(
            self, f"the form has more than {part_count_max} parts", part_count_max=part_count_max
        )


class PartTooLargeError(ContentTooLargeError):
    """A part of a form is longer than this route takes, or its head is."""

    def __init__(self, *, what: str, limit_bytes: int) -> None:
        message = f"{what} of the form is larger than {limit_bytes} bytes"
        HttpError.__init__(self, message, what=what, limit_bytes=limit_bytes)


class UnsupportedMediaTypeError(HttpError):
    """The body is of a type that this route does not read."""

    code = "WEB_UNSUPPORTED_MEDIA_TYPE"
    status = 415

    def __init__(self, *, found: str, expected: str) -> None:
        super().__init__(
            f"the content-type is '{found}'; send {expected}", found=found, expected=expected
        )


class ValidationFailedError(HttpError):
    """A value does not have the type that was declared for it."""

    code = "WEB_VALIDATION"
    status = 422

    def __init__(self, *, where: str, name: str, problem: str) -> None:
        super().__init__(
            f"{where} {name}: {problem}" if name else f"{where}: {problem}",
            where=where,
            name=name,
            problem=problem,
        )


class TooManyRequestsError(HttpError):
    """A limit of requests is used up for now."""

    code = "WEB_TOO_MANY_REQUESTS"
    status = 429
    blame = "limit"
    retryable = True

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many requests; try again in {retry_after_s} s", retry_after_s=retry_after_s
        )

    def response_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return when to come back (RFC 9110 section 10.2.3)."""
        return ((b"retry-after", b"%d" % self.fields["retry_after_s"]),)


class NotImplementedMethodError(HttpError):
    """No path of this server answers such a method."""

    code = "WEB_METHOD_UNKNOWN"
    status = 501

    def __init__(self, *, method: str) -> None:
        super().__init__(f"the method {method} is not implemented", method=method)


class UnavailableError(HttpError):
    """The server cannot answer now."""

    code = "WEB_UNAVAILABLE"
    status = 503
    blame = "environment"
    retryable = True

    def __init__(self, *, problem: str, retry_after_s: int) -> None:
        super().__init__(
            f"not available: {problem}; try again in {retry_after_s} s",
            problem=problem,
            retry_after_s=retry_after_s,
        )

    def response_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return when to come back."""
        return ((b"retry-after", b"%d" % self.fields["retry_after_s"]),)


class HandlerTimeoutError(HttpError):
    """The handler took longer than it may."""

    code = "WEB_HANDLER_TIMEOUT"
    status = 504
    blame = "limit"
    retryable = True

    def __init__(self, *, timeout_ms: int) -> None:
        super().__init__(f"no answer within {timeout_ms} ms", timeout_ms=timeout_ms)


class RouteError(ClocheError):
    """A route cannot be added. State: the application is as it was."""

    code = "WEB_ROUTE"
    blame = "caller"

    def __init__(self, *, route: str, problem: str) -> None:
        super().__init__(f"route {route}: {problem}", route=route, problem=problem)


class ResponseError(ClocheError):
    """A response cannot be built from this value. State: no response was made."""

    code = "WEB_RESPONSE"
    blame = "caller"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"no response can be made: {problem}", problem=problem)


class SettingError(ClocheError):
    """A setting of an application or of middleware makes no sense. State: nothing was built."""

    code = "WEB_SETTING"
    blame = "caller"

    def __init__(self, *, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}", setting=setting, problem=problem)


class BodyTakenError(ClocheError):
    """The body of a request was already taken as a stream. State: the stream is where it was."""

    code = "WEB_BODY_TAKEN"
    blame = "caller"

    def __init__(self) -> None:
        super().__init__("the body of this request was already taken as a stream; take it once")


class ChannelClosedError(ClocheError):
    """A WebSocket was closed. State: nothing more comes, and nothing can be sent.

    `code` of the close is in `fields["close_code"]`; 1005 where there was none, 1006 where the
    connection ended without a close (RFC 6455 section 7.1.5).
    """

    code = "WEB_CHANNEL_CLOSED"
    blame = "remote"

    def __init__(self, *, close_code: int, reason: str = "") -> None:
        super().__init__(
            f"the WebSocket was closed with {close_code}" + (f": {reason}" if reason else ""),
            close_code=close_code,
            reason=reason,
        )

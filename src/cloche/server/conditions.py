"""Conditions of requests: what has not changed is not sent again, what has is not overwritten.

RFC 9110 section 13, for every route of a key. Owns which representation a condition is about: that
of the GET with the same path, or the one that the table names. Invariants:
- every whole answer to a GET has a strong ETag, made of its bytes;
- between the look at a representation and the change that it allows, no other change of the same
  path begins in this process;
- a condition that does not hold is the error document with 412, and nothing was done.

What programs change inside of a session is not held up: a condition on a file looks just before.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from cloche.server.errors import PreconditionError, UnknownObjectError
from cloche.server.guard import tenant_of
from cloche.web.errors import HttpError
from cloche.web.middleware.transfer import conditional
from cloche.web.representation import PRECONDITION_FAILED, precondition
from cloche.web.request import Request
from cloche.web.response import Response, json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.server.operations import Operation
    from cloche.web.app import Middleware, Next

# Who stores an answer asks whether it still holds, and shares it with nobody.
_CACHING: Final = (b"cache-control", b"private, no-cache")
_OK: Final = 200
_NOT_FOUND: Final = 404
_TAG_DIGITS: Final = 32
_CHANGING: Final = frozenset({"PUT", "DELETE"})


class Conditions:
    """Makes the middleware of routes.

    Args:
        operations: the whole table.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._getters = {each.template: each for each in operations if each.method == "GET"}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._conditional = conditional()

    def of(self, operation: Operation) -> tuple[Middleware, ...]:
        """Return what stands directly before a handler."""
        if operation.method == "GET":
            return (self._reading(),)
        getter = self.getter_of(operation)
        return () if getter is None else (self._changing(operation, getter),)

    def getter_of(self, operation: Operation) -> Operation | None:
        """Return the operation whose representation conditions on this one are about."""
        if operation.method not in _CHANGING or operation.access == "anybody":
            return None
        return self._getters.get(operation.about or operation.template)

    def _reading(self) -> Middleware:
        async def middleware(request: Request, following: Next) -> Response:
            answer = await self._conditional(request, following)
            if answer.status == PRECONDITION_FAILED:
                raise PreconditionError
            if answer.get(b"etag") is not None and answer.get(b"cache-control") is None:
                answer = answer.with_fields((_CACHING,))
            return answer

        return middleware

    def _changing(self, operation: Operation, getter: Operation) -> Middleware:
        is_same_shape = operation.answer is not None and operation.answer is getter.answer

        async def middleware(request: Request, following: Next) -> Response:
            place = (tenant_of(request), _place(operation, request))
            lock = self._locks.get(place)
            if lock is None:
                lock = self._locks[place] = asyncio.Lock()
            async with lock:
                if request.headers("if-match") or request.headers("if-none-match"):
                    await self._check(request, getter)
                answer = await following(request)
            if is_same_shape and answer.status == _OK:
                answer = answer.with_field(b"etag", tag_of(answer.body).encode())
            return answer

        return middleware

    async def _check(self, request: Request, getter: Operation) -> None:
        tag = await self._tag(request, getter)
        wanted = request.header("if-match")
        if tag is None:
            # Nothing is there: no tag matches it, and `If-None-Match: *` holds.
            if wanted is not None:
                raise PreconditionError
            return
        if precondition(request, tag, None) is not None:
            raise PreconditionError

    async def _tag(self, request: Request, getter: Operation) -> str | None:
        """Return the tag of what is there now, None when there is nothing."""
        try:
            found: Any = await getter.handler(_reading_of(request))
        except UnknownObjectError:
            return None
        except HttpError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        except Exception as error:
            if getattr(error, "fields", {}).get("reason") == "NOENT":
                return None
            raise
        answer = found if isinstance(found, Response) else json(found)
        return tag_of(answer.body)


def tag_of(body: bytes) -> str:
    """Return the ETag of what an answer has: the one that `conditional` gives."""
    return f'"{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"'


def _place(operation: Operation, request: Request) -> str:
    """Return the path that a change is about."""
    if operation.about is None:
        return request.path
    depth = operation.about.count("/")
    return "/".join(request.path.split("/")[: depth + 1])


def _reading_of(request: Request) -> Request:
    """Return the GET of what a request changes: the same key, path and query, no body."""
    reading = Request(
        method="GET",
        target=request.target,
        services=request.services,
        client=request.client,
        scheme=request.scheme,
    )
    reading.params = request.params
    reading.context.update(request.context)
    return reading

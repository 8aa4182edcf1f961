"""What a route is: the one table that the application, its guard and its description are made of.

Pure. Invariant: a route that is not in the table does not exist, so none is without its guard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

    from cloche.server.keys import Scope
    from cloche.web.request import Request

    Handler = Callable[[Request], Awaitable[Any]]

Access = Literal["anybody", "key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method at one path.

    Args:
        method: in upper case.
        template: as the router has it.
        handler: a coroutine; its name is the id of the operation, its docstring describes it.
        access: "anybody" for a route without a guard.
        scope: that a key needs; None where every key will do.
        body: what a request brings, as JSON.
        answer: what is answered, as JSON; None for another kind of content, or for none.
        status: of success.
        also: other statuses that come with the same answer.
        media_type: of the answer where it is no JSON.
        request_type: of the body where it is no JSON.
        query: (name, type, what it says) of each parameter.
        about: the template of the GET whose answer conditions are about, where it is another one.
        streams: whether the answer may be events.
        is_secret: whether the answer has something that is told once and kept nowhere.
    """

    method: str
    template: str
    handler: Handler
    access: Access = "key"
    scope: Scope | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    media_type: str | None = None
    request_type: str | None = None
    query: tuple[tuple[str, type, str], ...] = ()
    about: str | None = None
    streams: bool = False
    is_secret: bool = False

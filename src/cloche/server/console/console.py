"""What the views share: the parts of the console, and reading a form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cloche.server.context import text
from cloche.server.errors import InvalidFieldError
from cloche.server.pages import PageRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.server.console.memory import Memory
    from cloche.server.console.pages import Pages
    from cloche.server.context import Context
    from cloche.server.keys import Scope
    from cloche.server.routes_runs import RunRoutes
    from cloche.web.request import Request
    from cloche.web.response import Response
    from cloche.web.target import Pairs

    Handler = Callable[[Request], Awaitable[Response]]


PAGE_COUNT_MAX: Final = 25  # rows that a page of 100 KB has room for


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A page or a form: where below `/console`, and the scope that it needs.

    `takes_files` is for a form that may be as large as an upload.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None = None
    takes_files: bool = False


class Views(Protocol):
    """The pages of one section."""

    def routes(self) -> list[Route]:
        """Return its table."""


def section(scope: Scope, path: str, *rows: tuple[str, str, Handler]) -> list[Route]:
    """Return the routes of a section: method, what comes behind `path`, and handler of each."""
    return [
        Route(method=method, path=f"{path}{rest}", handler=handler, scope=scope)
        for method, rest, handler in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The parts of one console."""

    context: Context
    pages: Pages
    runs: RunRoutes
    memory: Memory

    def wanted(self, request: Request) -> PageRequest:
        """Return which part of a list a page shows."""
        limit = min(self.context.limits.server.page_count_default, PAGE_COUNT_MAX)
        return PageRequest(limit=limit, after=text(request, "after"))


def field(form: Pairs, name: str) -> str:
    """Return a field of a form without space around it; empty when it is not there."""
    return (form.get(name) or "").strip()


def number(form: Pairs, name: str) -> int:
    """Return a field of a form that is a whole number.

    Raises:
        InvalidFieldError: it is none.
    """
    text = field(form, name)
    if not text.isascii() or not text.isdigit():
        raise InvalidFieldError(field=name, problem="it is a whole number, 0 or more")
    return int(text)


def many(form: Pairs, name: str) -> tuple[str, ...]:
    """Return what a field lists, separated by commas or lines."""
    found = field(form, name).replace("\n", ",").split(",")
    return tuple(each.strip() for each in found if each.strip())

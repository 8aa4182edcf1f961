"""Lists in pages. Pure.

A page is `limit` items from behind `after`, which is the id of the last item of the page before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cloche.server.errors import InvalidFieldError, UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.limits import Limits

Item = TypeVar("Item")
# What a route of a list takes, as its description has it.
PAGE_QUERY: Final = (
    ("limit", int, "How many items."),
    ("after", str, "The `next` of the page before."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page is wanted; `after` is empty for the first one."""

    limit: int
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Items in a stated order; `next` is None on the last page."""

    items: Sequence[Item]
    next: str | None


def page_request(limit: int | None, after: str | None, limits: Limits) -> PageRequest:
    """Return the page that a query asks for.

    Raises:
        InvalidFieldError: fewer than one item, or more than `server.page_count_max`.
    """
    most = limits.server.page_count_max
    if limit is None:
        limit = min(limits.server.page_count_default, most)
    if not 1 <= limit <= most:
        raise InvalidFieldError(field="limit", problem=f"is {limit}; it is 1 to {most}")
    return PageRequest(limit=limit, after=after or "")


def sliced(
    found: Sequence[Item], wanted: PageRequest, id_of: Callable[[Item], str], *, kind: str
) -> Page[Item]:
    """Return a page of all that there is.

    Raises:
        UnknownObjectError: the page begins behind something that is not there.
    """
    start = 0
    if wanted.after:
        ids = [id_of(item) for item in found]
        if wanted.after not in ids:
            raise UnknownObjectError(kind=kind, id=wanted.after)
        start = ids.index(wanted.after) + 1
    return page_of(found[start : start + wanted.limit + 1], wanted, id_of)


def page_of(found: Sequence[Item], wanted: PageRequest, id_of: Callable[[Item], str]) -> Page[Item]:
    """Return a page of what was found when one item more than wanted was asked for."""
    items = found[: wanted.limit]
    is_last = len(found) <= wanted.limit
    return Page(items=items, next=None if is_last else id_of(items[-1]))

"""What the routes share: the parts of one server, and reading what a request brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cloche.server.pages import Page, PageRequest, page_request, sliced
from cloche.web.errors import ValidationFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.limits import Limits
    from cloche.server.answers import Answers
    from cloche.server.audit import Audit
    from cloche.server.decisions import Decisions
    from cloche.server.deliveries import Webhooks
    from cloche.server.keyring import Keyring
    from cloche.server.net import TenantNet
    from cloche.server.ports import Host
    from cloche.server.runs import Runs
    from cloche.server.scripts import Scripts
    from cloche.server.sessions import TenantSessions
    from cloche.server.signed_out import SignedOut
    from cloche.server.stored import Stored
    from cloche.server.tenants import Tenants
    from cloche.store.ports import Store
    from cloche.web.middleware.observe import Metrics
    from cloche.web.request import Request

T = TypeVar("T")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of one server.

    Args:
        reasons: returns why the server takes no runs now; nothing when it does.
    """

    store: Store
    limits: Limits
    host: Host
    keyring: Keyring
    answers: Answers
    runs: Runs
    sessions: TenantSessions
    scripts: Scripts
    decisions: Decisions
    webhooks: Webhooks
    net: TenantNet
    tenants: Tenants
    stored: Stored
    audit: Audit
    signed_out: SignedOut
    metrics: Metrics
    version: str
    reasons: Callable[[], list[str]]

    async def call(self, work: Callable[[], T]) -> T:
        """Return what a function returns that may block."""
        return await self.host.call(work)

    async def body(self, request: Request, type_: type[Value]) -> Value:
        """Return the JSON that a request brings; where it brings none, that of `{}`.

        Raises:
            HttpError: it is none, too large, or has not this type.
        """
        limit = self.limits.server.body_limit_bytes
        if not request.media_type and not await request.read_all(limit):
            try:
                return msgspec.convert({}, type_)
            except msgspec.ValidationError as error:
                raise ValidationFailedError(where="body", name="", problem=str(error)) from None
        return await request.json(type_, limit)

    def cut(
        self, request: Request, found: Sequence[Value], id_of: Callable[[Value], str], *, kind: str
    ) -> Page[Value]:
        """Return the page of a list that a request asks for; all of it where it names no limit.

        Raises:
            UnknownObjectError: the page begins behind something that is not there.
        """
        wanted = self.page(request)
        if "limit" not in request.query:
            wanted = PageRequest(limit=max(1, len(found)), after=wanted.after)
        return sliced(found, wanted, id_of, kind=kind)

    def page(self, request: Request) -> PageRequest:
        """Return the page that a request asks for."""
        return page_request(query(request, "limit", int, None), text(request, "after"), self.limits)


def query(request: Request, name: str, type_: type[Value], default: Any) -> Any:
    """Return a parameter of the query as its type.

    Raises:
        ValidationFailedError: it has not this type.
    """
    found = request.query.get(name)
    if found is None:
        return default
    try:
        return msgspec.convert(found, type_, strict=False)
    except msgspec.ValidationError as error:
        raise ValidationFailedError(where="query", name=name, problem=str(error)) from None


def text(request: Request, name: str, default: str = "") -> str:
    """Return a parameter of the query."""
    found: str = query(request, name, str, default)
    return found

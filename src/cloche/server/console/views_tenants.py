"""Tenants: what each may have and has. And the audit: who changed what.

The first tenant's administrators see all tenants and decide; another tenant sees itself alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cloche.limits import format_quantity
from cloche.limits.schema import to_schema
from cloche.server.console.console import PAGE_COUNT_MAX, Route, field, number, section
from cloche.server.console.pages import HOME, go, part
from cloche.server.errors import OperatorError
from cloche.server.guard import key_of
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.pages import page_of
from cloche.server.routes_tenants import TenantRoutes
from cloche.server.tenants import TENANT_LIMITS
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.server.console.console import Console
    from cloche.server.documents_admin import AuditDocument, TenantDocument

_DETAILS_SHOWN: Final = 300  # characters


class TenantViews:
    """The pages below `/console/tenants`, and `/console/audit`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context
        self._api = TenantRoutes(console.context)

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "admin",
            "",
            ("GET", "/tenants", self.show_all),
            ("GET", "/tenants/:id", self.show),
            ("POST", "/tenants/:id", self.set_limits),
            ("GET", "/audit", self.show_audit),
        )

    async def show_all(self, request: Request) -> Response:
        """Show the tenants that this one may see."""
        found = await self._api.list_tenants(request)
        return self._console.pages.page(
            request,
            "tenants",
            tenants=found.items[:PAGE_COUNT_MAX],
            next=_next(found.items, found.next),
            limit_count=len(TENANT_LIMITS),
        )

    async def show(self, request: Request) -> Response:
        """Show a tenant: its limits, and what it has."""
        found = await self._api.get_tenant(request)
        return self._console.pages.page(
            request,
            "tenant",
            tenant=found,
            limits=[_limit(name, found) for name in TENANT_LIMITS],
            may_change=key_of(request).tenant == DEFAULT_TENANT,
        )

    async def set_limits(self, request: Request) -> Response:
        """Give a tenant limits of its own, where a field has a number; else the server's hold."""
        found = await self._api.get_tenant(request)
        form, key = await request.form(), key_of(request)
        if key.tenant != DEFAULT_TENANT:
            raise OperatorError
        limits = {name: number(form, name) for name in TENANT_LIMITS if field(form, name)}

        def put() -> None:
            with self._context.audit.noted(key.tenant, key, "tenant.set", found.id, limits):
                self._context.tenants.put(found.id, limits)

        await self._context.call(put)
        return go(request, f"{HOME}/tenants/{part(found.id)}", "The limits hold from now on.")

    async def show_audit(self, request: Request) -> Response:
        """Show who changed what, newest first."""
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._context.call(lambda: self._context.audit.page(tenant, wanted))
        page = page_of(found, wanted, lambda one: one.id)
        return self._console.pages.page(
            request, "audit", records=[_record(one) for one in page.items], next=page.next
        )


def _next(items: list[TenantDocument], after: str | None) -> str | None:
    return items[PAGE_COUNT_MAX - 1].id if len(items) > PAGE_COUNT_MAX else after


def _limit(name: str, tenant: TenantDocument) -> dict[str, Any]:
    leaf = to_schema()["server"][name]
    unit: Any = leaf.get("unit", "count")
    own = tenant.own.get(name)
    return {
        "name": name,
        "label": leaf["label"],
        "says": leaf["desc"],
        "value": format_quantity(tenant.limits[name], unit),
        "range": " to ".join(
            format_quantity(leaf[bound], unit) for bound in ("min", "max") if bound in leaf
        ),
        "own": "" if own is None else str(own),
    }


def _record(one: AuditDocument) -> dict[str, Any]:
    details = json.dumps(one.details, ensure_ascii=False) if one.details else ""
    return {
        "at_ms": one.at_ms,
        "who": f"{one.key_name} ({one.key_id})" if one.key_name else one.key_id,
        "action": one.action,
        "target": one.target[:_DETAILS_SHOWN],
        "details": details[:_DETAILS_SHOWN],
        "is_cut": max(len(details), len(one.target)) > _DETAILS_SHOWN,
    }

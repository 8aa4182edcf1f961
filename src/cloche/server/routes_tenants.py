"""Routes of tenants: what each may have and do. The first tenant's administrators decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.server.documents_admin import TenantBody, TenantDocument, TenantList, TenantUse
from cloche.server.errors import OperatorError, UnknownObjectError
from cloche.server.guard import key_of, tenant_of
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, sliced
from cloche.server.tenants import TENANT_LIMITS
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time

if TYPE_CHECKING:
    from cloche.server.context import Context


class TenantRoutes:
    """Handlers of `/v1/tenants`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tenants = context.tenants

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        one = "/v1/tenants/:id"
        return [
            Operation(method="GET", template="/v1/tenants", handler=self.list_tenants,
                      scope="admin", answer=TenantList, query=PAGE_QUERY),
            Operation(method="GET", template=one, handler=self.get_tenant, scope="admin",
                      answer=TenantDocument),
            Operation(method="PUT", template=one, handler=self.set_tenant, scope="admin",
                      body=TenantBody, answer=TenantDocument),
        ]  # fmt: skip

    async def list_tenants(self, request: Request) -> TenantList:
        """List tenants by name: who has a key, or settings. A tenant sees itself alone."""
        own, wanted = tenant_of(request), self._context.page(request)

        def found() -> TenantList:
            known = self._known() if own == DEFAULT_TENANT else [own]
            page = sliced(known, wanted, lambda tenant: tenant, kind="tenant")
            return TenantList(
                items=[self._document(tenant) for tenant in page.items], next=page.next
            )

        return await self._context.call(found)

    def _known(self) -> list[str]:
        return sorted({*self._context.keyring.tenants(), *self._tenants.names()})

    def _document(self, tenant: str, use: TenantUse | None = None) -> TenantDocument:
        limits, settings = self._tenants.limits(tenant), self._tenants.settings(tenant)
        return TenantDocument(
            id=tenant,
            limits={name: getattr(limits, name) for name in TENANT_LIMITS},
            own={} if settings is None else settings.limits,
            use=use,
        )

    async def get_tenant(self, request: Request) -> TenantDocument:
        """Return a tenant: what it may have, and what it has."""
        own, tenant = tenant_of(request), request.params["id"]

        def found() -> TenantDocument:
            if tenant != own and (own != DEFAULT_TENANT or tenant not in self._known()):
                raise UnknownObjectError(kind="tenant", id=tenant)
            return self._document(tenant, self._use(tenant))

        return await self._context.call(found)

    def _use(self, tenant: str) -> TenantUse:
        return TenantUse(
            sessions=self._context.sessions.count(tenant),
            stored_bytes=self._context.stored.count(tenant),
        )

    async def set_tenant(self, request: Request) -> TenantDocument:
        """Give a tenant limits of its own, instead of those before; what is not named is not."""
        key, tenant = key_of(request), request.params["id"]
        if key.tenant != DEFAULT_TENANT:
            if tenant != key.tenant:
                raise UnknownObjectError(kind="tenant", id=tenant)
            raise OperatorError
        body = await self._context.body(request, TenantBody)

        def put() -> TenantDocument:
            with self._context.audit.noted(key.tenant, key, "tenant.set", tenant, body.limits):
                self._tenants.put(tenant, body.limits)
            return self._document(tenant, self._use(tenant))

        return await self._context.call(put)

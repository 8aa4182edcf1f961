"""Routes of outbound HTTP: lists, secrets, log. Each tenant sees and changes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.egress.allowlist import GLOBAL_SCOPE
from cloche.server.context import query, text
from cloche.server.documents_admin import (
    AuditList,
    CacheDocument,
    CallBody,
    CallList,
    EntryBody,
    EntryDocument,
    EntryList,
    SecretBody,
    SecretDocument,
    SecretList,
    SecretValueBody,
    StatsDocument,
    VerdictDocument,
)
from cloche.server.errors import OperatorError
from cloche.server.guard import key_of, tenant_of
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, page_of, sliced
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, empty, json

if TYPE_CHECKING:
    from cloche.server.context import Context

_LIST: Final = ("scope", str, "The list; `global` if none is named.")
_OF_LIST: Final = ("scope", str, "Of this list alone.")


class NetRoutes:
    """Handlers of `/v1/net` and `/v1/audit`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._net = context.net

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        lists, secrets = "/v1/net/allowlist", "/v1/net/secrets"
        return [
            Operation(method="GET", template=lists, handler=self.list_entries, scope="admin",
                      answer=EntryList, query=(_OF_LIST, *PAGE_QUERY)),
            Operation(method="POST", template=lists, handler=self.put_entry, scope="admin",
                      body=EntryBody, answer=EntryDocument, status=201),
            Operation(method="GET", template=f"{lists}/:id", handler=self.get_entry, scope="admin",
                      answer=EntryDocument),
            Operation(method="DELETE", template=f"{lists}/:id", handler=self.remove_entry,
                      scope="admin", status=204),
            Operation(method="POST", template="/v1/net/test", handler=self.test_call,
                      scope="admin", body=CallBody, answer=VerdictDocument),
            Operation(method="GET", template=secrets, handler=self.list_secrets, scope="admin",
                      answer=SecretList, query=(_OF_LIST, *PAGE_QUERY)),
            Operation(method="GET", template=f"{secrets}/:id", handler=self.get_secret,
                      scope="admin", answer=SecretDocument, query=(_LIST,)),
            Operation(method="PUT", template=f"{secrets}/:id", handler=self.put_secret,
                      scope="admin", body=SecretBody, answer=SecretDocument, query=(_LIST,)),
            Operation(method="PUT", template=f"{secrets}/:id/value", handler=self.rotate_secret,
                      scope="admin", body=SecretValueBody, answer=SecretDocument, query=(_LIST,),
                      about=f"{secrets}/:id"),
            Operation(method="DELETE", template=f"{secrets}/:id", handler=self.remove_secret,
                      scope="admin", status=204, query=(_LIST,)),
            Operation(method="GET", template="/v1/net/logs", handler=self.list_calls,
                      scope="admin", answer=CallList,
                      query=(("host", str, "Calls to this host."), _OF_LIST,
                             ("run", str, "Calls of this run."),
                             ("errors", bool, "What was refused, failed, or has status 400 on."),
                             *PAGE_QUERY)),
            Operation(method="GET", template="/v1/net/stats", handler=self.get_net_stats,
                      scope="admin", answer=StatsDocument),
            Operation(method="GET", template="/v1/net/cache", handler=self.get_cache,
                      scope="admin", answer=CacheDocument),
            Operation(method="DELETE", template="/v1/net/cache", handler=self.clear_cache,
                      scope="admin", status=204),
            Operation(method="GET", template="/v1/audit", handler=self.list_audit, scope="admin",
                      answer=AuditList, query=PAGE_QUERY),
        ]  # fmt: skip

    # --- lists ---

    async def list_entries(self, request: Request) -> EntryList:
        """List the entries of all lists, or of one: what is denied, then what is allowed."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        scope = text(request, "scope") or None
        found = await self._context.call(lambda: self._net.entries(tenant, scope))
        page = sliced(found, wanted, lambda entry: entry.id, kind="entry")
        return EntryList(items=list(page.items), next=page.next)

    async def put_entry(self, request: Request) -> Response:
        """Let runs call a host, or refuse it; the same again changes the settings."""
        body = await self._context.body(request, EntryBody)
        key = key_of(request)
        return json(await self._context.call(lambda: self._net.put_entry(key, body)), 201)

    async def get_entry(self, request: Request) -> EntryDocument:
        """Return an entry."""
        tenant, entry_id = tenant_of(request), request.params["id"]
        return await self._context.call(lambda: self._net.entry(tenant, entry_id))

    async def remove_entry(self, request: Request) -> Response:
        """Remove an entry."""
        key, entry_id = key_of(request), request.params["id"]
        await self._context.call(lambda: self._net.remove_entry(key, entry_id))
        return empty()

    async def test_call(self, request: Request) -> VerdictDocument:
        """Say whether a call would be allowed and which rule decides; nothing is sent."""
        body = await self._context.body(request, CallBody)
        tenant = tenant_of(request)
        return await self._context.call(lambda: self._net.explain(tenant, body))

    # --- secrets ---

    async def list_secrets(self, request: Request) -> SecretList:
        """List secrets and what they are bound to, never their values."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        scope = text(request, "scope") or None
        found = await self._context.call(lambda: self._net.secrets(tenant, scope))
        page = sliced(found, wanted, lambda secret: f"{secret.scope} {secret.name}", kind="secret")
        return SecretList(items=list(page.items), next=page.next)

    async def get_secret(self, request: Request) -> SecretDocument:
        """Return what a secret is bound to, never its value."""
        tenant, name, scope = tenant_of(request), request.params["id"], _scope(request)
        return await self._context.call(lambda: self._net.secret(tenant, name, scope))

    async def put_secret(self, request: Request) -> SecretDocument:
        """Keep a secret, instead of the one of this name and list."""
        body = await self._context.body(request, SecretBody)
        key, name, scope = key_of(request), request.params["id"], _scope(request)
        return await self._context.call(lambda: self._net.put_secret(key, name, scope, body))

    async def rotate_secret(self, request: Request) -> SecretDocument:
        """Give a secret another value; what it is bound to stays."""
        body = await self._context.body(request, SecretValueBody)
        key, name, scope = key_of(request), request.params["id"], _scope(request)
        return await self._context.call(
            lambda: self._net.rotate_secret(
                key, name, scope, body.value, overlap_ms=body.overlap_ms
            )
        )

    async def remove_secret(self, request: Request) -> Response:
        """Forget a secret."""
        key, name, scope = key_of(request), request.params["id"], _scope(request)
        await self._context.call(lambda: self._net.remove_secret(key, name, scope))
        return empty()

    # --- what happened ---

    async def list_calls(self, request: Request) -> CallList:
        """List the calls of the tenant's runs and what became of them, newest first."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        host, scope, run_id = (text(request, name) or None for name in ("host", "scope", "run"))
        errors = query(request, "errors", bool, default=False)
        found = await self._context.call(
            lambda: self._net.calls(
                tenant, wanted, host=host, scope=scope, run_id=run_id, errors=errors
            )
        )
        page = page_of(found, wanted, lambda call: str(call.id))
        return CallList(items=list(page.items), next=page.next)

    async def get_net_stats(self, request: Request) -> StatsDocument:
        """Return calls, mean time and failures for each host, the busiest first."""
        tenant = tenant_of(request)
        return StatsDocument(hosts=await self._context.call(lambda: self._net.stats(tenant)))

    async def get_cache(self, request: Request) -> CacheDocument:
        """Return what the caches of outbound HTTP hold, of all tenants."""
        _check_operator(request)
        return CacheDocument(processes=await self._context.call(self._net.caches))

    async def clear_cache(self, request: Request) -> Response:
        """Let every process forget the responses that it has cached, for all tenants."""
        _check_operator(request)
        key = key_of(request)
        await self._context.call(lambda: self._net.clear_caches(key))
        return empty()

    # --- audit ---

    async def list_audit(self, request: Request) -> AuditList:
        """List the changes that admin keys made: to lists, secrets and tenants, newest first."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        found = await self._context.call(lambda: self._context.audit.page(tenant, wanted))
        page = page_of(found, wanted, lambda record: record.id)
        return AuditList(items=list(page.items), next=page.next)


def _scope(request: Request) -> str:
    return text(request, "scope") or GLOBAL_SCOPE


def _check_operator(request: Request) -> None:
    if tenant_of(request) != DEFAULT_TENANT:
        raise OperatorError

"""Routes of the server itself: keys, limits, health, numbers, its own description."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Final

from cloche.limits.schema import schema_bytes
from cloche.server.documents import (
    Health,
    KeyBody,
    KeyDocument,
    KeyList,
    RotateBody,
)
from cloche.server.errors import TenantError
from cloche.server.guard import key_of, tenant_of
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY, page_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, data, json

if TYPE_CHECKING:
    from cloche.server.context import Context
    from cloche.server.keys import Key

NS_PER_MS: Final = 1_000_000
_UNAVAILABLE: Final = 503


class SystemRoutes:
    """Handlers of everything that is no run and no session."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.description = b""  # set when all routes are known
        self.page = b""

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        limits = "/api/system/limits"
        return [
            Operation(method="GET", template="/v1/keys", handler=self.list_keys, scope="admin",
                      answer=KeyList, query=PAGE_QUERY),
            Operation(method="POST", template="/v1/keys", handler=self.make_key, scope="admin",
                      body=KeyBody, answer=KeyDocument, status=201, is_secret=True),
            Operation(method="POST", template="/v1/keys/:id/rotate", handler=self.rotate_key,
                      scope="admin", body=RotateBody, answer=KeyDocument, status=201,
                      is_secret=True),
            Operation(method="DELETE", template="/v1/keys/:id", handler=self.revoke_key,
                      scope="admin", answer=KeyDocument),
            Operation(method="GET", template=limits, handler=self.get_limits, scope="admin"),
            Operation(method="GET", template=f"{limits}/schema", handler=self.get_limits_schema,
                      scope="admin"),
            Operation(method="GET", template="/metrics", handler=self.get_metrics, scope="admin",
                      media_type="text/plain"),
            Operation(method="GET", template="/healthz", handler=self.get_health,
                      access="anybody", answer=Health),
            Operation(method="GET", template="/readyz", handler=self.get_readiness,
                      access="anybody", answer=Health, also=(503,)),
            Operation(method="GET", template="/openapi.json", handler=self.get_description,
                      access="anybody"),
            Operation(method="GET", template="/docs", handler=self.get_page, access="anybody",
                      media_type="text/html"),
        ]  # fmt: skip

    # --- keys ---

    async def list_keys(self, request: Request) -> KeyList:
        """List the keys of the tenant; what a key is cannot be seen again."""
        tenant, wanted = tenant_of(request), self._context.page(request)
        found = await self._context.call(lambda: self._context.keyring.page(tenant, wanted))
        page = page_of(found, wanted, lambda key: key.id)
        return KeyList(items=[_key_document(key) for key in page.items], next=page.next)

    async def make_key(self, request: Request) -> Response:
        """Make a key; its text is in this answer and nowhere else."""
        own = tenant_of(request)
        body = await self._context.body(request, KeyBody)
        tenant = own if body.tenant is None else body.tenant
        if own not in (tenant, DEFAULT_TENANT):
            raise TenantError
        expires_ns = None if body.expires_ms is None else body.expires_ms * NS_PER_MS
        scopes, actor = tuple(body.scopes), key_of(request)

        def make() -> tuple[Key, str]:
            details: dict[str, object] = {"tenant": tenant, "scopes": scopes}
            if body.apps:
                details["apps"] = body.apps
            with self._context.audit.noted(own, actor, "key.make", body.name, details):
                return self._context.keyring.make(
                    tenant=tenant,
                    scopes=scopes,
                    name=body.name,
                    expires_ns=expires_ns,
                    apps=tuple(body.apps),
                )

        key, secret = await self._context.call(make)
        return json(_key_document(key, secret), 201)

    async def rotate_key(self, request: Request) -> Response:
        """Make a key that may do the same; the old one ends after `overlap_ms`."""
        tenant, key_id = tenant_of(request), request.params["id"]
        body = await self._context.body(request, RotateBody)
        actor = key_of(request)

        def rotate() -> tuple[Key, str]:
            with self._context.audit.noted(tenant, actor, "key.rotate", key_id):
                return self._context.keyring.rotate(tenant, key_id, overlap_ms=body.overlap_ms)

        key, secret = await self._context.call(rotate)
        return json(_key_document(key, secret), 201)

    async def revoke_key(self, request: Request) -> KeyDocument:
        """End a key now."""
        tenant, key_id = tenant_of(request), request.params["id"]
        actor = key_of(request)

        def revoke() -> Key:
            with self._context.audit.noted(tenant, actor, "key.revoke", key_id):
                return self._context.keyring.revoke(tenant, key_id)

        return _key_document(await self._context.call(revoke))

    # --- the server ---

    async def get_limits(self, request: Request) -> Response:
        """Return the limits in force, by group."""
        del request
        # In the order of declaration, as `cloche limits --json` has it.
        document = json_text.dumps(self._context.limits.to_dict(), separators=(",", ":"))
        return data(document.encode(), content_type="application/json")

    async def get_limits_schema(self, request: Request) -> Response:
        """Return label, unit and range of every limit."""
        del request
        return data(schema_bytes(), content_type="application/json")

    async def get_metrics(self, request: Request) -> Response:
        """Return numbers in the text format of Prometheus."""
        del request
        waiting, running = self._context.host.workers.counts()
        own = (
            "# HELP cloche_runs_waiting Runs that wait for a worker.\n"
            "# TYPE cloche_runs_waiting gauge\n"
            f"cloche_runs_waiting {waiting}\n"
            "# HELP cloche_runs_running Runs that are executed.\n"
            "# TYPE cloche_runs_running gauge\n"
            f"cloche_runs_running {running}\n"
            "# HELP cloche_memory_limit_bytes Memory of the machine, or of its control group.\n"
            "# TYPE cloche_memory_limit_bytes gauge\n"
            f"cloche_memory_limit_bytes {self._context.limits.hardware.total_ram}\n"
        )
        answer = self._context.metrics.response()
        return Response(answer.status, answer.fields, answer.body + own.encode())

    async def get_health(self, request: Request) -> Health:
        """Say that the process lives."""
        del request
        return Health(status="ok")

    async def get_readiness(self, request: Request) -> Response:
        """Say whether the server takes runs."""
        del request
        reasons = await self._context.call(self._context.reasons)
        if reasons:
            return json(Health(status="unavailable", reasons=reasons), _UNAVAILABLE)
        return json(Health(status="ok"))

    async def get_description(self, request: Request) -> Response:
        """Return this API as OpenAPI 3.1."""
        del request
        return data(self.description, content_type="application/json")

    async def get_page(self, request: Request) -> Response:
        """Return this API as a page for people."""
        del request
        return data(self.page, content_type="text/html; charset=utf-8").with_field(
            b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"
        )


def _key_document(key: Key, secret: str | None = None) -> KeyDocument:
    return KeyDocument(
        id=key.id,
        tenant=key.tenant,
        name=key.name,
        scopes=list(key.scopes),
        created_ms=key.created_ns // NS_PER_MS,
        apps=list(key.apps),
        expires_ms=_ms(key.expires_ns),
        used_ms=_ms(key.used_ns),
        revoked_ms=_ms(key.revoked_ns),
        key=secret,
    )


def _ms(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // NS_PER_MS

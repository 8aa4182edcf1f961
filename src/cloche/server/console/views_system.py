"""Limits in force, with what they mean; keys: made, replaced, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.limits import format_quantity
from cloche.limits.schema import to_schema
from cloche.server.console.console import Route, field, number, section
from cloche.server.console.pages import HOME, go
from cloche.server.errors import TenantError
from cloche.server.guard import key_of
from cloche.server.keys import DEFAULT_TENANT, SCOPES
from cloche.server.pages import page_of
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.limits.schema import LimitSchema
    from cloche.server.console.console import Console
    from cloche.server.keys import Key

_NS_PER_MS: Final = 1_000_000
_MS_PER_DAY: Final = 86_400_000
_MS_PER_MINUTE: Final = 60_000


class SystemViews:
    """The pages `/console/limits` and `/console/keys`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "admin",
            "",
            ("GET", "/limits", self.show_limits),
            ("GET", "/keys", self.show_keys),
            ("POST", "/keys", self.make_key),
            ("POST", "/keys/:id/rotate", self.rotate_key),
            ("POST", "/keys/:id/revoke", self.revoke_key),
        )

    async def show_limits(self, request: Request) -> Response:
        """Show every limit with its value, range and meaning."""
        values, defaults = self._context.limits.to_dict(), type(self._context.limits)().to_dict()
        groups = [
            (
                group,
                [
                    _limit(name, leaf, values[group][name], defaults[group][name])
                    for name, leaf in leaves.items()
                ],
            )
            for group, leaves in to_schema().items()
        ]
        return self._console.pages.page(request, "limits", groups=groups)

    # --- keys ---

    async def show_keys(self, request: Request) -> Response:
        """Show the keys of the tenant."""
        return await self._keys(request)

    async def _keys(self, request: Request, made: str | None = None) -> Response:
        tenant, wanted = key_of(request).tenant, self._console.wanted(request)
        found = await self._context.call(lambda: self._context.keyring.page(tenant, wanted))
        page = page_of(found, wanted, lambda key: key.id)
        now_ns = self._context.host.now_ns()
        return self._console.pages.page(
            request,
            "keys",
            status=200 if made is None else 201,
            keys=[_key(key, now_ns) for key in page.items],
            next=page.next,
            made=made,
            scopes=SCOPES,
            may_name_tenant=tenant == DEFAULT_TENANT,
            own_id=key_of(request).id,
        )

    async def make_key(self, request: Request) -> Response:
        """Make a key and show it, this once."""
        form, actor = await request.form(), key_of(request)
        own = actor.tenant
        tenant = field(form, "tenant") or own
        if own not in (tenant, DEFAULT_TENANT):
            raise TenantError
        expires_ns = None
        if field(form, "days"):
            days_ms = number(form, "days") * _MS_PER_DAY
            expires_ns = self._context.host.now_ns() + days_ms * _NS_PER_MS
        scopes: Any = tuple(form.values("scope"))
        name, details = field(form, "name"), {"tenant": tenant, "scopes": scopes}

        def make() -> tuple[Key, str]:
            with self._context.audit.noted(own, actor, "key.make", name, details):
                return self._context.keyring.make(
                    tenant=tenant, scopes=scopes, name=name, expires_ns=expires_ns
                )

        _, text = await self._context.call(make)
        return await self._keys(request, made=text)

    async def rotate_key(self, request: Request) -> Response:
        """Make a key that may do the same, and show it; the old one ends after a while."""
        form, actor = await request.form(), key_of(request)
        overlap_ms = number(form, "minutes") * _MS_PER_MINUTE
        key_id = request.params["id"]

        def rotate() -> tuple[Key, str]:
            with self._context.audit.noted(actor.tenant, actor, "key.rotate", key_id):
                return self._context.keyring.rotate(actor.tenant, key_id, overlap_ms=overlap_ms)

        _, text = await self._context.call(rotate)
        return await self._keys(request, made=text)

    async def revoke_key(self, request: Request) -> Response:
        """End a key now."""
        actor, key_id = key_of(request), request.params["id"]

        def revoke() -> None:
            with self._context.audit.noted(actor.tenant, actor, "key.revoke", key_id):
                self._context.keyring.revoke(actor.tenant, key_id)

        await self._context.call(revoke)
        return go(request, f"{HOME}/keys", f"Key {key_id} has ended.")


def _limit(name: str, leaf: LimitSchema, value: int, default: int) -> dict[str, Any]:
    unit: Any = leaf.get("unit", "count")
    bounds = [leaf[bound] for bound in ("min", "max") if bound in leaf]
    return {
        "name": name,
        "label": leaf["label"],
        "says": leaf["desc"],
        "value": format_quantity(value, unit),
        "range": " to ".join(format_quantity(bound, unit) for bound in bounds),
        "is_changed": value != default and not leaf["read_only"],
    }


def _key(key: Key, now_ns: int) -> dict[str, Any]:
    ends_ns = key.ends_ns()
    return {
        "id": key.id,
        "name": key.name,
        "scopes": ", ".join(key.scopes),
        "created_ms": key.created_ns // _NS_PER_MS,
        "used_ms": None if key.used_ns is None else key.used_ns // _NS_PER_MS,
        "ends_ms": None if ends_ns is None else ends_ns // _NS_PER_MS,
        "is_good": key.is_good(now_ns),
        "is_revoked": key.revoked_ns is not None,
    }

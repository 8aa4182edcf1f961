"""Outbound HTTP and its secrets: what programs called, which hosts they may, and why.

Everything is what the API has below `/v1/net`: each tenant sees and changes its own lists, secrets
and calls. The value of a secret is taken from a form and never given back.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cloche.egress.allowlist import GLOBAL_SCOPE
from cloche.egress.secrets import INJECT_AS
from cloche.server.console.console import Route, field, many, section
from cloche.server.console.pages import HOME, go, part
from cloche.server.console.shown import fitting
from cloche.server.context import text
from cloche.server.deliveries import WEBHOOK_PREFIX
from cloche.server.documents_admin import CallBody, EntryBody, SecretBody
from cloche.server.errors import InvalidFieldError, UnknownObjectError
from cloche.server.guard import key_of
from cloche.server.pages import PageRequest
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.server.console.console import Console

_LOG_SHOWN: Final = 40
_ENTRIES_SHOWN: Final = 40
_ENTRIES_ROOM_BYTES: Final = 35_000  # together with the calls below 100 KB
_CALLS_ROOM_BYTES: Final = 35_000
_SECRETS_ROOM_BYTES: Final = 80_000
_ROW_MARKUP: Final = " " * 850  # what a row costs beside its texts
_SECRET_MARKUP: Final = " " * 1500
_TEXT_SHOWN: Final = 200  # characters of an entry, a place, the hosts of a secret
_URL_SHOWN: Final = 2000


class EgressViews:
    """The pages `/console/egress` and `/console/secrets`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context
        self._net = console.context.net

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "admin",
            "",
            ("GET", "/egress", self.show),
            ("POST", "/egress/entries", self.put_entry),
            ("POST", "/egress/entries/remove", self.remove_entry),
            ("GET", "/secrets", self.show_secrets),
            ("POST", "/secrets", self.put_secret),
            ("POST", "/secrets/rotate", self.rotate_secret),
            ("POST", "/secrets/remove", self.remove_secret),
        )

    # --- hosts ---

    async def show(self, request: Request) -> Response:
        """Show the lists, what they would say of a call, and the log."""
        tenant, call = key_of(request).tenant, self._context.call
        errors = bool(text(request, "errors"))
        records = await call(
            lambda: self._net.calls(tenant, PageRequest(limit=_LOG_SHOWN), errors=errors)
        )
        records = fitting(
            records[:_LOG_SHOWN],
            _CALLS_ROOM_BYTES,
            lambda one: (_ROW_MARKUP, f"{one.host}{one.path}"[:_TEXT_SHOWN], one.scope),
        )
        callers = {each.run_id for each in records}
        places = await call(lambda: {each: self._place(tenant, each) for each in callers})
        rows = await call(lambda: self._net.entries(tenant))
        url, method = text(request, "url").strip(), text(request, "method", "GET").strip()
        scope = text(request, "scope", GLOBAL_SCOPE).strip() or GLOBAL_SCOPE
        verdict = None
        if url:
            asked = CallBody(url=url, method=method, scopes=(scope,))
            verdict = await call(lambda: self._net.explain(tenant, asked))
        return self._console.pages.page(
            request,
            "egress",
            records=records,
            places=places,
            errors=errors,
            url=url[:_URL_SHOWN],
            most=_TEXT_SHOWN,
            method=method,
            scope=scope,
            entries=fitting(
                rows[:_ENTRIES_SHOWN],
                _ENTRIES_ROOM_BYTES,
                lambda row: (_ROW_MARKUP, row.entry[:_TEXT_SHOWN] * 2, row.scope * 2),
            ),
            entry_count=len(rows),
            verdict=verdict,
        )

    def _place(self, tenant: str, caller: str) -> str:
        """Return the page of what made a call; empty where it has none, or is gone."""
        if caller.startswith(WEBHOOK_PREFIX):
            return f"{HOME}/webhooks/{part(caller)}"
        for section_path, find in (
            ("scripts", self._context.scripts.kept),
            ("runs", self._context.runs.find),
        ):
            with suppress(UnknownObjectError):
                find(tenant, caller)
                return f"{HOME}/{section_path}/{part(caller)}"
        return ""  # a request of an app, or a run that is kept no more

    async def put_entry(self, request: Request) -> Response:
        """Add an entry to a list, or change it."""
        form, key = await request.form(), key_of(request)
        action = field(form, "action")
        if action not in ("allow", "deny"):
            raise InvalidFieldError(field="action", problem="is allow or deny")
        body = EntryBody(
            entry=field(form, "entry"),
            action="deny" if action == "deny" else "allow",
            scope=field(form, "scope") or GLOBAL_SCOPE,
        )
        kept = await self._context.call(lambda: self._net.put_entry(key, body))
        return go(request, f"{HOME}/egress", f"{kept.entry} is in {kept.scope}.")

    async def remove_entry(self, request: Request) -> Response:
        """Remove an entry of a list."""
        form, key = await request.form(), key_of(request)
        entry_id = field(form, "id")
        gone = await self._context.call(lambda: self._net.remove_entry(key, entry_id))
        return go(request, f"{HOME}/egress", f"{gone.entry} was removed from {gone.scope}.")

    # --- secrets ---

    async def show_secrets(self, request: Request) -> Response:
        """Show secrets and what they are bound to, never their values."""
        tenant = key_of(request).tenant
        rows = await self._context.call(lambda: self._net.secrets(tenant))
        return self._console.pages.page(
            request,
            "secrets",
            secrets=fitting(
                rows[:_ENTRIES_SHOWN],
                _SECRETS_ROOM_BYTES,
                lambda one: (
                    _SECRET_MARKUP,
                    one.name * 6,
                    one.scope * 5,
                    one.key,
                    ", ".join(one.domains)[:_TEXT_SHOWN],
                    ", ".join(one.methods + one.paths)[:_TEXT_SHOWN],
                ),
            ),
            most=_TEXT_SHOWN,
            secret_count=len(rows),
            inject_as=INJECT_AS,
        )

    async def put_secret(self, request: Request) -> Response:
        """Keep a secret."""
        form, key = await request.form(), key_of(request)
        inject_as: Any = field(form, "inject_as")
        body = SecretBody(
            value=form.get("value") or "",
            domains=many(form, "domains"),
            inject_as=inject_as,
            key=field(form, "key"),
            methods=many(form, "methods"),
            paths=many(form, "paths"),
        )
        name, scope = field(form, "name"), field(form, "scope") or GLOBAL_SCOPE
        await self._context.call(lambda: self._net.put_secret(key, name, scope, body))
        return go(request, f"{HOME}/secrets", f"Secret {name} is kept.")

    async def rotate_secret(self, request: Request) -> Response:
        """Give a secret a new value."""
        form, key = await request.form(), key_of(request)
        name, scope, value = field(form, "name"), field(form, "scope"), form.get("value") or ""
        await self._context.call(
            lambda: self._net.rotate_secret(key, name, scope, value, overlap_ms=None)
        )
        return go(request, f"{HOME}/secrets", f"Secret {name} has a new value.")

    async def remove_secret(self, request: Request) -> Response:
        """Forget a secret."""
        form, key = await request.form(), key_of(request)
        name, scope = field(form, "name"), field(form, "scope")
        await self._context.call(lambda: self._net.remove_secret(key, name, scope))
        return go(request, f"{HOME}/secrets", f"Secret {name} was forgotten.")

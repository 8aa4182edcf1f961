"""Outbound HTTP and its secrets: what programs called, which hosts they may, and why.

Lists and secrets belong to the whole server, so that only an admin key of the first tenant sees and
changes them; the log shows each tenant the calls of its own runs. The value of a secret is taken
from a form and never given back.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from cloche.egress.adapters.explain import explain
from cloche.egress.allowlist import GLOBAL_SCOPE, entry_from_document
from cloche.egress.entry_text import entry_of_text, text_of_entry
from cloche.egress.errors import NetPolicyError
from cloche.egress.open import open_database
from cloche.egress.secrets import INJECT_AS, Secret
from cloche.server.console.console import Route, field, key_of, many, section
from cloche.server.console.pages import HOME, go, is_operator
from cloche.server.context import text
from cloche.server.errors import InvalidFieldError, UnknownObjectError
from cloche.server.keys import DEFAULT_TENANT
from cloche.web.errors import ForbiddenError
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.egress.adapters.database import EntryRow, NetDatabase
    from cloche.egress.log import Record
    from cloche.server.console.console import Console

T = TypeVar("T")
_LOOKED_AT: Final = 500  # of the log, to find those of a tenant
_LOG_SHOWN: Final = 40
_ENTRIES_SHOWN: Final = 40
_NS_PER_MS: Final = 1_000_000


class EgressViews:
    """The pages `/console/egress` and `/console/secrets`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context

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

    async def _with(self, work: Callable[[NetDatabase], T]) -> T:
        """Return what is done with the lists, on a thread."""

        def opened() -> T:
            with closing(open_database(limits=self._context.limits)) as database:
                return work(database)

        return await self._context.call(opened)

    # --- hosts ---

    async def show(self, request: Request) -> Response:
        """Show the log, and to the operator the lists and what they would say of a call."""
        key = key_of(request)
        records = await self._with(
            lambda database: database.records(
                errors=bool(text(request, "errors")), count=_LOOKED_AT
            )
        )
        own = await self._context.call(lambda: self._own(key.tenant, records))
        values: dict[str, Any] = {"entries": [], "entry_count": 0, "verdict": None}
        url, method = text(request, "url").strip(), text(request, "method", "GET").strip()
        scope = text(request, "scope", GLOBAL_SCOPE).strip() or GLOBAL_SCOPE
        if is_operator(key):
            rows = await self._with(lambda database: database.entry_rows())
            values |= {"entries": [_row(row) for row in rows[:_ENTRIES_SHOWN]]}
            values |= {"entry_count": len(rows)}
            if url:
                limits = self._context.limits
                values["verdict"] = await self._with(
                    lambda database: explain(
                        database, limits, url=url, method=method, scopes=[scope]
                    )
                )
        return self._console.pages.page(
            request,
            "egress",
            records=own,
            errors=bool(text(request, "errors")),
            is_operator=is_operator(key),
            url=url,
            method=method,
            scope=scope,
            **values,
        )

    def _own(self, tenant: str, records: list[Record]) -> list[dict[str, Any]]:
        """Return the records of a tenant's runs, the newest first."""
        known: dict[str, bool] = {}
        found: list[dict[str, Any]] = []
        for record in reversed(records):
            if record.run_id not in known:
                known[record.run_id] = self._is_own(tenant, record.run_id)
            if known[record.run_id]:
                at_ms = record.at_ns // _NS_PER_MS
                found.append({**msgspec.structs.asdict(record), "at_ms": at_ms})
        return found[:_LOG_SHOWN]

    def _is_own(self, tenant: str, run_id: str) -> bool:
        try:
            self._context.runs.find(tenant, run_id)
        except UnknownObjectError:
            return False
        return True

    async def put_entry(self, request: Request) -> Response:
        """Add an entry to a list, or change it."""
        _check_operator(request)
        form = await request.form()
        action = field(form, "action")
        if action not in ("allow", "deny"):
            raise InvalidFieldError(field="action", problem="is allow or deny")
        entry = entry_of_text(field(form, "entry"), action="deny" if action == "deny" else "allow")
        scope = field(form, "scope") or GLOBAL_SCOPE
        replaced = await self._with(lambda database: database.put_entry(scope, entry))
        done = "changed" if replaced else "added"
        return go(request, f"{HOME}/egress", f"{text_of_entry(entry)} was {done} in {scope}.")

    async def remove_entry(self, request: Request) -> Response:
        """Remove an entry of a list."""
        _check_operator(request)
        form = await request.form()
        try:
            document = msgspec.json.decode(field(form, "document"), type=dict[str, Any])
        except msgspec.DecodeError:
            raise InvalidFieldError(field="document", problem="is no entry") from None
        entry, scope = entry_from_document(document), field(form, "scope")
        count = await self._with(lambda database: database.remove_entries(scope, entry))
        if not count:
            raise UnknownObjectError(kind="entry", id=text_of_entry(entry))
        return go(request, f"{HOME}/egress", f"{text_of_entry(entry)} was removed from {scope}.")

    # --- secrets ---

    async def show_secrets(self, request: Request) -> Response:
        """Show secrets and what they are bound to, never their values."""
        _check_operator(request)
        rows = await self._with(lambda database: database.secrets())
        return self._console.pages.page(
            request,
            "secrets",
            secrets=[
                {
                    **msgspec.structs.asdict(row),
                    "changed_ms": row.updated_ns // _NS_PER_MS,
                    "used_ms": None if row.used_ns is None else row.used_ns // _NS_PER_MS,
                }
                for row in rows[:_ENTRIES_SHOWN]
            ],
            secret_count=len(rows),
            inject_as=INJECT_AS,
        )

    async def put_secret(self, request: Request) -> Response:
        """Keep a secret."""
        _check_operator(request)
        form = await request.form()
        inject_as: Any = field(form, "inject_as")
        secret = Secret(
            name=field(form, "name"),
            value=form.get("value") or "",
            domains=many(form, "domains"),
            inject_as=inject_as,
            key=field(form, "key"),
            methods=many(form, "methods"),
            paths=many(form, "paths"),
            scope=field(form, "scope") or GLOBAL_SCOPE,
        )
        replaced = await self._with(lambda database: database.put_secret(secret))
        again = ", instead of the one before" if replaced else ""
        return go(request, f"{HOME}/secrets", f"Secret {secret.name} is kept{again}.")

    async def rotate_secret(self, request: Request) -> Response:
        """Give a secret a new value."""
        _check_operator(request)
        form = await request.form()
        name, scope, value = field(form, "name"), field(form, "scope"), form.get("value") or ""
        await self._with(lambda database: database.rotate_secret(name, value, scope=scope))
        return go(request, f"{HOME}/secrets", f"Secret {name} has a new value.")

    async def remove_secret(self, request: Request) -> Response:
        """Forget a secret."""
        _check_operator(request)
        form = await request.form()
        name, scope = field(form, "name"), field(form, "scope")
        if not await self._with(lambda database: database.remove_secret(name, scope)):
            raise NetPolicyError(where=f"secret {name}", problem=f"does not exist in {scope}")
        return go(request, f"{HOME}/secrets", f"Secret {name} was forgotten.")


def _check_operator(request: Request) -> None:
    if not is_operator(key_of(request)):
        raise ForbiddenError(
            problem=f"lists and secrets are for admin keys of the tenant {DEFAULT_TENANT}"
        )


def _row(row: EntryRow) -> dict[str, Any]:
    return {
        "scope": row.scope,
        "action": row.entry.action,
        "text": text_of_entry(row.entry),
        "document": msgspec.json.encode(row.entry).decode(),
        "created_ms": row.created_ns // _NS_PER_MS,
    }

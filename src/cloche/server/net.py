"""The outbound HTTP of tenants: lists, secrets, log. Every call does what `cloche net` does.

Owns what of the file of the egress is a tenant's. Invariants:
- the file is the one that runs of this store use: where it is follows from the store;
- a tenant sees and names lists as if it were alone, whatever they are called in the file;
- the value of a secret goes in and never comes out;
- every change is in the audit.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from cloche.egress.adapters.explain import explain
from cloche.egress.adapters.tables import identity_of
from cloche.egress.allowlist import (
    SCOPE,
    TENANT_PREFIX,
    Entry,
    canonical_pattern,
    scope_in,
    scope_of_tenant,
)
from cloche.egress.entry_text import entry_of_text, text_of_entry
from cloche.egress.open import open_database
from cloche.egress.secrets import Secret
from cloche.server.documents_admin import (
    CallDocument,
    EntryDocument,
    HostDocument,
    SecretDocument,
    VerdictDocument,
)
from cloche.server.errors import InvalidFieldError, QuotaError, UnknownObjectError
from cloche.server.requests import net_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.egress.adapters.database import EntryRow, NetDatabase, SecretRow
    from cloche.limits import Limits
    from cloche.server.audit import Audit
    from cloche.server.documents_admin import CallBody, EntryBody, SecretBody
    from cloche.server.keys import Key
    from cloche.server.pages import PageRequest
    from cloche.server.tenants import Tenants
    from cloche.store.ports import Store

T = TypeVar("T")
NS_PER_MS: Final = 1_000_000
_ID_DIGITS: Final = 24
_PARTS: Final = (
    "host", "http", "ports", "methods", "paths", "rate_limit", "rate_burst", "max_response",
    "timeout_ms", "cache_ttl_s",
)  # fmt: skip


class TenantNet:
    """The outbound HTTP of all tenants of one store. All calls block.

    Args:
        store: whose runs make the calls.
        limits: in force.
        tenants: how much each may have.
        audit: gets every change.
    """

    def __init__(self, store: Store, limits: Limits, *, tenants: Tenants, audit: Audit) -> None:
        self._store = store
        self._tenants = tenants
        self._limits = limits
        self._audit = audit

    def _with(self, work: Callable[[NetDatabase], T]) -> T:
        with closing(open_database(self._store.url, limits=self._limits)) as database:
            return work(database)

    # --- lists ---

    def entries(self, tenant: str, scope: str | None = None) -> list[EntryDocument]:
        """Return the entries of a tenant's lists, or of one: by list, what is denied first."""
        named = None if scope is None else _list(tenant, scope)
        rows = self._with(lambda database: database.entry_rows(named))
        return _of_tenant(tenant, rows, _entry)

    def put_entry(self, key: Key, body: EntryBody) -> EntryDocument:
        """Add an entry, or change that of the same host, methods, ports and paths.

        Raises:
            InvalidFieldError, NetPolicyError: it is none.
            QuotaError: the tenant has as many as it may.
        """
        entry, scope = entry_of_body(body), _list(key.tenant, body.scope)
        most = self._tenants.limits(key.tenant).tenant_entry_count_max

        def put(database: NetDatabase) -> EntryDocument:
            own = _of_tenant(key.tenant, database.entry_rows(), _entry)
            identity = _entry_id(body.scope, entry)
            if len(own) >= most and all(each.id != identity for each in own):
                limit = "server.tenant_entry_count_max"
                raise QuotaError(what="entries", limit=limit, count=len(own))
            details = {"scope": body.scope, "entry": entry.to_document()}
            with self._audit.noted(
                key.tenant, key, f"entry.{entry.action}", text_of_entry(entry), details
            ):
                database.put_entry(scope, entry)
            rows = _of_tenant(key.tenant, database.entry_rows(scope), _entry)
            return next(row for row in rows if row.id == identity)

        return self._with(put)

    def entry(self, tenant: str, entry_id: str) -> EntryDocument:
        """Return an entry.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        for each in self.entries(tenant):
            if each.id == entry_id:
                return each
        raise UnknownObjectError(kind="entry", id=entry_id)

    def remove_entry(self, key: Key, entry_id: str) -> EntryDocument:
        """Remove an entry; return what it was.

        Raises:
            UnknownObjectError: the tenant has none of this id.
        """
        found = self.entry(key.tenant, entry_id)
        scope, named = scope_in(net_tenant(key.tenant), found.scope), _identity(found)

        def remove(database: NetDatabase) -> None:
            with self._audit.noted(
                key.tenant, key, "entry.remove", found.entry, {"scope": found.scope}
            ):
                database.remove_entry(scope, named)

        self._with(remove)
        return found

    def explain(self, tenant: str, body: CallBody) -> VerdictDocument:
        """Return whether a call of a run of the tenant would be allowed. Nothing is sent.

        Raises:
            NetPolicyError: an entry of the body is none.
        """
        for scope in body.scopes:
            _list(tenant, scope)
        verdict = self._with(
            lambda database: explain(
                database,
                self._limits,
                url=body.url,
                method=body.method,
                scopes=body.scopes,
                tenant=net_tenant(tenant),
                allow=body.allow,
                deny=body.deny,
                secret=body.secret,
            )
        )
        shown = scope_of_tenant(net_tenant(tenant), verdict.get("scope") or "")
        verdict["scope"] = shown or verdict.get("scope")
        return msgspec.convert(verdict, VerdictDocument)

    # --- secrets ---

    def secrets(self, tenant: str, scope: str | None = None) -> list[SecretDocument]:
        """Return secrets without their values, by list and name; all, or those of one list."""
        named = None if scope is None else _list(tenant, scope)
        return _of_tenant(tenant, self._with(lambda database: database.secrets(named)), _secret)

    def secret(self, tenant: str, name: str, scope: str) -> SecretDocument:
        """Return a secret without its value.

        Raises:
            UnknownObjectError: the tenant has none of this name in the list.
        """
        for each in self.secrets(tenant, scope):
            if each.name == name:
                return each
        raise UnknownObjectError(kind="secret", id=name)

    def put_secret(self, key: Key, name: str, scope: str, body: SecretBody) -> SecretDocument:
        """Keep a secret, instead of the one of this name and list if there is one.

        Raises:
            NetPolicyError: it is none. QuotaError: the tenant has as many as it may.
        """
        where = _list(key.tenant, scope)
        secret = Secret(
            name=name,
            value=body.value,
            domains=body.domains,
            inject_as=body.inject_as,
            key=body.key,
            methods=body.methods,
            paths=body.paths,
            ports=body.ports,
            scope=where,
        )
        most = self._tenants.limits(key.tenant).tenant_secret_count_max

        def put(database: NetDatabase) -> None:
            own = _of_tenant(key.tenant, database.secrets(), _secret)
            is_there = any((each.scope, each.name) == (scope, name) for each in own)
            if len(own) >= most and not is_there:
                limit = "server.tenant_secret_count_max"
                raise QuotaError(what="secrets", limit=limit, count=len(own))
            details = {"scope": scope, "domains": secret.domains, "inject_as": secret.inject_as}
            with self._audit.noted(key.tenant, key, "secret.put", name, details):
                database.put_secret(secret)

        self._with(put)
        return self.secret(key.tenant, name, scope)

    def rotate_secret(
        self, key: Key, name: str, scope: str, value: str, *, overlap_ms: int | None
    ) -> SecretDocument:
        """Give a secret another value; what it is bound to stays.

        Raises:
            UnknownObjectError: there is none. NetPolicyError: the value is none.
        """
        self.secret(key.tenant, name, scope)
        if overlap_ms is not None and not 0 <= overlap_ms <= _OVERLAP_MS_MAX:
            raise InvalidFieldError(field="overlap_ms", problem=f"is 0 to {_OVERLAP_MS_MAX}")
        where = _list(key.tenant, scope)

        def rotate(database: NetDatabase) -> None:
            with self._audit.noted(key.tenant, key, "secret.rotate", name, {"scope": scope}):
                database.rotate_secret(name, value, scope=where, overlap_ms=overlap_ms)

        self._with(rotate)
        return self.secret(key.tenant, name, scope)

    def remove_secret(self, key: Key, name: str, scope: str) -> None:
        """Forget a secret.

        Raises:
            UnknownObjectError: there is none.
        """
        self.secret(key.tenant, name, scope)
        where = _list(key.tenant, scope)
        with self._audit.noted(key.tenant, key, "secret.remove", name, {"scope": scope}):
            self._with(lambda database: database.remove_secret(name, where))

    # --- what happened ---

    def calls(
        self,
        tenant: str,
        wanted: PageRequest,
        *,
        host: str | None = None,
        scope: str | None = None,
        run_id: str | None = None,
        errors: bool = False,
    ) -> list[CallDocument]:
        """Return calls of a tenant's runs, newest first, one more than wanted if there are more.

        Raises:
            InvalidFieldError: the page does not begin behind a call. NetPolicyError: it is no host.
        """
        if wanted.after and not (wanted.after.isascii() and wanted.after.isdigit()):
            raise InvalidFieldError(field="after", problem="is the `next` of another page")
        before = int(wanted.after[:_CALL_DIGITS]) if wanted.after else None
        rows = self._with(
            lambda database: database.numbered_records(
                host=None if host is None else canonical_pattern(host),
                scope=None if scope is None else _list(tenant, scope),
                run_id=run_id,
                tenant=net_tenant(tenant),
                errors=errors,
                before=before,
                count=wanted.limit + 1,
            )
        )
        own = net_tenant(tenant)
        found = []
        for number, record in rows:
            document = msgspec.structs.asdict(record)
            del document["tenant"]
            at_ms = document.pop("at_ns") // NS_PER_MS
            document["scope"] = scope_of_tenant(own, record.scope) or record.scope
            found.append(CallDocument(id=number, at_ms=at_ms, **document))
        return found

    def stats(self, tenant: str) -> list[HostDocument]:
        """Return what the tenant's runs called at each host, the busiest first."""
        rows = self._with(lambda database: database.stats(net_tenant(tenant)))
        return [HostDocument(**row) for row in rows]

    def caches(self) -> list[dict[str, Any]]:
        """Return what the caches of processes hold, of all tenants."""
        return self._with(lambda database: database.caches())

    def clear_caches(self, key: Key) -> None:
        """Let every process forget what it has cached, for all tenants."""
        with self._audit.noted(key.tenant, key, "cache.clear", "all"):
            self._with(lambda database: database.clear_caches())


_OVERLAP_MS_MAX: Final = 30 * 86_400_000
_CALL_DIGITS: Final = 18  # what a number of a row can have


def entry_of_body(body: EntryBody) -> Entry:
    """Return the entry that a body says.

    Raises:
        InvalidFieldError: it says it twice, or not at all. NetPolicyError: it is none.
    """
    if bool(body.entry) == bool(body.host):
        raise InvalidFieldError(field="entry", problem="give either entry or host")
    parts: dict[str, Any] = {name: getattr(body, name) for name in _PARTS}
    if not body.entry:
        return Entry(action=body.action, **parts)
    said = entry_of_text(body.entry, action=body.action)
    more = {name: (*getattr(said, name), *parts[name]) for name in ("ports", "methods", "paths")}
    parts |= {"host": said.host, "http": said.http or body.http, **more}
    return Entry(action=body.action, **parts)


def _list(tenant: str, scope: str) -> str:
    """Return the name in the file of a list that a tenant names.

    Raises:
        InvalidFieldError: it is no name, or begins as those of other tenants do.
    """
    named = scope_in(net_tenant(tenant), scope)
    if not SCOPE.fullmatch(scope) or not SCOPE.fullmatch(named):
        raise InvalidFieldError(field="scope", problem=f"must match {SCOPE.pattern}")
    if scope.startswith(TENANT_PREFIX):
        raise InvalidFieldError(field="scope", problem=f"does not begin with {TENANT_PREFIX}")
    return named


Row = TypeVar("Row", "EntryRow", "SecretRow")


def _of_tenant(tenant: str, rows: Sequence[Row], shown: Callable[[str, Row], T]) -> list[T]:
    own = net_tenant(tenant)
    named = ((scope_of_tenant(own, row.scope), row) for row in rows)
    return [shown(scope, row) for scope, row in named if scope is not None]


def _entry(scope: str, row: EntryRow) -> EntryDocument:
    entry = row.entry
    parts: dict[str, Any] = {name: getattr(entry, name) for name in (*_PARTS, "action")}
    parts |= {"id": _entry_id(scope, entry), "scope": scope, "entry": text_of_entry(entry)}
    return msgspec.convert({**parts, "created_ms": row.created_ns // NS_PER_MS}, EntryDocument)


def _entry_id(scope: str, entry: Entry) -> str:
    text = f"{scope}\0{identity_of(entry)}".encode()
    return hashlib.sha256(text).hexdigest()[:_ID_DIGITS]


def _identity(found: EntryDocument) -> Entry:
    parts: dict[str, Any] = {n: tuple(getattr(found, n)) for n in ("ports", "methods", "paths")}
    return Entry(host=found.host, action=found.action, **parts)


def _secret(scope: str, row: SecretRow) -> SecretDocument:
    return SecretDocument(
        name=row.name,
        scope=scope,
        inject_as=row.inject_as,  # type: ignore[arg-type]  # checked when it was kept
        key=row.key,
        domains=list(row.domains),
        methods=list(row.methods),
        paths=list(row.paths),
        ports=list(row.ports),
        created_ms=row.created_ns // NS_PER_MS,
        updated_ms=row.updated_ns // NS_PER_MS,
        used_ms=None if row.used_ns is None else row.used_ns // NS_PER_MS,
        rotating=row.rotating,
    )

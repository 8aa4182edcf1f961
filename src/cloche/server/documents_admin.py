"""What requests and answers of administration look like as JSON: egress, audit.

Pure; see `documents`.
"""

from __future__ import annotations

from typing import Any, Literal

from cloche.egress.secrets import InjectAs  # noqa: TC001 - msgspec reads it
from cloche.server.documents import Answer, Body

Outcome = Literal["allowed", "denied", "cached", "failed"]


# --- egress ---


class EntryBody(Body, frozen=True, kw_only=True):
    """An entry of an allowlist: a line as `cloche net allow` takes it, or its parts by name.

    Numbers that are 0 inherit what the limits say.
    """

    entry: str = ""
    host: str = ""
    scope: str = "global"
    action: Literal["allow", "deny"] = "allow"
    http: bool = False
    ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    rate_limit: int = 0
    rate_burst: int = 0
    max_response: int = 0
    timeout_ms: int = 0
    cache_ttl_s: int = 0


class EntryDocument(Answer, frozen=True, kw_only=True):
    """An entry of an allowlist. The `id` follows from the list, host, methods, paths and ports."""

    id: str
    scope: str
    entry: str
    host: str
    action: Literal["allow", "deny"]
    http: bool
    ports: list[int]
    methods: list[str]
    paths: list[str]
    rate_limit: int
    rate_burst: int
    max_response: int
    timeout_ms: int
    cache_ttl_s: int
    created_ms: int


class EntryList(Answer, frozen=True, kw_only=True):
    """A page of entries by list; in a list what is denied comes first."""

    items: list[EntryDocument]
    next: str | None


class CallBody(Body, frozen=True, kw_only=True):
    """A call that is judged and not made. The entries `allow` and `deny` are the run's own."""

    url: str
    method: str = "GET"
    scopes: tuple[str, ...] = ("global",)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    secret: str | None = None


class RuleDocument(Answer, frozen=True, kw_only=True):
    """A rule that a call met, and what it says."""

    rule: str
    says: str


class VerdictDocument(Answer, frozen=True, kw_only=True):
    """Whether a call would be allowed, and which rules say so, in their order."""

    url: str
    method: str
    allowed: bool
    steps: list[RuleDocument]
    host: str | None = None
    scope: str | None = None
    code: str | None = None
    reason: str | None = None
    limits: dict[str, int] | None = None


class SecretBody(Body, frozen=True, kw_only=True):
    """A secret: its value, and where it may go."""

    value: str
    domains: tuple[str, ...]
    inject_as: InjectAs = "bearer"
    key: str = ""
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


class SecretValueBody(Body, frozen=True, kw_only=True):
    """The next value of a secret; the one before is still scrubbed for `overlap_ms`."""

    value: str
    overlap_ms: int | None = None


class SecretDocument(Answer, frozen=True, kw_only=True):
    """All of a secret but its value."""

    name: str
    scope: str
    inject_as: InjectAs
    key: str
    domains: list[str]
    methods: list[str]
    paths: list[str]
    ports: list[int]
    created_ms: int
    updated_ms: int
    used_ms: int | None
    rotating: bool


class SecretList(Answer, frozen=True, kw_only=True):
    """A page of secrets by list and name, without their values."""

    items: list[SecretDocument]
    next: str | None


class CallDocument(Answer, frozen=True, kw_only=True):
    """One hop of a call that a run made, or was refused."""

    id: int
    at_ms: int
    run_id: str
    scope: str
    outcome: Outcome
    method: str
    host: str
    path: str
    status: int | None
    code: str | None
    reason: str | None
    duration_ms: int
    request_bytes: int
    response_bytes: int


class CallList(Answer, frozen=True, kw_only=True):
    """A page of calls, newest first."""

    items: list[CallDocument]
    next: str | None


class HostDocument(Answer, frozen=True, kw_only=True):
    """What was called at one host."""

    host: str
    calls: int
    failures: int
    denied: int
    cached: int
    duration_ms: int
    bytes: int


class StatsDocument(Answer, frozen=True, kw_only=True):
    """What was called at each host, the busiest first."""

    hosts: list[HostDocument]


class CacheDocument(Answer, frozen=True, kw_only=True):
    """What the caches of the processes that serve this store hold."""

    processes: list[dict[str, Any]]


# --- tenants ---


class TenantBody(Body, frozen=True, kw_only=True):
    """Limits of a tenant of its own, by their names in the group `server`; none is the server's."""

    limits: dict[str, int]


class TenantUse(Answer, frozen=True, kw_only=True):
    """What a tenant has now."""

    sessions: int
    stored_bytes: int


class TenantDocument(Answer, frozen=True, kw_only=True):
    """A tenant: the limits that hold for it, those of them that are its own, and what it has.

    `use` is null in lists.
    """

    id: str
    limits: dict[str, int]
    own: dict[str, int]
    use: TenantUse | None = None


class TenantList(Answer, frozen=True, kw_only=True):
    """A page of tenants by name."""

    items: list[TenantDocument]
    next: str | None


# --- audit ---


class AuditDocument(Answer, frozen=True, kw_only=True):
    """A change that somebody made, and who. `key_id` is empty for whoever has the store itself."""

    id: str
    at_ms: int
    key_id: str
    key_name: str
    action: str
    target: str
    details: dict[str, Any]


class AuditList(Answer, frozen=True, kw_only=True):
    """A page of changes, newest first."""

    items: list[AuditDocument]
    next: str | None

"""What admin keys say to a server: outbound HTTP, tenants, webhooks; what answers mean. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.client.calls import Call, _nothing, _part, _query, _struct
from cloche.server.documents import DeliveryDocument, DeliveryList, WebhookDocument, WebhookList
from cloche.server.documents_admin import (
    AuditList,
    CacheDocument,
    CallList,
    EntryDocument,
    EntryList,
    SecretDocument,
    SecretList,
    StatsDocument,
    TenantDocument,
    TenantList,
    VerdictDocument,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LISTS = "/v1/net/allowlist"
_SECRETS = "/v1/net/secrets"


# --- lists ---


def put_entry(entry: str, action: str, options: Mapping[str, Any]) -> Call[EntryDocument]:
    """Add an entry, or change it."""
    body = {"entry": entry, "action": action, **options}
    return Call(method="POST", path=_LISTS, body=body, read=_struct(EntryDocument))


def list_entries(scope: str | None, limit: int | None, after: str | None) -> Call[EntryList]:
    """Return a page of entries."""
    query = _query(scope=scope, limit=limit, after=after)
    return Call(method="GET", path=_LISTS, query=query, read=_struct(EntryList))


def get_entry(entry_id: str) -> Call[EntryDocument]:
    """Return an entry."""
    return Call(method="GET", path=f"{_LISTS}/{_part(entry_id)}", read=_struct(EntryDocument))


def remove_entry(entry_id: str) -> Call[None]:
    """Remove an entry."""
    return Call(method="DELETE", path=f"{_LISTS}/{_part(entry_id)}", read=_nothing)


def explain(url: str, options: Mapping[str, Any]) -> Call[VerdictDocument]:
    """Ask what would become of a call."""
    body = {"url": url, **options}
    return Call(method="POST", path="/v1/net/test", body=body, read=_struct(VerdictDocument))


# --- secrets ---


def put_secret(
    name: str, value: str, domains: Iterable[str], scope: str | None, options: Mapping[str, Any]
) -> Call[SecretDocument]:
    """Keep a secret."""
    return Call(
        method="PUT",
        path=f"{_SECRETS}/{_part(name)}",
        query=_query(scope=scope),
        body={"value": value, "domains": list(domains), **options},
        read=_struct(SecretDocument),
    )


def rotate_secret(
    name: str, value: str, scope: str | None, overlap_ms: int | None
) -> Call[SecretDocument]:
    """Give a secret another value."""
    return Call(
        method="PUT",
        path=f"{_SECRETS}/{_part(name)}/value",
        query=_query(scope=scope),
        body={"value": value, "overlap_ms": overlap_ms},
        read=_struct(SecretDocument),
    )


def list_secrets(scope: str | None, limit: int | None, after: str | None) -> Call[SecretList]:
    """Return a page of secrets."""
    query = _query(scope=scope, limit=limit, after=after)
    return Call(method="GET", path=_SECRETS, query=query, read=_struct(SecretList))


def get_secret(name: str, scope: str | None) -> Call[SecretDocument]:
    """Return a secret, without its value."""
    path, query = f"{_SECRETS}/{_part(name)}", _query(scope=scope)
    return Call(method="GET", path=path, query=query, read=_struct(SecretDocument))


def remove_secret(name: str, scope: str | None) -> Call[None]:
    """Forget a secret."""
    path = f"{_SECRETS}/{_part(name)}"
    return Call(method="DELETE", path=path, query=_query(scope=scope), read=_nothing)


# --- what happened ---


def list_calls(
    host: str | None,
    scope: str | None,
    run: str | None,
    errors: bool,
    limit: int | None,
    after: str | None,
) -> Call[CallList]:
    """Return a page of calls that runs made."""
    query = _query(
        host=host, scope=scope, run=run, errors=True if errors else None, limit=limit, after=after
    )
    return Call(method="GET", path="/v1/net/logs", query=query, read=_struct(CallList))


def net_stats() -> Call[StatsDocument]:
    """Return what was called, by host."""
    return Call(method="GET", path="/v1/net/stats", read=_struct(StatsDocument))


def net_cache() -> Call[CacheDocument]:
    """Return what is cached."""
    return Call(method="GET", path="/v1/net/cache", read=_struct(CacheDocument))


def clear_net_cache() -> Call[None]:
    """Forget what is cached."""
    return Call(method="DELETE", path="/v1/net/cache", read=_nothing)


def list_audit(limit: int | None, after: str | None) -> Call[AuditList]:
    """Return a page of changes."""
    query = _query(limit=limit, after=after)
    return Call(method="GET", path="/v1/audit", query=query, read=_struct(AuditList))


# --- tenants ---


def list_tenants(limit: int | None, after: str | None) -> Call[TenantList]:
    """Return a page of tenants."""
    query = _query(limit=limit, after=after)
    return Call(method="GET", path="/v1/tenants", query=query, read=_struct(TenantList))


def get_tenant(name: str) -> Call[TenantDocument]:
    """Return a tenant."""
    return Call(method="GET", path=f"/v1/tenants/{_part(name)}", read=_struct(TenantDocument))


def set_tenant(name: str, limits: Mapping[str, int]) -> Call[TenantDocument]:
    """Give a tenant limits of its own."""
    path, body = f"/v1/tenants/{_part(name)}", {"limits": dict(limits)}
    return Call(method="PUT", path=path, body=body, read=_struct(TenantDocument))


# --- webhooks ---


def list_webhooks() -> Call[WebhookList]:
    """Return the webhooks."""
    return Call(method="GET", path="/v1/webhooks", read=_struct(WebhookList))


def create_webhook(url: str, events: Iterable[str]) -> Call[WebhookDocument]:
    """Add a webhook."""
    body = {"url": url, "events": list(events)}
    return Call(method="POST", path="/v1/webhooks", body=body, read=_struct(WebhookDocument))


def get_webhook(webhook_id: str) -> Call[WebhookDocument]:
    """Return a webhook."""
    return Call(method="GET", path=_webhook(webhook_id), read=_struct(WebhookDocument))


def remove_webhook(webhook_id: str) -> Call[None]:
    """Remove a webhook."""
    return Call(method="DELETE", path=_webhook(webhook_id), read=_nothing)


def rotate_webhook(webhook_id: str) -> Call[WebhookDocument]:
    """Give a webhook another secret."""
    path = _webhook(webhook_id, "rotate")
    return Call(method="POST", path=path, read=_struct(WebhookDocument))


def ping_webhook(webhook_id: str) -> Call[DeliveryDocument]:
    """Send a message that says nothing."""
    path = _webhook(webhook_id, "ping")
    return Call(method="POST", path=path, read=_struct(DeliveryDocument))


def list_deliveries(webhook_id: str, limit: int | None, after: str | None) -> Call[DeliveryList]:
    """Return what a webhook has not taken."""
    path, query = _webhook(webhook_id, "deliveries"), _query(limit=limit, after=after)
    return Call(method="GET", path=path, query=query, read=_struct(DeliveryList))


def _webhook(webhook_id: str, rest: str = "") -> str:
    path = f"/v1/webhooks/{_part(webhook_id)}"
    return f"{path}/{rest}" if rest else path

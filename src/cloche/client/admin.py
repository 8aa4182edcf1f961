"""What admin keys look after: `client.net`, `client.tenants` and `client.webhooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloche.client import admin_calls as calls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.client.asynchronous import AsyncClient
    from cloche.client.synchronous import Client
    from cloche.server.documents import DeliveryDocument, WebhookDocument
    from cloche.server.documents_admin import (
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

    # Inside a class `list` is a verb.
    Deliveries = list[DeliveryDocument]
    Hooks = list[WebhookDocument]


class Net:
    """Outbound HTTP of the key's tenant: lists, secrets, what was called."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def allow(self, entry: str, **options: Any) -> EntryDocument:
        """Let runs call a host, as a line of `cloche net allow`; options are fields."""
        return self._client._send(calls.put_entry(entry, "allow", options))

    def deny(self, entry: str, **options: Any) -> EntryDocument:
        """Refuse a host that an entry behind it would allow."""
        return self._client._send(calls.put_entry(entry, "deny", options))

    def entries(
        self, *, scope: str | None = None, limit: int | None = None, after: str | None = None
    ) -> EntryList:
        """Return a page of entries, of all lists or of one."""
        return self._client._send(calls.list_entries(scope, limit, after))

    def entry(self, entry_id: str) -> EntryDocument:
        """Return an entry."""
        return self._client._send(calls.get_entry(entry_id))

    def remove(self, entry_id: str) -> None:
        """Remove an entry."""
        self._client._send(calls.remove_entry(entry_id))

    def test(self, url: str, **options: Any) -> VerdictDocument:
        """Return whether a call would be allowed, and which rule decides."""
        return self._client._send(calls.explain(url, options))

    def put_secret(
        self,
        name: str,
        value: str,
        domains: Iterable[str],
        *,
        scope: str | None = None,
        **options: Any,
    ) -> SecretDocument:
        """Keep a secret for these hosts; nobody can read its value again."""
        return self._client._send(calls.put_secret(name, value, domains, scope, options))

    def rotate_secret(
        self, name: str, value: str, *, scope: str | None = None, overlap_ms: int | None = None
    ) -> SecretDocument:
        """Give a secret another value; what it is bound to stays."""
        return self._client._send(calls.rotate_secret(name, value, scope, overlap_ms))

    def secrets(
        self, *, scope: str | None = None, limit: int | None = None, after: str | None = None
    ) -> SecretList:
        """Return a page of secrets, without their values."""
        return self._client._send(calls.list_secrets(scope, limit, after))

    def secret(self, name: str, *, scope: str | None = None) -> SecretDocument:
        """Return a secret, without its value."""
        return self._client._send(calls.get_secret(name, scope))

    def remove_secret(self, name: str, *, scope: str | None = None) -> None:
        """Forget a secret."""
        self._client._send(calls.remove_secret(name, scope))

    def logs(
        self,
        *,
        host: str | None = None,
        scope: str | None = None,
        run: str | None = None,
        errors: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> CallList:
        """Return a page of calls that runs made, newest first."""
        return self._client._send(calls.list_calls(host, scope, run, errors, limit, after))

    def stats(self) -> StatsDocument:
        """Return what was called at each host."""
        return self._client._send(calls.net_stats())

    def cache(self) -> CacheDocument:
        """Return what is cached, for the tenant `default`."""
        return self._client._send(calls.net_cache())

    def clear_cache(self) -> None:
        """Forget what is cached, of all tenants."""
        self._client._send(calls.clear_net_cache())


class Tenants:
    """What tenants may have."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, limit: int | None = None, after: str | None = None) -> TenantList:
        """Return a page of tenants."""
        return self._client._send(calls.list_tenants(limit, after))

    def get(self, name: str) -> TenantDocument:
        """Return a tenant: what it may have, and what it has."""
        return self._client._send(calls.get_tenant(name))

    def set(self, name: str, **limits: int) -> TenantDocument:
        """Give a tenant limits of its own, instead of those before."""
        return self._client._send(calls.set_tenant(name, limits))


class Webhooks:
    """Where a server tells of approvals and of what has ended."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, url: str, events: Iterable[str] = ()) -> WebhookDocument:
        """Add a webhook for these events, all when none are named; its secret is told once."""
        return self._client._send(calls.create_webhook(url, events))

    def list(self) -> Hooks:
        """Return the webhooks, without their secrets."""
        return self._client._send(calls.list_webhooks()).items

    def get(self, webhook_id: str) -> WebhookDocument:
        """Return a webhook."""
        return self._client._send(calls.get_webhook(webhook_id))

    def remove(self, webhook_id: str) -> None:
        """Remove a webhook with all that it has not been told."""
        self._client._send(calls.remove_webhook(webhook_id))

    def rotate(self, webhook_id: str) -> WebhookDocument:
        """Give a webhook another secret, at once."""
        return self._client._send(calls.rotate_webhook(webhook_id))

    def ping(self, webhook_id: str) -> DeliveryDocument:
        """Send a message that says nothing, to see whether it arrives."""
        return self._client._send(calls.ping_webhook(webhook_id))

    def deliveries(
        self, webhook_id: str, *, limit: int | None = None, after: str | None = None
    ) -> Deliveries:
        """Return what a webhook has not taken, oldest first.

        Args:
            webhook_id: of the webhook.
            limit: how many at most; None for all.
            after: the id of the last one of those before.
        """
        return self._client._send(calls.list_deliveries(webhook_id, limit, after)).items


class AsyncNet:
    """Outbound HTTP of the key's tenant: lists, secrets, what was called."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def allow(self, entry: str, **options: Any) -> EntryDocument:
        """Let runs call a host, as a line of `cloche net allow`; options are fields."""
        return await self._client._send(calls.put_entry(entry, "allow", options))

    async def deny(self, entry: str, **options: Any) -> EntryDocument:
        """Refuse a host that an entry behind it would allow."""
        return await self._client._send(calls.put_entry(entry, "deny", options))

    async def entries(
        self, *, scope: str | None = None, limit: int | None = None, after: str | None = None
    ) -> EntryList:
        """Return a page of entries, of all lists or of one."""
        return await self._client._send(calls.list_entries(scope, limit, after))

    async def entry(self, entry_id: str) -> EntryDocument:
        """Return an entry."""
        return await self._client._send(calls.get_entry(entry_id))

    async def remove(self, entry_id: str) -> None:
        """Remove an entry."""
        await self._client._send(calls.remove_entry(entry_id))

    async def test(self, url: str, **options: Any) -> VerdictDocument:
        """Return whether a call would be allowed, and which rule decides."""
        return await self._client._send(calls.explain(url, options))

    async def put_secret(
        self,
        name: str,
        value: str,
        domains: Iterable[str],
        *,
        scope: str | None = None,
        **options: Any,
    ) -> SecretDocument:
        """Keep a secret for these hosts; nobody can read its value again."""
        return await self._client._send(calls.put_secret(name, value, domains, scope, options))

    async def rotate_secret(
        self, name: str, value: str, *, scope: str | None = None, overlap_ms: int | None = None
    ) -> SecretDocument:
        """Give a secret another value; what it is bound to stays."""
        return await self._client._send(calls.rotate_secret(name, value, scope, overlap_ms))

    async def secrets(
        self, *, scope: str | None = None, limit: int | None = None, after: str | None = None
    ) -> SecretList:
        """Return a page of secrets, without their values."""
        return await self._client._send(calls.list_secrets(scope, limit, after))

    async def secret(self, name: str, *, scope: str | None = None) -> SecretDocument:
        """Return a secret, without its value."""
        return await self._client._send(calls.get_secret(name, scope))

    async def remove_secret(self, name: str, *, scope: str | None = None) -> None:
        """Forget a secret."""
        await self._client._send(calls.remove_secret(name, scope))

    async def logs(
        self,
        *,
        host: str | None = None,
        scope: str | None = None,
        run: str | None = None,
        errors: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> CallList:
        """Return a page of calls that runs made, newest first."""
        return await self._client._send(calls.list_calls(host, scope, run, errors, limit, after))

    async def stats(self) -> StatsDocument:
        """Return what was called at each host."""
        return await self._client._send(calls.net_stats())

    async def cache(self) -> CacheDocument:
        """Return what is cached, for the tenant `default`."""
        return await self._client._send(calls.net_cache())

    async def clear_cache(self) -> None:
        """Forget what is cached, of all tenants."""
        await self._client._send(calls.clear_net_cache())


class AsyncTenants:
    """What tenants may have."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, *, limit: int | None = None, after: str | None = None) -> TenantList:
        """Return a page of tenants."""
        return await self._client._send(calls.list_tenants(limit, after))

    async def get(self, name: str) -> TenantDocument:
        """Return a tenant: what it may have, and what it has."""
        return await self._client._send(calls.get_tenant(name))

    async def set(self, name: str, **limits: int) -> TenantDocument:
        """Give a tenant limits of its own, instead of those before."""
        return await self._client._send(calls.set_tenant(name, limits))


class AsyncWebhooks:
    """Where a server tells of approvals and of what has ended."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, url: str, events: Iterable[str] = ()) -> WebhookDocument:
        """Add a webhook for these events, all when none are named; its secret is told once."""
        return await self._client._send(calls.create_webhook(url, events))

    async def list(self) -> Hooks:
        """Return the webhooks, without their secrets."""
        return (await self._client._send(calls.list_webhooks())).items

    async def get(self, webhook_id: str) -> WebhookDocument:
        """Return a webhook."""
        return await self._client._send(calls.get_webhook(webhook_id))

    async def remove(self, webhook_id: str) -> None:
        """Remove a webhook with all that it has not been told."""
        await self._client._send(calls.remove_webhook(webhook_id))

    async def rotate(self, webhook_id: str) -> WebhookDocument:
        """Give a webhook another secret, at once."""
        return await self._client._send(calls.rotate_webhook(webhook_id))

    async def ping(self, webhook_id: str) -> DeliveryDocument:
        """Send a message that says nothing, to see whether it arrives."""
        return await self._client._send(calls.ping_webhook(webhook_id))

    async def deliveries(
        self, webhook_id: str, *, limit: int | None = None, after: str | None = None
    ) -> Deliveries:
        """Return what a webhook has not taken, oldest first.

        Args:
            webhook_id: of the webhook.
            limit: how many at most; None for all.
            after: the id of the last one of those before.
        """
        return (await self._client._send(calls.list_deliveries(webhook_id, limit, after))).items

"""Routes of webhooks: where a tenant wants to be told of approvals and of what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloche.server.documents import (
    DeliveryDocument,
    DeliveryList,
    WebhookBody,
    WebhookDocument,
    WebhookList,
)
from cloche.server.guard import key_of, tenant_of
from cloche.server.operations import Operation
from cloche.server.pages import PAGE_QUERY
from cloche.server.webhooks import NS_PER_MS, check_events, check_url
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, json

if TYPE_CHECKING:
    from cloche.server.context import Context
    from cloche.server.keys import Key
    from cloche.server.webhooks import Delivery, Event, Webhook


class WebhookRoutes:
    """Handlers of `/v1/webhooks`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def operations(self) -> list[Operation]:
        """Return the table of these routes."""
        one = "/v1/webhooks/:id"
        return [
            Operation(method="GET", template="/v1/webhooks", handler=self.list_webhooks,
                      scope="admin", answer=WebhookList),
            Operation(method="POST", template="/v1/webhooks", handler=self.create_webhook,
                      scope="admin", body=WebhookBody, answer=WebhookDocument, status=201,
                      is_secret=True),
            Operation(method="GET", template=one, handler=self.get_webhook, scope="admin",
                      answer=WebhookDocument),
            Operation(method="DELETE", template=one, handler=self.delete_webhook, scope="admin",
                      status=204),
            Operation(method="POST", template=f"{one}/rotate", handler=self.rotate_webhook,
                      scope="admin", answer=WebhookDocument, is_secret=True),
            Operation(method="POST", template=f"{one}/ping", handler=self.ping_webhook,
                      scope="admin", answer=DeliveryDocument, status=202),
            Operation(method="GET", template=f"{one}/deliveries", handler=self.list_deliveries,
                      scope="admin", answer=DeliveryList, query=PAGE_QUERY),
        ]  # fmt: skip

    async def list_webhooks(self, request: Request) -> WebhookList:
        """List the webhooks of the tenant; their secrets cannot be seen again."""
        tenant = tenant_of(request)
        found = await self._context.call(lambda: self._context.webhooks.all(tenant))
        return WebhookList(items=[_document(hook) for hook in found])

    async def create_webhook(self, request: Request) -> Response:
        """Add a webhook; its secret is in this answer and nowhere else."""
        key = key_of(request)
        body = await self._context.body(request, WebhookBody)
        hook, secret = await self._context.call(
            lambda: created(self._context, key, body.url, body.events)
        )
        return json(_document(hook, secret), 201)

    async def get_webhook(self, request: Request) -> WebhookDocument:
        """Return a webhook."""
        tenant, hook_id = tenant_of(request), request.params["id"]
        return _document(
            await self._context.call(lambda: self._context.webhooks.get(tenant, hook_id))
        )

    async def delete_webhook(self, request: Request) -> Response:
        """Remove a webhook with all that it has not been told."""
        key, hook_id = key_of(request), request.params["id"]

        def delete() -> None:
            with self._context.audit.noted(key.tenant, key, "webhook.delete", hook_id):
                self._context.webhooks.delete(key.tenant, hook_id)

        await self._context.call(delete)
        return Response(204)

    async def rotate_webhook(self, request: Request) -> WebhookDocument:
        """Give a webhook another secret, at once."""
        key, hook_id = key_of(request), request.params["id"]

        def rotate() -> tuple[Webhook, str]:
            with self._context.audit.noted(key.tenant, key, "webhook.rotate", hook_id):
                return self._context.webhooks.rotate(key.tenant, hook_id)

        return _document(*await self._context.call(rotate))

    async def ping_webhook(self, request: Request) -> Response:
        """Send a message that says nothing, to see whether it arrives."""
        tenant, hook_id = tenant_of(request), request.params["id"]
        sent = await self._context.call(lambda: self._context.webhooks.ping(tenant, hook_id))
        return json(delivery_document(sent), 202)

    async def list_deliveries(self, request: Request) -> DeliveryList:
        """List what a webhook has not taken, oldest first."""
        tenant, hook_id = tenant_of(request), request.params["id"]
        found = await self._context.call(lambda: self._context.webhooks.deliveries(tenant, hook_id))
        page = self._context.cut(request, found, lambda each: each.id, kind="delivery")
        items = [delivery_document(each) for each in page.items]
        return DeliveryList(items=items, next=page.next)


def created(context: Context, key: Key, url: str, events: list[Event]) -> tuple[Webhook, str]:
    """Add a webhook for the tenant of a key, and note that; return it with its secret.

    Raises:
        InvalidFieldError, QuotaError: see `Webhooks.create`.
    """
    # The host alone: what stands behind it may be what lets messages in.
    host = urlsplit(check_url(url)).hostname or ""
    details = {"events": check_events(events)}
    with context.audit.noted(key.tenant, key, "webhook.create", host, details):
        return context.webhooks.create(key.tenant, url, events)


def _document(hook: Webhook, secret: str | None = None) -> WebhookDocument:
    return WebhookDocument(
        id=hook.id,
        url=hook.url,
        events=list(hook.events),
        created_ms=hook.created_ms,
        disabled=hook.disabled,
        secret=secret,
    )


def delivery_document(one: Delivery) -> DeliveryDocument:
    """Return a message that was not taken as it is answered."""
    return DeliveryDocument(
        id=one.id,
        event=one.event,
        state=one.state,
        created_ms=one.created_ns // NS_PER_MS,
        attempt_count=one.attempt_count,
        next_ms=one.next_ns // NS_PER_MS if one.state == "pending" else None,
        problem=one.problem,
    )

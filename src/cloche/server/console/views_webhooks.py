"""Webhooks: where a tenant is told of approvals and ends, and what could not be told.

Everything is what the API has below `/v1/webhooks`. A secret is on the page that made it, and on no
other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.server.console.console import Route, field, section
from cloche.server.console.pages import HOME, go, part
from cloche.server.errors import InvalidFieldError
from cloche.server.guard import key_of
from cloche.server.routes_webhooks import WebhookRoutes, created, delivery_document
from cloche.server.webhooks import EVENTS
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from cloche.server.console.console import Console

_HOOKS_SHOWN: Final = 40
_DELIVERIES_SHOWN: Final = 30


class WebhookViews:
    """The pages below `/console/webhooks`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._context = console.context
        self._api = WebhookRoutes(console.context)

    def routes(self) -> list[Route]:
        """Return the table of this section."""
        return section(
            "admin",
            "/webhooks",
            ("GET", "", self.show_all),
            ("POST", "", self.create),
            ("GET", "/:id", self.show),
            ("POST", "/:id/ping", self.ping),
            ("POST", "/:id/rotate", self.rotate),
            ("POST", "/:id/delete", self.delete),
        )

    async def show_all(self, request: Request) -> Response:
        """Show the webhooks of the tenant, and how much each has not taken."""
        found = (await self._api.list_webhooks(request)).items
        tenant = key_of(request).tenant

        def counted() -> list[tuple[Any, int, int]]:
            rows = []
            for hook in found[:_HOOKS_SHOWN]:
                states = [one.state for one in self._context.webhooks.deliveries(tenant, hook.id)]
                rows.append((hook, states.count("pending"), states.count("failed")))
            return rows

        return self._console.pages.page(
            request,
            "webhooks",
            hooks=await self._context.call(counted),
            count=len(found),
            events=[event for event in EVENTS if event != "ping"],
        )

    async def create(self, request: Request) -> Response:
        """Add a webhook; its page, this once, has its secret."""
        form, key = await request.form(), key_of(request)
        asked = form.values("event")
        events = [event for event in EVENTS if event in asked]
        if len(events) != len(set(asked)):
            raise InvalidFieldError(field="event", problem=f"is one of {', '.join(EVENTS)}")
        url = field(form, "url")
        hook, secret = await self._context.call(lambda: created(self._context, key, url, events))
        return await self._shown(request, hook.id, secret=secret, status=201)

    async def show(self, request: Request) -> Response:
        """Show a webhook, and what it has not taken."""
        return await self._shown(request, request.params["id"])

    async def _shown(
        self, request: Request, hook_id: str, *, secret: str | None = None, status: int = 200
    ) -> Response:
        tenant = key_of(request).tenant
        hook = await self._context.call(lambda: self._context.webhooks.get(tenant, hook_id))
        deliveries = await self._context.call(
            lambda: self._context.webhooks.deliveries(tenant, hook_id)
        )
        return self._console.pages.page(
            request,
            "webhook",
            status=status,
            hook=hook,
            secret=secret,
            deliveries=[delivery_document(one) for one in deliveries[:_DELIVERIES_SHOWN]],
            delivery_count=len(deliveries),
        )

    async def ping(self, request: Request) -> Response:
        """Send a message that says nothing."""
        await self._api.ping_webhook(request)
        says = "A ping is on its way. It stands here until it is taken."
        return go(request, f"{HOME}/webhooks/{part(request.params['id'])}", says)

    async def rotate(self, request: Request) -> Response:
        """Give a webhook another secret; its page, this once, has it."""
        hook = await self._api.rotate_webhook(request)
        return await self._shown(request, hook.id, secret=hook.secret)

    async def delete(self, request: Request) -> Response:
        """Remove a webhook with all that it has not been told."""
        await self._api.delete_webhook(request)
        return go(request, f"{HOME}/webhooks", "The webhook was removed.")

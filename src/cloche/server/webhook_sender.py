"""Sends messages of webhooks through the egress of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloche.egress.adapters.egress import NetRun
from cloche.egress.allowlist import Entry, NetPolicy
from cloche.egress.budget import RunBudget
from cloche.egress.message import request_of
from cloche.egress.open import default_service

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cloche.egress.adapters.egress import Egress
    from cloche.limits import Limits
    from cloche.server.webhooks import Webhook


class EgressSender:
    """Sends a message to the one host that its webhook names.

    Args:
        store: URL of the store whose log has the calls.
        limits: in force.
    """

    def __init__(self, store: str, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    def __call__(self, hook: Webhook, headers: dict[str, str], body: bytes) -> Future[int]:
        """Send; the future gives the status, or raises what kept it from being sent."""
        parts = urlsplit(hook.url)
        ports = () if parts.port is None else (parts.port,)
        host = parts.hostname or ""
        args = {
            "method": "POST",
            "url": hook.url,
            "headers": headers,
            "body": body.decode(),
            "timeout_ms": self._limits.server.webhook_timeout_ms,
            "redirect": "manual",
        }

        async def work(egress: Egress) -> int:
            # A URL that names an address is refused here, as an answer like any other refusal.
            policy = NetPolicy(allow=[Entry(host=host, ports=ports, methods=("POST",))])
            budget, app = RunBudget(self._limits), f"webhooks:{hook.tenant}"
            run = NetRun(run_id=hook.id, policy=policy, budget=budget, app=app)
            return (await egress.fetch(request_of(args, self._limits), run)).status

        return default_service(self._store).submit(work)

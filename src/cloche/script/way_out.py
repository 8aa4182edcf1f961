"""Which way out the tools of a run use: that of the store where the run is kept.

So lists, secrets and log of their calls are those beside that store, as they are for programs and
sessions. A run that is kept in memory alone has the way out of the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.egress.open import default_service

if TYPE_CHECKING:
    from cloche.egress.adapters.service import NetService
    from cloche.script.tools import ToolContext
    from cloche.store.ports import Store

_IN_MEMORY = "memory:"


def url_of(store: Store | None) -> str | None:
    """Return the URL of a store whose lists, secrets and log are beside it; None if none are."""
    return None if store is None or store.url.startswith(_IN_MEMORY) else store.url


def service_for(context: ToolContext) -> NetService:
    """Return what makes the outbound calls of a tool."""
    return default_service(url_of(context.store))

"""The pack "web": `fetchUrl` through the gate's way out, and `webSearch` by whoever can search.

Nothing is reached unless a policy names it: a page passes the same checks of names, addresses and
redirects as any outbound call. What a page says is data of strangers, and no instruction.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.egress.adapters.handler import HttpHandler
from cloche.egress.message import target_of
from cloche.egress.url import parse_url
from cloche.gate.effect import EffectRequest
from cloche.limits import Limits
from cloche.script.tools import Tool, ToolContext, tool
from cloche.script.way_out import service_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.egress.adapters.service import NetService
    from cloche.egress.allowlist import NetPolicy

PACK: Final = "web"
_RESULT_COUNT_MAX: Final = 20


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered; `text` is None where it is no text."""

    status: int
    kind: str
    text: str | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a search."""

    url: str
    title: str
    snippet: str = ""


def fetch_tool(
    policy: NetPolicy, *, service: NetService | None = None, limits: Limits | None = None
) -> Tool:
    """Return `fetchUrl`, which reads what a policy names; nobody is asked about it.

    Args:
        policy: of names that may be called.
        service: what makes calls; None for that of the store where the script runs.
        limits: None for the defaults.
    """
    bounds = limits or Limits()

    def fetch_url(url: str, context: ToolContext) -> Page:
        """Read a page of the web.

        Args:
            url: of the page, https.
            context: of the call.
        """
        parsed = parse_url(url, limit_bytes=bounds.egress.url_limit_bytes)
        effect = EffectRequest(
            sequence=0,
            task="main",
            ordinal=0,
            kind="http.fetch",
            target=target_of("GET", parsed),
            args={"method": "GET", "url": url, "headers": []},
        )
        handler = HttpHandler(service or service_for(context), policy, bounds)
        answer = handler.perform(effect, context.run_id)
        kind = next((value for name, value in answer["headers"] if name == "content-type"), "")
        return Page(status=answer["status"], kind=kind, text=_text(answer["body"]))

    return tool(name="fetchUrl", read_only=True, pack=PACK)(fetch_url)


def search_tool(search: Callable[[str, int], list[Found]]) -> Tool:
    """Return `webSearch`, which asks a function of yours: cloche knows no search engine.

    Args:
        search: gets the words and how many results are wanted.
    """

    def web_search(query: str, limit: int = 5) -> list[Found]:
        """Search the web.

        Args:
            query: words.
            limit: how many results.
        """
        count = max(1, min(limit, _RESULT_COUNT_MAX))
        return search(query, count)[:count]

    return replace(tool(read_only=True, pack=PACK)(web_search), name="webSearch")


def _text(body: Any) -> str | None:
    if isinstance(body, str):
        return body
    try:
        return base64.b64decode(body["base64"]).decode()
    except UnicodeDecodeError:
        return None

"""MCP, on standard input and output or behind a key of a server.

    cloche mcp          # speaks MCP on standard input and output
    /mcp                # of `cloche serve`: streamable HTTP, for the tenant of the key

Needs the extra `mcp`. Invariants: a session of the protocol is used by the key that opened it; a
client of one tenant sees nothing of another's.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.errors import ClocheError
from cloche.server.errors import QuotaError
from cloche.server.guard import body_limit
from cloche.server.mcp_tenant import TenantBackend
from cloche.web.adapters.asgi_client import AsgiBridge
from cloche.web.errors import BadRequestError
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.fastmcp import FastMCP

    from cloche.server.context import Context
    from cloche.server.guard import Guard
    from cloche.server.keys import Key
    from cloche.server.mcp_local import LocalBackend
    from cloche.web.adapters.asgi import Scope
    from cloche.web.app import App

PATH: Final = "/mcp"
_METHODS: Final = ("GET", "POST", "DELETE")
_KEY: Final = "cloche.key"  # where the tools find who asks, in the scope of a request


class McpMissingError(ClocheError):
    """The library that speaks MCP is not installed."""

    code = "SERVER_MCP_MISSING"
    blame = "environment"

    def __init__(self) -> None:
        super().__init__("MCP needs an extra; install it with `pip install 'cloche[mcp]'`")


def is_installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("mcp") is not None


def serve_stdio(open_backend: Callable[[], LocalBackend]) -> None:
    """Speak MCP on standard input and output until the client is gone.

    Args:
        open_backend: called when nothing can be printed into the protocol any more, as modules of
            tools do that are read.

    Raises:
        McpMissingError: the library is not installed.
    """
    if not is_installed():
        raise McpMissingError
    from cloche.server.adapters.mcp_stdio import own_stdio, speak  # noqa: PLC0415 - an extra
    from cloche.server.mcp_tools import make_tools  # noqa: PLC0415

    with own_stdio() as (source, target):
        backend = open_backend()
        server = make_tools(lambda _ctx: backend, who=lambda _ctx: "the client of cloche mcp")
        try:
            speak(server, source, target)
        finally:
            backend.close()


def add_mcp(app: App, context: Context, guard: Guard) -> None:
    """Add `/mcp` to a server, if the library is installed.

    Args:
        app: of the server.
        context: its parts.
        guard: lets a request pass that has a good key.
    """
    if not is_installed():
        return
    from mcp.server.transport_security import (  # noqa: PLC0415 - an extra
        TransportSecuritySettings,
    )

    from cloche.server.mcp_tools import make_tools  # noqa: PLC0415

    def key_of(ctx: Any) -> Key:
        found: Key = ctx.request_context.request.scope[_KEY]
        return found

    server = make_tools(
        lambda ctx: TenantBackend(context, key_of(ctx)),
        who=lambda ctx: f"the client of key {key_of(ctx).id}",
    )
    server.settings.streamable_http_path = PATH
    # Keys come in a field that no page of another origin can make a browser send.
    server.settings.transport_security = TransportSecuritySettings(
        enable_dns_rebinding_protection=False
    )
    server.settings.max_sessions = context.limits.server.mcp_session_count_max
    server.settings.max_request_body_size = body_limit(context.limits)
    bridge = _Bridge(server.streamable_http_app())

    async def answer(request: Request) -> Response:
        if request.method == "POST":
            _check_depth(await request.read_all(body_limit(context.limits)))
        _check_room(request, server, context)
        return await bridge.handle(request)

    chain = (guard.errors(), guard.key(None), guard.errors())
    for method in _METHODS:
        app.add(method, PATH, answer, middleware=chain)

    @app.on_start
    async def begin(_state: dict[str, Any]) -> None:
        await bridge.start()

    @app.on_stop
    async def end(_state: dict[str, Any]) -> None:
        await bridge.stop()


def _check_room(request: Request, server: FastMCP, context: Context) -> None:
    """Raise QuotaError for a request that opens a session which the other tenants would lack."""
    if request.header("mcp-session-id") is not None:
        return
    tenant = request.context["user"].tenant
    owners = server.session_manager._session_owners.values()
    count = sum(owner["subject"] == tenant for owner in owners)
    if count >= context.tenants.limits(tenant).tenant_mcp_session_count_max:
        limit = "server.tenant_mcp_session_count_max"
        raise QuotaError(what="sessions of MCP", limit=limit, count=count)


def _check_depth(body: bytes) -> None:
    """Raise BadRequestError for JSON that is too deep to be read, which the library answers 500."""
    try:
        msgspec.json.decode(body)
    except RecursionError:
        raise BadRequestError(where="body", problem="it is nested too deep") from None
    except msgspec.DecodeError:
        return  # the library says what is wrong with it, in its own words


class _Bridge(AsgiBridge):
    """The library's application, told who asks: it lets a session be used by its own key alone."""

    def _scope(self, request: Request, kind: str) -> Scope:
        from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser  # noqa: PLC0415
        from mcp.server.auth.provider import AccessToken  # noqa: PLC0415

        key: Key = request.context["user"]
        scope = super()._scope(request, kind)
        scope[_KEY] = key
        scope["user"] = AuthenticatedUser(
            AccessToken(token="", client_id=key.id, scopes=list(key.scopes), subject=key.tenant)
        )
        return scope

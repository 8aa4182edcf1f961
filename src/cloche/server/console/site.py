"""The console as routes of the server's application.

Owns which page stands at which path and behind what. Invariants: every page but that of signing in
needs a key, and every route here is in the table that `routes` returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.server.console.console import Console, Route, Views
from cloche.server.console.gate_keeper import SIGN_IN, SIGN_OUT, GateKeeper
from cloche.server.console.memory import Memory
from cloche.server.console.pages import HOME, Pages
from cloche.server.console.views_approvals import ApprovalViews
from cloche.server.console.views_apps import AppViews
from cloche.server.console.views_egress import EgressViews
from cloche.server.console.views_overview import OverviewViews
from cloche.server.console.views_runs import RunViews
from cloche.server.console.views_scripts import ScriptViews
from cloche.server.console.views_sessions import SessionViews
from cloche.server.console.views_system import SystemViews
from cloche.server.console.views_tenants import TenantViews
from cloche.server.console.views_webhooks import WebhookViews
from cloche.web.adapters.static_files import MemoryFiles
from cloche.web.app import App
from cloche.web.errors import NotFoundError
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, redirect
from cloche.web.static import add_static

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.apps.serving import AppServer
    from cloche.server.context import Context
    from cloche.server.routes_runs import RunRoutes

_PAGE: Final = "text/html"
_STATIC: Final = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What was added: the table of routes that need a key, and what has to be measured."""

    routes: tuple[Route, ...]
    memory: Memory


def add_console(app: App, context: Context, runs: RunRoutes, apps: AppServer | None = None) -> Site:
    """Add the console to an application.

    Args:
        app: gets the routes.
        context: of the server.
        runs: answers with events and journals, as in the API.
        apps: are served beside it; None where none are.
    """
    pages = Pages(frozenset({"Apps"}) if apps is None else frozenset())
    keeper = GateKeeper(context, pages)
    memory = Memory(now_ns=context.host.now_ns)
    console = Console(context=context, pages=pages, runs=runs, memory=memory)
    views: list[Views] = [
        OverviewViews(console),
        RunViews(console),
        ScriptViews(console),
        SessionViews(console),
        ApprovalViews(console),
        EgressViews(console),
        SystemViews(console),
        TenantViews(console),
        WebhookViews(console),
    ]
    if apps is not None:
        views.append(AppViews(console, apps))
    routes = tuple(route for each in views for route in each.routes())
    for route in routes:
        before = keeper.for_key(route.scope, takes_files=route.takes_files)
        app.add(route.method, HOME + route.path, route.handler, middleware=before)
    anybody = keeper.for_anybody()
    app.add("GET", SIGN_IN, keeper.show_sign_in, middleware=anybody)
    app.add("POST", SIGN_IN, keeper.sign_in, middleware=anybody)
    app.add("POST", SIGN_OUT, keeper.sign_out, middleware=anybody)
    _add_files(app, keeper)
    app.add("GET", "/", _root(apps))
    return Site(routes=routes, memory=memory)


def _root(apps: AppServer | None) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers at `/`: it leads a person to the console, and is nothing for others.

    A name of apps that leads to none is not the server's: nobody is asked for a key there.
    """

    async def root(request: Request) -> Response:
        is_for_apps = apps is not None and apps.apps.names.is_for_apps(request.host)
        if is_for_apps or not _wants_page(request):
            raise NotFoundError(path=request.path)
        return redirect(HOME).with_field(b"vary", b"accept")

    return root


def _wants_page(request: Request) -> bool:
    """Whether pages are named among what is accepted, as browsers do and programs do not."""
    accepted = ",".join(request.headers("accept")).lower()
    return any(part.partition(";")[0].strip() == _PAGE for part in accepted.split(","))


def _add_files(app: App, keeper: GateKeeper) -> None:
    files = App()
    files.use(keeper.headers)
    contents = {path.name: path.read_bytes() for path in sorted(_STATIC.iterdir())}
    add_static(files, "/static", MemoryFiles(contents), index=None)
    app.mount(HOME, files)

"""The application: all parts of a server put together, every route behind its guard.

    server = Server(store, limits, host=host, log=print)
    server.app      # for any adapter of cloche.web

Invariants: a route of the API comes from the table of operations or does not exist, and pages for
people from that of the console; nothing here opens a socket or a store.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from cloche._version import __version__
from cloche.apps.events import job_loop
from cloche.apps.serving import AppServer
from cloche.egress.adapters.keys import Sealer
from cloche.engine.adapters.keys import load_key
from cloche.errors import ClocheError
from cloche.server.answers import Answers
from cloche.server.attach import add_attach
from cloche.server.audit import Audit
from cloche.server.conditions import Conditions
from cloche.server.console.site import add_console
from cloche.server.context import Context
from cloche.server.decisions import Decisions
from cloche.server.deliveries import Webhooks
from cloche.server.execution import Execution
from cloche.server.guard import Guard
from cloche.server.keyring import Keyring
from cloche.server.mcp_server import add_mcp
from cloche.server.net import TenantNet
from cloche.server.openapi import document_of, page_of_operations
from cloche.server.owners import Owners
from cloche.server.requests import EFFECTS, NET_EFFECTS
from cloche.server.routes_apps import AppRoutes
from cloche.server.routes_net import NetRoutes
from cloche.server.routes_runs import RunRoutes
from cloche.server.routes_scripts import ScriptRoutes
from cloche.server.routes_sessions import SessionRoutes
from cloche.server.routes_system import SystemRoutes
from cloche.server.routes_tenants import TenantRoutes
from cloche.server.routes_webhooks import WebhookRoutes
from cloche.server.runs import Runs
from cloche.server.scripts import Scripts
from cloche.server.sessions import TenantSessions
from cloche.server.signed_out import SignedOut
from cloche.server.stored import Stored
from cloche.server.tenants import Tenants
from cloche.server.webhook_sender import EgressSender
from cloche.web.app import App
from cloche.web.middleware.basics import access_log, catch_errors, request_id
from cloche.web.middleware.observe import Metrics, metrics
from cloche.web.middleware.security import cors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.adapters.jobs import JobLoop
    from cloche.apps.open import Apps
    from cloche.limits import Limits
    from cloche.script.tools import ToolSet
    from cloche.server.deliveries import Sender
    from cloche.server.operations import Operation
    from cloche.server.ports import Host
    from cloche.store.ports import Store
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

_SERVER_ID_BYTES: Final = 12
MS_PER_S: Final = 1000
_SWEEP_INTERVAL: Final = 600  # turns of maintenance between two looks for old answers
_ASKED: Final = ("authorization", "content-type", "idempotency-key", "last-event-id")
_TOLD: Final = ("cloche-run", "idempotency-replayed", "location", "retry-after", "x-request-id")


class Server:
    """One server on one store.

    Args:
        store: open; whoever opened it closes it.
        limits: in force.
        host: workers, time, randomness.
        log: gets records of what went wrong.
        tools: tool sets that scripts may use, by their names.
        allow_net: whether policies may allow outbound HTTP.
        logs_access: whether each request is logged.
        cors_origins: pages of these origins may ask, with a key of their own.
        send_webhook: sends the messages of webhooks; through the egress when None.
        apps: of the store, where they are served.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        host: Host,
        log: Callable[[dict[str, Any]], None],
        tools: Mapping[str, ToolSet] | None = None,
        allow_net: bool = False,
        logs_access: bool = False,
        cors_origins: tuple[str, ...] = (),
        send_webhook: Sender | None = None,
        apps: Apps | None = None,
    ) -> None:
        send = send_webhook or EgressSender(store.url, limits)
        self.webhooks = Webhooks(store, limits, host=host, key=load_key, send=send, log=log)
        effects = EFFECTS | NET_EFFECTS if allow_net else EFFECTS
        self.tenants = tenants = Tenants(store, limits)
        host.workers.govern(tenants.bounds)
        owners = Owners(store, tenants)
        stored = Stored(store, owners, tenants, now_ns=host.now_ns)
        self._log = log
        self._host = host
        self._store = store
        self._limits = limits
        self._is_stopping = threading.Event()
        self.is_warm = threading.Event()
        self._turn_count = 0
        self.keyring = Keyring(store, limits, now_ns=host.now_ns, random_bytes=host.random_bytes)
        self.runs = self._runs(owners, stored, effects)
        self.scripts = self._scripts(owners, tools or {})
        audit = Audit(store, limits, now_ns=host.now_ns, random_bytes=host.random_bytes)
        server_id = host.random_bytes(_SERVER_ID_BYTES).hex()
        self.context = Context(
            store=store,
            limits=limits,
            host=host,
            keyring=self.keyring,
            answers=Answers(store, limits, server=server_id, sealer=Sealer(), now_ns=host.now_ns),
            runs=self.runs,
            sessions=TenantSessions(store, limits, owners=owners, stored=stored, effects=effects),
            scripts=self.scripts,
            decisions=Decisions(store, limits, host=host, owners=owners, scripts=self.scripts),
            net=TenantNet(store, limits, tenants=tenants, audit=audit),
            tenants=tenants,
            stored=stored,
            audit=audit,
            signed_out=SignedOut(store, now_ns=host.now_ns),
            webhooks=self.webhooks,
            metrics=Metrics(),
            version=__version__,
            reasons=self._reasons,
        )
        self.apps: AppServer | None = None
        self.jobs: JobLoop | None = None
        if apps is not None:
            self.apps = AppServer(apps, random_bytes=host.random_bytes, report=log)
        self.operations: list[Operation] = []
        self.app = self._app(logs_access, cors_origins)

    def _runs(self, owners: Owners, stored: Stored, effects: frozenset[str]) -> Runs:
        store, limits, host = self._store, self._limits, self._host
        return Runs(
            store,
            limits,
            host=host,
            owners=owners,
            tenants=self.tenants,
            stored=stored,
            execution=Execution(store, limits, effects=effects, now_ns=host.now_ns),
            effects=effects,
            log=self._log,
            webhooks=self.webhooks,
        )

    def _scripts(self, owners: Owners, sets: Mapping[str, ToolSet]) -> Scripts:
        return Scripts(
            self._store,
            self._limits,
            host=self._host,
            owners=owners,
            runs=self.runs,
            sets=sets,
            log=self._log,
            webhooks=self.webhooks,
        )

    def _app(self, logs_access: bool, cors_origins: tuple[str, ...]) -> App:
        context, app = self.context, App()
        app.use(request_id())
        if logs_access:
            app.use(access_log())
        app.use(metrics(context.metrics))
        app.use(catch_errors())
        if cors_origins:
            app.use(_cors(cors_origins))
        if self.apps is not None:
            app.use(_to_apps(self.apps))
        runs, system = RunRoutes(context), SystemRoutes(context)
        self.operations = [
            *runs.operations(),
            *SessionRoutes(context).operations(),
            *ScriptRoutes(context).operations(),
            *NetRoutes(context).operations(),
            *TenantRoutes(context).operations(),
            *WebhookRoutes(context).operations(),
            *([] if self.apps is None else AppRoutes(context, self.apps).operations()),
            *system.operations(),
        ]
        guard = Guard(
            host=context.host,
            limits=context.limits,
            keyring=context.keyring,
            answers=context.answers,
            rejoin=runs.rejoin,
        )
        conditions = Conditions(self.operations)
        for each in self.operations:
            middleware = (*guard.of(each), *conditions.of(each))
            app.add(each.method, each.template, each.handler, middleware=middleware)
        system.description = document_of(
            app, self.operations, version=context.version, conditions=conditions
        )
        system.page = page_of_operations(self.operations)
        self.console = add_console(app, context, runs, self.apps)
        add_attach(app, context, guard)
        add_mcp(app, context, guard)
        return app

    # --- its life ---

    def recover(self) -> int:
        """Take up what a dead server left; call it once, before requests come."""
        self.webhooks.load()
        if self.apps is not None:
            self.apps.refresh()
            self.jobs = job_loop(self.apps)
            self.jobs.start()
        return self.runs.left.recover() + self.scripts.recover(self.keyring.tenants())

    def maintain(self) -> None:
        """Do what is due: wake runs, forget old answers. Call it every second or so."""
        self._turn_count += 1
        try:
            self.tenants.refresh()
            if self.apps is not None:
                self.apps.refresh()
                self.apps.apps.logs.flush()
            self.runs.left.take_up()
            self.runs.wake_due()
            self.scripts.take_up()
            self.console.memory.take()
            if self._turn_count % _SWEEP_INTERVAL == 0:
                self.context.signed_out.sweep()
                for tenant in self.keyring.tenants():
                    self.context.answers.sweep(tenant)
                    self.context.audit.sweep(tenant)
        except ClocheError as error:
            self._log({"event": "maintain", "code": error.code, "message": error.message})

    def stop(self) -> bool:
        """Take no more runs and wait for those that were begun; False when that takes too long."""
        self._is_stopping.set()
        if self.jobs is not None:
            self.jobs.stop(drain_s=self._limits.server.drain_ms / MS_PER_S)
        has_ended = self._host.workers.stop(self._limits.server.drain_ms)
        if self.apps is not None:
            self.apps.close()
        return has_ended

    def _reasons(self) -> list[str]:
        if self._is_stopping.is_set():
            return ["the server is about to stop"]
        if not self.is_warm.is_set():
            return ["images are being made"]
        try:
            self.keyring.has_any()
        except ClocheError:
            return ["the store cannot be read"]
        return []


def _to_apps(apps: AppServer) -> Middleware:
    """Give the requests that are for an app to that app; nothing of the server is around it."""

    async def middleware(request: Request, following: Next) -> Response:
        found = apps.find(request)
        return await (following(request) if found is None else apps.answer(request, found))

    return middleware


def _cors(origins: tuple[str, ...]) -> Middleware:
    """Let pages of other origins ask, with a key: what a browser adds by itself is not taken."""
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE")
    return cors(origins=origins, methods=methods, headers=_ASKED, exposed=_TOLD)

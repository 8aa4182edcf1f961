"""The process that serves: store, keys, application, sockets, and an orderly end.

Owns what is refused before anything listens, what the first start makes, and the order of starting
and stopping. Invariants:
- an address that others can reach is not served without TLS, unless that was asked for;
- what a dead server left is taken up before the first request is taken;
- stopping takes no new requests, lets those that are there and their runs end for a while, and
  leaves the rest to the next start; told again, it leaves all of it, as a kill would.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.hostnames import host_names, is_host_name
from cloche.apps.open import open_apps
from cloche.egress.open import use_store
from cloche.errors import ClocheError
from cloche.exec.api import default_runner, use_runner
from cloche.exec.session import sessions_of
from cloche.exec.stores import VARIABLE
from cloche.limits.adapters.settings import guest_modules, load_limits
from cloche.script.adapters.modules import load_tools
from cloche.server.adapters.one_server import only_server
from cloche.server.adapters.processes import Processes
from cloche.server.adapters.remote import WorkerRunner
from cloche.server.adapters.remote_apps import RemoteApps
from cloche.server.adapters.threads import ThreadHost
from cloche.server.api import Server
from cloche.server.errors import ServeError
from cloche.server.guard import body_limit
from cloche.server.keys import DEFAULT_TENANT
from cloche.server.worker_frames import Start, limits_text
from cloche.store.open import open_store
from cloche.web.adapters.asyncio_services import AsyncioServices, JsonLines
from cloche.web.adapters.listen import parse_bind
from cloche.web.adapters.server import EXIT_CUT, ServerSettings, serve
from cloche.web.adapters.tls import CertificateFiles, TlsSettings, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.apps.hostnames import HostNames
    from cloche.limits import Limits
    from cloche.script.tools import ToolSet
    from cloche.store.open import Durability
    from cloche.store.ports import Store
    from cloche.web.adapters.listen import Bind
    from cloche.web.adapters.server import Server as WebServer
    from cloche.web.adapters.tls import Certificate

DEFAULT_BIND: Final = "127.0.0.1:8787"
DEFAULT_SET: Final = "default"
IMAGES: Final = ("javascript", "python")  # those that runs need first
_MAINTAIN_S: Final = 1.0
MS_PER_S: Final = 1000
_DAY_MS: Final = 86_400_000  # the longest time that the connection can be told to wait
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How a server is started.

    Args:
        bind: an address, as `web.adapters.listen.parse_bind` reads it.
        store: path or URL; None for `CLOCHE_STORE`, else the user's own.
        durability: "full" survives the loss of power, "normal" the end of the process alone, and
            is faster.
        tools: tool sets of scripts, each `MODULE[:OBJECT]` or `NAME=MODULE[:OBJECT]`; the name is
            `default` where there is none.
        tls_certificate: a file in PEM, with `tls_key`.
        tls_self_signed: speak TLS with certificates that are made now, one for the server and one
            for each name of an app that is asked for.
        certificates: of other names, each `NAME=CERT:KEY`, shown to who asks for the name.
        insecure: serve an address that others can reach without TLS.
        allow_net: let policies allow outbound HTTP.
        log: write a line of JSON for each request on stderr.
        cors_origins: pages of these origins may ask; `*` for all.
        app_domain: apps answer at `name.app_domain`.
        app_hostnames: other names that apps may have; see `apps.hostnames.host_names`.
        public_names: names of the server itself, which no app gets.
        workers: processes that run guests; 0 for threads of this one, None for one a processor.
    """

    bind: str = DEFAULT_BIND
    store: str | None = None
    durability: Durability = "full"
    tools: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    certificates: tuple[str, ...] = ()
    insecure: bool = False
    allow_net: bool = False
    log: bool = False
    cors_origins: tuple[str, ...] = ()
    app_domain: str = "localhost"
    app_hostnames: tuple[str, ...] = ()
    public_names: tuple[str, ...] = ()
    workers: int | None = None


def run_server(settings: ServeSettings, say: Callable[[str], None]) -> int:
    """Serve until the process is told to stop; return its exit code.

    Args:
        settings: what to serve, and where.
        say: gets each line for people: where the server is, and the first key.

    Raises:
        ServeError, ToolDeclarationError, AppNamesError: nothing listens.
        BindError, TlsError, StoreError, LimitError: nor here.
    """
    bind = parse_bind(settings.bind)
    tls = tls_of(settings)
    check_public(bind, has_tls=tls is not None, insecure=settings.insecure)
    limits = load_limits()
    tools = tools_of(settings.tools)
    names_of(settings)  # raises before anything is opened
    url = settings.store or os.environ.get(VARIABLE) or None
    store = open_store(url, limits=limits, durability=settings.durability)
    log = JsonLines(sys.stderr.buffer)
    use_store(store.url)
    try:
        with only_server(store.url):
            return _Process(settings, limits, store, log, say, tools).run(bind, tls)
    finally:
        use_store(None)
        log.close()
        store.close()


class _Process:
    """One serving process, from its first thread to its last."""

    def __init__(
        self,
        settings: ServeSettings,
        limits: Limits,
        store: Store,
        log: JsonLines,
        say: Callable[[str], None],
        tools: Mapping[str, ToolSet],
    ) -> None:
        self._makes_certificates = settings.tls_self_signed
        self._limits = limits
        self._store = store
        self._log = log
        self._say = say
        self._ended = threading.Event()
        self._processes = self._workers(settings)
        apps = open_apps(
            store,
            limits,
            names=names_of(settings),
            allow_net=settings.allow_net,
            guests=None if self._processes is None else RemoteApps,
        )
        self._host = ThreadHost(limits, self._worker_failed)
        self._server = Server(
            store,
            limits,
            host=self._host,
            log=log,
            tools=tools,
            allow_net=settings.allow_net,
            logs_access=settings.log,
            cors_origins=settings.cors_origins,
            apps=apps,
        )
        self._server.app.on_start(self._begin)
        self._server.app.on_stop(self._end)

    def _workers(self, settings: ServeSettings) -> Processes | None:
        """Let guests run in processes of their own, unless they are to run in this one."""
        count = processor_count() if settings.workers is None else settings.workers
        if count == 0:
            return None
        images, modules = default_runner().images, guest_modules()
        ready = [name for name in IMAGES if images.describe(name)["ready"]]
        processes = Processes(
            self._limits,
            count=count,
            start=Start(
                job=0,
                limits=limits_text(self._limits),
                cache=str(images.cache.root.parent),
                javascript_path=modules.javascript_path,
                python_path=modules.python_path,
                images=ready,
                run_count_max=self._limits.server.worker_count,
            ),
            log=self._log,
        )
        use_runner(WorkerRunner(images, processes, self._limits))
        return processes

    def run(self, bind: Bind, tls: TlsSettings | None) -> int:
        try:
            if self._processes is not None:
                self._processes.start()
            if tls is not None and self._makes_certificates:
                tls = replace(tls, make=self._certificate_for)
            return serve(
                self._server.app,
                bind,
                settings=ServerSettings(tls=tls),
                limits=connection_limits(self._limits),
                services=AsyncioServices(self._log),
                on_start=self._started,
                on_cut=self._cut,
            )
        finally:
            if self._processes is not None:
                self._processes.stop()
                use_runner(None)

    def _certificate_for(self, name: str) -> Certificate | None:
        """Return a new certificate for a name of an app."""
        apps = self._server.apps
        return self_signed([name]) if apps is not None and apps.has_host(name) else None

    async def _begin(self, state: dict[str, Any]) -> None:
        del state
        if self._processes is not None:
            self._processes.listen_on(asyncio.get_running_loop())
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        if not self._server.keyring.has_any():
            _, text = self._server.keyring.make(
                tenant=DEFAULT_TENANT, scopes=("admin",), name="first"
            )
            self._say(f"admin key, shown once: {text}")
        count = self._server.recover()
        if count:
            self._say(f"taken up: {count} runs and scripts that had not ended")
        threading.Thread(target=self._warm, name="cloche-warm", daemon=True).start()
        threading.Thread(target=self._maintain, name="cloche-maintain", daemon=True).start()
        threading.Thread(target=self._deliver, name="cloche-webhooks", daemon=True).start()

    def _warm(self) -> None:
        """Make the images that runs need first, so that the first run does not wait for them."""
        try:
            images = default_runner().images
            for image in IMAGES:
                images.get(image)
            if self._processes is not None:
                images.typescript()
        except (ClocheError, OSError) as error:
            self._log({"event": "warm", "message": str(error)})
        gc.collect()
        gc.freeze()  # what is here stays, and the collector need not look at it again
        self._server.is_warm.set()

    def _maintain(self) -> None:
        while not self._ended.wait(_MAINTAIN_S):
            self._server.maintain()

    def _deliver(self) -> None:
        """Send messages of webhooks: on a thread of their own, since receivers may be slow."""
        while not self._ended.wait(_MAINTAIN_S):
            try:
                self._server.webhooks.deliver_due()
            except (ClocheError, OSError) as error:
                self._log({"event": "webhook", "message": str(error)})

    def _started(self, server: WebServer) -> None:
        self._say(f"cloche serves {server.url}, pages at {server.url}/docs")

    async def _end(self, state: dict[str, Any]) -> None:
        del state
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._ended.set()
        waiting, running = self._host.workers.counts()
        if waiting + running:
            most_s = self._limits.server.drain_ms / MS_PER_S
            self._say(
                f"stopping: what has not ended ({waiting + running}) has up to {most_s:g} s; "
                "Ctrl-C or SIGTERM again does not wait"
            )
        if self._server.stop():
            sessions_of(self._store).close()
        else:
            self._say("runs that had not ended are taken up by the next start")
        self._host.close()

    def _cut(self) -> None:
        """End the process as it is: what is not in the store yet was acknowledged to nobody.

        Workers end by themselves when nobody speaks with them. To kill them would let the threads
        that wait for them note their runs as failed.
        """
        with contextlib.suppress(OSError, ValueError):
            self._say("cut: runs that had not ended are taken up by the next start")
        os._exit(EXIT_CUT)

    def _worker_failed(self, error: BaseException) -> None:
        self._log({"event": "worker", "type": type(error).__name__, "message": str(error)})


def processor_count() -> int:
    """Return how many processors this process may use, at least 1."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux has it
    return (os.cpu_count() or 1) if usable is None else len(usable(0))


def connection_limits(limits: Limits) -> Limits:
    """Return limits that let through what the routes take, and wait for what they wait for."""
    longest_ms = limits.server.run_timeout_ms_max + limits.sessions.queue_timeout_ms
    longest_ms = max(longest_ms, limits.scripts.timeout_ms + limits.sessions.queue_timeout_ms)
    web = {
        "body_limit_bytes": max(limits.web.body_limit_bytes, body_limit(limits)),
        "handler_timeout_ms": max(limits.web.handler_timeout_ms, min(longest_ms, _DAY_MS)),
    }
    return limits.replace({"web": web})


def check_public(bind: Bind, *, has_tls: bool, insecure: bool) -> None:
    """Refuse to send keys over a network in the clear.

    Raises:
        ServeError: the address can be reached by others, and there is no TLS.
    """
    if has_tls or insecure or bind.kind != "tcp" or ipaddress.ip_address(bind.host).is_loopback:
        return
    raise ServeError(
        f"{bind} can be reached from other machines, and without TLS keys would cross the network "
        "in the clear; give --tls-cert and --tls-key, or --tls-self-signed, or put a proxy with "
        "TLS in front and say --insecure"
    )


def tools_of(named: Sequence[str]) -> dict[str, ToolSet]:
    """Return tool sets by their names.

    Raises:
        ServeError: two have one name. ToolDeclarationError: there are no such tools.
    """
    found: dict[str, ToolSet] = {}
    for text in named:
        name, equals, place = text.rpartition("=")
        name = name if equals else DEFAULT_SET
        if name in found:
            raise ServeError(f"two tool sets are named {name!r}; say --tools NAME=MODULE:OBJECT")
        found[name] = load_tools(place)
    return found


def names_of(settings: ServeSettings) -> HostNames:
    """Return the names that apps may have.

    Raises:
        AppNamesError: one cannot be given.
    """
    return host_names(settings.app_domain, listed=settings.app_hostnames, own=settings.public_names)


def tls_of(settings: ServeSettings) -> TlsSettings | None:
    """Return how the server speaks TLS, None where it does not.

    Raises:
        ServeError: half of it is missing, or there are two answers.
    """
    chain, key = settings.tls_certificate, settings.tls_key
    if (chain is None) != (key is None):
        raise ServeError("--tls-cert and --tls-key belong together; give both")
    if chain is not None and settings.tls_self_signed:
        raise ServeError("give either --tls-cert or --tls-self-signed, not both")
    certificate: Certificate | None = None
    if chain is not None and key is not None:
        certificate = CertificateFiles(chain=chain, key=key)
    elif settings.tls_self_signed:
        certificate = self_signed(_names(settings.bind))
    if certificate is None:
        if settings.certificates:
            raise ServeError(
                "--certificates are shown to who asks for their names; give the server one of its "
                "own, for everybody else: --tls-cert and --tls-key, or --tls-self-signed"
            )
        return None
    return TlsSettings(certificate=certificate, names=_named(settings.certificates))


def _named(entries: Sequence[str]) -> dict[str, Certificate]:
    """Return certificates by their names."""
    found: dict[str, Certificate] = {}
    for entry in entries:
        name, _, files = entry.partition("=")
        chain, _, key = files.partition(":")
        host = name.lower()
        if not is_host_name(host) or host in found:
            problem = "is no host name" if host not in found else "has two certificates"
            raise ServeError(f"--certificates: {name!r} {problem}")
        found[host] = CertificateFiles(chain=Path(chain), key=Path(key))
    return found


def _names(bind: str) -> list[str]:
    host = parse_bind(bind).host
    own = () if host in ("", "0.0.0.0", "::") or host in _LOCAL_NAMES else (host,)  # noqa: S104
    return [*_LOCAL_NAMES, *own]

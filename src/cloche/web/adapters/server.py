"""The server: sockets that listen, connections, a start and an end.

    async with Server(app, "127.0.0.1:8000") as server:
        print(server.url)

    exit_code = serve(app, "127.0.0.1:8000")   # until SIGTERM or SIGINT

Invariants:
- when `start` returns the application has started and every address is open, or nothing is;
- connections are counted from the moment they are accepted, handshakes among them; where there is
  no room the longest idle one makes it, else the others wait in the kernel;
- connections never take the last files of the process: some are left for the application;
- `stop` takes no new connections, lets requests end for a while, then cuts; the application stops
  last, and nothing of the server is left: no task, no socket, no file.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from cloche.limits import Limits
from cloche.web.adapters.asyncio_services import AsyncioServices
from cloche.web.adapters.listen import (
    Bind,
    address_of,
    close_socket,
    open_sockets,
    parse_bind,
)
from cloche.web.adapters.listen_proxy import ProxyHeaderError, read_proxy_header
from cloche.web.adapters.open_files import allow_connections, connections_within
from cloche.web.adapters.server_connection import Connection
from cloche.web.adapters.server_errors import ServerStateError, TlsError
from cloche.web.adapters.server_hub import Counts, Hub
from cloche.web.adapters.tls import TlsContexts, TlsSettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from cloche.web.adapters.server_forwarded import Forwarding
    from cloche.web.adapters.service_manager import ServiceManager
    from cloche.web.app import App
    from cloche.web.ports import Services

# What a process that serves ends with.
EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1  # the application or an address could not be started
EXIT_CUT: Final = 3  # stopped, and requests were broken off

_MS_PER_S: Final = 1000
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RETRY_S: Final = 0.05  # after the process ran out of files
_FREED_S: Final = 0.005  # until the file of a connection that was cut is free


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a server does besides its limits.

    Args:
        tls: certificates; without it the server speaks plain HTTP.
        http_1_0: take requests of HTTP/1.0.
        proxy_protocol: each connection begins with a header of the PROXY protocol, version 1 or 2.
            One without it is closed.
        forwarding: whose word about the client is taken; by default nobody's.
        reuse_port: let other processes listen on the same port.
    """

    tls: TlsSettings | None = None
    http_1_0: bool = False
    proxy_protocol: bool = False
    forwarding: Forwarding | None = None
    reuse_port: bool = False


class Server:
    """Serves an application on a running event loop.

    Args:
        app: what answers; it is started and stopped with the server.
        binds: addresses as `listen.parse_bind` reads them, or sockets that listen already, which
            become the server's own.
        settings: TLS, proxies.
        limits: sizes, counts and deadlines are `limits.web`.
        services: what requests get; real clocks and no log if not given.
        clock: seconds for deadlines; the loop's own if not given.
        owns_files: remove the files of Unix sockets when the server stops.
    """

    def __init__(
        self,
        app: App,
        *binds: str | Bind | socket.socket,
        settings: ServerSettings | None = None,
        limits: Limits | None = None,
        services: Services | None = None,
        clock: Callable[[], float] | None = None,
        owns_files: bool = True,
    ) -> None:
        self._owns_files = owns_files
        self._app = app
        self._binds = binds
        self._settings = settings or ServerSettings()
        self._limits = limits or Limits()
        self._tls = TlsContexts(self._settings.tls) if self._settings.tls is not None else None
        self._services = AsyncioServices() if services is None else services
        self.hub = Hub(
            app,
            self._services,
            self._limits,
            http_1_0=self._settings.http_1_0,
            forwarding=self._settings.forwarding,
            clock=clock,
        )
        self._listeners: list[socket.socket] = []
        self._acceptors: list[asyncio.Task[None]] = []
        self._addresses: dict[str, int] = {}  # connections of each client address
        self._room: asyncio.Event
        self._count_max = 0  # connections at a time
        self._state = "new"

    @property
    def addresses(self) -> list[str]:
        """Where the server listens, as `parse_bind` reads it; ports are real ones."""
        return [address_of(listener) for listener in self._listeners]

    @property
    def address(self) -> str:
        """The first of them.

        Raises:
            ServerStateError: it listens nowhere.
        """
        if not self._listeners:
            raise ServerStateError(problem="does not listen now")
        return self.addresses[0]

    @property
    def url(self) -> str:
        """The first address as a URL, for TCP."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    @property
    def counts(self) -> Counts:
        """What happened so far."""
        return self.hub.counts

    async def start(self) -> None:
        """Start the application and listen.

        Raises:
            ServerStateError: it was started before.
            BindError: an address cannot be listened on.
            Exception: what a start hook of the application raised. State: nothing is open.
        """
        if self._state != "new":
            raise ServerStateError(problem="was started before; make another one")
        self._state = "running"
        loop = asyncio.get_running_loop()
        self.hub.begin(loop)
        self.hub.on_room = self._make_way
        self._room = asyncio.Event()
        self._room.set()
        texts = [bind for bind in self._binds if isinstance(bind, str | Bind)]
        parsed = [bind if isinstance(bind, Bind) else parse_bind(bind) for bind in texts]
        given = [bind for bind in self._binds if not isinstance(bind, str | Bind)]
        self._listeners = open_sockets(parsed, reuse_port=self._settings.reuse_port)
        self._listeners += given
        self._count_max = connections_within(self._limits.web.connection_count_max)
        try:
            await self._app.start()
        except BaseException:
            self._close_listeners()
            self._state = "stopped"
            raise
        for listener in self._listeners:
            listener.setblocking(False)
            self._acceptors.append(loop.create_task(self._accept(listener)))

    async def stop(self, *, timeout_ms: int | None = None) -> bool:
        """Stop: no new connections, requests end, then the application stops.

        Args:
            timeout_ms: how long requests may take; `limits.web.drain_timeout_ms` if not given.

        Returns:
            Whether all of them ended by themselves.

        Raises:
            Exception: the first failure of a stop hook. State: the server is stopped.
        """
        if self._state != "running":
            return True
        self._state = "stopped"
        for acceptor in self._acceptors:
            acceptor.cancel()
        if self._acceptors:
            await asyncio.wait(self._acceptors)
        self._close_listeners()
        if timeout_ms is None:
            timeout_ms = self._limits.web.drain_timeout_ms
        self.hub.drain()
        try:
            drained = await self.hub.wait_until_empty(timeout_ms)
        finally:
            await self.hub.end()
            await self._app.stop()
        return drained

    def reload_tls(self) -> None:
        """Read the certificates again; open connections are not touched.

        Raises:
            TlsError: one cannot be loaded. State: the old ones are in use.
            ServerStateError: the server speaks no TLS.
        """
        if self._tls is None:
            raise ServerStateError(problem="speaks no TLS")
        self._tls.reload()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            if self._owns_files:
                close_socket(listener)
            else:
                listener.close()
        self._listeners = []

    async def _accept(self, listener: socket.socket) -> None:
        loop = self.hub.loop
        counts, count_max = self.hub.counts, self._count_max
        while True:
            try:
                accepted, peer = await loop.sock_accept(listener)
            except OSError as error:
                # Broken off before it was accepted; or no file is left, and the kernel keeps them.
                await asyncio.sleep(self._retry_s(error))
                continue
            try:
                if counts.open >= count_max:
                    await self._wait_for_room()
            except asyncio.CancelledError:
                accepted.close()
                raise
            counts.open += 1
            address = peer[0] if isinstance(peer, tuple) else ""
            self.hub.run(self._open(accepted, address))

    def _retry_s(self, error: OSError) -> float:
        """When to accept again; where no file is left, an idle connection gives up its own."""
        if error.errno not in _EXHAUSTED:
            return 0
        return _FREED_S if self.hub.make_room() else _RETRY_S

    async def _wait_for_room(self) -> None:
        """Return when one more connection may be there. It is accepted already, and not read."""
        count_max = self._count_max
        while self.hub.counts.open >= count_max:
            if self.hub.make_room():
                return
            self._room.clear()
            await self._room.wait()

    async def _open(self, accepted: socket.socket, peer: str) -> None:
        """Make a connection of an accepted socket; it is counted until it ends."""
        counted = ""
        connection: Connection | None = None
        try:
            if self._settings.proxy_protocol:
                async with asyncio.timeout(self.hub.web.handshake_timeout_ms / _MS_PER_S):
                    peer = await read_proxy_header(self.hub.loop, accepted) or peer
            if self._has_too_many(peer):
                self.hub.counts.shed += 1
                return
            counted = peer
            connection = self._connection(peer)
            await self.hub.loop.connect_accepted_socket(
                lambda: connection, accepted, **self._transport_options
            )
        except (OSError, ProxyHeaderError, TimeoutError):
            self.hub.counts.handshake_failures += 1
        finally:
            # One that was made tells itself when it ends.
            if connection is None or connection.transport is None:
                with suppress(OSError):
                    accepted.close()
                self._left(counted)

    def _connection(self, peer: str) -> Connection:
        scheme = "http" if self._tls is None else "https"
        return _Counted(self.hub, peer, scheme, self._left)

    @property
    def _transport_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        web = self.hub.web
        return {
            "ssl": self._tls.context,
            "ssl_handshake_timeout": web.handshake_timeout_ms / _MS_PER_S,
            "ssl_shutdown_timeout": web.linger_timeout_ms / _MS_PER_S,
        }

    def _has_too_many(self, peer: str) -> bool:
        count_max = self.hub.web.address_connection_count_max
        if not count_max or not peer:
            return False
        count = self._addresses.get(peer, 0)
        if count >= count_max:
            return True
        self._addresses[peer] = count + 1
        return False

    def _left(self, peer: str) -> None:
        """Count a connection out."""
        self.hub.counts.open -= 1
        count = self._addresses.pop(peer, 0)
        if count > 1:
            self._addresses[peer] = count - 1
        self._make_way()

    def _make_way(self) -> None:
        self._room.set()


class _Counted(Connection):
    """A connection that tells its server when it ends."""

    __slots__ = ("_left",)

    def __init__(self, hub: Hub, peer: str, scheme: str, left: Callable[[str], None]) -> None:
        super().__init__(hub, peer, scheme)
        self._left = left

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._left(self.peer)


def serve(
    app: App,
    *binds: str | Bind | socket.socket,
    settings: ServerSettings | None = None,
    limits: Limits | None = None,
    services: Services | None = None,
    on_start: Callable[[Server], None] | None = None,
    owns_files: bool = True,
    manager: ServiceManager | None = None,
    on_cut: Callable[[], None] | None = None,
) -> int:
    """Serve an application until the process is told to stop; return its exit code.

    SIGTERM and SIGINT stop gracefully, the second of them at once; SIGHUP reads certificates again.
    uvloop is used where it is installed, and the process may open files for as many connections as
    the limits say, if the system lets it. `on_start` is called when everything is open, and
    `manager` is told; the signs of life for its watchdog come from the loop that answers requests.
    Without `owns_files` the files of Unix sockets stay when the server stops. `on_cut` is called at
    the second signal, before connections are cut and while stop hooks may be at work; it need not
    return.

    Returns:
        `EXIT_DRAINED`, or `EXIT_CUT` where requests were broken off.

    Raises:
        BindError, TlsError, Exception: it could not be started. State: nothing is open.
    """
    server = Server(
        app, *binds, settings=settings, limits=limits, services=services, owns_files=owns_files
    )
    allow_connections((limits or Limits()).web.connection_count_max)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(server, on_start, manager, on_cut))


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop where it is installed, else one of the standard library."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(
    server: Server,
    on_start: Callable[[Server], None] | None,
    manager: ServiceManager | None,
    on_cut: Callable[[], None] | None,
) -> int:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[int] = asyncio.Queue()
    numbers: Sequence[int] = [signal.SIGTERM, signal.SIGINT]
    for number in numbers:
        loop.add_signal_handler(number, told.put_nowait, number)
    loop.add_signal_handler(signal.SIGHUP, _reload, server, manager)
    feeding: asyncio.Task[None] | None = None
    try:
        await server.start()
        if on_start is not None:
            on_start(server)
        if manager is not None:
            manager.ready()
            feeding = loop.create_task(_feed(manager))
        await told.get()
        if manager is not None:
            manager.stopping()
        stopping = asyncio.ensure_future(server.stop())
        again = asyncio.ensure_future(told.get())
        await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            if on_cut is not None:
                on_cut()
            server.hub.abort()
            await asyncio.wait({stopping})
            stopping.result()
            return EXIT_CUT
        again.cancel()
        return EXIT_DRAINED if stopping.result() else EXIT_CUT
    finally:
        if feeding is not None:
            feeding.cancel()
        for number in (*numbers, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _feed(manager: ServiceManager) -> None:
    """Give signs of life while the loop runs, where somebody waits for them."""
    while manager.feed_s:
        manager.alive()
        await asyncio.sleep(manager.feed_s)


def _reload(server: Server, manager: ServiceManager | None) -> None:
    if manager is not None:
        manager.reloading()
    try:
        server.reload_tls()
    except (TlsError, ServerStateError) as failure:
        server.hub.services.log({"event": "reload_failed", "message": failure.message})
    if manager is not None:
        manager.ready()

"""Several processes that serve one address, and the one that looks after them.

Invariants:
- each process has a socket of its own on the address (`SO_REUSEPORT`; one for all where it is a
  Unix socket); it belongs to the supervisor too, so what waits in it survives its process and is
  answered by the next one;
- a process that ends by itself is started again, one at a time and no faster than a limit says;
- the supervisor does nothing else: it has no event loop, no threads, and answers no request;
- SIGTERM and SIGINT are passed on and end it when all have ended; SIGHUP is passed on;
- a service manager is told by the supervisor alone: ready when all processes listen.

POSIX alone: processes are forked, so an application need not be imported by name.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from cloche.limits import Limits
from cloche.web.adapters.listen import (
    Bind,
    address_of,
    close_socket,
    open_sockets,
    parse_bind,
)
from cloche.web.adapters.loading import describe_failure
from cloche.web.adapters.server import EXIT_CUT, EXIT_DRAINED, EXIT_FAILED, serve
from cloche.web.adapters.server_errors import BindError
from cloche.web.adapters.service_manager import ServiceManager
from cloche.web.adapters.tls import TlsContexts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cloche.web.adapters.server import Server, ServerSettings
    from cloche.web.app import App
    from cloche.web.ports import Services

_MS_PER_S: Final = 1000
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = frozenset({*_STOPS, signal.SIGHUP, signal.SIGCHLD})
_KILL_EXTRA_S: Final = 5.0  # behind the drain, for stop hooks
_POLL_S: Final = 0.25
_POLL_START_S: Final = 0.02  # until all listen: somebody waits to be told
_RECORD: Final = struct.Struct("<H")  # through the pipe: the index of a process that listens
_AT_ONCE: Final = 10  # restarts that would have been possible
_FAILED_AT_START_MAX: Final = 3  # in a row: it will not get better


class _Worker:
    """A process and its sockets."""

    __slots__ = ("failures", "has_listened", "number", "sockets", "started_s")

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        self.number = 0  # of the process; 0 where none runs
        self.started_s = 0.0
        self.failures = 0
        self.has_listened = False  # once, in any of its processes


class Supervisor:
    """Starts processes, starts those again that end, and stops all of them.

    Args:
        app: what answers in each process.
        binds: addresses as `listen.parse_bind` reads them.
        worker_count: how many processes.
        settings: as for `Server`.
        limits: as for `Server`; counts are those of each process.
        services: a function that opens them in each process, until that ends.
        on_start: called in each process when it listens.
        on_ready: called in the supervisor when all processes have come to listen.
        manager: who is told about the whole; nobody if not given.
    """

    def __init__(
        self,
        app: App,
        *binds: str | Bind,
        worker_count: int,
        settings: ServerSettings | None = None,
        limits: Limits | None = None,
        services: Callable[[], AbstractContextManager[Services]] | None = None,
        on_start: Callable[[Server], None] | None = None,
        on_ready: Callable[[Supervisor], None] | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._limits = limits or Limits()
        count_max = self._limits.web.worker_count_max
        if not 1 <= worker_count <= count_max:
            problem = f"{worker_count} processes are not 1 to web.worker_count_max, {count_max}"
            raise BindError(address=", ".join(map(str, binds)), problem=problem)
        self._app = app
        self._binds = [bind if isinstance(bind, Bind) else parse_bind(bind) for bind in binds]
        self._settings = settings
        self._services = services
        self._on_start = on_start
        self._on_ready = on_ready
        self._manager = manager or ServiceManager()
        self._is_ready = False
        self._fed_s = 0.0
        if settings is not None and settings.tls is not None:
            TlsContexts(settings.tls)  # wrong files are said once, and nothing is begun
        self._workers = [_Worker(sockets) for sockets in _open(self._binds, worker_count)]

    @property
    def addresses(self) -> list[str]:
        """Where the processes listen, as `parse_bind` reads it; ports are real ones."""
        return [address_of(listener) for listener in self._workers[0].sockets]

    def run(self) -> int:
        """Run until told to stop; return the exit code.

        Returns:
            That of the processes: the worst of `EXIT_DRAINED`, `EXIT_CUT` and `EXIT_FAILED`.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # What was made so far is shared by all processes as long as nobody writes to it.
        gc.freeze()
        self._listening, self._listens = os.pipe()
        os.set_blocking(self._listening, False)
        try:
            for worker in self._workers:
                self._start(worker, before)
            failed = self._watch(before)
            code = self._stop()
            return EXIT_FAILED if failed else code
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            gc.unfreeze()
            os.close(self._listening)
            os.close(self._listens)
            for worker in self._workers:
                for listener in worker.sockets:
                    close_socket(listener)

    def _watch(self, mask: set[int | signal.Signals]) -> bool:
        """Keep the processes running; return whether they cannot be."""
        while True:
            told = _wait(self._poll_s)
            if told in _STOPS:
                return False
            if told == signal.SIGHUP:
                self._manager.reloading()
                self._tell(signal.SIGHUP)
                self._manager.ready()
            now_s = time.monotonic()
            self._note_listening()
            self._feed(now_s)
            least_s = self._limits.web.worker_restart_ms / _MS_PER_S
            for worker, code in self._ended():
                # One that ends at once may have found no database, and the next one will not.
                at_once = code == EXIT_FAILED and now_s - worker.started_s < least_s * _AT_ONCE
                worker.failures = worker.failures + 1 if at_once else 0
                if worker.failures >= _FAILED_AT_START_MAX:
                    return True
            for worker in self._workers:
                if not worker.number and now_s - worker.started_s >= least_s:
                    self._start(worker, mask)

    @property
    def _poll_s(self) -> float:
        least_s = _POLL_S if self._is_ready else _POLL_START_S
        return min(least_s, self._manager.feed_s or least_s)

    def _feed(self, now_s: float) -> None:
        if self._manager.feed_s and now_s - self._fed_s >= self._manager.feed_s:
            self._fed_s = now_s
            self._manager.alive()

    def _note_listening(self) -> None:
        """Note which processes listen; when all do for the first time, say so."""
        try:
            found = os.read(self._listening, _RECORD.size * self._limits.web.worker_count_max)
        except BlockingIOError:
            return
        for (index,) in _RECORD.iter_unpack(found):
            self._workers[index].has_listened = True
        if not self._is_ready and all(worker.has_listened for worker in self._workers):
            self._is_ready = True
            self._manager.ready()
            if self._on_ready is not None:
                self._on_ready(self)

    def _stop(self) -> int:
        """Stop the processes; return the worst of their exit codes."""
        self._manager.stopping()
        for worker in self._workers:
            for listener in worker.sockets:
                # Or what comes now would wait for nobody. The file of a Unix socket goes last.
                if listener.family != socket.AF_UNIX:
                    listener.close()
        self._tell(signal.SIGTERM)
        until_s = time.monotonic() + self._limits.web.drain_timeout_ms / _MS_PER_S + _KILL_EXTRA_S
        code = EXIT_DRAINED
        while any(worker.number for worker in self._workers):
            if _wait(self._poll_s) in _STOPS:
                self._tell(signal.SIGTERM)  # the second ends a process at once
            self._feed(time.monotonic())
            if time.monotonic() > until_s:
                self._tell(signal.SIGKILL)
            for _, ended in self._ended():
                code = max(code, ended if ended in {EXIT_DRAINED, EXIT_CUT} else EXIT_CUT)
        return code

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.number:
                os.kill(worker.number, number)

    def _ended(self) -> list[tuple[_Worker, int]]:
        """Return the processes that ended, with their exit codes; -1 for a signal."""
        found = []
        for worker in self._workers:
            if not worker.number:
                continue
            number, status = os.waitpid(worker.number, os.WNOHANG)
            if number:
                worker.number = 0
                found.append((worker, os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1))
        return found

    def _start(self, worker: _Worker, mask: set[int | signal.Signals]) -> None:
        worker.started_s = time.monotonic()
        number = os.fork()
        if number:
            worker.number = number
            return
        code = EXIT_FAILED
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self._serve(worker)
        except BaseException as failure:  # noqa: BLE001 - the process ends here, whatever it was
            os.write(2, f"cloche: a worker failed: {describe_failure(failure)}".encode())
        finally:
            # Nothing of the supervisor may run in this process: no hook, no buffer twice.
            os._exit(code)

    def _serve(self, worker: _Worker) -> int:
        for other in self._workers:
            if other is not worker:
                for listener in other.sockets:
                    listener.close()
        index = self._workers.index(worker)

        def started(server: Server) -> None:
            if self._on_start is not None:
                self._on_start(server)
            os.write(self._listens, _RECORD.pack(index))

        with self._services() if self._services is not None else nullcontext() as services:
            return serve(
                self._app,
                *worker.sockets,
                settings=self._settings,
                limits=self._limits,
                services=services,
                on_start=started,
                owns_files=False,
            )


def _open(binds: Sequence[Bind], worker_count: int) -> list[list[socket.socket]]:
    """Return the sockets of each process."""
    found: list[list[socket.socket]] = [[] for _ in range(worker_count)]
    try:
        for bind in binds:
            if bind.kind != "tcp":
                found[0] += (shared := open_sockets([bind]))
                for sockets in found[1:]:
                    sockets += [each.dup() for each in shared]
                continue
            for sockets in found:
                (listener,) = open_sockets([bind], reuse_port=True)
                sockets.append(listener)
                # Any free port, once chosen, is that of all processes.
                bind = Bind(kind="tcp", host=bind.host, port=listener.getsockname()[1])  # noqa: PLW2901
    except BaseException:
        for sockets in found:
            for listener in sockets:
                close_socket(listener)
        raise
    return found


def _wait(timeout_s: float) -> int:
    """Return the signal that came, 0 where none did in time."""
    if hasattr(signal, "sigtimedwait"):
        found = signal.sigtimedwait(_WATCHED, timeout_s)
        return 0 if found is None else found.si_signo
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:  # a system without it
        pending = signal.sigpending() & _WATCHED
        if pending:
            return signal.sigwait(pending)
        time.sleep(_POLL_S / 10)
    return 0

"""What `cloche web serve` makes of its options: TLS, proxies, limits, processes, log, recording.

Whoever started the process is told on standard output where it is served, and by a message where it
is a service manager.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from cloche.errors import ClocheError
from cloche.limits.adapters.settings import load_limits
from cloche.web.adapters.asyncio_services import AsyncioServices, JsonLines
from cloche.web.adapters.loading import describe_failure
from cloche.web.adapters.server import EXIT_FAILED, ServerSettings, serve
from cloche.web.adapters.server_forwarded import Forwarding
from cloche.web.adapters.service_manager import ServiceManager
from cloche.web.adapters.tls import CertificateFiles, TlsSettings
from cloche.web.adapters.traffic_file import TrafficFile, TrafficFileError
from cloche.web.adapters.workers import Supervisor
from cloche.web.traffic import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloche.limits import Limits
    from cloche.web.app import App

DEFAULT_BIND: Final = "127.0.0.1:8000"


class ServeOptionError(ClocheError):
    """An option of `cloche web serve` makes no sense. State: nothing was opened."""

    code = "WEB_SERVE_OPTION"
    blame = "caller"

    def __init__(self, *, option: str, problem: str) -> None:
        super().__init__(f"--{option}: {problem}", option=option, problem=problem)


def tls_settings(
    certificate: Path | None, key: Path | None, *, tls_1_2: bool
) -> TlsSettings | None:
    """Return how TLS is spoken; None for plain HTTP.

    Raises:
        ServeOptionError: one of certificate and key is missing, or TLS 1.2 is asked for alone.
    """
    if certificate is None and key is None:
        if tls_1_2:
            raise ServeOptionError(option="tls-1-2", problem="it needs --certificate and --key")
        return None
    if certificate is None or key is None:
        missing = "certificate" if certificate is None else "key"
        raise ServeOptionError(option=missing, problem="certificate and key are given together")
    files = CertificateFiles(chain=certificate, key=key)
    return TlsSettings(certificate=files, min_version="TLS1.2" if tls_1_2 else "TLS1.3")


def forwarding(networks: Sequence[str], *, forwarded: bool) -> Forwarding | None:
    """Return which proxies are believed; None for nobody.

    Raises:
        ServeOptionError: a network is none, or a field is named and nobody believed.
    """
    if not networks:
        if forwarded:
            raise ServeOptionError(option="forwarded", problem="it needs --trust")
        return None
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as failure:
            raise ServeOptionError(option="trust", problem=str(failure)) from None
    return Forwarding.of(*networks, field="forwarded" if forwarded else "x-forwarded-for")


def limits(changes: Sequence[str]) -> Limits:
    """Return the limits in force with `group.name=value` on top.

    Raises:
        ServeOptionError: a change has no name or no value.
        LimitError: a limit is unknown, or a value out of its range.
    """
    overrides: dict[str, dict[str, int | str]] = {}
    for change in changes:
        path, equals, value = change.partition("=")
        group, dot, name = path.partition(".")
        if not equals or not dot:
            raise ServeOptionError(option="limit", problem=f"{change!r} is not web.NAME=VALUE")
        overrides.setdefault(group, {})[name] = value
    return load_limits(overrides)


def run(
    app: App,
    *,
    binds: Sequence[str],
    worker_count: int,
    tls: TlsSettings | None,
    http_1_0: bool,
    proxy_protocol: bool,
    forwarding: Forwarding | None,
    limits: Limits,
    log: str,
    record: Path | None,
    redact: Sequence[str],
) -> int:
    """Serve an application in this process, or in several; return the exit code of the process.

    Raises:
        ClocheError: it could not be started. State: nothing is open.
    """
    if redact and record is None:
        raise ServeOptionError(option="redact", problem="it needs --record")
    settings = ServerSettings(
        tls=tls, http_1_0=http_1_0, proxy_protocol=proxy_protocol, forwarding=forwarding
    )
    manager = ServiceManager.from_environment(os.environ)
    scheme = "http" if tls is None else "https"
    with ExitStack() as stack:
        stream = _log_stream(log, stack)
        if record is not None:
            file = stack.enter_context(_traffic_file(record))
            recorder = Recorder(
                file.write,
                redact=frozenset(redact),
                body_limit_bytes=limits.web.body_limit_bytes,
            )
            app.wrap(recorder.middleware())
        if worker_count == 1:
            try:
                return serve(
                    app,
                    *binds,
                    settings=settings,
                    limits=limits,
                    services=stack.enter_context(_services(stream)),
                    on_start=lambda server: _announce(scheme, server.addresses),
                    manager=manager,
                )
            except ClocheError:
                raise
            except Exception as failure:  # noqa: BLE001 - of a hook of the application
                sys.stderr.write(f"cloche: a hook failed\n{describe_failure(failure)}")
                return EXIT_FAILED
        return Supervisor(
            app,
            *binds,
            worker_count=worker_count,
            settings=settings,
            limits=limits,
            services=lambda: _services(stream),
            on_ready=lambda supervisor: _announce(scheme, supervisor.addresses),
            manager=manager,
        ).run()


@contextmanager
def _services(stream: IO[bytes] | None) -> Iterator[AsyncioServices]:
    """Open the services of one process. A thread writes the log, and no fork takes it along."""
    if stream is None:
        yield AsyncioServices()
        return
    lines = JsonLines(stream)
    try:
        yield AsyncioServices(lines)
    finally:
        lines.close()


def _log_stream(where: str, stack: ExitStack) -> IO[bytes] | None:
    if not where:
        return None
    if where == "-":
        return sys.stderr.buffer
    try:
        # Not buffered: a record that was written is in the file when the process is killed.
        return stack.enter_context(Path(where).open("ab", buffering=0))
    except OSError as failure:
        raise ServeOptionError(option="log", problem=f"{where}: {failure.strerror}") from failure


def _traffic_file(path: Path) -> TrafficFile:
    try:
        return TrafficFile(path)
    except TrafficFileError as failure:
        raise ServeOptionError(option="record", problem=failure.message) from failure


def _announce(scheme: str, addresses: Sequence[str]) -> None:
    for address in addresses:
        shown = address if address.startswith("unix:") else f"{scheme}://{address}"
        sys.stdout.write(f"serving on {shown}\n")
    sys.stdout.flush()

"""What `cloche web serve` makes of its options: TLS, proxies, limits, a log, a recording."""

from __future__ import annotations

import ipaddress
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from cloche.errors import ClocheError
from cloche.limits.adapters.settings import load_limits
from cloche.web.adapters.asyncio_services import AsyncioServices, JsonLines
from cloche.web.adapters.server import Server, ServerSettings, serve
from cloche.web.adapters.server_forwarded import Forwarding
from cloche.web.adapters.tls import CertificateFiles, TlsSettings
from cloche.web.adapters.traffic_file import TrafficFile
from cloche.web.traffic import Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    tls: TlsSettings | None,
    http_1_0: bool,
    proxy_protocol: bool,
    forwarding: Forwarding | None,
    limits: Limits,
    log: str,
    record: Path | None,
    redact: Sequence[str],
) -> int:
    """Serve an application; return the exit code of the process.

    Raises:
        ClocheError: it could not be started. State: nothing is open.
    """
    settings = ServerSettings(
        tls=tls, http_1_0=http_1_0, proxy_protocol=proxy_protocol, forwarding=forwarding
    )
    with ExitStack() as stack:
        services = AsyncioServices(_log(log, stack))
        if record is not None:
            file = stack.enter_context(TrafficFile(record))
            recorder = Recorder(
                file.write,
                redact=frozenset(redact),
                body_limit_bytes=limits.web.body_limit_bytes,
            )
            app.wrap(recorder.middleware())
        return serve(
            app, *binds, settings=settings, limits=limits, services=services, on_start=_announce
        )


def _log(where: str, stack: ExitStack) -> JsonLines | None:
    if not where:
        return None
    stream: IO[bytes] = sys.stderr.buffer
    if where != "-":
        try:
            # Not buffered: a record that was written is in the file when the process is killed.
            stream = stack.enter_context(Path(where).open("ab", buffering=0))  # noqa: SIM115
        except OSError as failure:
            raise ServeOptionError(
                option="log", problem=f"{where}: {failure.strerror}"
            ) from failure
    lines = JsonLines(stream)
    stack.callback(lines.close)
    return lines


def _announce(server: Server) -> None:
    scheme = server.url.partition("://")[0]
    for address in server.addresses:
        shown = address if address.startswith("unix:") else f"{scheme}://{address}"
        sys.stdout.write(f"serving on {shown}\n")
    sys.stdout.flush()

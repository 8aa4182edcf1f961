"""`serve_https_v1` from pinned encodings, and `serve_sandboxed_v1` under a policy.

Invariants:
- the sandboxed form asks its policy before anything is opened, and listens nowhere else;
- X7HC sets the head, the body and both timeouts; everything else is `limits.web`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cloche.limits import Limits
from cloche.web.adapters.os_policy import WebPolicy, parse_binds
from cloche.web.adapters.server import ServerSettings, serve
from cloche.web.adapters.tls import TlsSettings
from cloche.web.encodings.settings import decode_server_caps, decode_tls_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.web.adapters.server import Server
    from cloche.web.app import App
    from cloche.web.ports import Services


def serve_https_v1(
    bind: str,
    tls: bytes,
    router: App,
    caps: bytes = b"",
    *,
    services: Services | None = None,
    on_start: Callable[[Server], None] | None = None,
) -> int:
    """Serve an application over HTTPS until the process is told to stop; return its exit code.

    Args:
        bind: an address as `listen.parse_bind` reads it.
        tls: an X7TL blob.
        router: the application.
        caps: an X7HC blob; no bytes mean the limits of the system.
        services: as for `serve`.
        on_start: as for `serve`.

    Raises:
        DecodeError: a blob is malformed.
        BindError, TlsError, Exception: it could not be started. State: nothing is open.
    """
    settings = ServerSettings(tls=TlsSettings(certificate=decode_tls_config(tls)))
    limits = limits_of(caps, Limits())
    return serve(
        router, bind, settings=settings, limits=limits, services=services, on_start=on_start
    )


def serve_sandboxed_v1(
    binds: Sequence[str],
    app: App,
    policy: WebPolicy,
    *,
    settings: ServerSettings | None = None,
    limits: Limits | None = None,
    services: Services | None = None,
    on_start: Callable[[Server], None] | None = None,
) -> int:
    """Serve an application where a policy allows it, within what it allows.

    Raises:
        ListenDeniedError: the policy does not allow an address, or TLS as it is asked for.
        BindError, TlsError, Exception: it could not be started. State: nothing is open.
    """
    settings, limits = sandbox(binds, policy, settings=settings, limits=limits)
    return serve(
        app,
        *parse_binds(binds),
        settings=settings,
        limits=limits,
        services=services,
        on_start=on_start,
    )


def sandbox(
    binds: Sequence[str],
    policy: WebPolicy,
    *,
    settings: ServerSettings | None = None,
    limits: Limits | None = None,
) -> tuple[ServerSettings, Limits]:
    """Return settings and limits as a policy allows them, for a server on these addresses.

    Raises:
        ListenDeniedError: it does not.
        BindError: an address is none.
    """
    policy.check_listen(parse_binds(binds))
    settings = settings or ServerSettings()
    if settings.tls is not None:
        settings = dataclasses.replace(settings, tls=policy.check_tls(settings.tls))
    return settings, policy.narrow(limits or Limits())


def limits_of(caps: bytes, limits: Limits) -> Limits:
    """Return limits with those of an X7HC blob; no bytes change nothing.

    Raises:
        DecodeError: it is none.
        LimitError: a number is outside of the range of its limit.
    """
    if not caps:
        return limits
    found = decode_server_caps(caps)
    web = limits.web
    changed = {
        **web.to_dict(),
        "head_limit_bytes": found.header_limit_bytes,
        "body_limit_bytes": found.body_limit_bytes,
        "head_timeout_ms": found.read_timeout_ms,
        "body_grace_ms": found.read_timeout_ms,
        "idle_timeout_ms": found.read_timeout_ms,
        "write_stall_timeout_ms": found.write_timeout_ms,
    }
    return dataclasses.replace(limits, web=type(web)(**changed))

"""Puts outbound HTTP together: the services of a process, and the handler of a run.

One service serves all runs of a store; it is made when the first of them with a `net` policy makes
a call, and closed with the process, so that its log is kept. `adapters.keys` says which file of
lists, secrets and log belongs to a store.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from typing import TYPE_CHECKING, Any

from cloche.egress.adapters.database import NetDatabase
from cloche.egress.adapters.egress import Egress
from cloche.egress.adapters.handler import HttpHandler
from cloche.egress.adapters.keys import default_path
from cloche.egress.adapters.own import own_addresses
from cloche.egress.adapters.service import NetService
from cloche.egress.addresses import blocked
from cloche.egress.allowlist import NetPolicy
from cloche.egress.secrets import Scrubber
from cloche.limits.adapters.settings import load_limits

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.limits import Limits

_lock = threading.Lock()
_services: dict[Path, NetService] = {}
_used: NetService | None = None
_store: str | None = None


def open_database(store: str | None = None, *, limits: Limits | None = None) -> NetDatabase:
    """Return the file of lists, secrets and log.

    Args:
        store: path or URL of the store that it belongs to; see `adapters.keys.default_path`.
        limits: the configured ones when None.

    Raises:
        NetStoreError: it cannot be opened.
    """
    return NetDatabase(default_path(store), limits or load_limits())


def default_service(store: str | None = None) -> NetService:
    """Return the service of this process for a store; see `open_database`."""
    path = default_path(store or _store).absolute()
    with _lock:
        if _used is not None:
            return _used
        service = _services.get(path)
        if service is None:
            service = _services[path] = NetService(functools.partial(_make, path))
            atexit.register(service.close)
        return service


def use_store(store: str | None) -> None:
    """Make one store, by path or URL, that of all calls that name none: the one that is served."""
    global _store  # noqa: PLW0603 - one per process is the point
    _store = store


def use_service(service: NetService | None) -> None:
    """Make one service that of all stores, or with None a new one for each on next use."""
    global _used  # noqa: PLW0603 - one per process is the point
    with _lock:
        _used = service
        _services.clear()


def handler_for(
    policy: dict[str, Any],
    limits: Limits,
    *,
    app: str = "",
    store: str | None = None,
    run_ends_ns: int | None = None,
) -> HttpHandler:
    """Return what performs the `http.fetch` effects of a run with this policy for them.

    Args:
        policy: of the run, as a document.
        limits: of the run.
        app: see `HttpHandler`.
        store: the run's; see `open_database`.
        run_ends_ns: see `HttpHandler`.

    Raises:
        NetPolicyError: the document is none.
    """
    return HttpHandler(
        default_service(store),
        NetPolicy.from_document(policy),
        limits,
        app=app,
        run_ends_ns=run_ends_ns,
    )


def scrubber_for(policy: dict[str, Any], *, store: str | None = None) -> Scrubber:
    """Return what takes the secrets of a policy out of what its run prints, as they are now.

    Raises:
        NetPolicyError: the document is none. NetStoreError: the secrets cannot be read.
    """
    known = NetPolicy.from_document(policy)
    return Scrubber(default_service(store).call(lambda egress: egress.known_secrets(known)))


def _make(path: Path) -> Egress:
    limits = load_limits()
    database = NetDatabase(path, limits)
    check = functools.partial(blocked, own=own_addresses())
    return Egress(
        limits,
        check=check,
        entries=database,
        secrets=database,
        log=database,
        caches=database,
        process=str(os.getpid()),
    )

"""Puts outbound HTTP together: the process's service, and the handler of a run.

One service serves the process; it is made when the first run with a `net` policy makes a call, and
closed with the process, so that its log is kept. Its file is the one that `adapters.keys` finds.
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
    from cloche.limits import Limits

_lock = threading.Lock()
_service: NetService | None = None


def open_database(store: str | None = None, *, limits: Limits | None = None) -> NetDatabase:
    """Return the file of lists, secrets and log.

    Args:
        store: path or URL of the store that it belongs to; see `adapters.keys.default_path`.
        limits: the configured ones when None.

    Raises:
        NetStoreError: it cannot be opened.
    """
    return NetDatabase(default_path(store), limits or load_limits())


def default_service() -> NetService:
    """Return the service of this process."""
    global _service  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _service is None:
            _service = NetService(_make)
            atexit.register(_service.close)
        return _service


def use_service(service: NetService | None) -> None:
    """Make another service that of the process, or with None a new one on next use."""
    global _service  # noqa: PLW0603 - as above
    with _lock:
        _service = service


def handler_for(policy: dict[str, Any], limits: Limits, *, app: str = "") -> HttpHandler:
    """Return what performs the `http.fetch` effects of a run with this policy for them.

    Raises:
        NetPolicyError: the document is none.
    """
    return HttpHandler(default_service(), NetPolicy.from_document(policy), limits, app=app)


def scrubber_for(policy: dict[str, Any]) -> Scrubber:
    """Return what takes the secrets of a policy out of what its run prints, as they are now.

    Raises:
        NetPolicyError: the document is none. NetStoreError: the secrets cannot be read.
    """
    known = NetPolicy.from_document(policy)
    return Scrubber(default_service().call(lambda egress: egress.known_secrets(known)))


def _make() -> Egress:
    limits = load_limits()
    database = NetDatabase(default_path(), limits)
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

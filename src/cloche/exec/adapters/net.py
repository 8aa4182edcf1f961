"""Gives a run whose policy has rules of outbound HTTP somebody who performs its calls.

It also says what the run must not print.

Invariants: what the caller named is used as it is; the rest is made on the first call of a run, so
that a run without calls opens neither a socket nor a file; a run that is over has no calls left.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from cloche.gate.policy import NET_KIND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.egress.secrets import Scrubber
    from cloche.exec.request import RunRequest
    from cloche.gate.ports import EffectHandler


def scrubber_of(
    request: RunRequest, *, replaying: bool, store: str | None = None
) -> Scrubber | None:
    """Return what takes secrets out of a run's output, None where its policy names none.

    Args:
        request: the run.
        replaying: whether it was recorded; it can then be run where its secrets are not.
        store: URL of the store that the run belongs to; the process's when None.

    Raises:
        NetStoreError: the secrets cannot be read. Nothing ran.
    """
    net = request.policy.net
    if net is None or not net.get("secrets"):
        return None
    from cloche.egress.errors import NetStoreError  # noqa: PLC0415 - for runs with secrets only
    from cloche.egress.open import scrubber_for  # noqa: PLC0415 - as above

    try:
        return scrubber_for(net, store=store)
    except NetStoreError:
        if not replaying:
            raise
    return None


class NetHandlers:
    """Handlers with one for `http.fetch` where the policy lets a run make calls.

    Args:
        handlers: of the caller, by kind.
        request: the run.
        store: URL of the store that it belongs to; the process's when None.
        ends_ns: when the run is stopped, on the clock of `time.monotonic_ns`; None for never.
    """

    def __init__(
        self,
        handlers: Mapping[str, EffectHandler],
        request: RunRequest,
        *,
        store: str | None = None,
        ends_ns: int | None = None,
    ) -> None:
        self._handlers = handlers
        self._request = request
        self._store = store
        self._ends_ns = ends_ns
        self._made: Any = None
        self._lock = threading.Lock()

    def get(self, kind: str) -> EffectHandler | None:
        """Return who performs effects of a kind, None if nobody does."""
        found = self._handlers.get(kind)
        if found is None and kind == NET_KIND and self._request.policy.net is not None:
            return self._net()
        return found

    def _net(self) -> EffectHandler:
        with self._lock:  # calls at once come from several threads, and share one budget
            if self._made is None:
                from cloche.egress.open import handler_for  # noqa: PLC0415 - slow, for calls only

                request = self._request
                self._made = handler_for(
                    request.policy.net,
                    request.limits,
                    store=self._store,
                    run_ends_ns=self._ends_ns,
                )
        handler: EffectHandler = self._made
        return handler

    def close(self) -> None:
        """Cancel the run's calls."""
        if self._made is not None:
            self._made.close()

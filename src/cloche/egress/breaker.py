"""Leaves a domain alone that keeps failing.

Owns a state per domain: closed (calls pass), open (calls are refused), half open (one probe).
Invariants:
- time is an argument;
- only what says that the server does not work counts as a failure: no connection, no answer in
  time, 5xx; an answer of any other kind closes the breaker;
- in the half-open state exactly one call is on its way; a probe that never reports is replaced
  after the time that a breaker stays open;
- memory is bounded: closed domains without failures are not remembered.

Source: M. Nygard, Release It!, circuit breaker.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cloche.egress.errors import NetRateError

if TYPE_CHECKING:
    from cloche.limits import Limits

_NS_PER_MS: Final = 10**6


class _State:
    __slots__ = ("failures", "opened_ns", "probe_ns")

    def __init__(self) -> None:
        self.failures = 0
        self.opened_ns: int | None = None
        self.probe_ns: int | None = None


class Breakers:
    """The breakers of a process, by domain and tenant: who meets failures closes it to no other."""

    __slots__ = ("_limits", "_states")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits.egress
        self._states: OrderedDict[tuple[str, str], _State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def check(self, domain: str, now_ns: int, *, tenant: str = "") -> None:
        """Let a call pass, perhaps as the probe, or refuse it.

        Raises:
            NetRateError: the breaker is open; `retry_after_ms` says until when.
        """
        state = self._states.get((tenant, domain))
        if state is None or state.opened_ns is None:
            return
        since_ns = state.opened_ns if state.probe_ns is None else state.probe_ns
        left_ns = since_ns + self._limits.breaker_open_ms * _NS_PER_MS - now_ns
        if left_ns <= 0:
            state.probe_ns = now_ns
            return
        raise NetRateError(
            f"{domain} failed {state.failures} times in a row and is left alone for now",
            reason="breaker",
            retryable=True,
            retry_after_ms=-(-left_ns // _NS_PER_MS),
            host=domain,
        )

    def succeeded(self, domain: str, *, tenant: str = "") -> None:
        """Say that the server of a domain answered."""
        self._states.pop((tenant, domain), None)

    def failed(self, domain: str, now_ns: int, *, tenant: str = "") -> None:
        """Say that the server of a domain did not work."""
        if not self._limits.breaker_failure_count:
            return
        key = (tenant, domain)
        state = self._states.setdefault(key, _State())
        self._states.move_to_end(key)
        if len(self._states) > self._limits.bucket_count_max:
            self._states.popitem(last=False)
        state.failures += 1
        if state.probe_ns is not None or state.failures >= self._limits.breaker_failure_count:
            state.opened_ns = now_ns
            state.probe_ns = None

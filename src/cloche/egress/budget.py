"""What one run may still spend on outbound HTTP, and who may call right now.

Owns the counters of a run and the slots of all runs.
Invariants:
- time is an argument, nanoseconds of one monotonic clock;
- a refused call costs nothing but, for a call that began, its place in the count;
- slots are taken and given back one by one: never more are taken than the limits say, whoever
  asks first waits first, and a run that holds its share does not stop another;
- both are used from one thread; nothing here waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cloche.egress.errors import NetBudgetError, NetLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits

NS_PER_MS: Final = 1_000_000


class RunBudget:
    """What is left of a run's calls, bytes and time.

    Time is counted while at least one call is on its way: two calls at once cost their union, not
    their sum, so that doing things in parallel is not punished.

    Args:
        limits: of the run.
        run_ends_ns: when the run itself is stopped, None where nothing stops it. A call that would
            end with it helps nobody: some of a run's time is kept for what comes after its calls.
    """

    __slots__ = (
        "_active",
        "_run_ends_ns",
        "_since_ns",
        "_spent_ns",
        "bytes_used",
        "calls",
        "limits",
    )

    def __init__(self, limits: Limits, *, run_ends_ns: int | None = None) -> None:
        self.limits = limits
        self._run_ends_ns = run_ends_ns
        self.calls = 0
        self.bytes_used = 0
        self._active = 0
        self._since_ns = 0
        self._spent_ns = 0

    def begin(self, now_ns: int, *, timeout_ms: int | None = None) -> int:
        """Count a call and return its deadline in nanoseconds.

        Args:
            now_ns: the time.
            timeout_ms: the shortest of what the guest and the entry ask for, None for neither.

        Raises:
            NetLimitError: the run made all its calls. NetBudgetError: its time or bytes are used
                up. In both cases nothing was counted.
        """
        net = self.limits.net
        if self.calls >= net.max_calls:
            raise NetLimitError(
                f"this run made {self.calls} calls; net.max_calls allows {net.max_calls}",
                reason="calls",
            )
        if self.bytes_used >= self.limits.egress.run_bytes_max:
            raise self._bytes_error()
        left_ms = net.budget - self.spent_ns(now_ns) // NS_PER_MS
        if left_ms < self.limits.egress.call_min_ms:
            raise NetBudgetError(
                f"the time of this run for calls is used up: net.budget = {net.budget} ms",
                reason="time",
            )
        left_ms = min(left_ms, self._left_of_run_ms(now_ns))
        self.calls += 1
        if not self._active:
            self._since_ns = now_ns
        self._active += 1
        allowed_ms = min(left_ms, net.call_timeout)
        if timeout_ms is not None:
            allowed_ms = min(allowed_ms, timeout_ms)
        return now_ns + allowed_ms * NS_PER_MS

    def _left_of_run_ms(self, now_ns: int) -> int:
        if self._run_ends_ns is None:
            return self.limits.net.budget
        egress = self.limits.egress
        left_ms = max(0, self._run_ends_ns - now_ns) // NS_PER_MS
        if left_ms < max(egress.run_left_min_ms, egress.run_reserve_ms + egress.call_min_ms):
            raise NetBudgetError(
                f"insufficient time: the run ends in {left_ms} ms, and a call needs "
                f"egress.run_left_min_ms = {egress.run_left_min_ms}, of which "
                f"egress.run_reserve_ms = {egress.run_reserve_ms} stay for the run",
                reason="time",
            )
        return left_ms - egress.run_reserve_ms

    def end(self, now_ns: int) -> None:
        """Stop the time of a call that began, however it ended."""
        self._active -= 1
        if not self._active:
            self._spent_ns += max(0, now_ns - self._since_ns)

    def spent_ns(self, now_ns: int) -> int:
        """Return the time in which at least one call was on its way."""
        running = max(0, now_ns - self._since_ns) if self._active else 0
        return self._spent_ns + running

    def spend_bytes(self, count: int) -> None:
        """Count bytes of a body.

        Raises:
            NetBudgetError: more than the run may move; the bytes are counted all the same.
        """
        self.bytes_used += count
        if self.bytes_used > self.limits.egress.run_bytes_max:
            raise self._bytes_error()

    def _bytes_error(self) -> NetBudgetError:
        return NetBudgetError(
            f"this run moved {self.bytes_used} bytes; egress.run_bytes_max allows "
            f"{self.limits.egress.run_bytes_max}",
            reason="bytes",
        )


class Slots:
    """Who may call now: so many per owner, so many in all.

    `ask` calls back at once or when a slot is free. An owner is a run's app, or the run itself.
    """

    __slots__ = ("_held", "_limits", "_total", "_waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[str, int] = {}
        self._total = 0
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()

    @property
    def held(self) -> int:
        """How many slots are taken."""
        return self._total

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    def take(self, owner: str) -> bool:
        """Take a slot if one is free now; return whether it was."""
        if not self._is_free(owner):
            return False
        self._take(owner)
        return True

    def ask(self, owner: str, granted: Callable[[], None]) -> bool:
        """Take a slot now and return True, or remember `granted` for later and return False.

        Raises:
            NetLimitError: too many wait already; nothing was remembered.
        """
        if self.take(owner):
            return True
        if self._limits.egress.slot_timeout_ms == 0:
            raise self.refusal(owner)
        if len(self._waiting) >= self._limits.egress.waiting_count_max:
            raise NetLimitError(
                "too many calls wait for their turn: egress.waiting_count_max = "
                f"{self._limits.egress.waiting_count_max}",
                reason="waiting",
                retryable=True,
            )
        self._waiting.append((owner, granted))
        return False

    def withdraw(self, granted: Callable[[], None]) -> bool:
        """Forget who waits; False when the slot was granted before."""
        for entry in self._waiting:
            if entry[1] is granted:
                self._waiting.remove(entry)
                return True
        return False

    def give_back(self, owner: str) -> None:
        """Give a slot back, and hand it to the first who may have it."""
        self._total -= 1
        held = self._held[owner] - 1
        if held:
            self._held[owner] = held
        else:
            del self._held[owner]
        for entry in self._waiting:
            if self._is_free(entry[0]):
                self._waiting.remove(entry)
                self._take(entry[0])
                entry[1]()
                return

    def refusal(self, owner: str) -> NetLimitError:
        """Return the error for who cannot have a slot: which of the two limits it was."""
        net = self._limits.net
        if self._held.get(owner, 0) >= net.app_concurrency:
            what = f"this app has {net.app_concurrency} calls on their way: net.app_concurrency"
            reason = "app_concurrency"
        else:
            what = f"{net.concurrency} calls are on their way: net.concurrency"
            reason = "concurrency"
        return NetLimitError(
            f"{what}. Retry when one of them is complete", reason=reason, retryable=True
        )

    def _is_free(self, owner: str) -> bool:
        net = self._limits.net
        return self._total < net.concurrency and self._held.get(owner, 0) < net.app_concurrency

    def _take(self, owner: str) -> None:
        self._total += 1
        self._held[owner] = self._held.get(owner, 0) + 1

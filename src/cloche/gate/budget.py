"""What is left of a run's ceilings.

Owns the counters of one run and the refusals they give.
Invariants:
- immutable: charging returns a new budget, so a refused effect costs nothing;
- a refusal says whether a retry in the same run can help;
- bytes that come in are known only when an effect is complete, so the values of effects in flight
  may go over the ceiling by their own sizes; after that nothing more is performed.

It knows no time: deadlines belong to the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cloche.gate.errors import BudgetConcurrencyError, BudgetExhaustedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.gate.policy import Policy
    from cloche.limits import Limits


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one run may use. `calls_max_by_kind` names only kinds with their own."""

    calls_max: int
    concurrency_max: int
    bytes_out_max: int
    bytes_in_max: int
    calls_max_by_kind: Mapping[str, int]


def ceilings_of(limits: Limits, policy: Policy) -> Ceilings:
    """Return the ceilings of a run under these limits and this policy.

    What crosses the gate must fit into the journal, so its limit bounds both directions.
    """
    gate = limits.gate
    return Ceilings(
        calls_max=gate.effect_count_max,
        concurrency_max=gate.effect_concurrency_max,
        bytes_out_max=gate.journal_limit_bytes,
        bytes_in_max=gate.journal_limit_bytes,
        calls_max_by_kind={
            kind: rules.calls_max for kind, rules in policy.kinds if rules.calls_max is not None
        },
    )


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has used. `concurrency` counts effects begun and not complete."""

    ceilings: Ceilings
    calls: int = 0
    concurrency: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    calls_by_kind: Mapping[str, int] = msgspec.field(default_factory=dict)

    def charge(
        self, kind: str, bytes_out: int
    ) -> Budget | BudgetExhaustedError | BudgetConcurrencyError:
        """Return the budget after one more effect begins, or the refusal.

        Exhaustion is told before concurrency: waiting does not help who has nothing left.
        """
        ceilings = self.ceilings
        kind_calls = self.calls_by_kind.get(kind, 0)
        if self.calls >= ceilings.calls_max:
            return _exhausted("gate.effect_count_max", ceilings.calls_max, self.calls)
        kind_max = ceilings.calls_max_by_kind.get(kind)
        if kind_max is not None and kind_calls >= kind_max:
            return _exhausted(f"policy {kind}.calls_max", kind_max, kind_calls)
        if self.bytes_out + bytes_out > ceilings.bytes_out_max:
            used = self.bytes_out + bytes_out
            return _exhausted("gate.journal_limit_bytes (sent)", ceilings.bytes_out_max, used)
        if self.bytes_in >= ceilings.bytes_in_max:
            used = self.bytes_in
            return _exhausted("gate.journal_limit_bytes (received)", ceilings.bytes_in_max, used)
        if self.concurrency >= ceilings.concurrency_max:
            return BudgetConcurrencyError(limit=ceilings.concurrency_max)
        return self.spend(kind, bytes_out)

    def spend(self, kind: str, bytes_out: int) -> Budget:
        """Return the budget after one more effect begins, whatever the ceilings say.

        For a replay, where the recorded run has already decided.
        """
        return Budget(
            ceilings=self.ceilings,
            calls=self.calls + 1,
            concurrency=self.concurrency + 1,
            bytes_out=self.bytes_out + bytes_out,
            bytes_in=self.bytes_in,
            calls_by_kind={**self.calls_by_kind, kind: self.calls_by_kind.get(kind, 0) + 1},
        )

    def settle(self, bytes_in: int) -> Budget:
        """Return the budget after one effect is complete with a value of this size."""
        return Budget(
            ceilings=self.ceilings,
            calls=self.calls,
            concurrency=self.concurrency - 1,
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in + bytes_in,
            calls_by_kind=self.calls_by_kind,
        )


def _exhausted(budget: str, limit: int, used: int) -> BudgetExhaustedError:
    return BudgetExhaustedError(budget=budget, limit=limit, used=used)

"""A plan that a model keeps while it works: `tools.updatePlan`.

Pure: the plan is a value; whoever made it is told of changes. At most one step is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from cloche.gate.ports import EffectFailure
from cloche.script.tools import Tool, tool

if TYPE_CHECKING:
    from collections.abc import Callable

PACK: Final = "plan"
_STEP_COUNT_MAX: Final = 100
_STEP_CHARACTERS_MAX: Final = 1000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan."""

    title: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


class Plan:
    """The plan of one agent.

    Args:
        on_change: gets the steps whenever they change.
    """

    def __init__(self, on_change: Callable[[tuple[Step, ...]], None] | None = None) -> None:
        self.steps: tuple[Step, ...] = ()
        self._on_change = on_change

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The pack "plan": `updatePlan`, which nobody is asked about."""

        def update_plan(steps: list[Step]) -> int:
            """Replace the plan; say how many steps are left.

            Args:
                steps: all of them, in order; at most one is in_progress.
            """
            self._update(tuple(steps))
            return sum(step.status != "completed" for step in self.steps)

        options = {"requires_approval": False, "idempotent": True, "pack": PACK}
        return (tool(name="updatePlan", **options)(update_plan),)  # type: ignore[call-overload]

    def _update(self, steps: tuple[Step, ...]) -> None:
        if len(steps) > _STEP_COUNT_MAX:
            raise EffectFailure("PLAN", f"a plan has at most {_STEP_COUNT_MAX} steps")
        if any(not 0 < len(step.title) <= _STEP_CHARACTERS_MAX for step in steps):
            raise EffectFailure("PLAN", f"a title has 1 to {_STEP_CHARACTERS_MAX} characters")
        if sum(step.status == "in_progress" for step in steps) > 1:
            raise EffectFailure("PLAN", "more than one step is in_progress")
        self.steps = steps
        if self._on_change is not None:
            self._on_change(steps)

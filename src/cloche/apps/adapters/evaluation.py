"""Evaluating the top level of an app: an instance with its files, one run, what the guest became.

Owns what evaluation is given and what comes of it, as data: it happens in this process or in
another one. Invariants: it sees a fixed clock, the seed of its recipe and no effects, so that one
recipe gives one snapshot everywhere. What the outcome means is the builder's to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.manifest import APP_KIND, STORAGE_KINDS
from cloche.engine.adapters.images import WARM_CLOCK_NS
from cloche.engine.adapters.instance import Instance, deadline_after
from cloche.engine.adapters.machine import Machine
from cloche.engine.virtual_os import StillClock
from cloche.gate.policy import NET_KIND, Policy
from cloche.gate.ports import EffectFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.engine.snapshot import Snapshot
    from cloche.exec.adapters.runner import Execution, Runner
    from cloche.exec.request import RunRequest
    from cloche.gate.effect import EffectRequest

NS_PER_MS: Final = 1_000_000
_REFUSED: Final = (APP_KIND, *STORAGE_KINDS, NET_KIND, "tool")
ASK_NOTHING: Final = Policy.allow(**dict.fromkeys(_REFUSED, ("*",)))  # `TopLevel` refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is evaluated.

    Args:
        image: name in the catalogue.
        fuel: whether its code counts instructions.
        files: content by absolute path.
        request: the run that evaluates; its policy is `ASK_NOTHING`.
    """

    image: str
    fuel: bool
    files: Mapping[str, bytes] = field(repr=False)
    request: RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What came of it.

    Args:
        execution: how the run ended.
        handlers: what the module handles; None when it did not come so far.
        asked: the effects that it asked for, and did not get.
        printed: its output.
        snapshot: what the guest became; None after an error.
    """

    execution: Execution
    handlers: frozenset[str] | None
    asked: tuple[str, ...]
    printed: bytes
    snapshot: Snapshot | None


def evaluate(runner: Runner, recipe: Recipe) -> Evaluated:
    """Evaluate the top level of an app in this process."""
    evaluated = _evaluate(runner, recipe, seals=True)
    if evaluated is None:
        # Sealing takes memory. An app that has none left for it does without.
        evaluated = _evaluate(runner, recipe, seals=False)
    assert evaluated is not None
    return evaluated


def _evaluate(runner: Runner, recipe: Recipe, *, seals: bool) -> Evaluated | None:
    """Evaluate; None where the guest could not be sealed."""
    printed, request, top_level = bytearray(), recipe.request, TopLevel()
    images = runner.images
    image = images.with_files(images.get(recipe.image, fuel=recipe.fuel), recipe.files)
    machine = Machine(
        request.limits,
        now_ns=request.now_ns,
        seed=request.seed,
        sink=lambda _stream, data: printed.extend(data),
        clock=StillClock(WARM_CLOCK_NS),  # a refusal takes another time each time
    )
    instance = Instance(image, machine)
    try:
        execution = runner.execute_in(
            instance,
            request,
            run_id="build",
            handlers=dict.fromkeys(_REFUSED, top_level),
            on_output=lambda _stream, data: printed.extend(data),
            record=False,
        )
        snapshot = None
        if execution.error is None:
            until_ns = deadline_after(request.limits.guests.timeout_ms * NS_PER_MS)
            if seals and instance.seal(deadline_ns=until_ns) is not None:
                return None
            snapshot = instance.snapshot()
    finally:
        instance.close()
    return Evaluated(
        execution=execution,
        handlers=top_level.handlers,
        asked=tuple(top_level.asked),
        printed=bytes(printed),
        snapshot=snapshot,
    )


class TopLevel:
    """Stands for every effect while a module is evaluated: only handlers may ask for some.

    One is answered: `ready`, by which the guest says what the module handles.
    """

    def __init__(self) -> None:
        self.handlers: frozenset[str] | None = None
        self.asked: list[str] = []

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - of the port
        """Refuse, and remember what was asked for."""
        if request.kind == APP_KIND and request.target == "ready" and self.handlers is None:
            names = request.args.get("handlers", []) if isinstance(request.args, dict) else []
            self.handlers = frozenset(name for name in names if isinstance(name, str))
            return None
        self.asked.append(f"{request.kind} {request.target}")
        raise EffectFailure(
            "APP_TOP_LEVEL_EFFECT",
            "the top level of an app may ask for nothing: its state is made once, for all requests",
        )

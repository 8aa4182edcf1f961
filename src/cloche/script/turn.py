"""One turn of a model: its scripts and its structured calls, in the order in which it wrote them.

Owns what of a turn runs. Invariants:
- the first script that does not complete skips those behind it, unless `go_on` says otherwise;
- a structured call stands for itself: one that fails stops nothing;
- the budget of calls is that of the turn for structured calls, and that of each script for its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.errors import ScriptCancelledError, ScriptError
from cloche.script.items import ScriptCall, ScriptResult, ToolCall, ToolResult
from cloche.script.structured import call_result, check_call, own_limits, script_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.limits import Limits
    from cloche.script.tools import ToolSet


DISABLED_WARNING: Final = "scripts are disabled: this one did not run"


@dataclass(slots=True, kw_only=True)
class Turn:
    """One turn.

    Args:
        mode: in which nothing, a report, or everything happens.
        go_on: whether scripts behind a failed one still run.
        tools: that there are.
        limits: of this turn.
        own: what of them was set for it.
        run: runs a script with parameters, as JSON-ready data or None, and its own limits.
        count: counts what did not run.
    """

    mode: str
    go_on: bool
    tools: ToolSet
    limits: Limits
    own: dict[str, int]
    run: Callable[[ScriptCall, dict[str, Any] | None, dict[str, int]], ScriptResult]
    count: Callable[[ScriptResult], ScriptResult]
    _last: ScriptResult | None = field(default=None, init=False)
    _made: int = field(default=0, init=False)

    def script(self, call: ScriptCall) -> ScriptResult:
        """Run a script, or say why it is skipped."""
        last = self._last
        if self.mode == "disabled":
            warnings = (DISABLED_WARNING,)
            off = skipped(call, "scripts are disabled")
            result = self.count(msgspec.structs.replace(off, warnings=warnings))
        elif (
            last is None
            or last.status in {"completed", "checked"}
            or (self.go_on and last.status == "failed")
        ):
            result = self.run(call, None, self.own)
        else:
            result = self.count(skipped(call, "a script before this one did not complete"))
        self._last = result
        return result

    def call(self, call: ToolCall) -> ToolResult:
        """Make a structured call, or say why it is not made."""
        script = script_of(call, "x")
        if self.mode == "disabled":
            return call_result(call, self.count(skipped(script, "tools are disabled")))
        try:
            params = check_call(call, made=self._made, tools=self.tools, limits=self.limits)
        except ScriptError as error:
            document = error.to_document()
            failed = ScriptResult(script_id=script.script_id, status="failed", error=document)
            return call_result(call, self.count(failed))
        if self.mode == "dry-run":
            report = {"mode": "dry-run", "tools": [{"tool": params["tool"], "known": True}]}
            checked = ScriptResult(script_id=script.script_id, status="checked", value=report)
            return call_result(call, self.count(checked))
        self._made += 1
        limits = own_limits(self.limits, self.own)
        return call_result(call, self.run(script_of(call, params["tool"]), params, limits))


def skipped(call: ScriptCall, reason: str) -> ScriptResult:
    """Return the result of a script that does not run."""
    error = ScriptCancelledError(reason=reason).to_document()
    return ScriptResult(script_id=call.script_id, status="skipped", error=error)

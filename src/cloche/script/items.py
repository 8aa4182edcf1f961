"""What a model's message is made of, and what became of its scripts.

Owns the values between an agent loop and the harness: `Message` in, `History` out.
Invariants:
- frozen data that msgspec writes and reads; equal values have equal encodings;
- items are in the order in which the model wrote them, and a script's result stands right behind
  the script;
- a message holds everything that its API's dictionary held, whether this room knows it or not.

It knows no API's form; `messages` does.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

from cloche.errors import ErrorDocument  # noqa: TC001 - msgspec reads the annotations
from cloche.script.errors import ScriptCancelledError, phase_of
from cloche.script.finder import Language  # noqa: TC001 - as above

Api = Literal["openai.responses", "openai.chat", "anthropic.messages"]
Path: TypeAlias = tuple[str | int, ...]
UNWANTED: Final = "nobody waits for this call any more"

Status = Literal[
    "completed",  # the program ended by itself
    "suspended",  # it waits for a decision, nothing is held meanwhile
    "failed",  # the program failed, or was stopped by a limit
    "rejected",  # a person ended the run, or nobody decided in time
    "cancelled",  # whoever started it stopped it
    "rolled_back",  # its calls were undone
    "checked",  # dry-run: nothing ran
    "skipped",  # scripts are disabled, or one before it failed
]
CallStatus = Literal[
    "completed",  # the tool gave a result
    "failed",  # by an error of its own, or before it was called
    "denied",  # by a rule or a person
    "pending",  # it waits for a decision, or is under way; never in a run that is over
    "cancelled",  # nobody waited for it any more: it lost a race, or its run was over
    "reverted",  # it was completed, and undone
]


class Thinking(msgspec.Struct, frozen=True, kw_only=True, tag="thinking"):
    """What the model thought, as far as its API shows it."""

    text: str


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Text of a message.

    Args:
        slot: which of its texts it is a part of.
        text: of it.
        is_ahead: it stands behind a script: the model did not know the result when it wrote it.
    """

    slot: int
    text: str
    is_ahead: bool = False


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call"):
    """A structured call, which the API itself knows. `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str


class Foreign(msgspec.Struct, frozen=True, kw_only=True, tag="foreign"):
    """Something that is neither text nor a call, by the name that its API has for it."""

    kind: str


class ScriptCall(msgspec.Struct, frozen=True, kw_only=True, tag="script_call"):
    """A block of a text that stands for a script.

    Args:
        slot: which text it is a part of.
        raw: the block with its tags.
        script_id: names it within its message: `script_1`, `script_2`, …
        language: None where the block is broken.
        source: the program; empty where the block is broken.
        sha256: of the source.
        line: of the text, from 1, where the program begins.
        error: what is wrong with the block.
        warnings: what was changed in it.
    """

    slot: int
    raw: str
    script_id: str
    language: Language | None = None
    source: str = ""
    sha256: str = ""
    line: int = 0
    error: ErrorDocument | None = None
    warnings: tuple[str, ...] = ()


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call that a script made; `args` without secrets."""

    tool: str
    args: Any
    status: CallStatus
    value: Any = None
    error: ErrorDocument | None = None
    duration_ms: int = 0
    line: int | None = None


def settled(calls: tuple[CallRecord, ...]) -> tuple[CallRecord, ...]:
    """Return the calls of a run that is over: those that had no answer yet are cancelled."""
    error = ScriptCancelledError(reason=UNWANTED).to_document()
    return tuple(
        msgspec.structs.replace(call, status="cancelled", error=error)
        if call.status == "pending"
        else call
        for call in calls
    )


class ScriptResult(msgspec.Struct, frozen=True, kw_only=True, tag="script_result"):
    """What became of a script.

    Args:
        script_id: of its `ScriptCall`.
        run_id: empty where nothing ran.
        status: see `Status`.
        value: what it returned, plain JSON; None if it returned nothing.
        output: what it printed.
        tool_calls: in the order in which they were made.
        error: why it is not "completed".
        usage: `time_ms`, `memory_bytes` and whatever else was counted.
        journal_id: names the record of the run, None where there is none.
        warnings: what should be known beside it.
    """

    script_id: str
    run_id: str = ""
    status: Status
    value: Any = None
    output: str = ""
    tool_calls: tuple[CallRecord, ...] = ()
    error: ErrorDocument | None = None
    usage: dict[str, int] = {}
    journal_id: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def phase(self) -> str:
        """Where it went wrong, see `errors.phase_of`; empty if nothing did."""
        return "" if self.error is None else phase_of(self.error["code"])

    @property
    def summary(self) -> str:
        """What became of it, in one line."""
        count = len(self.tool_calls)
        made = f"{count} tool call{'' if count == 1 else 's'}"
        said = f"{self.status}: {made}, {self.usage.get('time_ms', 0)} ms"
        return said if self.error is None else f"{said}, {self.error['code']}"

    def to_document(self) -> dict[str, Any]:
        """Return the JSON-ready form that commands print and models read."""
        document = msgspec.to_builtins(self)
        del document["type"]
        return {**document, "summary": self.summary, "phase": self.phase}


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What became of a structured call: exactly one of value and error counts.

    Args:
        call_id: of the call.
        name: of the tool, as the API has it.
        value: plain JSON.
        error: why there is no value.
        status: of its run, see `Status`; empty where somebody else made the call.
        run_id: of its run, to go on with it, or to undo it.
    """

    call_id: str
    name: str
    value: Any = None
    error: ErrorDocument | None = None
    status: str = ""
    run_id: str = ""


MessageItem: TypeAlias = Thinking | Text | ToolCall | Foreign | ScriptCall
HistoryItem: TypeAlias = MessageItem | ScriptResult | ToolResult


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a model.

    Args:
        api: whose form it had.
        frame: the dictionary (or list) of the API with every text taken out.
        slots: where in the frame the texts were, in order.
        items: what it says, in order.
    """

    api: Api
    frame: Any
    slots: tuple[Path, ...]
    items: tuple[MessageItem, ...]

    @property
    def scripts(self) -> tuple[ScriptCall, ...]:
        """The scripts of the message, broken ones, too."""
        return tuple(item for item in self.items if isinstance(item, ScriptCall))

    def with_results(self, *results: ScriptResult | ToolResult) -> History:
        """Return the history of this turn: each result behind its call.

        Raises:
            ValueError: a result is of no call of this message, or there are two of one.
        """
        left: dict[str, ScriptResult | ToolResult] = {}
        for result in results:
            key = _key(result)
            if key in left:
                raise ValueError(f"there are two results of {key}")
            left[key] = result
        items: list[HistoryItem] = []
        for item in self.items:
            items.append(item)
            if isinstance(item, ScriptCall | ToolCall) and _key(item) in left:
                items.append(left.pop(_key(item)))
        if left:
            raise ValueError(f"the message has no call {', '.join(left)}")
        return History(message=self, items=tuple(items))


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a model, and what became of it."""

    message: Message
    items: tuple[HistoryItem, ...]

    @property
    def results(self) -> tuple[ScriptResult, ...]:
        """The results of the scripts, in order."""
        return tuple(item for item in self.items if isinstance(item, ScriptResult))


def _key(item: ScriptCall | ToolCall | ScriptResult | ToolResult) -> str:
    if isinstance(item, ScriptCall | ScriptResult):
        return item.script_id
    return f"call {item.call_id}"

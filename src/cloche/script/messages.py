"""Reads and writes the message dictionaries of three APIs.

Owns the forms: OpenAI Responses (the list of output items), OpenAI Chat Completions and Anthropic
Messages (the assistant's message).
Invariants:
- what is read and written again is equal to what was given, whatever else is in it;
- only what the model itself said is searched for scripts: no thinking, no refusal, no tool result;
- a result cannot be mistaken for anything else: in its text no tag can begin.

It makes no request and needs no SDK: dictionaries in, dictionaries out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.finder import BrokenPart, Language, TextPart, find
from cloche.script.items import (
    Api,
    Foreign,
    History,
    Message,
    MessageItem,
    Path,
    ScriptCall,
    ScriptResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from cloche.script.message_errors import ApiUnknownError, MessageInvalidError

if TYPE_CHECKING:
    from cloche.limits import Limits

RESULT_TAG: Final = "tool-results"
_NAMES: Final[dict[Api, str]] = {
    "openai.responses": "the OpenAI Responses API",
    "openai.chat": "the OpenAI Chat Completions API",
    "anthropic.messages": "the Anthropic Messages API",
}


def read_message(
    message: Any, *, api: Api, limits: Limits, default: Language = "typescript"
) -> Message:
    """Return what a model said.

    Args:
        message: the assistant's message as its API gives it, as plain dictionaries; for the
            Responses API the list `output`.
        api: whose form it has.
        limits: of the group `scripts`.
        default: the language of a script that names none.

    Raises:
        ApiUnknownError: there is no such API.
        MessageInvalidError: it has not that form, or nobody but a model may have said it.
    """
    check_api(api)
    reader = _Reader(api, copy.deepcopy(message), limits, default)
    {
        "openai.responses": reader.responses,
        "openai.chat": reader.chat,
        "anthropic.messages": reader.anthropic,
    }[api]()
    return reader.message()


def check_api(api: str) -> None:
    """Refuse what is no API whose messages are known.

    Raises:
        ApiUnknownError: always then.
    """
    if not isinstance(api, str) or api not in _NAMES:
        raise ApiUnknownError(api=api, known=tuple(_NAMES))


def check_calls(message: Message) -> None:
    """Refuse structured calls that cannot be told apart, before one of them is made.

    Raises:
        MessageInvalidError: two of them have one id.
    """
    seen: set[str] = set()
    for item in message.items:
        if isinstance(item, ToolCall):
            if item.call_id in seen:
                problem = f"has two calls with the id {item.call_id[:100]!r}"
                name = _NAMES[message.api]
                raise MessageInvalidError(api=name, where="the message", problem=problem)
            seen.add(item.call_id)


def write_message(message: Message) -> Any:
    """Return the message as it was read: the form that its API takes back as history."""
    frame = copy.deepcopy(message.frame)
    texts = [""] * len(message.slots)
    for item in message.items:
        if isinstance(item, Text):
            texts[item.slot] += item.text
        elif isinstance(item, ScriptCall):
            texts[item.slot] += item.raw
    for path, text in zip(message.slots, texts, strict=True):
        place = frame
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = text
    return frame


def write_history(history: History) -> list[dict[str, Any]]:
    """Return what to append to a conversation: the message and then the results.

    Results of structured calls come first, as the APIs want it; those that the caller has from
    elsewhere belong there, too.
    """
    written = write_message(history.message)
    before = list(written) if isinstance(written, list) else [_as_input(history, written)]
    return before + write_results(history)


def write_results(history: History) -> list[dict[str, Any]]:
    """Return the messages that tell a model what became of its turn; none if nothing did."""
    calls = [item for item in history.items if isinstance(item, ToolResult)]
    scripts = [result_text(result) for result in history.results]
    api = history.message.api
    if api == "anthropic.messages":
        content = [_anthropic_result(call) for call in calls]
        content += [{"type": "text", "text": text} for text in scripts]
        return [{"role": "user", "content": content}] if content else []
    if api == "openai.chat":
        out: list[dict[str, Any]] = [
            {"role": "tool", "tool_call_id": call.call_id, "content": _result_json(call)}
            for call in calls
        ]
        return out + ([{"role": "user", "content": "\n".join(scripts)}] if scripts else [])
    out = [
        {"type": "function_call_output", "call_id": call.call_id, "output": _result_json(call)}
        for call in calls
    ]
    content = [{"type": "input_text", "text": text} for text in scripts]
    return out + ([{"type": "message", "role": "user", "content": content}] if content else [])


def result_text(result: ScriptResult) -> str:
    """Return a result as the text that a model reads."""
    return f"<{RESULT_TAG}>\n{_safe_json(result.to_document())}\n</{RESULT_TAG}>"


def read_result(text: str) -> ScriptResult:
    """Return the result that `result_text` made this text of.

    Raises:
        MessageInvalidError: it is none.
    """
    body = text.removeprefix(f"<{RESULT_TAG}>\n").removesuffix(f"\n</{RESULT_TAG}>")
    problem = "has other tags"
    if len(body) == len(text) - len(RESULT_TAG) * 2 - 7:
        try:
            document = json.loads(body)
            return msgspec.convert({**document, "type": "script_result"}, ScriptResult)
        except (ValueError, TypeError, RecursionError, msgspec.ValidationError) as error:
            problem = str(error)
    raise MessageInvalidError(api="a script's result", where="the text", problem=problem)


class _Reader:
    """Takes a message apart; what it takes out of the frame it puts into items."""

    def __init__(self, api: Api, frame: Any, limits: Limits, default: Language) -> None:
        self._api: Api = api
        self._frame = frame
        self._limits = limits
        self._default: Language = default
        self._slots: list[Path] = []
        self._items: list[MessageItem] = []
        self._script_count = 0

    def message(self) -> Message:
        return Message(
            api=self._api, frame=self._frame, slots=tuple(self._slots), items=tuple(self._items)
        )

    # --- the forms ---

    def anthropic(self) -> None:
        self._check_assistant(self._frame, "the message")
        content = self._frame.get("content")
        if isinstance(content, str):
            self._text(self._frame, "content", ())
            return
        for index, block in self._blocks(content, "content"):
            kind, path = block["type"], ("content", index)
            if kind == "text":
                self._text(block, "text", path)
            elif kind == "thinking":
                self._items.append(Thinking(text=self._string(block, "thinking", path)))
            elif kind == "redacted_thinking":
                self._items.append(Thinking(text=""))
            elif kind == "tool_use":
                arguments = json.dumps(block.get("input"), ensure_ascii=False)
                self._call(block, "id", "name", arguments, path)
            else:
                self._items.append(Foreign(kind=kind))

    def chat(self) -> None:
        message = self._frame
        self._check_assistant(message, "the message")
        for name in ("reasoning_content", "reasoning"):  # of servers that speak this form
            if isinstance(message.get(name), str):
                self._items.append(Thinking(text=message[name]))
        content = message.get("content")
        if isinstance(content, str):
            self._text(message, "content", ())
        elif content is not None:
            for index, part in self._blocks(content, "content"):
                if part["type"] == "text":
                    self._text(part, "text", ("content", index))
                else:
                    self._items.append(Foreign(kind=part["type"]))
        calls = message.get("tool_calls")
        for index, call in self._blocks([] if calls is None else calls, "tool_calls"):
            path = ("tool_calls", index)
            body = call.get(call["type"])
            if not isinstance(body, Mapping):
                raise self._invalid(path, f"has no {call['type']!r}")
            text = self._string(body, "input" if call["type"] == "custom" else "arguments", path)
            self._call({**body, "id": call.get("id")}, "id", "name", text, path)

    def responses(self) -> None:
        for index, item in self._blocks(self._frame, "output"):
            kind, path = item["type"], (index,)
            if kind == "message":
                self._check_assistant(item, f"output[{index}]")
                for place, part in self._blocks(item.get("content"), f"output[{index}].content"):
                    if part["type"] == "output_text":
                        self._text(part, "text", (index, "content", place))
                    else:
                        self._items.append(Foreign(kind=part["type"]))
            elif kind == "reasoning":
                self._items.append(Thinking(text=_summary(item)))
            elif kind == "function_call":
                self._call(item, "call_id", "name", self._string(item, "arguments", path), path)
            elif kind == "custom_tool_call":
                self._call(item, "call_id", "name", self._string(item, "input", path), path)
            else:
                self._items.append(Foreign(kind=kind))

    # --- the pieces ---

    def _text(self, holder: dict[str, Any], name: str, path: Path) -> None:
        text = self._string(holder, name, path)
        holder[name] = ""
        slot = len(self._slots)
        self._slots.append((*path, name))
        for part in find(text, limits=self._limits, default=self._default):
            if isinstance(part, TextPart):
                ahead = self._script_count > 0
                self._items.append(Text(slot=slot, text=part.raw, is_ahead=ahead))
                continue
            self._script_count += 1
            script_id = f"script_{self._script_count}"
            if isinstance(part, BrokenPart):
                error = part.error.to_document()
                call = ScriptCall(slot=slot, raw=part.raw, script_id=script_id, error=error)
            else:
                call = ScriptCall(
                    slot=slot,
                    raw=part.raw,
                    script_id=script_id,
                    language=part.language,
                    source=part.source,
                    sha256=part.sha256,
                    line=part.line,
                    warnings=part.warnings,
                )
            self._items.append(call)

    def _call(
        self, holder: Mapping[str, Any], id_name: str, name: str, arguments: str, path: Path
    ) -> None:
        self._items.append(
            ToolCall(
                call_id=self._string(holder, id_name, path),
                name=self._string(holder, name, path),
                arguments=arguments,
            )
        )

    def _blocks(self, content: Any, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
        if not isinstance(content, list):
            raise self._invalid((where,), "is no list")
        for index, block in enumerate(content):
            if not isinstance(block, dict) or not isinstance(block.get("type"), str):
                raise self._invalid((where, index), "is no object with a type")
            yield index, block

    def _check_assistant(self, message: Any, where: str) -> None:
        if not isinstance(message, dict):
            raise self._invalid((where,), "is no object")
        if message.get("role") != "assistant":
            raise self._invalid((where,), "is not of the assistant, and nobody else's is searched")

    def _string(self, holder: Mapping[str, Any], name: str, path: Path) -> str:
        value = holder.get(name)
        if not isinstance(value, str):
            raise self._invalid((*path, name), "is no text")
        return value

    def _invalid(self, path: Path, problem: str) -> MessageInvalidError:
        where = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in path).lstrip(".")
        return MessageInvalidError(api=_NAMES[self._api], where=where, problem=problem)


def _summary(item: Mapping[str, Any]) -> str:
    """Return what a reasoning item shows of itself."""
    pieces: list[str] = []
    for name in ("summary", "content"):
        parts = item.get(name)
        if isinstance(parts, list):
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            pieces += [text for text in texts if isinstance(text, str)]
    return "\n".join(pieces)


def _as_input(history: History, message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what its API says but does not take."""
    if history.message.api == "anthropic.messages":
        return {"role": message["role"], "content": message["content"]}
    return message


def _anthropic_result(call: ToolResult) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": call.call_id, "content": _result_json(call)}
    return block if call.error is None else {**block, "is_error": True}


def _result_json(call: ToolResult) -> str:
    return _safe_json({"value": call.value} if call.error is None else {"error": call.error})


def _safe_json(value: Any) -> str:
    """Return JSON text in which no tag can begin, readable on any terminal."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")

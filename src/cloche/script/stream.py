"""A model's text as it arrives: prose is passed on, and a script runs when it is complete.

Owns when a part of a text is certain. Invariants:
- whatever the pieces are, the parts are those of the whole text;
- no part of a script is passed on as prose, and none runs before its end and the end of that line
  are there: what follows on the line may make the end a part of the program;
- the text is searched again only as often as a budget allows; what is not found until then is
  found when the text ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from cloche.script.errors import HarnessInternalError
from cloche.script.finder import BrokenPart, ScriptPart, TextPart, find
from cloche.script.items import ScriptCall, ScriptResult, Text
from cloche.script.messages import read_message

if TYPE_CHECKING:
    from cloche.limits import Limits
    from cloche.script.finder import Language, Part
    from cloche.script.items import History
    from cloche.script.turn import Turn

Piece: TypeAlias = Text | ScriptCall | ScriptResult

_CANDIDATE: Final = re.compile(r"</?tool-calls")
_TAG_START: Final = "</tool-calls"
_SEARCH_FACTOR: Final = 16  # how often a text as long as a message may be searched


class ScriptStream:
    """Takes a text in pieces. Callable from one thread at a time.

    Args:
        turn: runs what is found.
        limits: of the group `scripts`.
        default: the language of a script that names none.
    """

    def __init__(self, turn: Turn, *, limits: Limits, default: Language) -> None:
        self._turn = turn
        self._limits = limits
        self._default: Language = default
        self._text = ""
        self._told = 0  # characters that were passed on, or ran
        self._results: list[ScriptResult] = []
        self._left = _SEARCH_FACTOR * limits.scripts.message_limit_bytes
        self._is_closed = False

    def feed(self, text: str) -> tuple[Piece, ...]:
        """Take the next piece; return what is certain by now, in order.

        Raises:
            ValueError: the text has ended.
        """
        if self._is_closed:
            raise ValueError("the text has ended")
        self._text += text
        if _CANDIDATE.search(self._text, self._told) is None:
            return self._prose(len(self._text) - _begun(self._text))
        if "\n" not in text or len(self._text) > self._left:
            return ()
        self._left -= len(self._text)
        return self._taken(final=False)

    def close(self) -> tuple[Piece, ...]:
        """Take the end of the text; return the rest."""
        self._is_closed = True
        return self._taken(final=True)

    @property
    def history(self) -> History:
        """The message and what became of its scripts, as `ScriptHarness.handle` gives it.

        Raises:
            ValueError: the text has not ended.
        """
        if not self._is_closed:
            raise ValueError("the text has not ended")
        message = {"role": "assistant", "content": self._text}
        read = read_message(message, api="openai.chat", limits=self._limits, default=self._default)
        return read.with_results(*self._results)

    # --- parts ---

    def _taken(self, *, final: bool) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        number = 0
        parts = find(self._text, limits=self._limits, default=self._default)
        for part in parts:
            number += not isinstance(part, TextPart)
            end = part.start + len(part.raw)
            if end <= self._told:
                continue
            if isinstance(part, TextPart):
                until = end if final or part is not parts[-1] else self._certain(part)
                pieces += self._prose(until)
                if until < end:
                    break
                continue
            if not final and not self._is_certain(part):
                break
            if part.start != self._told:
                raise HarnessInternalError(problem="a part of a text was passed on too early")
            call = _call_of(part, number)
            pieces += (call, self._turn.script(call))
            self._results.append(pieces[-1])  # type: ignore[arg-type]  # as it was just made
            self._told = end
        return tuple(pieces)

    def _is_certain(self, part: ScriptPart | BrokenPart) -> bool:
        """Whether nothing that may follow makes another part of it."""
        end = part.start + len(part.raw)
        line_end = self._text.find("\n", end)
        if line_end < 0 or (
            isinstance(part, BrokenPart) and part.error.fields.get("problem") == "unclosed"
        ):
            return False
        before = self._text[: part.start]
        if not before or before.endswith("\n"):
            return True
        # A backtick before it, in its paragraph, may begin a code span that ends behind it.
        paragraph = before.rpartition("\n\n")[2]
        return "`" not in paragraph or "\n\n" in self._text[end:]

    def _certain(self, part: TextPart) -> int:
        """Return up to where the last text is one: what stands on an unfinished line may not be."""
        line = self._text.rfind("\n") + 1
        candidate = _CANDIDATE.search(self._text, max(line, self._told))
        end = part.start + len(part.raw)
        return candidate.start() if candidate else end - _begun(self._text)

    def _prose(self, until: int) -> tuple[Piece, ...]:
        text, self._told = self._text[self._told : until], max(until, self._told)
        ahead = bool(self._results)
        return (Text(slot=0, text=text, is_ahead=ahead),) if text else ()


def _begun(text: str) -> int:
    """Return how many characters at the end of a text may be the start of a tag."""
    for length in range(min(len(text), len(_TAG_START) - 1), 0, -1):
        tail = text[-length:]
        if _TAG_START.startswith(tail) or _TAG_START.replace("/", "").startswith(tail):
            return length
    return 0


def _call_of(part: Part, number: int) -> ScriptCall:
    script_id = f"script_{number}"
    if isinstance(part, ScriptPart):
        return ScriptCall(
            slot=0,
            raw=part.raw,
            script_id=script_id,
            language=part.language,
            source=part.source,
            sha256=part.sha256,
            line=part.line,
            warnings=part.warnings,
        )
    error = part.error.to_document() if isinstance(part, BrokenPart) else None
    return ScriptCall(slot=0, raw=part.raw, script_id=script_id, error=error)

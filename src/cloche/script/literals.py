"""Which arguments of calls can be known without running a script. Pure.

Only what stands there as a literal counts: texts without escapes, numbers, truth values, null, and
lists and objects of these. A call with anything else in it is passed over, so what is found here is
certain, and never complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cloche.engine import tokens
from cloche.script import python_tokens
from cloche.script.programs import call_offsets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloche.script.finder import Language

DEPTH_MAX: Final = 16
_WORDS: Final[dict[str, dict[str, Any]]] = {
    "javascript": {"true": True, "false": False, "null": None},
    "python": {"True": True, "False": False, "None": None},
}
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?")
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")


class _NotLiteralError(Exception):
    """Something has to be computed."""


def literal_calls(source: str, language: Language) -> Iterator[tuple[str, int, Any]]:
    """Yield each call of a tool whose arguments are literals: its name, its line, and these.

    The arguments are as the tool would get them: an object, or a list of those by position.
    """
    is_python = language == "python"
    found = list((python_tokens.scan if is_python else tokens.scan)(source))
    index_of = {offset: index for index, (offset, _) in enumerate(found)}
    for name, start, opening in call_offsets(source, language):
        reader = _Reader([text for _, text in found[index_of[opening] + 1 :]], is_python=is_python)
        try:
            arguments = reader.arguments()
        except (_NotLiteralError, IndexError):
            continue
        yield name, source.count("\n", 0, start) + 1, arguments


class _Reader:
    """Reads the tokens behind an opening parenthesis."""

    def __init__(self, texts: Sequence[str], *, is_python: bool) -> None:
        self._texts = texts
        self._at = 0
        self._is_python = is_python
        self._words = _WORDS["python" if is_python else "javascript"]

    def arguments(self) -> Any:
        named: dict[str, Any] = {}
        positional: list[Any] = []
        while not self._take(")"):
            if self._is_python and self._texts[self._at + 1] == "=":
                name = self._next()
                self._at += 1
                named[name] = self._value(0)
            else:
                positional.append(self._value(0))
            self._separator(")")
        if named and positional:
            raise _NotLiteralError
        if len(positional) == 1 and isinstance(positional[0], dict):
            return positional[0]
        return positional or named

    def _value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise _NotLiteralError
        text = self._next()
        if text in self._words:
            return self._words[text]
        if text == "-":
            return -self._number(self._next())
        if text[0] in "'\"`":
            return self._text(text)
        if text == "[":
            items: list[Any] = []
            while not self._take("]"):
                items.append(self._value(depth + 1))
                self._separator("]")
            return items
        if text == "{":
            return self._members(depth)
        return self._number(text)

    def _members(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not self._take("}"):
            key = self._next()
            if key[0] in "'\"":
                key = self._text(key)
            elif self._is_python or not _NAME.fullmatch(key):
                raise _NotLiteralError
            if self._next() != ":":
                raise _NotLiteralError
            members[key] = self._value(depth + 1)
            self._separator("}")
        return members

    def _number(self, text: str) -> int | float:
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise _NotLiteralError
        value = float(text) if match[1] else int(text)
        # JavaScript has one kind of number, and writes 1.0 as 1.
        return int(value) if not self._is_python and value == int(value) else value

    def _text(self, text: str) -> str:
        if len(text) < 2 or text[0] != text[-1] or "\\" in text or text[1:-1].find(text[0]) >= 0:  # noqa: PLR2004 - two quotes
            raise _NotLiteralError
        return text[1:-1]

    def _separator(self, closing: str) -> None:
        if not self._take(",") and self._texts[self._at] != closing:
            raise _NotLiteralError

    def _take(self, text: str) -> bool:
        is_there = self._texts[self._at] == text
        self._at += is_there
        return is_there

    def _next(self) -> str:
        self._at += 1
        return self._texts[self._at - 1]

"""A tokenizer for Python, made to tell code from strings and comments, not to judge programs.

Pure. It never fails: a string without an end goes to the end of its line, one with triple quotes to
the end of the text. Strings with replacement fields (`f`, `t`) are taken apart, and what is in the
fields is code, with quotes of any kind (PEP 701).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE: Final = re.compile(r"(?:\s|\\\r?\n|#[^\n\r]*)++")
_QUOTE: Final = re.compile(r"(?i:(?P<prefix>[rub]|br|rb|[ft]r?|r[ft])?)(?P<quote>\"\"\"|'''|\"|')")
_WORD: Final = re.compile(r"\w++")
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")


@dataclass(slots=True)
class _Level:
    """One level of a string with fields: its text, a field's code, or a field's format."""

    mode: Literal["text", "code", "format"]
    quote: str
    raw: bool
    depth: int = 0  # brackets open in the code


def scan(source: str, position: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the offset and the text of each token, from a position on that begins one.

    Between the tokens is white space and comments only. Text of a string is part of the token that
    begins or resumes it, as in `}, {`, so that a token always begins with code. The time grows with
    the length alone.
    """
    levels: list[_Level] = []
    while position < len(source):
        space = _SPACE.match(source, position)
        if space:
            position = space.end()
            continue
        end = _code_end(source, position, levels)
        while levels and levels[-1].mode != "code":
            end = _text_end(source, end, levels)
        yield position, source[position:end]
        position = end


def _code_end(source: str, position: int, levels: list[_Level]) -> int:
    """Return where the token of code ends that begins here."""
    opening = _QUOTE.match(source, position)
    if opening:
        prefix, quote = (opening["prefix"] or "").lower(), opening["quote"]
        if "f" in prefix or "t" in prefix:
            levels.append(_Level("text", quote, "r" in prefix))
            return opening.end()
        return _match_end(_string(quote), source, opening.end())
    word = _WORD.match(source, position)
    if word:
        return word.end()
    if levels:
        _count_bracket(source[position], levels)
    return position + 1


def _count_bracket(character: str, levels: list[_Level]) -> None:
    level = levels[-1]
    if character in _OPENING:
        level.depth += 1
    elif level.depth and character in _CLOSING:
        level.depth -= 1
    elif character == "}":
        levels.pop()
    elif character == ":" and not level.depth:
        level.mode = "format"


def _text_end(source: str, position: int, levels: list[_Level]) -> int:
    """Return where a piece of text ends; nothing of it is code."""
    level = levels[-1]
    end = _match_end(_text(level.quote, level.raw, level.mode), source, position)
    if source.startswith("{", end):
        levels.append(_Level("code", level.quote, level.raw))
        return end + 1
    if source.startswith("}", end):  # of a format; in a text it was matched
        levels.pop()
        return end + 1
    if source.startswith(level.quote, end):
        end += len(level.quote)
    # Its quote, or the end of a line that a string like this does not pass.
    while levels.pop().mode != "text":
        pass
    return end


def _match_end(pattern: re.Pattern[str], source: str, position: int) -> int:
    match = pattern.match(source, position)
    return match.end() if match else position


@functools.cache
def _string(quote: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{_plain(quote, '')}|\\(?:\r\n|.|\Z))*+(?:{quote})?", re.DOTALL)


@functools.cache
def _text(quote: str, raw: bool, mode: str) -> re.Pattern[str]:
    pieces = [_plain(quote, "{}"), r"\\(?:\r\n|[^{}]|\Z|(?=[{}]))"]
    if mode == "text":
        pieces += [r"\{\{", r"\}"]
        if not raw:
            pieces.insert(0, r"\\N\{[^{}\n]*\}")
    return re.compile(f"(?:{'|'.join(pieces)})*+", re.DOTALL)


def _plain(quote: str, special: str) -> str:
    """Return the pattern of a character that neither ends a string nor means something in it."""
    letter = quote[0]
    if len(quote) == 1:
        return rf"[^\\\n\r{letter}{special}]"
    return rf"[^\\{letter}{special}]|{letter}(?!{letter}{letter})"

"""A tokenizer for JavaScript and TypeScript, made to move tokens about, not to judge programs.

Pure. It never fails: what it does not understand becomes a token of one character. The text between
tokens is white space and comments only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Token(NamedTuple):
    """One token: its text, and where it starts (line and column from 0)."""

    text: str
    line: int
    column: int


_REGEX: Final = re.compile(r"/(?:[^/\\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+/[\w$]*")
_TEMPLATE: Final = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)?", re.DOTALL)
# White space and comments, then the token: a word, a number, a string, or a sign. A sign may turn
# out to begin a regular expression or a template.
_TOKEN: Final = re.compile(
    r"(?:\s+|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))*+"
    r"(?:((?:[#@]|(?!\d))(?:[\w$]+|\\u\{[0-9a-fA-F]+\}|\\u[0-9a-fA-F]{4})++)"
    r"|(0[xX][0-9a-fA-F_]+n?|0[oO][0-7_]+n?|0[bB][01_]+n?"
    r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?n?)"
    r"|('(?:[^'\\\n]+|\\.)*+'?|\"(?:[^\"\\\n]+|\\.)*+\"?)"
    r"|(>>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?"
    r"|\?\.(?![0-9])|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|\*\*|.))",
    # ">>" is left as two tokens: in types it closes two brackets.
    re.DOTALL,
)
_SIGN: Final = 4  # its group
_NESTING_SIGNS: Final = frozenset("/(){}`")
_NEWLINE: Final = re.compile(r"\r\n|[\n\r\u2028\u2029]")

# After these a slash begins a regular expression; after any other word it divides.
_BEFORE_REGEX: Final = frozenset(
    "return typeof instanceof in of new delete void throw case do else yield await default".split()
)
# After the parenthesis that these open and it closes, a statement begins.
_BEFORE_HEAD: Final = frozenset("if while for with".split())


def has_break(text: str) -> bool:
    """Whether a text goes on in another line."""
    return _NEWLINE.search(text) is not None


def line_starts(source: str) -> list[int]:
    """Return the offset at which each line begins."""
    return [0, *(match.end() for match in _NEWLINE.finditer(source))]


def tokenize(source: str) -> list[Token]:
    """Split a program into its tokens, in a time that grows with its length alone."""
    tokens: list[Token] = []
    starts = [*line_starts(source), len(source) + 1]
    line = line_start = 0
    for offset, text in scan(source):
        while starts[line + 1] <= offset:
            line += 1
            line_start = starts[line]
        tokens.append(Token(text, line, offset - line_start))
    return tokens


def scan(source: str, position: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the offset and the text of each token, from a position on that begins one."""
    nesting = _Nesting()
    last = ""
    while (found := _TOKEN.match(source, position)) is not None:
        kind = found.lastindex or _SIGN  # one of the groups always matches
        text = found[kind]
        position = found.end()
        start = position - len(text)
        if kind == _SIGN and text[0] in _NESTING_SIGNS:
            text = nesting.read(source, start, text, last)
            position = start + len(text)
        else:
            nesting.after_head = False
        yield start, text
        last = text


class _Nesting:
    """What is open where a sign stands, which decides what the sign is."""

    __slots__ = ("after_head", "barren", "depth", "heads", "templates")

    def __init__(self) -> None:
        self.depth = 0
        self.templates: list[int] = []  # brace depth at which each open template goes on
        self.heads: list[
            bool
        ] = []  # for each open parenthesis, whether a statement's word is before
        self.after_head = False
        self.barren = 0  # up to here no regular expression begins: one that did would have no end

    def read(self, source: str, start: int, text: str, last: str) -> str:
        """Return the token that begins with this sign, behind the token `last`."""
        first, after_head, self.after_head = text[0], self.after_head, False
        if first == "/":
            if start >= self.barren and (after_head or _regex_allowed(last)):
                return self._regex(source, start) or text
        elif first == "(":
            self.heads.append(last in _BEFORE_HEAD)
        elif first == ")":
            self.after_head = bool(self.heads) and self.heads.pop()
        elif first == "{":
            self.depth += 1
        elif first == "`":
            return self._template(source, start)
        elif self.templates and self.templates[-1] == self.depth:
            self.templates.pop()
            return self._template(source, start)
        else:
            self.depth -= 1
        return text

    def _regex(self, source: str, start: int) -> str:
        found = _REGEX.match(source, start)
        if found is None:
            self.barren = _line_end(source, start)
            return ""
        return found[0]

    def _template(self, source: str, start: int) -> str:
        rest = _TEMPLATE.match(source, start + 1)
        text = source[start : start + 1 if rest is None else rest.end()]
        if text.endswith("${"):
            self.templates.append(self.depth)
        return text


def _line_end(source: str, position: int) -> int:
    end = source.find("\n", position)
    return len(source) if end < 0 else end


def _regex_allowed(last: str) -> bool:
    if not last or last in _BEFORE_REGEX:
        return True
    if last[-1] in ")]}`'\"" or last in {"++", "--"}:
        return last == "}"  # a block more often than an object; a wrong guess is harmless here
    return not (last[0].isalnum() or last[0] in "_$#" or ord(last[0]) > 127)  # noqa: PLR2004

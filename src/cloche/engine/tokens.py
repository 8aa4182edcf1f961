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


_SPACE: Final = re.compile(r"(?:\s|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))+", re.DOTALL)
_WORD: Final = re.compile(r"[#@]?(?:[\w$]|\\u\{[0-9a-fA-F]+\}|\\u[0-9a-fA-F]{4})+")
_NUMBER: Final = re.compile(
    r"0[xX][0-9a-fA-F_]+n?|0[oO][0-7_]+n?|0[bB][01_]+n?"
    r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?n?"
)
_STRING: Final = re.compile(r"'(?:[^'\\\n]|\\.)*'?|\"(?:[^\"\\\n]|\\.)*\"?", re.DOTALL)
_REGEX: Final = re.compile(r"/(?:[^/\\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+/[\w$]*")
_TEMPLATE: Final = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)?", re.DOTALL)
_PUNCTUATOR: Final = re.compile(
    r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?![0-9])"
    r"|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|\*\*|.",
    # ">>" is left as two tokens: in types it closes two brackets.
    re.DOTALL,
)
_NEWLINE: Final = re.compile(r"\r\n|[\n\r\u2028\u2029]")

# After these a slash begins a regular expression; after any other word it divides.
_BEFORE_REGEX: Final = frozenset(
    "return typeof instanceof in of new delete void throw case do else yield await default".split()
)
# After the parenthesis that these open and it closes, a statement begins.
_BEFORE_HEAD: Final = frozenset("if while for with".split())


def line_starts(source: str) -> list[int]:
    """Return the offset at which each line begins."""
    return [0, *(match.end() for match in _NEWLINE.finditer(source))]


def tokenize(source: str) -> list[Token]:
    """Split a program into its tokens, in a time that grows with its length alone."""
    tokens: list[Token] = []
    position = line = line_start = 0
    for offset, text in scan(source):
        line, line_start = _advance(source, position, offset, line, line_start)
        position = offset
        tokens.append(Token(text, line, offset - line_start))
    return tokens


def scan(source: str, position: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the offset and the text of each token, from a position on that begins one."""
    last = ""
    templates: list[int] = []  # brace depth at which each open template goes on
    heads: list[bool] = []  # for each open parenthesis, whether a statement's word is before it
    barren = 0  # up to here no regular expression begins: one that did would have no end
    depth = 0
    after_head = False
    while position < len(source):
        space = _SPACE.match(source, position)
        if space:
            position = space.end()
            continue
        may_be_regex = (
            source[position] == "/" and position >= barren and (after_head or _regex_allowed(last))
        )
        end = _token_end(
            source,
            position,
            in_template=_resumes(source, position, templates, depth),
            may_be_regex=may_be_regex,
        )
        text = source[position:end]
        if may_be_regex and text in {"/", "/="}:
            barren = _line_end(source, position)
        if text == "{":
            depth += 1
        elif text[0] == "}":
            if templates and templates[-1] == depth:
                templates.pop()
            else:
                depth -= 1
        if text[0] in "`}" and text.endswith("${"):
            templates.append(depth)
        after_head = text == ")" and bool(heads) and heads.pop()
        if text == "(":
            heads.append(last in _BEFORE_HEAD)
        yield position, text
        last = text
        position = end


def _resumes(source: str, position: int, templates: list[int], depth: int) -> bool:
    return source[position] == "}" and bool(templates) and templates[-1] == depth


def _advance(source: str, start: int, end: int, line: int, line_start: int) -> tuple[int, int]:
    for newline in _NEWLINE.finditer(source, start, end):
        line, line_start = line + 1, newline.end()
    return line, line_start


def _line_end(source: str, position: int) -> int:
    end = source.find("\n", position)
    return len(source) if end < 0 else end


def _token_end(source: str, position: int, *, in_template: bool, may_be_regex: bool) -> int:
    first = source[position]
    if first == "`" or in_template:
        match = _TEMPLATE.match(source, position + 1)
        return match.end() if match else position + 1
    if first in "'\"":
        pattern = _STRING
    elif first.isdigit() or (first == "." and source[position + 1 : position + 2].isdigit()):
        pattern = _NUMBER
    elif may_be_regex:
        pattern = _REGEX
    elif first in "#@\\$_" or first.isalnum() or ord(first) > 127:  # noqa: PLR2004 - ASCII
        pattern = _WORD
    else:
        pattern = _PUNCTUATOR
    match = pattern.match(source, position) or _PUNCTUATOR.match(source, position)
    return match.end() if match else position + 1


def _regex_allowed(last: str) -> bool:
    if not last or last in _BEFORE_REGEX:
        return True
    if last[-1] in ")]}`'\"" or last in {"++", "--"}:
        return last == "}"  # a block more often than an object; a wrong guess is harmless here
    return not (last[0].isalnum() or last[0] in "_$#" or ord(last[0]) > 127)  # noqa: PLR2004

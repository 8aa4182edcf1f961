"""Finds the scripts in a model's text.

Owns the tags: `<tool-calls lang="ts|js|python">` … `</tool-calls>`.
Invariants:
- the parts that are found, put together, are the text: nothing is lost, added or moved;
- a tag in a code span or a fenced block of Markdown is text, and so is one with other letters;
- what ends a program is the first closing tag that stands in its code: one in a string, a
  template, a regular expression or a comment is part of the program;
- what is wrong with a block is data, an error for the model; nothing of such a block may run;
- the time grows with the length of the text alone.

It does not judge programs: that is left to whoever compiles them.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cloche.engine import tokens
from cloche.script import python_tokens
from cloche.script.errors import ScriptError, ScriptSyntaxError, ScriptTagError, ScriptTooLargeError
from cloche.script.markdown import next_visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.limits import Limits
    from cloche.limits.script_groups import ScriptsLimits

Language = Literal["javascript", "typescript", "python"]

LANGUAGES: Final[dict[str, Language]] = {
    "js": "javascript",
    "javascript": "javascript",
    "ts": "typescript",
    "typescript": "typescript",
    "py": "python",
    "python": "python",
}
_TAG: Final = re.compile(
    r"<tool-calls(?P<attributes>(?:\s[^<>]{0,200})?)(?P<self>/?)>|(?P<closing></tool-calls\s*>)"
)
_ATTRIBUTES: Final = re.compile(
    r"\s*(?:lang\s*=\s*(?P<quote>[\"']?)(?P<language>\w+)(?P=quote)\s*)?"
)
_BLANK_LINES: Final = re.compile(r"\A(?:[ \t\r]*\n)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Text that is not a script, `raw` as it was."""

    start: int
    raw: str


BYTE_ORDER_MARK_WARNING: Final = "a byte order mark before the program was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptPart:
    """A program to run.

    Args:
        start: offset in the text.
        raw: the whole block with its tags.
        source: the program, without the blank lines around it.
        language: in which it is written.
        line: line of the text, from 1, where the program begins.
        warnings: what was changed in it.
    """

    start: int
    raw: str
    source: str
    language: Language
    line: int
    warnings: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The hash that names the program, 64 hexadecimal digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPart:
    """A block that cannot run, `raw` as it was, and why."""

    start: int
    raw: str
    error: ScriptError


Part: TypeAlias = TextPart | ScriptPart | BrokenPart


def find(text: str, *, limits: Limits, default: Language = "typescript") -> tuple[Part, ...]:
    """Return the parts of a model's text, in order.

    Args:
        text: what the model wrote; other people's text must not be searched.
        limits: of the group `scripts`.
        default: the language of a block that names none.
    """
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    limit_bytes = limits.scripts.message_limit_bytes
    if size_bytes > limit_bytes:
        error = ScriptTooLargeError(
            what="message",
            limit="scripts.message_limit_bytes",
            limit_bytes=limit_bytes,
            found_bytes=size_bytes,
        )
        return (BrokenPart(start=0, raw=text, error=error),)
    return tuple(_Search(text, limits, default).parts())


def program_error(source: str, language: Language, *, limits: Limits) -> ScriptError | None:
    """Return what is wrong with a program that stands alone, before anything looks into it.

    Args:
        source: the program.
        language: of it.
        limits: of the group `scripts`.
    """
    try:
        size_bytes = len(source.encode())
    except UnicodeEncodeError:
        return ScriptSyntaxError("it holds half of a surrogate pair, not Unicode text")
    if size_bytes > limits.scripts.source_limit_bytes:
        return _too_large(size_bytes, limits.scripts)
    return ScriptSyntaxError("there is no program in it") if _is_empty(source, language) else None


def _too_large(size_bytes: int, limits: ScriptsLimits) -> ScriptTooLargeError:
    return ScriptTooLargeError(
        what="script",
        limit="scripts.source_limit_bytes",
        limit_bytes=limits.source_limit_bytes,
        found_bytes=size_bytes,
    )


def _is_empty(source: str, language: Language) -> bool:
    return next(_scanner(language)(source, 0), None) is None


class _Search:
    """One search; knows the line it is at."""

    def __init__(self, text: str, limits: Limits, default: Language) -> None:
        self._text = text
        self._limits = limits.scripts
        self._default = default
        self._counted = (0, 1)  # an offset and its line

    def parts(self) -> Iterator[Part]:
        position = count = 0
        while (tag := next_visible(_TAG, self._text, position)) is not None:
            if tag.start() > position:
                yield self._text_part(position, tag.start())
            count += 1
            if count > self._limits.block_count_max:
                yield self._broken(
                    tag.start(),
                    len(self._text),
                    "count",
                    f"a message may have {self._limits.block_count_max} scripts "
                    "(scripts.block_count_max). Send the others in the next message",
                )
                return
            part = self._block(tag)
            yield part
            position = part.start + len(part.raw)
        if position < len(self._text):
            yield self._text_part(position, len(self._text))

    def _text_part(self, start: int, end: int) -> TextPart:
        return TextPart(start=start, raw=self._text[start:end])

    def _block(self, tag: re.Match[str]) -> ScriptPart | BrokenPart:
        start = tag.start()
        if tag["closing"]:
            return self._broken(
                start, tag.end(), "unopened", "a closing tag stands without its opening tag"
            )
        if tag["self"]:
            return self._broken(start, tag.end(), "empty", "there is no program in it")
        attributes = _ATTRIBUTES.fullmatch(tag["attributes"])
        name = attributes["language"] if attributes else None
        language = LANGUAGES.get(name) if name else self._default
        end = _find_end(self._text, tag.end(), language or self._default)
        if end.problem == "nested":
            return self._broken(
                start,
                end.after,
                "nested",
                "there is another <tool-calls> in it. Close the first before the second",
            )
        if end.problem == "unclosed":
            return self._broken(start, end.after, "unclosed", self._unclosed_advice(end))
        if attributes is None or language is None:
            advice = 'the only attribute is lang, one of "ts", "js" and "python"'
            return self._broken(start, end.after, "attribute", advice)
        return self._program(start, tag.end(), end, language)

    def _program(
        self, start: int, begin: int, end: _End, language: Language
    ) -> ScriptPart | BrokenPart:
        whole = self._text[begin : end.before]
        source = _BLANK_LINES.sub("", whole.removeprefix("\ufeff"), count=1)
        line = self._line(begin + len(whole) - len(source))
        source = source.rstrip()
        if language == "python" and source[:1] in {" ", "\t"}:
            source = textwrap.dedent(source)
        try:
            size_bytes = len(source.encode())
        except UnicodeEncodeError:
            return self._broken(
                start, end.after, "encoding", "it holds half of a surrogate pair, not Unicode text"
            )
        raw = self._text[start : end.after]
        if size_bytes > self._limits.source_limit_bytes:
            error = _too_large(size_bytes, self._limits)
            return BrokenPart(start=start, raw=raw, error=error)
        if _is_empty(source, language):
            return self._broken(start, end.after, "empty", "there is no program in it")
        warnings = (BYTE_ORDER_MARK_WARNING,) if whole.startswith("\ufeff") else ()
        return ScriptPart(
            start=start, raw=raw, source=source, language=language, line=line, warnings=warnings
        )

    def _unclosed_advice(self, end: _End) -> str:
        if end.hidden is None:
            return "its closing tag </tool-calls> is missing"
        line = self._line(end.hidden)
        return (
            f"the closing tag at line {line} stands in a string or a comment of the program. End "
            "that first, and put the tag on a line of its own"
        )

    def _broken(
        self,
        start: int,
        end: int,
        problem: Literal[
            "unclosed", "unopened", "nested", "empty", "attribute", "encoding", "count"
        ],
        advice: str,
    ) -> BrokenPart:
        error = ScriptTagError(problem, line=self._line(start), advice=advice)
        return BrokenPart(start=start, raw=self._text[start:end], error=error)

    def _line(self, offset: int) -> int:
        at, line = self._counted
        if offset < at:
            return line - self._text.count("\n", offset, at)
        line += self._text.count("\n", at, offset)
        self._counted = (offset, line)
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Where a program ends: `before` its closing tag, and `after` it.

    `hidden` is where a closing tag stands that is part of the program, the last one.
    """

    before: int
    after: int
    problem: Literal["unclosed", "nested"] | None = None
    hidden: int | None = None


def _scanner(language: Language) -> Callable[[str, int], Iterator[tuple[int, str]]]:
    return python_tokens.scan if language == "python" else tokens.scan


def _find_end(text: str, begin: int, language: Language) -> _End:
    depth = 1
    hidden: int | None = None
    nested = False
    scan = _scanner(language)
    tags = _TAG.finditer(text, begin)
    tag = next(tags, None)
    stream = scan(text, begin)
    while tag is not None:
        offset = next((offset for offset, _ in stream if offset >= tag.start()), len(text))
        while tag is not None and tag.start() < offset:
            hidden = tag.start() if tag["closing"] else hidden
            tag = next(tags, None)
        if tag is None or tag.start() > offset:
            # Between two tokens, or in a later one: go on behind this token.
            continue
        if tag["closing"]:
            depth -= 1
            if not depth:
                problem: Literal["nested"] | None = "nested" if nested else None
                return _End(before=tag.start(), after=tag.end(), problem=problem)
        elif not tag["self"]:
            depth, nested = depth + 1, True
        # The tag itself is not code: it would begin a regular expression.
        stream = scan(text, tag.end())
        tag = next(tags, None)
    problem_left: Literal["nested", "unclosed"] = "nested" if nested else "unclosed"
    return _End(before=len(text), after=len(text), problem=problem_left, hidden=hidden)

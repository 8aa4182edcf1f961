"""What a reader of Markdown sees as text, and what as code.

Pure. Knows fenced blocks and code spans, and nothing else of Markdown: a tag in an indented block
is text, since models indent what they mean. Where Markdown leaves a doubt:
- a line that begins with what is looked for is a block of its own: no code span reaches past it;
- a fence may be indented or quoted as deep as it likes, and one that is not closed goes on to the
  end of the text, or of the quotation that it stands in.
"""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = re.compile(
    r"(?P<prefix>[ \t]*+(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*+)*+)"
    r"(?P<fence>`{3,}+(?=[^`\n]*(?:\n|\Z))|~{3,})"
)
_FENCE_END: Final = re.compile(r"[ \t]*(?:>[ \t]*)*(?P<fence>`{3,}|~{3,})[ \t\r]*(?:\n|\Z)")
_QUOTED: Final = re.compile(r"[ \t]*>")
_BLANK: Final = re.compile(r"[ \t\r]*(?:\n|\Z)")
_INDENT: Final = re.compile(r"[ \t]*")
_TICKS: Final = re.compile(r"(?<!\\)(?P<escapes>\\*+)(?P<ticks>`++)")


def next_visible(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str] | None:
    """Return the first match from a position on that is not code, or None.

    Args:
        pattern: begins with another character than a backtick, and matches no line's start alone.
        text: Markdown.
        position: 0, or the end of a match.
    """
    at_line_start = position == 0
    while position < len(text):
        if at_line_start:
            fence = _FENCE.match(text, position)
            if fence:
                position = _fence_end(text, fence)
                continue
        end = _paragraph_end(pattern, text, position)
        match = _first_outside_spans(pattern, text, position, end)
        if match:
            return match
        position, at_line_start = end, True
    return None


def _fence_end(text: str, fence: re.Match[str]) -> int:
    opening, quoted = fence["fence"], ">" in fence["prefix"]
    position = _line_end(text, fence.end())
    while position < len(text):
        if quoted and not _QUOTED.match(text, position):
            return position
        closing = _FENCE_END.match(text, position)
        if closing and closing["fence"].startswith(opening):
            return closing.end()
        position = _line_end(text, position)
    return len(text)


def _line_end(text: str, position: int) -> int:
    """Return where the next line begins."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _paragraph_end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return the start of the next line that is no more of the same paragraph."""
    while (position := _line_end(text, position)) < len(text):
        if _BLANK.match(text, position) or _FENCE.match(text, position):
            return position
        indent = _INDENT.match(text, position)
        if indent and pattern.match(text, indent.end()):
            return position
    return len(text)


def _first_outside_spans(
    pattern: re.Pattern[str], text: str, start: int, end: int
) -> re.Match[str] | None:
    match = pattern.search(text, start, end)
    if match is None:
        return None
    runs = [
        (run.start("ticks"), run.end(), len(run["escapes"]) % 2)
        for run in _TICKS.finditer(text, start, end)
    ]
    last = {after - begin: begin for begin, after, _ in runs}
    position = start
    index = 0
    while index < len(runs):
        begin, after, escaped = runs[index]
        index += 1
        begin += escaped  # a backslash makes one backtick plain text
        size = after - begin
        if last.get(size, -1) <= begin:
            continue  # nothing closes it: it is text
        if match.start() < begin:
            break
        while runs[index][1] - runs[index][0] != size:
            index += 1
        position = runs[index][1]
        index += 1
        if match.start() < position:
            match = pattern.search(text, position, end)
            if match is None:
                return None
    return match

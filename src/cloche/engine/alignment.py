"""Gives a reprinted program the positions of its original.

A type stripper prints the program anew: right, but every line and column of an error message is
then wrong. Here each token of the reprint is put back where the same token stands in the original.
Pure. Invariants:
- the result has exactly the tokens of the reprint, in order: whatever the alignment gets wrong, the
  program means the same (`align` checks this and otherwise returns the reprint);
- no line break appears where it would end a statement.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from cloche.engine.tokens import Token, has_break, line_starts, scan, tokenize

RUN_LENGTHS: Final = (6, 3, 1)  # tokens in a row that must agree, from the surest down
FULL_COMPARISON_MAX: Final = 40_000  # pairs of tokens

# A line break after these ends the statement, or changes what follows (ECMA-262, 12.10.1).
_NO_BREAK_AFTER: Final = frozenset(
    "return throw break continue yield async await static get set accessor let".split()
)
_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_NO_BREAK_BEFORE: Final = frozenset(("++", "--", "=>"))


def align(original: str, reprint: str) -> str:
    """Return `reprint` with its tokens at the positions they have in `original`.

    Args:
        original: the program as it was written.
        reprint: the same program, printed anew with parts erased.
    """
    before, after = tokenize(original), tokenize(reprint)
    placed = _place(after, _matches(before, after), _comments(reprint, after))
    return placed if _texts(placed) == [token.text for token in after] else reprint


def same_tokens(one: str, other: str) -> bool:
    """Whether two programs differ in white space and comments only."""
    return one == other or _texts(one) == _texts(other)


def _texts(program: str) -> list[str]:
    return [text for _, text in scan(program)]


def _matches(before: list[Token], after: list[Token]) -> list[Token | None]:
    """Return for each token of the reprint the one of the original that it is, or None."""
    left = [_normal(token.text) for token in before]
    right = [_normal(token.text) for token in after]
    found: list[Token | None] = [None] * len(right)
    pending = [(0, len(left), 0, len(right))]
    while pending:
        left_low, left_high, right_low, right_high = pending.pop()
        # What agrees at both ends needs no search.
        while (
            left_low < left_high and right_low < right_high and left[left_low] == right[right_low]
        ):
            found[right_low] = before[left_low]
            left_low, right_low = left_low + 1, right_low + 1
        while (
            left_low < left_high
            and right_low < right_high
            and left[left_high - 1] == right[right_high - 1]
        ):
            left_high, right_high = left_high - 1, right_high - 1
            found[right_high] = before[left_high]
        span = (left_low, left_high, right_low, right_high)
        anchors = _anchors(left, right, span)
        for (l1, r1), (l2, r2) in pairwise(((left_low, right_low), *anchors, span[1::2])):
            if l1 < l2 and r1 < r2 and (l1, l2, r1, r2) != span:
                pending.append((l1, l2, r1, r2))
    return found


def _normal(text: str) -> str:
    # The reprint chooses its own quotes.
    return "'" + text[1:-1] if text[0] in "'\"" else text


def _anchors(
    left: list[str], right: list[str], span: tuple[int, int, int, int]
) -> list[tuple[int, int]]:
    """Return pairs of positions, ascending in both, at which the same token surely stands.

    Patience diff: runs of tokens that occur once on each side; of those the longest ascending row.
    Short spans without such runs are compared in full.
    """
    left_low, left_high, right_low, right_high = span
    if left_low == left_high or right_low == right_high:
        return []
    for length in RUN_LENGTHS:
        ours = _unique_runs(left, left_low, left_high, length)
        theirs = _unique_runs(right, right_low, right_high, length)
        pairs = sorted((ours[run], theirs[run]) for run in ours.keys() & theirs.keys())
        row = _longest_ascending(pairs)
        if row and row != [(left_low, right_low)]:
            return row
    if (left_high - left_low) * (right_high - right_low) > FULL_COMPARISON_MAX:
        return []
    matcher = SequenceMatcher(
        None, left[left_low:left_high], right[right_low:right_high], autojunk=False
    )
    return [
        (left_low + block.a + offset, right_low + block.b + offset)
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    ]


def _unique_runs(texts: list[str], low: int, high: int, length: int) -> dict[tuple[str, ...], int]:
    seen: dict[tuple[str, ...], int] = {}
    for position in range(low, high - length + 1):
        run = tuple(texts[position : position + length])
        seen[run] = -1 if run in seen else position
    return {run: position for run, position in seen.items() if position >= 0}


def _longest_ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest row of pairs that ascends in the second number (patience sorting)."""
    tails: list[int] = []
    ends: list[int] = []
    previous: list[int] = []
    for index, (_, second) in enumerate(pairs):
        pile = bisect_left(tails, second)
        previous.append(ends[pile - 1] if pile else -1)
        tails[pile : pile + 1] = [second]
        ends[pile : pile + 1] = [index]
    row: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = previous[index]
    return row[::-1]


def _comments(reprint: str, tokens: list[Token]) -> list[str]:
    """Return the comments in stars before each token.

    They stay because printers put parentheses around a value with a comment before it: without the
    comment, the parentheses would not be printed again, and the program seem to be another.
    """
    starts = line_starts(reprint)
    found: list[str] = []
    end = 0
    for token in tokens:
        begin = starts[token.line] + token.column
        apart = (
            " " if reprint.endswith("/", 0, end) else ""
        )  # a slash would make them another thing
        comment = "".join(_COMMENT.findall(reprint, end, begin))
        found.append(comment and apart + comment)
        end = begin + len(token.text)
    return found


def _place(tokens: list[Token], places: list[Token | None], comments: list[str]) -> str:
    out: list[str] = []
    line = column = 0
    for index, token in enumerate(tokens):
        place = places[index]
        gap = _gap(tokens, index)
        if comments[index]:
            out.append(comments[index])
            line, column = _end(line, column, comments[index])
            # A break inside the comment counts as one behind it.
            gap = "" if "\n" in comments[index] else gap.strip(" ")
        if place is not None and place.line > line and _may_break(tokens, index):
            gap = "\n" * (place.line - line) + " " * place.column
        elif place is not None and place.line == line and place.column > column + len(gap):
            gap = " " * (place.column - column)
        text = gap + token.text
        out.append(text)
        line, column = _end(line, column, text)
    return "".join(out) + "\n"


def _end(line: int, column: int, text: str) -> tuple[int, int]:
    """Return where a text ends that starts there."""
    if not has_break(text):
        return line, column + len(text)
    starts = line_starts(text)
    return line + len(starts) - 1, len(text) - starts[-1]


def _gap(tokens: list[Token], index: int) -> str:
    """Return the least space between a token and the one before it."""
    if index == 0:
        return ""
    before, token = tokens[index - 1], tokens[index]
    line, column = _end(before.line, before.column, before.text)
    if token.line == line:
        return " " if token.column > column else ""
    # The reprint broke the line here; a statement may end by that, so the break stays.
    return "\n" if before.text not in "{}[](,;" and token.text not in "})];," else " "


def _may_break(tokens: list[Token], index: int) -> bool:
    if index == 0:
        return True
    before, token = tokens[index - 1], tokens[index]
    if token.text in _NO_BREAK_BEFORE or before.text in _NO_BREAK_AFTER:
        return token.line != before.line
    return True

"""Unified diffs: what they say, and what they make of files. Pure.

Owns the reading of a patch and its application to texts. Invariants:
- all or nothing: a patch that does not fit anywhere changes nothing at all;
- a hunk fits where its lines stand, exactly; it may have moved, but never to two places at once;
- `reverse` of a patch that was applied undoes it.

Paths are texts here; `adapters.workspace` keeps them inside their folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from cloche.errors import ClocheError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["add", "delete", "update"]

NOWHERE: Final = "/dev/null"
_HUNK: Final = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_NO_NEWLINE: Final = "\\"


class PatchError(ClocheError):
    """A patch cannot be read, or does not fit. State: nothing was changed."""

    code = "PATCH_INVALID"
    blame = "guest"
    retryable = True

    def __init__(self, problem: str, *, path: str = "", line: int | None = None) -> None:
        where = f"{path}: " if path else ""
        at = "" if line is None else f" (line {line} of the patch)"
        super().__init__(f"{where}{problem}{at}; nothing was changed", path=path, line=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One place that changes: the lines that stand there and those that will, with their ends.

    Args:
        start: where, from 0; a hint.
        before: lines, context included.
        after: the same.
        line: of the patch, for errors.
    """

    start: int
    before: tuple[str, ...]
    after: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePatch:
    """What happens to one file."""

    path: str
    kind: Kind
    hunks: tuple[Hunk, ...]


def read_patch(text: str) -> tuple[FilePatch, ...]:
    """Return what a unified diff says.

    Lines between files, such as those of `git diff`, are skipped. `a/` and `b/` are taken off when
    both sides have them.

    Raises:
        PatchError: it is none, names a file twice, or renames one.
    """
    lines = _lines(text)
    patches: list[FilePatch] = []
    index = 0
    while index < len(lines):
        if lines[index].startswith("--- ") and index + 1 < len(lines):
            patch, index = _read_file(lines, index)
            if any(patch.path == other.path for other in patches):
                raise PatchError("the patch has this file twice", path=patch.path, line=index)
            patches.append(patch)
        elif lines[index].startswith(("rename ", "copy ", "GIT binary patch", "Binary files ")):
            raise PatchError("files cannot be renamed or binary here", line=index + 1)
        elif lines[index].startswith("@@"):
            raise PatchError("a hunk without the two lines `---` and `+++`", line=index + 1)
        else:
            index += 1
    if not patches:
        raise PatchError("there is no change in it: a file begins with `--- a/path`, `+++ b/path`")
    return tuple(patches)


def apply(patch: FilePatch, content: str | None) -> str | None:
    """Return a file's new text, None where it is gone.

    Args:
        patch: of this file.
        content: what it is now; None if it is not there.

    Raises:
        PatchError: it does not fit.
    """
    if patch.kind == "add":
        if content is not None:
            raise PatchError("it is there already, and the patch adds it", path=patch.path)
        content = ""
    elif content is None:
        raise PatchError("it is not there", path=patch.path)
    lines = _lines(content)
    moved = floor = 0
    for hunk in patch.hunks:
        place = _place(lines, hunk, hunk.start + moved, floor, patch.path)
        lines[place : place + len(hunk.before)] = hunk.after
        moved = place - hunk.start + len(hunk.after) - len(hunk.before)
        floor = place + len(hunk.after)
    if patch.kind != "delete":
        return "".join(lines)
    if lines:
        raise PatchError("it has more lines than the patch deletes", path=patch.path)
    return None


def reverse(patch: FilePatch) -> FilePatch:
    """Return the patch that undoes this one."""
    kinds: dict[Kind, Kind] = {"add": "delete", "delete": "add", "update": "update"}
    moved = 0
    hunks = []
    for hunk in patch.hunks:
        start = hunk.start + moved
        hunks.append(replace(hunk, start=start, before=hunk.after, after=hunk.before))
        moved += len(hunk.after) - len(hunk.before)
    return replace(patch, kind=kinds[patch.kind], hunks=tuple(hunks))


def apply_all(
    patches: tuple[FilePatch, ...], contents: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Return the new text of every file of a patch.

    Raises:
        PatchError: one does not fit.
    """
    return {patch.path: apply(patch, contents[patch.path]) for patch in patches}


def _lines(text: str) -> list[str]:
    # Lines end where a diff ends them; `splitlines` knows ten more characters that do not.
    return _LINE.findall(text)


def _read_file(lines: list[str], index: int) -> tuple[FilePatch, int]:
    old, new = _name(lines[index], "--- ", index), _name(lines[index + 1], "+++ ", index + 1)
    if old.startswith("a/") and new.startswith("b/"):
        old, new = old[2:], new[2:]
    elif old == NOWHERE:
        new = new.removeprefix("b/")
    elif new == NOWHERE:
        old = old.removeprefix("a/")
    if old == new == NOWHERE:
        raise PatchError("both sides are /dev/null", line=index + 1)
    if NOWHERE not in {old, new} and old != new:
        raise PatchError(f"it names {old} and {new}; files cannot be renamed", line=index + 1)
    kind: Kind = "add" if old == NOWHERE else "delete" if new == NOWHERE else "update"
    path = new if kind == "add" else old
    hunks: list[Hunk] = []
    index += 2
    while index < len(lines) and lines[index].startswith("@@"):
        hunk, index = _read_hunk(lines, index, path)
        hunks.append(hunk)
    if not hunks and kind == "update":
        raise PatchError("the patch says no change of it", path=path, line=index)
    return FilePatch(path=path, kind=kind, hunks=tuple(hunks)), index


def _name(line: str, mark: str, index: int) -> str:
    if not line.startswith(mark):
        raise PatchError(f"expected a line that begins with `{mark.strip()}`", line=index + 1)
    name = line[len(mark) :].rstrip("\r\n").split("\t", 1)[0]
    if not name:
        raise PatchError("a file without a name", line=index + 1)
    return name


def _read_hunk(lines: list[str], index: int, path: str) -> tuple[Hunk, int]:
    header = _HUNK.match(lines[index])
    if header is None:
        expected = "expected `@@ -line,count +line,count @@`"
        raise PatchError(expected, path=path, line=index + 1)
    start = int(header[1])
    before_count = 1 if header[2] is None else int(header[2])
    after_count = 1 if header[4] is None else int(header[4])
    first = index + 1
    before: list[str] = []
    after: list[str] = []
    index += 1
    while index < len(lines) and (len(before) < before_count or len(after) < after_count):
        mark, rest = lines[index][:1], lines[index][1:]
        if mark in {"\n", "\r"}:  # an empty line whose space was lost on the way
            mark, rest = " ", lines[index]
        if mark not in {" ", "-", "+", _NO_NEWLINE}:
            break
        if mark in {" ", "-"}:
            before.append(rest)
        if mark in {" ", "+"}:
            after.append(rest)
        if mark == _NO_NEWLINE:
            _strip_end(lines[index - 1][:1], before, after)
        index += 1
    if index < len(lines) and lines[index].startswith(_NO_NEWLINE):
        _strip_end(lines[index - 1][:1], before, after)
        index += 1
    if (len(before), len(after)) != (before_count, after_count):
        found = f"-{len(before)} +{len(after)}, its header says -{before_count} +{after_count}"
        raise PatchError(f"a hunk has the lines {found}", path=path, line=first)
    at = start if before_count == 0 else max(start - 1, 0)
    return Hunk(start=at, before=tuple(before), after=tuple(after), line=first), index


def _strip_end(mark: str, before: list[str], after: list[str]) -> None:
    for lines, marks in ((before, " -"), (after, " +")):
        if lines and mark in marks:
            lines[-1] = lines[-1].rstrip("\r\n")


def _place(lines: list[str], hunk: Hunk, hint: int, floor: int, path: str) -> int:
    """Return where a hunk fits: at its hint, else at the only other place."""
    size = len(hunk.before)
    if floor <= hint <= len(lines) - size and tuple(lines[hint : hint + size]) == hunk.before:
        return hint
    if size == 0:
        return min(max(hint, floor), len(lines))
    places = [
        place
        for place in range(floor, len(lines) - size + 1)
        if lines[place] == hunk.before[0] and tuple(lines[place : place + size]) == hunk.before
    ]
    if len(places) == 1:
        return places[0]
    problem = "stand nowhere in it" if not places else f"stand at {len(places)} places in it"
    raise PatchError(f"the lines of a hunk {problem}", path=path, line=hunk.line)

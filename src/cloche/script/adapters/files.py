"""The files of a workspace as tools: read one, write one, list a folder, look for a text.

Owns what these take and give. Where paths lead is the workspace's: see there. Invariants:
- what is read is bounded before it is read: in files, in bytes, in lines;
- a search is for plain text and `*`, never for a regular expression: its time grows with the text.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.gate.ports import EffectFailure
from cloche.script.adapters.paths import told
from cloche.script.policy import match_glob
from cloche.script.tools import Tool, tool

if TYPE_CHECKING:
    from cloche.script.adapters.workspace import Workspace

PACK: Final = "files"
_ENTRY_COUNT_MAX: Final = 1000  # of one folder
_HIT_COUNT_MAX: Final = 1000
_HIT_CHARACTERS: Final = 500  # of a line that is shown
_READ_LIMIT_BYTES: Final = 64 * 1024 * 1024  # that one search reads
_KEPT_CHARACTERS_MAX: Final = 64 * 1024  # of a file that can be put back as it was


def file_tools(workspace: Workspace) -> tuple[Tool, ...]:
    """Return `readFile`, `writeFile`, `listDir` and `grepFiles` of a workspace."""

    def read_file(path: str, start: int = 1, count: int | None = None) -> str:
        """Read a text file, or some of its lines.

        Args:
            path: in the workspace.
            start: the first line, from 1.
            count: how many lines; all that follow if not given.
        """
        text = workspace.read(path)
        if text is None:
            raise EffectFailure("FILE", f"there is no file {path[:200]!r}")
        if start <= 1 and count is None:
            return text
        lines = text.splitlines(keepends=True)
        first = max(0, start - 1)
        return "".join(lines[first : None if count is None else first + max(0, count)])

    def write_file(path: str, text: str) -> dict[str, Any]:
        """Write a text file, and the folders that it needs.

        Args:
            path: in the workspace.
            text: all of it.
        """
        before = workspace.write(path, text)
        kept = before is None or len(before) <= _KEPT_CHARACTERS_MAX
        return {
            "path": path,
            "bytes": len(text.encode()),
            "created": before is None,
            "before": before if kept else None,
            "can_undo": kept,
        }

    def undo_write(args: dict[str, Any], result: Any) -> None:
        if not result["can_undo"]:
            raise EffectFailure("FILE", f"{args['path']} was too large to be kept")
        workspace.write(args["path"], result["before"])

    return (
        tool(name="readFile", read_only=True, pack=PACK)(told(read_file)),
        tool(name="writeFile", revert=undo_write, pack=PACK)(told(write_file)),
        *_looking_tools(workspace),
    )


def _looking_tools(workspace: Workspace) -> tuple[Tool, ...]:
    def list_dir(path: str = "") -> list[dict[str, Any]]:
        """List a folder, by name.

        Args:
            path: in the workspace; the workspace itself if not given.
        """
        entries = workspace.folder_entries(path, count_max=_ENTRY_COUNT_MAX)
        return [
            {
                "name": name,
                "kind": _kind(found.st_mode),
                "bytes": found.st_size if stat.S_ISREG(found.st_mode) else 0,
            }
            for name, found in entries
        ]

    def grep_files(
        text: str, path: str = "*", limit: int = 100, ignore_case: bool = False
    ) -> list[dict[str, Any]]:
        """Find lines of text files.

        Args:
            text: what a line has in it; `*` stands for anything.
            path: of the files that are looked at, with `*`.
            limit: how many lines to return.
            ignore_case: whether capitals do not matter.
        """
        return _grep(workspace, text, path, min(limit, _HIT_COUNT_MAX), ignore_case=ignore_case)

    return (
        tool(name="listDir", read_only=True, pack=PACK)(told(list_dir)),
        tool(name="grepFiles", read_only=True, pack=PACK)(told(grep_files)),
    )


def _grep(
    workspace: Workspace, text: str, path: str, limit: int, *, ignore_case: bool
) -> list[dict[str, Any]]:
    wanted = f"*{text.lower() if ignore_case else text}*"
    found: list[dict[str, Any]] = []
    left_bytes = _READ_LIMIT_BYTES
    for name in workspace.walk([]):
        if not match_glob(path, name):
            continue
        try:
            content = workspace.read(name) or ""
        except (ClocheError, OSError):
            continue  # no text, too large, or gone meanwhile
        left_bytes -= len(content)
        if left_bytes < 0:
            break
        for number, line in enumerate(content.splitlines(), 1):
            if len(found) >= limit:
                return found
            if match_glob(wanted, line.lower() if ignore_case else line):
                found.append({"path": name, "line": number, "text": line[:_HIT_CHARACTERS]})
    return found


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    return "link" if stat.S_ISLNK(mode) else "other"

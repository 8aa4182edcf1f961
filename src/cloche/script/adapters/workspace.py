"""A folder of ours that scripts may work in: `tools.applyPatch`, `tools.fileSearch` and `files`.

Owns the way from a path of a script to a file. Invariants:
- a path leads nowhere else: no `..`, no absolute path, no NUL, and no link is followed, wherever in
  the path it stands and whoever makes one meanwhile: every part is opened from the folder above it;
- a patch is applied whole or not at all: the new files are written beside the old ones first, and
  what was replaced is put back if one of them cannot be;
- `fileSearch` reads names, never contents.

Whoever makes a `Workspace` grants it; nothing is granted by itself.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import secrets
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.script.adapters.files import PACK, file_tools
from cloche.script.adapters.paths import DEPTH_MAX, PathError, parts_of, told
from cloche.script.patches import PatchError, apply_all, read_patch, reverse
from cloche.script.tools import Tool, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.script.patches import FilePatch

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_LIMIT_BYTES: Final = 16 * 1024 * 1024  # of a file that is patched
_VISIT_COUNT_MAX: Final = 200_000  # entries that one search looks at
_SEARCH_COUNT_MAX: Final = 1000  # paths that one search finds
_TOLD_COUNT_MAX: Final = 10  # files that a summary names
_HIDDEN: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})


class Workspace:
    """A folder that scripts may change.

    Args:
        folder: is there, and is ours; its own path may have links.

    Raises:
        PathError: it is no folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise PathError(str(folder), "is no folder")
        self._lock = threading.Lock()  # patches of this process do not mix

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The pack "files": `applyPatch` and `writeFile` ask, the others only read."""

        def apply_patch(patch: str) -> dict[str, Any]:
            """Change files by a unified diff: all of it, or nothing if a part does not fit.

            Args:
                patch: as `diff -u` and `git diff` write it; /dev/null adds or deletes a file.
            """
            return self.apply_patch(patch)

        def undo(args: dict[str, Any], result: Any) -> None:  # noqa: ARG001 - the port's shape
            self.undo_patch(args["patch"])

        def file_search(
            pattern: str, limit: int = 20, exclude: list[str] | None = None
        ) -> list[dict[str, Any]]:
            """Find files by their path: a part of it, its letters in order, or `*` and `?`.

            Args:
                pattern: what to look for; capitals do not matter.
                limit: how many to return, the best first.
                exclude: patterns with `*`; what fits one is left out.
            """
            return self.search(pattern, limit=limit, exclude=exclude or [])

        return (
            tool(name="applyPatch", revert=undo, pack=PACK)(told(apply_patch)),
            tool(name="fileSearch", read_only=True, pack=PACK)(told(file_search)),
            *file_tools(self),
        )

    # --- patches ---

    def apply_patch(self, text: str) -> dict[str, Any]:
        """Apply a unified diff and return `summary` and `changes`.

        Raises:
            PatchError: it cannot be read or does not fit; nothing was changed.
            PathError: it names a path that leads out.
        """
        return self._apply(read_patch(text))

    def undo_patch(self, text: str) -> dict[str, Any]:
        """Apply a diff the other way round."""
        return self._apply(tuple(reverse(patch) for patch in reversed(read_patch(text))))

    def _apply(self, patches: tuple[FilePatch, ...]) -> dict[str, Any]:
        with self._lock:
            contents = {patch.path: self.read(patch.path) for patch in patches}
            self._write(contents, apply_all(patches, contents))
        changes = [{"path": patch.path, "kind": patch.kind} for patch in patches]
        words = {"add": "added", "delete": "deleted", "update": "changed"}
        summary = ", ".join(
            f"{words[patch.kind]} {patch.path}" for patch in patches[:_TOLD_COUNT_MAX]
        )
        left = len(patches) - _TOLD_COUNT_MAX
        more = f" and {left} more" if left > 0 else ""
        return {"summary": summary + more, "changes": changes}

    def read(self, path: str) -> str | None:
        """Return the text of a file; None if there is none.

        Raises:
            PathError, PatchError: it leads out, is no file, is too large, or is no UTF-8 text.
        """
        try:
            with self._parent(path) as (folder, name):
                descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
                with os.fdopen(descriptor, "rb") as file:
                    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                        raise PathError(path, "is no file")
                    data = file.read(_FILE_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(data) > _FILE_LIMIT_BYTES:
            raise PathError(path, f"has more than {_FILE_LIMIT_BYTES} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise PatchError("it is no UTF-8 text", path=path) from None

    def write(self, path: str, text: str | None) -> str | None:
        """Put a text in place of a file's, None removes it; return what was there before."""
        with self._lock:
            before = self.read(path)
            self._write({path: before}, {path: text})
        return before

    def folder_entries(self, path: str, *, count_max: int) -> list[tuple[str, os.stat_result]]:
        """Return what a folder holds, by name, at most so much; "" or "." is the workspace."""
        with self._parent(path, as_folder=True) as (folder, _):
            found: list[tuple[str, os.stat_result]] = []
            for name in sorted(os.listdir(folder))[:count_max]:  # noqa: PTH208 - of a descriptor
                with suppress(OSError):
                    found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
        return found

    def _write(self, before: dict[str, str | None], after: dict[str, str | None]) -> None:
        """Put new contents in place of old ones, every one or none."""
        written: dict[str, str] = {}
        done: list[str] = []
        made: list[str] = []
        try:
            for path, text in after.items():
                if text is not None:
                    written[path] = self._write_beside(path, text, made)
            for path, text in after.items():
                done.append(path)
                self._replace(path, written[path] if text is not None else None)
                written.pop(path, None)
        except BaseException:
            for path in reversed(done):
                self._put_back(path, before[path])
            for path, beside in written.items():
                with suppress(OSError, ClocheError), self._parent(path) as (folder, _):
                    os.unlink(beside, dir_fd=folder)
            for path in reversed(made):
                with suppress(OSError, ClocheError), self._parent(path) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            raise

    def _write_beside(self, path: str, text: str, made: list[str]) -> str:
        with self._parent(path, made) as (folder, name):
            mode = 0o644
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
            beside = f".{secrets.token_hex(8)}.patch"
            descriptor = os.open(beside, _NEW_FLAGS, 0o600, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                os.fchmod(descriptor, mode)
                file.flush()
                os.fsync(descriptor)
        return beside

    def _replace(self, path: str, beside: str | None) -> None:
        with self._parent(path) as (folder, name):
            if beside is None:
                os.unlink(name, dir_fd=folder)
            else:
                os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _put_back(self, path: str, text: str | None) -> None:
        with suppress(OSError, ClocheError):
            if text is None:
                self._replace(path, None)
            else:
                self._replace(path, self._write_beside(path, text, []))

    @contextmanager
    def _parent(
        self, path: str, made: list[str] | None = None, *, as_folder: bool = False
    ) -> Iterator[tuple[int, str]]:
        """Open the folder that a path's last part stands in; see the module.

        Args:
            path: in the workspace.
            made: folders that are missing are made and added here; None: they are not made.
            as_folder: the path names a folder itself, and that is opened.
        """
        if as_folder:
            is_own = path in {"", ".", "./"}
            folders, name = ([] if is_own else parts_of(path.rstrip("/") or "/")), ""
        else:
            *folders, name = parts_of(path)
        descriptor = os.open(self.folder, _FOLDER_FLAGS)
        try:
            for depth, part in enumerate(folders, 1):
                if made is not None:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=descriptor)
                        made.append("/".join(folders[:depth]))
                below = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor, name
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise PathError(path, "leads through a link or a file") from None
            raise
        finally:
            os.close(descriptor)

    # --- search ---

    def search(
        self, pattern: str, *, limit: int = 20, exclude: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return paths and scores (0 to 1), the best first; equal ones by path."""
        wanted = pattern.lower()
        found: list[tuple[float, str]] = []
        for path in self.walk(exclude or []):
            score = _score(path.lower(), wanted)
            if score > 0:
                found.append((-score, path))
        found.sort()
        kept = found[: max(0, min(limit, _SEARCH_COUNT_MAX))]
        return [{"path": path, "score": round(-score, 3)} for score, path in kept]

    def walk(self, exclude: list[str]) -> Iterator[str]:
        """Yield the paths of files, in order, without hidden folders and what is left out."""
        visited = 0
        for root, folders, names, descriptor in os.fwalk(self.folder, follow_symlinks=False):
            below = Path(root).relative_to(self.folder)
            prefix = "" if below == Path() else f"{below.as_posix()}/"
            if len(below.parts) >= DEPTH_MAX:
                folders.clear()
            folders[:] = sorted(one for one in folders if one not in _HIDDEN)
            for name in sorted(names):
                visited += 1
                if visited > _VISIT_COUNT_MAX:
                    return
                path = prefix + name
                if any(fnmatch.fnmatchcase(path, one) for one in exclude):
                    continue
                with suppress(OSError):
                    mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                    if stat.S_ISREG(mode):
                        yield path


def _score(path: str, wanted: str) -> float:
    """Say how well a path fits: its name, a part of it, a pattern, its letters in order."""
    name = path.rpartition("/")[2]
    if not wanted or wanted in {path, name}:
        return 1.0
    if "*" in wanted or "?" in wanted:
        fits = fnmatch.fnmatchcase(path, wanted) or fnmatch.fnmatchcase(name, wanted)
        return 0.9 if fits else 0.0
    if wanted in name:
        return 0.6 + 0.3 * len(wanted) / len(name)
    if wanted in path:
        return 0.4 + 0.2 * len(wanted) / len(path)
    position = -1
    for letter in wanted:
        position = path.find(letter, position + 1)
        if position < 0:
            return 0.0
    return 0.3 * len(wanted) / len(path)

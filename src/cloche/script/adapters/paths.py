"""Paths that scripts write: what they may be, and how their errors reach a script."""

from __future__ import annotations

import functools
from typing import Any, Final

from cloche.errors import ClocheError
from cloche.gate.ports import EffectFailure
from cloche.script.patches import PatchError

DEPTH_MAX: Final = 64
_PATH_CHARACTERS_MAX: Final = 4096


class PathError(ClocheError):
    """A path that leads out of the folder, or to something that is no file. Nothing was changed."""

    code = "PATH_INVALID"
    blame = "guest"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"the path {path[:200]!r} {problem}", path=path[:200])


def told(function: Any) -> Any:
    """Let what a script did wrong reach it with its code."""

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (PatchError, PathError) as error:
            raise EffectFailure(error.code, error.message) from error
        except OSError as error:
            raise EffectFailure("FILE", error.strerror or "the file system failed") from error

    return told


def parts_of(path: str) -> list[str]:
    """Return the parts of a path in a folder.

    Raises:
        PathError: it leads out, or is no path.
    """
    if len(path) > _PATH_CHARACTERS_MAX:
        raise PathError(path, f"has more than {_PATH_CHARACTERS_MAX} characters")
    if "\0" in path or "\\" in path:
        raise PathError(path, "has a character that no path has here")
    if path.startswith("/"):
        raise PathError(path, "is absolute; paths begin at the workspace")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not parts or path.endswith("/"):
        raise PathError(path, "names no file")
    if ".." in parts:
        raise PathError(path, "has `..` in it")
    if len(parts) > DEPTH_MAX:
        raise PathError(path, f"has more than {DEPTH_MAX} parts")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise PathError(path, "is no text") from None
    return parts

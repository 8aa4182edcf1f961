"""The files of one version of an app: validated paths, bounded sizes, one digest.

Pure. Invariants of a bundle that exists:
- paths are relative, of plain segments, sorted by their UTF-8 bytes; none is a folder of another;
- it is within the limits it was made with;
- `digest` names it: equal for equal files, whatever folder or archive they came from.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cloche.apps.errors import BundleError, BundleTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Limits

ROOT: Final = "/app"  # where a version's files are for its code
MANIFEST_NAMES: Final = ("cloche.app.json", "cloche.app.toml")
SEGMENT_LIMIT_BYTES: Final = 255
# What package managers and interpreters leave in a folder.
_LEFT: Final = frozenset({"__pycache__", "node_modules"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Bundle:
    """The files of a version. Made by `bundle_of`.

    Args:
        files: (path, content), sorted.
    """

    files: tuple[tuple[str, bytes], ...] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all paths and contents, in hexadecimal: the version's id."""
        digest = hashlib.sha256(b"cloche app 1\0")
        for path, content in self.files:
            digest.update(b"%b\0%b" % (path.encode(), hashlib.sha256(content).digest()))
        return digest.hexdigest()

    @cached_property
    def by_path(self) -> dict[str, bytes]:
        """Contents by path."""
        return dict(self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(len(content) for _, content in self.files)

    def mounted(self) -> dict[str, bytes]:
        """Contents by the absolute path that the app's code finds them at."""
        return {f"{ROOT}/{path}": content for path, content in self.files}


def is_kept(name: str) -> bool:
    """Return whether an entry of somebody's folder belongs to the app in it, by its name."""
    return not name.startswith(".") and name not in _LEFT


def bundle_of(files: Mapping[str, bytes], limits: Limits) -> Bundle:
    """Return the bundle of these files.

    Args:
        files: content by path, relative, with `/` between segments.
        limits: groups `apps` and `storage`.

    Raises:
        BundleError: a path that cannot be one, or that is a folder of another.
        BundleTooLargeError: too many files, or too many bytes.
    """
    apps, storage = limits.apps, limits.storage
    _within("files", len(files), "apps.app_file_count_max", apps.app_file_count_max)
    total = 0
    for path, content in files.items():
        check_path(path, limits)
        _within(path, len(content), "storage.max_file_size", storage.max_file_size)
        total += len(content)
    _within("all files", total, "storage.max_site_size", storage.max_site_size)
    for path in files:
        folder = path
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in files:
                raise BundleError(path=path, problem=f"lies below {folder!r}, which is a file")
    ordered = sorted(files, key=str.encode)
    return Bundle(tuple((path, bytes(files[path])) for path in ordered))


def check_path(path: str, limits: Limits) -> None:
    """Refuse what is no path of a file inside a folder.

    Raises:
        BundleError: empty, absolute, with a segment that is empty, `.` or `..`, a backslash, a
            control character or half a surrogate pair, too long or too deep.
    """
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise BundleError(path=ascii(path), problem="is no valid Unicode") from None
    segments = path.split("/")
    problem = ""
    if "\\" in path or _CONTROL.search(path):
        problem = "has a backslash or a control character in its name"
    elif any(segment in ("", ".", "..") for segment in segments):
        problem = "is not relative, or has an empty segment, `.` or `..`"
    elif len(encoded) + len(ROOT) + 1 > limits.guests.path_limit_bytes:
        problem = "has a path that is too long (guests.path_limit_bytes)"
    elif len(segments) >= limits.guests.path_depth_max:
        problem = "lies too deep (guests.path_depth_max)"
    elif any(len(segment.encode()) > SEGMENT_LIMIT_BYTES for segment in segments):
        problem = f"has a name of more than {SEGMENT_LIMIT_BYTES} bytes"
    if problem:
        raise BundleError(path=path, problem=problem)


def _within(what: str, found: int, limit: str, limit_value: int) -> None:
    if found > limit_value:
        raise BundleTooLargeError(what=what, found=found, limit=limit, limit_value=limit_value)

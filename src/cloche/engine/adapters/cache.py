"""The cache folder: compiled modules and memory images, made once per machine.

Compiled code is loaded as native code, so the folder is trusted or not used at all.
Invariants:
- the folder is ours and closed to others; so is every file before it is loaded;
- a file appears whole or not at all: it is written under a temporary name, made read-only, renamed;
  what a killed process left under that name is written over by the next;
- one process makes a file, the others wait for it (a lock per file) and then use it.

It does not know what a module or an image is.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.engine.errors import CacheError, CompileLockError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

LAYOUT_VERSION: Final = "v1"
_LOCK_POLL_S: Final = 0.05
_DIGESTS: Final = "digests/"
_DIGEST_CHUNK_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 512  # what `st_blocks` counts, whatever the file system has


def default_root() -> Path:
    """Return the folder for this user, `$XDG_CACHE_HOME/cloche` on Linux."""
    import platformdirs  # noqa: PLC0415 - not needed where a folder is given

    return Path(platformdirs.user_cache_path("cloche"))


class Cache:
    """A folder of files made once.

    Args:
        root: created on first write, with mode 0700.
        lock_timeout_ms: how long to wait for another process that makes the same file.
    """

    def __init__(self, root: Path, *, lock_timeout_ms: int) -> None:
        self.root = root / LAYOUT_VERSION
        self._lock_timeout_s = lock_timeout_ms / 1000

    def path(self, name: str) -> Path:
        """Return where the file `name` is or will be."""
        return self.root / name

    def find(self, name: str) -> Path | None:
        """Return the file if it is there and can be trusted.

        Raises:
            CacheError: it is there, and another user could have written or replaced it.
        """
        path = self.path(name)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from error
        _check_owner(path, status)
        for folder in (self.root, path.parent):
            _check_owner(folder, folder.lstat())
        return path

    def make(self, name: str, write: Callable[[Path], None]) -> Path:
        """Return the file, made by `write(temporary path)` if it is not there yet.

        Raises:
            CacheError: the folder cannot be written or trusted.
            CompileLockError: another process has been making it for too long.
        """
        found = self.find(name)
        if found is not None:
            return found
        path = self.path(name)
        self._make_folder(path.parent)
        with self._lock(path):
            found = self.find(name)
            if found is not None:
                return found
            temporary = path.with_name(f".{path.name}.tmp")  # ours alone: we hold the lock
            try:
                temporary.unlink(missing_ok=True)
                write(temporary)
                temporary.chmod(0o400)
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                temporary.rename(path)
            except OSError as error:
                raise _unusable(path, error) from error
            finally:
                temporary.unlink(missing_ok=True)
        return path

    def _make_folder(self, folder: Path) -> None:
        try:
            # One by one: `mkdir` gives the mode to the last of them only.
            for level in (*reversed(folder.parents), folder):
                level.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unusable(folder, error) from error
        for level in (self.root, folder):
            _check_owner(level, level.lstat())

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        lock_path = path.with_name(f".{path.name}.lock")
        try:
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(lock_path, error) from error
        give_up = time.monotonic() + self._lock_timeout_s
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if error.errno not in {errno.EAGAIN, errno.EACCES}:
                        raise
                if time.monotonic() > give_up:
                    raise CompileLockError(
                        f"another process has been making {path.name} for more than "
                        f"{self._lock_timeout_s:.0f} s; wait for it, or end it and try again",
                        path=str(path),
                    )
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def prune(self, keep: Collection[str]) -> tuple[int, int]:
        """Remove every file but these and remembered digests; return how many, and their bytes.

        Whoever has one mapped keeps what is mapped; whoever wants one later makes it again. Files
        that are being made are left alone.

        Args:
            keep: names, as of `path`.

        Raises:
            CacheError: a file cannot be removed; those before it are gone.
        """
        count = size_bytes = 0
        for path in sorted(self.root.glob("*/*")):
            name = str(path.relative_to(self.root))
            if path.name.startswith(".") or name.startswith(_DIGESTS) or name in keep:
                continue
            try:
                status = path.lstat()
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unusable(path, error) from error
            count, size_bytes = count + 1, size_bytes + status.st_blocks * _BLOCK_BYTES
        return count, size_bytes

    def digest(self, source: Path) -> str:
        """Return the SHA-256 of a large file, remembered by its size, time and inode."""
        status = source.stat()
        identity = f"{source}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        name = f"{_DIGESTS}{hashlib.sha256(identity.encode()).hexdigest()}"

        def write(path: Path) -> None:
            path.write_text(digest_of(source))

        return self.make(name, write).read_text()


def digest_of(source: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(_DIGEST_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode):
        raise CacheError(
            f"{path} belongs to another user or is a link; it holds native code, so cloche will "
            "not load it. Remove it, or set XDG_CACHE_HOME to a folder of your own",
            path=str(path),
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(
            f"{path} can be written by other users (mode {stat.S_IMODE(status.st_mode):o}); it "
            "holds native code, so cloche will not load it. Remove it, or run chmod go-w on it",
            path=str(path),
        )


def _unusable(path: Path, error: OSError) -> CacheError:
    return CacheError(
        f"cannot write {path}: {error.strerror or error}. The cache needs about 1.5 GB; free some "
        "space, or set XDG_CACHE_HOME to a folder that has it",
        path=str(path),
    )

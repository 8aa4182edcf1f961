"""The key that signs this machine's snapshots: made once, kept in one file.

A snapshot is restored as a guest's memory, so only what this user wrote may be restored; the key
is how cloche knows. Invariants:
- the file appears whole or not at all, and the first process that makes it wins: every process
  gets the same key;
- a file that another user could have read or written is refused, never repaired: snapshots that it
  signed prove nothing.

It does not rotate keys: a snapshot signed with a lost key cannot be opened again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from cloche.engine.errors import KeyFileError
from cloche.engine.snapshot import KEY_BYTES

ENVIRONMENT_VARIABLE: Final = "CLOCHE_KEY_FILE"
FILE_NAME: Final = "snapshot.key"


def default_path() -> Path:
    """Return where the key is: `$CLOCHE_KEY_FILE`, else in the data folder of this user."""
    override = os.environ.get(ENVIRONMENT_VARIABLE)
    if override:
        return Path(override)
    import platformdirs  # noqa: PLC0415 - not needed where a file is given

    return Path(platformdirs.user_data_path("cloche")) / FILE_NAME


def load_key(path: Path | None = None) -> bytes:
    """Return the key, 32 bytes, made if there is none yet.

    Args:
        path: the key file; `default_path()` if not given. Its folder is made if needed.

    Raises:
        KeyFileError: the file cannot be read or written, another user could have, or it does not
            hold a key. Nothing was changed.
    """
    path = path or default_path()
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        _make(path)
        return _read(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _read(path: Path) -> bytes:
    # Not blocking: a pipe in the key's place must not hang the process.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        _check(path, status)
        return os.read(descriptor, KEY_BYTES)
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path} is not a file; name another in {ENVIRONMENT_VARIABLE}", path)
    if status.st_uid != os.geteuid():
        raise KeyFileError(
            f"{path} belongs to user {status.st_uid}, not to user {os.geteuid()}, who runs cloche; "
            f"name a file of your own in {ENVIRONMENT_VARIABLE}",
            path,
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise KeyFileError(
            f"{path} can be used by other users (mode {mode:o}, expected 600), so the snapshots "
            "that it signed prove nothing. Remove it (its snapshots can then not be opened any "
            f"more), or run chmod 600 on it if nobody else could reach it",
            path,
        )
    if status.st_size != KEY_BYTES:
        raise KeyFileError(
            f"{path} has {status.st_size} bytes, a key has {KEY_BYTES}; restore it from a backup, "
            "or remove it (snapshots that it signed can then not be opened any more)",
            path,
        )


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened with O_EXCL and mode 0600; a link to it is as exclusive and shows only a whole file.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(temporary, path)
        _sync_folder(path.parent)
    finally:
        Path(temporary).unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(
        f"cannot use the key file {path}: {error.strerror or error}; name another in "
        f"{ENVIRONMENT_VARIABLE}",
        path,
    )

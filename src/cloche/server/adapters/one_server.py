"""One server at a time on a store that is a file.

A server takes up what the one before it left: beside one that lives, it would execute its runs a
second time. Invariants:
- the lock is the kernel's: it ends with the process that has it, however that ends, and workers do
  not inherit it;
- other commands use the store beside a server as before.

Of a database elsewhere it knows nothing: there, whoever runs the server sees to it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloche.server.errors import ServeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX: Final = "-serve"
_OWNER_ONLY: Final = 0o600
_PID_BYTES: Final = 20
_MEMORY: Final = "memory:"
# A process that a killed server was just starting has the lock until it is another program.
_PATIENCE_S: Final = 2.0
_PAUSE_S: Final = 0.05


@contextmanager
def only_server(url: str) -> Iterator[None]:
    """Be the one server of a store while the block runs.

    Args:
        url: of the open store: a path, `memory:`, or an address.

    Raises:
        ServeError: another server has it, or its lock file cannot be made. Nothing changed.
    """
    if url == _MEMORY or "://" in url:
        yield
        return
    path = Path(f"{url}{_SUFFIX}")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
    except OSError as error:
        raise ServeError(f"cannot open {path}: {error.strerror}") from error
    try:
        _lock(descriptor, path, url)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end_s:
                raise
            time.sleep(_PAUSE_S)


def _lock(descriptor: int, path: Path, url: str) -> None:
    try:
        _take(descriptor)
    except BlockingIOError:
        pid = os.read(descriptor, _PID_BYTES).decode("ascii", "replace").strip()
        raise ServeError(
            f"the store {url} is served already, by process {pid or '(unknown)'}; stop that, or "
            "name another --store"
        ) from None
    except OSError as error:
        raise ServeError(f"cannot lock {path}: {error.strerror}") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())

"""Helpers of the engine tests: a file system on a settable clock, errors as their numbers."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from cloche.engine.abi import GuestStopped
from cloche.engine.nodes import FileSystemError
from cloche.engine.vfs import FileSystem, StoredFile
from cloche.limits import Limits


def make_limits(**guests):
    """Return limits with these fields of the guests group changed."""
    limits = Limits()
    return limits.replace({"guests": guests})


class Now:
    """A clock that stands still until the test moves it."""

    def __init__(self, time_ns=1000):
        self.time_ns = time_ns

    def __call__(self):
        return self.time_ns


def make_files(*paths, now=None, **guests):
    """Return a file system that holds these files (content: their path) and directories ("/")."""
    files = FileSystem(make_limits(**guests), now or Now())
    for path in paths:
        if path.endswith("/"):
            files.make_directories(path)
        else:
            files.add(StoredFile(path=path, content=path.encode()))
    return files


def put(files, path, content=b""):
    """Write a whole file; return its node."""
    node = files.open_file(path, create=True, truncate=True, write=True)
    files.write(node, 0, content)
    return node


def content(files, path):
    """Return the bytes of a file."""
    node = files.lookup(path)
    return files.read(node, 0, node.size)


def paths(files):
    """Return the paths of all visible files."""
    return [path for path, _ in files.visible_files()]


@contextmanager
def fails(errno):
    """Expect the body to fail with this errno."""
    with pytest.raises(FileSystemError) as caught:
        yield
    assert caught.value.errno is errno, caught.value.errno


@contextmanager
def stops(kind, message=None):
    """Expect the body to stop the guest for this reason."""
    with pytest.raises(GuestStopped) as caught:
        yield
    assert caught.value.stop.kind == kind
    if message is not None:
        assert caught.value.stop.message == message

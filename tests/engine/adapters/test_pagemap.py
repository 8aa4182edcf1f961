"""The kernel's word on which pages of a private mapping were written."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engine.adapters.pagemap import written_pages
from cloche.engine.pages import PAGE_BYTES

COUNT = 32


class Mapping:
    """A private mapping of a file, and its address."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.memory = mmap.mmap(
                file.fileno(),
                COUNT * PAGE_BYTES,
                flags=mmap.MAP_PRIVATE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        self._pin = ctypes.c_char.from_buffer(self.memory)
        self.address = ctypes.addressof(self._pin)

    def close(self) -> None:
        """Unmap it."""
        del self._pin
        self.memory.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of COUNT pages."""
    path = tmp_path_factory.mktemp("pages") / "image"
    path.write_bytes(os.urandom(COUNT * PAGE_BYTES))
    return path


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="the kernel does not tell")
@settings(max_examples=50, deadline=None)
@given(written=st.sets(st.integers(0, COUNT - 1)), read=st.sets(st.integers(0, COUNT - 1)))
def test_written_and_only_written(file: Path, written: set[int], read: set[int]) -> None:
    """Exactly the pages that were written are named, ascending; reading changes nothing."""
    mapping = Mapping(file)
    for page in read:
        assert len(mapping.memory[page * PAGE_BYTES : page * PAGE_BYTES + 1]) == 1
    for page in written:
        mapping.memory[page * PAGE_BYTES + 7] ^= 1
    found = written_pages(mapping.address, COUNT * PAGE_BYTES)
    mapping.close()
    assert found == sorted(written)


def test_part_of_a_mapping(file: Path) -> None:
    """Page numbers count from the given address, and end with the given size."""
    mapping = Mapping(file)
    for page in (2, 5, 9):
        mapping.memory[page * PAGE_BYTES] ^= 1
    found = written_pages(mapping.address + 3 * PAGE_BYTES, 6 * PAGE_BYTES)
    mapping.close()
    assert found in ([2], None)


def test_kernel_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another page size, a missing file, or a short answer is None: the caller compares."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "sysconf", lambda _: 65536)
        assert written_pages(0, PAGE_BYTES) is None

    def missing(*_: object) -> int:
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("cloche.engine.adapters.pagemap._File.descriptor", None)
        patch.setattr(os, "open", missing)
        assert written_pages(0, PAGE_BYTES) is None
    with monkeypatch.context() as patch:
        patch.setattr("cloche.engine.adapters.pagemap._Scan.works", False)
        patch.setattr(os, "pread", lambda *_: b"short")
        assert written_pages(0, PAGE_BYTES) is None
    with monkeypatch.context() as patch:
        patch.setattr("cloche.engine.adapters.pagemap._Scan.works", False)
        patch.setattr(os, "pread", missing)
        assert written_pages(0, PAGE_BYTES) is None


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="the kernel does not tell")
def test_entries_say_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that finds no ranges itself tells the same, page by page; so do more than fit."""
    mapping = Mapping(file)
    for page in range(1, COUNT, 2):
        mapping.memory[page * PAGE_BYTES] ^= 1
    pages = list(range(1, COUNT, 2))
    monkeypatch.setattr("cloche.engine.adapters.pagemap._REGION_COUNT", 3)
    assert written_pages(mapping.address, COUNT * PAGE_BYTES) == pages
    monkeypatch.setattr("cloche.engine.adapters.pagemap._Scan.works", False)
    found = written_pages(mapping.address, COUNT * PAGE_BYTES)
    mapping.close()
    assert found == pages


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="the kernel does not tell")
def test_a_child_is_told_of_its_own_pages(file: Path) -> None:
    """What a process keeps open speaks of that process, also behind a fork."""
    mapping = Mapping(file)
    mapping.memory[PAGE_BYTES] ^= 1
    assert written_pages(mapping.address, COUNT * PAGE_BYTES) == [1]
    child = os.fork()
    if not child:
        mapping.memory[3 * PAGE_BYTES] ^= 1
        os._exit(written_pages(mapping.address, COUNT * PAGE_BYTES) != [1, 3])
    _, status = os.waitpid(child, 0)
    found = written_pages(mapping.address, COUNT * PAGE_BYTES)
    mapping.close()
    assert status == 0
    assert found == [1]

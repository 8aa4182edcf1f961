"""Tests of the table of open files: which number is given, what is refused, what closing frees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.descriptors import ROOT_DESCRIPTOR, Descriptors, OpenFile
from cloche.engine.nodes import Directory, Errno
from engine.support import fails, make_files


def make_table(open_file_count_max=8):
    """Return (file system with "/file" and "/d", its table)."""
    files = make_files("/file", "/d/")
    return files, Descriptors(files, open_file_count_max)


def opened(files, path="/file"):
    """Return what a descriptor for a path holds."""
    return OpenFile(node=files.lookup(path))


def test_what_every_guest_starts_with():
    """The three streams, each in its direction, and the root."""
    files, table = make_table()
    assert [(n, o.stream, o.readable, o.writable) for n, o in table.items()] == [
        (0, "stdin", True, False),
        (1, "stdout", False, True),
        (2, "stderr", False, True),
        (3, None, True, False),
    ]
    assert table.directory(ROOT_DESCRIPTOR) is files.root


@given(st.lists(st.integers(0, 9) | st.none(), max_size=40))
def test_the_lowest_free_number_is_given(steps):
    """Whatever was closed before, opening gives the lowest free number, or says that none is."""
    files, table = make_table()
    taken = {0, 1, 2, 3}
    for number in steps:
        if number is not None:
            if number in taken:
                table.close(number)
                taken.remove(number)
            else:
                with fails(Errno.BADF):
                    table.close(number)
        elif len(taken) < 8:
            expected = min(set(range(9)) - taken)
            assert table.open(opened(files)) == expected
            taken.add(expected)
        else:
            with fails(Errno.MFILE):
                table.open(opened(files))
    assert {number for number, _ in table.items()} == taken
    held = sum(o.node is files.lookup("/file") for _, o in table.items())
    assert files.lookup("/file").open_count == held


@pytest.mark.parametrize(
    ("number", "errno"), [(0, Errno.SPIPE), (3, Errno.ISDIR), (4, Errno.BADF), (-1, Errno.BADF)]
)
def test_only_files_are_files(number, errno):
    """A stream cannot be sought, a directory cannot be read, and nothing is not open."""
    _, table = make_table()
    with fails(errno):
        table.file(number)


@pytest.mark.parametrize(
    ("number", "errno"), [(0, Errno.NOTDIR), (4, Errno.NOTDIR), (5, Errno.BADF)]
)
def test_only_directories_are_directories(number, errno):
    """Names are looked up in directories alone."""
    files, table = make_table()
    table.open(opened(files))
    with fails(errno):
        table.directory(number)


def test_file_gives_both():
    """An open file is given with its position."""
    files, table = make_table()
    number = table.open(opened(files))
    state, file = table.file(number)
    assert state is table.get(number)
    assert file is files.lookup("/file")


def test_closing_the_last_frees_a_removed_file():
    """A file that was removed gives its bytes back with its last descriptor."""
    files, table = make_table()
    first, second = table.open(opened(files)), table.open(opened(files))
    files.unlink("/file")
    table.close(first)
    assert files.used_bytes == 5
    table.close(second)
    assert files.used_bytes == 0


def test_directories_are_not_counted():
    """Only files keep a count of who holds them."""
    files, table = make_table()
    number = table.open(opened(files, "/d"))
    assert isinstance(table.directory(number), Directory)
    table.close(number)


def test_put_takes_a_given_number():
    """What an image has open stands under its number, whatever is free; the next goes below it."""
    files, table = make_table()
    table.put(7, opened(files))
    assert files.lookup("/file").open_count == 1
    assert table.open(opened(files)) == 4


def test_a_lower_limit_closes_nothing():
    """What is open stays open; nothing more opens until there is room."""
    files, table = make_table()
    for _ in range(3):
        table.open(opened(files))
    table.set_limit(6)
    assert len(table.items()) == 7
    with fails(Errno.MFILE):
        table.open(opened(files))
    table.close(0)
    table.close(1)
    assert table.open(opened(files)) == 0


def test_adopted_files_are_held():
    """A restored table holds its files as if it had opened them."""
    files, table = make_table()
    table.adopt({5: opened(files)})
    assert [number for number, _ in table.items()] == [5]
    files.unlink("/file")
    assert files.used_bytes == 5
    table.close(5)
    assert files.used_bytes == 0

"""The conformance suite on every sink, and what is special about files."""

from __future__ import annotations

import os
import stat

import pytest

from cloche.gate.adapters.file import CHUNK_BYTES, FileSink, read_chunks, read_journal
from cloche.gate.adapters.memory import MemorySink
from cloche.gate.errors import GateMisuseError, JournalExistsError, JournalStorageError
from cloche.gate.journal import HEADER, encode_file, verify
from cloche.testing.gate import check_journal_sink
from gate.support import make_inputs, make_limits, small_run


def test_memory_conforms():
    """The memory sink passes the suite."""

    def open_sink():
        sink = MemorySink()
        return sink, sink.to_bytes

    check_journal_sink(open_sink, make_limits())


@pytest.mark.parametrize("durable", [False, True])
def test_file_conforms(tmp_path, durable):
    """The file sink passes the suite, with and without waiting for the disk."""
    paths = (tmp_path / f"{number}.cloche" for number in range(100))

    def open_sink():
        path = next(paths)
        return FileSink(path, durable=durable), lambda: b"".join(read_chunks(path))

    check_journal_sink(open_sink, make_limits())


class ForgetfulSink(MemorySink):
    """Loses the last record of each group."""

    def append(self, records):
        super().append(records[:-1])


class OpenSink(MemorySink):
    """Never closes."""

    def close(self):
        pass


@pytest.mark.parametrize("broken", [ForgetfulSink, OpenSink])
def test_suite_finds_broken_sinks(broken):
    """The suite fails on a sink that loses records, and on one that takes them when closed."""

    def open_sink():
        sink = broken()
        return sink, sink.to_bytes

    with pytest.raises(AssertionError, match=r"^journal sink breaks a rule: "):
        check_journal_sink(open_sink, make_limits())


def test_file_is_for_its_owner(tmp_path):
    """Nobody but the owner can read a journal, whatever the umask."""
    path = tmp_path / "run.cloche"
    old = os.umask(0)
    try:
        FileSink(path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_file_is_never_overwritten(tmp_path):
    """An existing file, link or dangling link is refused and stays as it was."""
    path = tmp_path / "run.cloche"
    path.write_bytes(b"mine")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    for taken in (path, dangling):
        with pytest.raises(JournalExistsError) as caught:
            FileSink(taken)
        assert caught.value.message == f"{taken} exists: a journal never overwrites a file"
    assert path.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_missing_directory_leaves_nothing(tmp_path):
    """A file that cannot be made is the system's error."""
    path = tmp_path / "no" / "run.cloche"
    with pytest.raises(JournalStorageError) as caught:
        FileSink(path)
    assert caught.value.message == f"cannot create the journal {path}: No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_full_disk_closes_the_sink(tmp_path):
    """After a failed write the sink takes nothing more: no record can follow half a record."""
    sink = FileSink(tmp_path / "run.cloche")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, sink._descriptor)
    os.close(full)
    with pytest.raises(JournalStorageError, match=r"No space left on device$"):
        sink.append(small_run())
    with pytest.raises(GateMisuseError, match=r"the sink is closed"):
        sink.append(small_run())
    sink.close()


def test_journal_of_a_file(tmp_path):
    """A file is read as a journal; one that is missing is an error of the place."""
    path = tmp_path / "run.cloche"
    path.write_bytes(encode_file(small_run()))
    assert read_journal(path).inputs == make_inputs()
    assert read_journal(path, make_limits()).finish is not None
    with pytest.raises(JournalStorageError) as caught:
        read_journal(tmp_path)
    assert caught.value.message == f"cannot read the journal {tmp_path}: Is a directory"


def test_chunks_are_bounded(tmp_path):
    """A file is read in chunks, in order; a journal is verified from them."""
    path = tmp_path / "run.cloche"
    path.write_bytes(encode_file(small_run()))
    assert verify(read_chunks(path), make_limits()).finished
    path.write_bytes(HEADER + bytes(CHUNK_BYTES))
    assert [len(chunk) for chunk in read_chunks(path)] == [CHUNK_BYTES, len(HEADER)]

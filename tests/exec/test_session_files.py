"""Files of sessions: upload, download, listing, quotas, and no way out of the tree."""

from __future__ import annotations

import pytest
from tests.exec.session_support import asleep, both_stores, say

from cloche.exec.errors import (
    FileAccessError,
    InvalidFileError,
    InvalidRunError,
    RuntimeFailedError,
)
from cloche.exec.session import Session
from cloche.exec.types import Encoding, File
from cloche.limits import Limits


@both_stores
def test_upload_run_download(session):
    """Files go in and out; what a program made is there too."""
    session.upload(File(name="a.txt", content="héllo".encode()))
    assert say(session, "read") == "héllo\n"
    say(session, "write")
    assert session.download("out.bin") == bytes([0, 255, 10])
    asleep(session)
    assert session.download("/out.bin") == bytes([0, 255, 10])


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"aGk=", Encoding.BASE64),
        (b"6869", Encoding.HEX),
        (b"hi", Encoding.UTF8),
        (b"hi", None),
    ],
)
def test_encodings(session, content, encoding):
    """A content may be written down in three ways."""
    session.upload(File(name="a.txt", content=content, encoding=encoding))
    assert session.download("a.txt") == b"hi"


def test_wrong_encoding_changes_nothing(session):
    """It is refused before anything is put in place."""
    with pytest.raises(InvalidFileError, match=r"'a.txt' is not valid hex"):
        session.upload(File(name="a.txt", content=b"xyz", encoding=Encoding.HEX))
    assert session.list_files() == []


@both_stores
def test_listing(session):
    """Sorted, with kinds and sizes; files of the caller and of the program alike."""
    session.upload(File(name="b/é.txt", content=b"123"))
    session.upload(File(name="a.txt", content=b""))
    say(session, "write")
    found = [(e.path, e.kind, e.size_bytes) for e in session.list_files(recursive=True)]
    assert found == [
        ("/a.txt", "file", 0),
        ("/b", "directory", 0),
        ("/b/é.txt", "file", 3),
        ("/out.bin", "file", 3),
    ]
    assert [entry.path for entry in session.list_files("b")] == ["/b/é.txt"]


@both_stores
def test_read_only_files(session):
    """A program cannot write one, the caller can replace it."""
    session.upload(File(name="a.txt", content=b"theirs"), read_only=True)
    with pytest.raises(RuntimeFailedError, match=r"(?i)not permitted|permission|EPERM"):
        say(session, "overwrite")
    assert session.download("a.txt") == b"theirs"
    session.upload(File(name="a.txt", content=b"new"))
    say(session, "overwrite")
    assert session.download("a.txt") == b"mine"


@both_stores
def test_working_directory(session):
    """Runs start there, relative paths mean below it, before the first run too."""
    session.upload(File(name="d/a.txt", content=b"inside"))
    session.set_working_dir("d")
    assert session.working_dir == "/d"
    assert say(session, "read") == "inside\n"
    assert [entry.path for entry in session.list_files()] == ["/d/a.txt"]
    asleep(session)
    assert say(session, "read") == "inside\n"
    with pytest.raises(FileAccessError, match="no such file"):
        session.set_working_dir("nowhere")
    assert session.working_dir == "/d"


@pytest.mark.parametrize("path", ["../../etc/passwd", "/../../etc/passwd", "a/../../../b", "..\\x"])
def test_no_path_leaves_the_root(session, path):
    """Dots end at the root: what was named so is inside."""
    session.upload(File(name=path, content=b"here"))
    assert session.download(path) == b"here"
    assert all(entry.path.startswith("/") for entry in session.list_files(recursive=True))


@pytest.mark.parametrize("path", ["", "a\0b", "/"])
def test_what_is_no_file_name(session, path):
    """It is refused with an error that says why."""
    with pytest.raises((InvalidRunError, FileAccessError)):
        session.upload(File(name=path, content=b""))


def test_symbolic_links_stay_inside(session):
    """A link to the host's files leads to the session's own root."""
    link = {
        "javascript": "require('fs').symlinkSync('/etc/passwd', 'l')",
        "python": "import os; os.symlink('/etc/passwd', 'l')",
    }
    session.run(link[session.language])
    with pytest.raises(FileAccessError, match="no such file"):
        session.download("l")


def test_quota_of_files(session):
    """An upload that does not fit changes nothing."""
    session.upload(File(name="a.txt", content=b"old"))
    with pytest.raises(FileAccessError, match="file_limit_bytes"):
        session.write_file("a.txt", bytes(33 << 20))
    assert session.download("a.txt") == b"old"


@pytest.mark.parametrize(
    ("limits", "path"),
    [({"path_depth_max": 3}, "a/b/c/d/e.txt"), ({"file_count_max": 5}, "a/b/c/d.txt")],
)
def test_a_refused_upload_makes_no_directory(store, limits, path):
    """What a replay could not know of is not there."""
    narrow = Limits().replace({"guests": limits})
    with Session.create("javascript", store=store, limits=narrow) as session:
        session.upload(File(name="a/old.txt", content=b"old"))
        before = session.list_files(recursive=True)
        with pytest.raises(FileAccessError):
            session.upload(File(name=path, content=b"new"))
        assert session.list_files(recursive=True) == before
        session.upload(File(name="a/b/new.txt", content=b"new"))


def test_a_refused_upload_leaves_a_file_as_it_was(session):
    """One that programs may not write is not theirs because a larger one did not fit."""
    session.upload(File(name="a.txt", content=b"theirs"), read_only=True)
    with pytest.raises(FileAccessError, match="file_limit_bytes"):
        session.write_file("a.txt", bytes(33 << 20))
    assert [entry.read_only for entry in session.list_files()] == [True]


@both_stores
def test_removing(session):
    """A file is gone, in the next run and after waking."""
    session.upload(File(name="a.txt", content=b"x"))
    session.remove("a.txt")
    asleep(session)
    assert session.list_files() == []
    with pytest.raises(FileAccessError, match="no such file"):
        session.remove("a.txt")


@pytest.mark.parametrize(
    ("limits", "most", "over"),
    [
        ({"file_limit_bytes": 100}, ("b.txt", 100), ("b.txt", 101)),
        ({"files_limit_bytes": 100}, ("b.txt", 60), ("b.txt", 61)),
        ({"files_limit_bytes": 100}, ("a/a.txt", 100), ("a/a.txt", 101)),
        ({"path_depth_max": 3}, ("a/b/x.txt", 1), ("a/b/c/x.txt", 1)),
        ({"file_count_max": 5}, ("a/b/x.txt", 1), ("a/b/c/x.txt", 1)),
        ({"file_count_max": 5}, ("b/x.txt", 1), ("b/c/x.txt", 1)),
    ],
)
def test_the_most_that_an_upload_may_be(store, limits, most, over):
    """All of a limit is used, and nothing beyond; what is replaced makes room."""
    narrow = Limits().replace({"guests": limits})
    with Session.create("javascript", store=store, limits=narrow) as session:
        session.upload(File(name="a/a.txt", content=bytes(40)))
        before = session.list_files(recursive=True)
        path, size = over
        with pytest.raises(FileAccessError):
            session.upload(File(name=path, content=bytes(size)))
        assert session.list_files(recursive=True) == before
        path, size = most
        session.upload(File(name=path, content=bytes(size)))
        assert len(session.download(path)) == size

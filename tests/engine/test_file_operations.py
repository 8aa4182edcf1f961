"""Tests of file operations as messages: each operation, each refusal, any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.file_operations import perform
from cloche.engine.nodes import Errno
from cloche.engine.vfs import StoredFile
from engine.support import Now, content, make_files, paths, stops


def ask(files, operation, path, data=None, **fields):
    """Perform one operation; return the decoded reply, or the errno as a negative number."""
    body = json.dumps({"f": operation, "p": path, **fields}).encode()
    reply = perform(files, body if data is None else body + b"\0" + data)
    return reply if isinstance(reply, int) or operation == "read" else json.loads(reply)


def test_write_and_read():
    """A write replaces; with an offset it overwrites, with append it adds; a read takes a part."""
    files = make_files()
    assert ask(files, "write", "/f", b"a\0b") is None
    assert ask(files, "read", "/f") == b"a\0b"
    ask(files, "write", "/f", b"hello")
    ask(files, "write", "/f", b"J", offset=0)
    ask(files, "write", "/f", b"!", append=True)
    assert ask(files, "read", "/f") == b"Jello!"
    ask(files, "write", "/f", b"x", offset=8)
    assert ask(files, "read", "/f", offset=4) == b"o!\0\0x"
    assert ask(files, "read", "/f", offset=4, length=2) == b"o!"
    assert ask(files, "read", "/f", offset=100) == b""
    assert ask(files, "read", "/f", length=0) == b""
    assert ask(files, "write", "/f") is None
    assert ask(files, "read", "/f") == b""


def test_exclusive_write():
    """An exclusive write makes a file, and touches none that is there."""
    files = make_files()
    assert ask(files, "write", "/f", b"one", exclusive=True) is None
    assert ask(files, "write", "/f", b"two", exclusive=True) == -Errno.EXIST
    assert content(files, "/f") == b"one"


def test_stat():
    """Type, size, time, number and mode of each kind of node."""
    files = make_files("/d/", "/file", now=Now(77))
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    ask(files, "symlink", "/link", target="d/é")

    def row(path, **fields):
        found = ask(files, "stat", path, **fields)
        assert found["mtime_ns"] == 77
        return found["type"], found["size"], found["ino"], oct(found["mode"])

    assert row("/d") == ("directory", 0, 2, "0o40755")
    assert row("/file") == ("file", 5, 3, "0o100644")
    assert row("/fixed") == ("file", 1, 4, "0o100444")
    assert row("/link", follow=False) == ("symlink", 4, 5, "0o120777")
    assert ask(files, "stat", "/link") == -Errno.NOENT


def test_readdir():
    """Names with their types, in the order of their bytes; nothing hidden."""
    files = make_files("/b", "/a/x", "/\uff5e", "/\U00010000")
    files.make_hidden_directory("tmp")
    ask(files, "symlink", "/c", target="b")
    assert ask(files, "readdir", "/") == [
        {"name": "a", "type": "directory"},
        {"name": "b", "type": "file"},
        {"name": "c", "type": "symlink"},
        {"name": "\uff5e", "type": "file"},
        {"name": "\U00010000", "type": "file"},
    ]
    assert ask(files, "readdir", "/tmp") == []


def test_making_moving_and_removing():
    """Every operation that changes names does to the file system what it says."""
    files = make_files("/f")
    assert ask(files, "mkdir", "/a/b") == -Errno.NOENT
    assert ask(files, "mkdir", "/a/b", recursive=True) is None
    assert ask(files, "mkdir", "/a") == -Errno.EXIST
    assert ask(files, "rename", "/f", to="/a/b/g") is None
    assert ask(files, "symlink", "/link", target="a/b/g") is None
    assert ask(files, "readlink", "/link") == "a/b/g"
    assert ask(files, "read", "/link") == b"/f"
    assert ask(files, "truncate", "/link", size=1) is None
    assert ask(files, "utimes", "/link", mtime_ns=-5) is None
    assert ask(files, "stat", "/a/b/g")["mtime_ns"] == -5
    assert ask(files, "rmdir", "/a/b") == -Errno.NOTEMPTY
    assert ask(files, "unlink", "/a/b/g") is None
    assert ask(files, "rmdir", "/a/b") is None
    assert paths(files) == []


@pytest.mark.parametrize(
    ("operation", "path", "fields", "errno"),
    [
        ("fly", "/f", {}, Errno.NOSYS),
        ("", "/f", {}, Errno.NOSYS),
        ("read", "/none", {}, Errno.NOENT),
        ("read", "/d", {}, Errno.ISDIR),
        ("read", "", {}, Errno.NOENT),
        ("read", "/f\0", {}, Errno.ILSEQ),
        ("read", "/f", {"offset": -1}, Errno.INVAL),
        ("read", "/f", {"length": -1}, Errno.INVAL),
        ("write", "/d", {}, Errno.ISDIR),
        ("write", "/fixed", {}, Errno.PERM),
        ("write", "/f", {"offset": 1 << 70}, Errno.FBIG),
        ("truncate", "/f", {"size": -1}, Errno.INVAL),
        ("truncate", "/f", {"size": 1 << 70}, Errno.FBIG),
        ("truncate", "/d", {"size": 0}, Errno.ISDIR),
        ("truncate", "/fixed", {"size": 0}, Errno.PERM),
        ("readdir", "/f", {}, Errno.NOTDIR),
        ("readlink", "/f", {}, Errno.INVAL),
        ("rename", "/f", {}, Errno.NOENT),
        ("symlink", "/new", {}, Errno.NOENT),
        ("utimes", "/fixed", {"mtime_ns": 1}, Errno.PERM),
        ("utimes", "/f", {"mtime_ns": 1 << 63}, Errno.INVAL),
        ("utimes", "/f", {"mtime_ns": -(1 << 63)}, Errno.INVAL),
    ],
)
def test_refusals(operation, path, fields, errno):
    """What fails is the negative error number and leaves the files as they were."""
    files = make_files("/f", "/d/")
    files.add(StoredFile(path="/fixed", content=b"x", read_only=True))
    assert ask(files, operation, path, b"x", **fields) == -errno
    assert (paths(files), content(files, "/f")) == (["/f", "/fixed"], b"/f")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"[]",
        b'{"f":"read"}',
        b'{"f":1,"p":"/f"}',
        b'{"f":"read","p":"/f","offset":"1"}',
        b'{"f":"read","p":"/f","follow":1}',
        b'{"f":"read","p":"\xff"}',
        b'{"f":"read","p":"\\ud800"}',
        b'{"f":"read","p":"/f","x":' + b"[" * 100_000,
    ],
)
def test_malformed_headers_stop(body):
    """A header that is not what the ABI says ends the guest."""
    with stops("protocol"):
        perform(make_files("/f"), body)


OPERATIONS = st.sampled_from(
    [
        *("read", "write", "stat", "readdir", "mkdir", "unlink", "rmdir", "rename", "truncate"),
        *("symlink", "readlink", "utimes"),
    ]
)
NAMES = st.sampled_from(["/", "", "/a", "/a/b", "a/../b", "/l/x", "\0", "/tmp", "x" * 300])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "to": NAMES,
        "target": NAMES,
        "offset": st.none() | st.integers(-2, 1 << 65),
        "length": st.none() | st.integers(-2, 1 << 65),
        "size": st.integers(-2, 20) | st.just(1 << 65),
        "mtime_ns": st.integers(-(1 << 65), 1 << 65),
        "append": st.booleans(),
        "exclusive": st.booleans(),
        "recursive": st.booleans(),
        "follow": st.booleans(),
    },
)


@given(st.lists(st.tuples(OPERATIONS, NAMES, st.binary(max_size=9), FIELDS), max_size=30))
def test_any_operations_are_answered(steps):
    """Whatever is asked is answered with bytes or an error number, within the quotas."""
    files = make_files(file_limit_bytes=12, files_limit_bytes=30, file_count_max=5)
    files.make_hidden_directory("tmp")
    for operation, path, data, fields in steps:
        reply = ask(files, operation, path, data, **fields)
        assert not isinstance(reply, int) or -reply in set(Errno)
        assert files.used_bytes <= 30
        assert files.file_count <= 5
        assert all(node.size <= 12 for _, node in files.visible_files())

"""Blobs of apps: whole, in parts, and what is refused."""

from __future__ import annotations

import base64
import hashlib

import pytest

from .support import App, fails, opened

CHUNK = 1024


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    """Return storage with small limits for blobs."""
    url = "memory:" if request.param == "memory" else str(tmp_path / "cloche.db")
    with opened(
        tmp_path,
        url,
        blob_chunk_bytes=CHUNK,
        blob_limit_bytes=20 * CHUNK,
        blobs_limit_bytes=40 * CHUNK,
        blob_count_max=3,
        upload_count_max=2,
        upload_idle_ms=1000,
    ) as storage:
        yield storage


@pytest.fixture
def app(storage):
    """Return an app."""
    return App(storage)


def b64(data):
    """Return data as an effect has it."""
    return {"b64": base64.b64encode(data).decode()}


def write(app, path, parts, mime="x/y"):
    """Write a blob in parts."""
    upload = app("blobs", "begin", path=path)["upload"]
    for ordinal, part in enumerate(parts):
        app("blobs", "write", upload=upload, ordinal=ordinal, data=b64(part))
    return app("blobs", "finish", upload=upload, path=path, mime=mime)


def read(app, path, **args):
    """Return the whole content of a blob, read in parts."""
    found = app("blobs", "read", path=path, **args)
    data = base64.b64decode(found["b64"])
    while len(data) < found["size"]:
        part = app("blobs", "read", path=path, offset=len(data), hash=found["hash"], **args)
        data += base64.b64decode(part["b64"])
    return data


def test_a_blob_is_put_and_read(storage, app):
    """Its head says what it is; text is UTF-8."""
    head = app("blobs", "put", path="a/b.txt", data={"text": "hellö"}, mime="text/plain")
    assert head == {
        "path": "a/b.txt",
        "size": 6,
        "mime": "text/plain",
        "hash": hashlib.sha256("hellö".encode()).hexdigest(),
        "updated_at_ms": storage.clock.now_ns // 10**6,
    }
    assert app("blobs", "head", path="a/b.txt") == head
    assert app("blobs", "read", path="a/b.txt") == {**head, **b64("hellö".encode())}
    assert app("blobs", "put", path="e", data=b64(b""))["size"] == 0
    assert app("blobs", "read", path="e")["b64"] == ""
    assert app("blobs", "delete", path="e") is True
    assert app("blobs", "delete", path="e") is False
    assert app("blobs", "head", path="e") is None
    assert app("blobs", "read", path="e") is None


def test_a_blob_is_written_and_read_in_parts(app):
    """Parts of any size give the same content, whatever is read in between."""
    data = bytes(range(256)) * 60
    head = write(app, "big", [data[:100], data[100:5000], b"", data[5000:]])
    assert head["hash"] == hashlib.sha256(data).hexdigest()
    assert read(app, "big") == data
    assert read(app, "big", length=999) == data
    middle = app("blobs", "read", path="big", offset=7000, length=10)
    assert base64.b64decode(middle["b64"]) == data[7000:7010]
    assert app("blobs", "read", path="big", offset=len(data))["b64"] == ""
    assert app("blobs", "read", path="big", offset=1 << 40)["b64"] == ""


def test_many_readers_at_once(app):
    """Two who read the same content in turns get all of it both."""
    data = bytes(10 * CHUNK)
    write(app, "big", [data])
    offsets = [0, 0]
    while any(offset < len(data) for offset in offsets):
        for index in range(2):
            part = app("blobs", "read", path="big", offset=offsets[index], length=700)
            offsets[index] += len(base64.b64decode(part["b64"]))
    assert offsets == [len(data)] * 2


def test_a_blob_that_is_replaced_while_it_is_read(app):
    """Who names the content is told; nothing of the new one is taken for the old one."""
    first = app("blobs", "put", path="p", data={"text": "x" * 2000})
    app("blobs", "put", path="p", data={"text": "y" * 2000})
    with fails("BLOB_CHANGED"):
        app("blobs", "read", path="p", offset=1024, hash=first["hash"])
    app("blobs", "delete", path="p")
    with fails("BLOB_CHANGED"):
        app("blobs", "read", path="p", offset=1024, hash=first["hash"])


def test_a_part_that_is_written_again(app):
    """The last part once more changes nothing; another ordinal is refused."""
    upload = app("blobs", "begin", path="p")["upload"]
    for ordinal, size in ((0, 2), (0, 2), (1, 4), (1, 4)):
        args = {"upload": upload, "ordinal": ordinal, "data": b64(b"ab")}
        assert app("blobs", "write", **args) == size
    for ordinal in (0, 3):
        with fails("BLOB_UPLOAD_UNKNOWN"):
            app("blobs", "write", upload=upload, ordinal=ordinal, data=b64(b"x"))
    app("blobs", "finish", upload=upload, path="p")
    assert read(app, "p") == b"abab"
    with fails("BLOB_UPLOAD_UNKNOWN"):
        app("blobs", "finish", upload=upload, path="p")


def test_uploads_belong_to_their_run(storage, app):
    """Another app, or another run of the same app, cannot write what is being written."""
    upload = app("blobs", "begin", path="p")["upload"]
    for other in (App(storage, "other"), App(storage, run_id="later"), App(storage, "shop", "t")):
        with fails("BLOB_UPLOAD_UNKNOWN"):
            other("blobs", "write", upload=upload, ordinal=0, data=b64(b"x"))
        with fails("BLOB_UPLOAD_UNKNOWN"):
            other("blobs", "finish", upload=upload, path="p")


def test_uploads_are_few_and_do_not_wait_for_ever(storage, app):
    """Those that nobody goes on with make room."""
    for _ in range(2):
        upload = app("blobs", "begin", path="p")["upload"]
    with fails("QUOTA_EXCEEDED") as messages:
        app("blobs", "begin", path="p")
    assert "apps.upload_count_max = 2" in messages[0]
    App(storage, "other")("blobs", "begin", path="p")
    storage.clock.now_ns += 1001 * 10**6
    app("blobs", "begin", path="p")
    with fails("BLOB_UPLOAD_UNKNOWN"):
        app("blobs", "write", upload=upload, ordinal=0, data=b64(b"x"))


def test_what_is_too_large(app):
    """A blob, all blobs, and their number have limits; what was there stays."""
    with fails("STORAGE_TOO_LARGE") as messages:
        app("blobs", "put", path="p", data=b64(bytes(20 * CHUNK + 1)))
    assert "apps.blob_limit_bytes = 20480" in messages[0]
    with fails("STORAGE_TOO_LARGE"):
        write(app, "p", [bytes(15 * CHUNK)] * 2)
    assert app("blobs", "list") == []
    write(app, "1", [bytes(20 * CHUNK)])
    write(app, "2", [bytes(20 * CHUNK)])
    with fails("QUOTA_EXCEEDED") as messages:
        app("blobs", "put", path="3", data=b64(b"x"))
    assert "apps.blobs_limit_bytes = 40960" in messages[0]
    with fails("QUOTA_EXCEEDED"):
        write(app, "3", [b"x"])
    app("blobs", "put", path="2", data=b64(b"x"))
    app("blobs", "put", path="3", data=b64(b"x"))
    with fails("QUOTA_EXCEEDED") as messages:
        app("blobs", "put", path="4", data=b64(b""))
    assert "apps.blob_count_max = 3" in messages[0]


def test_paths_are_names(app, tmp_path):
    """A path leads nowhere; a list has those that begin alike, in the order of bytes."""
    for path in ("../../etc/passwd", "/a", "a%"):
        app("blobs", "put", path=path, data={"text": path})
    assert [found["path"] for found in app("blobs", "list")] == ["../../etc/passwd", "/a", "a%"]
    assert [found["path"] for found in app("blobs", "list", prefix="..")] == ["../../etc/passwd"]
    assert [found["path"] for found in app("blobs", "list", after="/", limit=1)] == ["/a"]
    assert app("blobs", "list", prefix="a_") == []
    assert read(app, "../../etc/passwd") == b"../../etc/passwd"


@pytest.mark.parametrize(
    ("target", "args"),
    [
        ("put", {"path": "", "data": {"text": ""}}),
        ("put", {"path": "a\0b", "data": {"text": ""}}),
        ("put", {"path": "x" * 1025, "data": {"text": ""}}),
        ("put", {"path": "p", "data": "text"}),
        ("put", {"path": "p", "data": {}}),
        ("put", {"path": "p", "data": {"b64": "?"}}),
        ("put", {"path": "p", "data": {"b64": "YQ==", "text": ""}}),
        ("put", {"path": "p", "data": {"text": ""}, "mime": ""}),
        ("put", {"path": "p", "data": {"text": ""}, "mime": "a\nb"}),
        ("put", {"path": "p", "data": {"text": ""}, "app": "other"}),
        ("read", {"path": "p", "offset": -1}),
        ("read", {"path": "p", "length": 0}),
        ("read", {"path": "p", "length": CHUNK + 1}),
        ("list", {"limit": 0}),
        ("list", {"limit": 1001}),
        ("list", {"prefix": "\n"}),
        ("write", {"upload": "x", "ordinal": -1, "data": {"text": ""}}),
    ],
)
def test_arguments_that_mean_nothing(app, target, args):
    """They are refused by name, and nothing is kept."""
    with fails("STORAGE_ARGUMENTS"):
        app("blobs", target, **args)
    assert app("blobs", "list") == []


def test_a_content_of_another_app_is_not_reached_by_its_hash(storage, app):
    """Equal contents are kept once; knowing the hash of one gives no way to it."""
    head = app("blobs", "put", path="secret", data={"text": "s"})
    other = App(storage, "other")
    assert other("blobs", "read", path="secret") is None
    with fails("BLOB_CHANGED"):
        other("blobs", "read", path="secret", hash=head["hash"])
    other("blobs", "put", path="mine", data={"text": "s"})
    app("blobs", "delete", path="secret")
    assert read(other, "mine") == b"s"

"""Tests of snapshots: the same state comes back, and only from the bytes, key and image it had."""

from __future__ import annotations

import hashlib
import hmac

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engine.descriptors import Descriptors, OpenFile
from cloche.engine.errors import SnapshotError
from cloche.engine.mounted import mounted_tree
from cloche.engine.nodes import Errno
from cloche.engine.pages import PAGE_BYTES
from cloche.engine.snapshot import (
    KEY_BYTES,
    MachineState,
    NodeState,
    Snapshot,
    capture_descriptors,
    capture_files,
    restore_descriptors,
    restore_files,
    seal,
    unseal,
)
from cloche.engine.vfs import FileSystem, StoredFile
from cloche.limits import Limits
from engine.support import Now, content, fails, make_files, make_limits, paths, put

KEY = bytes(range(KEY_BYTES))
LIMITS = Limits()
TREE = mounted_tree({"/usr/lib.zip": memoryview(b"PK"), "/usr/lib.zip/a.py": memoryview(b"a")})


def make_state(files=None, descriptors=None, **changes):
    """Return the virtual OS of a guest as data."""
    files = files or make_files("/f")
    states, orphans = capture_descriptors(descriptors or Descriptors(files, 10))
    fields = {
        "clock_started_ns": 1,
        "clock_now_ns": 2,
        "entropy_seed": 3,
        "entropy_block_count": 4,
        "next_inode": files.next_inode,
        "nodes": capture_files(files) + orphans,
        "descriptors": states,
    }
    return MachineState(**{**fields, **changes})


def make_snapshot(**changes):
    """Return a snapshot of two pages."""
    fields = {
        "image_id": "1" * 64,
        "memory_bytes": 65536,
        "pages": [0, 15],
        "content": b"a" * PAGE_BYTES + b"b" * PAGE_BYTES,
        "machine": make_state(),
    }
    return Snapshot(**{**fields, **changes})


SEALED = seal(make_snapshot(), KEY)


def refused(blob, key=KEY, limits=LIMITS, image_id=None):
    """Return the message with which a blob is refused."""
    with pytest.raises(SnapshotError) as caught:
        unseal(blob, key, limits=limits, image_id=image_id)
    return caught.value.message


# --- the blob ---


def test_layout():
    """Magic, version, HMAC over all else, then zstd over msgpack (independent decoding)."""
    assert SEALED[:5] == b"CLSN\x01"
    mac = hmac.new(KEY, SEALED[:5] + SEALED[37:], hashlib.sha256).digest()
    assert SEALED[5:37] == mac
    body = msgspec.msgpack.decode(zstandard.decompress(SEALED[37:]))
    assert sorted(body) == ["content", "image_id", "machine", "memory_bytes", "pages"]
    assert body["pages"] == [0, 15]


STATES = st.builds(
    MachineState,
    clock_started_ns=st.integers(0, 1 << 62),
    clock_now_ns=st.integers(0, 1 << 62),
    entropy_seed=st.integers(0, (1 << 64) - 1),
    entropy_block_count=st.integers(0, 1 << 40),
    next_inode=st.integers(2, 1 << 31),
    nodes=st.lists(
        st.builds(
            NodeState,
            inode=st.integers(1, 1 << 31),
            mtime_ns=st.integers(-(1 << 63), (1 << 63) - 1),
            read_only=st.booleans(),
            data=st.binary(max_size=20),
        ),
        max_size=4,
    ),
    descriptors=st.just([]),
)


@given(STATES, st.sets(st.integers(0, 31), max_size=4).map(sorted), st.data())
@settings(max_examples=50)
def test_round_trip(machine, pages, data):
    """Whatever was sealed comes back equal; sealing it twice gives the same bytes."""
    content = b"".join(bytes([data.draw(st.integers(0, 255))]) * PAGE_BYTES for _ in pages)
    snapshot = Snapshot(
        image_id="ab" * 32,
        memory_bytes=2 * 65536,
        pages=pages,
        content=content,
        machine=machine,
    )
    blob = seal(snapshot, KEY)
    assert unseal(blob, KEY, limits=LIMITS, image_id="ab" * 32) == snapshot
    assert unseal(blob, KEY, limits=LIMITS) == snapshot
    assert seal(unseal(blob, KEY, limits=LIMITS), KEY) == blob


def test_any_flipped_byte_is_refused():
    """Changing any one byte to any of three other values is refused, and so is any other length."""
    for offset in range(len(SEALED)):
        for flip in (0x01, 0x80, 0xFF):
            blob = bytearray(SEALED)
            blob[offset] ^= flip
            refused(bytes(blob))
    for end in range(len(SEALED)):
        refused(SEALED[:end])
    refused(SEALED + b"\0")


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_refused(blob, with_magic):
    """Nothing that was not sealed is opened, and nothing else is raised."""
    refused(b"CLSN\x01" + blob if with_magic else blob)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "this is not a snapshot: it does not start with CLSN"),
        (b"CLSN", "this is not a snapshot: it does not start with CLSN"),
        (b"GLSN" + SEALED[4:], "this is not a snapshot: it does not start with CLSN"),
        (
            b"CLSN\x02" + SEALED[5:],
            "the snapshot has format 2, expected 1; use the version of cloche that wrote it",
        ),
        (
            SEALED[:-1] + bytes([SEALED[-1] ^ 1]),
            "the snapshot's signature does not match: it was changed, or signed with another key",
        ),
    ],
)
def test_messages_of_refusals(blob, message):
    """Each refusal says what was found and what to do."""
    assert refused(blob) == message


def test_another_key_is_refused():
    """A snapshot opens with the key that signed it alone."""
    other = bytes([KEY[0] ^ 1]) + KEY[1:]
    assert refused(SEALED, other) == (
        "the snapshot's signature does not match: it was changed, or signed with another key"
    )
    for short in (b"", KEY[:-1], KEY + b"\0"):
        message = f"a snapshot key has 32 bytes, this one has {len(short)}"
        assert refused(SEALED, short) == message
        with pytest.raises(SnapshotError):
            seal(make_snapshot(), short)


def test_another_image_is_refused():
    """A snapshot opens for its image alone, and the error names both."""
    with pytest.raises(SnapshotError) as caught:
        unseal(SEALED, KEY, limits=LIMITS, image_id="2" * 64)
    assert caught.value.message == (
        "the snapshot belongs to image 111111111111, not to 222222222222; "
        "restore it with the image it was taken from"
    )
    assert caught.value.fields == {"found": "1" * 64, "expected": "2" * 64}


def test_what_expands_too_far_is_refused_before_it_does():
    """The size is read from the frame; a bomb, even with the right signature, takes no memory."""
    bomb = make_snapshot(pages=list(range(512)), memory_bytes=1 << 22, content=bytes(1 << 21))
    blob = seal(bomb, KEY)
    limits = LIMITS.replace({"engine": {"snapshot_limit_bytes": 1 << 20}})
    assert len(blob) < 10_000
    assert "engine.snapshot_limit_bytes is 1048576" in refused(blob, limits=limits)
    assert unseal(blob, KEY, limits=LIMITS) == bomb


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no frame",
        zstandard.compress(b""),
        zstandard.compress(b"\xc1"),
        zstandard.compress(msgspec.msgpack.encode({"image_id": "x"})),
        zstandard.compress(msgspec.msgpack.encode([1, 2])),
        zstandard.compress(b"x" * 100)[:-3],
        zstandard.ZstdCompressor(write_content_size=False).compress(b"x"),
    ],
    ids=["nothing", "no frame", "empty", "no msgpack", "field", "array", "cut", "no size"],
)
def test_a_signed_body_that_is_none_is_refused(body):
    """A right signature over something else is still an error of its own kind."""
    mac = hmac.new(KEY, b"CLSN\x01" + body, hashlib.sha256).digest()
    refused(b"CLSN\x01" + mac + body)


@pytest.mark.parametrize(
    "changes",
    [
        {"pages": [0]},
        {"pages": [0, 1, 2]},
        {"pages": [0, 16]},
        {"pages": [-1, 0]},
        {"content": b"a" * (2 * PAGE_BYTES - 1)},
        {"memory_bytes": 0},
    ],
)
def test_pages_outside_of_the_memory_are_refused(changes):
    """Each page has its content, and a place in the memory."""
    blob = seal(make_snapshot(**changes), KEY)
    assert refused(blob) == "the snapshot's pages do not match its memory"


# --- files and descriptors ---


def restored(files, descriptors, tree=None, limits=None):
    """Return file system and table as they come back from a sealed snapshot."""
    blob = seal(make_snapshot(machine=make_state(files, descriptors)), KEY)
    state = unseal(blob, KEY, limits=LIMITS).machine
    fresh = FileSystem(limits or make_limits(), Now(5))
    fresh.make_hidden_directory("tmp")
    table = Descriptors(fresh, 10)
    restore_descriptors(state, table, restore_files(state, fresh, tree), tree)
    return fresh, table


def test_files_come_back():
    """Content, times, rights, links, hidden names, numbers and charges are as they were."""
    now = Now(1)
    files = make_files("/d/f", "/empty/", now=now)
    files.make_hidden_directory("tmp")
    now.time_ns = 2
    put(files, "/tmp/x", b"x")
    files.add(StoredFile(path="/fixed", content=b"fixed", read_only=True))
    files.symlink("d/f", "/link")
    files.link("/d/f", "/again")
    files.mount(TREE)
    back, _ = restored(files, None, TREE)
    assert list(back.files()) == list(files.files())
    assert back.root.names() == ["again", "d", "empty", "fixed", "link"]
    assert content(back, "/tmp/x") == b"x"
    assert content(back, "/link") == b"/d/f"
    assert content(back, "/usr/lib.zip/a.py") == b"a"
    assert back.lookup("/again") is back.lookup("/d/f")
    assert back.lookup("/d/f").mtime_ns == 1
    assert back.lookup("/tmp/x").mtime_ns == 2
    with fails(Errno.PERM):
        put(back, "/fixed")
    for name in ("used_bytes", "file_count", "next_inode"):
        assert getattr(back, name) == getattr(files, name)
    assert capture_files(back) == capture_files(files)


def test_what_is_open_comes_back():
    """Numbers, positions, flags, and what the descriptors hold: streams, files, the image's too."""
    files = make_files("/f")
    files.mount(TREE)
    table = Descriptors(files, 10)
    table.close(0)
    for path, flags in (("/f", 1), ("/usr/lib.zip", 0), ("/f", 0)):
        node = files.lookup(path)
        table.open(OpenFile(node=node, offset=3, flags=flags, writable=bool(flags)))
    back, again = restored(files, table, TREE)
    assert [(n, o.stream, o.offset, o.flags, o.readable, o.writable) for n, o in again.items()] == [
        (n, o.stream, o.offset, o.flags, o.readable, o.writable) for n, o in table.items()
    ]
    assert [number for number, _ in again.items()] == [0, 1, 2, 3, 4, 5]
    assert again.get(0).node is again.get(5).node is back.lookup("/f")
    assert again.get(4).node is back.lookup("/usr/lib.zip")
    assert again.directory(3) is back.root
    assert back.lookup("/f").open_count == 2


def test_what_is_open_and_has_no_name_comes_back():
    """Removed files and directories that are still held are held again, and freed when closed."""
    files = make_files("/file", "/d/e/")
    table = Descriptors(files, 10)
    numbers = [table.open(OpenFile(node=files.lookup(p))) for p in ("/file", "/file", "/d/e")]
    files.unlink("/file")
    files.remove_directory("/d/e")
    back, again = restored(files, table)
    assert (paths(back), back.used_bytes, back.file_count) == ([], 5, 2)
    first, second, directory = (again.get(number).node for number in numbers)
    assert first is second
    assert back.read(first, 0, 9) == b"/file"
    with fails(Errno.NOENT):
        back.make_directory("x", start=directory)
    for number in numbers:
        again.close(number)
    assert (back.used_bytes, back.file_count) == (0, 1)


def test_new_files_get_new_numbers():
    """Numbering goes on where it was."""
    files = make_files("/a", "/b")
    files.unlink("/b")
    back, _ = restored(files, None)
    assert put(back, "/c").inode == put(files, "/c").inode == 4


def test_quotas_hold_against_what_came_back():
    """Restored files count; one that is over a lower limit is there and cannot grow."""
    back, _ = restored(make_files("/file"), None, limits=make_limits(files_limit_bytes=4))
    assert content(back, "/file") == b"/file"
    with fails(Errno.NOSPC):
        put(back, "/more", b"x")


def test_a_name_without_a_file_is_refused():
    """Entries that lead nowhere are no tree."""
    root = NodeState(inode=1, mtime_ns=0, read_only=False, entries=[("gone", 2)])
    with pytest.raises(SnapshotError, match=r"^the snapshot names a file that it does not hold$"):
        restore_files(make_state(nodes=[root]), make_files(), None)


@pytest.mark.parametrize(
    "nodes", [[], [NodeState(inode=1, mtime_ns=0, read_only=False, data=b"")]], ids=["none", "file"]
)
def test_files_without_a_root_are_refused(nodes):
    """The first node is the root directory."""
    with pytest.raises(SnapshotError, match=r"^the snapshot has no root directory$"):
        restore_files(make_state(nodes=nodes), make_files(), None)


def test_a_descriptor_without_a_file_is_refused():
    """What is open must be there: the snapshot's own, or the image's that is mounted again."""
    files = make_files()
    files.mount(TREE)
    table = Descriptors(files, 10)
    table.open(OpenFile(node=files.lookup("/usr/lib.zip")))
    with pytest.raises(SnapshotError, match=r"^the snapshot has a file open that it does not hold"):
        restored(files, table, tree=None)

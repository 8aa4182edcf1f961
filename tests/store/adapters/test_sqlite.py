"""The SQLite file: how it is made, and what happens when something is in the way."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from cloche.limits import Limits
from cloche.store.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreForeignError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnknownError,
)
from cloche.store.open import open_store
from cloche.store.rows import Run
from cloche.testing.store_support import new_run, new_session

SHORT = Limits().replace({"store": {"busy_timeout_ms": 50}})


@pytest.fixture
def path(tmp_path):
    """Return where a store can be made."""
    return tmp_path / "folder" / "cloche.db"


@pytest.fixture
def store(path):
    """Return an open store with a run."""
    store = open_store(path)
    store.runs.create(new_run("r"))
    yield store
    store.close()


def test_only_the_owner_can_read_it(store, path):
    """The file, its log and the folder that was made for it are closed to others, any umask."""
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {file.name for file in path.parent.iterdir()} >= {"cloche.db", "cloche.db-wal"}


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_every_connection_is_set_up(path, durability, synchronous):
    """Durability, foreign keys and the write-ahead log hold for all connections of the pool."""
    store = open_store(path, durability=durability)
    connections = [store.database.engine.connect() for _ in range(3)]
    for connection in connections:
        for pragma, expected in (
            ("synchronous", synchronous),
            ("foreign_keys", 1),
            ("journal_mode", "wal"),
            ("busy_timeout", 10_000),
        ):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == expected, pragma
    for connection in connections:
        connection.close()
    store.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_what_need_not_be_on_the_disk_at_once_is_not_waited_for(path, durability, synchronous):
    """A lazy change is not synchronised, and the next one on the same connection is again."""
    store = open_store(path, durability=durability)
    store.runs.create(new_run("r"))

    def level(connection):
        return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    for is_lazy in (True, False, False, True, True, False):
        expected = 1 if is_lazy else synchronous
        assert store.database.write(level, is_lazy=is_lazy) == expected
    levels = []
    for count, is_lazy in enumerate((True, False, True)):
        store.journals.append("r", [b"x"], expected_count=count, is_lazy=is_lazy)
        own = store.journals._raw.driver_connection
        levels.append(own.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [1, synchronous, 1]
    store.close()


def test_closing_leaves_one_file(path):
    """The log is moved into the file when the last connection is closed."""
    open_store(path).close()
    assert [file.name for file in path.parent.iterdir()] == ["cloche.db"]


def test_a_full_disk_changes_nothing(store):
    """Too large a batch is refused whole; smaller ones go on, and all goes on with more space."""
    store.journals.append("r", [b"before"], expected_count=0)
    raw = store.journals._own_connection()
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StoreFullError) as raised:
        store.journals.append("r", [bytes(200_000)], expected_count=1)
    assert raised.value.retryable
    assert raised.value.reason == "database or disk is full"
    assert store.journals.head("r").count == 1
    assert store.journals.append("r", [b"small"], expected_count=1) == 2
    raw.execute("PRAGMA max_page_count = 1000000")
    assert store.journals.append("r", [bytes(200_000)], expected_count=2) == 3
    assert list(store.journals.read("r"))[:2] == [b"before", b"small"]


def append_until_full(store):
    """Return how many appends were acknowledged before the disk was full."""
    count = 0
    try:
        while True:
            count = store.journals.append("r", [bytes(50_000)], expected_count=count)
    except StoreFullError:
        return count


def test_a_disk_that_is_really_full_changes_nothing(tmp_path):
    """On a file system of 2 MB nothing is lost, and service resumes when there is space again."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", mounted]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        store = open_store(mounted / "cloche.db")
        store.runs.create(new_run("r"))
        filler = mounted / "filler"
        filler.write_bytes(bytes(1 << 20))
        count = append_until_full(store)
        with pytest.raises(StoreFullError):
            store.blobs.put(os.urandom(4 << 20), now_ns=0)
        assert store.journals.head("r").count == count
        filler.unlink()
        assert store.journals.append("r", [b"after"], expected_count=count) == count + 1
        store.close()
        store = open_store(mounted / "cloche.db")
        assert store.journals.head("r").count == count + 1
        assert len(store.journals.read("r")) == count + 1
        store.close()
    finally:
        # At once or later: a program that another test starts may hold what is open here.
        subprocess.run(["umount", "--lazy", mounted], check=True)


def test_another_process_that_writes_is_waited_for(path):
    """After the busy timeout it is an error that says so, and nothing was changed."""
    store = open_store(path, limits=SHORT)
    store.runs.create(new_run("r"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for call in (
        lambda: store.journals.append("r", [b"x"], expected_count=0),
        lambda: store.runs.create(new_run("q")),
    ):
        with pytest.raises(StoreBusyError) as raised:
            call()
        assert raised.value.fields == {"store": str(path), "waited_ms": 50}
        assert raised.value.retryable
    assert store.runs.get("q") is None
    other.execute("COMMIT")
    other.close()
    assert store.journals.append("r", [b"x"], expected_count=0) == 1
    store.close()


def test_another_thread_that_writes_is_waited_for(path):
    """A thread that holds the writer's place is an error after the same time."""
    store = open_store(path, limits=SHORT)
    with store.database.exclusive(), pytest.raises(StoreBusyError):
        store.runs.create(new_run("q"))
    store.runs.create(new_run("q"))
    store.close()


def test_more_readers_than_connections_wait(path):
    """Threads beyond the pool wait for a connection instead of failing."""
    limits = Limits().replace({"store": {"connection_count_max": 2}})
    store = open_store(path, limits=limits)
    store.runs.create(new_run("r"))
    found = []

    def read():
        found.extend(store.runs.get("r").id for _ in range(50))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400
    store.close()


@pytest.mark.parametrize("content", [b"no database at all " * 100, b"\x89PNG\r\n", b"x"])
def test_a_file_that_is_no_database_is_untouched(tmp_path, content):
    """It is refused, and stays as it is."""
    path = tmp_path / "cloche.db"
    path.write_bytes(content)
    with pytest.raises(StoreForeignError) as raised:
        open_store(path)
    assert raised.value.found == "the file is no database"
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["cloche.db"]


def test_a_database_of_another_program_is_untouched(tmp_path):
    """It is refused by its tables, and stays as it is, not even set to WAL."""
    path = tmp_path / "cloche.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE moz_places (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreForeignError) as raised:
        open_store(path)
    assert raised.value.found == "a database of another program, with moz_places"
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path):
    """What a crash left between making the file and its first table is no obstacle."""
    path = tmp_path / "cloche.db"
    path.touch()
    store = open_store(path)
    store.runs.create(new_run("r"))
    store.close()


def test_a_folder_is_no_store(tmp_path):
    """A path that is a folder is refused with the reason of the system."""
    with pytest.raises(StoreReadOnlyError) as raised:
        open_store(tmp_path)
    assert raised.value.reason == "Is a directory"


READ_ONLY = """
import os, sys
from cloche.store.adapters.sql import sqlite, store
from cloche.store.errors import StoreReadOnlyError
from cloche.store.open import open_store
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    open_store(sys.argv[1])
except StoreReadOnlyError as error:
    print(error.reason)
"""


def test_a_file_that_cannot_be_written_is_refused():
    """Opening says so at once, to any user but root; the store is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "cloche.db"
        open_store(path).close()
        before = path.read_bytes()
        path.chmod(0o444)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, path], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == ("Permission denied\n", "")
        assert path.read_bytes() == before


def test_a_damaged_page_is_damage(path):
    """Bytes that changed under a table are an error, never a wrong answer without one."""
    store = open_store(path)
    for index in range(200):
        store.runs.create(new_run(f"r{index:03}", request=b"x" * 500))
    store.close()
    content = bytearray(path.read_bytes())
    page = content.find(b"x" * 500) // 4096 * 4096
    content[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    store = open_store(path)
    with pytest.raises(StoreCorruptError):
        store.runs.list(limit=1000)
    store.close()


def damage_blob(store, statement):
    """Change the chunks of a blob behind the store's back; return its name."""
    sha256 = store.blobs.put(b"content" * 400_000, now_ns=0).sha256
    raw = store.journals._own_connection()
    assert raw.execute(statement).rowcount >= 1
    return sha256


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE blob_chunks SET data = x'00' WHERE ordinal = 1",
        "UPDATE blob_chunks SET codec = 0 WHERE ordinal = 2",
        "UPDATE blob_chunks SET codec = 7 WHERE ordinal = 0",
        "UPDATE blob_chunks SET size_bytes = size_bytes - 1 WHERE ordinal = 1",
        "DELETE FROM blob_chunks WHERE ordinal = 1",
        (
            "UPDATE blob_chunks SET data = (SELECT data FROM blob_chunks WHERE ordinal = 1) "
            "WHERE ordinal = 0"
        ),
        "UPDATE blobs SET size_bytes = size_bytes + 1",
        "UPDATE blobs SET size_bytes = size_bytes - 1",
    ],
)
def test_a_damaged_blob_is_never_given_out_whole(store, statement):
    """Whatever is wrong with its chunks, the last one does not come."""
    sha256 = damage_blob(store, statement)
    with pytest.raises(StoreCorruptError):
        store.blobs.get(sha256)
    received = []
    with pytest.raises(StoreCorruptError):
        received.extend(store.blobs.read(sha256))
    assert sum(map(len, received)) < 2_800_000


def test_a_blob_that_goes_while_it_is_read_is_unknown(store):
    """A reader that was overtaken by a collection is told so; it is no damage."""
    sha256 = store.blobs.put(b"content" * 400_000, now_ns=0).sha256
    chunks = store.blobs.read(sha256)
    next(chunks)
    assert store.blobs.collect(before_ns=1) == 1
    with pytest.raises(StoreUnknownError):
        list(chunks)


def test_a_large_blob_is_put_in_parts_and_cleaned_up(store):
    """What a crash leaves of a put is garbage by its time, and nobody can read it before."""

    class CrashError(BaseException):
        pass

    def content():
        for _ in range(20):
            yield os.urandom(1 << 20)
        # Gone before the put can clean up: its connections fail.
        store.database.write = crash
        raise CrashError

    def crash(_work):
        raise CrashError

    with pytest.raises(CrashError):
        store.blobs.put(content(), now_ns=5)
    del store.database.write
    raw = store.journals._own_connection()
    assert raw.execute("SELECT count(*) FROM blobs WHERE sha256 IS NULL").fetchone() == (1,)
    assert raw.execute("SELECT count(*) FROM blob_chunks").fetchone()[0] > 0
    assert store.blobs.collect(before_ns=5) == 0
    assert store.blobs.collect(before_ns=6) == 1
    assert raw.execute("SELECT count(*) FROM blob_chunks").fetchone() == (0,)


def test_snapshots_that_are_compressed_already_are_kept_as_they_are(store):
    """What zstd cannot make smaller takes no more than its size."""
    content = os.urandom(300_000)
    assert store.blobs.put(content, now_ns=0).stored_bytes == 300_000
    assert store.blobs.put(bytes(300_000), now_ns=0).stored_bytes < 1000


def test_a_thousand_sessions_are_ordinary(store):
    """Creating and listing them takes no special care."""
    for index in range(1000):
        store.sessions.create(new_session(f"s{index:04}", name=f"name {index}"))
    assert len(store.sessions.list(limit=2000)) == 1000
    assert store.sessions.get("name 999").id == "s0999"


def test_runs_are_pickled_rows(store):
    """A row is the value that was put in, field by field."""
    run = Run(id="full", language="python", status="queued", created_ns=(1 << 63) - 1)
    store.runs.create(run)
    assert store.runs.get("full") == run

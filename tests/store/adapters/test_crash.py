"""A process is killed in the middle: nothing that was acknowledged is lost, nothing is half there.

The writer prints the count of each journal after the append returned; the test reads as it goes,
kills with SIGKILL at some line, and compares what is kept with what was printed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys

import pytest

from cloche.store.open import open_store
from cloche.store.rows import Run, Session

WRITER = """
import sys, threading
from cloche.store.open import open_store
from cloche.store.rows import Change, Step
from dataclasses import replace

store = open_store(sys.argv[1])
lock = threading.Lock()

def say(text):
    with lock:
        sys.stdout.write(text + "\\n")
        sys.stdout.flush()

def journal(index):
    count = 0
    while True:
        batch = [b"%d/%d" % (index, count + part) for part in range(1 + count % 4)]
        count = store.journals.append(f"r{index}", batch, expected_count=count,
                                      head=b"%d" % (count + len(batch)))
        say(f"j {index} {count}")

def change():
    turn = 0
    while True:
        turn += 1
        blob = store.blobs.put(b"%d;" % turn * 1_000_000, now_ns=turn)
        session = store.sessions.get("s")
        head = replace(session.head, ordinal=turn, snapshot=blob.sha256, snapshot_ordinal=turn)
        store.sessions.apply(Change(session=replace(session, head=head),
                                    steps=(Step(ordinal=turn, blob=blob.sha256),)))
        say(f"s {turn}")

threads = [threading.Thread(target=journal, args=(i,), daemon=True) for i in range(6)]
threads.append(threading.Thread(target=change, daemon=True))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of a store that lasts."""
    if request.param == "sqlite":
        return str(tmp_path / "cloche.db")
    return request.getfixturevalue("postgresql_url")


@pytest.mark.parametrize("line_count", [3, 20, 77, 150, 300])
def test_a_killed_writer_loses_nothing_acknowledged(url, line_count):
    """Every append and change that returned is kept whole; a batch in flight is whole or absent."""
    prepare(url)
    said = run_and_kill(url, line_count)
    store = open_store(url)
    for index in range(6):
        acknowledged = max((count for kind, *rest in said if kind == "j" and rest[0] == index
                            for count in rest[1:]), default=0)  # fmt: skip
        check_journal(store, index, acknowledged)
    check_session(store, max((line[1] for line in said if line[0] == "s"), default=0))
    store.close()


def prepare(url):
    """Make what the writer writes to."""
    store = open_store(url)
    session = Session(id="s", language="python", image_id="i", created_ns=0, changed_ns=0)
    store.sessions.create(session)
    for index in range(6):
        store.runs.create(Run(id=f"r{index}", language="python", status="running", created_ns=0))
    store.close()


def run_and_kill(url, line_count):
    """Return what the writer said before it was killed, as tuples."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    lines = [writer.stdout.readline() for _ in range(line_count)]
    os.kill(writer.pid, signal.SIGKILL)
    # What was in the pipe was said before the kill, too.
    lines += [line for line in writer.stdout.read().splitlines(keepends=True) if line[-1] == "\n"]
    writer.stdout.close()
    assert writer.wait(100) == -signal.SIGKILL
    return [(kind, *map(int, rest)) for kind, *rest in map(str.split, lines)]


def check_journal(store, index, acknowledged):
    """Check that a journal has what was acknowledged, and ends after a whole batch."""
    head = store.journals.head(f"r{index}")
    entries = []
    while page := store.journals.read(f"r{index}", start=len(entries)):
        entries += page
    assert entries == [b"%d/%d" % (index, part) for part in range(head.count)]
    assert head.count >= acknowledged
    assert head.size_bytes == sum(map(len, entries))
    ends, count = {0}, 0
    while count < head.count:
        count += 1 + count % 4
        ends.add(count)
    assert head.count in ends
    assert head.hash == (b"%d" % head.count if head.count else b"")


def check_session(store, acknowledged):
    """Check that a session has what was acknowledged, with its blobs."""
    session = store.sessions.get("s")
    turn = session.revision
    assert turn >= acknowledged
    assert session.head.ordinal == turn
    steps = store.sessions.steps("s")
    assert [step.ordinal for step in steps] == list(range(1, turn + 1))
    for step in steps[-3:]:
        assert store.blobs.get(step.blob) == b"%d;" % step.ordinal * 1_000_000
    if turn:
        assert session.head.snapshot == steps[-1].blob
    # A blob that was put and not named yet is garbage; a half one is never seen.
    store.blobs.collect(before_ns=1 << 62)
    unnamed = hashlib.sha256(b"%d;" % (turn + 1) * 1_000_000).hexdigest()
    assert store.blobs.info(unnamed) is None
    assert store.sessions.get("s") == session


def test_a_killed_server_loses_nothing_acknowledged(postgresql_url, server):
    """After the server crashed and came back the same store goes on, without being opened again."""
    store = open_store(postgresql_url)
    store.runs.create(Run(id="r", language="python", status="running", created_ns=0))
    count = store.journals.append("r", [b"before"], expected_count=0)
    server.kill()
    server.launch()
    assert store.journals.append("r", [b"after"], expected_count=count) == 2
    assert list(store.journals.read("r")) == [b"before", b"after"]
    store.close()

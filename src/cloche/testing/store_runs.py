"""Checks of a store: runs, journals, blobs."""

# ruff: noqa: PLR2004 - what a check puts in, it counts

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.store.errors import (
    StoreChangedError,
    StoreExistsError,
    StoreInvalidError,
    StoreTooLargeError,
    StoreUnknownError,
)
from cloche.store.rows import (
    Change,
    Document,
    Head,
    JournalAppend,
    JournalHead,
    Promise,
    RunStatus,
    Snapshot,
    Step,
    Timer,
)
from cloche.testing.store_support import (
    ABSENT,
    NOW_NS,
    at_once,
    new_approval,
    new_run,
    new_session,
    raises,
)

if TYPE_CHECKING:
    from cloche.store.ports import Store


# --- runs and journals ---


def check_runs(store: Store) -> None:
    """A run comes back as it was created and last replaced; what is final stays."""
    store.sessions.create(new_session("s"))
    run = new_run("r", "queued", session_id="s", request=b"\x00", usage=b"u", result=b"")
    store.runs.create(run)
    assert store.runs.get("r") == run
    assert store.runs.get("absent") is None
    raises(StoreExistsError, lambda: store.runs.create(run), what="run", id="r")
    lost = new_run("lost", session_id="absent")
    raises(StoreUnknownError, lambda: store.runs.create(lost), what="session", id="absent")
    running = replace(run, status="running", started_ns=NOW_NS + 1)
    store.runs.update(running, expected="queued")
    assert store.runs.get("r") == running
    raises(
        StoreChangedError,
        lambda: store.runs.update(running, expected="queued"),
        what="run",
        id="r",
        expected="queued",
        found="running",
    )
    interrupted = replace(running, status="interrupted", ended_ns=NOW_NS + 2)
    store.runs.update(interrupted, expected="running")
    store.runs.update(running, expected="interrupted")
    failed = replace(running, status="failed", ended_ns=NOW_NS + 3, result=b"out")
    store.runs.update(failed, expected="running")
    for status in ("running", "completed", "queued"):
        later = new_run("r", status)
        raises(StoreChangedError, partial(store.runs.update, later, expected="failed"))
    assert store.runs.get("r") == failed
    assert store.journals.head("r") == JournalHead()
    raises(StoreUnknownError, lambda: store.runs.update(new_run("x"), expected="running"))


def check_run_pages(store: Store) -> None:
    """Runs come newest first, ties by id; a page begins behind the run that is named."""
    store.sessions.create(new_session("s"))
    for index in range(10):
        session_id = "s" if index % 2 else None
        status: RunStatus = "completed" if index % 3 == 0 else "running"
        created_ns = NOW_NS + index // 2
        store.runs.create(
            new_run(f"r{index}", status, session_id=session_id, created_ns=created_ns)
        )
    found: list[str] = []
    while page := store.runs.list(after=found[-1] if found else "", limit=3):
        found += [run.id for run in page]
    assert found == [f"r{index}" for index in reversed(range(10))]
    of_session = [run.id for run in store.runs.list(session_id="s", after="r7")]
    assert of_session == ["r5", "r3", "r1"]
    assert [run.id for run in store.runs.list(status="completed")] == ["r9", "r6", "r3", "r0"]
    assert not store.runs.list(session_id="absent")
    raises(StoreUnknownError, lambda: store.runs.list(after="absent"), what="run", id="absent")


def check_retention(store: Store) -> None:
    """Old runs go, oldest first, with all that hangs on them; history keeps its own."""
    store.sessions.create(new_session("s"))
    for index in range(5):
        store.runs.create(new_run(f"r{index}", "completed", ended_ns=NOW_NS + index))
        store.journals.append(f"r{index}", [b"entry"], expected_count=0)
    store.runs.create(new_run("live"))
    store.promises.create(Promise(id="p", run_id="r0", created_ns=NOW_NS))
    store.timers.set(Timer(id="t", run_id="r0", due_ns=NOW_NS))
    store.approvals.create(new_approval("a", run_id="r0"))
    session = store.sessions.get("s")
    assert session is not None
    store.sessions.apply(Change(session=session, steps=(Step(ordinal=1, run_id="r1"),)))
    raises(StoreChangedError, lambda: store.runs.delete("r1"), what="run", id="r1")
    assert store.runs.prune(ended_before_ns=NOW_NS) == 0
    assert store.runs.prune(ended_before_ns=NOW_NS + 4, limit=2) == 2
    assert [run.id for run in store.runs.list(status="completed")] == ["r4", "r3", "r1"]
    assert store.journals.head("r0") is None
    assert list(store.journals.read("r0")) == []
    assert store.promises.get("p") is None
    assert store.timers.next_due_ns() is None
    assert store.approvals.get("a") is None
    assert store.runs.prune(ended_before_ns=NOW_NS + 4) == 1
    assert store.runs.prune(ended_before_ns=NOW_NS + 4) == 0
    assert store.runs.delete("live")
    assert not store.runs.delete("live")


def check_journals(store: Store) -> None:
    """Entries come back byte for byte and in order; an append says what it stands on."""
    store.runs.create(new_run("r"))
    assert store.journals.head("r") == JournalHead()
    assert store.journals.head("absent") is None
    entries = [b"", b"\x00\xff", bytes(range(256)) * 300, b"last"]
    assert store.journals.append("r", entries[:1], expected_count=0, head=b"h1") == 1
    assert store.journals.append("r", entries[1:], expected_count=1, head=b"\x00h2") == 4
    size_bytes = sum(map(len, entries))
    assert store.journals.head("r") == JournalHead(count=4, size_bytes=size_bytes, hash=b"\x00h2")
    assert list(store.journals.read("r")) == entries
    assert list(store.journals.read("r", start=1, limit=2)) == entries[1:3]
    assert list(store.journals.read("r", start=9)) == []
    for expected_count in (0, 3, 5):
        raises(
            StoreChangedError,
            partial(store.journals.append, "r", [b"x"], expected_count=expected_count),
            what="journal",
            id="r",
            expected=f"{expected_count} entries",
            found="4",
        )
    assert list(store.journals.read("r")) == entries
    raises(
        StoreUnknownError,
        lambda: store.journals.append("absent", [b"x"], expected_count=0),
        what="run",
        id="absent",
    )
    large = bytes((16 << 20) + 1)
    raises(StoreTooLargeError, lambda: store.journals.append("r", [b"x", large], expected_count=4))
    assert store.journals.append("r", [], expected_count=4, head=b"h3") == 4


def check_lazy_changes(store: Store) -> None:
    """What is brought to the disk later is there for everybody at once, and follows the rules."""
    store.runs.create(new_run("r", "suspended"))
    store.runs.update(new_run("r"), expected="suspended", is_lazy=True)
    assert store.journals.append("r", [b"a"], expected_count=0, is_lazy=True) == 1
    raises(
        StoreChangedError,
        lambda: store.journals.append("r", [b"x"], expected_count=0, is_lazy=True),
    )
    raises(
        StoreChangedError,
        lambda: store.runs.update(new_run("r"), expected="suspended", is_lazy=True),
    )
    assert store.journals.append("r", [b"b"], expected_count=1) == 2
    assert (store.runs.get("r"), list(store.journals.read("r"))) == (new_run("r"), [b"a", b"b"])


def check_runs_with_entries(store: Store) -> None:
    """What a run begins and ends with is kept together with its row, or not at all."""
    run = new_run("r")
    store.runs.create(run, entries=[b"one", b"two"])
    assert store.journals.head("r") == JournalHead(count=2, size_bytes=6)
    raises(StoreExistsError, lambda: store.runs.create(run, entries=[b"again"]))
    done = new_run("r", "completed")
    for expected_count in (0, 1, 3):
        append = JournalAppend(run_id="r", entries=(b"x",), expected_count=expected_count)
        raises(
            StoreChangedError,
            partial(store.runs.update, done, expected="running", append=append),
            what="journal",
            expected=f"{expected_count} entries",
            found="2",
        )
        assert store.runs.get("r") == run
    append = JournalAppend(run_id="r", entries=(b"three",), expected_count=2)
    raises(
        StoreChangedError,
        lambda: store.runs.update(done, expected="queued", append=append),
        what="run",
    )
    store.runs.update(done, expected="running", append=append)
    assert store.runs.get("r") == done
    assert list(store.journals.read("r")) == [b"one", b"two", b"three"]
    assert store.journals.head("r") == JournalHead(count=3, size_bytes=11)
    large = bytes((16 << 20) + 1)
    raises(StoreTooLargeError, lambda: store.runs.create(new_run("q"), entries=[large]))
    named = Document(kind="k", name="n", data=b"of q")
    store.runs.create(new_run("q"), documents=[named])
    assert store.documents.get("k", "n") == named
    other = Document(kind="k", name="other", data=b"")
    raises(
        StoreChangedError,
        lambda: store.runs.create(new_run("p"), documents=[other, named]),
        what="document",
        id="n",
    )
    assert (store.runs.get("p"), store.documents.get("k", "other")) == (None, None)


def check_concurrent_appends(store: Store) -> None:
    """Many runs append at the same time, and two appends to one place exclude each other."""
    for index in range(8):
        store.runs.create(new_run(f"r{index}"))

    def append(index: int) -> None:
        count = 0
        for turn in range(20):
            entries = [b"%d-%d-%d" % (index, turn, part) for part in range(1 + turn % 3)]
            count = store.journals.append(f"r{index}", entries, expected_count=count)

    assert at_once(8, append) == [None] * 8
    for index in range(8):
        expected = [
            b"%d-%d-%d" % (index, turn, part) for turn in range(20) for part in range(1 + turn % 3)
        ]
        assert list(store.journals.read(f"r{index}")) == expected
    store.runs.create(new_run("r"))
    outcomes = at_once(8, lambda _: store.journals.append("r", [b"x"], expected_count=0))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *["StoreChangedError"] * 7,
        "int",
    ]
    assert list(store.journals.read("r")) == [b"x"]


# --- blobs ---


def check_blobs(store: Store) -> None:
    """Contents of any size come back as they are, whole or in chunks, and are kept once."""
    for content in (b"", b"x", b"abc" * 500_000, hashlib.sha256(b"s").digest() * 100_001):
        sha256 = hashlib.sha256(content).hexdigest()
        info = store.blobs.put(content, now_ns=NOW_NS)
        assert (info.sha256, info.size_bytes, info.put_ns) == (sha256, len(content), NOW_NS)
        pieces = [content[start : start + 70_001] for start in range(0, len(content), 70_001)]
        again = store.blobs.put(iter(pieces), now_ns=NOW_NS - 1)
        assert again == info
        assert store.blobs.get(sha256) == content
        assert b"".join(store.blobs.read(sha256)) == content
        assert store.blobs.info(sha256) == info
    assert store.blobs.info(ABSENT) is None
    raises(StoreUnknownError, lambda: store.blobs.get(ABSENT), what="blob", id=ABSENT)
    raises(StoreInvalidError, lambda: store.blobs.get("../etc"))
    raises(StoreInvalidError, lambda: store.blobs.put(["text"], now_ns=0))  # type: ignore[list-item]


def check_failed_puts(store: Store) -> None:
    """A content whose source breaks off is not kept, and neither are its first parts."""

    def broken() -> Any:
        for index in range(20):
            yield hashlib.sha256(b"%d" % index).digest() * 32_768
        raise RuntimeError

    try:
        store.blobs.put(broken(), now_ns=0)
    except RuntimeError:
        assert store.blobs.collect(before_ns=NOW_NS) == 0
    else:
        raise AssertionError


def check_garbage(store: Store) -> None:
    """What something names is kept; what nothing names goes when its time is before."""
    names = "head files step snapshot pin nothing".split()
    kept = {name: store.blobs.put(name.encode(), now_ns=NOW_NS).sha256 for name in names}
    session = new_session("s", head=Head(snapshot=kept["head"], files=kept["files"]))
    taken = Snapshot(ordinal=1, blob=kept["snapshot"], size_bytes=1, created_ns=NOW_NS)
    store.sessions.create(session, steps=[Step(ordinal=1, blob=kept["step"])], snapshots=[taken])
    store.blobs.pin("holder", kept["pin"])
    store.blobs.pin("holder", kept["pin"])
    for name in names:
        info = store.blobs.info(kept[name])
        assert info is not None
        assert info.reference_count == (name != "nothing"), name
    assert store.blobs.collect(before_ns=NOW_NS) == 0
    assert store.blobs.collect(before_ns=NOW_NS + 1) == 1
    assert store.blobs.info(kept["nothing"]) is None
    assert store.blobs.unpin("holder") == 1
    assert store.blobs.unpin("holder") == 0
    store.blobs.put(b"pin", now_ns=NOW_NS + 5)
    assert store.blobs.collect(before_ns=NOW_NS + 5) == 0
    assert store.blobs.collect(before_ns=NOW_NS + 6) == 1
    assert store.sessions.delete("s")
    assert store.blobs.collect(before_ns=NOW_NS + 1, limit=1) == 1
    assert store.blobs.collect(before_ns=NOW_NS + 1) == 3
    raises(StoreUnknownError, lambda: store.blobs.pin("holder", kept["pin"]), what="blob")


def check_garbage_against_puts(store: Store) -> None:
    """Collecting while others put and name the same content never takes what they hold."""
    content = b"contended" * 1000
    sha256 = hashlib.sha256(content).hexdigest()
    store.blobs.put(content, now_ns=0)

    def work(index: int) -> None:
        for turn in range(20):
            if index < 2:
                store.blobs.collect(before_ns=1)
            else:
                # Put at a time that no collection reaches, then hold it.
                store.blobs.put(content, now_ns=NOW_NS)
                store.blobs.pin(f"{index}/{turn}", sha256)
                assert store.blobs.get(sha256) == content

    assert at_once(6, work) == [None] * 6

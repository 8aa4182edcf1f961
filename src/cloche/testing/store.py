"""Conformance suite of the store's port.

Public: whoever writes a store runs every function of `CHECKS` in a test, each with a store of its
own that is empty. The suite states the behaviour once; it knows nothing of how a store keeps.
A check raises AssertionError when the store breaks a rule.
"""

# ruff: noqa: PLR2004 - what a check puts in, it counts

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreClosedError,
    StoreExistsError,
    StoreInvalidError,
    StoreTooLargeError,
    StoreUnknownError,
)
from cloche.store.ports import wait_promise
from cloche.store.rows import (
    Approval,
    Change,
    Head,
    JournalHead,
    Promise,
    Run,
    RunStatus,
    Session,
    Snapshot,
    Step,
    Timer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.errors import ClocheError
    from cloche.store.ports import Store

    Check: TypeAlias = Callable[[Store], None]

NOW_NS: Final = 1_700_000_000_000_000_000
_ABSENT: Final = "0" * 64


def new_session(session_id: str, **changes: Any) -> Session:
    """Return a session that a check can create."""
    session = Session(
        id=session_id, language="python", image_id="image", created_ns=NOW_NS, changed_ns=NOW_NS
    )
    return replace(session, **changes)


def new_run(run_id: str, status: RunStatus = "running", **changes: Any) -> Run:
    """Return a run that a check can create."""
    ended_ns = NOW_NS if status in {"completed", "failed", "interrupted", "cancelled"} else None
    run = Run(id=run_id, language="python", status=status, created_ns=NOW_NS, ended_ns=ended_ns)
    return replace(run, **changes)


# --- sessions ---


def check_sessions(store: Store) -> None:
    """A session comes back as it was created, by id and by name; ids go before names."""
    blob = store.blobs.put(b"snapshot", now_ns=NOW_NS).sha256
    head = Head(ordinal=3, snapshot=blob, snapshot_ordinal=2, files=blob, document=b"\x00\xff")
    first = new_session(
        "s1", name="größe 💾", settings=b'{"a":1}', working_dir="/d", head=head, revision=7
    )
    store.sessions.create(first)
    store.sessions.create(new_session("s2", name="s1", state="closed"))
    assert store.sessions.get("s1") == first
    assert store.sessions.get("größe 💾") == first
    assert store.sessions.get("s3") is None
    assert store.sessions.get("S1") is None
    _raises(
        StoreExistsError, lambda: store.sessions.create(new_session("s1")), what="session", id="s1"
    )
    taken = new_session("s4", name="größe 💾")
    _raises(StoreExistsError, lambda: store.sessions.create(taken), what="session", id="größe 💾")
    assert store.sessions.get("s4") is None
    _raises(StoreInvalidError, lambda: store.sessions.get(""))
    lost = new_session("s5", head=Head(snapshot=_ABSENT))
    _raises(StoreUnknownError, lambda: store.sessions.create(lost), what="blob", id=_ABSENT)


def check_session_pages(store: Store) -> None:
    """Pages follow the bytes of the ids, whatever the language of the database."""
    names = ["a", "B", "b", "é", "z", "Z", "a1", "a-", "a_", "中", "~"]
    for name in names:
        state: Any = "closed" if name == "z" else "open"
        store.sessions.create(new_session(name, state=state))
    expected = sorted(names, key=str.encode)
    found: list[str] = []
    while page := store.sessions.list(after=found[-1] if found else "", limit=4):
        assert len(page) <= 4
        found += [session.id for session in page]
    assert found == expected
    assert [session.id for session in store.sessions.list(state="closed")] == ["z"]
    for limit in (0, -1, 10**9):
        _raises(StoreInvalidError, partial(store.sessions.list, limit=limit))


def check_changes(store: Store) -> None:
    """A change is made whole, once, and only to the revision that it was made from."""
    blob = store.blobs.put(b"content", now_ns=NOW_NS).sha256
    session = new_session("s")
    store.sessions.create(session)
    store.runs.create(new_run("r1", session_id="s"))
    done = new_run("r1", "completed", session_id="s", result=b"done")
    change = Change(
        session=replace(session, head=Head(ordinal=2, snapshot=blob, snapshot_ordinal=1)),
        runs=(done,),
        steps=(Step(ordinal=1, run_id="r1", document=b"x"), Step(ordinal=2, blob=blob)),
        snapshots=(Snapshot(ordinal=1, blob=blob, size_bytes=7, created_ns=NOW_NS),),
    )
    changed = store.sessions.apply(change)
    assert changed == replace(change.session, revision=1)
    assert store.sessions.get("s") == changed
    assert store.runs.get("r1") == done
    assert list(store.sessions.steps("s")) == list(change.steps)
    assert list(store.sessions.steps("s", after=1)) == [change.steps[1]]
    assert list(store.sessions.steps("s", limit=1)) == [change.steps[0]]
    assert list(store.sessions.snapshots("s")) == list(change.snapshots)
    _raises(
        StoreChangedError,
        lambda: store.sessions.apply(change),
        what="session",
        id="s",
        expected="revision 0",
        found="revision 1",
    )


def check_refused_changes(store: Store) -> None:
    """Whatever is wrong with a change, nothing of it is made."""
    session = new_session("s")
    store.sessions.create(session)
    store.sessions.create(new_session("other", name="taken"))
    store.runs.create(new_run("ended", "completed"))
    store.runs.create(new_run("r"))
    session = store.sessions.apply(Change(session=session, steps=(Step(ordinal=1),)))
    cancelled = new_run("r", "cancelled")
    refused: list[tuple[type[ClocheError], Change]] = [
        (StoreExistsError, Change(session=session, steps=(Step(ordinal=1), Step(ordinal=2)))),
        (StoreExistsError, Change(session=replace(session, name="taken"))),
        (StoreUnknownError, Change(session=session, steps=(Step(ordinal=2, run_id="absent"),))),
        (StoreUnknownError, Change(session=session, steps=(Step(ordinal=2, blob=_ABSENT),))),
        (StoreUnknownError, Change(session=session, runs=(new_run("absent"),))),
        (StoreChangedError, Change(session=session, runs=(new_run("ended"),))),
        (StoreChangedError, Change(session=replace(session, revision=0))),
        (LeaseLostError, Change(session=session, token=1)),
        (StoreInvalidError, Change(session=session, steps=(Step(ordinal=2), Step(ordinal=2)))),
    ]
    for error, change in refused:
        whole = replace(change, runs=(cancelled, *change.runs), forget_after=None)
        _raises(error, partial(store.sessions.apply, whole))
        assert store.sessions.get("s") == session
        assert store.runs.get("r") == new_run("r")
        assert [step.ordinal for step in store.sessions.steps("s")] == [1]
    absent = Change(session=new_session("absent"))
    _raises(StoreUnknownError, lambda: store.sessions.apply(absent), what="session", id="absent")


def check_rewinding(store: Store) -> None:
    """History behind an ordinal can be dropped and written anew in one change."""
    blob = store.blobs.put(b"b", now_ns=NOW_NS).sha256
    kept = Snapshot(ordinal=1, blob=blob, size_bytes=1, created_ns=NOW_NS)
    late = replace(kept, ordinal=3)
    session = new_session("s")
    steps = [Step(ordinal=ordinal) for ordinal in (1, 2, 3)]
    store.sessions.create(session, steps=steps, snapshots=[kept, late])
    anew = Step(ordinal=2, document=b"anew")
    session = store.sessions.apply(Change(session=session, forget_after=1, steps=(anew,)))
    assert list(store.sessions.steps("s")) == [steps[0], anew]
    assert list(store.sessions.snapshots("s")) == [kept]
    store.sessions.apply(Change(session=session, forget_snapshots=(1, 9)))
    assert list(store.sessions.snapshots("s")) == []


def check_forks_and_deletion(store: Store) -> None:
    """What a fork needs outlives the session that it came from."""
    upload = store.blobs.put(b"upload", now_ns=NOW_NS).sha256
    store.sessions.create(new_session("s"))
    for run_id in ("named", "unnamed"):
        store.runs.create(new_run(run_id, "completed", session_id="s"))
    store.journals.append("named", [b"entry"], expected_count=0)
    history = (Step(ordinal=1, run_id="named"), Step(ordinal=2, blob=upload))
    session = store.sessions.get("s")
    assert session is not None
    store.sessions.apply(Change(session=session, steps=history))
    store.sessions.create(new_session("fork"), steps=history)
    store.leases.acquire("s", owner="o", now_ns=0, until_ns=9)
    assert store.sessions.delete("s")
    assert not store.sessions.delete("s")
    assert store.sessions.get("s") is None
    assert list(store.sessions.steps("s")) == []
    assert store.runs.get("unnamed") is None
    assert store.runs.get("named") == new_run("named", "completed")
    assert list(store.journals.read("named")) == [b"entry"]
    assert store.blobs.collect(before_ns=NOW_NS + 1) == 0
    assert store.sessions.delete("fork")
    assert store.blobs.collect(before_ns=NOW_NS + 1) == 1


def check_concurrent_changes(store: Store) -> None:
    """Of many who change one revision at the same time exactly one succeeds."""
    session = new_session("s")
    store.sessions.create(session)
    outcomes = _at_once(8, lambda _: store.sessions.apply(Change(session=session)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Session",
        *["StoreChangedError"] * 7,
    ]
    found = store.sessions.get("s")
    assert found is not None
    assert found.revision == 1
    created = _at_once(8, lambda index: store.sessions.create(new_session(f"n{index}", name="n")))
    assert sorted(type(outcome).__name__ for outcome in created) == [
        "NoneType",
        *["StoreExistsError"] * 7,
    ]


# --- leases ---


def check_leases(store: Store) -> None:
    """One owner at a time; tokens grow; who lost a lease cannot renew it or change the session."""
    store.sessions.create(new_session("s"))
    first = store.leases.acquire("s", owner="a", now_ns=0, until_ns=10)
    held: dict[str, Any] = {"session_id": "s", "owner": "a", "until_ns": 10}
    _raises(
        LeaseHeldError,
        lambda: store.leases.acquire("s", owner="b", now_ns=9, until_ns=20),
        **held,
    )
    again = store.leases.acquire("s", owner="a", now_ns=5, until_ns=15)
    assert (again.token, again.until_ns) == (first.token, 15)
    renewed = store.leases.renew(first, until_ns=30)
    assert (renewed.token, renewed.until_ns) == (first.token, 30)
    second = store.leases.acquire("s", owner="b", now_ns=30, until_ns=40)
    assert second.token > first.token
    _raises(LeaseLostError, lambda: store.leases.renew(renewed, until_ns=50))
    store.leases.release(renewed)
    session = store.sessions.get("s")
    assert session is not None
    stale = Change(session=session, token=first.token)
    _raises(LeaseLostError, lambda: store.sessions.apply(stale), session_id="s", token=first.token)
    session = store.sessions.apply(Change(session=session, token=second.token))
    store.leases.release(second)
    _raises(LeaseLostError, lambda: store.leases.renew(second, until_ns=50))
    released = Change(session=session, token=second.token)
    _raises(LeaseLostError, lambda: store.sessions.apply(released))
    third = store.leases.acquire("s", owner="a", now_ns=0, until_ns=10)
    assert third.token > second.token
    absent = "absent"
    _raises(
        StoreUnknownError,
        lambda: store.leases.acquire(absent, owner="a", now_ns=0, until_ns=1),
        what="session",
        id=absent,
    )


def check_concurrent_leases(store: Store) -> None:
    """Of many who want a lease at the same time exactly one gets it."""
    store.sessions.create(new_session("s"))
    outcomes = _at_once(
        8, lambda index: store.leases.acquire("s", owner=f"o{index}", now_ns=0, until_ns=10)
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Lease",
        *["LeaseHeldError"] * 7,
    ]


# --- runs and journals ---


def check_runs(store: Store) -> None:
    """A run comes back as it was created and last replaced; what is final stays."""
    store.sessions.create(new_session("s"))
    run = new_run("r", "queued", session_id="s", request=b"\x00", usage=b"u", result=b"")
    store.runs.create(run)
    assert store.runs.get("r") == run
    assert store.runs.get("absent") is None
    _raises(StoreExistsError, lambda: store.runs.create(run), what="run", id="r")
    lost = new_run("lost", session_id="absent")
    _raises(StoreUnknownError, lambda: store.runs.create(lost), what="session", id="absent")
    running = replace(run, status="running", started_ns=NOW_NS + 1)
    store.runs.update(running, expected="queued")
    assert store.runs.get("r") == running
    _raises(
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
        _raises(StoreChangedError, partial(store.runs.update, later, expected="failed"))
    assert store.runs.get("r") == failed
    _raises(StoreUnknownError, lambda: store.runs.update(new_run("x"), expected="running"))


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
    _raises(StoreUnknownError, lambda: store.runs.list(after="absent"), what="run", id="absent")


def check_retention(store: Store) -> None:
    """Old runs go, oldest first, with all that hangs on them; history keeps its own."""
    store.sessions.create(new_session("s"))
    for index in range(5):
        store.runs.create(new_run(f"r{index}", "completed", ended_ns=NOW_NS + index))
        store.journals.append(f"r{index}", [b"entry"], expected_count=0)
    store.runs.create(new_run("live"))
    store.promises.create(Promise(id="p", run_id="r0", created_ns=NOW_NS))
    store.timers.set(Timer(id="t", run_id="r0", due_ns=NOW_NS))
    store.approvals.create(_approval("a", run_id="r0"))
    session = store.sessions.get("s")
    assert session is not None
    store.sessions.apply(Change(session=session, steps=(Step(ordinal=1, run_id="r1"),)))
    _raises(StoreChangedError, lambda: store.runs.delete("r1"), what="run", id="r1")
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
        _raises(
            StoreChangedError,
            partial(store.journals.append, "r", [b"x"], expected_count=expected_count),
            what="journal",
            id="r",
            expected=f"{expected_count} entries",
            found="4",
        )
    assert list(store.journals.read("r")) == entries
    _raises(
        StoreUnknownError,
        lambda: store.journals.append("absent", [b"x"], expected_count=0),
        what="run",
        id="absent",
    )
    large = bytes((16 << 20) + 1)
    _raises(StoreTooLargeError, lambda: store.journals.append("r", [b"x", large], expected_count=4))
    assert store.journals.append("r", [], expected_count=4, head=b"h3") == 4


def check_concurrent_appends(store: Store) -> None:
    """Many runs append at the same time, and two appends to one place exclude each other."""
    for index in range(8):
        store.runs.create(new_run(f"r{index}"))

    def append(index: int) -> None:
        count = 0
        for turn in range(20):
            entries = [b"%d-%d-%d" % (index, turn, part) for part in range(1 + turn % 3)]
            count = store.journals.append(f"r{index}", entries, expected_count=count)

    assert _at_once(8, append) == [None] * 8
    for index in range(8):
        expected = [
            b"%d-%d-%d" % (index, turn, part) for turn in range(20) for part in range(1 + turn % 3)
        ]
        assert list(store.journals.read(f"r{index}")) == expected
    store.runs.create(new_run("r"))
    outcomes = _at_once(8, lambda _: store.journals.append("r", [b"x"], expected_count=0))
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
    assert store.blobs.info(_ABSENT) is None
    _raises(StoreUnknownError, lambda: store.blobs.get(_ABSENT), what="blob", id=_ABSENT)
    _raises(StoreInvalidError, lambda: store.blobs.get("../etc"))
    _raises(StoreInvalidError, lambda: store.blobs.put(["text"], now_ns=0))  # type: ignore[list-item]


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
    _raises(StoreUnknownError, lambda: store.blobs.pin("holder", kept["pin"]), what="blob")


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

    assert _at_once(6, work) == [None] * 6


# --- what runs wait for ---


def check_promises(store: Store) -> None:
    """A promise is completed once, with whatever bytes; waiting asks again after each pause."""
    store.runs.create(new_run("r"))
    promise = Promise(id="p", run_id="r", created_ns=NOW_NS)
    store.promises.create(promise)
    store.promises.create(Promise(id="free", created_ns=NOW_NS))
    _raises(StoreExistsError, lambda: store.promises.create(promise), what="promise", id="p")
    lost = Promise(id="lost", run_id="absent", created_ns=NOW_NS)
    _raises(StoreUnknownError, lambda: store.promises.create(lost), what="run", id="absent")
    assert store.promises.get("p") == promise
    assert store.promises.get("absent") is None
    assert wait_promise(store.promises, "p", lambda: False) is None
    assert wait_promise(
        store.promises, "p", lambda: store.promises.complete("p", b"", now_ns=NOW_NS + 1)
    ) == (b"")
    assert not store.promises.complete("p", b"second", now_ns=NOW_NS + 2)
    assert store.promises.get("p") == replace(promise, value=b"", completed_ns=NOW_NS + 1)
    _raises(StoreUnknownError, lambda: store.promises.complete("absent", b"", now_ns=0))
    _raises(StoreUnknownError, lambda: wait_promise(store.promises, "absent", lambda: True))
    completed = _at_once(8, lambda _: store.promises.complete("free", b"v", now_ns=1))
    assert sorted(map(str, completed)) == [*["False"] * 7, "True"]


def check_timers(store: Store) -> None:
    """Timers come when they are due, in order, and are removed by exactly one."""
    assert store.timers.next_due_ns() is None
    for run_id in ("r", "q"):
        store.runs.create(new_run(run_id))
    for timer_id, due_ns in (("b", 5), ("a", 5), ("c", 1), ("d", 9)):
        store.timers.set(Timer(id=timer_id, run_id="r", due_ns=due_ns))
    store.timers.set(Timer(id="d", run_id="q", due_ns=7))
    assert store.timers.next_due_ns() == 1
    assert [timer.id for timer in store.timers.due(now_ns=6)] == ["c", "a", "b"]
    assert [timer.id for timer in store.timers.due(now_ns=6, limit=2)] == ["c", "a"]
    assert not store.timers.due(now_ns=0)
    assert list(store.timers.due(now_ns=7))[-1] == Timer(id="d", run_id="q", due_ns=7)
    removed = _at_once(4, lambda _: store.timers.remove("c"))
    assert sorted(map(str, removed)) == ["False", "False", "False", "True"]
    lost = Timer(id="e", run_id="absent", due_ns=1)
    _raises(StoreUnknownError, lambda: store.timers.set(lost), what="run", id="absent")


def check_approvals(store: Store) -> None:
    """An approval is answered once; the same answer again is fine, another is refused."""
    for run_id in ("r", "q"):
        store.runs.create(new_run(run_id))
    for index in range(4):
        store.approvals.create(_approval(f"a{index}", seq=index))
    store.approvals.create(_approval("b", run_id="q"))
    for taken in (_approval("a0", seq=99), _approval("new", seq=0)):
        _raises(StoreExistsError, partial(store.approvals.create, taken))
    lost = _approval("lost", run_id="absent")
    _raises(StoreUnknownError, lambda: store.approvals.create(lost), what="run", id="absent")
    decided = store.approvals.decide("a0", "approved", decision=b"yes", now_ns=NOW_NS + 1)
    assert decided == replace(
        _approval("a0"), status="approved", decision=b"yes", decided_ns=NOW_NS + 1
    )
    again = store.approvals.decide("a0", "approved", decision=b"late", now_ns=NOW_NS + 200)
    assert again == decided
    _raises(
        StoreChangedError,
        lambda: store.approvals.decide("a0", "denied", now_ns=NOW_NS + 2),
        what="approval",
        id="a0",
        expected="pending",
        found="approved",
    )
    assert store.approvals.get("a0") == decided
    assert [row.id for row in store.approvals.list(status="pending")] == ["a1", "a2", "a3", "b"]
    assert [row.id for row in store.approvals.list(run_id="r", after="a1")] == ["a2", "a3"]
    assert [row.id for row in store.approvals.list(limit=2)] == ["a0", "a1"]
    _raises(StoreInvalidError, lambda: store.approvals.decide("a1", "pending", now_ns=0))
    _raises(StoreUnknownError, lambda: store.approvals.decide("absent", "denied", now_ns=0))


def check_expiry(store: Store) -> None:
    """From its end on nobody can answer: it is expired, whoever looks first."""
    store.runs.create(new_run("r"))
    for index in range(4):
        store.approvals.create(_approval(f"a{index}", seq=index, expires_ns=NOW_NS + 10 + index))
    _raises(
        StoreChangedError,
        lambda: store.approvals.decide("a0", "approved", now_ns=NOW_NS + 10),
        what="approval",
        id="a0",
        expected="pending",
        found="expired",
    )
    found = store.approvals.get("a0")
    assert found is not None
    assert (found.status, found.decided_ns) == ("expired", NOW_NS + 10)
    assert [row.id for row in store.approvals.expire(now_ns=NOW_NS + 12, limit=1)] == ["a1"]
    expired = list(store.approvals.expire(now_ns=NOW_NS + 12))
    assert [(row.id, row.status, row.decided_ns) for row in expired] == [
        ("a2", "expired", NOW_NS + 12)
    ]
    assert store.approvals.get("a2") == expired[0]
    assert [row.id for row in store.approvals.list(status="pending")] == ["a3"]


def check_concurrent_answers(store: Store) -> None:
    """Of two different answers at the same time one stands, and all see the same one."""
    store.runs.create(new_run("r"))
    store.approvals.create(_approval("a"))

    def decide(index: int) -> Approval:
        status: Any = "approved" if index % 2 else "denied"
        return store.approvals.decide("a", status, decision=b"%d" % index, now_ns=NOW_NS)

    outcomes = _at_once(8, decide)
    found = store.approvals.get("a")
    assert [outcome for outcome in outcomes if isinstance(outcome, Approval)] == [found] * 4
    assert sum(isinstance(outcome, StoreChangedError) for outcome in outcomes) == 4


# --- the store ---


def check_closing(store: Store) -> None:
    """A closed store answers nothing more, and can be closed again."""
    store.runs.create(new_run("r"))
    store.journals.append("r", [b"x"], expected_count=0)
    store.close()
    store.close()
    calls: list[Callable[[], object]] = [
        store.sessions.list,
        lambda: store.runs.create(new_run("q")),
        lambda: store.journals.append("r", [b"x"], expected_count=1),
        lambda: store.blobs.put(b"x", now_ns=0),
        store.timers.next_due_ns,
    ]
    for call in calls:
        _raises(StoreClosedError, call, store=store.url)


def check_documents(store: Store) -> None:
    """A document over the limit or of another type is refused, never cut."""
    store.runs.create(new_run("r"))
    large = bytes((64 << 20) + 1)
    _raises(StoreTooLargeError, lambda: store.runs.create(new_run("q", request=large)))
    text: Any = "text"
    _raises(StoreInvalidError, lambda: store.runs.create(new_run("q", request=text)))
    _raises(StoreInvalidError, lambda: store.journals.append("r", [text], expected_count=0))
    assert store.runs.get("q") is None


CHECKS: Final[tuple[Check, ...]] = (
    check_sessions,
    check_session_pages,
    check_changes,
    check_refused_changes,
    check_rewinding,
    check_forks_and_deletion,
    check_concurrent_changes,
    check_leases,
    check_concurrent_leases,
    check_runs,
    check_run_pages,
    check_retention,
    check_journals,
    check_concurrent_appends,
    check_blobs,
    check_failed_puts,
    check_garbage,
    check_garbage_against_puts,
    check_promises,
    check_timers,
    check_approvals,
    check_expiry,
    check_concurrent_answers,
    check_closing,
    check_documents,
)


def _approval(approval_id: str, **changes: Any) -> Approval:
    approval = Approval(
        id=approval_id,
        run_id="r",
        seq=0,
        document=b"question",
        created_ns=NOW_NS,
        expires_ns=NOW_NS + 100,
    )
    return replace(approval, **changes)


def _raises(error: type[ClocheError], call: Callable[[], object], **fields: Any) -> None:
    try:
        call()
    except error as raised:
        found = {name: raised.fields[name] for name in fields}
        assert found == fields, f"{error.__name__} has {found}, expected {fields}"
    else:
        raise AssertionError(f"{error.__name__} was not raised")


def _at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what each of many threads returned or raised; they start together."""
    outcomes: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def body(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = work(index)
        except Exception as error:  # noqa: BLE001 - the outcome is what is checked
            outcomes[index] = error

    threads = [threading.Thread(target=body, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes

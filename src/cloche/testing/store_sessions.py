"""Checks of a store: sessions, their history, their leases."""

# ruff: noqa: PLR2004 - what a check puts in, it counts

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.store.errors import (
    LeaseHeldError,
    LeaseLostError,
    StoreChangedError,
    StoreExistsError,
    StoreInvalidError,
    StoreUnknownError,
)
from cloche.store.rows import (
    Change,
    Head,
    JournalAppend,
    Snapshot,
    Step,
)
from cloche.testing.store_support import (
    ABSENT,
    NOW_NS,
    at_once,
    new_run,
    new_session,
    raises,
)

if TYPE_CHECKING:
    from cloche.errors import ClocheError
    from cloche.store.ports import Store


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
    raises(
        StoreExistsError, lambda: store.sessions.create(new_session("s1")), what="session", id="s1"
    )
    taken = new_session("s4", name="größe 💾")
    raises(StoreExistsError, lambda: store.sessions.create(taken), what="session", id="größe 💾")
    assert store.sessions.get("s4") is None
    raises(StoreInvalidError, lambda: store.sessions.get(""))
    lost = new_session("s5", head=Head(snapshot=ABSENT))
    raises(StoreUnknownError, lambda: store.sessions.create(lost), what="blob", id=ABSENT)


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
        raises(StoreInvalidError, partial(store.sessions.list, limit=limit))


def check_changes(store: Store) -> None:
    """A change is made whole, once, and only to the revision that it was made from."""
    blob = store.blobs.put(b"content", now_ns=NOW_NS).sha256
    session = new_session("s")
    store.sessions.create(session)
    store.runs.create(new_run("r1", session_id="s"), entries=[b"begun"])
    done = new_run("r1", "completed", session_id="s", result=b"done")
    change = Change(
        session=replace(session, head=Head(ordinal=2, snapshot=blob, snapshot_ordinal=1)),
        runs=(done,),
        journals=(JournalAppend(run_id="r1", entries=(b"a", b"b"), expected_count=1),),
        steps=(Step(ordinal=1, run_id="r1", document=b"x"), Step(ordinal=2, blob=blob)),
        snapshots=(Snapshot(ordinal=1, blob=blob, size_bytes=7, created_ns=NOW_NS),),
    )
    changed = store.sessions.apply(change)
    assert changed == replace(change.session, revision=1)
    assert store.sessions.get("s") == changed
    assert store.runs.get("r1") == done
    assert list(store.journals.read("r1")) == [b"begun", b"a", b"b"]
    assert list(store.sessions.steps("s")) == list(change.steps)
    assert list(store.sessions.steps("s", after=1)) == [change.steps[1]]
    assert list(store.sessions.steps("s", limit=1)) == [change.steps[0]]
    assert list(store.sessions.snapshots("s")) == list(change.snapshots)
    raises(
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
        (StoreUnknownError, Change(session=session, steps=(Step(ordinal=2, blob=ABSENT),))),
        (StoreUnknownError, Change(session=session, runs=(new_run("absent"),))),
        (StoreChangedError, Change(session=session, runs=(new_run("ended"),))),
        (StoreChangedError, Change(session=replace(session, revision=0))),
        (LeaseLostError, Change(session=session, token=1)),
        (StoreChangedError, Change(session=session, journals=(_appended("r", 7),))),
        (StoreUnknownError, Change(session=session, journals=(_appended("absent", 0),))),
        (StoreInvalidError, Change(session=session, steps=(Step(ordinal=2), Step(ordinal=2)))),
    ]
    for error, change in refused:
        journals = (_appended("r", 0), *change.journals)
        whole = replace(
            change, runs=(cancelled, *change.runs), journals=journals, forget_after=None
        )
        raises(error, partial(store.sessions.apply, whole))
        assert store.sessions.get("s") == session
        assert store.runs.get("r") == new_run("r")
        assert list(store.journals.read("r")) == []
        assert [step.ordinal for step in store.sessions.steps("s")] == [1]
    absent = Change(session=new_session("absent"))
    raises(StoreUnknownError, lambda: store.sessions.apply(absent), what="session", id="absent")


def _appended(run_id: str, expected_count: int) -> JournalAppend:
    return JournalAppend(run_id=run_id, entries=(b"x",), expected_count=expected_count)


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
    outcomes = at_once(8, lambda _: store.sessions.apply(Change(session=session)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Session",
        *["StoreChangedError"] * 7,
    ]
    found = store.sessions.get("s")
    assert found is not None
    assert found.revision == 1
    created = at_once(8, lambda index: store.sessions.create(new_session(f"n{index}", name="n")))
    assert sorted(type(outcome).__name__ for outcome in created) == [
        "NoneType",
        *["StoreExistsError"] * 7,
    ]


# --- leases ---


def check_leases(store: Store) -> None:
    """One owner at a time; tokens grow; who lost a lease cannot renew it or change the session."""
    store.sessions.create(new_session("s"))
    first = store.leases.acquire("s", owner="a", now_ns=0, until_ns=10).lease
    assert store.leases.get("s") == first
    assert store.leases.get("absent") is None
    held: dict[str, Any] = {"session_id": "s", "owner": "a", "until_ns": 10}
    raises(
        LeaseHeldError,
        lambda: store.leases.acquire("s", owner="b", now_ns=9, until_ns=20),
        **held,
    )
    again = store.leases.acquire("s", owner="a", now_ns=5, until_ns=15).lease
    assert (again.token, again.until_ns) == (first.token, 15)
    renewed = store.leases.renew(first, until_ns=30)
    assert (renewed.token, renewed.until_ns) == (first.token, 30)
    second = store.leases.acquire("s", owner="b", now_ns=30, until_ns=40).lease
    assert second.token > first.token
    raises(LeaseLostError, lambda: store.leases.renew(renewed, until_ns=50))
    store.leases.release(renewed)
    session = store.sessions.get("s")
    assert session is not None
    stale = Change(session=session, token=first.token)
    raises(LeaseLostError, lambda: store.sessions.apply(stale), session_id="s", token=first.token)
    session = store.sessions.apply(Change(session=session, token=second.token))
    store.leases.release(second)
    assert store.leases.get("s") is None
    raises(LeaseLostError, lambda: store.leases.renew(second, until_ns=50))
    released = Change(session=session, token=second.token)
    raises(LeaseLostError, lambda: store.sessions.apply(released))
    third = store.leases.acquire("s", owner="a", now_ns=0, until_ns=10)
    assert third.lease.token > second.token
    # What its owner held before somebody else did is not what it holds now.
    raises(LeaseLostError, lambda: store.leases.renew(renewed, until_ns=50))
    store.leases.release(renewed)
    assert store.leases.get("s") == third.lease
    assert third.session == session
    absent = "absent"
    raises(
        StoreUnknownError,
        lambda: store.leases.acquire(absent, owner="a", now_ns=0, until_ns=1),
        what="session",
        id=absent,
    )


def check_concurrent_leases(store: Store) -> None:
    """Of many who want a lease at the same time exactly one gets it."""
    store.sessions.create(new_session("s"))
    outcomes = at_once(
        8, lambda index: store.leases.acquire("s", owner=f"o{index}", now_ns=0, until_ns=10)
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *["LeaseHeldError"] * 7,
        "Leased",
    ]

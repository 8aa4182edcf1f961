"""The store of version 1 as a file, and what is in it: `python -m tests.store.golden` made it.

`golden/store-v1.db` is never made again: every later cloche must open it and find all of this.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cloche.store.open import open_store
from cloche.store.rows import (
    Approval,
    Change,
    Head,
    JournalHead,
    Promise,
    Run,
    Session,
    Snapshot,
    Step,
    Timer,
)

FILE = Path(__file__).parent / "golden" / "store-v1.db"
NOW_NS = 1_700_000_000_000_000_000
CONTENT = b"golden " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENTRIES = [b"first", b"\x00second\xff", b""]
RUN = Run(
    id="run-1",
    session_id="session-1",
    language="python",
    status="completed",
    created_ns=NOW_NS,
    started_ns=NOW_NS + 1,
    ended_ns=NOW_NS + 2,
    request=b'{"code":"1+1"}',
    usage=b'{"time_ms":1}',
    result=b'{"exit_code":0}',
)
SESSION = Session(
    id="session-1",
    name="Gödel",
    language="python",
    image_id="image-1",
    created_ns=NOW_NS,
    changed_ns=NOW_NS + 3,
    working_dir="/data",
    settings=b'{"limits":{}}',
    head=Head(ordinal=2, snapshot=SHA256, snapshot_ordinal=1, files=SHA256, document=b'{"a":1}'),
    revision=1,
)
STEPS = [Step(ordinal=1, run_id="run-1", document=b"ran"), Step(ordinal=2, blob=SHA256)]
SNAPSHOT = Snapshot(ordinal=1, blob=SHA256, size_bytes=len(CONTENT), created_ns=NOW_NS + 3)
PROMISES = [
    Promise(id="open", run_id="run-1", created_ns=NOW_NS),
    Promise(id="done", created_ns=NOW_NS, value=b"value", completed_ns=NOW_NS + 4),
]
TIMER = Timer(id="timer-1", run_id="run-1", due_ns=NOW_NS + 5)
APPROVAL = Approval(
    id="approval-1",
    run_id="run-1",
    seq=3,
    document=b"may I?",
    created_ns=NOW_NS,
    expires_ns=NOW_NS + 100,
    status="approved",
    decision=b"yes",
    decided_ns=NOW_NS + 6,
)


def fill(store):
    """Put everything into an empty store."""
    store.blobs.put(CONTENT, now_ns=NOW_NS)
    store.blobs.pin("holder", SHA256)
    fresh = Session(
        id="session-1", language="python", image_id="image-1", created_ns=NOW_NS, changed_ns=NOW_NS
    )
    store.sessions.create(fresh)
    store.runs.create(RUN)
    store.journals.append("run-1", ENTRIES[:1], expected_count=0, head=b"h1")
    store.journals.append("run-1", ENTRIES[1:], expected_count=1, head=b"h2")
    values = {name: getattr(SESSION, name) for name in Session.__slots__} | {"revision": 0}
    store.sessions.apply(
        Change(session=Session(**values), steps=tuple(STEPS), snapshots=(SNAPSHOT,))
    )
    lease = store.leases.acquire("session-1", owner="o", now_ns=NOW_NS, until_ns=NOW_NS + 9).lease
    store.leases.release(lease)
    for promise in PROMISES:
        store.promises.create(Promise(**promise_start(promise)))
    store.promises.complete("done", b"value", now_ns=NOW_NS + 4)
    store.timers.set(TIMER)
    values = {name: getattr(APPROVAL, name) for name in Approval.__slots__}
    values |= {"status": "pending", "decision": b"", "decided_ns": None}
    store.approvals.create(Approval(**values))
    store.approvals.decide("approval-1", "approved", decision=b"yes", now_ns=NOW_NS + 6)


def promise_start(promise):
    """Return the fields of a promise before it was completed."""
    return {"id": promise.id, "run_id": promise.run_id, "created_ns": promise.created_ns}


def check(store):
    """Check that a store holds everything."""
    assert store.sessions.get("Gödel") == SESSION
    assert list(store.sessions.steps("session-1")) == STEPS
    assert list(store.sessions.snapshots("session-1")) == [SNAPSHOT]
    assert store.leases.acquire("session-1", owner="p", now_ns=0, until_ns=1).lease.token == 2
    assert store.runs.get("run-1") == RUN
    size_bytes = sum(map(len, ENTRIES))
    assert store.journals.head("run-1") == JournalHead(count=3, size_bytes=size_bytes, hash=b"h2")
    assert list(store.journals.read("run-1")) == ENTRIES
    assert store.blobs.get(SHA256) == CONTENT
    assert store.blobs.info(SHA256).reference_count == 5
    assert [store.promises.get(promise.id) for promise in PROMISES] == PROMISES
    assert list(store.timers.due(now_ns=NOW_NS + 5)) == [TIMER]
    assert list(store.approvals.list()) == [APPROVAL]


if __name__ == "__main__":
    assert not FILE.exists(), f"{FILE} is kept as it is"
    with_store = open_store(FILE)
    fill(with_store)
    with_store.close()

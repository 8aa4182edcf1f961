"""The store in memory is the model: whatever is done, a database answers the same.

Operations are drawn with few ids, so that they meet; each is made on both stores, and the answers,
errors included, are compared. At the end all that can be read is compared.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.errors import ClocheError
from cloche.store.open import open_store
from cloche.store.rows import (
    Change,
    Head,
    JournalAppend,
    Lease,
    Promise,
    RunStatus,
    Snapshot,
    Step,
    Timer,
)
from cloche.testing.store_support import NOW_NS, new_approval, new_run, new_session

IDS = st.sampled_from(["a", "B", "é"])
ORDINALS = st.integers(1, 3)
TIMES = st.integers(0, 5)
STATUSES = st.sampled_from(RunStatus.__args__)
CONTENTS = st.sampled_from([b"", b"one", b"two" * 1000])
MAYBE_IDS = st.none() | IDS

STEPS = st.lists(st.builds(Step, ordinal=ORDINALS, run_id=MAYBE_IDS), max_size=2)


def sha256_of(content):
    """Return the name of a content."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


BLOBS = CONTENTS.map(sha256_of)
SNAPSHOTS = st.lists(
    st.builds(Snapshot, ordinal=ORDINALS, blob=BLOBS, size_bytes=TIMES, created_ns=TIMES),
    max_size=1,
)
SESSIONS = st.builds(
    lambda session_id, name, revision, blob, ordinal: new_session(
        session_id, name=name, revision=revision, head=Head(snapshot=blob, ordinal=ordinal)
    ),
    IDS,
    MAYBE_IDS,
    st.integers(0, 2),
    st.none() | BLOBS,
    ORDINALS,
)
RUNS = st.builds(
    lambda run_id, status, session_id, created_ns: new_run(
        run_id, status, session_id=session_id, created_ns=NOW_NS + created_ns
    ),
    IDS,
    STATUSES,
    MAYBE_IDS,
    TIMES,
)
LEASES = st.builds(Lease, session_id=IDS, owner=IDS, token=ORDINALS, until_ns=TIMES)
ENTRIES = st.lists(CONTENTS, max_size=2)
APPENDS = st.builds(
    JournalAppend, run_id=IDS, entries=ENTRIES.map(tuple), expected_count=st.integers(0, 2)
)
CHANGES = st.builds(
    Change,
    session=SESSIONS,
    token=st.none() | ORDINALS,
    runs=st.lists(RUNS, max_size=1).map(tuple),
    journals=st.lists(APPENDS, max_size=1).map(tuple),
    forget_after=st.none() | st.integers(0, 2),
    steps=STEPS.map(tuple),
    snapshots=SNAPSHOTS.map(tuple),
    forget_snapshots=st.lists(ORDINALS, max_size=1).map(tuple),
)


def call(part, method, *args, **kwargs):
    """Return a strategy of calls: the part, its method, its arguments."""
    return st.tuples(
        st.just(part), st.just(method), st.tuples(*args), st.fixed_dictionaries(kwargs)
    )


CALLS = st.one_of(
    call("sessions", "create", SESSIONS, steps=STEPS, snapshots=SNAPSHOTS),
    call("sessions", "apply", CHANGES),
    call("sessions", "apply", CHANGES),
    call("sessions", "delete", IDS),
    call("leases", "acquire", IDS, owner=IDS, now_ns=TIMES, until_ns=TIMES),
    call("leases", "renew", LEASES, until_ns=TIMES),
    call("leases", "release", LEASES),
    call("runs", "create", RUNS, entries=ENTRIES),
    call("runs", "create", RUNS, entries=ENTRIES),
    call("runs", "update", RUNS, expected=STATUSES, append=st.none() | APPENDS),
    call("runs", "delete", IDS),
    call("runs", "prune", ended_before_ns=st.just(NOW_NS + 1), limit=ORDINALS),
    call("runs", "list", session_id=MAYBE_IDS, after=st.just("") | IDS, limit=ORDINALS),
    call(
        "journals",
        "append",
        IDS,
        st.lists(CONTENTS, max_size=2),
        expected_count=st.integers(0, 2),
    ),
    call("blobs", "put", CONTENTS, now_ns=TIMES),
    call("blobs", "pin", IDS, BLOBS),
    call("blobs", "unpin", IDS),
    call("blobs", "collect", before_ns=TIMES),
    call(
        "promises",
        "create",
        st.builds(Promise, id=IDS, run_id=MAYBE_IDS, created_ns=TIMES),
    ),
    call("promises", "complete", IDS, CONTENTS, now_ns=TIMES),
    call("timers", "set", st.builds(Timer, id=IDS, run_id=IDS, due_ns=TIMES)),
    call("timers", "remove", IDS),
    call(
        "approvals",
        "create",
        st.builds(lambda name, run_id, seq: new_approval(name, run_id=run_id, seq=seq), IDS, IDS,
                  ORDINALS),
    ),
    call(
        "approvals",
        "decide",
        IDS,
        st.sampled_from(["approved", "denied", "expired"]),
        now_ns=TIMES.map(lambda time: NOW_NS + 98 + time),
    ),
    call("approvals", "expire", now_ns=TIMES.map(lambda time: NOW_NS + 98 + time)),
)  # fmt: skip


def outcome(store, part, method, args, kwargs):
    """Return what a call returned or raised, without what differs on purpose."""
    try:
        answer = getattr(getattr(store, part), method)(*args, **kwargs)
    except ClocheError as error:
        return error.code
    if method == "put":
        return replace(answer, stored_bytes=0)
    return list(answer) if isinstance(answer, tuple | list) else answer


def everything(store):
    """Return all that can be read of what was put in."""
    names = ("a", "B", "é")
    blobs = [store.blobs.info(sha256_of(content)) for content in (b"", b"one", b"two" * 1000)]
    return {
        "sessions": list(store.sessions.list()),
        "steps": [list(store.sessions.steps(name)) for name in names],
        "snapshots": [list(store.sessions.snapshots(name)) for name in names],
        "runs": list(store.runs.list()),
        "heads": [store.journals.head(name) for name in names],
        "entries": [list(store.journals.read(name)) for name in names],
        "blobs": [blob and replace(blob, stored_bytes=0) for blob in blobs],
        "promises": [store.promises.get(name) for name in names],
        "timers": list(store.timers.due(now_ns=9)),
        "approvals": list(store.approvals.list()),
    }


def compare(url, calls):
    """Make the same calls on both stores and compare all answers."""
    model, store = open_store("memory:"), open_store(url)
    try:
        for one in calls:
            assert outcome(store, *one) == outcome(model, *one), one
            assert everything(store) == everything(model), one
    finally:
        store.close()


@pytest.fixture(scope="module")
def counter():
    """Count the databases of this module."""
    from itertools import count

    return count()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.lists(CALLS, max_size=25))
def test_sqlite_answers_as_the_model_does(tmp_path_factory, counter, calls):
    """On a new file each time."""
    compare(str(tmp_path_factory.mktemp("model") / f"{next(counter)}.db"), calls)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.lists(CALLS, max_size=25))
def test_postgresql_answers_as_the_model_does(server, calls):
    """In a new schema each time."""
    compare(server.new_url(), calls)

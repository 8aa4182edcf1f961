"""An invalid row cannot exist."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.store.errors import StoreInvalidError
from cloche.store.rows import (
    FINAL_STATUSES,
    Approval,
    Head,
    Promise,
    Run,
    RunStatus,
    Snapshot,
    Step,
    Timer,
    can_follow,
    check_id,
    check_sha256,
)
from cloche.testing.store_support import new_approval, new_run, new_session

SHA256 = "a" * 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: new_session(""), "session.id is ''; it must be text, not empty"),
        (lambda: new_session(7), "session.id is 7; it must be text, not empty"),
        (lambda: new_session("é" * 101), "session.id has 202 bytes, more than 200"),
        (lambda: new_session("a\0"), "session.id holds NUL or half a surrogate pair"),
        (lambda: new_session("a\ud800"), "session.id holds NUL or half a surrogate pair"),
        (lambda: new_session("a\n"), "session.id holds characters that do not print"),
        (lambda: new_session("s", name=""), "session.name is ''; it must be text, not empty"),
        (lambda: new_session("s", state="x"), "session.state is 'x', none of open, closed"),
        (
            lambda: new_session("s", revision=-1),
            "session.revision is -1; it must be a whole number",
        ),
        (
            lambda: new_session("s", created_ns=1.5),
            f"session.created_ns is 1.5; it must be nanoseconds, 0 to {(1 << 63) - 1}",
        ),
        (lambda: Head(snapshot="A" * 64), f"head.snapshot is '{'A' * 64}', no SHA-256 in hex"),
        (
            lambda: Head(ordinal=1, snapshot_ordinal=2),
            "head.snapshot_ordinal is 2, behind head.ordinal 1",
        ),
        (lambda: Step(ordinal=0), "step.ordinal is 0; ordinals count from 1"),
        (lambda: Step(ordinal=1, blob="x"), "step.blob is 'x', no SHA-256 in hex"),
        (lambda: new_run("r", ended_ns=1), "run.ended_ns is 1 while it is running"),
        (
            lambda: new_run("r", "completed", ended_ns=None),
            "run.ended_ns is None while it is completed",
        ),
        (
            lambda: Snapshot(ordinal=1, blob=SHA256, size_bytes=True, created_ns=0),
            "snapshot.size_bytes is True; it must be a whole number",
        ),
        (lambda: Promise(id="", created_ns=0), "promise.id is ''; it must be text, not empty"),
        (
            lambda: Timer(id="t", run_id="r", due_ns=1 << 63),
            f"timer.due_ns is {1 << 63}; it must be nanoseconds, 0 to {(1 << 63) - 1}",
        ),
        (lambda: new_approval("a", seq=-1), "approval.seq is -1; it must be a whole number"),
    ],
)
def test_an_invalid_value_is_refused(make, message):
    """The message names the field, what was found and what it must be."""
    with pytest.raises(StoreInvalidError) as raised:
        make()
    assert raised.value.message == message


def test_what_is_final_stays_so():
    """Of all pairs: nothing follows a final status, and only queued comes before queued."""
    for old, new in product(get_args(RunStatus), repeat=2):
        expected = old not in FINAL_STATUSES and (new != "queued" or old == "queued")
        assert can_follow(old, new) == expected, (old, new)


@given(st.text(max_size=80))
def test_every_text_is_an_id_or_is_refused(text):
    """What is accepted prints, is short, and is UTF-8; nothing else is raised."""
    try:
        check_id("id", text)
    except StoreInvalidError:
        return
    assert text.isprintable()
    assert 1 <= len(text.encode()) <= 200


@pytest.mark.parametrize("name", ["", "a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n", 5])
def test_only_a_digest_names_a_blob(name):
    """64 lower-case hex digits, nothing before and nothing behind."""
    with pytest.raises(StoreInvalidError):
        check_sha256(name)
    check_sha256(SHA256)


def test_rows_are_values():
    """Rows with equal fields are equal, and no field can be set."""
    assert new_run("r") == new_run("r")
    assert new_approval("a") != Approval(
        id="a", run_id="r", seq=1, document=b"", created_ns=0, expires_ns=0
    )
    with pytest.raises(AttributeError):
        new_run("r").status = "failed"
    assert Run.__slots__

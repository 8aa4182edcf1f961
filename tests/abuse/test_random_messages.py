"""Attack: messages to the host that are made at random, near enough to real ones to get in.

The invariant: whatever a guest sends, its run ends as data. Nothing that it sends raises anything
but an `ExecError` in the host, and the next run is right.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cloche
from abuse.support import check_next_run, make_limits

TIMEOUT_MS = 50  # a message may well ask to wait for ever
EXAMPLE_COUNT = 400

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30]),
        st.sampled_from([1.5, -0.0, 1e308]),
        st.sampled_from(["", "x", "/", "/a", "../..", "\ud800", "a\0b", "x" * 5000]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)

CASES = {"completed", "internal", "timeout", "resource-exceeded", "runtime-failed"}
TIMES = st.sampled_from([None, -(2**63), -1, 0, 1, 2**63 - 1, 2**63])
KINDS = st.sampled_from(["tool", "http", "", "TOOL"])
STATES = st.sampled_from(["done", "failed", "waiting"])
FILE_OPERATIONS = st.sampled_from(
    "read write stat readdir mkdir unlink rmdir rename truncate symlink readlink utimes".split()
)
FIELDS = {
    1: {"kind": KINDS, "target": VALUES, "args": VALUES},
    2: {"id": VALUES, "kind": KINDS, "target": VALUES, "args": VALUES},
    3: {"state": STATES, "exit_code": VALUES, "wake_ns": st.one_of(TIMES, VALUES), "error": VALUES},
    4: {"timeout_ns": st.one_of(TIMES, VALUES)},
    32: {"f": FILE_OPERATIONS, "p": VALUES, "to": VALUES, "size": VALUES, "offset": VALUES},
    33: {"filename": VALUES, "source": VALUES},
}


@st.composite
def messages(draw):
    """Return a message: an operation, and a body that fits it more or less."""
    operation = draw(
        st.sampled_from([*FIELDS, *FIELDS, *FIELDS, 0, 5, 16, 17, 18, 19, 20, 21, 22, 255])
    )
    if operation not in FIELDS:
        return bytes([operation]) + draw(st.binary(max_size=9))
    fields = FIELDS[operation]
    document = draw(st.fixed_dictionaries(fields))
    document.pop(draw(st.sampled_from([None, None, None, *fields])), None)
    body = bytearray(json.dumps(document).encode())
    if draw(st.integers(0, 4)) == 0:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes([operation]) + bytes(body)


@pytest.mark.timeout(600)  # half a minute on a machine that has nothing else to do
@settings(max_examples=EXAMPLE_COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages(), min_size=1, max_size=5), st.booleans())
def test_any_messages_end_as_data(sent, is_silenced):
    """Only the typed errors of a run come out, whether or not the driver sends its own report."""
    code = f"import _host\nfor message in {sent!r}: _host.call(message)\n"
    if is_silenced:
        code = f"import _cloche.host as host\nhost.send = host._call = lambda *a: None\n{code}"
    try:
        cloche.run(
            code,
            language="python",
            limits=make_limits(timeout_ms=TIMEOUT_MS),
            tools={"x": lambda *given, **named: 1},
            seed=1,
            now_ns=0,
        )
    except cloche.ExecError as error:
        ended_by = error.case
    else:
        ended_by = "completed"
    assert ended_by in CASES
    check_next_run("python")

"""Tests of what a session is as data."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.exec.errors import InvalidRunError
from cloche.exec.session_log import (
    SNAPSHOT_BYTES_PER_MS,
    TAIL_COUNT_MAX,
    ChangeDirectory,
    Ran,
    Remove,
    SessionSettings,
    Step,
    Upload,
    advance,
    first_head,
    normal_path,
    run_seed,
    sleep_is_cheap,
    snapshot_is_due,
)

SETTINGS = SessionSettings(
    language="python", image="python", image_id="a" * 64, seed=7, now_ns=1_700_000_000 * 10**9
)
digests = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
operations = st.one_of(
    st.builds(
        Upload,
        path=st.just("/a"),
        sha256=digests,
        size_bytes=st.integers(0, 9),
        read_only=st.booleans(),
    ),
    st.builds(Remove, path=st.sampled_from(["/a", "/b"])),
    st.builds(ChangeDirectory, path=st.sampled_from(["/", "/d"])),
    st.builds(Ran, run_id=st.text(max_size=4), journal_hash=digests, time_ms=st.integers(0, 9)),
)


def states(settings, history):
    """Return the name of every state of a history."""
    head = first_head(settings)
    names = [head.state]
    for operation in history:
        head, step = advance(head, operation)
        assert (head.ordinal, head.state) == (step.ordinal, step.state)
        names.append(step.state)
    return names


@given(st.lists(operations, max_size=6))
def test_names_follow_from_the_history(history):
    """The same settings and operations give the same names; every state has another one."""
    names = states(SETTINGS, history)
    assert states(SETTINGS, history) == names
    assert len(set(names)) == len(names)


@given(st.lists(operations, min_size=1, max_size=4), operations, st.data())
def test_another_history_has_another_name(history, other, data):
    """Changing one operation changes every name from there on."""
    index = data.draw(st.integers(0, len(history) - 1))
    if _same(history[index], other):
        return
    changed = [*history[:index], other, *history[index + 1 :]]
    ours, theirs = states(SETTINGS, history), states(SETTINGS, changed)
    assert ours[: index + 1] == theirs[: index + 1]
    assert not set(ours[index + 1 :]) & set(theirs[index + 1 :])


def _same(one, other):
    if isinstance(one, Ran) and isinstance(other, Ran):
        return one.journal_hash == other.journal_hash
    return one == other


def test_a_run_is_named_by_what_it_did():
    """Its id and how long it took are accidents."""
    one = Ran(run_id="a", journal_hash="b" * 64, time_ms=1)
    other = Ran(run_id="c", journal_hash="b" * 64, time_ms=2)
    assert states(SETTINGS, [one]) == states(SETTINGS, [other])


@pytest.mark.parametrize("field", ["image_id", "seed", "now_ns"])
def test_the_start_state_has_what_it_depends_on(field):
    """Another image, seed or clock is another state."""
    other = {"image_id": "b" * 64, "seed": 8, "now_ns": 1}[field]
    changed = msgspec.structs.replace(SETTINGS, **{field: other})
    assert first_head(changed).state != first_head(SETTINGS).state


def test_the_working_directory_is_the_last_one_set():
    """Other operations leave it."""
    head = first_head(SETTINGS)
    assert head.cwd == "/"
    head, _ = advance(head, ChangeDirectory(path="/d"))
    head, _ = advance(head, Remove(path="/x"))
    assert head.cwd == "/d"


def test_each_run_has_its_own_seed():
    """From the session's seed and the state it starts from: 64 bits, the same every time."""
    head = first_head(SETTINGS)
    later, _ = advance(head, Remove(path="/x"))
    assert run_seed(SETTINGS, head) == run_seed(SETTINGS, head) < 1 << 64
    assert run_seed(SETTINGS, head) != run_seed(SETTINGS, later)


def step(time_ms):
    """Return a step that took some time."""
    return Step(
        ordinal=1, operation=Ran(run_id="r", journal_hash="0" * 64, time_ms=time_ms), state=""
    )


def test_a_snapshot_is_due_when_replay_costs_more():
    """A long tail always; else by the time of its runs against the size of the state."""
    size_bytes = 10 * SNAPSHOT_BYTES_PER_MS
    assert not snapshot_is_due([], lambda: 0)
    assert not snapshot_is_due([step(15)], lambda: size_bytes)
    assert snapshot_is_due([step(16)], lambda: size_bytes)
    assert snapshot_is_due([step(0)] * TAIL_COUNT_MAX, lambda: 1 << 40)
    assert not snapshot_is_due([step(0)] * (TAIL_COUNT_MAX - 1), lambda: 0)


def test_a_session_sleeps_without_a_snapshot_when_little_has_to_be_repeated():
    """By the time of its runs, and by their number: each takes a while to be repeated."""
    assert sleep_is_cheap([])
    assert sleep_is_cheap([step(0)] * 5)
    assert not sleep_is_cheap([step(0)] * 6)
    assert sleep_is_cheap([step(4)])
    assert not sleep_is_cheap([step(5)])


def test_the_size_is_not_asked_for_in_vain():
    """Finding the size takes longer than a short run."""

    def fail():
        raise AssertionError

    assert not snapshot_is_due([step(5)], fail)


@pytest.mark.parametrize(
    ("path", "cwd", "expected"),
    [
        ("a", "/", "/a"),
        ("a", "/d", "/d/a"),
        ("/a", "/d", "/a"),
        ("../../../etc/passwd", "/d", "/etc/passwd"),
        ("..", "/", "/"),
        ("a/./b//c/../d", "/", "/a/b/d"),
        (".", "/d", "/d"),
        ("/", "/d", "/"),
        ("a/..", "/", "/"),
        ("..hidden", "/", "/..hidden"),
    ],
)
def test_paths(path, cwd, expected):
    """Every path is absolute afterwards and inside the root."""
    assert normal_path(path, cwd) == expected


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
def test_what_is_no_path(path):
    """Empty, with NUL, or not Unicode."""
    with pytest.raises(InvalidRunError, match="is no path"):
        normal_path(path)


@given(st.text(alphabet="ab./", min_size=1, max_size=20), st.sampled_from(["/", "/x/y"]))
def test_no_path_leaves_the_root(path, cwd):
    """Normal paths are fixed points without dots."""
    normal = normal_path(path, cwd)
    assert normal.startswith("/")
    assert not {"", ".", ".."} & set(normal[1:].split("/")) or normal == "/"
    assert normal_path(normal) == normal

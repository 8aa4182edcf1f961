"""Tests of replay: the same bytes, or a divergence with both sides and silence after it."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cloche.gate.entries import EffectRefused, EffectStarted
from cloche.gate.errors import DivergenceError, JournalUnfinishedError
from cloche.gate.gate import Gate
from cloche.gate.journal import encode_file, load_journal
from cloche.gate.policy import Policy
from gate.programs import LiveHost, ReplayHost, run_program
from gate.support import (
    TOOLS,
    call,
    make_inputs,
    make_limits,
    make_outcome,
    small_file,
    small_run,
)

LIMITS = make_limits(effect_count_max=8, effect_concurrency_max=2, args_limit_bytes=50)
POLICY = Policy.allow(tool=["a", "b"], http=["*"]).and_calls_max(http=2).and_ask(tool=["pay"])

effects = st.tuples(
    st.sampled_from(["ask", "submit"]),
    st.sampled_from(["tool", "tool", "http", "Bad"]),
    st.sampled_from(["a", "b", "a", "b", "pay", "rm", ""]),
    st.sampled_from([[1, 2.0], {"k": "é"}, {}, "x" * 60, {"b": 1, "a": 2}]),
    st.sampled_from(["main", "t1"]),
)
programs = st.lists(effects | st.just(("wait",)), max_size=20)


def record(program, seed):
    """Run a program live; return transcript, hash and the journal's bytes."""
    gate = Gate(POLICY, LIMITS)
    transcript, head = run_program(program, LiveHost(gate, random.Random(seed)))
    return transcript, head, encode_file(gate.take_entries())


@settings(max_examples=300)
@given(programs, st.integers(0, 2**32))
def test_replay_is_the_live_run(program, seed):
    """Whatever ran live, with races, refusals and lost answers, runs again to the same bytes."""
    transcript, head, data = record(program, seed)
    journal = load_journal(data, LIMITS)
    assert journal.hash == head
    gate = Gate(POLICY, LIMITS, replay=journal)
    again = run_program(program, ReplayHost(gate), inputs=journal.inputs)
    assert again == (transcript, head)
    assert encode_file(gate.take_entries()) == data


@given(programs, st.integers(0, 2**32))
def test_refused_effects_are_not_performed(program, seed):
    """The host performs exactly what the journal says was started, or leaves it open."""
    gate = Gate(POLICY, LIMITS)
    host = LiveHost(gate, random.Random(seed))
    run_program(program, host)
    journal = load_journal(encode_file(gate.take_entries()), LIMITS)
    begun = {
        (entry.task, entry.ordinal) for entry in journal.entries if isinstance(entry, EffectStarted)
    }
    refused = {
        (entry.task, entry.ordinal) for entry in journal.entries if isinstance(entry, EffectRefused)
    }
    performed = [identity[:2] for identity in host.performed]
    assert len(set(performed)) == len(performed)
    assert set(performed) <= begun
    assert not refused & begun


@settings(max_examples=300)
@given(programs, st.data(), st.integers(0, 2**32))
def test_another_program_diverges(program, data, seed):
    """A program with one request more, less or changed diverges; what was written is a prefix."""
    index = data.draw(st.integers(0, len(program)))
    added = data.draw(st.lists(effects, max_size=1))
    removed_count = data.draw(st.integers(0, 1))
    other = program[:index] + added + program[index + removed_count :]
    assume(requests(program) != requests(other))
    _, _, file = record(program, seed)
    gate = Gate(POLICY, LIMITS, replay=load_journal(file, LIMITS))
    try:
        transcript, _ = run_program(other, ReplayHost(gate))
    except DivergenceError:
        assert file.startswith(encode_file(gate.take_entries()))
        assert gate.closed
    else:
        # Only after a flood of refusals the gate is closed, and what is asked leaves no trace.
        assert "gate.effect_count_max (refused)" in transcript[-1]


def requests(program):
    """Return what a program asks, whichever way it asks."""
    return [repr(step[1:]) for step in program if step != ("wait",)]


def replaying(limits=None):
    """Return a gate that replays the small run, after its inputs."""
    limits = limits or make_limits()
    gate = Gate(TOOLS, limits, replay=load_journal(small_file(), limits))
    gate.started(make_inputs())
    return gate


def divergence(action):
    """Return the divergence that this action raises."""
    with pytest.raises(DivergenceError) as caught:
        action()
    return caught.value


FIRST = {
    "entry": "effect_started",
    "sequence": 0,
    "task": "main",
    "ordinal": 0,
    "kind": "tool",
    "target": "add",
    "args": [1, 2],
}


@pytest.mark.parametrize(
    ("kind", "target", "args", "task", "names"),
    [
        ("tool", "fs.a", [1, 2], "main", "target"),
        ("tool", "add", [1, 2.0], "main", "args"),
        ("tool", "add", [1, 2], "other", "task"),
        ("tool", "fs.b", [1, 2], "other", "task, target"),
    ],
)
def test_another_effect_shows_both_sides(kind, target, args, task, names):
    """Another kind, target, args or task at the same place is a divergence with both sides."""
    gate = replaying()
    error = divergence(lambda: gate.request(kind, target, args, task=task))
    assert error.reason == f"another effect at the same place ({names} differ)"
    assert error.index == 4
    assert error.recorded == FIRST
    assert error.requested == {**FIRST, "target": target, "args": args, "task": task}


def test_message_of_a_divergence():
    """The message is readable: place, reason, both sides."""
    gate = replaying()
    error = divergence(lambda: gate.request("tool", "add", [2, 1]))
    assert error.message == (
        "replay diverges from record 4: another effect at the same place (args differ)\n"
        "  recorded:  entry='effect_started', sequence=0, task='main', ordinal=0, kind='tool', "
        "target='add', args=[1, 2]\n"
        "  requested: entry='effect_started', sequence=0, task='main', ordinal=0, kind='tool', "
        "target='add', args=[2, 1]"
    )


def test_nothing_after_a_divergence():
    """After a divergence every request is refused, nothing is recorded, `finish` tells it again."""
    gate = replaying()
    error = divergence(lambda: gate.request("tool", "fs.x", {}))
    gate.take_entries()
    for _ in range(3):
        assert gate.request("tool", "add", [1, 2]).completion.error.code == "GATE_CLOSED"
    assert gate.next_delivery() is None
    gate.close("END")
    assert divergence(lambda: gate.finish(make_outcome())) is error
    assert gate.take_entries() == []


def finish_small(gate, count, **outcome):
    """Repeat the first `count` effects of the small run and finish."""
    for target, args in [("add", [1, 2]), ("fs.read", {"path": "/x"}), ("rm", {})][:count]:
        call(gate, target, args)
    return gate.finish(make_outcome(**outcome))


def test_small_run_replays():
    """The recorded run, step by step, gives the recorded bytes."""
    gate = replaying()
    finish_small(gate, 3)
    assert gate.take_entries() == small_run()
    assert gate.open_sequences == frozenset()


def test_missing_effect():
    """A run that ends before a recorded effect diverges."""
    gate = replaying()
    error = divergence(lambda: finish_small(gate, 1))
    assert error.reason == "a recorded effect is missing"
    assert error.recorded["target"] == "fs.read"
    assert error.requested["entry"] == "run_finished"


def test_extra_effect():
    """A run that goes on after the last recorded effect diverges."""
    gate = replaying()
    for target, args in [("add", [1, 2]), ("fs.read", {"path": "/x"}), ("rm", {})]:
        call(gate, target, args)
    error = divergence(lambda: gate.request("tool", "add", []))
    assert error.reason == "an effect that was not recorded here"
    assert (error.recorded["entry"], error.requested["args"]) == ("run_finished", [])


@pytest.mark.parametrize(
    ("outcome", "names"),
    [
        ({"exit_code": 1}, "exit_code"),
        ({"stdout_sha256": "1" * 64}, "stdout_sha256"),
        ({"error": {"code": "X"}, "clock_ns": 5}, "error, clock_ns"),
    ],
)
def test_another_end(outcome, names):
    """A run that ends otherwise, or printed something else, diverges at its end."""
    gate = replaying()
    error = divergence(lambda: finish_small(gate, 3, **outcome))
    assert error.reason == f"run_finished differs in {names}"


def test_other_inputs():
    """A replay with other inputs diverges before the first effect."""
    gate = Gate(TOOLS, make_limits(), replay=load_journal(small_file(), make_limits()))
    error = divergence(lambda: gate.started(make_inputs(seed=8, cwd="/")))
    assert error.reason == "run_started differs in cwd, seed"
    assert gate.request("tool", "add", [1, 2]).completion.error.code == "GATE_CLOSED"


def test_other_delivery():
    """A host that delivers in another order diverges."""
    gate = replaying()
    gate.request("tool", "add", [1, 2])
    error = divergence(lambda: gate.deliver((0,), 6))
    assert error.reason == "delivered differs in clock_advance_ns"


def test_stricter_policy_diverges():
    """A recorded effect that the policy now refuses is a divergence that says so."""
    gate = Gate(Policy(), make_limits(), replay=load_journal(small_file(), make_limits()))
    gate.started(make_inputs())
    error = divergence(lambda: gate.request("tool", "add", [1, 2]))
    assert error.reason == "the recorded effect was allowed, now policy or limits refuse it"


def test_recorded_refusal_holds():
    """A recorded refusal is given again as it was, even where the policy would now allow it."""
    policy = Policy.allow(tool=["*"])
    gate = Gate(policy, make_limits(), replay=load_journal(small_file(), make_limits()))
    gate.started(make_inputs())
    call(gate, "add", [1, 2])
    call(gate, "fs.read", {"path": "/x"})
    error = call(gate, "rm", {}).error
    assert error.message == "policy denies tool 'rm': no rule allows it"


def test_large_values_are_shortened_in_a_divergence():
    """What is shown of a side is bounded; the journal has the whole."""
    gate = replaying()
    error = divergence(lambda: gate.request("tool", "add", ["x" * 5000]))
    assert error.requested["args"] == '["' + "x" * 1998 + "… (5004 characters)"


def test_unfinished_journal_is_refused():
    """A journal without its end cannot be replayed, and the error says how far it goes."""
    journal = load_journal(encode_file(small_run()[:7]), make_limits())
    with pytest.raises(JournalUnfinishedError) as caught:
        Gate(TOOLS, make_limits(), replay=journal)
    assert caught.value.message == (
        "journal stops after 7 records, before the run finished: it can be shown but not replayed"
    )


def test_nothing_is_delivered_where_nothing_was():
    """Where the recorded run gave no more answers, a replay gives none."""
    gate = replaying()
    assert gate.next_delivery() is None
    call(gate, "add", [1, 2])
    gate.request("tool", "fs.read", {"path": "/x"})
    assert gate.next_delivery().sequences == (1,)
    assert gate.next_delivery().sequences == (1,)

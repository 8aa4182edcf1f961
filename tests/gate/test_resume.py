"""Tests of resuming: a run goes on where its journal stops, wherever that is."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.gate.entries import Content, EffectCompleted, EffectStarted, RunFinished, RunStarted
from cloche.gate.gate import Gate, Perform, Recorded
from cloche.gate.journal import encode_file, load_journal
from gate.programs import LiveHost, ReplayHost, ResumeHost, run_program
from gate.support import TOOLS, make_inputs, make_limits, make_outcome
from gate.test_replay import LIMITS, POLICY, programs


@settings(max_examples=300)
@given(programs, st.integers(0, 2**32), st.data())
def test_a_run_cut_anywhere_goes_on(program, seed, data):
    """Cut after any record: what is then written continues the journal, which replays as one."""
    gate = Gate(POLICY, LIMITS)
    run_program(program, LiveHost(gate, random.Random(seed)))
    records = gate.take_entries()
    entries = load_journal(encode_file(records), LIMITS).entries
    inputs = sum(isinstance(entry, RunStarted | Content) for entry in entries)
    cut = data.draw(st.integers(inputs, len(records) - isinstance(entries[-1], RunFinished)))
    before = load_journal(encode_file(records[:cut]), LIMITS)

    gate = Gate(POLICY, LIMITS, replay=before, resume=True)
    host = ResumeHost(gate, random.Random(seed + 1))
    transcript, head = run_program(program, host, inputs=before.inputs)
    whole = encode_file([*records[:cut], *gate.take_entries()])

    journal = load_journal(whole, LIMITS)
    assert journal.hash == head
    again = run_program(
        program, ReplayHost(Gate(POLICY, LIMITS, replay=journal)), inputs=journal.inputs
    )
    assert again == (transcript, head)
    _assert_nothing_is_repeated(before, host)


def _assert_nothing_is_repeated(before, host):
    begun = {
        e.sequence: (e.task, e.ordinal) for e in before.entries if isinstance(e, EffectStarted)
    }
    completed = {begun[e.sequence] for e in before.entries if isinstance(e, EffectCompleted)}
    performed = [identity[:2] for identity in host.performed]
    assert len(set(performed)) == len(performed)
    assert not completed & set(performed)


def test_the_effect_in_flight_is_performed_with_its_identity():
    """What had been begun and not answered is asked for again under the same sequence."""
    gate = Gate(TOOLS, make_limits())
    gate.started(make_inputs())
    verdict = gate.request("tool", "add", [1, 2])
    records = gate.take_entries()

    before = load_journal(encode_file(records), make_limits())
    gate = Gate(TOOLS, make_limits(), replay=before, resume=True)
    gate.started(make_inputs())
    again = gate.request("tool", "add", [1, 2])
    assert isinstance(verdict, Perform)
    assert isinstance(again, Recorded)
    assert again.request == verdict.request
    assert gate.replaying
    assert gate.next_delivery() is None
    assert not gate.replaying
    assert gate.open_sequences == {0}
    assert gate.take_entries() == []
    gate.complete(again.request, value=3)
    gate.deliver((0,), 0)
    assert gate.finish(make_outcome()) is not None
    assert len(gate.take_entries()) == 3


def test_a_finished_journal_resumes_to_its_end():
    """Nothing is left to do: the end comes again and nothing new is written."""
    gate = Gate(TOOLS, make_limits())
    gate.started(make_inputs())
    head = gate.finish(make_outcome())
    journal = load_journal(encode_file(gate.take_entries()), make_limits())
    gate = Gate(TOOLS, make_limits(), replay=journal, resume=True)
    gate.started(make_inputs())
    assert gate.finish(make_outcome()) == head
    assert gate.take_entries() == []

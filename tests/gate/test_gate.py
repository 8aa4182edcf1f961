"""Tests of the gate's state machine while a run lives; `test_replay` tests the second time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.admission import DECISION_CACHE_COUNT_MAX
from cloche.gate.effect import EffectError, EffectRequest
from cloche.gate.entries import (
    Content,
    Delivered,
    EffectCompleted,
    EffectRefused,
    EffectStarted,
    RunFinished,
    RunStarted,
)
from cloche.gate.errors import (
    BudgetExhaustedError,
    GateClosedError,
    GateMisuseError,
    JournalTooLargeError,
    JournalValueTooLargeError,
    ValueInvalidError,
)
from cloche.gate.gate import Answered, Gate, Perform
from cloche.gate.journal import encode_file, load_journal
from cloche.gate.policy import Policy
from gate.support import TOOLS, call, make_inputs, make_limits, make_outcome


def open_gate(policy=TOOLS, *, record=True, **limits):
    """Return an open gate under these limits."""
    gate = Gate(policy, make_limits(**limits), record=record)
    gate.started(make_inputs())
    return gate


def entries_of(gate):
    """Return the entries written so far, without the inputs."""
    journal = load_journal(encode_file(gate.take_entries()), make_limits())
    return [entry for entry in journal.entries if not isinstance(entry, RunStarted | Content)]


TARGET_FORM = "target must be text of 1 to 50 bytes, no control characters"
both = pytest.mark.parametrize("record", [True, False])


def test_one_effect_writes_three_entries():
    """Request, completion and delivery are recorded, each before the host goes on."""
    gate = open_gate()
    assert len(gate.take_entries()) == 4
    verdict = gate.request("tool", "add", {"b": 1, "a": 2.0}, task="t")
    assert isinstance(verdict, Perform)
    assert verdict.request == EffectRequest(
        sequence=0,
        task="t",
        ordinal=0,
        kind="tool",
        target="add",
        args={"b": 1, "a": 2.0},
        args_text=b'{"a":2.0,"b":1}',
    )
    assert len(gate.take_entries()) == 1
    completion = gate.complete(verdict.request, value={"z": 1, "a": None}, duration_ns=7)
    assert (completion.value_text, completion.duration_ns) == (b'{"z":1,"a":null}', 7)
    assert len(gate.take_entries()) == 1
    gate.deliver((0,), 9)
    assert len(gate.take_entries()) == 1
    assert gate.take_entries() == []


def test_entries_say_what_happened():
    """The entries of a value, an error and a refusal, in order."""
    gate = open_gate()
    call(gate, "add", [1], value=3)
    call(gate, "fs.x", None, error=EffectError(code="NO", message="no", retry_after_ms=4))
    call(gate, "rm", {}, kind="http")
    gate.finish(make_outcome(exit_code=1, error={"code": "X"}))
    error = b'{"code":"NO","message":"no","retryable":false,"retry_after_ms":4}'
    refusal = (
        b'{"code":"POLICY_DENIED","message":"policy denies http \'rm\': no rule allows it",'
        b'"retryable":false}'
    )
    started = {"task": "main", "kind": "tool"}
    assert entries_of(gate) == [
        EffectStarted(sequence=0, ordinal=0, target="add", args=b"[1]", **started),
        EffectCompleted(sequence=0, value=b"3", error=None, duration_ns=5),
        Delivered(sequences=(0,), clock_advance_ns=5),
        EffectStarted(sequence=1, ordinal=1, target="fs.x", args=b"null", **started),
        EffectCompleted(sequence=1, value=None, error=error, duration_ns=5),
        Delivered(sequences=(1,), clock_advance_ns=5),
        EffectRefused(
            sequence=2,
            task="main",
            ordinal=2,
            kind="http",
            target="rm",
            args_sha256="44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            error=refusal,
        ),
        Delivered(sequences=(2,), clock_advance_ns=0),
        RunFinished(
            exit_code=1,
            stage="run",
            error=b'{"code":"X"}',
            stdout_sha256="0" * 64,
            stderr_sha256="0" * 64,
            files_sha256="0" * 64,
            clock_ns=1_700_000_000_000_000_000,
            effects={"tool": 2},
            refused=1,
        ),
    ]


def test_finish_returns_the_hash_of_the_journal():
    """The hash that `finish` returns is the one that a reader finds."""
    gate = open_gate()
    call(gate, value=1)
    head = gate.finish(make_outcome())
    assert load_journal(encode_file(gate.take_entries()), make_limits()).hash == head


def test_same_run_same_bytes():
    """Two gates that see the same write the same bytes; nothing of the host gets in."""
    files = []
    for _ in range(2):
        gate = open_gate()
        call(gate, "add", {"a": 1, "b": 2}, value=[1.5])
        gate.finish(make_outcome())
        files.append(gate.take_entries())
    assert files[0] == files[1]


@both
def test_ordinals_count_within_tasks(record):
    """A sequence counts all requests, an ordinal those of its task."""
    gate = open_gate(record=record)
    places = []
    for task in ("a", "b", "a"):
        request = gate.request("tool", "add", [], task=task).request
        places.append((request.task, request.ordinal, request.sequence))
    assert places == [("a", 0, 0), ("b", 0, 1), ("a", 1, 2)]


@both
@pytest.mark.parametrize(
    ("kind", "target", "code", "message"),
    [
        ("tool", "rm", "POLICY_DENIED", "policy denies tool 'rm': no rule allows it"),
        ("http", "add", "POLICY_DENIED", "policy denies http 'add': no rule allows it"),
        (
            "tool",
            "fs.rm",
            "POLICY_DENIED",
            "policy denies tool 'fs.rm': rule deny 'fs.rm' forbids it",
        ),
        (
            "tool",
            "fs.pay",
            "APPROVAL_UNAVAILABLE",
            (
                "policy asks 'ann' before tool 'fs.pay', and no approver is connected: "
                "the effect was not performed. Allow it in the policy or connect an approver"
            ),
        ),
        (
            "Tool",
            "add",
            "EFFECT_INVALID",
            "effect request is invalid: kind must match [a-z][a-z0-9_.]{0,31}",
        ),
        (
            5,
            "add",
            "EFFECT_INVALID",
            "effect request is invalid: kind and target must be strings",
        ),
        (
            "tool",
            ["add"],
            "EFFECT_INVALID",
            "effect request is invalid: kind and target must be strings",
        ),
        *(
            (
                "tool",
                target,
                "EFFECT_INVALID",
                f"effect request is invalid: {TARGET_FORM}",
            )
            for target in ("", "f\n", "f\x85", "f\u2028", "f\ud800", "fs." + "é" * 24)
        ),
    ],
)
def test_refusals(record, kind, target, code, message):
    """Policy and form refuse as data, the same whether the run is recorded or not."""
    policy = TOOLS.and_deny(tool=["fs.rm"]).and_ask(tool=["fs.pay"], who="ann")
    gate = open_gate(policy, record=record, target_limit_bytes=50)
    for _ in range(2):  # the second time from the cache
        verdict = gate.request(kind, target, {})
        assert isinstance(verdict, Answered)
        error = verdict.completion.error
        assert (error.code, error.message, error.retryable) == (code, message, False)


def test_target_of_exactly_the_limit_passes():
    """The limit of a target counts bytes of UTF-8, inclusive."""
    gate = open_gate(target_limit_bytes=50)
    assert isinstance(gate.request("tool", "fs.." + "é" * 23, {}), Perform)


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (math.nan, "value at $ is nan, which JSON cannot hold"),
        ([b"x"], "value at $[0] has type bytes, which is not plain JSON"),
        ([[[[]]]], "value at $[0][0][0] is nested too deep"),
        ("x" * 99, "value at $ makes the text longer than 100 bytes"),
    ],
)
def test_bad_args_are_refused(args, problem):
    """Args that are not JSON within the limits are refused, and the refusal is recorded."""
    gate = open_gate(args_limit_bytes=100, value_depth_max=3)
    error = gate.request("tool", "add", args).completion.error
    assert error.message == f"effect request is invalid: args: {problem}"
    (entry,) = entries_of(gate)
    assert (entry.args_sha256, entry.kind, entry.target) == ("", "tool", "add")


def test_large_args_are_refused_where_nothing_is_recorded():
    """Without a journal the size that the host gives is held against the same limit."""
    gate = open_gate(record=False, args_limit_bytes=100)
    assert isinstance(gate.request("tool", "add", {}, size_bytes=100), Perform)
    error = gate.request("tool", "add", {}, size_bytes=101).completion.error
    assert error.message == (
        "effect request is invalid: args: value at $ makes the text longer than 100 bytes"
    )


@both
def test_budget_refusals(record):
    """Concurrency comes back with a completion, calls do not."""
    gate = open_gate(record=record, effect_concurrency_max=1, effect_count_max=2)
    first = gate.request("tool", "add", 1).request
    waiting = gate.request("tool", "add", 1).completion.error
    assert (waiting.code, waiting.retryable) == ("BUDGET_CONCURRENCY", True)
    gate.complete(first)
    second = gate.request("tool", "add", 1)
    assert isinstance(second, Perform)
    gate.complete(second.request)
    over = gate.request("tool", "add", 1).completion.error
    assert (over.code, over.retryable) == ("BUDGET_EXHAUSTED", False)


@both
def test_flood_of_refusals_closes_the_gate(record):
    """A guest that goes on after the most refusals is stopped, and the run can be finished."""
    gate = open_gate(record=record, effect_count_max=3)
    for _ in range(3):
        assert gate.request("tool", "rm", {}).completion.error.code == "POLICY_DENIED"
    with pytest.raises(BudgetExhaustedError, match=r"effect_count_max \(refused\) is used up: 4"):
        gate.request("tool", "rm", {})
    assert gate.closed
    gate.finish(make_outcome())


@both
@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (math.inf, "VALUE_INVALID", "value at $ is inf, which JSON cannot hold"),
        ({"a": object()}, "VALUE_INVALID", "value at $['a'] has type object, which is not plain"),
        ([[[[]]]], "VALUE_INVALID", "value at $[0][0][0] is nested too deep"),
        ("x" * 99, "JOURNAL_VALUE_TOO_LARGE", "the value of a performed effect has 101 bytes or"),
    ],
)
def test_bad_values_become_errors(record, value, code, message):
    """A value that cannot be recorded reaches the guest as an error, recorded or not."""
    gate = open_gate(record=record, value_limit_bytes=100, value_depth_max=3)
    request = gate.request("tool", "add", []).request
    completion = gate.complete(request, value=value)
    assert completion.error.code == code
    assert completion.error.message.startswith(message)
    assert gate.open_sequences == frozenset()


@both
def test_error_text_of_the_system_is_made_printable(record):
    """A message with halves of surrogate pairs, as the system gives them, can be recorded."""
    gate = open_gate(record=record)
    request = gate.request("tool", "add", []).request
    error = EffectError(code="I\ud800O", message="a\udcffb")
    assert gate.complete(request, error=error).error == EffectError(code="I?O", message="a?b")


@both
def test_large_error_becomes_a_small_one(record):
    """An error over the limit of values reaches the guest as one that says so."""
    gate = open_gate(record=record, value_limit_bytes=100)
    request = gate.request("tool", "add", []).request
    completion = gate.complete(request, error=EffectError(code="IO", message="x" * 100))
    assert completion.error.code == "JOURNAL_VALUE_TOO_LARGE"


@both
def test_closed_gate_refuses_and_records_nothing(record):
    """After `close` every request is refused, nothing is written, and ordinals stand still."""
    gate = open_gate(record=record)
    running = gate.request("tool", "add", []).request
    gate.close("TIMEOUT")
    gate.close("OTHER")
    gate.take_entries()
    for _ in range(3):
        completion = gate.request("tool", "add", []).completion
        assert completion.error == EffectError(
            code="GATE_CLOSED",
            message="the gate is closed (TIMEOUT): the effect was not performed and not recorded",
        )
        assert completion.sequence == 1
    assert gate.take_entries() == []
    with pytest.raises(GateClosedError):
        gate.deliver((), 1)
    gate.complete(running, value=1)
    gate.finish(make_outcome())
    assert len(gate.take_entries()) == (2 if record else 0)


def test_finished_gate_takes_nothing():
    """After the end nothing is taken from guest or host."""
    gate = open_gate()
    running = gate.request("tool", "add", []).request
    gate.finish(make_outcome())
    gate.take_entries()
    assert gate.request("tool", "add", []).completion.error.code == "GATE_CLOSED"
    with pytest.raises(GateClosedError):
        gate.complete(running, value=1)
    with pytest.raises(GateClosedError):
        gate.deliver((), 0)
    with pytest.raises(GateMisuseError):
        gate.finish(make_outcome())
    assert gate.take_entries() == []


def test_host_out_of_order_is_told():
    """Calls in a wrong order are errors of the host that say what was expected."""
    gate = Gate(TOOLS, make_limits())
    with pytest.raises(GateMisuseError) as caught:
        gate.request("tool", "add", [])
    assert caught.value.message == (
        "request: called when the gate is new, expected open or stopped or finished or failed"
    )
    gate.started(make_inputs())
    with pytest.raises(GateMisuseError, match="called when the gate is open, expected new"):
        gate.started(make_inputs())
    with pytest.raises(GateMisuseError, match="this gate does not replay"):
        gate.next_delivery()
    request = gate.request("tool", "add", []).request
    with pytest.raises(GateMisuseError, match=r"effects \[0\] have no answer to deliver"):
        gate.deliver((0,), 0)
    gate.complete(request)
    with pytest.raises(GateMisuseError, match="effect 0 is not open"):
        gate.complete(request)
    with pytest.raises(GateMisuseError, match=r"effects \[1\] have no answer"):
        gate.deliver((0, 1), 0)
    with pytest.raises(GateMisuseError, match="delivered twice"):
        gate.deliver((0, 0), 0)
    gate.deliver((0,), 0)
    with pytest.raises(GateMisuseError, match=r"effects \[0\] have no answer"):
        gate.deliver((0,), 0)
    with pytest.raises(
        GateMisuseError, match="clock_advance_ns is -1, expected 0 to 9223372036854775807"
    ):
        gate.deliver((), -1)


def test_full_journal_closes_the_gate():
    """When the journal is full the call fails, later requests are refused, `finish` says why."""
    gate = open_gate(journal_entry_count_max=5)
    request = gate.request("tool", "add", []).request
    with pytest.raises(JournalTooLargeError):
        gate.complete(request, value=1)
    assert gate.request("tool", "add", []).completion.error.message == (
        "the gate is closed (JOURNAL_TOO_LARGE): the effect was not performed and not recorded"
    )
    with pytest.raises(JournalTooLargeError):
        gate.finish(make_outcome())


def test_unrecorded_run_has_no_journal():
    """Without a journal there are no records and no hash."""
    gate = open_gate(record=False)
    completion = call(gate, value={"a": 1})
    assert completion.value == {"a": 1}
    assert gate.finish(make_outcome()) is None
    assert gate.take_entries() == []
    assert not gate.recording


def test_decisions_of_many_targets():
    """More targets than the cache holds are still decided right."""
    gate = open_gate(Policy.allow(tool=["t1*"]), effect_count_max=20_000)
    for number in range(9000):
        verdict = gate.request("tool", f"t{number}", None)
        assert isinstance(verdict, Perform) == (str(number)[0] == "1")
        if isinstance(verdict, Perform):
            gate.complete(verdict.request)
        assert len(gate._admission._refusals) <= DECISION_CACHE_COUNT_MAX


@given(st.lists(st.tuples(st.sampled_from(["add", "rm", "fs.a"]), st.integers(0, 3))))
def test_recorded_or_not_decides_alike(steps):
    """A guest cannot tell whether its run is recorded."""
    answers = []
    for record in (True, False):
        gate = open_gate(record=record, effect_count_max=5, effect_concurrency_max=2)
        told, running = [], []
        for target, action in steps:
            if action == 0 and running:
                told.append(gate.complete(running.pop(), value=[action]).to_guest())
                continue
            try:
                verdict = gate.request("tool", target, [action], size_bytes=3)
            except BudgetExhaustedError as error:
                told.append(error.message)
                continue
            if isinstance(verdict, Perform):
                running.append(verdict.request)
                told.append(b"perform")
            else:
                told.append(verdict.completion.to_guest())
        answers.append(told)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seed": -1}, "seed cannot be recorded"),
        ({"seed": 1 << 64}, "seed cannot be recorded"),
        ({"now_ns": -1}, "now_ns cannot be recorded"),
        ({"now_ns": 1 << 63}, "now_ns cannot be recorded"),
        ({"env": (("A", "\udcff"),)}, "the text '\\udcff' cannot be recorded"),
    ],
)
def test_inputs_that_cannot_be_recorded(change, problem):
    """Inputs that no journal could hold are refused when they are made."""
    with pytest.raises(GateMisuseError) as caught:
        make_inputs(**change)
    assert caught.value.message == f"RunInputs: {problem}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"exit_code": 1 << 63}, "exit_code cannot be recorded"),
        ({"clock_ns": -1}, "clock_ns cannot be recorded"),
        ({"stdout_sha256": "0" * 63}, "stdout_sha256 cannot be recorded"),
        ({"files_sha256": "0" * 64 + "\n"}, "files_sha256 cannot be recorded"),
    ],
)
def test_outcomes_that_cannot_be_recorded(change, problem):
    """Outcomes that no journal could hold are refused when they are made."""
    with pytest.raises(GateMisuseError) as caught:
        make_outcome(**change)
    assert caught.value.message == f"RunOutcome: {problem}"


def test_outcome_that_is_no_json():
    """An end that cannot be recorded changes nothing: the host can say it again."""
    gate = open_gate()
    with pytest.raises(ValueInvalidError):
        gate.finish(make_outcome(error={"message": "\ud800"}))
    gate.finish(make_outcome(error={"message": "?"}))


def test_replay_under_smaller_limits_fails_closed():
    """A journal that does not fit the limits of the replay ends it, wherever that shows."""
    gate = open_gate()
    call(gate, value="x" * 2000)
    gate.finish(make_outcome())
    journal = load_journal(encode_file(gate.take_entries()), make_limits())
    gate = Gate(TOOLS, make_limits(journal_entry_limit_bytes=1024), replay=journal)
    gate.started(make_inputs())
    gate.request("tool", "add", None)
    with pytest.raises(JournalValueTooLargeError):
        gate.next_delivery()
    assert gate.closed


def test_negative_duration_is_told():
    """A duration below zero is an error of the host and changes nothing."""
    gate = open_gate()
    request = gate.request("tool", "add", []).request
    with pytest.raises(GateMisuseError, match="duration_ns is -1"):
        gate.complete(request, duration_ns=-1)
    gate.complete(request, duration_ns=0)


@pytest.mark.parametrize("name", ["limits", "policy"])
def test_documents_that_are_no_json(name):
    """Limits and policy are recorded in canonical form; what is no JSON is refused."""
    gate = Gate(TOOLS, make_limits())
    with pytest.raises(GateMisuseError, match=f"^RunInputs: {name} is no JSON: "):
        gate.started(make_inputs(**{name: b"{"}))
    gate = Gate(TOOLS, make_limits())
    gate.started(make_inputs(**{name: b'{ "b": 1, "a": "\\u00e9" }'}))
    started = load_journal(encode_file(gate.take_entries()), make_limits()).entries[0]
    assert getattr(started, name) == '{"a":"é","b":1}'.encode()


def test_messages_do_not_depend_on_the_host():
    """What a guest can put into a recorded message is spelled alike by every Python."""
    new_letter = "\U0001fae9"  # assigned in Unicode 16, so its repr differs between hosts
    gate = open_gate()
    denied = gate.request("tool", new_letter, {}).completion.error
    assert denied.message == f"policy denies tool '{new_letter}': no rule allows it"
    invalid = gate.request("tool", "add", {new_letter: math.nan}).completion.error
    assert invalid.message == (
        "effect request is invalid: args: value at $['\\U0001fae9'] is nan, which JSON cannot hold"
    )


def recorded(*, defer, inputs=make_inputs, value="x"):
    """Return a gate with one effect performed."""
    gate = Gate(TOOLS, make_limits(), defer=defer)
    gate.started(inputs)
    call(gate, value=value)
    return gate


def test_what_was_put_off_is_the_same_journal():
    """A gate that defers encodes nothing before its end, and then what any gate writes."""
    gate, plain = recorded(defer=True), recorded(defer=False)
    assert gate.take_entries() == []
    assert gate.finish(make_outcome()) == plain.finish(make_outcome())
    assert gate.take_entries() == plain.take_entries() != []


def test_what_was_put_off_and_is_not_wanted_is_forgotten():
    """A run whose journal nobody wants has none, and nobody is asked what it was given."""
    gate = recorded(defer=True, inputs=lambda: pytest.fail("asked"))
    assert gate.finish(None) is None
    assert gate.take_entries() == []


def test_no_more_than_a_little_is_put_off():
    """A journal that grows is encoded as it grows, so that its limits hold."""
    assert recorded(defer=True, value="x" * (1 << 20)).take_entries()
    gate = recorded(defer=True)
    for _ in range(256):
        call(gate)
    assert gate.take_entries()

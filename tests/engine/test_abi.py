"""Tests of the guest ABI: what is taken, and that anything else stops the guest and no more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.abi import (
    DURATION_LIMIT_NS,
    WAKE,
    GuestError,
    GuestStopped,
    Op,
    Report,
    StartInput,
    Stop,
    Submission,
    UnreadableArgs,
    ask_input,
    decode_report,
    decode_submission,
    decode_transform,
    decode_wait,
    deliver_input,
    encode,
)
from engine.support import stops

DECODERS = [decode_report, decode_submission, decode_wait, decode_transform]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = (
    "state exit_code wake_ns stage error resource kind target args id timeout_ns source filename"
)
FIELDS = st.sampled_from(NAMES.split())


def test_numbers_of_the_operations():
    """The numbers are those that guests were compiled with."""
    assert {op.name: op.value for op in Op} == {
        "EFFECT": 1,
        "SUBMIT": 2,
        "REPORT": 3,
        "WAIT": 4,
        "OUT_OF_MEMORY": 6,
        "SEAL": 7,
        "ABANDON": 8,
        "STDOUT": 16,
        "STDERR": 17,
        "CLOCK": 18,
        "RANDOM": 19,
        "SLEEP": 20,
        "STDIN": 21,
        "EXIT": 22,
        "FS": 32,
        "TRANSFORM": 33,
    }


# --- reports ---


@pytest.mark.parametrize(
    ("body", "report"),
    [
        ('{"state":"done"}', Report(state="done")),
        ('{"state":"done","exit_code":3}', Report(state="done", exit_code=3)),
        ('{"state":"waiting","wake_ns":null}', Report(state="waiting")),
        ('{"state":"waiting","wake_ns":5}', Report(state="waiting", wake_ns=5)),
        (
            (
                '{"state":"failed","stage":"compile","exit_code":1,"resource":"memory",'
                '"error":{"name":"SyntaxError","message":"no","stack":"at 1"}}'
            ),
            Report(
                state="failed",
                stage="compile",
                exit_code=1,
                resource="memory",
                error=GuestError(name="SyntaxError", message="no", stack="at 1"),
            ),
        ),
        ('{"state":"failed","error":{}}', Report(state="failed", error=GuestError())),
        ('{"state":"done","more":[1,{}]}', Report(state="done")),
    ],
)
def test_reports_that_are_taken(body, report):
    """Every shape of a report, with what is left out and what is too much."""
    assert decode_report(body.encode()) == report


@pytest.mark.parametrize(
    ("said", "seen"),
    [(255, 255), (256, 0), (257, 1), (-1, 255), (1 << 80, 0), (-(1 << 80) - 1, 255)],
)
def test_exit_codes_are_as_a_shell_sees_them(said, seen):
    """Whatever number a guest names, its low eight bits are the exit code."""
    assert decode_report(b'{"state":"done","exit_code":%d}' % said).exit_code == seen


@pytest.mark.parametrize(
    ("said", "seen"),
    [(-1, 0), (0, 0), (DURATION_LIMIT_NS, DURATION_LIMIT_NS), (1 << 90, DURATION_LIMIT_NS)],
)
def test_times_are_brought_into_range(said, seen):
    """A time that no clock shows is the nearest that one does."""
    assert decode_report(b'{"state":"waiting","wake_ns":%d}' % said).wake_ns == seen


@pytest.mark.parametrize("duration_ns", [-1, DURATION_LIMIT_NS + 1, 1 << 90])
def test_waits_of_impossible_length_stop(duration_ns):
    """A duration that no clock can show is no wait."""
    assert decode_wait(b'{"timeout_ns":%d}' % DURATION_LIMIT_NS).timeout_ns == DURATION_LIMIT_NS
    with stops("protocol"):
        decode_wait(b'{"timeout_ns":%d}' % duration_ns)


MALFORMED = {
    "nothing": b"",
    "no object": b"[]",
    "null": b"null",
    "cut short": b'{"state":"done"',
    "two": b'{"state":"done"}{"state":"done"}',
    "not UTF-8": b'{"state":"\xff"}',
    "no JSON": b"state=done",
    "a NUL": b'{"state":"done"}\0',
    "half a pair": b'{"state":"\\ud800"}',
    "deep": b'{"x":' + b"[" * 100_000,
    "deep and whole": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("decode", DECODERS)
def test_what_is_no_json_object_stops(decode, name):
    """Bytes that are not one JSON object of the right kind end the guest, not the host."""
    if decode is decode_wait and name in {"not UTF-8", "half a pair"}:
        return  # a field that nobody reads
    with stops("protocol"):
        decode(MALFORMED[name])


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"state":null}',
        '{"state":"Done"}',
        '{"state":"done","exit_code":"0"}',
        '{"state":"done","exit_code":1.5}',
        '{"state":"done","exit_code":true}',
        '{"state":"done","exit_code":NaN}',
        '{"state":"waiting","wake_ns":"1"}',
        '{"state":"failed","stage":"link"}',
        '{"state":"failed","resource":"patience"}',
        '{"state":"failed","error":"text"}',
        '{"state":"failed","error":{"name":1}}',
        '{"state":"failed","error":[]}',
    ],
)
def test_wrong_types_in_a_report_stop(body):
    """Nothing is guessed: a field of another type is no report."""
    with stops("protocol"):
        decode_report(body.encode())


def test_the_message_says_what_is_wrong():
    """The stop names the message and the place in it."""
    with stops(
        "protocol",
        "the guest sent a malformed turn report: Expected `int`, got `str` - at `$.exit_code`",
    ):
        decode_report(b'{"state":"done","exit_code":"0"}')


@given(st.sampled_from(DECODERS), st.binary(max_size=60) | JSON.map(encode))
def test_any_bytes_are_taken_or_stop(decode, body):
    """No message of a guest raises anything but its stop."""
    assert stop_kind(decode, body) in {None, "protocol"}


@given(st.sampled_from(DECODERS), st.dictionaries(FIELDS, JSON, max_size=5))
def test_any_fields_are_taken_or_stop(decode, fields):
    """The same for objects that have the right names."""
    assert stop_kind(decode, json.dumps(fields).encode()) in {None, "protocol"}


def stop_kind(decode, body):
    """Return why a message stopped the guest, or None."""
    try:
        decode(body)
    except GuestStopped as stopped:
        return stopped.stop.kind
    return None


# --- effects ---


def test_submissions():
    """An effect has a kind, a target, any JSON as its args, and for a later answer a number."""
    assert decode_submission(b'{"kind":"tool","target":"add"}') == Submission(
        kind="tool", target="add"
    )
    assert decode_submission(
        b'{"id":4,"kind":"tool","target":"add","args":{"a":[1,2.5,null,"x"]}}'
    ) == Submission(kind="tool", target="add", args={"a": [1, 2.5, None, "x"]}, id=4)


@pytest.mark.parametrize(
    "args", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, "1e999", "nonsense", '"\\ud800"', '"']
)
def test_args_that_no_host_can_hold(args):
    """The call is known, its arguments are not: the gate will refuse it, and the guest goes on."""
    body = '{"id":4,"kind":"tool","target":"add","args":' + args + "}"
    found = decode_submission(body.encode())
    assert (found.id, found.kind, found.target) == (4, "tool", "add")
    assert isinstance(found.args, UnreadableArgs)


def test_args_as_text_do_not_end_the_envelope():
    """Text that looks like the beginning of the args is text."""
    target = ',"args":'
    body = json.dumps({"kind": "a", "target": target}, separators=(",", ":"))[:-1]
    found = decode_submission((body + ',"args":[1e999]}').encode())
    assert (found.target, type(found.args)) == (target, UnreadableArgs)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"kind":"tool"}',
        '{"target":"add"}',
        '{"kind":1,"target":"add"}',
        '{"kind":"tool","target":"add","id":"4"}',
        '{"kind":1,"target":"add","args":[1e999]}',
        '{"kind":"tool","args":' + "[" * 100_000,
    ],
)
def test_an_effect_without_its_envelope_stops(body):
    """What is asked of whom must be readable."""
    with stops("protocol"):
        decode_submission(body.encode())


def test_waits_and_transforms():
    """A wait may be without end; a transform is a source with its name."""
    assert decode_wait(b"{}").timeout_ns is None
    assert decode_wait(b'{"timeout_ns":null}').timeout_ns is None
    assert decode_wait(b'{"timeout_ns":7}').timeout_ns == 7
    assert decode_transform(b'{"filename":"a.ts","source":"let a"}') == ("let a", "a.ts")
    with stops("protocol"):
        decode_wait(b'{"timeout_ns":1.5}')
    with stops("protocol"):
        decode_transform(b'{"filename":"a.ts"}')


# --- what the host says ---


def test_a_question_is_said_with_the_time():
    """What an app is asked goes as it is, behind the time."""
    assert ask_input('{"do":"é"}', now_ns=12) == 'ask 12 {"do":"é"}'.encode()


def test_turn_inputs():
    """The three inputs of a turn, byte for byte."""
    start = StartInput(
        language="python",
        filename="main.py",
        code="é",
        argv=["main.py", "a"],
        env={"A": "1"},
        cwd="/",
        seed=7,
        now_ns=str(10**18),
        path=["/"],
    )
    assert encode(start).decode() == (
        '{"op":"start","language":"python","filename":"main.py","argv":["main.py","a"],'
        '"env":{"A":"1"},"cwd":"/","path":["/"],"persist":false,"seed":7,'
        '"now_ns":"1000000000000000000","code":"é"}'
    )
    assert WAKE == b'{"op":"wake"}'
    assert deliver_input([]) == b'{"op":"deliver","completions":[]}'
    assert deliver_input([b'{"id":1,"value":2}', b'{"id":3,"value":4}']) == (
        b'{"op":"deliver","completions":[{"id":1,"value":2},{"id":3,"value":4}]}'
    )


def test_no_handler_of_exceptions_catches_a_stop():
    """A stop passes `except Exception`, which host functions on the way may have."""
    assert not issubclass(GuestStopped, Exception)
    assert str(GuestStopped(Stop(kind="time"))) == "time"

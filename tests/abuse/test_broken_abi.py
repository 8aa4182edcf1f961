"""Attack: a program that speaks to the host itself, and breaks the protocol."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds, times_out

BROKEN = {
    "an unknown operation": r"b'\xff'",
    "nothing": "b''",
    "a report that is no JSON": r"b'\x03' + b'[' * 10**6",
    "a report that is no UTF-8": r"""b'\x03{"state":"failed","error":{"name":"\xff"}}'""",
    "a state that there is not": r"""b'\x03{"state":"sleeping"}'""",
    "an effect that is no UTF-8": r"""b'\x01{"kind":"tool","target":"\xff","args":1}'""",
    "a submission without a number": r"""b'\x02{"kind":"tool","target":"x","args":1}'""",
    "too much entropy": r"b'\x13\xff\xff\xff\xff'",
    "a malformed number": r"b'\x14\x00'",
    "a file operation that is no UTF-8": r"""b'\x20{"f":"stat","p":"\xff"}'""",
    "a file operation that is none": r"b'\x20[]'",
    "a transformation that is none": r"b'\x21{}'",
    "a wait for nothing": r"""b'\x04{"timeout_ns":null}'""",
    "a wait that is over before it begins": r"""b'\x04{"timeout_ns":-1}'""",
    "a wait past the end of time": r"""b'\x04{"timeout_ns":9223372036854775808}'""",
    "a wait that is none": r"""b'\x04{"timeout_ns":"x"}'""",
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_the_guest_is_stopped(message):
    """Nothing more of an instance that broke the protocol is believed."""
    result, error = attack(f"import _host\n_host.call({message})\nprint('after')", "python")
    assert error is not None
    assert (error.case, error.fields.get("reason")) == ("internal", "protocol")
    assert "after" not in result.run.stdout


def test_one_number_for_two_effects():
    """A completion could not be told from the other."""
    submit = r"""_host.call(b'\x02{"id":1,"kind":"tool","target":"x","args":null}')"""
    _, error = attack(f"import _host\n{submit}\n{submit}", "python")
    assert error is not None
    assert error.fields.get("reason") == "protocol"


@pytest.mark.parametrize("args", ["NaN", "1e999", "9" * 5000, "[" * 10**4 + "]" * 10**4])
def test_arguments_that_cannot_be_read(args):
    """The rest of the request can be, so the answer is an error and the guest goes on."""
    code = f"""
import _host
args = {args!r}.encode()
print(_host.call(b'\\x01{{"kind":"tool","target":"x","args":' + args + b'}}').decode()[:33])
"""
    assert completes(code, "python") == '{"error":{"code":"EFFECT_INVALID"\n'


def test_a_kind_of_effect_that_there_is_not():
    """What no handler performs and no policy allows is denied."""
    code = r"""
import _host
print(_host.call(b'\x01{"kind":"shell","target":"rm","args":null}').decode()[:32])
"""
    assert completes(code, "python") == '{"error":{"code":"POLICY_DENIED"\n'


@pytest.mark.parametrize("code", ["0", "-1", "99999999999999999999", "null"])
def test_a_report_before_the_end_counts_for_nothing(code):
    """Only the last report of a turn does, and the driver's own is the last."""
    message = rf"""b'\x03{{"state":"done","exit_code":{code}}}'"""
    program = f"import _host\n_host.call({message})\nprint('more')\nraise SystemExit(4)"
    result, error = attack(program, "python")
    if error is None:
        assert (result.run.stdout, result.run.exit_code) == ("before\nmore\n", 4)
    else:
        assert error.fields.get("reason") == "protocol"


def test_operations_without_number_are_counted():
    """Every host call counts, also one that does nothing."""
    code = "import _host\nwhile True: _host.call(b'\\x12')"
    exceeds("host_calls", code, "python", limits={"host_call_count_max": 1000})


def test_waiting_for_nothing_again_and_again():
    """A turn that waits in virtual time for ever is stopped in real time."""
    times_out("""import _host\nwhile True: _host.call(b'\\x04{"timeout_ns":1000}')""", "python")


STUCK = r"""
import builtins
import _cloche.host
call = _cloche.host._call
def turn(*_):
    call(b'\x03{"state":"waiting","wake_ns":1}')
    raise SystemExit(1)  # as the driver tells the module that there is a report
_cloche.host._call = turn
builtins._cloche_turn = turn
raise SystemExit(3)
"""


def test_a_guest_that_always_waits_runs_out_of_turns():
    """A turn that does nothing but ask for another is counted."""
    exceeds("turns", STUCK, "python", limits={"turn_count_max": 100})


def test_no_report_at_all():
    """A guest that has something to report and does not is not believed either."""
    code = "import _cloche.host as host\nhost.send = host._call = lambda *a: None\n1 / 0"
    _, error = attack(code, "python")
    assert error is not None
    assert error.fields.get("reason") == "protocol"


def test_claiming_to_be_out_of_memory():
    """A guest may give up; it hurts nobody else."""
    exceeds("memory", "import _host\n_host.call(b'\\x06')", "python")

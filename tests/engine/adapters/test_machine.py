"""The operations of the one host call, each with what hostile code sends."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from cloche.engine.abi import GuestStopped, Op, Stop
from cloche.engine.adapters import machine as module
from cloche.engine.virtual_os import CLOCK_LIMIT_NS
from cloche.limits import Limits

from .support import NOW_NS, machine

if TYPE_CHECKING:
    from cloche.engine.adapters.machine import Machine


def stop_of(made: Machine, operation: int, body: bytes = b"") -> Stop:
    """Return the stop that an operation ends with."""
    with pytest.raises(GuestStopped) as caught:
        made.operate(operation, body)
    return caught.value.stop


def test_every_operation_of_the_abi_is_there() -> None:
    """Each number of the ABI does something, and no other."""
    assert set(module._OPERATIONS) == set(Op)
    for number in {*range(-2, 70), 256, 1 << 31, (1 << 32) - 1} - set(Op):
        assert stop_of(machine(), number) == Stop(
            kind="protocol", message=f"unknown operation {number}"
        )


def test_streams() -> None:
    """Output goes to its stream; input comes in pieces and then is empty."""
    made = machine(stdin=b"abcdef")
    assert made.operate(Op.STDOUT, b"out") == made.operate(Op.STDERR, b"err") == b""
    assert made.output == {"stdout": b"out", "stderr": b"err"}
    pieces = [made.operate(Op.STDIN, struct.pack("<I", size)) for size in (2, 0, 0xFFFFFFFF, 9)]
    assert pieces == [b"ab", b"", b"cdef", b""]


def test_input_is_bounded_by_a_message() -> None:
    """No piece of input is larger than a message may be."""
    limits = Limits().replace({"guests": {"message_limit_bytes": 65536}})
    made = machine(limits, stdin=bytes(200_000))
    assert len(made.operate(Op.STDIN, struct.pack("<I", 1 << 30))) == 65536


def test_clock_and_sleep() -> None:
    """The clock moves by reads and sleeps only, never back, never past its end."""
    made = machine()

    def now() -> int:
        reply = made.operate(Op.CLOCK, b"")
        assert isinstance(reply, bytes)
        return int.from_bytes(reply, "little")

    assert now() == NOW_NS + 1000
    made.operate(Op.SLEEP, struct.pack("<Q", NOW_NS + 5_000_000))
    assert now() == NOW_NS + 5_001_000
    made.operate(Op.SLEEP, struct.pack("<Q", 0))
    assert now() == NOW_NS + 5_002_000
    made.operate(Op.SLEEP, struct.pack("<Q", (1 << 64) - 1))
    assert now() == now() == CLOCK_LIMIT_NS


def test_entropy() -> None:
    """Equal seeds give equal bytes in equal pieces; too much at once is a stop."""
    ask = struct.pack("<I", 65536)
    first, second = (machine(seed=5) for _ in range(2))
    assert first.operate(Op.RANDOM, ask) == second.operate(Op.RANDOM, ask)
    assert first.operate(Op.RANDOM, ask) != machine(seed=6).operate(Op.RANDOM, ask)
    assert first.operate(Op.RANDOM, struct.pack("<I", 0)) == b""
    assert stop_of(first, Op.RANDOM, struct.pack("<I", 65537)).kind == "protocol"


@pytest.mark.parametrize("operation", [Op.RANDOM, Op.SLEEP, Op.STDIN, Op.EXIT])
@pytest.mark.parametrize("size", [0, 1, 3, 5, 7, 9, 100])
def test_malformed_numbers(operation: Op, size: int) -> None:
    """A number of the wrong size is a stop."""
    stop = Stop(kind="protocol", message="a malformed number")
    assert stop_of(machine(), operation, bytes(size)) == stop


@pytest.mark.parametrize(("sent", "code"), [(0, 0), (3, 3), (256, 0), (0xFFFFFFFF, 255)])
def test_exit(sent: int, code: int) -> None:
    """Exit is a stop with the low byte of the code."""
    expected = Stop(kind="exit", exit_code=code)
    assert stop_of(machine(), Op.EXIT, struct.pack("<I", sent)) == expected


def test_report() -> None:
    """A report is kept."""
    made = machine()
    made.operate(Op.REPORT, b'{"state":"waiting","wake_ns":5}')
    assert made.report is not None
    assert (made.report.state, made.report.wake_ns) == ("waiting", 5)


def test_no_world_no_effects() -> None:
    """Without somebody who answers effects, asking ends the turn."""
    body = b'{"kind":"tool","target":"x"}'
    for operation, message in ((Op.EFFECT, body), (Op.SUBMIT, body), (Op.WAIT, b"{}")):
        assert stop_of(machine(), operation, message) == module.NO_WORLD


def test_effects_reach_the_world_with_their_size() -> None:
    """Requests are decoded, and counted as long as the guest sent them."""
    seen: list[object] = []

    class World:
        def call(self, submission: object, size_bytes: int) -> bytes:
            seen.append((submission.target, size_bytes))  # type: ignore[attr-defined]
            return b'{"value":1}'

        def submit(self, submission: object, size_bytes: int) -> None:
            seen.append((submission.id, size_bytes))  # type: ignore[attr-defined]

        def wait(self, timeout_ns: int | None) -> list[bytes]:
            seen.append(timeout_ns)
            return [b'{"id":1,"value":2}', b'{"id":2,"value":3}']

        def abandon(self, submission_id: int) -> None:
            seen.append(("abandon", submission_id))

    made = machine(effects=World())
    body = b'{"kind":"tool","target":"x","id":7}'
    assert made.operate(Op.EFFECT, body) == b'{"value":1}'
    assert made.operate(Op.SUBMIT, body) == b""
    assert made.operate(Op.WAIT, b'{"timeout_ns":null}') == (
        b'[{"id":1,"value":2},{"id":2,"value":3}]'
    )
    assert made.operate(Op.ABANDON, b'{"id":7}') == b""
    assert seen == [("x", len(body)), (7, len(body)), None, ("abandon", 7)]
    stop = stop_of(made, Op.ABANDON, b'{"id":"x"}')
    assert stop.kind == "protocol"
    assert stop.message.startswith("the guest sent a malformed request to give up a call")


def test_transform() -> None:
    """Sources are transformed by whoever was given; without one the guest has broken the ABI."""
    made = machine(transform=lambda source, name: {"code": f"{name}:{source}"})
    body = b'{"filename":"a.ts","source":"x"}'
    assert made.operate(Op.TRANSFORM, body) == b'{"code":"a.ts:x"}'
    assert stop_of(machine(), Op.TRANSFORM, body).kind == "protocol"


def test_calls_are_counted_before_anything_is_done() -> None:
    """The call over the limit has no effect."""
    limits = Limits().replace({"guests": {"host_call_count_max": 2}})
    made = machine(limits)
    for _ in range(2):
        made.operate(Op.STDOUT, b"x")
    assert stop_of(made, Op.STDOUT, b"y") == Stop(
        kind="host_calls", message="the guest made more than 2 host calls"
    )
    assert made.output["stdout"] == b"xx"


def test_temporary_folder_is_there_and_hidden() -> None:
    """A fresh machine has /tmp, which is not in what a run leaves."""
    made = machine()
    made.operate(Op.FS, b'{"f":"write","p":"/tmp/a"}\0data')
    assert made.operate(Op.FS, b'{"f":"read","p":"/tmp/a"}') == b"data"
    assert list(made.files.files()) == []

"""The guest ABI against guests that break it: every breach is a stop, and closes the instance."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from cloche.engine.abi import Report, Stop
from cloche.engine.errors import InstanceClosedError
from cloche.limits import Limits

from .support import DONE, NOW_NS, hostile, run_turn

if TYPE_CHECKING:
    from pathlib import Path

REPORT = "(drop (call $gate (i32.const 3) (i32.const 512) (i32.const 16)))"
OUTSIDE = Stop(kind="protocol", message="the guest passed a pointer outside its memory")
EFFECT = b'{"kind":"tool","target":"x"}'
TOO_LONG = Stop(kind="protocol", message="the guest sent a message of more than 16777216 bytes")


def gate(operation: int, pointer: int, length: int) -> str:
    """Return code that calls the JavaScript guest's gate."""
    return f"(drop (call $gate (i32.const {operation}) (i32.const {pointer}) (i32.const {length})))"


def call(pointer: int, length: int, out: int = 0, out_length: int = 8) -> str:
    """Return code that calls the Python guest's host."""
    numbers = " ".join(f"(i32.const {number})" for number in (pointer, length, out, out_length))
    return f"(drop (call $call {numbers}))"


def test_good_guests_end_with_their_report(tmp_path: Path) -> None:
    """The small guests of these tests do work when they follow the rules."""
    assert run_turn(hostile("javascript", tmp_path, REPORT)) == Report(state="done")
    python = hostile("python", tmp_path, call(511, 17), data={511: b'\x03{"state":"done"}'})
    assert run_turn(python) == Report(state="done")
    assert run_turn(python) == Report(state="done")


JAVASCRIPT_BREACHES: dict[str, tuple[str, Stop]] = {
    "no report": ("", Stop(kind="protocol", message="the guest ended its turn without a report")),
    "unknown operation": (gate(99, 0, 0), Stop(kind="protocol", message="unknown operation 99")),
    "negative operation": (
        gate(-1, 0, 0),
        Stop(kind="protocol", message="unknown operation 4294967295"),
    ),
    "pointer at the end": (gate(16, 65536, 1), OUTSIDE),
    "pointer past the end": (gate(16, 0x7FFFFFFF, 1), OUTSIDE),
    "negative pointer": (gate(16, -1, 1), OUTSIDE),
    "range over the end": (gate(16, 65535, 2), OUTSIDE),
    "negative length": (gate(32, 0, -1), TOO_LONG),
    "length over the limit": (gate(32, 0, (16 << 20) + 1), TOO_LONG),
    "length at the limit": (gate(32, 0, 16 << 20), OUTSIDE),
    "reply past the end": (
        gate(18, 0, 0) + "(call $gate_read (i32.const 65529))",
        OUTSIDE,
    ),
    "reply to a negative pointer": (
        gate(18, 0, 0) + "(call $gate_read (i32.const -8))",
        OUTSIDE,
    ),
    "short number": (gate(19, 0, 3), Stop(kind="protocol", message="a malformed number")),
    "long number": (gate(20, 0, 9), Stop(kind="protocol", message="a malformed number")),
    "too much entropy": (
        gate(19, 512, 4),
        Stop(kind="protocol", message="too much entropy asked for at once"),
    ),
    "effect without a world": (
        gate(1, 600, len(EFFECT)),
        Stop(kind="gate", message="no effects are answered in this run"),
    ),
    "transform without a transformer": (
        gate(33, 0, 1),
        Stop(kind="protocol", message="this guest transforms no sources"),
    ),
    "out of memory": (
        gate(6, 0, 0),
        Stop(kind="memory", message="the guest needs more than 268435456 bytes"),
    ),
    "exit": (gate(22, 700, 4), Stop(kind="exit", exit_code=0x78)),
    "trap": (
        "unreachable",
        Stop(
            kind="trap",
            message="the guest crashed: wasm trap: wasm `unreachable` instruction executed",
        ),
    ),
    "recursion": (
        "(drop (call $turn (i32.const 0) (i32.const 0)))",
        Stop(kind="stack", message="the guest ran out of WebAssembly stack"),
    ),
}


@pytest.mark.parametrize("name", JAVASCRIPT_BREACHES)
def test_javascript_breach_is_a_stop(name: str, tmp_path: Path) -> None:
    """What a guest may not do ends its turn with the reason; the instance is closed."""
    turn, stop = JAVASCRIPT_BREACHES[name]
    content = {600: EFFECT, 700: b"\x78\x01\0\0"}
    instance = hostile("javascript", tmp_path, turn, data=DONE | content)
    assert run_turn(instance) == stop
    assert instance.closed
    with pytest.raises(InstanceClosedError) as caught:
        run_turn(instance)
    assert caught.value.message == (
        "this instance is closed; start another from its image or snapshot"
    )


MALFORMED = [b"", b"{", b"[]", b'{"state":"dead"}', b'{"state":1}', b"\xff\xfe", b"[" * 5000]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("operation", [3, 33])
def test_malformed_document_is_a_stop(operation: int, body: bytes, tmp_path: Path) -> None:
    """A report or request that is not what the ABI says is a stop, however it is malformed."""
    instance = hostile("javascript", tmp_path, gate(operation, 8192, len(body)), data={8192: body})
    instance.machine.transform = lambda _source, _name: {}
    stop = run_turn(instance)
    assert isinstance(stop, Stop)
    assert stop.kind == "protocol"
    what = "turn report" if operation == 3 else "transform request"
    assert stop.message.startswith(f"the guest sent a malformed {what}: ")


def test_malformed_effects_are_stops(tmp_path: Path) -> None:
    """A malformed request reaches nobody who answers effects."""

    class World:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: pytest.fail(f"{name} was reached")

    for operation in (1, 2, 4):
        for body in (b"", b"{", b"[]", b'{"timeout_ns":"1"}', b"\xff"):
            instance = hostile(
                "javascript", tmp_path, gate(operation, 8192, len(body)), data={8192: body}
            )
            instance.machine.effects = World()
            stop = run_turn(instance)
            assert isinstance(stop, Stop)
            assert stop.kind == "protocol"


PYTHON_BREACHES: dict[str, tuple[str, Stop]] = {
    "empty message": (
        call(0, 0),
        Stop(kind="protocol", message="the guest sent an empty message"),
    ),
    "negative length": (call(0, -1), TOO_LONG),
    "pointer at the end": (call(65536, 1), OUTSIDE),
    "range over the end": (call(65535, 2), OUTSIDE),
    "reply pointer past the end": (call(600, 1, 65533, 0), OUTSIDE),
    "reply length past the end": (call(600, 1, 0, 65533), OUTSIDE),
    "files by number": (
        call(601, 25),
        Stop(kind="protocol", message="this guest has its files through WASI"),
    ),
}


@pytest.mark.parametrize("name", PYTHON_BREACHES)
def test_python_breach_is_a_stop(name: str, tmp_path: Path) -> None:
    """The same for the Python guest's one host call."""
    turn, stop = PYTHON_BREACHES[name]
    content = b'\x12\x20{"f":"read","p":"/none"}'
    instance = hostile("python", tmp_path, turn, data={600: content})
    assert run_turn(instance) == stop
    assert instance.closed


@pytest.mark.parametrize("pointer", [65535, 65536, 0x7FFFFFFF, -1])
@pytest.mark.parametrize("language", ["javascript", "python"])
def test_allocator_that_lies(language: str, pointer: int, tmp_path: Path) -> None:
    """A guest's allocator that returns a wild pointer harms nobody but the guest."""
    instance = hostile(
        language,
        tmp_path,
        REPORT if language == "javascript" else "",
        alloc=(f"i32.const {pointer}"),
    )
    assert run_turn(instance, b"{}") == OUTSIDE


def test_allocator_that_calls_back(tmp_path: Path) -> None:
    """A guest whose allocator makes a host call, which allocates, and so on, is stopped."""
    again = f"{call(600, 1)} i32.const 0"
    segments = {600: b"\x12"}
    instance = hostile("python", tmp_path, "", alloc=again, data=segments)
    assert run_turn(instance) == Stop(
        kind="protocol", message="the guest and the host call each other without end"
    )


def test_allocator_that_never_ends(tmp_path: Path) -> None:
    """The deadline holds inside the allocator too."""
    instance = hostile("javascript", tmp_path, REPORT, alloc="(loop $l (br $l)) i32.const 0")
    assert run_turn(instance, seconds=0.05) == Stop(
        kind="time", message="the guest was interrupted at its deadline"
    )


def test_host_calls_are_counted(tmp_path: Path) -> None:
    """The call over the limit ends the turn, whatever it asks for."""
    limits = Limits().replace({"guests": {"host_call_count_max": 100}})
    instance = hostile("javascript", tmp_path, f"(loop $l {gate(18, 0, 0)} (br $l))", limits=limits)
    assert run_turn(instance) == Stop(
        kind="host_calls", message="the guest made more than 100 host calls"
    )


def test_output_is_limited(tmp_path: Path) -> None:
    """What fits the limit is printed, then the turn ends."""
    limits = Limits().replace({"guests": {"output_limit_bytes": 10}})
    segments = {600: b"abcd"}
    instance = hostile(
        "javascript",
        tmp_path,
        f"(loop $l {gate(16, 600, 4)} (br $l))",
        limits=limits,
        data=segments,
    )
    assert run_turn(instance) == Stop(
        kind="output", message="the guest wrote more than 10 bytes of output"
    )
    assert instance.machine.output["stdout"] == b"abcdabcdab"


def test_last_report_counts(tmp_path: Path) -> None:
    """A guest that reports twice in a turn is believed the second time."""
    first, second = b'{"state":"done"}', b'{"state":"done","exit_code":4}'
    segments = {600: first, 700: second}
    turn = gate(3, 600, len(first)) + gate(3, 700, len(second))
    instance = hostile("javascript", tmp_path, turn, data=segments)
    assert run_turn(instance) == Report(state="done", exit_code=4)


def test_file_errors_are_negative_numbers(tmp_path: Path) -> None:
    """A file that is not there is -44 (ENOENT of WASI) for a guest that uses the gate."""
    body = b'{"f":"read","p":"/none"}'
    code = (
        f"(if (i32.ne (call $gate (i32.const 32) (i32.const 600) (i32.const {len(body)}))"
        f" (i32.const -44)) (then unreachable)) {REPORT}"
    )
    segments = DONE | {600: body}
    instance = hostile("javascript", tmp_path, code, data=segments)
    assert run_turn(instance) == Report(state="done")


@pytest.mark.parametrize(("length", "is_in_place"), [(8, True), (7, False)])
def test_reply_in_place(length: int, is_in_place: bool, tmp_path: Path) -> None:
    """A short reply takes the place of the payload if the guest asks for that; else it is kept."""
    subject = hostile("javascript", tmp_path, REPORT + gate(0x100 + 18, 700, length))
    assert run_turn(subject) == Report(state="done")
    now = struct.pack("<Q", NOW_NS + 1000)
    assert subject._store.memory.read(700, 8) == (now if is_in_place else bytes(8))
    assert subject.machine.reply == (b"" if is_in_place else now)

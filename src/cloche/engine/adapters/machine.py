"""One running guest: its virtual OS, and the operations that its one host call carries.

Owns the state that a guest can reach apart from its memory. Every operation comes from hostile
code: sizes are bounded here, bodies are parsed by `abi`, files go through `vfs`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cloche.engine import abi
from cloche.engine.abi import GuestStopped, Op, Report, Stop
from cloche.engine.descriptors import Descriptors
from cloche.engine.file_operations import perform
from cloche.engine.vfs import FileSystem
from cloche.engine.virtual_os import Clock, Entropy, OutputSink, StandardStreams, Stream

if TYPE_CHECKING:
    from cloche.engine.adapters.wasm import Memory, Store
    from cloche.engine.ports import EffectPort
    from cloche.limits import Limits

RANDOM_LIMIT_BYTES: Final = 65536
NO_WORLD: Final = Stop(kind="gate", message="no effects are answered in this run")

Transform = Callable[[str, str], dict[str, Any]]


class Machine:
    """The user object of a store: what host functions work on.

    Args:
        limits: groups `guests` and `engine`.
        now_ns: start of the virtual clock.
        seed: of the entropy source.
        stdin: all input.
        sink: receives output.
        effects: answers effects; None stops a guest that asks for one.
        transform: strips types from a source, for guests that load TypeScript themselves.
        clock: the virtual clock, instead of a plain one that starts at `now_ns`.
    """

    memory: Memory
    store: Store
    alloc: Any  # the guest's allocator, for drivers that put replies into its memory

    def __init__(
        self,
        limits: Limits,
        *,
        now_ns: int,
        seed: int,
        stdin: bytes = b"",
        sink: OutputSink,
        effects: EffectPort | None = None,
        transform: Transform | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limits = limits
        clock = self.clock = clock or Clock(now_ns)
        self.entropy = Entropy(seed)
        self.streams = StandardStreams(stdin, sink, limits.guests.output_limit_bytes)
        self.files = FileSystem(limits, lambda: clock.now_ns)
        self.files.make_hidden_directory("tmp")
        self.descriptors = Descriptors(self.files, limits.guests.open_file_count_max)
        self.effects = effects
        self.transform = transform
        self.argv: list[bytes] = [b"guest"]
        self.environ: list[bytes] = []
        self.input = (0, 0)  # where the guest takes what turns begin with, and how much fits
        self.reply = b""
        self.report: Report | None = None
        self.host_call_count = 0
        self.pause: Callable[[int], None] | None = None  # makes sleeping (ns) real
        self.sealed: bytes | None = None  # the answer of a guest that is asked what to seal

    def begin_run(
        self,
        limits: Limits,
        *,
        now_ns: int,
        stdin: bytes,
        sink: OutputSink,
        transform: Transform | None = None,
    ) -> None:
        """Make ready for another run in the same guest: files, clock and entropy go on.

        The clock never goes back; limits are those of the new run alone.
        """
        self.limits = limits
        self.clock.sleep_until(now_ns)
        self.streams = StandardStreams(stdin, sink, limits.guests.output_limit_bytes)
        self.files.set_limits(limits)
        self.descriptors.set_limit(limits.guests.open_file_count_max)
        self.effects = None
        self.pause = None
        self.transform = transform
        self.report = None
        self.host_call_count = 0

    def release(self) -> None:
        """Let go of what answers the guest; files, clock and entropy stay.

        The callbacks lead back to the machine. Without this all files of a run that is over would
        stay until Python's collector comes, which many large files do not make it do.
        """
        self.streams = StandardStreams(b"", _discard, 0)
        self.effects = None
        self.pause = None
        self.transform = None
        for name in ("store", "memory", "alloc"):
            self.__dict__.pop(name, None)

    def operate(self, number: int, body: bytes) -> bytes | int:
        """Perform one operation; return the reply, or a negative errno (files only)."""
        self.host_call_count += 1
        if self.host_call_count > self.limits.guests.host_call_count_max:
            raise GuestStopped(
                Stop(
                    kind="host_calls",
                    message=f"the guest made more than {self.host_call_count - 1} host calls",
                )
            )
        operation = _OPERATIONS.get(number)
        if operation is None:
            raise GuestStopped(Stop(kind="protocol", message=f"unknown operation {number}"))
        return operation(self, body)

    def sleep_until(self, time_ns: int) -> None:
        """Let the guest sleep: virtually, or really where somebody waits for it to happen."""
        if self.pause is not None and time_ns > self.clock.now_ns:
            self.pause(time_ns - self.clock.now_ns)
        self.clock.sleep_until(time_ns)

    def world(self) -> EffectPort:
        """Return who answers effects, or stop the guest."""
        if self.effects is None:
            raise GuestStopped(NO_WORLD)
        return self.effects


def _discard(_stream: Stream, _data: bytes) -> None:
    """Stand for the sink of a run that is over."""


def _effect(machine: Machine, body: bytes) -> bytes:
    return machine.world().call(abi.decode_submission(body), len(body))


def _submit(machine: Machine, body: bytes) -> bytes:
    machine.world().submit(abi.decode_submission(body), len(body))
    return b""


def _report(machine: Machine, body: bytes) -> bytes:
    machine.report = abi.decode_report(body)
    return b""


def _wait(machine: Machine, body: bytes) -> bytes:
    return b"[" + b",".join(machine.world().wait(abi.decode_wait(body).timeout_ns)) + b"]"


def _abandon(machine: Machine, body: bytes) -> bytes:
    machine.world().abandon(abi.decode_abandon(body))
    return b""


def _out_of_memory(machine: Machine, _body: bytes) -> bytes:
    raise GuestStopped(
        Stop(
            kind="memory",
            message=f"the guest needs more than {machine.limits.guests.memory_limit_bytes} bytes",
        )
    )


def _seal(machine: Machine, body: bytes) -> bytes:
    if machine.sealed is None:
        raise GuestStopped(Stop(kind="protocol", message="an image is sealed when it is made"))
    machine.sealed = body
    return b""


def _stdout(machine: Machine, body: bytes) -> bytes:
    machine.streams.write("stdout", body)
    return b""


def _stderr(machine: Machine, body: bytes) -> bytes:
    machine.streams.write("stderr", body)
    return b""


def _clock(machine: Machine, _body: bytes) -> bytes:
    return struct.pack("<Q", machine.clock.read())


def _number(body: bytes, layout: str) -> int:
    try:
        (number,) = struct.unpack(layout, body)
    except struct.error:
        raise GuestStopped(Stop(kind="protocol", message="a malformed number")) from None
    return int(number)


def _random(machine: Machine, body: bytes) -> bytes:
    length = _number(body, "<I")
    if length > RANDOM_LIMIT_BYTES:
        raise GuestStopped(Stop(kind="protocol", message="too much entropy asked for at once"))
    return machine.entropy.take(length)


def _sleep(machine: Machine, body: bytes) -> bytes:
    machine.sleep_until(_number(body, "<Q"))
    return b""


def _stdin(machine: Machine, body: bytes) -> bytes:
    return machine.streams.read(min(_number(body, "<I"), machine.limits.guests.message_limit_bytes))


def _exit(_machine: Machine, body: bytes) -> bytes:
    raise GuestStopped(Stop(kind="exit", exit_code=_number(body, "<I") & 0xFF))


def _fs(machine: Machine, body: bytes) -> bytes | int:
    return perform(machine.files, body)


def _transform(machine: Machine, body: bytes) -> bytes:
    if machine.transform is None:
        raise GuestStopped(Stop(kind="protocol", message="this guest transforms no sources"))
    source, filename = abi.decode_transform(body)
    return abi.encode(machine.transform(source, filename))


_OPERATIONS: Final[dict[int, Callable[[Machine, bytes], bytes | int]]] = {
    Op.EFFECT: _effect,
    Op.SUBMIT: _submit,
    Op.REPORT: _report,
    Op.WAIT: _wait,
    Op.OUT_OF_MEMORY: _out_of_memory,
    Op.SEAL: _seal,
    Op.ABANDON: _abandon,
    Op.STDOUT: _stdout,
    Op.STDERR: _stderr,
    Op.CLOCK: _clock,
    Op.RANDOM: _random,
    Op.SLEEP: _sleep,
    Op.STDIN: _stdin,
    Op.EXIT: _exit,
    Op.FS: _fs,
    Op.TRANSFORM: _transform,
}

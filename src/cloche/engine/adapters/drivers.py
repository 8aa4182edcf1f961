"""How each guest module is driven: its imports, its prelude, its turn.

One driver per language. A driver knows the exports and the calling convention of its module
(guest ABI, version 1) and nothing of images, limits or runs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

from cloche.engine.abi import GuestStopped, Op, Stop
from cloche.engine.adapters import wasi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.engine.adapters.machine import Machine
    from cloche.engine.adapters.wasm import Linker, Store

_OUTPUT: Final = frozenset({int(Op.STDOUT), int(Op.STDERR)})
_REPLY_IN_PLACE: Final = 0x100  # added to an operation: a short reply takes the payload's place
_INPUT_BYTES: Final = 4096  # the least that is asked for: the buffer stays for later turns
_JAVASCRIPT_DONE: Final = 2  # of cloche_turn; 0 where there is a report
_PYTHON_STATUS: Final = 0xFF  # of turn; beyond it is whether `quit` was called
_PYTHON_SEAL: Final = b"_cloche_seal()"
_COUNT_MAX: Final = 1 << 20  # no object has as many references; free memory begins with a pointer
_IMMORTAL: Final = 5 << 28  # _Py_IMMORTAL_INITIAL_REFCNT of CPython on 32 bits, refcount.h


class Driver(Protocol):
    """What instances need of a language. `signatures` has every export that is called."""

    signatures: Mapping[str, str]
    takes_questions: bool  # whether it knows the turn input of `abi.ask_input`

    def define_imports(self, linker: Linker) -> None:
        """Define every import of the module."""

    def bind(self, store: Store) -> Any:
        """Look up the exports that `turn` needs; the result is passed to the other methods."""

    def warm(self, machine: Machine, exports: Any, sources: list[tuple[str, str]]) -> int:
        """Run the prelude, given as (file name, text) in order, in a raw instance.

        Returns:
            how many bytes of its memory make the image.
        """

    def seal(self, machine: Machine) -> None:
        """Arrange memory for those who begin with it: a run then writes to few pages of it."""

    def turn(self, machine: Machine, exports: Any, body: bytes) -> bool:
        """Hand `body` to the guest and run it until the turn ends.

        Returns:
            whether the guest says that the program is done with exit code 0: most programs end so,
            and then there is no report.
        """


def _checked_message(machine: Machine, length: int) -> None:
    limit = machine.limits.guests.message_limit_bytes
    if length > limit:
        raise GuestStopped(
            Stop(kind="protocol", message=f"the guest sent a message of more than {limit} bytes")
        )


class PythonDriver:
    """CPython as a WASI reactor: `turn` executes source text, `host.call` carries everything."""

    signatures: Mapping[str, str] = {"turn": "ii>i", "host_alloc": "i>i"}
    takes_questions = False

    def define_imports(self, linker: Linker) -> None:
        """Define WASI and `host.call`."""
        wasi.define(linker)
        linker.define("host", "call", "iiii", _python_host_call)

    def bind(self, store: Store) -> Any:
        """Return (turn, host_alloc)."""
        return store.export("turn"), store.export("host_alloc")

    def warm(self, machine: Machine, exports: Any, sources: list[tuple[str, str]]) -> int:
        """Execute the first source in `__main__`; it installs the others as modules. Seal them."""
        for index, (name, text) in enumerate(sources):
            if index and name.endswith(".py"):
                text = f"_cloche_install({name.removesuffix('.py')!r}, {text!r})"  # noqa: PLW2901
            if self._execute(machine, exports, text.encode()):
                raise GuestStopped(Stop(kind="trap", message=f"the prelude file {name} failed"))
        return self._seal(machine, exports)

    def _seal(self, machine: Machine, exports: Any) -> int:
        """Make all objects immortal: counting references writes to what a run only looks at.

        Only the guest knows where they are, and looking leaves traces, so its memory is put back.
        """
        memory, machine.sealed = machine.memory, b""
        before = memory.read(0, memory.current_size())
        if self._execute(machine, exports, _PYTHON_SEAL):
            raise GuestStopped(Stop(kind="trap", message="the objects of the image are not known"))
        addresses = [address for (address,) in struct.iter_unpack("<I", machine.sealed)]
        # Had it not been there before, something else would be where its type is now.
        kept = [a for a in addresses if memory.read(a + 4, 4) == before[a + 4 : a + 8]]
        memory.write(0, before)
        for address in kept:
            if 0 < memory.read_u32(address) < _COUNT_MAX:
                memory.write_u32(address, _IMMORTAL)
        machine.sealed = None
        return len(before)

    def seal(self, machine: Machine) -> None:
        """Leave memory as it is: only the prelude's own objects are sealed."""

    def turn(self, machine: Machine, exports: Any, body: bytes) -> bool:
        """Execute `body`: the prelude has taught the module to take a job for what it is."""
        return self._execute(machine, exports, body) & _PYTHON_STATUS == 0

    def _execute(self, machine: Machine, exports: Any, source: bytes) -> int:
        turn, alloc = exports
        pointer = machine.store.call(alloc, len(source))
        if not pointer:
            machine.operate(Op.OUT_OF_MEMORY, b"")
        machine.memory.write(pointer, source)
        return machine.store.call(turn, pointer, len(source))


def _python_host_call(
    machine: Machine, pointer: int, length: int, out_pointer: int, out_length: int
) -> int:
    if not length:
        raise GuestStopped(Stop(kind="protocol", message="the guest sent an empty message"))
    _checked_message(machine, length - 1)
    memory = machine.memory
    body = memory.read(pointer, length)
    reply = machine.operate(body[0], body[1:])
    if isinstance(reply, int):
        raise GuestStopped(Stop(kind="protocol", message="this guest has its files through WASI"))
    at = machine.store.call(machine.alloc, len(reply))
    memory.write(at, reply)
    memory.write_u32(out_pointer, at)
    memory.write_u32(out_length, len(reply))
    return 0


class JavaScriptDriver:
    """quickjs-ng behind our own C: one input buffer, one turn, one gate."""

    signatures: Mapping[str, str] = {
        "_initialize": ">",
        "cloche_init": ">i",
        "cloche_alloc": "i>i",
        "cloche_prelude": "ii>i",
        "cloche_seal": ">i",
        "cloche_turn": "ii>i",
    }
    takes_questions = True

    def define_imports(self, linker: Linker) -> None:
        """Define `cloche.gate`, `cloche.gate_read` and the WASI functions its C library links."""
        wasi.define(linker)
        linker.define("cloche", "gate", "iii", _gate)
        linker.define("cloche", "gate_read", "i", _gate_read, returns=False)

    def bind(self, store: Store) -> Any:
        """Return (turn, alloc)."""
        return store.export("cloche_turn"), store.export("cloche_alloc")

    def warm(self, machine: Machine, exports: Any, sources: list[tuple[str, str]]) -> int:
        """Start the module, evaluate each prelude source, seal what is then there."""
        store = machine.store
        store.call(store.export("_initialize"))
        if store.call(store.export("cloche_init")):
            raise GuestStopped(Stop(kind="trap", message="the JavaScript engine did not start"))
        prelude = store.export("cloche_prelude")
        for name, text in sources:
            body = name.encode() + b"\0" + text.encode()
            pointer = store.call(exports[1], len(body))
            machine.memory.write(pointer, body)
            if store.call(prelude, pointer, len(body)):
                raise GuestStopped(Stop(kind="trap", message=f"the prelude file {name} failed"))
        if store.call(store.export("cloche_seal")):
            raise GuestStopped(Stop(kind="trap", message="the rehearsal of a run failed"))
        return machine.memory.current_size()

    def seal(self, machine: Machine) -> None:
        """Collect garbage, let everything stay for good, fill the holes."""
        machine.store.call(machine.store.export("cloche_seal"))

    def turn(self, machine: Machine, exports: Any, body: bytes) -> bool:
        """Copy `body` into the guest's input buffer and run it."""
        turn, alloc = exports
        pointer, size = machine.input
        if len(body) > size:
            size = max(len(body), _INPUT_BYTES)
            pointer = machine.store.call(alloc, size)
            machine.input = pointer, size
        machine.memory.write(pointer, body)
        return machine.store.call(turn, pointer, len(body)) == _JAVASCRIPT_DONE


def _gate(machine: Machine, operation: int, pointer: int, length: int) -> int:
    in_place = operation >> 8 == 1
    if in_place:
        operation -= _REPLY_IN_PLACE
    if operation in _OUTPUT:
        # Not a message that is too long: what fits is printed, then the output is at its limit.
        length = min(length, machine.limits.guests.output_limit_bytes + 1)
    else:
        _checked_message(machine, length)
    reply = machine.operate(operation, machine.memory.read(pointer, length))
    if isinstance(reply, int):
        return reply & 0xFFFFFFFF
    if in_place and len(reply) <= length:
        machine.memory.write(pointer, reply)
    else:
        machine.reply = reply
    return len(reply)


def _gate_read(machine: Machine, pointer: int) -> None:
    machine.memory.write(pointer, machine.reply)

"""WASI with hostile arguments: any call with any numbers ends in an errno or a stop."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engine.abi import GuestStopped
from cloche.engine.adapters import wasi
from cloche.engine.adapters.instance import deadline_after
from cloche.engine.adapters.stack import run_with_room
from cloche.engine.adapters.wasm import Linker, Store
from cloche.engine.vfs import StoredFile
from cloche.limits import Limits

from .support import MIB, NS_PER_S, engine, load, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.engine.adapters.machine import Machine

FUNCTIONS = {name: letters for name, (letters, _) in wasi._FUNCTIONS.items()}
PAGE = 65536
ARGUMENTS_AT = 1024
TEXT_AT = 2048
ERRNO_MAX = 76  # the last errno of preview 1
EDGES = [0, 1, 2, 3, 4, 5, 8, 64, 1024, 1025, TEXT_AT, PAGE - 8, PAGE - 1, PAGE, PAGE + 1]
EDGES += [0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF]
WIDE = [*EDGES, 1 << 32, (1 << 62) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def module_text() -> str:
    """Return a module that calls each function with the arguments at ARGUMENTS_AT."""
    imports, functions = [], []
    for name, letters in FUNCTIONS.items():
        types = " ".join("i32" if letter == "i" else "i64" for letter in letters)
        declared = f"(param {types})" if types else ""
        imports.append(f'(import "{wasi.MODULE}" "{name}" (func ${name} {declared} (result i32)))')
        loads = " ".join(
            f"({'i32' if letter == 'i' else 'i64'}.load (i32.const {ARGUMENTS_AT + 8 * index}))"
            for index, letter in enumerate(letters)
        )
        functions.append(f'(func (export "{name}") (result i32) (call ${name} {loads}))')
    return f'(module {" ".join(imports)} (memory (export "memory") 1) {" ".join(functions)})'


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Linker, Any]:
    """Return a linker with WASI and the module, ready to instantiate."""
    linker = Linker(engine())
    wasi.define(linker)
    module = load(module_text(), tmp_path_factory.mktemp("wasi"))
    return linker, linker.prepare(module, dict.fromkeys(FUNCTIONS, ">i"))


class Guest:
    """A guest that calls WASI functions on a machine with a few files and streams."""

    def __init__(self, prepared: tuple[Linker, Any], limits: Limits | None = None) -> None:
        linker, pre = prepared
        self.machine: Machine = machine(limits, stdin=b"some input\n")
        self.machine.files.add(StoredFile(path="/a/file", content=b"content" * 100))
        self.machine.argv = [b"main.py", b"argument"]
        self.machine.environ = [b"NAME=value"]
        self.store = Store(linker.engine, pre, self.machine)
        self.machine.store, self.machine.memory = self.store, self.store.memory

    def call(self, name: str, *numbers: int) -> int:
        """Call a function by name."""
        self.store.memory.write(ARGUMENTS_AT, struct.pack(f"<{len(numbers)}Q", *numbers))
        self.store.enter(deadline_after(60 * NS_PER_S))
        try:
            return run_with_room(
                lambda: self.store.call(self.store.export(name)), self.store.cancel
            )
        finally:
            self.store.leave()

    def put(self, pointer: int, data: bytes) -> None:
        """Write into the guest's memory."""
        self.store.memory.write(pointer, data)


def check(guest: Guest, name: str, numbers: Sequence[int]) -> None:
    """Call a function and hold it to the rule."""
    try:
        errno = guest.call(name, *numbers)
    except GuestStopped as stopped:
        if stopped.stop.kind not in {"protocol", "output"}:
            raise
        return
    assert 0 <= errno <= ERRNO_MAX, errno


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_one_wild_number_everywhere(name: str, prepared: tuple[Linker, Any]) -> None:
    """Every argument at once a number at an edge of the memory or of its type."""
    count = len(FUNCTIONS[name])
    for edge in EDGES:
        guest = Guest(prepared)
        check(guest, name, [edge] * count)
        if count:
            check(guest, name, [3, *[edge] * (count - 1)])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_calls_in_any_order(prepared: tuple[Linker, Any], data: st.DataObject) -> None:
    """A sequence of calls with arbitrary arguments never gets out of the sandbox's rules."""
    guest = Guest(prepared)
    guest.put(TEXT_AT, b"a/file\0../../x\0\xff\xfe" + struct.pack("<IIII", TEXT_AT, 6, 0, PAGE))
    steps = st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=1, max_size=6)
    for name in data.draw(steps):
        numbers = [
            data.draw(st.sampled_from(EDGES if letter == "i" else WIDE))
            for letter in FUNCTIONS[name]
        ]
        check(guest, name, numbers)


def test_write_of_the_same_bytes_many_times(prepared: tuple[Linker, Any]) -> None:
    """Vectors that all name the whole memory make a short write, not a copy of gigabytes."""
    limits = Limits().replace(
        {"guests": {"file_limit_bytes": 80 * MIB, "files_limit_bytes": 80 * MIB}}
    )
    guest = Guest(prepared, limits)
    guest.put(TEXT_AT, b"new")
    # fd 3, no lookup flags, the name, create, all rights
    assert guest.call("path_open", 3, 0, TEXT_AT, 3, 1, wasi.ALL_RIGHTS, 0, 0, 512) == 0
    (descriptor,) = struct.unpack("<I", guest.store.memory.read(512, 4))
    guest.store.memory.grow_to(3 * MIB)
    guest.put(8192, struct.pack("<II", 0, 3 * MIB) * 1024)
    assert guest.call("fd_write", descriptor, 8192, 1024, 512) == 0
    assert struct.unpack("<I", guest.store.memory.read(512, 4)) == (64 * MIB,)
    sizes = {file.path: len(file.content) for file in guest.machine.files.files()}
    assert sizes["/new"] == 64 * MIB


def test_too_many_vectors(prepared: tuple[Linker, Any]) -> None:
    """More vectors than Linux takes are EINVAL (28)."""
    assert Guest(prepared).call("fd_write", 1, 0, 1025, 512) == 28


def test_sockets_are_not_there(prepared: tuple[Linker, Any]) -> None:
    """Everything about sockets is ENOTSUP (58)."""
    guest = Guest(prepared)
    for name, letters in FUNCTIONS.items():
        if name.startswith("sock_"):
            assert guest.call(name, *[0] * len(letters)) == 58


def test_sleep_is_virtual(prepared: tuple[Linker, Any]) -> None:
    """A year of sleep takes no time and moves the clock."""
    guest = Guest(prepared)
    year_ns = 365 * 86_400 * NS_PER_S
    before = guest.machine.clock.now_ns
    guest.put(TEXT_AT, struct.pack("<QB7xI4xQQH6x", 7, 0, 1, year_ns, 0, 0))
    assert guest.call("poll_oneoff", TEXT_AT, 4096, 1, 512) == 0
    assert guest.machine.clock.now_ns == before + year_ns
    assert struct.unpack("<Q", guest.store.memory.read(4096, 8)) == (7,)


def test_exit_ends_the_turn(prepared: tuple[Linker, Any], tmp_path_factory: Any) -> None:
    """`proc_exit` is a stop with the low byte of the code."""
    linker, _ = prepared
    text = f"""
    (module (import "{wasi.MODULE}" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "go") (result i32) (call $exit (i32.const 259)) i32.const 0))
    """
    pre = linker.prepare(load(text, tmp_path_factory.mktemp("exit")), {"go": ">i"})
    store = Store(linker.engine, pre, machine())
    with pytest.raises(GuestStopped) as caught:
        store.call(store.export("go"))
    assert (caught.value.stop.kind, caught.value.stop.exit_code) == ("exit", 3)

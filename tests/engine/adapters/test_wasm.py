"""Calls, pointers, deadlines and limits, with guests that do what a guest must not."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from cloche.engine.abi import GuestStopped, Stop
from cloche.engine.adapters.instance import deadline_after
from cloche.engine.adapters.stack import run_with_room
from cloche.engine.adapters.wasm import Linker
from cloche.engine.errors import ImageError
from cloche.errors import InternalError

from .support import MIB, NS_PER_S, engine, load, store

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 65536
OUTSIDE = "the guest passed a pointer outside its memory"
LOOP = "(loop $l (br $l))"


def go(body: str, *, before: str = "", results: str = "(result i32)") -> str:
    """Return a module with one page of memory and a function `go`."""
    return f"""
    (module {before} (memory (export "memory") 1)
      (func $go (export "go") {results} {body}))"""


def call(made: Any, *arguments: int, seconds: float = 60, name: str = "go") -> int:
    """Call an export under a deadline."""
    made.enter(deadline_after(int(seconds * NS_PER_S)))
    try:
        return run_with_room(lambda: made.call(made.export(name), *arguments), made.cancel)
    finally:
        made.leave()


def stop_of(made: Any, **options: Any) -> Stop:
    """Return the stop that a call ends with."""
    with pytest.raises(GuestStopped) as caught:
        call(made, **options)
    return caught.value.stop


# --- modules ---


MEMORY = '(memory (export "memory") 1)'


@pytest.mark.parametrize(
    ("exported", "found"),
    [
        ("", "nothing"),
        ('(global (export "go") i32 (i32.const 1))', "no function"),
        ('(func (export "go") (param i32 f64))', "i(f64)>"),
        ('(func (export "go") (param i32 i32) (result i32 i32) unreachable)', "ii>ii"),
        ('(func (export "go") (result i32) unreachable)', ">i"),
    ],
)
def test_wrong_export_is_refused(exported: str, found: str, tmp_path: Path) -> None:
    """A module whose exports are not those of the ABI is refused before anything is called."""
    with pytest.raises(ImageError) as caught:
        Linker(engine()).prepare(load(f"(module {MEMORY} {exported})", tmp_path), {"go": "ii>i"})
    assert caught.value.message == (
        f"the guest module exports go as {found}, expected ii>i; it was made for another version "
        "of cloche"
    )


@pytest.mark.parametrize(
    "memory",
    ["", '(memory (export "memory") i64 1)', '(func (export "memory"))', "(memory 1)"],
    ids=["none", "64 bit", "function", "not exported"],
)
def test_wrong_memory_is_refused(memory: str, tmp_path: Path) -> None:
    """A module without a memory that 32 bit pointers can address is refused."""
    with pytest.raises(ImageError) as caught:
        Linker(engine()).prepare(load(f"(module {memory})", tmp_path), {})
    assert caught.value.message == (
        "the guest module does not export a memory with 32 bit addresses"
    )


@pytest.mark.parametrize(
    ("imported", "reason"),
    [
        ("other (func)", "unknown import: `host::other` has not been defined"),
        ("f (func (param i64))", "incompatible import type for `host::f`"),
        ("f (func (param i32))", "incompatible import type for `host::f`"),
        ("f (memory 1)", "incompatible import type for `host::f`"),
    ],
)
def test_wrong_import_is_refused(imported: str, reason: str, tmp_path: Path) -> None:
    """A module that imports what the host does not offer, or as something else, is refused."""
    linker = Linker(engine())
    linker.define("host", "f", "i", lambda *_: 0)
    name, _, kind = imported.partition(" ")
    # The second memory is never touched: only the types of imports are compared.
    text = f'(module (import "host" "{name}" {kind}) {MEMORY})'
    with pytest.raises(ImageError) as caught:
        linker.prepare(load(text, tmp_path), {})
    assert caught.value.message.startswith("the guest module does not fit the host: ")
    assert reason in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "start", ["nop", LOOP, "unreachable"], ids=["harmless", "endless", "trapping"]
)
def test_start_function_is_refused(start: str, tmp_path: Path) -> None:
    """A module that would run by being instantiated is refused when it is compiled."""
    text = f'(module (memory (export "memory") 1) (func $s {start}) (start $s))'
    with pytest.raises(ImageError) as caught:
        load(text, tmp_path)
    message = "the guest module has a start function; guests must not have one"
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b"", b"\0asm", b"\0asm\1\0\0\0\1", b"\0asm\1\0\0\0\x08\x01\x63"])
def test_invalid_module_is_refused(body: bytes) -> None:
    """Bytes that are no module are an error with the reason."""
    with pytest.raises(ImageError) as caught:
        engine().compile(body)
    assert caught.value.message.startswith("the guest module cannot be compiled: ")


def test_foreign_compiled_code_is_refused(tmp_path: Path) -> None:
    """Compiled code that is damaged, or of another configuration, is not loaded."""
    path = tmp_path / "guest.cwasm"
    wasm = wasmtime.wat2wasm(go("i32.const 1"))
    for content in (b"", b"x" * 5000, engine(fuel=True).compile(wasm)):
        path.write_bytes(content)
        with pytest.raises(ImageError) as caught:
            engine().load(path)
        assert caught.value.message.startswith(f"the compiled module {path} cannot be loaded: ")
        path.unlink()


def test_instance_that_cannot_be_made(tmp_path: Path) -> None:
    """Data that does not fit the memory is an error, not a crash."""
    text = go("i32.const 1", before='(data (i32.const 65535) "xy")')
    with pytest.raises(ImageError) as caught:
        store(text, tmp_path, signatures={"go": ">i"})
    assert caught.value.message == (
        "no instance can be made: wasm trap: out of bounds memory access"
    )


def test_import_with_an_impossible_type() -> None:
    """An import cannot be defined twice."""
    linker = Linker(engine())
    linker.define("host", "f", "i", lambda *_: 0)
    with pytest.raises(InternalError, match=r"^cannot define the import host\.f$"):
        linker.define("host", "f", "i", lambda *_: 0)


# --- pointers ---

ACCESS = """
(module
  (import "host" "f" (func $f (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "go") (param i32 i32) (result i32) local.get 0 local.get 1 call $f))
"""


def access(tmp_path: Path, function: Any) -> Any:
    """Return a guest that passes its two arguments on to `function(memory, first, second)`."""
    return store(
        ACCESS,
        tmp_path,
        signatures={"go": "ii>i"},
        imports={"f": ("ii", lambda user, a, b: function(user.store.memory, a, b))},
    )


BAD_RANGES = [
    (PAGE - 4, 5),
    (PAGE, 1),
    (PAGE + 1, 0),
    (0, PAGE + 1),
    (1, PAGE),
    (0x7FFFFFFF, 1),
    (0xFFFFFFFF, 1),
    (0xFFFFFFFF, 0xFFFFFFFF),
    (0, 0xFFFFFFFF),
    (4, -1),
    (-1, 4),
    (-4, 4),
]


@pytest.mark.parametrize(("pointer", "length"), BAD_RANGES)
def test_reading_outside_memory_ends_the_turn(pointer: int, length: int, tmp_path: Path) -> None:
    """A pointer or length that leaves the memory, also as a negative number, is a stop."""
    made = access(tmp_path, lambda memory, a, b: len(memory.read(a, b)))
    with pytest.raises(GuestStopped) as caught:
        call(made, pointer, length)
    assert caught.value.stop == Stop(kind="protocol", message=OUTSIDE)


def test_writing_outside_memory_ends_the_turn(tmp_path: Path) -> None:
    """Each of the writers refuses the first byte that does not fit, and writes nothing."""
    writers = {
        "bytes": (lambda memory, a, _: memory.write(a, b"\xff" * 8), 8),
        "u32": (lambda memory, a, _: memory.write_u32(a, 0xFFFFFFFF), 4),
        "u64": (lambda memory, a, _: memory.write_u64(a, 0xFFFFFFFFFFFFFFFF), 8),
    }
    for function, size in writers.values():
        for pointer in (PAGE - size + 1, PAGE, 0xFFFFFFFF, -1):
            made = access(tmp_path, function)
            with pytest.raises(GuestStopped) as caught:
                call(made, pointer, 0)
            assert caught.value.stop.message == OUTSIDE
            assert made.memory.read(PAGE - 8, 8) == bytes(8)
        made = access(tmp_path, function)
        call(made, PAGE - size, 0)
        assert made.memory.read(PAGE - size, size) == b"\xff" * size


def test_the_whole_memory_can_be_read(tmp_path: Path) -> None:
    """Ranges that end exactly at the end, and empty ones there, are fine."""
    made = access(tmp_path, lambda memory, a, b: len(memory.read(a, b)))
    assert call(made, 0, PAGE) == PAGE
    assert call(made, PAGE - 1, 1) == 1
    assert call(made, PAGE, 0) == 0


def test_grown_memory_is_seen(tmp_path: Path) -> None:
    """A pointer into memory that the guest has just grown is inside."""
    text = go(
        "(drop (memory.grow (i32.const 1))) (call $f (i32.const 131071))",
        before='(import "host" "f" (func $f (param i32) (result i32)))',
    )
    read = ("i", lambda user, pointer: len(user.store.memory.read(pointer, 1)))
    assert call(store(text, tmp_path, signatures={"go": ">i"}, imports={"f": read})) == 1


# --- endings ---


@pytest.mark.parametrize(
    ("body", "stop"),
    [
        (
            "unreachable",
            Stop(
                kind="trap",
                message="the guest crashed: wasm trap: wasm `unreachable` instruction executed",
            ),
        ),
        (
            "(i32.div_u (i32.const 1) (i32.const 0))",
            Stop(kind="trap", message="the guest crashed: wasm trap: integer divide by zero"),
        ),
        (
            "(i32.load (i32.const -1))",
            Stop(kind="trap", message="the guest crashed: wasm trap: out of bounds memory access"),
        ),
        (
            f"{LOOP} i32.const 1",
            Stop(kind="time", message="the guest was interrupted at its deadline"),
        ),
        ("call $go", Stop(kind="stack", message="the guest ran out of WebAssembly stack")),
    ],
    ids=["unreachable", "division", "wild load", "endless loop", "recursion"],
)
def test_fault_is_a_stop(body: str, stop: Stop, tmp_path: Path) -> None:
    """Whatever a guest does to itself ends its turn with the reason, and only its turn."""
    made = store(go(body), tmp_path, signatures={"go": ">i"})
    assert stop_of(made, seconds=0.05 if stop.kind == "time" else 60) == stop
    again = store(go("i32.const 7"), tmp_path, signatures={"go": ">i"})
    assert call(again) == 7


def test_unknown_exception_is_a_stop(tmp_path: Path) -> None:
    """A WebAssembly exception that nobody in the guest catches ends the turn."""
    made = store(go("throw $t", before="(tag $t)"), tmp_path, signatures={"go": ">i"})
    assert stop_of(made).kind == "trap"


def test_fuel_ends_the_turn(tmp_path: Path) -> None:
    """A guest with a budget of instructions stops when it is used, at the same one each time."""
    left = set()
    for _ in range(2):
        made = store(go(f"{LOOP} i32.const 1"), tmp_path, signatures={"go": ">i"}, fuel=True)
        made.set_fuel(10_000)
        stop = Stop(kind="fuel", message="the guest used all of its fuel")
        assert stop_of(made) == stop
        left.add(made.fuel_left())
    assert left == {0}


def test_memory_grows_up_to_its_limit(tmp_path: Path) -> None:
    """`memory.grow` past the limit answers -1, below it the old size; the guest goes on."""
    text = """
    (module (memory (export "memory") 1)
      (func (export "go") (param i32) (result i32) local.get 0 memory.grow))
    """
    made = store(text, tmp_path, signatures={"go": "i>i"})
    made.set_memory_limit(2 * MIB)
    assert call(made, 16) == 1
    assert call(made, 16) == 0xFFFFFFFF
    assert call(made, 65535) == 0xFFFFFFFF
    assert call(made, 15) == 17
    assert made.memory.current_size() == 2 * MIB


def test_table_grows_up_to_its_limit(tmp_path: Path) -> None:
    """A guest cannot fill the host's memory through a table."""
    grow = "(table.grow $t (ref.null func) (i32.const 0x7fffffff))"
    made = store(go(grow, before="(table $t 1 funcref)"), tmp_path, signatures={"go": ">i"})
    made.set_memory_limit(MIB)
    assert call(made) == 0xFFFFFFFF


# --- host functions ---

HOST = '(import "host" "f" (func $f (result i32)))'


def test_what_a_host_function_raises_comes_out(tmp_path: Path) -> None:
    """An error of the host passes through the guest, which cannot catch it, unchanged."""

    class Special(BaseException):
        pass

    def fail(_user: object) -> int:
        raise Special

    text = go("call $f", before=HOST)
    made = store(text, tmp_path, signatures={"go": ">i"}, imports={"f": ("", fail)})
    with pytest.raises(Special):
        call(made)


def test_guest_cannot_catch_a_stop(tmp_path: Path) -> None:
    """A guest that catches every WebAssembly exception does not catch the host's stop."""

    def stop(_user: object) -> int:
        raise GuestStopped(Stop(kind="exit", exit_code=3))

    text = go(
        "(block $b (result exnref) (try_table (result i32) (catch_all_ref $b) (call $f)) return)"
        "drop i32.const 5",
        before=HOST,
    )
    made = store(text, tmp_path, signatures={"go": ">i"}, imports={"f": ("", stop)})
    assert stop_of(made) == Stop(kind="exit", exit_code=3)


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, -1, None])
def test_results_are_32_bit_numbers(value: int | None, tmp_path: Path) -> None:
    """A result arrives as it was given, modulo 2^32; None is 0."""
    text = go("call $f", before=HOST)
    made = store(text, tmp_path, signatures={"go": ">i"}, imports={"f": ("", lambda _: value)})
    assert call(made) == (value or 0) & 0xFFFFFFFF


def test_arguments_of_both_widths(tmp_path: Path) -> None:
    """Arguments arrive unsigned and in order."""
    seen = []
    text = go(
        "(call $f (i32.const -1) (i64.const -2) (i32.const 3) (i64.const 4))",
        before='(import "host" "f" (func $f (param i32 i64 i32 i64) (result i32)))',
    )
    function = ("iIiI", lambda _user, *arguments: seen.append(arguments))
    call(store(text, tmp_path, signatures={"go": ">i"}, imports={"f": function}))
    assert seen == [(0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 3, 4)]


NESTING = """
(module
  (import "host" "f" (func $f (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "go") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 100))
      (else (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))))))
"""


def nesting(tmp_path: Path) -> Any:
    """Return a guest that calls itself through the host as often as its argument says."""

    def again(user: Any, depth: int) -> int:
        return user.store.call(user.store.export("go"), depth)

    imports = {"f": ("i", again)}
    return store(NESTING, tmp_path, signatures={"go": "i>i"}, imports=imports)


def test_host_functions_may_call_the_guest(tmp_path: Path) -> None:
    """Nested calls keep their arguments and results apart."""
    made = nesting(tmp_path)
    for depth in (0, 1, 8, 8):
        assert call(made, depth) == 100 + depth


def test_endless_reentrancy_is_a_stop(tmp_path: Path) -> None:
    """A guest and a host function that call each other end before the native stack does."""
    with pytest.raises(GuestStopped) as caught:
        call(nesting(tmp_path), 9)
    assert caught.value.stop == Stop(
        kind="protocol", message="the guest and the host call each other without end"
    )


def test_two_stores_in_one_call(tmp_path: Path) -> None:
    """A host function of one guest can run another guest, as the transformer's does."""
    inner = store(go("i32.const 5"), tmp_path, signatures={"go": ">i"})
    text = go("(i32.add (call $f) (i32.const 1))", before=HOST)
    imports = {"f": ("", lambda _user: call(inner))}
    assert call(store(text, tmp_path, signatures={"go": ">i"}, imports=imports)) == 6


def test_cancelled_from_another_thread(tmp_path: Path) -> None:
    """A running guest ends within a tick of being cancelled."""
    started = threading.Event()
    text = go(f"(drop (call $f)) {LOOP} i32.const 1", before=HOST)
    imports = {"f": ("", lambda _user: started.set())}
    made = store(text, tmp_path, signatures={"go": ">i"}, imports=imports)

    def cancel() -> None:
        started.wait()
        made.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    assert stop_of(made, seconds=60).kind == "time"
    thread.join()


def test_interrupted_by_a_signal(tmp_path: Path) -> None:
    """What a signal handler raises ends the guest at once and comes out, wherever it hits."""
    raised = []

    def interrupt(_signal: int, _frame: object) -> None:
        raised.append(KeyError(len(raised)))
        raise raised[-1]

    before = signal.signal(signal.SIGUSR1, interrupt)
    hook = sys.unraisablehook
    main = threading.main_thread().ident
    assert main is not None
    try:
        for body in (f"(drop (call $f)) {LOOP}", "(loop $l (drop (call $f)) (br $l))"):
            started = threading.Event()
            imports = {"f": ("", lambda _user, started=started: started.set())}
            text = go(f"{body} i32.const 1", before=HOST)
            made = store(text, tmp_path, signatures={"go": ">i"}, imports=imports)
            thread = threading.Thread(
                target=lambda started=started: (
                    started.wait(),
                    signal.pthread_kill(main, signal.SIGUSR1),
                )
            )
            thread.start()
            with pytest.raises(KeyError) as caught:
                call(made, seconds=60)
            assert caught.value is raised[-1]
            thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sys.unraisablehook is hook


def test_guests_on_two_threads(tmp_path: Path) -> None:
    """Each thread's deadline ends its own guest only."""
    endless = store(go(f"{LOOP} i32.const 1"), tmp_path, signatures={"go": ">i"})
    stops = []
    thread = threading.Thread(target=lambda: stops.append(stop_of(endless, seconds=0.1).kind))
    thread.start()
    short = store(go("i32.const 2"), tmp_path, signatures={"go": ">i"})
    while thread.is_alive():
        assert call(short) == 2
    thread.join()
    assert stops == ["time"]

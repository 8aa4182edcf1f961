"""The wasmtime C API, unchecked: the one file that knows it.

Owns engines, modules, stores and calls. The public Python API of wasmtime checks and converts
every argument, which costs seven times what a call costs; here arguments are packed once.
Invariants:
- every callback catches everything: what a host function raises is kept and raised again by the
  call that entered the guest, which the guest can neither catch nor survive;
- guest pointers are checked against the guest's memory before any byte moves (`Memory`);
- only exports whose signature was checked are called (`Linker.prepare`);
- one epoch callback ends a turn at its deadline, on cancellation, or on a signal (`signals`).

It does not know what an import means: see `drivers.py` and `wasi.py`.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import time
from ctypes import POINTER, byref, c_char, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _bindings as api
from wasmtime import _ffi as ffi

from cloche.engine.abi import GuestStopped, Stop
from cloche.engine.adapters.mapping import copy_bytes
from cloche.engine.adapters.modules import check_exports, has_start
from cloche.engine.adapters.signals import SignalGuard
from cloche.engine.adapters.ticker import Ticker
from cloche.engine.errors import ImageError
from cloche.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE_BYTES: Final = 65536
STACK_LIMIT_BYTES: Final = 8 << 20  # CPython's C recursion in the guest needs it
ASYNC_STACK_BYTES: Final = STACK_LIMIT_BYTES + (2 << 20)
MEMORY_RESERVATION_BYTES: Final = 4 << 30  # all that wasm32 can address: memory never moves
TABLE_ELEMENTS_MAX: Final = 1 << 20
NESTED_CALLS_MAX: Final = 8  # a host function that allocates in its guest needs one

_FIRST_DEADLINE_TICKS: Final = 1
_RAW_BYTES: Final = 16
_RAW_COUNT: Final = 8

_HostCallback = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
_EpochCallback = api._wasmtime_store_epoch_deadline_callback.argtypes[1]
_NO_FINALIZER: Final = ctypes.CFUNCTYPE(None, c_void_p)()
_VALUE_TYPES: Final = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
# Takes less than letting another thread run meanwhile, which is what a call through `api` does.
_set_epoch_deadline: Final = ctypes.PyDLL(ffi.dll._name).wasmtime_context_set_epoch_deadline
_set_epoch_deadline.restype = None
_set_epoch_deadline.argtypes = api._wasmtime_context_set_epoch_deadline.argtypes
_STOP_MESSAGE: Final = ctypes.create_string_buffer(b"stopped by the host")

_TRAP_STOPS: Final[dict[int, Stop]] = {
    0: Stop(kind="stack", message="the guest ran out of WebAssembly stack"),
    10: Stop(kind="time", message="the guest was interrupted at its deadline"),
    11: Stop(kind="fuel", message="the guest used all of its fuel"),
}


class _Current(threading.local):
    call: Store | None = None


_current = _Current()


def _keep(error: BaseException) -> bool:
    """Keep what a signal handler raised, to be raised by the call that entered the guest."""
    store = _current.call
    if store is None:
        return False
    store.failure, store.cancelled = error, True
    return True


_signals: Final = SignalGuard(_keep)


class Engine:
    """A wasmtime engine with one configuration. Shared by every thread.

    Args:
        fuel: whether code counts its instructions (slower; compiled separately).
        tick_ms: resolution of deadlines.
    """

    def __init__(self, *, fuel: bool, tick_ms: int) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.consume_fuel = fuel
        # wasmtime aborts unless the async stack is larger than the wasm stack, used or not.
        api.wasmtime_config_async_stack_size_set(config.ptr(), ASYNC_STACK_BYTES)
        config.max_wasm_stack = STACK_LIMIT_BYTES
        config.memory_reservation = MEMORY_RESERVATION_BYTES
        # A NaN's bits must not depend on the processor: they reach guests through struct.pack.
        config.cranelift_nan_canonicalization = True
        self.fuel = fuel
        self.handle = wasmtime.Engine(config)
        self.ticker = Ticker(self.handle.increment_epoch, tick_ms=tick_ms)

    @staticmethod
    def library() -> Path:
        """Return the file of the compiler and runtime."""
        return Path(str(ffi.filename))

    @property
    def configuration(self) -> str:
        """What a compiled module depends on, as one line for cache keys."""
        return (
            f"epoch=1 fuel={int(self.fuel)} nan=1 "
            f"stack={STACK_LIMIT_BYTES} reservation={MEMORY_RESERVATION_BYTES}"
        )

    def compile(self, wasm: bytes) -> bytes:
        """Compile a module to native code for this machine (seconds to minutes).

        Raises:
            ImageError: it is no valid module, or runs code before the host calls it.
        """
        try:
            module = wasmtime.Module(self.handle, wasm)
        except wasmtime.WasmtimeError as error:
            reason = _reason(str(error))
            raise ImageError(f"the guest module cannot be compiled: {reason}") from error
        if has_start(wasm):
            raise ImageError("the guest module has a start function; guests must not have one")
        return bytes(module.serialize())

    def load(self, compiled: Path) -> wasmtime.Module:
        """Map compiled code. The file is native code: the caller vouches for it.

        Raises:
            ImageError: it was made by another compiler or configuration, or is damaged.
        """
        try:
            return wasmtime.Module.deserialize_file(self.handle, str(compiled))
        except wasmtime.WasmtimeError as error:
            raise ImageError(
                f"the compiled module {compiled} cannot be loaded: {_reason(str(error))}; "
                "remove it, and it is made again",
                path=str(compiled),
            ) from error


class Linker:
    """Imports of a module. Functions are called as `function(store.user, *arguments)`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.handle = wasmtime.Linker(engine.handle)
        self._keep: list[object] = []

    def define(
        self,
        module: str,
        name: str,
        parameters: str,
        function: Callable[..., int | None],
        *,
        returns: bool = True,
    ) -> None:
        """Define an import.

        Args:
            module: import module.
            name: import name.
            parameters: one letter each, "i" for i32 and "I" for i64, both unsigned.
            function: gets the store's user object and the arguments; returns the i32 result.
            returns: whether the import has a result.
        """
        callback = _HostCallback(_host_callback(parameters, function, returns=returns))
        function_type = wasmtime.FuncType(
            [_VALUE_TYPES[letter]() for letter in parameters],
            [wasmtime.ValType.i32()] if returns else [],
        )
        self._keep.extend((callback, function_type))  # the C side holds plain pointers
        error = api.wasmtime_linker_define_func_unchecked(
            self.handle.ptr(),
            ctypes.create_string_buffer(module.encode()),
            len(module.encode()),
            ctypes.create_string_buffer(name.encode()),
            len(name.encode()),
            function_type.ptr(),
            ctypes.cast(callback, api.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
        )
        if error:
            raise InternalError(f"cannot define the import {module}.{name}")

    def prepare(
        self, module: wasmtime.Module, signatures: Mapping[str, str]
    ) -> wasmtime.InstancePre:
        """Resolve the imports of `module` once.

        Args:
            module: of the same engine.
            signatures: of the exports that are called, as in `check_exports`.

        Raises:
            ImageError: it imports or exports something else.
        """
        check_exports(module, signatures)
        try:
            pre = self.handle.instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            reason = _reason(str(error))
            raise ImageError(f"the guest module does not fit the host: {reason}") from error
        self._keep.append(pre)
        return pre


def _host_callback(
    parameters: str, function: Callable[..., int | None], *, returns: bool
) -> Callable[[int, int, int, int], int]:
    # A raw value is a 16 byte union; padding makes one unpack read all of them.
    layout = "<" + "".join("I12x" if letter == "i" else "Q8x" for letter in parameters)
    unpack = struct.Struct(layout).unpack
    size = _RAW_BYTES * len(parameters)
    string_at, current, at = ctypes.string_at, _current, c_uint32.from_address

    def callback(_env: int, _caller: int, values: int, _count: int) -> int:
        store = current.call
        assert store is not None
        try:
            result = function(store.user, *unpack(string_at(values, size)))
        except GuestStopped as stopped:
            store.stop = stopped.stop
            return _new_trap()
        except BaseException as error:  # noqa: BLE001 - raised again by Store.call
            store.failure = error
            return _new_trap()
        if returns:
            at(values).value = result or 0
        return 0

    _signals.protect(callback)
    return callback


def _new_trap() -> int:
    trap = api.wasmtime_trap_new(_STOP_MESSAGE, len(_STOP_MESSAGE.value))
    return ctypes.cast(trap, c_void_p).value or 0


def _decide_epoch(_context: Any, _data: Any, delta: Any, kind: Any) -> int:
    store = _current.call
    assert store is not None
    try:
        due = store.cancelled or time.monotonic_ns() >= store.deadline_ns
    except BaseException as error:  # noqa: BLE001 - raised again by Store.call
        store.failure = error
        due = True
    if due:
        if store.failure is None and store.stop is None:
            store.stop = _TRAP_STOPS[10]
        error_pointer = api.wasmtime_error_new(_STOP_MESSAGE)
        return ctypes.cast(error_pointer, c_void_p).value or 0
    delta[0] = 1
    kind[0] = 0  # WASMTIME_UPDATE_DEADLINE_CONTINUE
    return 0


_on_epoch: Final = _EpochCallback(_decide_epoch)
for _function in (_keep, _new_trap, _decide_epoch, ctypes.cast):
    _signals.protect(_function)


class Store:
    """One store with one instance in it. Used by one thread at a time.

    Args:
        engine: where the module was compiled.
        pre: the module with its imports.
        user: passed to every host function.
    """

    def __init__(self, engine: Engine, pre: wasmtime.InstancePre, user: object) -> None:
        self.engine = engine
        self.user = user
        self.stop: Stop | None = None
        self.failure: BaseException | None = None
        self.cancelled = False
        self.deadline_ns = 0
        self._memory_limit_bytes: int | None = None
        self._store = wasmtime.Store(engine.handle)
        if engine.fuel:
            self._store.set_fuel((1 << 63) - 1)
        api.wasmtime_store_epoch_deadline_callback(
            self._store.ptr(), _on_epoch, None, _NO_FINALIZER
        )
        self._store.set_epoch_deadline(1 << 40)
        try:
            self._instance = pre.instantiate(self._store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            self._store.close()
            raise ImageError(f"no instance can be made: {_reason(str(error))}") from error
        self._context = self._store._context()
        self._nested_calls = 0
        self._nested_raws: list[Any] = []  # one per depth
        self._trap = POINTER(api.wasm_trap_t)()
        self._raw = (api.wasmtime_val_raw_t * _RAW_COUNT)()
        self.memory = Memory(
            wasmtime.Memory._from_raw(self._export("memory").of.memory), self._store
        )

    def export(self, name: str) -> Any:
        """Return a reference to an exported function, for `call`."""
        return byref(self._export(name).of.func)

    def _export(self, name: str) -> Any:
        # By name: wasmtime's own mapping looks at every export, which costs more than the instance.
        item = ffi.wasmtime_extern_t()
        text = name.encode()
        found = api.wasmtime_instance_export_get(
            self._context, byref(self._instance._instance), text, len(text), byref(item)
        )
        if not found:
            raise InternalError(f"the guest module has no export {name}")
        return item

    def set_memory_limit(self, limit_bytes: int) -> None:
        """Bound what the guest can grow to from here on."""
        if limit_bytes == self._memory_limit_bytes:
            return  # as for nearly all runs of one instance
        self._memory_limit_bytes = limit_bytes
        self._store.set_limits(
            memory_size=limit_bytes,
            table_elements=TABLE_ELEMENTS_MAX,
            instances=1,
            tables=4,
            memories=1,
        )

    def set_fuel(self, fuel: int) -> None:
        """Give the guest this many instructions from here on (engines with fuel only)."""
        self._store.set_fuel(fuel)

    def fuel_left(self) -> int:
        """Return the instructions that are left."""
        return int(self._store.get_fuel())

    def call(self, function: Any, *arguments: int) -> int:
        """Call an exported function with i32 arguments; return its i32 result, unsigned.

        Nested calls (a host function that calls an export) are fine, `NESTED_CALLS_MAX` deep.

        Raises:
            GuestStopped: the turn was ended; the instance must be dropped.
            BaseException: whatever a host function raised; the instance must be dropped.
        """
        raw = self._raw if _current.call is not self else self._nested_raw()
        for index, argument in enumerate(arguments):
            raw[index].i32 = argument
        outer = _current.call
        _current.call = self
        try:
            error = api.wasmtime_func_call_unchecked(
                self._context, function, raw, _RAW_COUNT, byref(self._trap)
            )
        finally:
            _current.call = outer
            if outer is self:
                self._nested_calls -= 1
        if error or self._trap or self.failure is not None:
            self._raise(error)
        return int(raw[0].i32) & 0xFFFFFFFF

    def _nested_raw(self) -> Any:
        if self._nested_calls >= NESTED_CALLS_MAX:
            raise GuestStopped(
                Stop(kind="protocol", message="the guest and the host call each other without end")
            )
        if self._nested_calls == len(self._nested_raws):
            self._nested_raws.append((api.wasmtime_val_raw_t * _RAW_COUNT)())
        self._nested_calls += 1
        return self._nested_raws[self._nested_calls - 1]

    def enter(self, deadline_ns: int) -> None:
        """Arm the deadline (on the clock of `time.monotonic_ns`) before the calls of a turn."""
        self.deadline_ns = deadline_ns
        self.engine.ticker.enter()
        _set_epoch_deadline(self._context, _FIRST_DEADLINE_TICKS)
        _signals.hold()

    def leave(self) -> None:
        """Disarm the deadline after the calls of a turn."""
        try:
            _signals.release()
        finally:
            self.engine.ticker.leave()

    def cancel(self) -> None:
        """End the running call within a tick. Callable from any thread."""
        self.cancelled = True

    def close(self) -> None:
        """Free the store. Nothing else may be called afterwards."""
        self.memory.release()
        self._store.close()

    def _raise(self, error: Any) -> None:
        trap, self._trap = self._trap, POINTER(api.wasm_trap_t)()
        message = "the guest failed"
        code = c_uint8(0xFF)
        if trap:
            wrapped = wasmtime.Trap._from_ptr(trap)
            message = wrapped.message
            api.wasmtime_trap_code(wrapped.ptr(), byref(code))
        elif error:
            message = str(wasmtime.WasmtimeError._from_ptr(error))
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        stop = self.stop or _TRAP_STOPS.get(code.value)
        if stop is None:
            stop = Stop(kind="trap", message=f"the guest crashed: {_reason(message)}")
        self.stop = stop
        raise GuestStopped(stop)


_signals.defer(Store.leave)


def _reason(message: str) -> str:
    # wasmtime prints a backtrace of our own modules first and the reason last, as in "1: reason".
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reason = lines[-1] if lines else "no reason given"
    number, _, rest = reason.partition(": ")
    return rest if number.isdecimal() else reason


class Memory:
    """The linear memory of an instance, as one bounds-checked view.

    A guest is hostile, so is every pointer it passes: slices that leave the memory raise.
    """

    def __init__(self, memory: Any, store: wasmtime.Store) -> None:
        self._memory = memory
        self._store = store
        self.base = 0
        self.size = 0
        self._refresh()

    def _refresh(self) -> None:
        self.size = self._memory.data_len(self._store)
        self.base = ctypes.cast(self._memory.data_ptr(self._store), c_void_p).value or 0
        self.view = memoryview((c_char * self.size).from_address(self.base)).cast("B")

    def _check(self, pointer: int, length: int) -> None:
        if pointer + length > self.size:
            self._refresh()
            if pointer + length > self.size:
                raise GuestStopped(
                    Stop(kind="protocol", message="the guest passed a pointer outside its memory")
                )

    def read(self, pointer: int, length: int) -> bytes:
        """Copy `length` bytes out of the guest."""
        if pointer + length > self.size:
            self._check(pointer, length)
        return ctypes.string_at(self.base + pointer, length)

    def write(self, pointer: int, data: bytes) -> None:
        """Copy bytes into the guest."""
        if pointer + len(data) > self.size:
            self._check(pointer, len(data))
        copy_bytes(self.base + pointer, data, len(data))

    def read_u32(self, pointer: int) -> int:
        """Return a little-endian 32 bit number."""
        if pointer + 4 > self.size:
            self._check(pointer, 4)
        return c_uint32.from_address(self.base + pointer).value

    def write_u32(self, pointer: int, value: int) -> None:
        """Store a little-endian 32 bit number."""
        if pointer + 4 > self.size:
            self._check(pointer, 4)
        c_uint32.from_address(self.base + pointer).value = value

    def write_u64(self, pointer: int, value: int) -> None:
        """Store a little-endian 64 bit number."""
        if pointer + 8 > self.size:
            self._check(pointer, 8)
        c_uint64.from_address(self.base + pointer).value = value

    def grow_to(self, size: int) -> None:
        """Grow to at least `size` bytes (a multiple of the page size)."""
        current = self._memory.data_len(self._store)
        if current < size:
            self._memory.grow(self._store, (size - current) // PAGE_BYTES)
        self._refresh()

    def current_size(self) -> int:
        """Return the size now, after any growth by the guest."""
        # Its address is what growth may change.
        if self._memory.data_len(self._store) != self.size:
            self._refresh()
        return self.size

    def release(self) -> None:
        """Drop the view before the store goes away; every access is then outside."""
        self.view.release()
        self.base = self.size = 0

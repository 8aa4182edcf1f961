"""Strips types from TypeScript, in a WebAssembly instance of its own.

The transformer is OXC, as packaged by quickjs-rs. It sees hostile text, so each call gets a fresh
instance with a memory limit and a deadline, and none of the virtual OS. Positions are kept (see
`alignment`), and the result is transformed once more to prove that it still means the same.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.engine.abi import GuestStopped, Stop
from cloche.engine.adapters.instance import deadline_after
from cloche.engine.adapters.stack import run_with_room
from cloche.engine.adapters.wasm import Engine, Linker, Memory, Store
from cloche.engine.alignment import align, same_tokens
from cloche.engine.errors import ImageError, TypeScriptError

if TYPE_CHECKING:
    from cloche.limits import Limits

MEMORY_LIMIT_BYTES: Final = 1 << 30
CACHE_COUNT_MAX: Final = 64
NS_PER_MS: Final = 1_000_000

_TS, _TSX, _STRIP, _CONST_TO_VAR = 1, 2, 256, 512
_OK, _UNCHANGED = 0, 1
_WASI: Final = "wasi_snapshot_preview1"
_NOSYS: Final = 52
_SIGNATURES: Final = {
    "qjst_alloc": "i>i",
    "qjst_transform": "iiiii>i",
    "qjst_result_len": ">i",
    "qjst_result_ptr": ">i",
    "qjst_error_len": ">i",
    "qjst_error_ptr": ">i",
}


def module_path() -> Path:
    """Return the transformer's module, without importing its package."""
    spec = importlib.util.find_spec("quickjs_rs")
    if spec is None or spec.origin is None:
        raise ImageError("the package quickjs-rs is not installed; reinstall cloche")
    return Path(spec.origin).parent / "_transform.wasm"


class _Call:
    """User object of one instance: no files, no clock, a fixed seed for its hash tables."""

    memory: Memory


class TypeScript:
    """The transformer. Callable from any thread.

    Args:
        engine: compiled for.
        module: loaded with it.
        limits: `guests.timeout_ms` bounds each call.
    """

    def __init__(self, engine: Engine, module: Any, limits: Limits) -> None:
        self._engine = engine
        self._timeout_ns = limits.guests.timeout_ms * NS_PER_MS
        self._linker = Linker(engine)
        self._linker.define(_WASI, "random_get", "ii", _zeros)
        self._linker.define(_WASI, "environ_get", "ii", _nothing)
        self._linker.define(_WASI, "environ_sizes_get", "ii", _no_environment)
        self._linker.define(_WASI, "fd_write", "iiii", _unsupported)
        self._linker.define(_WASI, "proc_exit", "i", _exit, returns=False)
        self._pre = self._linker.prepare(module, _SIGNATURES)
        self._cache: OrderedDict[bytes, str] = OrderedDict()

    def strip_types(self, source: str, filename: str) -> str:
        """Return the program as JavaScript, every token where it stood.

        Args:
            source: TypeScript.
            filename: for messages; `.tsx` allows JSX syntax.

        Raises:
            TypeScriptError: it does not parse, or took too long.
        """
        flags = _STRIP | (_TSX if filename.endswith(".tsx") else _TS)
        key = sha256(f"{flags}\0{source}".encode()).digest()
        found = self._cache.get(key)
        if found is None:
            found = self._strip(source, filename, flags)
            self._cache[key] = found
            if len(self._cache) > CACHE_COUNT_MAX:
                self._cache.popitem(last=False)
        return found

    def _strip(self, source: str, filename: str, flags: int) -> str:
        # One instance for all that is asked about one program, and none of it for the next.
        call = _Call()
        store = Store(self._engine, self._pre, call)
        store.set_memory_limit(MEMORY_LIMIT_BYTES)
        call.memory = store.memory
        store.enter(deadline_after(self._timeout_ns))
        try:
            return run_with_room(lambda: _strip_in(store, source, filename, flags), store.cancel)
        except GuestStopped as stopped:
            reason = "took too long to parse" if stopped.stop.kind == "time" else "cannot be parsed"
            raise TypeScriptError(filename=filename, reason=reason, line=0, text="") from None
        finally:
            store.leave()
            store.close()


def _strip_in(store: Store, source: str, filename: str, flags: int) -> str:
    status, printed = _transform_in(store, source, flags)
    if status == _UNCHANGED:
        return source
    if status != _OK:
        line = _error_line(store, source, flags, printed)
        lines = source.splitlines()
        raise TypeScriptError(
            filename=filename,
            reason=printed,
            line=line,
            text=lines[line - 1] if 0 < line <= len(lines) else "",
        )
    aligned = align(source, printed)
    # The alignment moved white space only. That this changed nothing is proved, not believed.
    status, again = _transform_in(store, aligned, flags)
    again = aligned if status == _UNCHANGED else again
    return aligned if same_tokens(again, printed) else printed


def _error_line(store: Store, source: str, flags: int, reason: str) -> int:
    """Find the first line with which the program fails as a whole does.

    The transformer does not tell where an error is; cutting the program off after each line
    and asking again does, in a number of calls that grows with the logarithm of its length.
    """
    lines = source.splitlines(keepends=True)
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        status, message = _transform_in(store, "".join(lines[:middle]), flags)
        if status > _UNCHANGED and message == reason:
            high = middle
        else:
            low = middle + 1
    return low if lines else 0


def _transform_in(store: Store, source: str, flags: int) -> tuple[int, str]:
    body = source.encode()
    alloc = store.export("qjst_alloc")
    name = store.call(alloc, 1)
    store.memory.write(name, b"m")
    pointer = store.call(alloc, len(body)) if body else 0
    store.memory.write(pointer, body)
    status = store.call(store.export("qjst_transform"), name, 1, pointer, len(body), flags)
    if status == _UNCHANGED:
        return status, source
    kind = "result" if status == _OK else "error"
    length = store.call(store.export(f"qjst_{kind}_len"))
    text = store.memory.read(store.call(store.export(f"qjst_{kind}_ptr")), length)
    message = text.decode(errors="replace")
    return status, message if status == _OK else message.partition(" in m: ")[2] or message


def _zeros(call: _Call, pointer: int, length: int) -> int:
    call.memory.write(pointer, bytes(min(length, 4096)))
    return 0


def _nothing(_call: _Call, _pointers: int, _buffer: int) -> int:
    return 0


def _no_environment(call: _Call, count: int, size: int) -> int:
    call.memory.write_u32(count, 0)
    call.memory.write_u32(size, 0)
    return 0


def _unsupported(_call: _Call, *_arguments: int) -> int:
    return _NOSYS


def _exit(_call: _Call, code: int) -> int:
    raise GuestStopped(Stop(kind="exit", exit_code=code & 0xFF))

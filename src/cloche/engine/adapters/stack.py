"""Room on the native stack: guests run on the stack of the thread that calls them.

wasmtime stops a guest at its own stack limit, which helps only if the thread really has that much:
past the end of the thread's stack the process dies. So every thread is measured once, and one that
is too small has its guests run on a thread that is large enough.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cloche.engine.adapters.wasm import STACK_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN_BYTES: Final = 2 << 20  # Python frames of host functions, and of the caller
NEEDED_BYTES: Final = STACK_LIMIT_BYTES + MARGIN_BYTES
THREAD_STACK_BYTES: Final = 16 << 20

Result = TypeVar("Result")


class _Room(threading.local):
    enough: bool | None = None


_room = _Room()


def has_room() -> bool:
    """Whether this thread's stack can hold a guest at its limit."""
    if _room.enough is None:
        _room.enough = _measure()
    return _room.enough


def _measure() -> bool:
    if threading.current_thread() is threading.main_thread():
        return _raise_main_stack()
    return _thread_stack_bytes() >= NEEDED_BYTES


def _raise_main_stack() -> bool:
    # The kernel grows the main stack up to the soft limit of the moment, and keeps the space
    # below it free for at least 128 MiB, so raising the limit is enough.
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft >= THREAD_STACK_BYTES:
        return True
    if hard != resource.RLIM_INFINITY and hard < THREAD_STACK_BYTES:
        return False
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_STACK, (THREAD_STACK_BYTES, hard))
        return True
    return False


def _thread_stack_bytes() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    libc = _c_library()
    attributes = ctypes.create_string_buffer(128)
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    if libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes):
        return 0
    libc.pthread_attr_getstack(attributes, ctypes.byref(address), ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return size.value


@cache
def _c_library() -> ctypes.CDLL:
    """Return the C library; opening it makes classes, which takes longer than measuring."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    return libc


def run_with_room(function: Callable[[], Result], cancel: Callable[[], None]) -> Result:
    """Call `function` here if the stack is large enough, else on a thread where it is.

    Args:
        function: runs a guest.
        cancel: makes the guest end soon; called when a signal interrupts the wait for it. What
            the signal raised is raised when the guest has ended, never while it still runs.
    """
    if has_room():
        return function()
    work = _Work(function)
    try:
        start_with_room(work.run, "cloche-guest")
        # Not `join`: interrupted by a signal, it takes the thread for ended (CPython 3.11, 3.12).
        work.finished.wait()
    except BaseException:
        work.abandon(cancel)
        raise
    failure, work.failure = work.failure, None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # else its traceback would keep this frame, and so itself
    return work.results[0]


def start_with_room(target: Callable[[], object], name: str) -> threading.Thread:
    """Start a thread whose stack has room for guests."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    with _stack_size_lock:
        before = threading.stack_size(THREAD_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


class _Work(Generic[Result]):
    """A call on another thread. Once abandoned it does not begin, or has ended."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._begun = False
        self._abandoned = False
        self.finished = threading.Event()
        self.results: list[Result] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        _room.enough = True
        with self._lock:
            if self._abandoned:
                return
            self._begun = True
        try:
            self.results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.failure = error
        finally:
            self.finished.set()

    def abandon(self, cancel: Callable[[], None]) -> None:
        with self._lock:
            self._abandoned = True
        while self._begun and not self.finished.is_set():
            cancel()
            # A second signal changes nothing: the first one's error is already on its way.
            with contextlib.suppress(BaseException):
                self.finished.wait()


_stack_size_lock = threading.Lock()

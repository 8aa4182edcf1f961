"""Signals that arrive while a guest runs on the main thread.

Python runs a signal's handler between two instructions of the main thread: while a guest runs that
is inside a callback, most likely at its very first instruction, before its `try`. What the handler
raises there (KeyboardInterrupt) leaves the callback, which then has no result: ctypes hands
whatever lay on the stack to the C side, and the process dies. So handlers are held by a guard: it
lets them run at once, and keeps what they raise in those places until the guest has ended.
The same goes for finalizers, which run wherever garbage is collected: what is raised in one is
printed and forgotten. Elsewhere, as in a host function that waits, they raise as always.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` makes enum members, ten times slower
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

# Those that programs give handlers that raise. Looking through all 64 would cost more than a turn.
_NAMES: Final = "INT TERM HUP QUIT ALRM VTALRM PROF USR1 USR2".split()
_SIGNALS: Final = tuple(int(getattr(signal, f"SIG{name}")) for name in _NAMES)
_get: Final = _signal.getsignal
_set: Final = _signal.signal
_ident: Final = threading.get_ident


class SignalGuard:
    """Keeps signal handlers from raising out of callbacks. One per process.

    Args:
        keep: gets what a handler raised while a callback had no `try` around it; returns False if
            no guest runs, and then it is raised.
    """

    def __init__(self, keep: Callable[[BaseException], bool]) -> None:
        self._keep = keep
        # A second signal may find the guard at work on the first.
        self._callbacks: set[CodeType] = {SignalGuard._handle.__code__}
        self._own: set[CodeType] = {SignalGuard.hold.__code__, SignalGuard.release.__code__}
        self._pending: BaseException | None = None
        self._held: dict[int, Any] = {}
        self._depth = 0
        self._handler = self._handle  # one object, to be known again

    def protect(self, function: Any) -> None:
        """Say that nothing may be raised from this function's own frame."""
        self._callbacks.add(function.__code__)

    def defer(self, function: Any) -> None:
        """Say that this function calls `release`: what would be raised in it is raised there."""
        self._own.add(function.__code__)

    def hold(self) -> None:
        """Guard the handlers until `release`; nothing on other threads, where none ever run."""
        if _ident() != threading.main_thread().ident:
            return
        self._depth += 1
        if self._depth > 1:
            return
        try:
            for number in _SIGNALS:
                handler = _get(number)
                if callable(handler):
                    self._held[number] = handler
                    _set(number, self._handler)
            self._raise_pending()
        except BaseException:  # a signal came before its handler was held
            self.release()
            raise

    def release(self) -> None:
        """Give the handlers back after as many calls as there were of `hold`."""
        if _ident() != threading.main_thread().ident or self._depth == 0:
            return
        self._depth -= 1
        if self._depth:
            return
        for number, handler in self._held.items():
            # A host function may have set another handler meanwhile: that one stays.
            if _get(number) is self._handler:
                _set(number, handler)
        self._held.clear()
        self._raise_pending()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        handler = self._held[number]
        code = None if frame is None else frame.f_code
        is_lost = code in self._callbacks or code in self._own or _is_finalizing(frame)
        if not is_lost:
            handler(number, frame)
            return
        try:
            handler(number, frame)
        except BaseException as error:
            if self._keep(error):
                return
            if code not in self._own:
                raise
            self._pending = error

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error


def _is_finalizing(frame: FrameType | None) -> bool:
    """Whether a frame, or one that it was called from, is a finalizer's."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False

"""Guests on threads whose stack is small, large, or the main thread's."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, TypeVar

import pytest

from cloche.engine.abi import Report, Stop
from cloche.engine.adapters import stack
from cloche.engine.adapters.stack import THREAD_STACK_BYTES, has_room, run_with_room

from .support import DONE, hostile, run_turn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Result = TypeVar("Result")
RECURSION = "(drop (call $turn (i32.const 0) (i32.const 0)))"
REPORT = "(drop (call $gate (i32.const 3) (i32.const 512) (i32.const 16)))"


def on_thread(function: Callable[[], Result], stack_bytes: int) -> Result:
    """Return what `function` returns on a thread with this much stack."""
    results: list[Result] = []
    with stack._stack_size_lock:
        before = threading.stack_size(stack_bytes)
        try:
            thread = threading.Thread(target=lambda: results.append(function()))
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    return results[0]


def never() -> None:
    """Fail where nothing should be cancelled."""
    raise AssertionError("cancelled")


@pytest.mark.parametrize(
    ("stack_bytes", "room"), [(64 << 10, False), (1 << 20, False), (16 << 20, True)]
)
def test_threads_are_measured(stack_bytes: int, room: bool) -> None:
    """A thread has room if its own stack is large enough."""
    assert on_thread(has_room, stack_bytes) is room


@pytest.mark.parametrize("stack_bytes", [256 << 10, 1 << 20, 8 << 20, 64 << 20])
def test_recursion_is_a_stop_on_any_thread(stack_bytes: int, tmp_path: Path) -> None:
    """A guest that recurses without end is stopped, not the process, however small the stack."""
    instance = hostile("javascript", tmp_path, RECURSION)
    assert on_thread(lambda: run_turn(instance), stack_bytes) == Stop(
        kind="stack", message="the guest ran out of WebAssembly stack"
    )


def test_runs_here_where_there_is_room() -> None:
    """Nothing changes the thread without need; without room it is another one."""
    assert run_with_room(threading.get_ident, never) == threading.get_ident()

    def small() -> tuple[int, int]:
        return threading.get_ident(), run_with_room(threading.get_ident, never)

    own, used = on_thread(small, 1 << 20)
    assert own != used


def test_the_thread_made_has_room() -> None:
    """Nested calls on the large thread stay on it."""

    def nested() -> tuple[int, int]:
        return run_with_room(
            lambda: (threading.get_ident(), run_with_room(threading.get_ident, never)), never
        )

    outer, inner = on_thread(nested, 1 << 20)
    assert outer == inner


def test_the_default_size_is_kept() -> None:
    """Making the large thread leaves the size of other threads as it was."""
    before = threading.stack_size()
    on_thread(lambda: run_with_room(int, never), 1 << 20)
    assert threading.stack_size() == before != THREAD_STACK_BYTES


def test_failure_comes_out() -> None:
    """What is raised on the other thread is raised in the caller's, unchanged."""

    def fail() -> None:
        raise SystemExit(3)

    def small() -> object:
        with pytest.raises(SystemExit) as caught:
            run_with_room(fail, never)
        return caught.value.code

    assert on_thread(small, 1 << 20) == 3


def test_interrupted_wait_ends_the_guest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal during the wait for the other thread cancels the guest, and is raised after it."""
    main = threading.main_thread().ident
    assert main is not None
    loop = "(drop (call $gate (i32.const 16) (i32.const 512) (i32.const 1))) (loop $l (br $l))"
    instance = hostile("javascript", tmp_path, loop)
    threads: list[threading.Thread] = []

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyError("signal")

    def printed(*_: object) -> None:
        threads.append(threading.current_thread())
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    instance.machine.streams._sink = printed
    monkeypatch.setattr(stack, "has_room", lambda: False)
    try:
        with pytest.raises(KeyError, match="signal"):
            run_turn(instance, seconds=60)
    finally:
        signal.signal(signal.SIGUSR1, before)
    (thread,) = threads
    assert thread.name == "cloche-guest"
    thread.join()
    assert instance.closed


def test_main_thread_without_room_uses_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the main stack cannot be raised, guests still run."""
    monkeypatch.setattr(stack._room, "enough", None)
    monkeypatch.setattr(stack.resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert not has_room()
    assert run_turn(hostile("javascript", tmp_path, REPORT, data=DONE)) == Report(state="done")

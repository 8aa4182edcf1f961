"""Tests of the thread that has the turns of a run, and of what is left behind in a function."""

from __future__ import annotations

import threading

import pytest

from cloche.engine.abi import GuestStopped, Report, Stop
from cloche.exec.adapters.apart import Apart

DONE = Report(state="done")


def never() -> bool:
    """Results are always wanted."""
    return False


def unwanted() -> BaseException:
    """Return what is raised where a result is not wanted."""
    return LookupError("unwanted")


def unstopped() -> None:
    """Take no notice of being stopped."""


def test_turns_have_one_thread_and_functions_run_on_it():
    """The turns and the functions they call share a thread, which is not the caller's."""
    apart, idents = Apart(never), []

    def turns() -> Report:
        idents.append(threading.get_ident())
        idents.append(apart.call(threading.get_ident, unwanted))
        return DONE

    assert apart.run(turns, unstopped) is DONE
    assert idents[0] == idents[1] != threading.get_ident()
    assert not apart.is_left


def test_what_turns_and_functions_raise_is_raised():
    """An error of a function passes the turns, and an error of the turns reaches the caller."""
    apart, seen = Apart(never), []

    def fail() -> None:
        raise KeyError("a")

    def turns() -> Report:
        try:
            apart.call(fail, unwanted)
        except KeyError as error:
            seen.append(error.args)
        raise ValueError("b")

    with pytest.raises(ValueError, match="b"):
        apart.run(turns, unstopped)
    assert seen == [("a",)]


def test_what_is_beside_the_turns_has_a_thread_of_its_own():
    """A function that another thread calls runs on a third one, and may be abandoned."""
    over, released = threading.Event(), threading.Event()
    apart = Apart(over.is_set)
    assert apart.call(threading.get_ident, unwanted) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        apart.call(lambda: 1 // 0, unwanted)
    over.set()
    with pytest.raises(LookupError, match="unwanted"):
        apart.call(lambda: released.wait(60), unwanted)
    released.set()


class Waited(threading.Event):
    """An event that says that somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait as any event does."""
        self.has_begun.set()
        return super().wait(timeout)


def test_what_is_left_behind_ends_after_the_run_and_only_ends():
    """The caller is back; the function's return is dropped, and waits until the run is done."""
    over, released, ended = threading.Event(), threading.Event(), threading.Event()
    apart, found = Apart(over.is_set), []
    apart._may_end = may_end = Waited()

    def block() -> str:
        over.set()
        released.wait(60)
        return "late"

    def turns() -> Report:
        try:
            found.append(apart.call(block, unwanted))
        except GuestStopped as stopped:
            found.append(stopped.stop)
            raise
        finally:
            ended.set()
        return DONE

    assert apart.run(turns, unstopped) == Stop(kind="cancelled")
    assert apart.is_left
    released.set()
    assert may_end.has_begun.wait(60)
    assert not ended.is_set()
    apart.end()
    assert ended.wait(60)
    assert found == [Stop(kind="cancelled")]


def test_the_caller_looks_up_while_it_waits():
    """What it looks after is done on its own thread."""
    looked, idents = threading.Event(), []

    def look() -> None:
        idents.append(threading.get_ident())
        looked.set()

    def turns() -> Report:
        assert looked.wait(60)
        return DONE

    assert Apart(never, look).run(turns, unstopped) is DONE
    assert set(idents) == {threading.get_ident()}


def test_turns_that_are_in_no_function_are_not_left_behind():
    """That nothing is wanted any more does not leave a guest behind: its deadline stops it."""
    asked, looked = threading.Event(), threading.Semaphore(0)

    def turns() -> Report:
        # The second look comes after all that followed the first one.
        assert all(looked.acquire(timeout=60) for _ in range(2))
        assert not asked.is_set()
        return DONE

    def is_unwanted() -> bool:
        asked.set()
        return True

    apart = Apart(is_unwanted, looked.release)
    assert apart.run(turns, unstopped) is DONE
    assert not apart.is_left


def test_an_interrupted_caller_leaves_a_function_behind():
    """Ctrl-C is raised although a function does not return."""
    released = threading.Event()

    def interrupted() -> bool:
        raise KeyboardInterrupt

    apart = Apart(interrupted)

    def turns() -> Report:
        apart.call(lambda: released.wait(60), unwanted)
        return DONE

    with pytest.raises(KeyboardInterrupt):
        apart.run(turns, unstopped)
    assert apart.is_left
    released.set()
    apart.end()


def test_an_interrupted_caller_waits_for_a_guest_that_is_stopped():
    """Ctrl-C is raised when the turns have ended, and they are told to."""
    asked, is_back, stopped, ended = (threading.Event() for _ in range(4))

    def interrupted() -> bool:
        asked.set()
        is_back.wait(60)
        raise KeyboardInterrupt

    apart = Apart(interrupted)

    def turns() -> Report:
        apart.call(lambda: asked.wait(60), unwanted)
        is_back.set()
        stopped.wait(60)
        ended.set()
        return DONE

    with pytest.raises(KeyboardInterrupt):
        apart.run(turns, stopped.set)
    assert ended.is_set()
    assert not apart.is_left

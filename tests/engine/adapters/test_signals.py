"""Signals while a guest runs: what a handler raises ends the guest, and never the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from cloche.engine.adapters.signals import SignalGuard

PROGRAM = """
import signal, sys
import cloche
from cloche.exec.api import execute, make_request

PROGRAMS = {
    "writes": ("python", "print('go', flush=True)\\nwhile True: print('x' * 50, flush=True)"),
    "loops": ("javascript", "console.log('go'); for (;;);"),
}
language, code = PROGRAMS[sys.argv[1]]
guests = {"timeout_ms": 60_000, "output_limit_bytes": 1 << 30}
limits = cloche.Limits().replace({"guests": guests})

class Stop(Exception):
    pass

def handler(number, frame):
    raise Stop

signal.signal(signal.SIGALRM, handler)
request = make_request(code, language=language, limits=limits)
ends = 0
for number in range(40):
    # At many moments: some in a host function, some where a callback is entered.
    delay_s = 0.0005 + number * 0.00037
    begin = lambda stream, data: data == b"go\\n" and signal.setitimer(0, delay_s)
    try:
        execute(request, on_output=begin)
    except Stop:
        ends += 1
assert signal.getsignal(signal.SIGALRM) is handler
assert cloche.run("print(1)").run.stdout == "1\\n"
print(ends)
"""


@pytest.mark.parametrize("program", ["writes", "loops"])
def test_handlers_may_raise_at_any_moment(program):
    """Whenever a signal comes, what its handler raises ends the run, and the next run works."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, program],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def guarded(frame_of, keeps=True):
    """Raise a signal from a guarded function; return (what was kept, what was raised)."""
    kept = []
    guard = SignalGuard(lambda error: kept.append(error) or keeps)
    before = signal.signal(signal.SIGUSR1, raising)
    raised = None
    try:
        guard.protect(callback)
        guard.hold()
        try:
            frame_of()
        except LookupError as error:
            raised = error
        guard.release()
        assert signal.getsignal(signal.SIGUSR1) is raising
    finally:
        signal.signal(signal.SIGUSR1, before)
    return kept, raised


def raising(number, frame):
    """Raise, as a handler may."""
    raise LookupError(number)


def callback():
    """Stand for a callback."""
    signal.raise_signal(signal.SIGUSR1)


def other():
    """Stand for a host function."""
    signal.raise_signal(signal.SIGUSR1)


def test_kept_in_a_callback():
    """What is raised in a callback's own frame is kept; elsewhere it is raised there."""
    kept, raised = guarded(callback)
    assert ([type(error) for error in kept], raised) == ([LookupError], None)
    kept, raised = guarded(other)
    assert (kept, type(raised)) == ([], LookupError)


class Finalized:
    """Gets a signal while it is finalized, some calls deep."""

    def __del__(self):
        other()


def test_kept_in_a_finalizer():
    """What is raised while garbage is collected is kept: it would be printed and forgotten."""
    kept, raised = guarded(lambda: Finalized() and None)
    assert ([type(error) for error in kept], raised) == ([LookupError], None)


def test_raised_when_the_guard_is_done():
    """What comes while the guard gives the handlers back is raised when it has."""
    guard = SignalGuard(lambda error: False)
    before = signal.signal(signal.SIGUSR1, raising)
    try:
        guard.defer(callback)
        guard.hold()
        callback()
        with pytest.raises(LookupError):
            guard.release()
        assert signal.getsignal(signal.SIGUSR1) is raising
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_raised_where_no_guest_runs():
    """What nobody keeps is raised."""
    kept, raised = guarded(callback, keeps=False)
    assert raised is kept[0]


def test_holds_nest():
    """Handlers come back after the last release; a release too many does nothing."""
    guard = SignalGuard(lambda error: True)
    before = signal.getsignal(signal.SIGINT)
    guard.hold()
    guard.hold()
    guard.release()
    assert signal.getsignal(signal.SIGINT) is not before
    guard.release()
    guard.release()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_new_handler_stays():
    """A handler that is set while the guard holds is not undone."""
    guard = SignalGuard(lambda error: True)
    before = signal.getsignal(signal.SIGINT)
    guard.hold()
    signal.signal(signal.SIGINT, raising)
    guard.release()
    assert signal.signal(signal.SIGINT, before) is raising


def test_other_threads_are_left_alone():
    """On another thread, where handlers never run, the guard does nothing."""
    guard = SignalGuard(lambda error: True)
    before = signal.getsignal(signal.SIGINT)
    found = []

    def work():
        guard.hold()
        found.append(signal.getsignal(signal.SIGINT))
        guard.release()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]

"""What the sandbox has not: each says so, in words that help."""

from __future__ import annotations

import pytest

from .driver import output, run

THREADS = (
    "RuntimeError: threads are not available in the sandbox; use asyncio, or a "
    "ThreadPoolExecutor, whose work runs at once"
)
PROCESSES = "OSError: processes are not available in the sandbox"
SOCKETS = (
    "OSError: sockets are not available in the sandbox; net, requests and urllib call out over the "
    "host"
)
TLS = "there is no TLS inside the sandbox; net, requests and urllib call out over the host"


def absent(module: str, name: str, reason: str) -> str:
    """Return the message of a name that is not in a module."""
    return f"AttributeError: module {module!r} has no attribute {name!r}: {reason}"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import threading\nthreading.Thread(target=print).start()", THREADS),
        ("import threading\nthreading.Timer(1, print).start()", THREADS),
        ("import _thread\n_thread.start_new_thread(print, ())", THREADS),
        ("import subprocess\nsubprocess.run(['ls'])", PROCESSES),
        ("import subprocess\nsubprocess.check_output('ls', shell=True)", PROCESSES),
        ("import os\nos.system('ls')", PROCESSES),
        ("import os\nos.popen('ls')", PROCESSES),
        ("import os\nos.fork()", absent("os", "fork", PROCESSES[9:])),
        ("import os\nos.execv('/bin/ls', ['ls'])", absent("os", "execv", PROCESSES[9:])),
        ("import multiprocessing as m\nm.Pool(2)", absent("os", "pipe", PROCESSES[9:])),
        (
            "import multiprocessing as m\nm.Process(target=print).start()",
            absent("os", "WNOHANG", PROCESSES[9:]),
        ),
        ("import asyncio\nawait asyncio.create_subprocess_exec('ls')", PROCESSES),
        ("import asyncio\nawait asyncio.create_subprocess_shell('ls')", PROCESSES),
        ("import socket\nsocket.socket()", SOCKETS),
        ("import socket\nsocket.create_connection(('example.com', 80))", SOCKETS),
        ("import socket\nsocket.gethostbyname('example.com')", SOCKETS),
        ("import asyncio\nawait asyncio.open_connection('example.com', 80)", SOCKETS),
        ("import asyncio\nawait asyncio.start_server(print, 'localhost', 80)", SOCKETS),
        (
            "import urllib.request\nurllib.request.urlopen('gopher://example.com')",
            "URLError: <urlopen error unknown url type: gopher>",
        ),
        ("import smtplib\nsmtplib.SMTP('example.com')", SOCKETS),
        ("import ssl", f"ModuleNotFoundError: No module named '_ssl': {TLS}"),
        (
            "import os\nos.kill(1, 9)",
            absent("os", "kill", "signals are not available in the sandbox"),
        ),
        (
            "import signal\nsignal.alarm(1)",
            absent("signal", "alarm", "signals are not available in the sandbox"),
        ),
        ("import os\nos.getuid()", absent("os", "getuid", "there are no users in the sandbox")),
        ("import os\nos.nope", "AttributeError: module 'os' has no attribute 'nope'"),
        (
            "import tkinter",
            "ModuleNotFoundError: No module named 'tkinter': there is no screen in the sandbox",
        ),
        (
            "import curses",
            "ModuleNotFoundError: No module named '_curses': there is no terminal in the sandbox",
        ),
        (
            "import pip",
            (
                "ModuleNotFoundError: No module named 'pip': packages cannot be installed in the "
                "sandbox"
            ),
        ),
        ("import ctypes\nctypes.CDLL(None)", "OSError: ctypes is unavailable on wasm32-wasi"),
    ],
)
def test_says_what_is_missing(code: str, message: str) -> None:
    """The error names what the sandbox lacks and, where there is one, what to use instead."""
    outcome = run(code)
    assert outcome.message == message
    # Python may add a guess after an AttributeError.
    last = outcome.stderr.splitlines()[-1].partition(". Did you mean")[0]
    assert last.removeprefix("urllib.error.") == message


@pytest.mark.parametrize("name", ["fork", "kill", "getuid", "execv", "nope", "pipe"])
def test_hasattr_tells_the_truth(name: str) -> None:
    """Code that looks before it leaps sees that a function is not there."""
    assert (
        output(f"import os\nprint(hasattr(os, {name!r}), getattr(os, {name!r}, 7))") == "False 7\n"
    )


def test_missing_name_can_be_caught() -> None:
    """`from os import fork` is an ImportError, as elsewhere without fork."""
    code = "try:\n  from os import fork\nexcept ImportError: print('none')"
    assert output(code) == "none\n"


def test_optional_tls_falls_back() -> None:
    """Libraries that try `import ssl` go on without it."""
    code = "try:\n  import ssl\nexcept ImportError:\n  ssl = None\nprint(ssl)"
    assert output(code) == "None\n"


def test_signal_handlers_are_accepted_and_never_called() -> None:
    """A program may set handlers for signals; none ever comes."""
    code = "import signal\nsignal.signal(signal.SIGINT, print)\nprint(signal.getsignal(2) is print)"
    assert output(code) == "True\n"


def test_locks_work_without_threads() -> None:
    """Locks, events, queues and thread-local data are there for code that is written with them."""
    code = """
import queue, threading
lock, local, q = threading.RLock(), threading.local(), queue.Queue()
with lock, threading.Semaphore(), threading.Condition():
    local.x = 1
    q.put(threading.current_thread().name)
print(local.x, q.get(), threading.active_count(), threading.Event().wait(0.5))
"""
    assert output(code) == "1 MainThread 1 False\n"


@pytest.mark.parametrize(
    "wait",
    [
        "lock = threading.Lock(); lock.acquire(); lock.acquire()",
        "threading.Event().wait()",
        "threading.Semaphore(0).acquire()",
        "threading.Barrier(2).wait()",
        "queue.Queue().get()",
        "queue.SimpleQueue().get()",
        "q = queue.Queue(1); q.put(1); q.put(2)",
        "concurrent.futures.Future().result()",
    ],
)
def test_waiting_for_another_thread_is_an_error(wait: str) -> None:
    """A wait that only another thread could end fails at once and says so."""
    outcome = run(f"import concurrent.futures, queue, threading\n{wait}")
    assert outcome.message == (
        "Deadlock: the program waits for something that can never happen: there is no other "
        "thread that could end the wait"
    )


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ("lock.acquire() and lock.acquire(timeout=60)", "False"),
        ("lock.acquire() and lock.acquire(blocking=False)", "False"),
        ("threading.Event().wait(60)", "False"),
        ("threading.Semaphore(0).acquire(timeout=60)", "False"),
        ("queue.Queue().get(timeout=60)", "Empty"),
        ("queue.SimpleQueue().get(timeout=60)", "Empty"),
        ("threading.Condition().wait(60)", "RuntimeError"),
        ("lock.release()", "RuntimeError"),
        ("lock.acquire(False, 1)", "ValueError"),
        ("lock.locked(), lock.acquire(), lock.locked()", "False True True"),
    ],
)
def test_waiting_with_a_timeout(wait: str, expected: str) -> None:
    """With a timeout the wait ends when virtual time has passed."""
    code = f"""
import queue, threading, time
lock = threading.Lock()
try:
    print({wait})
except Exception as error:
    print(type(error).__name__)
"""
    assert output(code) == f"{expected}\n"

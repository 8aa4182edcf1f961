"""What a sandbox has not, said clearly: threads, processes, signals, sockets, TLS, modules in C."""

import _thread
import importlib.abc
import sys

_REASONS = {
    "ssl": "there is no TLS inside the sandbox; net, requests and urllib call out over the host",
    "_ssl": "there is no TLS inside the sandbox; net, requests and urllib call out over the host",
    "multiprocessing": "there are no processes in the sandbox",
    "_multiprocessing": "there are no processes in the sandbox",
    "tkinter": "there is no screen in the sandbox",
    "turtle": "there is no screen in the sandbox",
    "_curses": "there is no terminal in the sandbox",
    "readline": "there is no terminal in the sandbox",
    "ctypes": "there are no native libraries in the sandbox",
    "_ctypes": "there are no native libraries in the sandbox",
    "fcntl": "there are no host files in the sandbox",
    "pwd": "there are no users in the sandbox",
    "grp": "there are no users in the sandbox",
    "termios": "there is no terminal in the sandbox",
    "resource": "limits are set from outside the sandbox",
    "venv": "packages cannot be installed in the sandbox",
    "ensurepip": "packages cannot be installed in the sandbox",
    "pip": "packages cannot be installed in the sandbox",
}


class _Explain(importlib.abc.MetaPathFinder):
    """Last on the path: reached only by what is not there."""

    def find_spec(self, fullname, path=None, target=None):
        reason = _REASONS.get(fullname)
        if reason is None:
            return None
        raise ModuleNotFoundError(f"No module named {fullname!r}: {reason}", name=fullname)


_NO_PROCESS = "processes are not available in the sandbox"
_NO_SIGNAL = "signals are not available in the sandbox"
_NO_USER = "there are no users in the sandbox"
_ABSENT = {
    "os": {
        **dict.fromkeys(
            "fork forkpty execv execve execvp execvpe posix_spawn posix_spawnp spawnv spawnve "
            "spawnvp spawnvpe wait wait3 wait4 waitid waitpid WNOHANG pipe getppid getpgid setsid "
            "nice".split(),
            _NO_PROCESS,
        ),
        **dict.fromkeys("kill killpg".split(), _NO_SIGNAL),
        **dict.fromkeys(
            "getuid geteuid getgid getegid getgroups getlogin setuid setgid".split(), _NO_USER
        ),
    },
    "signal": dict.fromkeys(
        "alarm getitimer setitimer pause pthread_kill pthread_sigmask set_wakeup_fd siginterrupt "
        "sigpending sigwait sigwaitinfo sigtimedwait".split(),
        _NO_SIGNAL,
    ),
}


def _explain_absent(module, reasons):
    """Say why a name is not there. `hasattr` still answers no, which the standard library asks."""

    def __getattr__(name):
        message = f"module {module.__name__!r} has no attribute {name!r}"
        if name in reasons:
            message += f": {reasons[name]}"
        raise AttributeError(message, name=name, obj=module)

    module.__getattr__ = __getattr__


def _plain_import_errors():
    # traceback replaces the message of a failed import by advice about installations.
    import traceback

    real = traceback.TracebackException.__init__

    def __init__(self, exc_type, exc_value, *args, **kwargs):
        real(self, exc_type, exc_value, *args, **kwargs)
        if isinstance(exc_value, ModuleNotFoundError):
            self._str = str(exc_value)

    traceback.TracebackException.__init__ = __init__


def _no_thread(*args, **kwargs):
    raise RuntimeError(
        "threads are not available in the sandbox; use asyncio, or a ThreadPoolExecutor, whose "
        "work runs at once"
    )


def _no_process(*args, **kwargs):
    raise OSError(_NO_PROCESS)


def _no_socket(*args, **kwargs):
    raise OSError(
        "sockets are not available in the sandbox; net, requests and urllib call out over the host"
    )


def _wait(timeout):
    # What another thread would end can never end here: time passes, or nothing does.
    if timeout is None or timeout < 0:
        from _cloche.loop import Deadlock

        raise Deadlock("there is no other thread that could end the wait")
    import time

    time.sleep(timeout)
    return False


class lock:
    """threading.Lock without threads. The built-in one crashes the interpreter when it waits."""

    __slots__ = ("_locked", "__weakref__")

    def __init__(self):
        self._locked = False

    def acquire(self, blocking=True, timeout=-1):
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if not self._locked:
            self._locked = True
            return True
        return _wait(timeout) if blocking else False

    def release(self):
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        self._locked = False

    def locked(self):
        return self._locked

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()

    def _at_fork_reinit(self):
        self._locked = False


lock.__module__ = "_thread"


def _wait_for_condition(self, timeout=None):
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    return _wait(timeout)


def _install_locks():
    import queue
    import threading

    threading.Lock = threading._allocate_lock = threading.LockType = lock
    _thread.allocate_lock = _thread.allocate = _thread.LockType = _thread.lock = lock
    threading.Condition.wait = _wait_for_condition
    queue.SimpleQueue = queue._PySimpleQueue


def _install():
    sys.meta_path.append(_Explain())
    import threading

    _install_locks()

    _thread.start_new_thread = _thread.start_new = _no_thread
    if hasattr(_thread, "start_joinable_thread"):
        _thread.start_joinable_thread = _no_thread
    for name in ("_start_new_thread", "_start_joinable_thread"):
        if hasattr(threading, name):
            setattr(threading, name, _no_thread)
    try:
        import subprocess
    except ImportError:
        pass
    else:
        subprocess.Popen.__init__ = _no_process
        subprocess.Popen.__del__ = lambda self: None
    import os
    import signal

    os.system = os.popen = _no_process
    _explain_absent(os, _ABSENT["os"])
    _explain_absent(signal, _ABSENT["signal"])
    _plain_import_errors()
    try:
        import socket
    except ImportError:
        _REASONS["socket"] = "there are no sockets in the sandbox"
    else:
        for name in ("create_connection", "create_server", "getaddrinfo", "gethostbyname"):
            setattr(socket, name, _no_socket)
        socket.socket.__init__ = _no_socket
        socket.socket.__del__ = lambda self: None


_install()

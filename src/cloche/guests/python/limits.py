"""What a sandbox has not, said clearly: threads, processes, sockets, TLS, and modules in C."""

import _thread
import importlib.abc
import sys

_REASONS = {
    "ssl": "there is no TLS inside the sandbox; use the network functions that the host offers",
    "_ssl": "there is no TLS inside the sandbox; use the network functions that the host offers",
    "multiprocessing": "there are no processes in the sandbox",
    "_multiprocessing": "there are no processes in the sandbox",
    "tkinter": "there is no screen in the sandbox",
    "turtle": "there is no screen in the sandbox",
    "curses": "there is no terminal in the sandbox",
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


def _no_thread(*args, **kwargs):
    raise RuntimeError(
        "threads are not available in the sandbox; use asyncio, or a ThreadPoolExecutor, whose "
        "work runs at once"
    )


def _no_process(*args, **kwargs):
    raise OSError("processes are not available in the sandbox")


def _no_socket(*args, **kwargs):
    raise OSError(
        "sockets are not available in the sandbox; use the network functions that the host offers"
    )


def _install():
    sys.meta_path.append(_Explain())
    import threading

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

    # Only these two: the standard library asks `hasattr(os, "fork")` to learn what it may use.
    os.system = os.popen = _no_process
    try:
        import socket
    except ImportError:
        _REASONS["socket"] = "there are no sockets in the sandbox"
    else:
        for name in ("create_connection", "create_server", "getaddrinfo", "gethostbyname"):
            setattr(socket, name, _no_socket)
        socket.socket.connect = socket.socket.bind = _no_socket


_install()

"""Attack: a way out of the one process, the one thread and the one machine."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes

PYTHON = {
    "fork": "import os; os.fork()",
    "exec": "import os; os.execv('/bin/sh', ['sh'])",
    "system": "import os; os.system('id')",
    "popen": "import os; os.popen('id')",
    "spawn": "import os; os.posix_spawn('/bin/sh', ['sh'], {})",
    "subprocess": "import subprocess; subprocess.run(['id'])",
    "multiprocessing": "import multiprocessing as m; m.Process(target=print).start()",
    "a pool of processes": (
        "from concurrent.futures import ProcessPoolExecutor as P; P().submit(print).result()"
    ),
    "a thread": "import threading; threading.Thread(target=print).start()",
    "a bare thread": "import _thread; _thread.start_new_thread(print, ())",
    "a timer thread": "import threading; threading.Timer(0, print).start()",
    "a signal to oneself": "import os; os.kill(os.getpid(), 9)",
    "a signal to the parent": "import os; os.kill(os.getppid(), 9)",
    "connect": "import socket; socket.create_connection(('127.0.0.1', 22))",
    "a raw connect": "import _socket; _socket.socket().connect(('127.0.0.1', 22))",
    "listen": "import socket; socket.create_server(('', 8080))",
    "names": "import socket; socket.getaddrinfo('example.com', 80)",
    "http": "import urllib.request as u; u.urlopen('http://127.0.0.1/')",
    "asyncio streams": "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', 22))",
    "asyncio subprocess": "import asyncio; asyncio.run(asyncio.create_subprocess_exec('id'))",
    "a native library": "import ctypes; ctypes.CDLL('libc.so.6').system(b'id')",
    "shared memory": (
        "from multiprocessing.shared_memory import SharedMemory as S; S(create=True, size=9)"
    ),
    "a mapping": "import mmap; mmap.mmap(-1, 1 << 20)",
    "a named pipe": "import os; os.mkfifo('/pipe')",
    "a device": "import os; os.mknod('/device')",
    "root": "import os; os.chroot('/')",
    "pip": "import pip",
}

JAVASCRIPT = {
    **{
        name: f"require('{name}')"
        for name in "child_process worker_threads cluster net tls dgram http https dns vm".split()
    },
    "Worker": "new Worker('x.js')",
    "WebAssembly": "new WebAssembly.Module(new Uint8Array(8))",
    "WebSocket": "new WebSocket('ws://127.0.0.1')",
    "process.kill": "process.kill(process.pid, 'SIGKILL')",
    "process.dlopen": "process.dlopen({}, '/lib/x.so')",
    "process.binding": "process.binding('fs')",
    "blocking on shared memory": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
    "the prelude": "__cloche.call(22, new Uint8Array(4))",
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_has_none_of_it(code):
    """An error that says so, and that the program may catch."""
    _, error = attack(code, "python")
    assert error is not None
    assert error.case == "runtime-failed", error


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_has_none_of_it(code):
    """An error that says so, and that the program may catch."""
    _, error = attack(code, "javascript")
    assert error is not None
    assert error.case == "runtime-failed", error


def test_a_pool_of_threads_runs_at_once():
    """What is common and harmless works, in the one thread that there is."""
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as pool: print(list(pool.map(str.upper, "abc")))
"""
    assert completes(code, "python") == "['A', 'B', 'C']\n"


def test_constructors_lead_to_nothing_hidden():
    """The global object is the same from every function's constructor, and holds no way out."""
    code = """
const global = (() => {}).constructor("return this")();
console.log(global === globalThis, typeof global.__cloche, typeof global.std, typeof global.os);
"""
    assert completes(code, "javascript") == "true undefined undefined undefined\n"

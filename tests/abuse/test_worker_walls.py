"""Attack: code that runs in a worker, behind WebAssembly, reaches for the machine."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.server.test_workers import HELD, WAIT_S

from cloche.server.adapters.hardening import has_seccomp, landlock_version

TRIES = """
import ctypes, os, resource, signal, socket, sys
from cloche.server.adapters import hardening
hardening.limit_resources(data_limit_bytes=1 << 32, file_limit_bytes=1 << 20, open_file_max=64)
hardening.drop_privileges()
hardening.close_files(hardening.python_places())
assert hardening.filter_calls()
c = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    c.syscall.restype = ctypes.c_long
    if c.syscall(*args) >= 0:
        print(name, "done")
    else:
        print(name, "refused")
def attempt(name, act):
    try:
        act()
        print(name, "done")
    except OSError:
        print(name, "refused")
call("ptrace", 101, 0, 0, 0, 0)
call("process_vm_readv", 310, os.getppid(), 0, 0, 0, 0, 0)
call("process_vm_writev", 311, os.getppid(), 0, 0, 0, 0, 0)
call("memfd_create", 319, b"x", 0)
call("execveat", 322, -100, b"/bin/true", 0, 0, 0)
call("io_uring_setup", 425, 1, 0)
call("bpf", 321, 0, 0, 0)
call("unshare", 272, 0x10000000)
call("userfaultfd", 323, 0)
call("perf_event_open", 298, 0, 0, -1, -1, 0)
call("keyctl", 250, 0, 0, 0, 0, 0)
call("mount", 165, b"x", b"/", b"tmpfs", 0, 0)
call("pidfd_open", 434, os.getppid(), 0)
call("vfork", 58)
call("clone3", 435, 0, 0)
call("setns", 308, 0, 0)
call("chroot", 161, b"/")
call("open_by_handle_at", 304, 0, 0, 0)
call("tgkill", 234, os.getppid(), os.getppid(), 0)
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("pair", socket.socketpair)
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("passwd", lambda: open("/etc/passwd").read())
attempt("environ of the parent", lambda: open(f"/proc/{os.getppid()}/environ").read())
attempt("memory of the parent", lambda: open(f"/proc/{os.getppid()}/mem", "rb").read(1))
attempt("own memory", lambda: open("/proc/self/mem", "r+b"))
attempt("home", lambda: os.listdir(os.path.expanduser("~")))
attempt("root", lambda: os.listdir("/"))
attempt("tmp", lambda: open("/tmp/cloche-attack", "x"))
attempt("link", lambda: os.symlink("/etc/passwd", "/tmp/cloche-attack"))
attempt("chmod", lambda: os.chmod("/tmp", 0o777))
attempt("more files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)))
attempt("cores", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)))
sys.stdout.flush()
os._exit(0)
"""
# Images are mapped from memory without a name, of which nothing can be executed (`execveat`).
ALLOWED = {"memfd_create"}
LANDLOCK = {
    "shadow", "passwd", "environ of the parent", "memory of the parent", "home", "root",
}  # fmt: skip


@pytest.mark.skipif(not HELD or not has_seccomp(), reason="the kernel filters nothing")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
def test_nothing_is_reached():
    """No call that would reach another process, a file, a socket or a program is let through."""
    done = subprocess.run(
        [sys.executable, "-c", TRIES], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 30, done.stderr
    through = {line.removesuffix(" done") for line in lines if line.endswith(" done")}
    if not landlock_version():
        through -= LANDLOCK
    assert through <= ALLOWED, through


def status_of(pid):
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children_of(pid):
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def held(pid):
    """Return what the kernel says of a worker once it is ready: one may just have been started."""
    until_s = time.monotonic() + WAIT_S
    while True:
        status = status_of(pid)
        if status["NoNewPrivs"] == "1" and (status["Seccomp"] == "2" or not has_seccomp()):
            return status
        assert time.monotonic() < until_s, status
        time.sleep(0.01)


def check_worker(pid):
    """Assert that a process can do no more than a worker may."""
    status = held(pid)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    limits = Path(f"/proc/{pid}/limits").read_text()
    (cores,) = [line for line in limits.splitlines() if line.startswith("Max core")]
    assert cores.split()[4:6] == ["0", "0"]
    names = set(dict(
        each.partition("=")[::2]
        for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if each
    ))  # fmt: skip
    assert not {name for name in names if "CLOCHE" in name or "KEY" in name or name == "HOME"}
    assert children_of(pid) == []


@pytest.mark.skipif(not HELD, reason="the kernel holds nothing")
def test_workers_that_run(served):
    """The workers of a server are held now, not only when they were asked."""
    checked = 0
    for pid in children_of(served.process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if "cloche.server.worker" in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                check_worker(pid)
                checked += 1
    assert checked

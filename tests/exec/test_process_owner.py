"""Names of processes: that one is gone is said of those alone that certainly are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cloche.exec.adapters.process_owner import is_gone, owner_name

SAY = "from cloche.exec.adapters.process_owner import owner_name; print(owner_name(), flush=True)"


def changed(owner, **parts):
    """Return a name with other parts."""
    names = ("boot", "namespace", "pid", "start", "random")
    found = dict(zip(names, owner.split("."), strict=True))
    return ".".join({**found, **parts}.values())


def test_this_process():
    """Two owners of one process differ, and neither is gone."""
    one, two = owner_name(), owner_name()
    assert one != two
    assert not is_gone(one)
    assert not is_gone(two)


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_another_process(number):
    """It is gone when it has ended, by itself or not, and not while it lives."""
    code = SAY if number is None else f"{SAY}; import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        owner = child.stdout.readline().strip()
        if number is not None:
            assert not is_gone(owner)
            child.send_signal(number)
        child.wait(60)
    assert is_gone(owner)


def test_a_number_that_is_used_again():
    """Who has the number of a process, and began at another time, is another one."""
    own = owner_name()
    assert is_gone(changed(own, start="1"))
    assert not is_gone(changed(own, pid="1", start="1.5"))


def test_what_is_not_known():
    """Of another boot, another namespace, or a name of another form nothing is said."""
    gone = changed(owner_name(), pid=str(2**22 + 1))
    assert is_gone(gone)
    for owner in (
        changed(gone, boot="0" * 36),
        changed(gone, namespace="1"),
        changed(gone, pid="-1"),
        changed(gone, pid="x"),
        "",
        "host-1:4711",
        "a" * 24,
        "....",
    ):
        assert not is_gone(owner)
    assert not is_gone(changed(owner_name(), pid="9" * 30))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may signal every process")
def test_a_process_of_somebody_else():
    """One that may not be signalled lives."""
    assert not is_gone(changed(owner_name(), pid="1"))

"""The memory of the server on the overview: measured, kept for an hour, shown to the operator."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cloche.server.console.memory import Memory, Used, measured

from .console_support import Person
from .support import Asker

MINUTE_NS = 60_000_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@linux
def test_processes_are_measured():
    """The process itself, and what it has begun, as the system counts it."""
    before = measured()
    held = b"x" * 64_000_000
    after = measured()
    assert after.server_bytes - before.server_bytes > 32_000_000
    says_so = [sys.executable, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(says_so, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"here\n"
        found = measured().workers_bytes - before.workers_bytes
        child.communicate(b"\n")
    assert found > 2_000_000
    assert len(held)


def test_a_system_that_does_not_say(tmp_path):
    """Without numbers there is None, whatever is there instead."""
    assert measured(tmp_path) is None
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "statm").write_text("nonsense")
    assert measured(tmp_path) is None


def test_nothing_older_than_an_hour_is_kept():
    """However long a server runs, there are at most sixty measurements."""
    now_ns = [0]
    used = Used(server_bytes=1, workers_bytes=0)
    memory = Memory(now_ns=lambda: now_ns[0], measure=lambda: used)
    for _ in range(200):
        now_ns[0] += MINUTE_NS
        memory.take()
    assert memory.hour() == [used] * 60
    assert len(memory._minutes) == 60


def test_the_highest_of_each_minute():
    """A minute has its highest numbers; one without a measurement is a gap; an hour is kept."""
    now_ns, sizes = [100 * MINUTE_NS], iter([(5, 1), (3, 2), (9, 9)])

    def measure():
        server_bytes, workers_bytes = next(sizes)
        return Used(server_bytes=server_bytes, workers_bytes=workers_bytes)

    memory = Memory(now_ns=lambda: now_ns[0], measure=measure)
    memory.take()
    assert memory.take() == Used(server_bytes=3, workers_bytes=2)
    assert memory.hour() == [None] * 59 + [Used(server_bytes=5, workers_bytes=2)]
    now_ns[0] += 2 * MINUTE_NS
    memory.take()
    assert [used and used.server_bytes for used in memory.hour()[-3:]] == [5, None, 9]
    now_ns[0] += 58 * MINUTE_NS
    assert [used and used.server_bytes for used in memory.hour()[:2]] == [None, 9]
    now_ns[0] += 2 * MINUTE_NS
    assert memory.hour() == [None] * 60
    assert Memory(now_ns=lambda: 0, measure=lambda: None).take() is None


@linux
def test_the_chart():
    """The operator sees it, from the first look on; other tenants and keys do not."""
    asker = Asker()
    page = Person(asker, asker.key).see("/console")
    assert "<h2>Memory</h2>" in page
    assert " of its workers." in page
    assert page.count('class="middle"') == 1
    for key in (asker.new_key("run"), asker.new_key("admin", tenant="other")):
        assert "<h2>Memory</h2>" not in Person(asker, key).see("/console")

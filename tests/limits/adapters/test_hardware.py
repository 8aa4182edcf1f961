"""Tests of detection on made-up machines."""

from __future__ import annotations

import os

import pytest

from cloche.limits.adapters.hardware import detect, detected

MEMORY_MAX = "sys/fs/cgroup/memory.max"
V1_LIMIT = "sys/fs/cgroup/memory/memory.limit_in_bytes"
MEMINFO = "proc/meminfo"
CPU_MAX = "sys/fs/cgroup/cpu.max"
V1_QUOTA = "sys/fs/cgroup/cpu/cpu.cfs_quota_us"
V1_PERIOD = "sys/fs/cgroup/cpu/cpu.cfs_period_us"
FALLBACK = 512 << 20


@pytest.fixture
def machine(tmp_path):
    """Return a function that detects a machine with these files."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return detect(tmp_path)

    return make


@pytest.mark.parametrize(
    ("files", "ram"),
    [
        ({}, FALLBACK),
        ({MEMORY_MAX: "1000000\n", V1_LIMIT: "2000000", MEMINFO: "MemTotal: 3 kB"}, 1_000_000),
        ({MEMORY_MAX: "max\n", V1_LIMIT: "2000000\n", MEMINFO: "MemTotal: 3 kB"}, 2_000_000),
        ({MEMORY_MAX: "max\n", V1_LIMIT: str(2**50), MEMINFO: "MemTotal: 3 kB"}, 3072),
        ({V1_LIMIT: str(2**50 - 1)}, 2**50 - 1),
        ({V1_LIMIT: "9223372036854771712\n"}, FALLBACK),
        ({MEMINFO: "MemFree: 9 kB\nMemTotal:   2048000 kB\nBuffers: 1 kB\n"}, 2_097_152_000),
        ({MEMORY_MAX: "0", MEMINFO: "MemTotal: 8 kB"}, 8192),
        ({MEMINFO: "MemTotal:\n"}, FALLBACK),
        ({MEMINFO: "MemTotal: x kB\n"}, FALLBACK),
        ({MEMINFO: "\n\n"}, FALLBACK),
        ({MEMORY_MAX: "-1"}, FALLBACK),
        ({MEMORY_MAX: b"\xb2\xff\x00"}, FALLBACK),
        ({MEMORY_MAX: "9" * 5000}, FALLBACK),
        ({MEMORY_MAX + "/folder": "5"}, FALLBACK),
    ],
)
def test_memory(machine, files, ram):
    """The group v2, then v1 below 2^50, then meminfo, then 512 MiB; nonsense counts as unknown."""
    assert machine(files).total_ram_bytes == ram


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({CPU_MAX: "max 100000\n"}, None),
        ({CPU_MAX: "200000 100000\n"}, 2),
        ({CPU_MAX: "100000 100000\n"}, 1),
        ({CPU_MAX: "50000 100000\n"}, 1),
        ({CPU_MAX: "199999 100000\n"}, 1),
        ({CPU_MAX: "100000 0\n"}, None),
        ({CPU_MAX: "100000\n"}, None),
        ({CPU_MAX: "1 2 3\n"}, None),
        ({V1_QUOTA: "100000\n", V1_PERIOD: "100000\n"}, 1),
        ({V1_QUOTA: "-1\n", V1_PERIOD: "100000\n"}, None),
        ({V1_QUOTA: "100000\n"}, None),
    ],
)
def test_cores(machine, files, quota, monkeypatch):
    """The cores that the process may use, or its quota rounded down, at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine(files).cpu_cores == (8 if quota is None else quota)


def test_cores_without_affinity(machine, monkeypatch):
    """Where the system cannot say, all cores count; where it knows none, one does."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine({}).cpu_cores == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine({}).cpu_cores == 1


def test_this_machine_is_read_once():
    """The reading is kept for the process until it is told to forget."""
    first = detected()
    assert detected() is first
    detected.cache_clear()
    again = detected()
    assert again is not first
    assert again.cpu_cores >= 1
    assert again.total_ram_bytes > 0

"""The filter of system calls, executed instruction by instruction as the kernel would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.server import worker_rules as rules
from cloche.server.worker_rules import MACHINES, REFUSED, encode, program_for

PID = 4711
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050001, 0x00050026
WRONLY, CREAT, CLOEXEC, DIRECTORY = 0o1, 0o100, 0o2000000, 0o200000
THREAD = 0x003D0F00  # what the library gives clone for a thread
CHILD = 0x01200011  # and for a process
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

machines = pytest.mark.parametrize("machine", sorted(MACHINES))


def decide(machine, number, *args, audit=None):
    """Return what a program answers to one system call."""
    known = MACHINES[machine]
    data = {0: number, 4: known.audit if audit is None else audit}
    data |= {16 + 8 * place: value & 0xFFFFFFFF for place, value in enumerate(args)}
    program, place, loaded = program_for(machine, PID), 0, 0
    while True:
        found = program[place]
        place += 1
        if found.code == LOAD:
            loaded = data.get(found.k, 0)
        elif found.code == RETURN:
            return found.k
        else:
            holds = {
                EQUAL: loaded == found.k,
                AT_LEAST: loaded >= found.k,
                ANY_BIT: bool(loaded & found.k),
            }[found.code]
            place += found.if_true if holds else found.if_false


@machines
def test_what_is_refused(machine):
    """Every call of the table is refused, whatever its arguments."""
    numbers = MACHINES[machine].numbers
    for name in REFUSED:
        if name in numbers:
            assert decide(machine, numbers[name], 1, 2, 3) == REFUSE, name


@machines
def test_what_is_looked_at(machine):
    """Files are opened to read, threads are made, and signals stay in the process."""
    numbers = MACHINES[machine].numbers

    def call(name, *args):
        return decide(machine, numbers[name], *args)

    assert call("openat", 3, 4, CLOEXEC | DIRECTORY) == ALLOW
    assert [call("openat", 3, 4, flags) for flags in (WRONLY, 0o2, CREAT)] == [REFUSE] * 3
    assert call("clone", THREAD) == ALLOW
    assert call("clone", CHILD) == REFUSE
    assert (call("clone3"), call("openat2")) == (UNKNOWN, UNKNOWN)
    assert [call("prlimit64", pid, 7, 8) for pid in (0, PID)] == [ALLOW] * 2
    assert [call("prlimit64", pid, 7, 8) for pid in (1, PID + 1)] == [REFUSE] * 2
    assert call("ioctl", 1, 0x5401) == ALLOW
    assert [call("ioctl", 1, number) for number in (0x5412, 0x541C)] == [REFUSE] * 2
    for name in ("kill", "tgkill"):
        assert call(name, PID, 9) == ALLOW
        assert [call(name, other, 9) for other in (PID + 1, 1, 0, -1)] == [REFUSE] * 4


@machines
@given(number=st.integers(0, 600))
def test_all_else_is_allowed(machine, number):
    """A call that is in no table is let through."""
    if number not in MACHINES[machine].numbers.values():
        assert decide(machine, number, 1, 2, 3) == ALLOW


@machines
def test_other_architectures(machine):
    """A call by the numbers of another architecture ends the process."""
    assert decide(machine, 0, audit=0x40000003) == KILL


def test_x32():
    """The third set of numbers of x86_64 is refused."""
    assert decide("x86_64", 0x40000000 + 59) == REFUSE


def test_no_number_twice():
    """Two names of one machine have two numbers, so that no line of the table hides another."""
    for machine in MACHINES.values():
        assert len(set(machine.numbers.values())) == len(machine.numbers)
    assert program_for("riscv64", PID) is None


@machines
def test_bytes(machine):
    """An instruction is eight bytes; jumps fit, and the program is as long as the kernel takes."""
    program = program_for(machine, PID)
    assert len(encode(program)) == 8 * len(program) <= 8 * 4096
    assert all(found.if_true < 256 and found.if_false < 256 for found in program)
    assert encode(program[:1]) == b"\x20\x00\x00\x00\x04\x00\x00\x00"
    assert rules.EPERM == 1

"""Tests of the clock, the entropy and the standard streams."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine.virtual_os import (
    CLOCK_LIMIT_NS,
    CLOCK_READ_ADVANCE_NS,
    Clock,
    Entropy,
    StandardStreams,
)
from engine.support import stops

# --- clock ---


def test_reading_moves_time():
    """Each read is one microsecond later than the last; looking at the field is not a read."""
    clock = Clock(500)
    assert [clock.read(), clock.read(), clock.now_ns] == [1500, 2500, 2500]
    assert CLOCK_READ_ADVANCE_NS == 1000


def test_monotonic_counts_from_the_start():
    """The monotonic clock is the same clock, seen from its start."""
    clock = Clock(10**18)
    assert clock.monotonic() == 1000
    clock.advance(5)
    assert clock.monotonic() == 2005
    assert clock.now_ns == 10**18 + 2005


@given(st.lists(st.tuples(st.sampled_from(["sleep_until", "advance"]), st.integers())))
def test_time_never_goes_back(steps):
    """Whatever a guest asks for, time stays, or goes forward, and stays in its range."""
    clock = Clock(1000)
    for name, amount in steps:
        before = clock.now_ns
        getattr(clock, name)(amount)
        assert before <= clock.now_ns <= CLOCK_LIMIT_NS
        assert clock.read() >= before


def test_sleeping():
    """A sleep ends at its time exactly; one into the past is none; the end of time is the end."""
    clock = Clock(1000)
    clock.sleep_until(5000)
    assert clock.now_ns == 5000
    clock.sleep_until(4999)
    assert clock.now_ns == 5000
    clock.advance(1 << 70)
    assert (clock.now_ns, clock.read(), clock.monotonic()) == (
        CLOCK_LIMIT_NS,
        CLOCK_LIMIT_NS,
        CLOCK_LIMIT_NS - 1000,
    )


# --- entropy ---


def test_entropy_is_the_hash_that_it_says():
    """The bytes are SHAKE-256 of seed and counter (independent computation)."""
    entropy = Entropy(7)
    expected = [hashlib.shake_256(f"cloche entropy v1:7:{n}".encode()).digest(5) for n in (0, 1)]
    assert [entropy.take(5), entropy.take(5)] == expected


@given(st.integers(), st.lists(st.integers(0, 40), max_size=8), st.integers(0, 8))
def test_entropy_goes_on_where_it_was(seed, lengths, cut):
    """The same seed and requests give the same bytes, taken apart anywhere."""
    whole = Entropy(seed)
    taken = [whole.take(length) for length in lengths]
    first = Entropy(seed)
    head = [first.take(length) for length in lengths[:cut]]
    second = Entropy(first.seed, first.block_count)
    assert head + [second.take(length) for length in lengths[cut:]] == taken
    assert [len(piece) for piece in taken] == lengths


def test_entropy_differs():
    """Other seeds and later requests give other bytes."""
    entropy = Entropy(1)
    assert len({entropy.take(16), entropy.take(16), Entropy(2).take(16), Entropy(-1).take(16)}) == 4


# --- streams ---


def make_streams(stdin=b"", limit_bytes=10):
    """Return (streams, the pieces that the sink received)."""
    pieces = []
    return StandardStreams(
        stdin, lambda name, data: pieces.append((name, data)), limit_bytes
    ), pieces


@given(st.binary(max_size=30), st.lists(st.integers(0, 10), max_size=20))
def test_input_is_read_once_in_order(stdin, lengths):
    """Pieces follow each other and are never longer than asked for; at the end there is nothing."""
    streams, _ = make_streams(stdin)
    pieces = [streams.read(length) for length in lengths]
    assert b"".join(pieces) == stdin[: sum(lengths)]
    assert all(len(piece) <= length for piece, length in zip(pieces, lengths, strict=True))
    streams.read(100)
    assert streams.read(100) == b""


def test_output_is_handed_on_at_once():
    """Each write is one piece, as it came; nothing written is none."""
    streams, pieces = make_streams()
    streams.write("stdout", b"ab")
    streams.write("stderr", b"c")
    streams.write("stdout", b"")
    assert pieces == [("stdout", b"ab"), ("stderr", b"c")]
    assert streams.output_bytes == 3


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=6)), max_size=9)
)
def test_output_ends_at_its_limit(writes):
    """Both streams together give the first bytes up to the limit; the write beyond it stops."""
    streams, pieces = make_streams(limit_bytes=10)
    total = b"".join(data for _, data in writes)
    written = 0
    for name, data in writes:
        written += len(data)
        if written > 10:
            with stops("output", "the guest wrote more than 10 bytes of output"):
                streams.write(name, data)
            break
        streams.write(name, data)
    assert b"".join(data for _, data in pieces) == total[:10]
    assert streams.output_bytes == min(len(total), 10)


@pytest.mark.parametrize("again", [b"x", b"xyz"])
def test_after_the_limit_nothing_is_handed_on(again):
    """A guest that got on writing would be stopped again, and nothing of it be shown."""
    streams, pieces = make_streams(limit_bytes=2)
    for data in (b"abc", again):
        with stops("output"):
            streams.write("stdout", data)
    assert pieces == [("stdout", b"ab")]

"""Tests of numbers as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.limits import LimitQuantityError, format_quantity, parse_quantity

FACTORS = {
    "bytes": {
        "": 1,
        "B": 1,
        "kB": 10**3,
        "KiB": 2**10,
        "MB": 10**6,
        "MiB": 2**20,
        "GB": 10**9,
        "GiB": 2**30,
        "TB": 10**12,
        "TiB": 2**40,
    },
    "ms": {"": 1, "ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000},
    "count": {"": 1},
}


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("0", "count", 0),
        ("10_000", "count", 10_000),
        (" 42 ", "count", 42),
        ("-5", "ms", -5),
        ("256MiB", "bytes", 268_435_456),
        ("256 mib", "bytes", 268_435_456),
        ("256M", "bytes", 256_000_000),
        ("1.5GiB", "bytes", 1_610_612_736),
        ("64k", "bytes", 64_000),
        ("17 bytes", "bytes", 17),
        ("5s", "ms", 5000),
        ("0.001s", "ms", 1),
        ("1.5h", "ms", 5_400_000),
        ("2min", "ms", 120_000),
        ("7", "req/s", 7),
    ],
)
def test_what_is_read(text, unit, value):
    """Plain numbers, groups of digits, suffixes in any case, and fractions that come out whole."""
    assert parse_quantity(text, unit) == value


@given(
    unit=st.sampled_from(sorted(FACTORS)),
    numerator=st.integers(0, 10**12),
    digits=st.integers(0, 9),
    data=st.data(),
)
def test_reading_is_exact(unit, numerator, digits, data):
    """The result is the written number times the factor, or an error if that is not whole."""
    suffix = data.draw(st.sampled_from(sorted(FACTORS[unit])))
    text = str(numerator).zfill(digits + 1)
    text = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    exact = Fraction(numerator, 10**digits) * FACTORS[unit][suffix]
    if exact.denominator == 1:
        assert parse_quantity(text + suffix, unit) == exact
    else:
        with pytest.raises(LimitQuantityError):
            parse_quantity(text + suffix, unit)


@given(st.integers(0, 2**60), st.sampled_from(["bytes", "ms", "count"]))
def test_what_is_written_is_read_back(value, unit):
    """A text without `~` is the number exactly; with it, it is right to a tenth of its unit."""
    text = format_quantity(value, unit)
    if not text.startswith("~"):
        assert parse_quantity(text, unit) == value
        return
    number, suffix = text[1:].split()
    below = Fraction(number) * FACTORS[unit][suffix]
    assert below < value < below + Fraction(FACTORS[unit][suffix], 10)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "bytes", "0 B"),
        (1023, "bytes", "1023 B"),
        (1024, "bytes", "1 KiB"),
        (1536, "bytes", "1.5 KiB"),
        (1025, "bytes", "~1 KiB"),
        (256 << 20, "bytes", "256 MiB"),
        (1 << 40, "bytes", "1 TiB"),
        (0, "ms", "0 ms"),
        (999, "ms", "999 ms"),
        (5000, "ms", "5 s"),
        (600_000, "ms", "10 min"),
        (86_400_000, "ms", "24 h"),
        (10_000, "count", "10_000"),
        (200, "req/s", "200 req/s"),
        (10**6, "instructions", "1_000_000 instructions"),
    ],
)
def test_what_is_written(value, unit, text):
    """The largest unit that fits, at most one decimal, `~` if that is not all."""
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "x", "1x", "MiB", "1 2", "1__0", "_1", "1_", "1.", ".5", "+5", "--5", "1e3"),
        *("\u0661", "1\u00b5s", "1,000", "5 s s", "inf", "nan", "9" * 65, "1MiB\x00", "0x10"),
    ],
)
def test_what_is_no_number(text):
    """The error shows the text, what it must be, and where it stands."""
    with pytest.raises(LimitQuantityError) as caught:
        parse_quantity(text, "ms", "guests.timeout_ms", "x.toml")
    assert caught.value.message == (
        f"guests.timeout_ms is {text!r} (from x.toml); "
        "it must be a whole number of ms, or have a unit behind it: ms, s, min, h"
    )


def test_other_messages():
    """A count has no units; a fraction that is not whole is told; long text is cut."""
    with pytest.raises(LimitQuantityError) as caught:
        parse_quantity("5s", "count", "EXEC_MEMORY_LIMIT_MB")
    assert caught.value.message == "EXEC_MEMORY_LIMIT_MB is '5s'; it must be a whole number"
    with pytest.raises(LimitQuantityError) as caught:
        parse_quantity("0.0001s", "ms")
    assert caught.value.message == (
        "the value is '0.0001s', which is no whole number of ms; "
        "write it with fewer digits or in ms"
    )
    with pytest.raises(LimitQuantityError) as caught:
        parse_quantity("9" * 100_000, "count")
    assert len(caught.value.message) < 250

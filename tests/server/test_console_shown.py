"""How values look on a page of the console."""

from __future__ import annotations

import pytest

from cloche.server.console.shown import (
    cut,
    duration_text,
    size_text,
    time_attribute,
    time_text,
    took_text,
)


@pytest.mark.parametrize(
    ("duration_ms", "looks"),
    [(0.0, "0 ms"), (0.25, "0.25 ms"), (999, "999 ms"), (1500, "1.5 s"), (61_000, "1 min 1 s")],
)
def test_a_duration(duration_ms, looks):
    """A duration is in the unit that people would choose."""
    assert duration_text(duration_ms) == looks


def test_a_duration_in_whole_milliseconds():
    """What took less than a millisecond did not take none."""
    assert [took_text(each) for each in (0, 1, 1500, None)] == ["< 1 ms", "1 ms", "1.5 s", "–"]  # noqa: RUF001 - a dash for people


@pytest.mark.parametrize(
    ("time_ms", "looks", "attribute"),
    [
        (None, "never", ""),
        (0, "1970-01-01 00:00:00", "1970-01-01T00:00:00Z"),
        (10**15, "after the year 9999", ""),
        (10**30, "after the year 9999", ""),
    ],
)
def test_a_time(time_ms, looks, attribute):
    """A time is UTC to the second, and one that no calendar has breaks no page."""
    assert (time_text(time_ms), time_attribute(time_ms)) == (looks, attribute)


def test_a_size():
    """A size is in binary units."""
    sizes = [size_text(each) for each in (0, 1023, 1024, 3 << 30, None)]
    assert sizes == ["0 B", "1023 B", "1.0 KiB", "3.0 GiB", "–"]  # noqa: RUF001 - likewise


def test_a_text_that_is_cut():
    """What is cut says how much is missing."""
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "abc\n… 1 more characters")

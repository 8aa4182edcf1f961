"""Cron expressions: the next time, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.cron import parse_cron
from cloche.apps.storage.errors import CronError

MINUTE_NS = 60 * 10**9


def ns(text):
    """Return the nanoseconds of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01"),
        ("* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01"),
        ("*/15 * * * *", "2026-01-01 00:15", "2026-01-01 00:30"),
        ("5/20 * * * *", "2026-01-01 00:46", "2026-01-01 01:05"),
        ("0 9-17/4 * * *", "2026-01-01 13:30", "2026-01-01 17:00"),
        ("30 2 * * *", "2026-12-31 02:30", "2027-01-01 02:30"),
        ("0 0 31 * *", "2026-01-31 00:00", "2026-03-31 00:00"),
        ("0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
        ("0 0 * * mon", "2026-11-21 00:00", "2026-11-23 00:00"),
        ("0 0 * * 7", "2026-11-21 00:00", "2026-11-22 00:00"),
        ("0 0 * * 0", "2026-11-21 00:00", "2026-11-22 00:00"),
        ("0 0 * * fri-sun", "2026-11-22 00:00", "2026-11-27 00:00"),
        ("0 0 13 * fri", "2026-11-21 00:00", "2026-11-27 00:00"),
        ("0 0 13 * fri", "2026-12-11 00:00", "2026-12-13 00:00"),
        ("0 0 */2 * mon", "2026-11-21 00:00", "2026-11-23 00:00"),
        ("0 12 1 JAN,jul *", "2026-02-01 00:00", "2026-07-01 12:00"),
        ("@hourly", "2026-01-01 00:00", "2026-01-01 01:00"),
        ("@weekly", "2026-11-21 00:00", "2026-11-22 00:00"),
        ("@yearly", "2026-01-01 00:00", "2027-01-01 00:00"),
        ("  0   0 * *  *", "2026-01-01 00:00", "2026-01-02 00:00"),
        ("59 23 31 12 *", "1969-12-31 23:59", "1970-12-31 23:59"),
    ],
)
def test_the_next_time(cron, after, expected):
    """It is the first one after the given time, in UTC."""
    assert parse_cron(cron).next_ns(ns(after)) == ns(expected)


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-2 * * * *",
        "1,,2 * * * *",
        "a * * * *",
        "-1 * * * *",
        "1- * * * *",
        "1/ * * * *",
        "mon * * * *",
        "٣ * * * *",
        "100 * * * *",
        "@reboot",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "* " * 200,
    ],
)
def test_what_is_refused(cron):
    """An expression that means nothing, or no time, is no schedule."""
    with pytest.raises(CronError):
        parse_cron(cron)


def test_the_message_says_what_is_allowed():
    """It names the part, the field and its range."""
    with pytest.raises(CronError) as raised:
        parse_cron("* 24 * * *")
    assert raised.value.message == (
        "cron expression '* 24 * * *': '24' is no hour: 0 to 23, a-b, a,b, */n"
    )


def test_the_calendar_ends():
    """Beyond the last year there is no next time, and that is an error of ours."""
    with pytest.raises(CronError):
        parse_cron("@yearly").next_ns(ns("9999-06-01 00:00"))


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/7", "3-40/9", "59"]),
    st.sampled_from(["*", "0", "23", "1-5", "*/6"]),
    st.sampled_from(["*", "1", "31", "*/10"]),
    st.sampled_from(["*", "1", "2,12"]),
    st.sampled_from(["*", "0", "1-5", "7"]),
)


@given(FIELDS, st.integers(0, 4 * 10**9))
def test_no_time_in_between_fits(fields, after_s):
    """The next time fits, and whichever minute is tried before it does not."""
    cron = parse_cron(" ".join(fields))
    found = cron.next_ns(after_s * 10**9)
    assert found > after_s * 10**9
    assert found % MINUTE_NS == 0
    assert cron.next_ns(found - 1) == found
    middle = after_s + (found // 10**9 - after_s) // 2
    assert cron.next_ns(middle * 10**9) == found or middle * 10**9 == found
    day = datetime.fromtimestamp(found // 10**9, UTC)
    assert day - datetime.fromtimestamp(after_s, UTC) < timedelta(days=366 * 8)

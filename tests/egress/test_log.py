"""Records and their buffer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.log import PATH_LENGTH_MAX, LogBuffer, Record, shown_path


def record(number=0, **more):
    """Return a record."""
    return Record(
        at_ns=number,
        run_id="r",
        scope="run",
        outcome="allowed",
        method="GET",
        host="a.example.com",
        path="/",
        **more,
    )


def test_a_path_has_no_query_and_a_bound():
    """What could hold a key or grow without end is cut off."""
    assert shown_path("/a?key=hunter2") == "/a"
    assert len(shown_path("/" + "a" * 5000)) == PATH_LENGTH_MAX
    assert shown_path("/" + "a" * (PATH_LENGTH_MAX - 1)).endswith("a")


@pytest.mark.parametrize(
    ("more", "is_error"),
    [
        ({"status": 200}, False),
        ({"status": 404}, True),
        ({"code": "NET_BLOCKED"}, True),
        ({}, False),
    ],
)
def test_errors_are_stored_at_once(more, is_error):
    """Refusals, failures and error statuses do not wait."""
    assert LogBuffer(10).add(record(**more)) is is_error


@given(st.integers(1, 8), st.integers(0, 30))
def test_a_full_buffer_drops_the_oldest_and_counts(size, count):
    """The newest records are kept, and what is missing is known."""
    buffer = LogBuffer(size)
    for number in range(count):
        buffer.add(record(number))
    records, dropped = buffer.take()
    assert [entry.at_ns for entry in records] == list(range(max(0, count - size), count))
    assert dropped == max(0, count - size)
    assert buffer.take() == ([], 0)


def test_what_could_not_be_stored_comes_again():
    """Records are put back before newer ones; what does not fit is counted."""
    buffer = LogBuffer(3)
    for number in range(3):
        buffer.add(record(number))
    records, dropped = buffer.take()
    buffer.add(record(3))
    buffer.put_back(records, dropped + 1)
    records, dropped = buffer.take()
    assert [entry.at_ns for entry in records] == [1, 2, 3]
    assert dropped == 2


def test_a_full_buffer_asks_to_be_stored():
    """The record that fills the buffer says so."""
    buffer = LogBuffer(2)
    assert not buffer.add(record(status=200))
    assert buffer.add(record(status=200))

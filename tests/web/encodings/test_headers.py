"""What a table of headers answers, and what it refuses to hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable, encode_headers

from .formats import TABLES

LINES = (
    (b"x-test", b"one"),
    (b"set-cookie", b"a=1"),
    (b"accept", b"text/html"),
    (b"set-cookie", b"b=2"),
    (b"x-test", b"two"),
)
TABLE = HeaderTable(LINES)


def test_rows_are_sorted_and_stable():
    """Rows are sorted by name; lines of one name keep their order."""
    assert [value for _, value in TABLE.rows] == [b"text/html", b"a=1", b"b=2", b"one", b"two"]


def test_values_are_joined_except_cookies():
    """One value is all values joined; of set-cookie it is the first."""
    assert TABLE.get(b"X-Test") == b"one, two"
    assert TABLE.get(b"Set-Cookie") == b"a=1"
    assert TABLE.get(b"missing") is None
    assert TABLE.values(b"SET-COOKIE") == (b"a=1", b"b=2")


def test_canonical_form():
    """One row for each name, sorted, cookies apart."""
    assert TABLE.canonical().lines == (
        (b"accept", b"text/html"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-test", b"one, two"),
    )


@settings(deadline=None)
@given(TABLES)
def test_canonical_form_is_stable(table):
    """The canonical form of a canonical table is itself, and no name has two values but cookies."""
    canonical = table.canonical()
    assert canonical.canonical() == canonical
    names = [name for name, _ in canonical.lines if name != b"set-cookie"]
    assert names == sorted(set(names))
    assert {name for name, _ in table.lines} == {name for name, _ in canonical.lines}


@settings(deadline=None)
@given(TABLES)
def test_slices_point_at_the_values(table):
    """Slices of a name are its values inside the payload, and the payload ends the bytes."""
    assert encode_headers(table).endswith(table.payload)
    for name in {name for name, _ in table.lines}:
        slices = table.value_slices(name)
        found = tuple(slices.view(table.payload, i) for i in range(len(slices.slices)))
        assert found == table.values(name)
        assert table.value_slices(name.upper()) == slices


@pytest.mark.parametrize(
    "line",
    [
        (b"", b"a"),
        (b"Host", b"a"),
        (b"a b", b"a"),
        (b"a:", b"a"),
        (b"a\xff", b"a"),
        (b"a", b"x\r\ny: z"),
        (b"a", b"\n"),
        (b"a", b"x\x00"),
        (b"a", b"\x7f"),
        (b"a", b" x"),
        (b"a", b"x\t"),
    ],
)
def test_what_no_table_holds(line):
    """Names that are no lowercase token, values that could end a line or have space around them."""
    with pytest.raises(EncodeError, match="line 1"):
        HeaderTable(((b"a", b"b"), line))


def test_count_fits_its_field():
    """A table has at most 65,535 lines."""
    line = ((b"a", b""),)
    assert len(encode_headers(HeaderTable(line * 65_535))) == 8 + 17 * 65_535
    with pytest.raises(EncodeError) as caught:
        HeaderTable(line * 65_536)
    assert caught.value.name == "SPEC_ERR_HEADERS_LIMIT_EXCEEDED"

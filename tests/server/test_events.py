"""The output of a run: positions, order, text that comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.server.errors import InvalidFieldError
from cloche.server.events import START, Output, Position, parse_position


def joined(pieces):
    """Return the text of each stream."""
    return tuple(
        "".join(piece.text for piece in pieces if piece.stream == stream)
        for stream in ("stdout", "stderr")
    )


def test_order():
    """What the streams say comes in the order in which it was written."""
    output = Output()
    output.write("stdout", b"a")
    output.write("stdout", b"b")
    output.write("stderr", b"c")
    output.write("stdout", b"d")
    found = [(piece.stream, piece.text, str(piece.position)) for piece in output.read(START)]
    assert found == [
        ("stdout", "ab", "2-0"),
        ("stderr", "c", "2-1"),
        ("stdout", "d", "3-1"),
    ]


def test_a_character_in_two_pieces():
    """Half a character is held back until the rest comes, or the end."""
    output = Output()
    output.write("stdout", b"\xc3")
    assert output.read(START) == []
    output.write("stdout", b"\xa9\xf0\x9f")
    assert joined(output.read(START)) == ("é", "")
    output.end()
    assert joined(output.read(START)) == ("é\ufffd", "")


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(max_size=9)), max_size=9),
    st.integers(1, 9),
)
def test_read_in_parts(written, limit_bytes):
    """In parts it is the same, each part no larger than asked for, but for one character's end."""
    output = Output()
    for stream, text in written:
        output.write(stream, text.encode("utf-8", "replace"))
    found, position = [], START
    while pieces := output.read(position, limit_bytes):
        assert sum(len(piece.text.encode()) for piece in pieces) <= limit_bytes + 3
        found += pieces
        position = pieces[-1].position
    assert joined(found) == joined(output.read(START))
    assert [piece.stream for piece in found if piece.text] != [] or not any(
        text for _, text in written
    )


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=5)), max_size=20)
)
def test_who_comes_back_misses_nothing(written):
    """From every position that was given out, the rest is what a decoder makes of all bytes."""
    output = Output()
    for stream, data in written:
        output.write(stream, data)
    output.end()
    whole = tuple(
        b"".join(data for stream, data in written if stream == name).decode("utf-8", "replace")
        for name in ("stdout", "stderr")
    )
    pieces = output.read(START)
    assert joined(pieces) == whole
    for count, piece in enumerate(pieces, 1):
        before, rest = joined(pieces[:count]), joined(output.read(piece.position))
        assert (before[0] + rest[0], before[1] + rest[1]) == whole


def test_many_changes_of_stream_lose_no_text(monkeypatch):
    """Beyond a bound the order between the streams is not kept, the text is."""
    monkeypatch.setattr("cloche.server.events._SWITCH_COUNT_MAX", 3)
    output = Output()
    for letter in b"abcdefgh":
        output.write("stderr" if letter % 2 else "stdout", bytes([letter]))
    assert joined(output.read(START)) == ("bdfh", "aceg")


def test_positions_as_text():
    """An id of an event is read back; the end is a position too; no id is the beginning."""
    assert parse_position("12-3") == Position(stdout=12, stderr=3)
    assert parse_position("end") == Position(ended=True)
    assert parse_position(None) == parse_position("") == START
    assert [str(parse_position(text)) for text in ("12-3", "end")] == ["12-3", "end"]


@pytest.mark.parametrize("text", ["1", "-1-0", "1-2-3", "a-b", "1-" + "9" * 16, " 1-2"])
def test_what_is_no_position(text):
    """Any other id is refused, not taken for the beginning."""
    with pytest.raises(InvalidFieldError) as caught:
        parse_position(text)
    expected = "Last-Event-ID: it is no id of an event of a run; leave it out"
    assert caught.value.message == expected

"""Laws that hold for every encoding of the web room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.encodings.codes import BY_NUMBER
from cloche.web.encodings.errors import DecodeError

from .formats import CASES, IDS


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_value_survives(case):
    """Decoding what was encoded gives the value back."""

    @settings(deadline=None)
    @given(case.values)
    def law(value):
        assert case.decode(case.encode(value)) == value

    law()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_bytes_survive_or_are_refused(case):
    """Any change of a blob is refused with a typed error, or is another blob in canonical form."""

    @settings(deadline=None)
    @given(case.values, st.data())
    def law(value, data):
        blob = bytearray(case.encode(value))
        for _ in range(data.draw(st.integers(1, 3))):
            index = data.draw(st.integers(0, len(blob)))
            blob[index : index + data.draw(st.integers(0, 2))] = data.draw(
                st.sampled_from([b"", b"\x00", b"\x01", b"a", b"A", b"\r", b"\xff", b"\x00\x00"])
            )
        expect_strict(case, bytes(blob))

    law()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_noise_is_refused(case):
    """Arbitrary bytes, with and without the right beginning, never break the decoder."""

    @settings(deadline=None)
    @given(case.values, st.binary(max_size=60), st.integers(0, 12))
    def law(value, noise, kept):
        expect_strict(case, noise)
        expect_strict(case, case.encode(value)[:kept] + noise)

    law()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_prefix_and_every_tail_is_refused(case):
    """A blob has one length: shorter or longer is an error, never another value."""

    @settings(deadline=None)
    @given(case.values, st.binary(min_size=1, max_size=3))
    def law(value, tail):
        blob = case.encode(value)
        for cut in range(len(blob)):
            with pytest.raises(DecodeError):
                case.decode(blob[:cut])
        with pytest.raises(DecodeError):
            case.decode(blob + tail)

    law()


def expect_strict(case, blob):
    """Decode; what is accepted must encode to the same bytes, what is not must have a number."""
    try:
        value = case.decode(blob)
    except DecodeError as error:
        found = error
    else:
        assert case.encode(value) == blob
        return
    assert BY_NUMBER[found.number].name == found.name
    assert 0 <= found.offset <= len(blob)

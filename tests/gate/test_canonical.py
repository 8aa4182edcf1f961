"""Tests of the canonical JSON text."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.canonical import decode, digest, encode_canonical, encode_plain
from cloche.gate.errors import ValueInvalidError

texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**2000), 2**2000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20
)


def same(left, right):
    """Return whether two values are equal, their types and the signs of zeros included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) and left == right
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


@given(values)
def test_round_trip(value):
    """Decoding gives the value back, with its number types and signs of zeros."""
    assert same(decode(encode_canonical(value)), value)
    assert same(decode(encode_plain(value)), value)


@given(values)
def test_one_spelling(value):
    """The text is what the standard library writes with sorted keys, whichever encoder ran."""
    expected = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    assert encode_canonical(value) == expected.encode()


@given(values)
def test_plain_keeps_order(value):
    """The plain form is what the standard library writes with keys in their own order."""
    expected = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    assert encode_plain(value) == expected.encode()


@given(values)
def test_canonical_text_is_a_fixed_point(value):
    """Encoding what was decoded gives the same text."""
    text = encode_canonical(value)
    assert encode_canonical(decode(text)) == text


@given(st.dictionaries(texts, leaves, min_size=2))
def test_order_of_keys_is_no_difference(value):
    """Two dicts that differ in the order of their keys have one canonical text."""
    assert encode_canonical(dict(reversed(value.items()))) == encode_canonical(value)


@given(values, st.integers(-3, 3))
def test_size_limit_is_exact(value, slack_bytes):
    """A text passes if and only if it fits the limit."""
    size_bytes = len(encode_canonical(value))
    limit_bytes = size_bytes + slack_bytes
    if size_bytes <= limit_bytes:
        assert len(encode_canonical(value, limit_bytes=limit_bytes)) == size_bytes
    else:
        with pytest.raises(ValueInvalidError) as caught:
            encode_canonical(value, limit_bytes=limit_bytes)
        assert caught.value.fields["reason"] == "size"


def test_integers_and_floats_stay_different():
    """1, 1.0 and true have three texts; so have 0.0 and -0.0."""
    assert encode_canonical([1, 1.0, True, 0.0, -0.0]) == b"[1,1.0,true,0.0,-0.0]"
    assert encode_canonical([1e16, 1e-7, 5e-324]) == b"[1e+16,1e-07,5e-324]"


def test_tuple_is_a_list():
    """A tuple gives the text of a list."""
    assert encode_canonical((1, (2,))) == b"[1,[2]]"


def test_digest_is_sha256():
    """The digest is SHA-256 of the text (a known value)."""
    assert digest(b"{}") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


class TextSubclass(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "value at $ is nan, which JSON cannot hold"),
        ({"a": [1, -math.inf]}, "value at $['a'][1] is -inf, which JSON cannot hold"),
        ([b"x"], "value at $[0] has type bytes, which is not plain JSON"),
        ({"a": {1: 2}}, "value at $['a'][1] has a key of type int"),
        ({1, 2}, "value at $ has type set, which is not plain JSON"),
        ([TextSubclass("x")], "value at $[0] has type TextSubclass, which is not plain JSON"),
        ([2**20_000], "value at $[0] is an integer of more than 14000 bits"),
        (["\ud800"], "value at $ holds half of a surrogate pair"),
        ([1.5, "\udfff"], "value at $ holds half of a surrogate pair"),
        ({"\ud800": 1}, "value at $ holds half of a surrogate pair"),
    ],
)
@pytest.mark.parametrize("encode", [encode_canonical, encode_plain])
def test_what_is_not_json_is_refused(encode, value, message):
    """Everything that is not plain JSON is an error that names the place."""
    with pytest.raises(ValueInvalidError) as caught:
        encode(value)
    assert caught.value.message == message


def nested(depth):
    """Return a list nested this deep; 1 is an empty list."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_limit_is_exact():
    """A value of exactly the depth passes, one deeper does not."""
    assert encode_canonical(nested(8), depth_max=8) == b"[" * 8 + b"]" * 8
    with pytest.raises(ValueInvalidError) as caught:
        encode_canonical(nested(9), depth_max=8)
    assert caught.value.message == "value at $" + "[0]" * 8 + " is nested too deep"


def test_cycle_is_too_deep():
    """A value that holds itself ends as too deep."""
    value = []
    value.append(value)
    with pytest.raises(ValueInvalidError, match="nested too deep"):
        encode_canonical(value)


def test_shared_parts_do_not_explode():
    """A value of 2^60 shared leaves is refused by its size before anything is built."""
    value = ["x"]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(ValueInvalidError) as caught:
        encode_canonical(value, limit_bytes=10_000, depth_max=64)
    assert caught.value.fields["reason"] == "size"


@pytest.mark.parametrize("part", ["x" * 10_000_000, {"x" * 10_000_000: 1}])
def test_shared_text_does_not_explode(part):
    """A text that stands 100 000 times in a list is refused before it is copied even once."""
    value = [part] * 100_000
    with pytest.raises(ValueInvalidError) as caught:
        encode_canonical(value, limit_bytes=1_000_000)
    assert caught.value.fields["reason"] == "size"


def test_escapes_count():
    """What a character needs as an escape counts against the limit."""
    assert encode_canonical("\n\x01", limit_bytes=10) == b'"\\n\\u0001"'
    with pytest.raises(ValueInvalidError, match="makes the text longer than 9 bytes"):
        encode_canonical("\n\x01", limit_bytes=9)

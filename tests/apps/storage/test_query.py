"""Queries: what each operator means, what is refused, and that an index loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.storage.errors import OperatorUnknownError, QueryError
from cloche.apps.storage.query import MISSING, parse_query, value_at
from cloche.apps.storage.values import index_key, is_equal, order_key

DOC = {
    "id": "d1",
    "n": 5,
    "f": 5.0,
    "s": "hello",
    "yes": True,
    "nil": None,
    "tags": ["a", "b", {"k": 1}],
    "in": {"deep": {"er": 7}},
}

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
SCALARS = SCALARS | st.text(max_size=200)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def parse(query, depth_max=8, operator_count_max=100):
    """Return a query with the usual limits."""
    return parse_query(query, depth_max=depth_max, operator_count_max=operator_count_max)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, True),
        ("d1", True),
        ("d2", False),
        ({"n": 5}, True),
        ({"n": 5.0}, True),
        ({"n": "5"}, False),
        ({"yes": True}, True),
        ({"yes": 1}, False),
        ({"n": {"$eq": 5}}, True),
        ({"n": {"$ne": 5}}, False),
        ({"gone": {"$ne": 5}}, True),
        ({"gone": None}, False),
        ({"nil": None}, True),
        ({"n": {"$gt": 4, "$lt": 6}}, True),
        ({"n": {"$gt": 5}}, False),
        ({"n": {"$gte": 5, "$lte": 5}}, True),
        ({"n": {"$gt": "4"}}, False),
        ({"yes": {"$gt": 0}}, False),
        ({"s": {"$gt": "hell"}}, True),
        ({"s": {"$lt": 9}}, False),
        ({"gone": {"$lt": 9}}, False),
        ({"n": {"$in": [1, 5]}}, True),
        ({"yes": {"$in": [1]}}, False),
        ({"n": {"$nin": [1, 5]}}, False),
        ({"gone": {"$nin": [1]}}, True),
        ({"gone": {"$in": [None]}}, False),
        ({"tags": {"$contains": "a"}}, True),
        ({"tags": {"$contains": {"k": 1}}}, True),
        ({"tags": {"$contains": {"k": 2}}}, False),
        ({"s": {"$contains": "ell"}}, True),
        ({"s": {"$contains": 1}}, False),
        ({"n": {"$contains": 5}}, False),
        ({"n": {"$exists": True}}, True),
        ({"nil": {"$exists": True}}, True),
        ({"gone": {"$exists": False}}, True),
        ({"in.deep.er": 7}, True),
        ({"in.deep": {"er": 7}}, True),
        ({"in.deep": {"er": 8}}, False),
        ({"tags.1": "b"}, True),
        ({"tags.2.k": 1}, True),
        ({"tags.9": {"$exists": False}}, True),
        ({"tags.99999999999999999999": {"$exists": False}}, True),
        ({"s.0": {"$exists": False}}, True),
        ({"$and": [{"n": 5}, {"s": "hello"}]}, True),
        ({"$or": [{"n": 6}, {"s": "hello"}]}, True),
        ({"$or": [{"n": 6}, {"s": "no"}]}, False),
        ({"$not": {"n": 6}}, True),
        ({"n": {"$not": {"$gt": 4}}}, False),
        ({"gone": {"$not": {"$gt": 4}}}, True),
        ({"n": 5, "s": "no"}, False),
        ({"in": {}}, False),
    ],
)
def test_what_matches(query, expected):
    """Each operator is true for what its row says."""
    assert parse(query).matches(DOC) is expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (5, "query at query: a query is an object"),
        ({"n": {"$gt": None}}, "query at query.n.$gt: compares with a number or a text"),
        ({"n": {"$gt": True}}, "query at query.n.$gt: compares with a number or a text"),
        ({"n": {"$in": 5}}, "query at query.n.$in: $in takes a list"),
        ({"n": {"$exists": 1}}, "query at query.n.$exists: $exists takes true or false"),
        ({"n": {"$gt": 1, "x": 2}}, "query at query.n: operators and fields stand in one object"),
        ({"$or": []}, "query at query.$or: $or takes a list of queries"),
        ({"$or": {}}, "query at query.$or: $or takes a list of queries"),
        ({"$and": [5]}, "query at query.$and.0: a query is an object"),
        ({"$gt": 5}, "query at query.$gt: $gt stands behind the name of a field"),
        ({"n": {"$or": []}}, "query at query.n.$or: $or stands beside fields, not behind one"),
        ({"n": {"$not": 5}}, "query at query.n.$not: $not takes an object of operators"),
    ],
)
def test_what_means_nothing(query, message):
    """The error says where and why."""
    with pytest.raises(QueryError) as raised:
        parse(query)
    assert raised.value.message == message


@pytest.mark.parametrize("query", [{"$where": "x"}, {"n": {"$regex": ".*"}}, {"$or": [{"$x": 1}]}])
def test_unknown_operators(query):
    """What does not exist is not ignored."""
    with pytest.raises(OperatorUnknownError) as raised:
        parse(query)
    assert raised.value.known.startswith("$eq $ne $gt")


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "a.", "x" * 257, ".".join("x" * 17)])
def test_names_that_are_no_fields(name):
    """A field has names between dots."""
    with pytest.raises(QueryError):
        parse({name: 1})


def test_depth_and_size_are_bounded():
    """What is too deep or too much is refused before anything is compared."""
    query = {"n": 1}
    for _ in range(8):
        query = {"$not": query}
    parse(query)
    with pytest.raises(QueryError, match=r"deeper than apps\.query_depth_max = 8"):
        parse({"$not": query})
    deep = {"$gt": 1}
    for _ in range(5000):
        deep = {"$not": deep}
    with pytest.raises(QueryError, match="deeper"):
        parse({"n": deep})
    parse({"n": {"$in": list(range(98))}})
    with pytest.raises(QueryError, match="more conditions than"):
        parse({"n": {"$in": list(range(99))}})


@pytest.mark.parametrize(
    ("query", "ids", "fields"),
    [
        ({"id": "a"}, ("a",), ["id"]),
        ({"id": {"$in": ["a", "b", "a", 1]}}, ("a", "b"), []),
        ({"id": 5}, (), ["id"]),
        ({"$or": [{"id": "a"}]}, None, []),
        ({"$and": [{"id": "a"}, {"n": {"$gt": 1}}]}, ("a",), ["id", "n"]),
        ({"n": {"$gt": 1}, "s": "x"}, None, ["s", "n"]),
        ({"n": {"$ne": 1}}, None, []),
        ({"n": {"k": 1}}, None, []),
    ],
)
def test_what_an_index_may_be_asked(query, ids, fields):
    """Only what every match must fulfil narrows the search, the most useful first."""
    found = parse(query)
    assert found.ids == ids
    assert [found.field for found in found.ranges] == fields


@given(SCALARS, SCALARS)
def test_keys_of_indexes_are_ordered_as_values(one, other):
    """A lesser value never has a greater key, and equal values have equal ones."""
    if order_key(one) < order_key(other):
        assert index_key(one) <= index_key(other)
    if is_equal(one, other):
        assert index_key(one) == index_key(other)


@given(st.sampled_from("$eq $gt $gte $lt $lte".split()), SCALARS, SCALARS)
def test_a_range_holds_every_match(operator, operand, value):
    """What matches is between the ends of the range that an index is asked."""
    try:
        query = parse({"v": {operator: operand}})
    except QueryError:
        return
    if query.matches({"v": value}):
        (found,) = query.ranges
        key = index_key(value)
        assert (found.low or b"") <= key
        assert found.high is None or key <= found.high


@given(VALUES, VALUES)
def test_equality(one, other):
    """A value is equal to itself, and equality goes both ways."""
    assert is_equal(one, one)
    assert is_equal(one, other) == is_equal(other, one)


@given(VALUES, st.lists(st.sampled_from(["a", "0", "1", "b"]), min_size=1, max_size=4))
def test_a_path_leads_somewhere_or_nowhere(document, parts):
    """No document and no path make an error, and nothing is found beyond what has no fields."""
    value_at({"a": document}, tuple(parts))
    assert value_at(5, tuple(parts)) is MISSING
    assert value_at({"a": 5}, ("a", *parts)) is MISSING

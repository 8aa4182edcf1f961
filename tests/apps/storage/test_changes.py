"""Changes of documents: what each operator does, what is refused, and that nothing is half done."""

from __future__ import annotations

import copy

import pytest

from cloche.apps.storage.changes import parse_changes
from cloche.apps.storage.errors import ChangeError, OperatorUnknownError

DOC = {"n": 5, "s": "x", "list": [1, 2, 1], "in": {"a": 1}, "rows": [{"k": 1}]}


def change(changes, doc=DOC):
    """Return the document with these changes."""
    return parse_changes(changes, operator_count_max=10).apply(doc)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n": 6}, {"n": 6}),
        ({"new": {"k": []}}, {"new": {"k": []}}),
        ({"$set": {"in.b": 2, "s": None}}, {"in": {"a": 1, "b": 2}, "s": None}),
        ({"$set": {"made.here.now": 1}}, {"made": {"here": {"now": 1}}}),
        ({"$set": {"list.1": 9}}, {"list": [1, 9, 1]}),
        ({"$set": {"list.3": 9}}, {"list": [1, 2, 1, 9]}),
        ({"$set": {"rows.0.k": 2}}, {"rows": [{"k": 2}]}),
        ({"$inc": {"n": 2, "count": 1, "in.a": -1}}, {"n": 7, "count": 1, "in": {"a": 0}}),
        ({"$inc": {"n": 0.5}}, {"n": 5.5}),
        ({"$push": {"list": 3, "fresh": {"x": 1}}}, {"list": [1, 2, 1, 3], "fresh": [{"x": 1}]}),
        ({"$push": {"list": {"$each": [3, [4]]}}}, {"list": [1, 2, 1, 3, [4]]}),
        ({"$pull": {"list": 1}}, {"list": [2]}),
        ({"$pull": {"rows": {"k": 1}}}, {"rows": []}),
        ({"$pull": {"gone.far": 1}}, {}),
        ({"$pull": {"in.gone": 1}}, {}),
        ({"$pull": {"s.x": 1}}, {}),
    ],
)
def test_what_is_changed(changes, expected):
    """The new document has what the operator says; the old one is as it was."""
    before = copy.deepcopy(DOC)
    assert change(changes) == {**DOC, **expected}
    assert before == DOC


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"$unset": {"n": True, "gone": 1}}, "n"),
        ({"$unset": ["n"]}, "n"),
        ({"$unset": {"s.x": 1, "list.0": 1, "gone.x": 1, "rows.9.k": 1, "n": 1}}, "n"),
    ],
)
def test_what_is_removed(changes, gone):
    """A field that is there goes; what is not there, or in a list, stays as it is."""
    assert change(changes) == {name: value for name, value in DOC.items() if name != gone}
    assert change({"$unset": {"in.a": 1, "rows.0.k": 1}}) == {**DOC, "in": {}, "rows": [{}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "change at changes: changes are an object that is not empty"),
        (5, "change at changes: changes are an object that is not empty"),
        ({"$set": 5}, "change at $set: takes an object of fields"),
        ({"$set": {}, "n": 1}, "change at changes: operators and fields stand in one object"),
        ({"id": "x"}, "change at $set.id: id is given by the host"),
        (
            {"$inc": {"_created_at_ms": 1}},
            "change at $inc._created_at_ms: _created_at_ms is given by the host",
        ),
        ({"$unset": ["id"]}, "change at $unset.id: id is given by the host"),
        ({"$unset": [5]}, "change at $unset: takes names of fields"),
        ({"$inc": {"n": "1"}}, "change at $inc.n: adds a number"),
        ({"$inc": {"n": True}}, "change at $inc.n: adds a number"),
        ({"$inc": {"s": 1}}, "change at $inc.s: the field is no number"),
        ({"$inc": {"n": 2**63}}, "change at $inc.n: the sum is too large"),
        ({"$push": {"n": 1}}, "change at $push.n: the field is no list"),
        ({"$pull": {"n": 1}}, "change at $pull.n: the field is no list"),
        ({"$push": {"n": {"$each": 1}}}, "change at $push.n: $each takes a list, and stands alone"),
        ({"$set": {"s.x": 1}}, "change at $set.s.x: is in nothing that has fields"),
        ({"$set": {"s.x.y": 1}}, "change at $set.s.x.y: 'x' is in nothing that has fields"),
        ({"$set": {"list.9": 1}}, "change at $set.list.9: is in nothing that has fields"),
        ({"$set": {"a": 1, "a.b": 2}}, "change at $set.a.b: another change is of the same field"),
        (
            {"$set": {"a": 1}, "$inc": {"a": 2}},
            "change at $set.a: another change is of the same field",
        ),
        (
            {"$set": {"x.$y": 1}},
            "change at $set.x.$y: the name of a field does not begin with $",
        ),
        (
            {f"f{index}": 1 for index in range(11)},
            "change at changes: more fields than apps.query_operator_count_max = 10",
        ),
    ],
)
def test_what_is_refused(changes, message):
    """The error says where and why; no part was changed."""
    before = copy.deepcopy(DOC)
    with pytest.raises(ChangeError) as raised:
        change(changes)
    assert raised.value.message == message
    assert before == DOC


def test_unknown_operators():
    """What does not exist is not ignored."""
    with pytest.raises(OperatorUnknownError) as raised:
        change({"$rename": {"a": "b"}})
    assert raised.value.known == "$inc $pull $push $set $unset"


def test_a_failed_change_changes_nothing():
    """The first change of several is not kept when the second cannot be made."""
    doc = {"a": 1, "b": "x"}
    with pytest.raises(ChangeError):
        change({"$inc": {"a": 1, "b": 1}}, doc)
    assert doc == {"a": 1, "b": "x"}


def test_what_is_set_is_a_copy():
    """Documents that were changed alike share nothing."""
    value = []
    parsed = parse_changes({"list": value}, operator_count_max=10)
    one, other = parsed.apply({}), parsed.apply({})
    one["list"].append(1)
    assert other == {"list": []}

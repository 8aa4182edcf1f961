"""RFC 6902 as the checker uses it."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.arch.errors import PatchFailedError
from cloche.arch.jsonpatch import (
    Operation,
    Patch,
    append_to,
    apply_operations,
    combine,
    parse_pointer,
    remove_item,
    to_pointer,
)

DOCUMENT = {"a": [1, 2, 3], "b/c": {"~": "x"}, "t": True, "n": None}


def apply(op: str, path: str, value: object = None, document: object = DOCUMENT) -> object:
    """Apply one operation."""
    return apply_operations(document, [Operation(op=op, path=path, value=value)])


@pytest.mark.parametrize(
    ("op", "path", "value", "expected"),
    [
        ("add", "/a/0", 0, [0, 1, 2, 3]),
        ("add", "/a/3", 4, [1, 2, 3, 4]),
        ("add", "/a/-", 4, [1, 2, 3, 4]),
        ("replace", "/a/1", 9, [1, 9, 3]),
        ("remove", "/a/1", None, [1, 3]),
        ("test", "/a", [1, 2.0, 3], [1, 2, 3]),
    ],
)
def test_array_operations(op, path, value, expected):
    """Each operation on an array does what RFC 6902 says."""
    assert apply(op, path, value)["a"] == expected


def test_object_operations():
    """Members are added, replaced and removed, with escaped names."""
    assert apply("add", "/new", 1)["new"] == 1
    assert apply("add", "/t", 1)["t"] == 1
    assert apply("replace", "/b~1c/~0", "y")["b/c"] == {"~": "y"}
    assert "t" not in apply("remove", "/t")
    assert apply("test", "/n", None) == DOCUMENT


def test_the_whole_document_can_be_added_or_replaced():
    """The empty pointer is the document itself, also where there was none."""
    assert apply("add", "", {"x": 1}) == {"x": 1}
    assert apply("replace", "", [1]) == [1]
    assert apply("add", "", {"x": 1}, document=None) == {"x": 1}


@pytest.mark.parametrize(
    ("op", "path", "value", "reason"),
    [
        ("test", "/a/0", True, "found 1, expected True"),
        ("test", "/t", 1, "found True, expected 1"),
        ("test", "/a", [1, 2], "found [1, 2, 3], expected [1, 2]"),
        ("test", "/b~1c", {"~": "y"}, "found {'~': 'x'}, expected {'~': 'y'}"),
        ("remove", "/gone", None, "there is nothing at 'gone'"),
        ("remove", "/a/3", None, "there is nothing at '3'"),
        ("remove", "/a/-", None, "there is nothing at '-'"),
        ("remove", "", None, "the whole document cannot be removed"),
        ("replace", "/gone", 1, "there is nothing at 'gone'"),
        ("replace", "/a/01", 1, "there is nothing at '01'"),
        ("add", "/a/4", 1, "nothing can be added at '4'"),
        ("add", "/a/x", 1, "nothing can be added at 'x'"),
        ("add", "/t/x", 1, "nothing can be added at 'x'"),
        ("add", "/gone/x", 1, "there is nothing at 'gone'"),
        ("move", "/a", 1, "unknown operation; use add, replace, remove or test"),
        ("add", "a", 1, "it must start with /"),
    ],
)
def test_an_operation_that_does_not_fit_is_refused(op, path, value, reason):
    """The error names operation and pointer, and the document stays as it was."""
    before = copy.deepcopy(DOCUMENT)
    with pytest.raises(PatchFailedError) as caught:
        apply(op, path, value)
    assert caught.value.reason == reason
    assert before == DOCUMENT


def test_the_document_given_is_never_changed():
    """The result shares nothing with the document or with the value of an operation."""
    value = {"deep": []}
    result = apply("add", "/v", value)
    result["v"]["deep"].append(1)
    result["a"].append(4)
    assert value == {"deep": []}
    assert DOCUMENT["a"] == [1, 2, 3]


@given(st.lists(st.text(), max_size=4))
def test_a_pointer_keeps_its_parts(parts):
    """Escaping and parsing are inverse."""
    assert list(parse_pointer(to_pointer(*parts))) == parts


@given(st.data())
def test_combined_removals_do_not_disturb_each_other(data):
    """Whatever items are removed together, exactly the others are left."""
    matrix = data.draw(st.lists(st.lists(st.integers(), max_size=12), max_size=12))
    places = [(row, column) for row in range(len(matrix)) for column in range(len(matrix[row]))]
    chosen = data.draw(st.sets(st.sampled_from(places)) if places else st.just(set()))
    rows = data.draw(st.sets(st.sampled_from(range(len(matrix))))) if matrix else set()
    patches = [remove_item("d", *place, value=matrix[place[0]][place[1]]) for place in chosen]
    patches += [Patch(document="d", operations=(Operation(op="remove", path=f"/{row}"),))
                for row in rows]  # fmt: skip
    patches += [append_to("d", value=["end"])]
    result = apply_operations(matrix, combine(patches)[0].operations)
    expected = [
        [value for column, value in enumerate(values) if (row, column) not in chosen]
        for row, values in enumerate(matrix)
        if row not in rows
    ]
    assert result == [*expected, ["end"]]


def test_patches_combine_once_and_by_document():
    """The same patch from two findings is applied once; documents come in order."""
    patches = [append_to("z", "x", value=1), append_to("a", value=2), append_to("z", "x", value=1)]
    assert [(patch.document, len(patch.operations)) for patch in combine(patches)] == [
        ("a", 1),
        ("z", 1),
    ]


def test_the_wire_form_is_rfc_6902():
    """`remove` has no value; the others have one, even null."""
    assert Operation(op="remove", path="/a").to_document() == {"op": "remove", "path": "/a"}
    assert Operation(op="test", path="/a").to_document() == {
        "op": "test",
        "path": "/a",
        "value": None,
    }

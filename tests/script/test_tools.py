"""Tests of tools: how functions become them, what they accept, and how they are found."""

from __future__ import annotations

import datetime as dt
import enum
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.limits import Limits
from cloche.script.errors import ToolDeclarationError, ToolNotFoundError, ToolValidationError
from cloche.script.tools import ToolContext, ToolSet, tool

LIMITS = Limits()


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 0


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


@tool(namespace="shop", secret_args=["key"], timeout_ms=5)
def buy(  # noqa: D417 - not every argument needs a word
    item: str, count: int = 1, *, key: str = "", tags: list[str] | None = None
) -> float:
    """Buy some things.

    They come by mail.

    Args:
        item: what to buy,
            by its name.
        count (int): how many.

    Returns:
        the price
    """
    return float(len(item) * count)


@tool(read_only=True)
async def now() -> dt.datetime:
    """Tell the time."""
    return dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


@tool
def paint(point: Point, color: Color = Color.RED, mode: Literal["fill", "line"] = "fill") -> Point:
    """Paint."""
    return point


def test_what_a_function_says_of_itself():
    """Name, docstring and hints become name, description and schemas."""
    assert (buy.name, buy.summary) == ("shop.buy", "Buy some things.")
    assert buy.describe() == {
        "name": "shop.buy",
        "description": "Buy some things.\n\nThey come by mail.\n\nReturns:\n    the price",
        "parameters": {
            "type": "object",
            "properties": {
                "item": {"type": "string", "description": "what to buy, by its name."},
                "count": {"type": "integer", "description": "how many.", "default": 1},
                "key": {"type": "string", "default": ""},
                "tags": {
                    "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}],
                    "default": None,
                },
            },
            "required": ["item"],
            "additionalProperties": False,
        },
        "returns": {"type": "number"},
        "read_only": False,
    }
    assert (buy.secret_args, buy.timeout_ms) == (frozenset({"key"}), 5)
    assert buy("ab", 2) == 4.0


def test_types_of_its_own_are_part_of_the_schema():
    """What is named stands under `$defs`."""
    schema = paint.signature.parameters
    assert schema["properties"]["point"] == {"$ref": "#/$defs/Point"}
    assert schema["$defs"]["Point"]["properties"]["x"] == {"type": "integer"}
    assert schema["$defs"]["Color"] == {"enum": ["blue", "red"]}
    assert paint.signature.returns["properties"]["y"] == {"type": "integer", "default": 0}


def test_a_type_that_holds_itself():
    """The schema refers to it."""

    @tool
    def walk(node: Node) -> Node:
        """Walk."""
        return node

    assert walk.signature.returns["$ref"] == "#/$defs/Node"
    assert walk.check_args({"node": {"name": "a", "children": [{"name": "b"}]}}, limits=LIMITS)


@pytest.mark.parametrize(
    ("args", "bound"),
    [
        ({"item": "a"}, {"item": "a", "count": 1, "key": "", "tags": None}),
        (["a", 2], {"item": "a", "count": 2, "key": "", "tags": None}),
        ("a", {"item": "a", "count": 1, "key": "", "tags": None}),
        ({"item": "a", "tags": ["x"]}, {"item": "a", "count": 1, "key": "", "tags": ["x"]}),
    ],
)
def test_arguments_are_bound_by_name(args, bound):
    """As an object, a list or one value; defaults are filled in."""
    assert buy.check_args(args, limits=LIMITS) == bound


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (None, "Object missing required field `item`"),
        ({"item": 1}, "Expected `str`, got `int` - at `$.item`"),
        ({"item": "a", "cuont": 1}, "Object contains unknown field `cuont`"),
        (["a", 1, "b", None, 5], "5 arguments, at most 4 are taken"),
        ({"item": "a", "count": 1.5}, "Expected `int`, got `float` - at `$.count`"),
        ({"item": "a", "tags": ["a", 1]}, "Expected `str`, got `int` - at `$.tags[1]`"),
    ],
)
def test_arguments_that_do_not_fit(args, problem):
    """The error says where, and how to look up what is right."""
    with pytest.raises(ToolValidationError) as caught:
        buy.check_args(args, limits=LIMITS)
    assert caught.value.message == (
        f"the arguments of 'shop.buy' were not valid: {problem}. "
        "tools.describe('shop.buy') shows what is"
    )


def test_arguments_have_a_largest_size():
    """It is a limit of its own."""
    limits = LIMITS.replace({"scripts": {"args_limit_bytes": 64}})
    assert buy.check_args(["a" * 8], limits=limits)
    with pytest.raises(
        ToolValidationError, match=r"longer than 64 bytes \(scripts\.args_limit_bytes\)"
    ):
        buy.check_args(["a" * 60], limits=limits)


def test_the_function_gets_values_of_its_own_types():
    """Dates, enums and classes, made of plain JSON."""
    args = paint.check_args({"point": {"x": 1}, "color": "blue"}, limits=LIMITS)
    assert args == {"point": {"x": 1}, "color": "blue", "mode": "fill"}
    assert paint.signature.call_arguments(args) == {
        "point": Point(1, 0),
        "color": Color.BLUE,
        "mode": "fill",
    }


def test_a_result_becomes_plain_json():
    """Classes, dates and enums have one form."""
    assert paint.check_result(Point(1, 2), limits=LIMITS) == {"x": 1, "y": 2}
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert now.check_result(moment, limits=LIMITS) == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize("value", ["a", None, {"x": "1"}, object(), float("nan")])
def test_a_result_that_is_not_what_was_promised(value):
    """It reaches no guest."""
    with pytest.raises(ToolValidationError) as caught:
        paint.check_result(value, limits=LIMITS)
    assert caught.value.fields["subject"] == "result"


def test_a_result_has_a_largest_size():
    """Recorded values are never cut, so a tool must give less."""
    limits = LIMITS.replace({"scripts": {"result_limit_bytes": 64}})

    @tool
    def fill(count: int):
        """Fill."""

    assert fill.check_result("a" * 62, limits=limits) == "a" * 62
    with pytest.raises(ToolValidationError, match=r"64 bytes \(scripts\.result_limit_bytes\)"):
        fill.check_result("a" * 63, limits=limits)
    with pytest.raises(ToolValidationError, match="which JSON cannot hold"):
        fill.check_result(float("nan"), limits=limits)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_plain_json_passes_unchanged(value):
    """Whatever a tool without hints takes or gives is not altered."""

    @tool
    def echo(value: Any) -> Any:
        """Say it again."""

    assert echo.check_args({"value": value}, limits=LIMITS) == {"value": value}
    assert echo.check_result(value, limits=LIMITS) == value


@given(JSON)
def test_checking_twice_is_checking_once(value):
    """Bound arguments are valid arguments."""
    try:
        bound = paint.check_args({"point": value}, limits=LIMITS)
    except ToolValidationError:
        return
    assert paint.check_args(bound, limits=LIMITS) == bound


def test_a_tool_may_learn_of_its_call():
    """The context is no argument of the guest."""

    @tool
    def wait(seconds: int, context: ToolContext) -> None:
        """Wait."""

    assert wait.context_name == "context"
    assert list(wait.signature.parameters["properties"]) == ["seconds"]
    assert buy.context_name is None


def test_a_default_that_can_change_is_not_shared():
    """Each call gets its own."""

    @tool
    def add(to: Annotated[list[int], msgspec.Meta(description="d")] = [1]) -> Any:  # noqa: B006
        """Add."""

    first = add.signature.call_arguments({})
    first["to"].append(2)
    assert add.signature.call_arguments({}) == {"to": [1]}


def no_hint(a):
    """Have none."""


def many(*a: int):
    """Take many."""


def names(**a: int):
    """Take names."""


def positional(a: int, /):
    """Take a place."""


def private(_a: int):
    """Take something odd."""


def formless(a: object):
    """Take what has no form."""


def lost(a: Missing):  # noqa: F821
    """Take what is not there."""


def fine(a: int):
    """Be fine."""


@pytest.mark.parametrize(
    ("function", "options", "problem"),
    [
        (no_hint, {}, "no_hint: parameter 'a' has no type hint"),
        (many, {}, "many: parameter 'a' takes any number of arguments; name each of them"),
        (names, {}, "names: parameter 'a' takes any number of arguments; name each of them"),
        (positional, {}, "positional: parameter 'a' is positional-only; guests name arguments"),
        (private, {}, "private: parameter '_a' has a name that guests cannot write"),
        (formless, {}, "formless: no JSON form: "),
        (lost, {}, "lost: its hints cannot be read: "),
        (fine, {"name": "a b"}, "'a b': a name is made of words"),
        (fine, {"name": "a."}, "'a.': a name is made of words"),
        (fine, {"name": "then"}, "then: then has a meaning of its own"),
        (fine, {"namespace": "constructor"}, "constructor.fine: constructor has a meaning"),
        (fine, {"secret_args": ["b"]}, "fine: secret_args names b, which it does not take"),
        (fine, {"timeout_ms": 0}, "fine: timeout_ms is below 1"),
        (fine, {"ephemeral": True}, "fine: ephemeral, so it is called again"),
    ],
)
def test_what_cannot_be_a_tool(function, options, problem):
    """The error names the tool and what to change."""
    with pytest.raises(ToolDeclarationError) as caught:
        tool(**options)(function)
    assert caught.value.message.startswith(problem)


def test_a_set_has_its_tools_in_order():
    """Tools, functions, modules and sets may be put together."""
    module = types.ModuleType("m")
    module.paint, module.again, module._hidden, module.other = paint, paint, now, 5
    found = ToolSet(module, fine, ToolSet(buy), now)
    assert list(found) == ["fine", "now", "paint", "shop.buy"]
    assert found["paint"] is paint
    assert found.find("shop.buy") is buy
    assert len(ToolSet()) == 0


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ((fine, fine), "fine: there are two of this name"),
        ((buy, tool(name="shop")(fine)), "shop: it is a tool, and the namespace of shop.buy"),
        ((5,), "5: it is no tool, function or module"),
        (
            (*ToolSet(fine),),
            (
                "'fine': it is no tool, function or module; give a set of tools itself, "
                "not its names: ScriptHarness(tools)"
            ),
        ),
    ],
)
def test_what_cannot_be_a_set(members, problem):
    """Names are clear."""
    with pytest.raises(ToolDeclarationError) as caught:
        ToolSet(*members)
    assert caught.value.message == problem


@pytest.mark.parametrize(
    ("name", "suggestions"),
    [("pant", ["paint"]), ("Paint", ["paint"]), ("buy", ["shop.buy"]), ("zzzzzz", [])],
)
def test_an_unknown_name(name, suggestions):
    """Similar names are suggested, those in a namespace, too."""
    with pytest.raises(ToolNotFoundError) as caught:
        ToolSet(paint, buy, now).find(name)
    assert caught.value.fields["suggestions"] == suggestions


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("buy things", ["shop.buy"]),
        ("TIME", ["now"]),
        ("pai", ["paint"]),
        ("", ["now", "paint", "shop.buy"]),
        ("xyz", []),
        ("mail paint", ["paint", "shop.buy"]),
    ],
)
def test_tools_are_found_by_words(query, names):
    """Words of the name count more than those of the description."""
    assert [found["name"] for found in ToolSet(paint, buy, now).search(query)] == names
    assert len(ToolSet(paint, buy, now).search("", count_max=2)) == 2

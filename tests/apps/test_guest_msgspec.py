"""The stand-in for msgspec inside the guest, compared with the real one."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import importlib.util
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cloche.guests

PATH = Path(cloche.guests.__file__).parent / "python" / "web" / "msgspec.py"


def load():
    """Return the stand-in, under a name of its own."""
    for name, path in (
        ("msgspec_schema", PATH.with_name("msgspec_schema.py")),
        ("guest_msgspec", PATH),
    ):
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


ours = load()


class Colour(enum.Enum):
    """Of texts."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


def structs(lib):
    """Return the same classes made with either library."""

    class Item(lib.Struct, frozen=True):
        name: str
        count: int = 1
        tags: list[str] = []  # noqa: RUF012 - both libraries copy it

    class Strict(lib.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
        first: int | None = None
        second: Literal["a", "b"]

    class Sub(Item, frozen=True):
        more: Any = None

    class Renamed(lib.Struct, rename="camel"):
        long_name: int
        other: int = lib.field(default=2, name="o")

    for cls in (Item, Strict, Sub, Renamed):
        cls.__module__ = __name__
    bounded = Annotated[int, lib.Meta(ge=0, le=9)]
    word = Annotated[str, lib.Meta(min_length=1, max_length=3, pattern="^[a-z]+$")]
    return {
        "Item": Item, "Strict": Strict, "Sub": Sub, "Renamed": Renamed, "bounded": bounded,
        "word": word, "items": list[Item], "by name": dict[str, Item], "maybe": Item | None,
    }  # fmt: skip


PLAIN = {
    "int": int, "float": float, "str": str, "bool": bool, "any": Any, "int or null": int | None,
    "ints": list[int], "pair": tuple[int, str], "many": tuple[int, ...], "by str": dict[str, int],
    "by int": dict[int, str], "int or str": int | str, "literal": Literal["a", "b"],
    "numbers": Literal[1, 2], "colour": Colour, "point": Point, "set": set[int],
    "deep": list[dict[str, int | None]], "bytes": bytes, "list": list, "dict": dict,
}  # fmt: skip
OURS = {**PLAIN, **structs(ours)}
THEIRS = {**PLAIN, **structs(msgspec)}
NAMES = ["a", "name", "count", "tags", "first", "second", "x", "y", "more", "longName", "o", "1"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.sampled_from([0.5, -1.0, 3.0])
    | st.sampled_from(["a", "b", "red", "1", "-2", "0.5", "true", "null", "", "zzzz", "YQ=="]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)
ITEM = st.fixed_dictionaries(
    {}, optional={"name": JSON, "count": st.integers() | JSON, "tags": st.lists(st.text()) | JSON}
)


def outcome(lib, call):
    """Return what a call gives, as a text, or its error."""
    try:
        found = call()
        return "value", sorted(found) if isinstance(found, set) else repr(found)
    except lib.ValidationError as error:
        return "error", str(error)


@given(st.sampled_from(sorted(OURS)), JSON | ITEM, st.booleans())
def test_values_are_taken_and_refused_alike(name, value, strict):
    """The same values, and the same words where one is refused."""
    found = outcome(ours, lambda: ours.convert(value, OURS[name], strict=strict))
    expected = outcome(msgspec, lambda: msgspec.convert(value, THEIRS[name], strict=strict))
    assert found == expected


@given(st.sampled_from(sorted(OURS)), JSON | ITEM, st.booleans())
@example("pair", [], True)
@example("pair", [1, 2, 3], True)
@example("pair", [[]], True)
def test_texts_are_read_alike(name, value, strict):
    """From JSON, as bytes of a body are."""
    text = json.dumps(value).encode()
    found = outcome(ours, lambda: ours.json.decode(text, type=OURS[name], strict=strict))
    expected = outcome(msgspec, lambda: msgspec.json.decode(text, type=THEIRS[name], strict=strict))
    assert found == expected


@given(JSON)
def test_plain_data_is_written_alike(value):
    """Compact, in the order of arrival or sorted."""
    assert ours.json.encode(value) == msgspec.json.encode(value)
    for order in ("deterministic", "sorted"):
        assert ours.json.Encoder(order=order).encode(value) == msgspec.json.Encoder(
            order=order
        ).encode(value)


def test_objects_are_written_alike():
    """Structs, dataclasses, enums, bytes, what has a default, and no number."""
    for make in (
        lambda lib, of: [of["Item"]("a"), of["Sub"]("b", more=[1]), Point(1)],
        lambda lib, of: [of["Strict"](second="a"), of["Strict"](first=1, second="b")],
        lambda lib, of: [of["Renamed"](5), Colour.RED, b"ab", (1, 2), {"b": "x", "a": {3}}],
        lambda lib, of: [float("nan"), float("inf"), 'ä\u2028"\\\n'],
    ):
        for order in (None, "deterministic", "sorted"):
            found = ours.json.Encoder(order=order).encode(make(ours, OURS))
            assert found == msgspec.json.Encoder(order=order).encode(make(msgspec, THEIRS))


def test_structs_behave_alike():
    """Construction, equality, text, freezing, replacing."""
    for lib, of in ((ours, OURS), (msgspec, THEIRS)):
        item = of["Item"]("a", tags=["t"])
        assert repr(item) == "Item(name='a', count=1, tags=['t'])"
        assert item == of["Item"](name="a", count=1, tags=["t"])
        assert item != of["Sub"]("a", 1, ["t"])
        assert of["Item"]("a").tags is not of["Item"]("a").tags
        with pytest.raises(AttributeError, match="immutable type: 'Item'"):
            item.name = "b"
        for args, kwargs in (
            ((), {}),
            (("a", 1, [], 2), {}),
            (("a",), {"x": 1}),
            (("a",), {"name": "b"}),
        ):
            with pytest.raises(TypeError):
                of["Item"](*args, **kwargs)
        with pytest.raises(TypeError):
            of["Strict"]("a")
        assert lib.structs.replace(item, count=2).count == 2
        assert lib.structs.asdict(item) == {"name": "a", "count": 1, "tags": ["t"]}
        assert [one.name for one in lib.structs.fields(of["Sub"])] == [
            "name",
            "count",
            "tags",
            "more",
        ]
        assert hash(of["Sub"]("a", 1, (), 2)) == hash(of["Sub"]("a", 1, (), 2))


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"nul", b"NaN", b"1 2", b"'a'"])
def test_texts_that_are_no_json(text):
    """An error of its own, which is none of validation."""
    for lib in (ours, msgspec):
        with pytest.raises(lib.DecodeError) as caught:
            lib.json.decode(text)
        assert not isinstance(caught.value, lib.ValidationError)


class Level(enum.IntEnum):
    """Of numbers."""

    HIGH = 2
    LOW = 1


@dataclass
class Shape:
    """A dataclass with what a schema can say of defaults."""

    points: list[Point]
    colour: Colour = Colour.RED
    level: Level | None = None
    names: dict[str, int] = field(default_factory=dict)


@dataclass
class Bare:
    x: int


def shared(lib):
    """Return types whose schemas refer to others, made with either library."""

    class Tree(lib.Struct):
        """A tree.

        It has branches.
        """

        kids: list["Tree"] = []  # noqa: RUF012, UP037 - both libraries copy it, and resolve it
        shape: Shape | None = None
        more: dict[str, Any] = lib.field(default_factory=dict)
        made: Any = lib.field(default_factory=lambda: 3)

    class Twin(lib.Struct):
        left: int

    first = Twin

    class Twin(lib.Struct):
        right: first

    for cls in (Tree, first, Twin):
        cls.__module__ = __name__
    Twin.__qualname__ = "Other.Twin"
    globals().update(Tree=Tree, first=first)  # where annotations are looked up
    meta = lib.Meta
    bounded = [
        Annotated[int, meta(ge=0, le=9)],
        Annotated[float, meta(gt=0, lt=9, multiple_of=2)],
        Annotated[str, meta(min_length=1, max_length=3, pattern="^a$")],
        Annotated[list[int], meta(min_length=1, max_length=3)],
        Annotated[dict[str, int], meta(min_length=1)],
        Annotated[bytes, meta(min_length=3, max_length=4)],
        Annotated[int, meta(title="t", description="d", examples=[1], extra_json_schema={"x": 1})],
        dict[Annotated[str, meta(min_length=2, pattern="a")], int],
        Annotated[Tree, meta(description="of a node")],
    ]
    return [Tree, Twin, Shape, Bare, Level, *bounded]


SCHEMAS = [
    *PLAIN.values(), None, uuid.UUID, dt.datetime, dt.date, dt.time,
    dt.timedelta, decimal.Decimal, bytearray, tuple, tuple[Any, ...], frozenset[str],
    list[Any], dict[str, Any], dict[uuid.UUID, int], None | int, str | int | None, int | float,
    Point | None, list[Point] | None, Literal[1, "a"] | None, Mapping[str, int], Sequence[int],
    complex,
]  # fmt: skip


def schemas(lib, types):
    """Return what a library says of types, in its order."""
    found = lib.json.schema_components(
        types, ref_template="#/x/{name}", schema_hook=lambda cls: {"hook": cls.__name__}
    )
    return json.dumps(found)


@pytest.mark.parametrize("position", range(len(SCHEMAS)))
def test_schemas_are_alike(position):
    """Of plain types, each for itself."""
    assert schemas(ours, [SCHEMAS[position]]) == schemas(msgspec, [SCHEMAS[position]])


def test_schemas_that_refer_to_others_are_alike():
    """Structs, dataclasses, enums, bounds, recursion, two classes of one name."""
    every = len(shared(ours)) + len(structs(ours))
    for count in range(1, every + 1):
        found, wanted = (
            json.loads(schemas(lib, [*shared(lib), *structs(lib).values()][:count]))
            for lib in (ours, msgspec)
        )
        assert found == wanted
        assert list(found[1]) == list(wanted[1])


def test_what_has_no_schema():
    """Without a hook it is an error, as with the real one."""
    for lib in (ours, msgspec):
        with pytest.raises(TypeError, match="complex"):
            lib.json.schema_components([complex])

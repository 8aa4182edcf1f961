"""Tests of layers: which wins, where a value came from, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.limits import (
    SPECIFICATIONS,
    Hardware,
    Layer,
    LimitError,
    LimitRangeError,
    LimitReadOnlyError,
    Limits,
    LimitTypeError,
    LimitUnknownError,
    merge,
)
from cloche.limits.layers import defaults, flatten

SETTABLE = sorted(path for path, spec in SPECIFICATIONS.items() if not spec.read_only)


def value_of(limits, path):
    """Return one value by its path."""
    group, name = path.split(".")
    return getattr(getattr(limits, group), name)


@st.composite
def layers(draw):
    """Make up to four layers with values in range."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        paths = draw(st.lists(st.sampled_from(SETTABLE), unique=True, max_size=8))
        values = {
            path: draw(st.integers(SPECIFICATIONS[path].minimum, SPECIFICATIONS[path].maximum))
            for path in paths
        }
        made.append(Layer(origin=f"layer {number}", values=values))
    return made


@given(layers())
def test_the_last_layer_that_names_a_limit_wins(made):
    """For every limit: value and origin are of the strongest layer that has it, else default."""
    resolved = merge(made)
    for path, spec in SPECIFICATIONS.items():
        value, origin = spec.default, "default"
        for layer in made:
            if path in layer.values:
                value, origin = layer.values[path], layer.origin
        assert (value_of(resolved.limits, path), resolved.origins[path]) == (value, origin)


@given(layers(), st.integers(0, 4))
def test_layers_may_be_applied_in_parts(made, cut):
    """Merging some layers and the rest on top is merging all."""
    assert merge(made[cut:], merge(made[:cut])) == merge(made)


def test_no_layers_are_the_defaults():
    """The base is `Limits()`, and every limit has an origin."""
    resolved = merge([])
    assert resolved.limits == Limits()
    assert resolved.origins == dict.fromkeys(SPECIFICATIONS, "default")


def test_the_origins_of_a_machine():
    """Readings are detected, what follows from them is derived, the rest is default."""
    resolved = defaults(Hardware(total_ram_bytes=2**31, cpu_cores=2))
    assert resolved.limits.storage.max_vfs == 2**29
    assert resolved.origins["hardware.cpu_cores"] == "detected"
    assert resolved.origins["storage.max_vfs"] == "derived from the machine"
    assert resolved.origins["capacity.users"] == "derived from the machine"
    assert resolved.origins["guests.timeout_ms"] == "default"


def test_text_is_a_quantity_of_the_unit_of_its_limit():
    """Times and sizes may be written with units."""
    layer = flatten({"guests": {"timeout_ms": "5s", "memory_limit_bytes": "16MiB"}}, "x")
    guests = merge([layer]).limits.guests
    assert (guests.timeout_ms, guests.memory_limit_bytes) == (5000, 2**24)


def test_a_mistake_does_not_hide_under_a_stronger_layer():
    """Every value of every layer is checked."""
    weak = Layer(origin="x.toml", values={"guests.timeout_ms": 0})
    strong = Layer(origin="the call", values={"guests.timeout_ms": 1})
    with pytest.raises(LimitRangeError) as caught:
        merge([weak, strong])
    assert caught.value.message == (
        "guests.timeout_ms is 0 (from x.toml); it must be between 1 and 86400000 ms"
    )


def test_a_path_may_have_its_own_origin():
    """The origin of a path is named instead of that of its layer."""
    layer = Layer(
        origin="environment",
        values={"guests.fuel": -1},
        origins={"guests.fuel": "environment CLOCHE_GUESTS_FUEL"},
    )
    with pytest.raises(LimitRangeError, match=r"\(from environment CLOCHE_GUESTS_FUEL\)"):
        merge([layer])


@pytest.mark.parametrize(
    "path", sorted(path for path, spec in SPECIFICATIONS.items() if spec.read_only)
)
def test_what_is_read_only_cannot_be_set(path):
    """Not even to the value that it has."""
    with pytest.raises(LimitReadOnlyError) as caught:
        merge([Layer(origin="x.toml", values={path: SPECIFICATIONS[path].default})])
    assert caught.value.message == (
        f"{path} cannot be set (from x.toml): it is detected or estimated; remove it"
    )


@pytest.mark.parametrize("value", [1.0, True, None, [], {"a": 1}])
def test_the_wrong_type_is_refused(value):
    """A limit in a layer is a whole number or a text."""
    with pytest.raises(LimitTypeError, match=r"\(from x\.toml\); it must be a whole number of ms"):
        merge([Layer(origin="x.toml", values={"guests.timeout_ms": value})])


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("guests.timout_ms", "guests.timeout_ms"),
        ("guest.timeout_ms", "guests.timeout_ms"),
        ("gate.effect_count", "gate.effect_count_max"),
        ("net.max_call", "net.max_calls"),
    ],
)
def test_an_unknown_limit_names_the_nearest(path, near):
    """A typing mistake is answered with what was meant."""
    with pytest.raises(LimitUnknownError) as caught:
        merge([Layer(origin="x.toml", values={path: 1})])
    assert caught.value.message == (f"there is no limit {path} (from x.toml); did you mean {near}?")


def test_groups_are_known_tables():
    """An unknown group is an error even if it is empty; a group that is no table is one too."""
    with pytest.raises(LimitUnknownError) as caught:
        flatten({"guest": {}}, "x.toml")
    assert caught.value.message == (
        "there is no group of limits guest (from x.toml); did you mean guests?"
    )
    with pytest.raises(LimitTypeError) as caught:
        flatten({"guests": 5}, "x.toml")
    assert caught.value.message == "guests is 5 (from x.toml); it must be a table of limits"


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4))
def test_any_layer_is_limits_or_an_error(values):
    """Nothing but a LimitError comes out of what people write."""
    for document in (values, dict.fromkeys(("guests", "net"), values)):
        try:
            merge([flatten(document, "x.toml")])
            message = "x.toml"
        except LimitError as error:
            message = error.message
        assert "x.toml" in message

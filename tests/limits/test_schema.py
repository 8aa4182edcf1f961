"""Tests of the schema and of the page made from it."""

from __future__ import annotations

import json
from pathlib import Path

from cloche.limits import SPECIFICATIONS, Limits
from cloche.limits.document import DOCUMENT_PATH, to_document
from cloche.limits.schema import schema_bytes, to_schema

ROOT = Path(__file__).parents[2]


def test_the_schema_is_nested_as_the_values_are():
    """Same groups and names, in the same order."""
    values, schema = Limits().to_dict(), to_schema()
    assert [(group, list(names)) for group, names in values.items()] == [
        (group, list(names)) for group, names in schema.items()
    ]


def test_the_values_fit_the_schema():
    """Every default lies between `min` and `max`; what has none is read-only."""
    values = Limits().to_dict()
    for group, leaves in to_schema().items():
        for name, leaf in leaves.items():
            assert ("min" in leaf) == ("max" in leaf) == (not leaf["read_only"])
            assert leaf.get("min", 0) <= values[group][name] <= leaf.get("max", 2**63)


def test_a_leaf_says_all_that_is_known():
    """Label and description always; unit and range where there are some."""
    schema = to_schema()
    assert schema["net"]["call_timeout"] == {
        "label": "Call Timeout",
        "desc": "Time for one outbound call",
        "unit": "ms",
        "min": 1000,
        "max": 10000,
        "read_only": False,
    }
    assert schema["hardware"]["cpu_cores"] == {
        "label": "CPU Cores",
        "desc": "Detected CPU cores",
        "read_only": True,
    }


def test_the_bytes_are_the_schema_and_built_once():
    """One line of JSON; the same object every time."""
    assert json.loads(schema_bytes()) == to_schema()
    assert b"\n" not in schema_bytes()
    assert schema_bytes() is schema_bytes()


def test_every_limit_has_words():
    """Labels are short and unique in their group; descriptions are one line without a full stop."""
    labels = [(spec.group, spec.label) for spec in SPECIFICATIONS.values()]
    assert len(set(labels)) == len(labels)
    for spec in SPECIFICATIONS.values():
        assert 0 < len(spec.label) <= 24
        assert 0 < len(spec.description) <= 100
        assert not set("\n|.") & set(spec.description)


def test_the_page_is_up_to_date():
    """`python -m cloche.limits.adapters.document` was run after the last change."""
    assert (ROOT / DOCUMENT_PATH).read_text(encoding="utf-8") == to_document()


def test_the_page_lists_every_limit():
    """One row each, in the table of its group."""
    text = to_document()
    for spec in SPECIFICATIONS.values():
        section = text.split(f"\n## {spec.group}\n")[1].split("\n## ")[0]
        assert section.count(f"\n| `{spec.name}` | {spec.label} | ") == 1


def test_the_examples_of_the_page_work(tmp_path):
    """The configuration file that the page shows is read as it stands."""
    from cloche.limits.adapters.settings import load_limits

    example = to_document().split("```toml\n")[1].split("```")[0]
    (tmp_path / "cloche.toml").write_text(example)
    limits = load_limits(config_path=tmp_path / "cloche.toml", environ={})
    found = (limits.guests.timeout_ms, limits.guests.memory_limit_bytes)
    assert found == (30_000, 512 << 20)
    assert limits.gate.effect_count_max == 100

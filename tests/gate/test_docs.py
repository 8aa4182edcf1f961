"""The documents of the gate say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from cloche.gate import entries
from cloche.gate.journal import HEADER

DOCS = Path(__file__).parents[2] / "docs"


def test_examples_run():
    """Every Python example of the document runs as it stands."""
    text = (DOCS / "gate.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(f"from cloche.gate.policy import Policy\n{example}", {})


def test_toml_example_is_a_policy():
    """The policy shown as TOML is one."""
    import tomllib

    from cloche.gate.policy import Policy

    text = (DOCS / "gate.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    Policy.from_document(tomllib.loads(example))


def test_encoding_lists_every_field():
    """The table of entries names each entry and its fields in the order of the code."""
    text = (DOCS / "architecture/encodings/journal-v1.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert set(rows) == set(entries.ENTRY_NAMES.values())
    for kind, name in entries.ENTRY_NAMES.items():
        row = re.sub(r"\(.*?\)|\{.*?\}", "", rows[name])
        assert tuple(re.findall(r"`(\w+)`", row)) == kind.__struct_fields__
    assert HEADER[:8].hex(" ").upper() in text

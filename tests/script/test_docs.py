"""The examples and lists of the page about scripts hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche.script.errors import TAXONOMY

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "scripts.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("name", "count"), [("scripts.md", 7), ("tools.md", 6)])
def test_the_examples_run(name, count):
    """In order, in one namespace, as a reader would type them."""
    examples = EXAMPLE.findall((DOCS / name).read_text(encoding="utf-8"))
    assert len(examples) == count
    scope = {"__name__": "examples"}
    for example in examples:
        exec(compile(example, name, "exec"), scope)


def test_every_code_is_listed():
    """The page names each code of the taxonomy."""
    text = PAGE.read_text(encoding="utf-8")
    assert [cls.code for cls in TAXONOMY if f"`{cls.code}`" not in text] == []

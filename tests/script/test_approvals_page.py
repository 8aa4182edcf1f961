"""The examples of the page about approvals hold."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "approvals.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_run():
    """In order, in one namespace, as a reader would type them."""
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) == 9
    scope = {"__name__": "examples"}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), scope)

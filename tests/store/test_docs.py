"""The page of the store says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from cloche.store import errors
from cloche.store.errors import StoreError

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
NOW_NS = 1_700_000_000_000_000_000


def test_examples_run_in_order(tmp_path):
    """Every Python example runs as it stands, each on what the ones before it made."""
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 4
    names = {"folder": tmp_path, "now_ns": NOW_NS}
    for example in examples:
        exec(example, names)
    names["store"].close()


def test_every_error_is_in_the_table():
    """Code and whether a retry can help are those of the classes; the root is never raised."""
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| .* \| (.*) \| .*\|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, StoreError) and value is not StoreError
    ]
    assert [code for code, _ in rows]
    assert dict.fromkeys(code for code, _ in rows).keys() == {kind.code for kind in classes}
    for kind in classes:
        assert (not dict(rows)[kind.code].startswith("no")) == kind.retryable, kind

"""The vectors that the pages show: bytes and what they decode to, or why they are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cloche.web.encodings.errors import DecodeError

from .formats import CASES, IDS, describe

PAGES = Path(__file__).parents[3] / "docs/architecture/encodings"
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| `([0-9a-f]*)` \| `(.+)` \|$", re.MULTILINE)


def vectors(page):
    """Return the rows of a page: name, format, bytes, what they decode to."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return [(name, format_, bytes.fromhex(digits), expected)
            for name, format_, digits, expected in ROW.findall(text)]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_vectors(case):
    """Every vector of a format decodes to what its page says, and back to the same bytes."""
    accepted = refused = 0
    for name, format_, blob, expected in vectors(case.page):
        if format_ != case.name:
            continue
        if expected.startswith("SPEC_ERR_"):
            with pytest.raises(DecodeError) as caught:
                case.decode(blob)
            assert caught.value.name == expected, name
            refused += 1
        else:
            value = case.decode(blob)
            assert describe(value) == json.loads(expected), name
            assert case.encode(value) == blob, name
            accepted += 1
    assert accepted
    assert refused

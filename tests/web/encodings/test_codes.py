"""The registry of numbers: disjoint spaces, unique names, and a page that says the same."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

from cloche.web.encodings.codes import CODES, SPACES, space_of

PAGE = Path(__file__).parents[3] / "docs/architecture/encodings/web-error-codes-v1.md"


def test_spaces_are_disjoint():
    """No number is in two spaces."""
    for one, other in combinations(SPACES, 2):
        assert one.last < other.first or other.last < one.first, (one.name, other.name)


def test_numbers_and_names_are_unique():
    """Either is enough to find a code, and each number is in a space."""
    assert len({code.number for code in CODES}) == len({code.name for code in CODES}) == len(CODES)
    for code in CODES:
        space = space_of(code.number)
        assert space is not None
        assert code.name.startswith(space.name)


def test_numbers_of_the_sources():
    """Numbers that other implementations already use."""
    numbers = {code.name: code.number for code in CODES}
    assert numbers["NET_ERR_INTERNAL"] == 8
    assert numbers["REPLAY_MISS"] == 2009
    assert numbers["REPLAY_TRUNCATED"] == 2014
    assert numbers["SPEC_ERR_HTTP1_BAD_START_LINE"] == 25088
    assert numbers["SPEC_ERR_HTTP1_OBS_FOLD"] == 0x6206
    assert numbers["SPEC_ERR_HTTP1_TRANSFER_ENCODING_UNSUPPORTED"] == 25095
    assert numbers["SPEC_ERR_HTTP1_CONTENT_LENGTH_CONFLICT"] == 0x6209
    assert numbers["SPEC_ERR_HTTP1_BODY_SIZE_MISMATCH"] == 0x620B
    assert numbers["SPEC_ERR_X7SL_TRUNCATED"] == 0x7E510001
    assert numbers["SPEC_ERR_X7SL_BAD_MAGIC"] == 0x7E510004
    assert numbers["SPEC_ERR_HEADERS_BAD_MAGIC"] == 2_000_010_002
    assert numbers["BUDGET_ALLOCATED_BYTES"] == 0x80000001
    assert numbers["BUDGET_SCHEDULER_TICKS"] == 0x80000005
    assert space_of(1999) is None


def test_the_page_lists_every_code():
    """The page has the rows of the table, in its order."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\d+) \| 0x([0-9A-F]+) \| `(\w+)` \| (\d+|-) \| (.*) \|$", text, re.MULTILINE
    )
    found = [
        (int(number), int(digits, 16), name, 0 if status == "-" else int(status), summary)
        for number, digits, name, status, summary in rows
    ]
    assert found == [(c.number, c.number, c.name, c.status, c.summary) for c in CODES]
    spaces = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    expected = [(s.name, str(s.first), str(s.last), s.summary) for s in SPACES]
    assert spaces == expected

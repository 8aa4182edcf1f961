"""The normative page speaks of the codes and limits that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from cloche.limits import SPECIFICATIONS
from cloche.web.encodings.codes import CODES, HTTP1
from cloche.web.http1.caps import Http1Caps
from cloche.web.http1.chunked import FORBIDDEN_TRAILERS

TEXT = (Path(__file__).parents[3] / "docs/web/http1-v1.md").read_text(encoding="utf-8")


def test_every_code_is_explained():
    """Each number of the space has a rule, with the status that the registry gives it."""
    known = {
        f"{code.number:X}": code.status
        for code in CODES
        if HTTP1.first <= code.number <= HTTP1.last
    }
    assert set(re.findall(r"\b(62[0-9A-F]{2})\b", TEXT)) == set(known)
    for number, status in re.findall(r"\b(62[0-9A-F]{2}) \((\d{3})\)", TEXT):
        assert known[number] == int(status), number


def test_every_limit_is_named():
    """The page names the limits of the group `web` that a message has, and no other."""
    named = set(re.findall(r"`(web\.\w+)`", TEXT))
    of_messages = {f"web.{field.name}" for field in fields(Http1Caps) if field.init}
    assert named == of_messages & set(SPECIFICATIONS)
    assert len(named) == len(of_messages) - 1  # HTTP/1.0 is no limit


def test_forbidden_trailers_are_listed():
    """The list of refused trailers is the one in the code."""
    row = next(line for line in TEXT.splitlines() if line.startswith("| trailers |"))
    listed = set(re.findall(r"`([a-z-]+)`", row.partition("refused:")[2]))
    assert listed == {name.decode() for name in FORBIDDEN_TRAILERS}

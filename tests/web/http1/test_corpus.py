"""Requests of public test suites, read from beside the project when they are there.

Tiers A and D are hard: their verdict must be ours. B is a policy point, and ours is pinned in
docs/web/http1-v1.md; C is disputed: no more is asked than that nothing breaks.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cloche.web.http1.caps import Http1Caps

from .support import parse, refusal, requests, single_bytes, two_ways

FOLDER = Path(__file__).parents[4] / "shared" / "corpus" / "http1"
HARD = {"A", "D"}
# What the servers of the corpus can be asked to do, and this one has no option for.
ABSENT = ("casefold_http_method", "permit_obsolete_folding", "proxy_protocol")
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus is not here")


def cases():
    """Return every case of every file."""
    return [
        json.loads(line)
        for path in sorted(FOLDER.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if not any(option in line for option in ABSENT)
    ]


def caps_of(case):
    """Return limits that let a case through, as those of the server it was written for did."""
    raw = base64.b64decode(case["raw_base64"])
    return Http1Caps(
        request_line_limit_bytes=max(8192, case["max_line"]),
        field_line_limit_bytes=max(8192, case["max_line"]),
        http_1_0=b"HTTP/1.0\r\n" in raw,
    )


def verdict(events):
    """Return what a server would do, in the words of the corpus."""
    name = refusal(events)
    if name is None:
        return "accept"
    return "incomplete" if name == "TRUNCATED" else "reject"


def expected_requests(case):
    """Return the requests of an accepted case as method, target, body."""
    return [
        (request["method"], request["target"], base64.b64decode(request.get("body_base64") or ""))
        for request in case.get("requests") or [case]
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_case(case):
    """The verdict of a hard case is ours, with the same requests, however it is split."""
    raw = base64.b64decode(case["raw_base64"])
    caps = caps_of(case)
    whole = parse([raw], caps)
    if case["tier"] in HARD:
        assert verdict(whole) == case["expect"], refusal(whole)
    if verdict(whole) == case["expect"] == "accept":
        found = [(head.method, head.target, body) for head, body in requests(whole)]
        assert found == expected_requests(case)
    if case["tier"] in HARD and case["expect"] == "accept" and case.get("headers"):
        fields = requests(whole)[0][0].fields
        shown = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        wanted = [(name.lower(), value) for name, value in case["headers"]]
        if case["variant"] == "host-added":  # the corpus lists it in some cases only
            shown = [field for field in shown if field[0] != "host"]
            wanted = [field for field in wanted if field[0] != "host"]
        assert shown == wanted
    assert parse(single_bytes(raw), caps) == whole
    for pieces in two_ways(raw[:3000]):
        assert parse([*pieces, raw[3000:]], caps) == whole

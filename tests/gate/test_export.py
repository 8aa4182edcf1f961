"""Tests of JSON Lines: nothing is lost, and changed lines are found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from cloche.gate.errors import JournalCorruptError
from cloche.gate.export import from_json_lines, to_json_lines
from cloche.gate.journal import encode_file, load_journal
from gate.journals import file_of, journals
from gate.support import make_limits, small_file, small_run

LIMITS = make_limits()


@given(journals())
def test_round_trip(entries):
    """Lines give the same journal back, byte for byte."""
    data = file_of(*entries)
    assert encode_file(from_json_lines(to_json_lines(data, LIMITS), LIMITS)) == data


def test_lines_are_for_people():
    """A line holds index, entry, fields in their order, JSON as JSON, bytes marked, the hash."""
    lines = list(to_json_lines(small_file(), LIMITS))
    assert len(lines) == 13
    assert all(line.endswith("}\n") and line.count("\n") == 1 for line in lines)
    content = json.loads(lines[1])
    assert content["data"] == {"$base64": "dG9vbHMuYWRkKDEsIDIp"}
    assert lines[4].startswith(
        '{"index":4,"entry":"effect_started","sequence":0,"task":"main","ordinal":0,'
        '"kind":"tool","target":"add","args":[1,2],"hash":"'
    )
    assert json.loads(lines[8])["value"] == {"text": "é", "size": 1.0}
    assert json.loads(lines[-1])["hash"] == load_journal(small_file(), LIMITS).hash


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda line: line.replace('"add"', '"sub"'), "its index or its hash is not the one"),
        (lambda line: line.replace('"index":4', '"index":5'), "its index or its hash is not"),
        (lambda line: line.replace('"args"', '"arg"'), "no line: 'args'"),
        (lambda line: line.replace('"entry"', '"entri"'), "no line: 'entry'"),
        (lambda line: line[:-5], "no line: Input data was truncated"),
        (lambda line: "[]", "no line: Expected `object`, got `array`"),
    ],
)
def test_changed_lines_are_found(change, problem):
    """A changed line is corrupt, with its number; the lines before it are read."""
    lines = list(to_json_lines(small_file(), LIMITS))
    lines[4] = change(lines[4])
    with pytest.raises(JournalCorruptError) as caught:
        list(from_json_lines(lines, LIMITS))
    assert caught.value.fields["index"] == 4
    assert caught.value.fields["problem"].startswith(problem)


def test_export_stops_at_a_bad_record():
    """Lines of the good records come out before the error."""
    data = encode_file(small_run()[:6]) + b"\x02\x00\x00\x00xx"
    lines = to_json_lines(data, LIMITS)
    for _ in range(6):
        next(lines)
    with pytest.raises(JournalCorruptError):
        next(lines)

"""The smoke suites pass, and suites that are wrong or fail are told."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.cli.support import cloche

from cloche.web.adapters.fixture import run_v1
from cloche.web.smoke import SuiteError, read_suite, run_suite

from .sample import hello

TESTS = Path(__file__).parents[1]
SUITES = sorted((TESTS / "web/smoke").glob("*.json"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites(path):
    """Each case gives its bytes, twice."""
    suite = read_suite(path.read_bytes())
    assert suite.suite_id == path.stem
    outcomes = run_suite(suite, lambda data: run_v1(hello, data))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.problem] == []


def test_there_are_suites():
    """The folder above is the right one."""
    assert len(SUITES) == 4


def suite(program="headers.canonicalize_v1", data=b"X7HT\x01\x00\x00\x00", expected=None):
    """Return a suite of one case."""
    result = data if expected is None else expected
    case = {
        "name": "one",
        "input_b64": base64.b64encode(data).decode(),
        "expected_b64": base64.b64encode(result).decode(),
    }
    return {
        "schema_version": "smoke_suite@0.1.0",
        "suite_id": "s",
        "world": "solve-pure",
        "program": program,
        "cases": [case],
    }


def problem(document):
    """Return what is wrong with the case of a suite."""
    return run_suite(read_suite(json.dumps(document).encode()))[0].problem


def test_cases_that_fail():
    """Other bytes, a typed error."""
    assert problem(suite()) == ""
    assert problem(suite(expected=b"X7HT\x02")) == (
        "8 bytes, expected 5; the first difference is at byte 4"
    )
    assert problem(suite(data=b"none")).startswith("WEB_DECODE: ")


def test_two_runs_that_differ():
    """A program that does not give the same bytes twice fails, whatever is expected."""
    counter = iter(range(9))
    document = suite(program="fixture.run_v1", data=b"a")
    outcomes = run_suite(
        read_suite(json.dumps(document).encode()), lambda data: bytes([next(counter)])
    )
    assert outcomes[0].problem == "two runs gave different bytes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": "other"}, "Invalid enum value 'other'"),
        ({"world": "run-os"}, "Invalid enum value 'run-os'"),
        ({"more": 1}, "unknown field `more`"),
        ({"program": "none"}, "no program none; known are fixture.run_v1, "),
        ({"program": "fixture.run_v1"}, "needs an application"),
        ({"cases": [{"name": "a", "input_b64": "?", "expected_b64": ""}]}, "no base64"),
    ],
)
def test_suites_that_are_none(change, message):
    """They are refused whole."""
    with pytest.raises(SuiteError) as raised:
        problem({**suite(), **change})
    assert message in raised.value.message


def test_the_command(tmp_path):
    """It counts what passed, names what did not, and exits with 1 then."""
    files = [str(path) for path in SUITES]
    done = cloche("web", "smoke", *files, "--app", "web.sample:hello", cwd=TESTS)
    assert (done.exit_code, done.stdout) == (0, "17 of 17 cases passed\n")
    (tmp_path / "s.json").write_text(json.dumps(suite(expected=b"")))
    failed = cloche("web", "smoke", "s.json", "--json", cwd=tmp_path)
    assert failed.exit_code == 1
    assert failed.document["failed"] == 1
    assert cloche("web", "smoke", "none.json", cwd=tmp_path).exit_code == 2

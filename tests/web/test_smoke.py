"""The smoke suites pass, and suites that are wrong or fail are told."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.cli.support import cloche

from cloche.web.adapters.fixture import run_v1
from cloche.web.encodings.cassette import WebCassette, encode_cassette
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import HttpRequest, HttpResponse, Method
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


FAILING = """
from cloche.web.app import App
from cloche.web.response import stream

app = App()

@app.get("/")
def home(request):
    raise KeyError("no such thing")

@app.get("/cut")
def cut(request):
    return stream([b"a"], length=2)
"""


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (b"/", "; the application failed: KeyError: 'no such thing' (/"),
        (b"/cut", "WEB_FIXTURE_BROKEN_OFF: the response 200 is broken off behind 1 bytes"),
        (b"/none", "difference is at byte"),
    ],
)
def test_why_an_application_failed(tmp_path, target, says):
    """A case whose answer is 500 says what was raised, and where; 404 is no failure of it."""
    (tmp_path / "failing.py").write_text(FAILING)
    asked = HttpRequest(method=Method.GET, target=target, headers=HeaderTable(()))
    blob = encode_cassette(WebCassette(request=asked, response=HttpResponse(status=200)))
    text = json.dumps(suite(program="fixture.run_v1", data=blob, expected=b"X"))
    (tmp_path / "s.json").write_text(text)
    done = cloche("web", "smoke", "s.json", "--app", "failing", cwd=tmp_path)
    assert done.exit_code == 1
    line, summary = done.stdout.splitlines()
    assert says in line
    assert ("failing.py:9 in home)" in line) is (target == b"/")
    assert ("the application failed" in line) is (target == b"/")
    assert summary == "0 of 1 cases passed"


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

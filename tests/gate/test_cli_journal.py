"""Tests of `cloche journal`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from cloche.cli.journal import app
from cloche.exec.errors import RunNotFoundError
from cloche.gate.effect import EffectError
from cloche.gate.entries import RunInputs, RunOutcome
from cloche.gate.export import from_json_lines
from cloche.gate.gate import Gate
from cloche.gate.journal import encode_file
from cloche.gate.policy import Policy
from cloche.limits import Limits


@pytest.fixture
def records():
    """Return the records of a run with a value, an error, a refusal and hostile text."""
    gate = Gate(Policy.allow(tool=["*"]), Limits())
    gate.started(RunInputs(language="python", image_id="python", filename="m.py", code=b"pass"))
    for number, error in enumerate((None, EffectError(code="IO", message="[red]\x1b[2J"))):
        request = gate.request("tool", f"t{number}", {"n": "x" * 200}).request
        gate.complete(request, value="\u202e[bold]", error=error, duration_ns=1_500_000)
        gate.deliver((number,), 1_500_000)
    gate.request("http", "example.org", {})
    gate.deliver((2,), 0)
    gate.finish(
        RunOutcome(
            exit_code=1,
            stage="run",
            stdout_sha256="0" * 64,
            stderr_sha256="0" * 64,
            files_sha256="0" * 64,
            clock_ns=3_000_000,
            error={"code": "X"},
        )
    )
    return gate.take_entries()


@pytest.fixture
def file(tmp_path, records):
    """Return the journal file of these records."""
    path = tmp_path / "run.cloche"
    path.write_bytes(encode_file(records))
    return path


@pytest.fixture
def damaged(tmp_path, records):
    """Return a journal file with a changed byte in record 5."""
    data = bytearray(encode_file(records))
    data[len(encode_file(records[:5])) + 60] ^= 1
    path = tmp_path / "damaged.cloche"
    path.write_bytes(data)
    return path


def invoke(*arguments, code=0):
    """Run a command; return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_verify(file, records):
    """A valid journal is told with its length and hash."""
    head = records[-1][-32:].hex()
    assert invoke("verify", file).stdout == f"valid: 11 records, finished, hash {head}\n"
    assert json.loads(invoke("verify", "--json", file).stdout) == {
        "valid": True,
        "finished": True,
        "record_count": 11,
        "hash": head,
    }


def test_verify_unfinished(tmp_path, records):
    """A journal without its end is valid and said to stop early."""
    path = tmp_path / "cut.cloche"
    path.write_bytes(encode_file(records[:4]))
    assert "valid: 4 records, stops before the run finished" in invoke("verify", path).stdout


def test_verify_damaged(damaged):
    """A damaged journal exits with 1 and names the first bad record."""
    result = invoke("verify", damaged, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("JOURNAL_CORRUPT: journal is corrupt at record 5: ")
    document = json.loads(invoke("verify", "--json", damaged, code=1).stdout)
    assert (document["valid"], document["error"]["fields"]["index"]) == (False, 5)


def test_show(file, monkeypatch):
    """The timeline has a line per entry, shortens values, and prints no control characters."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = invoke("show", file).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
    rows = {row[0]: row[1:] for row in lines if row and row[0].isdigit()}
    assert rows["0"] == ["0.000000 s", "run_started", "", "python m.py in python, sandboxed"]
    assert rows["2"][1:3] == ["effect_started", "0"]
    assert rows["2"][3] == "tool t0 " + ('{"n":"' + "x" * 200)[:100] + "…"
    assert rows["3"][3] == '"\ufffd[bold]" after 0.001500 s'
    assert rows["4"] == ["0.001500 s", "delivered", "0", "clock + 0.001500 s"]
    assert rows["6"][3].startswith('{"code":"IO","message":"[red]\\u001b[2J"')
    assert rows["8"][3] == ("http example.org: policy denies http 'example.org': no rule allows it")
    assert rows["10"][3] == 'exit code 1, 2 effects, {"code":"X"}'


def test_show_damaged(damaged):
    """What is valid is shown before the error, as a table and as JSON."""
    result = invoke("show", damaged, code=1)
    assert "delivered" in result.stdout
    assert result.stderr.startswith("JOURNAL_CORRUPT: ")
    document = json.loads(invoke("show", "--json", damaged, code=1).stdout)
    assert [row["index"] for row in document["entries"]] == [0, 2, 3, 4]
    assert document["error"]["code"] == "JOURNAL_CORRUPT"


def test_show_json(file):
    """The JSON timeline holds whole values and the time waited."""
    document = json.loads(invoke("show", "--json", file).stdout)
    assert document["error"] is None
    assert document["entries"][1]["args"] == {"n": "x" * 200}
    assert [row["waited_ns"] for row in document["entries"]][-1] == 3_000_000


def test_export(file, records):
    """The lines give the records back."""
    lines = invoke("export", file).stdout.splitlines(keepends=True)
    assert list(from_json_lines(lines, Limits())) == records
    assert invoke("export", "--json", file).stdout.splitlines(keepends=True) == lines


def test_export_damaged(damaged):
    """The lines before the bad record come out, then exit code 1."""
    result = invoke("export", damaged, code=1)
    assert len(result.stdout.splitlines()) == 5


def test_errors_are_printable(tmp_path, records):
    """What a journal smuggles into an error message does not reach the terminal."""
    body = {"entry": "delivered", "sequences": [], "clock_advance_ns": 0, "\x1b[2J": 1}
    chain = msgspec.msgpack.encode(body)
    previous = records[0][-32:]
    head = hashlib.sha256(previous + chain).digest()
    bad = msgspec.msgpack.encode([1, previous, chain, head])
    path = tmp_path / "bad.cloche"
    path.write_bytes(encode_file([records[0], bad]))
    result = invoke("verify", path, code=1)
    assert "unknown field `\ufffd[2J`" in result.stderr


def test_missing_file(tmp_path):
    """What is neither a file nor a kept run is a usage error that says so."""
    arguments = ["verify", str(tmp_path / "no"), "--store", str(tmp_path / "cloche.db")]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, RunNotFoundError)


def test_module_imports_nothing_heavy():
    """Showing the help does not import the gate or the tables."""
    code = (
        "import sys, cloche.cli.journal as _; "
        "print([n for n in sys.modules if n in ('rich.table', 'cloche.gate', 'msgspec')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

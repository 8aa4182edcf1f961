"""The other commands: replay, journal, images, doctor, limits, help."""

from __future__ import annotations

import json

import pytest
from tests.cli.support import cloche


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with the journal of a run."""
    folder = tmp_path_factory.mktemp("recorded")
    code = "console.log(Math.random()); console.error('é'); process.exit(3)"
    done = cloche("run", "-l", "js", "-c", code, "--record", "run.journal", cwd=folder)
    assert done.exit_code == 3
    return folder, done


def test_replay(recorded):
    """A replay repeats the output, says that it is the same, and exits with 0."""
    folder, live = recorded
    done = cloche("replay", "run.journal", cwd=folder)
    assert (done.exit_code, done.stdout) == (0, live.stdout)
    assert done.stderr.startswith("é\ncloche: replayed to the same bytes, journal ")
    document = cloche("replay", "run.journal", "--json", cwd=folder).document
    assert document["same"] is True
    assert document["execution"]["result"]["run"]["stdout"] == live.stdout
    quiet = cloche("replay", "run.journal", "--quiet", cwd=folder)
    assert (quiet.stdout, quiet.stderr.count("\n")) == ("", 1)


def test_divergence(recorded, tmp_path):
    """A program that does something else than its cassette shows both sides."""
    folder, _ = recorded
    from cloche.gate.adapters.file import read_journal
    from cloche.gate.entries import RunOutcome
    from cloche.gate.gate import Gate
    from cloche.gate.journal import encode_file
    from cloche.gate.policy import Policy
    from cloche.limits import Limits

    inputs = read_journal(folder / "run.journal").inputs
    gate = Gate(Policy(), Limits())
    gate.started(inputs)
    gate.finish(
        RunOutcome(
            exit_code=4,
            stage="run",
            stdout_sha256="0" * 64,
            stderr_sha256="0" * 64,
            files_sha256="0" * 64,
            clock_ns=1,
        )
    )
    (tmp_path / "forged.journal").write_bytes(encode_file(gate.take_entries()))
    done = cloche("replay", "forged.journal", cwd=tmp_path)
    assert done.exit_code == 1
    assert "The replay diverged" in done.stderr
    assert "recorded" in done.stderr
    assert '"exit_code": 4' in done.stderr
    assert '"exit_code": 3' in done.stderr
    document = cloche("replay", "forged.journal", "--json", cwd=tmp_path).document
    assert document["same"] is False
    fields = document["divergence"]["fields"]
    assert (fields["recorded"]["exit_code"], fields["requested"]["exit_code"]) == (4, 3)


def test_journal(recorded, tmp_path):
    """A journal is shown, verified and exported; a changed one is told from a whole one."""
    folder, _ = recorded
    shown = cloche("journal", "show", "run.journal", cwd=folder)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "run_started" in shown.stdout
    assert "exit code 3, 0 effects" in shown.stdout
    document = cloche("journal", "show", "run.journal", "--json", cwd=folder).document
    assert [row["entry"] for row in document["entries"]] == ["run_started", "run_finished"]
    verified = cloche("journal", "verify", "run.journal", "--json", cwd=folder).document
    assert (verified["valid"], verified["finished"]) == (True, True)
    exported = cloche("journal", "export", "run.journal", cwd=folder)
    assert len(exported.stdout.splitlines()) == verified["record_count"]
    assert all(json.loads(line) for line in exported.stdout.splitlines())
    data = bytearray((folder / "run.journal").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.journal").write_bytes(data)
    for command in ("show", "verify", "export"):
        done = cloche("journal", command, "changed.journal", cwd=tmp_path)
        assert (done.exit_code, "JOURNAL_CORRUPT" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr


def test_images():
    """The images are listed with what is ready; building what is there does nothing."""
    listed = cloche("images", "list", "--json").document["images"]
    names = [row["name"] for row in listed]
    assert {"javascript", "python", "python+numpy"} <= set(names)
    assert all(row.keys() >= {"name", "language", "ready", "compiled"} for row in listed)
    table = cloche("images", "list")
    assert (table.exit_code, table.stderr) == (0, "")
    assert all(name in table.stdout for name in names)
    built = cloche("images", "build", "javascript", "--json").document["images"]
    assert [row["name"] for row in built] == ["javascript"]
    assert len(built[0]["id"]) == 64


def test_doctor():
    """The doctor says what is there, in words and in JSON, and that it is well."""
    done = cloche("doctor", "--json")
    document = done.document
    assert (done.exit_code, document["healthy"]) == (0, True)
    assert all(set(c) == {"group", "name", "ok", "required", "detail"} for c in document["checks"])
    assert len({check["group"] for check in document["checks"]}) > 2
    assert {c["name"] for c in document["checks"] if c["group"] == "worker"} == {
        "starts", "parent_death", "rlimits", "no_new_privs", "landlock", "seccomp",
    }  # fmt: skip
    table = cloche("doctor")
    assert table.exit_code == 0
    assert all(check["name"].split()[0] in table.stdout for check in document["checks"])


def test_limits(tmp_path):
    """Limits are shown with where they come from, as JSON, and with their schema."""
    (tmp_path / "cloche.toml").write_text("[limits.guests]\ntimeout_ms = 1234\n", encoding="utf-8")
    document = cloche("limits", "--json", cwd=tmp_path).document
    assert document["guests"]["timeout_ms"] == 1234
    table = cloche("limits", "--group", "guests", cwd=tmp_path)
    assert (table.exit_code, "timeout_ms" in table.stdout) == (0, True)
    assert "cloche.toml" in table.stdout
    schema = json.loads(cloche("limits", "--schema").stdout)
    assert "guests" in schema


def test_help_and_version():
    """Help names every command and every option of run; the version is the package's."""
    from cloche import __version__

    assert cloche("--version").stdout == f"cloche {__version__}\n"
    top = cloche("--help").stdout
    assert all(name in top for name in ("run", "replay", "journal", "images", "limits", "doctor"))
    run = cloche("run", "--help").stdout
    options = "language arg env stdin file timeout memory fuel seed image json world now out"
    options += " record cassette config code"
    assert all(f"--{name}" in run for name in options.split())

"""Tests of `cloche limits`."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from cloche.cli.limits import limits_command
from cloche.limits import GROUPS, LimitUnknownError
from cloche.limits.adapters.settings import load_limits
from cloche.limits.schema import schema_bytes, to_schema


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, env=None):
    """Run the command in process; its errors come out as they are."""
    app = typer.Typer()
    app.command("limits")(limits_command)
    outcome = CliRunner().invoke(app, [*arguments], env=env)
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0
    return outcome.stdout


def test_the_table_shows_value_range_and_origin():
    """One row for each limit, values with their unit, and where each came from."""
    env = {"CLOCHE_GUESTS_TIMEOUT_MS": "7s"}
    rows = {tuple(line.split()[:2]): line for line in run(env=env).splitlines()}
    row = " ".join(rows["guests", "timeout_ms"].split())
    assert row == ("guests timeout_ms 7 s 1 ms to 24 h environment CLOCHE_GUESTS_TIMEOUT_MS")
    row = " ".join(rows["guests", "memory_limit_bytes"].split())
    assert row == "guests memory_limit_bytes 256 MiB 16 MiB to 4 GiB default"
    row = " ".join(rows["hardware", "cpu_cores"].split())
    assert row.endswith(" read-only detected")
    for group, names in load_limits().to_dict().items():
        assert all((group, name) in rows for name in names)


def test_the_values_as_json():
    """Raw numbers, nested by group: what is in force."""
    document = json.loads(run("--json", env={"CLOCHE_NET_MAX_CALLS": "9"}))
    assert document == load_limits({"net": {"max_calls": 9}}).to_dict()


def test_the_schema_as_json():
    """The schema is the kept bytes, and needs no settings to be right."""
    assert run("--schema", env={"CLOCHE_NET_MAX_CALLS": "999"}) == schema_bytes().decode() + "\n"


@pytest.mark.parametrize("group", GROUPS)
def test_one_group(group):
    """Each form can be cut to one group, nested as before."""
    assert json.loads(run("--json", "--group", group)) == {group: load_limits().to_dict()[group]}
    assert json.loads(run("--schema", "--group", group)) == {group: to_schema()[group]}
    lines = run("--group", group).splitlines()
    assert {line.split()[0] for line in lines if line.strip()} == {"group", group}


def test_an_unknown_group():
    """The nearest is named."""
    with pytest.raises(LimitUnknownError, match=r"no group of limits guest; did you mean guests\?"):
        run("--group", "guest")


def test_another_configuration_file(tmp_path):
    """`--config` names the file."""
    path = tmp_path / "other.toml"
    path.write_text("[limits.gate]\neffect_count_max = 3\n")
    document = json.loads(run("--json", "--group", "gate", "--config", str(path)))
    assert document["gate"]["effect_count_max"] == 3

"""`cloche arch check` and `cloche arch init` as a shell sees them."""

import json
import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from arch.support import Project
from cloche.cli.arch import app


def run(*arguments, env=None):
    """Run the command group in process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def test_a_contract_that_holds_exits_0(project: Project):
    """The verdict is the only line."""
    project.save()
    outcome = run("check", project.root)
    assert (outcome.exit_code, outcome.output) == (0, "ARCH_CONTRACT_OK\n")


def test_a_broken_contract_exits_2(project: Project):
    """Each finding with place and advice, then the verdict."""
    project.node("shop.app")["imports"].append("gone")
    project.save()
    outcome = run("check", project.root)
    assert outcome.exit_code == 2
    assert outcome.output == (
        "arch/graph.json: error E_ARCH_IMPORT_UNKNOWN: shop.app declares gone, which is no node\n"
        "    correct the id or remove it\n"
        "ARCH_CONTRACT_FAIL: 1 finding\n"
    )


def test_an_invalid_document_exits_3(project: Project):
    """The verdict is not given: the check could not be made."""
    project.documents["graph"]["extra"] = 1
    project.save()
    outcome = run("check", project.root)
    assert outcome.exit_code == 3
    assert outcome.stdout == ""
    assert outcome.stderr == (
        "ARCH_CONTRACT_ERROR: ARCH_DOCUMENT_INVALID: arch/graph.json: Additional properties are "
        "not allowed ('extra' was unexpected). Correct the document; its shape is in schemas/.\n"
    )


def test_a_project_over_the_limits_exits_4(project: Project):
    """The limits of the group arch come from where every limit comes from."""
    project.save()
    outcome = run("check", project.root, env={"CLOCHE_ARCH_MODULE_COUNT_MAX": "3"})
    assert outcome.exit_code == 4
    assert outcome.stderr == (
        "ARCH_CONTRACT_ERROR: ARCH_TOOL_BUDGET_EXCEEDED: modules: 4 is over the limit "
        "arch.module_count_max = 3. Raise arch.module_count_max or check a smaller project.\n"
    )


def test_a_wrong_limit_exits_3(project: Project):
    """A limit that cannot be is no finding of the project."""
    project.save()
    outcome = run("check", project.root, env={"CLOCHE_ARCH_MODULE_COUNT_MAX": "0"})
    assert outcome.exit_code == 3
    assert "LIMIT_OUT_OF_RANGE" in outcome.stderr


@pytest.mark.parametrize("command", ["check", "init"])
def test_a_wrong_path_exits_3(tmp_path, command):
    """A path that is not there and a file are told apart."""
    (tmp_path / "file").write_text("")
    missing = run(command, tmp_path / "gone")
    assert missing.exit_code == 3
    assert missing.stderr == (
        f"ARCH_CONTRACT_ERROR: ARCH_PROJECT_INVALID: {tmp_path}/gone: it does not exist. "
        "Give the directory of a project.\n"
    )
    assert "it is no directory" in run(command, tmp_path / "file").stderr


def test_a_directory_without_a_contract_exits_3(tmp_path):
    """The error names the command that writes one."""
    outcome = run("check", tmp_path)
    assert outcome.exit_code == 3
    assert "there is no arch/ directory. Run `cloche arch init` there" in outcome.stderr


def test_a_file_that_cannot_be_read_exits_3(project: Project):
    """The machine's refusal is an error with the file's name, and never a traceback."""
    project.save()
    (project.root / "docs/architecture/encodings/README.md").unlink()
    (project.root / "docs/architecture/encodings/README.md").symlink_to("README.md")
    (project.root / "AGENTS.md").unlink()
    (project.root / "AGENTS.md").symlink_to("/proc/self/mem")
    outcome = run("check", project.root)
    assert outcome.exit_code == 3
    assert "ARCH_CONTRACT_ERROR: ARCH_FILE_ACCESS: " in outcome.stderr


def test_json_is_one_canonical_object(project: Project):
    """Findings and errors come in the same envelope, on stdout."""
    project.save()
    good = run("check", project.root, "--json")
    assert good.exit_code == 0
    assert json.loads(good.stdout)["status"] == "ok"
    bad = run("check", project.root / "gone", "--json")
    assert bad.exit_code == 3
    assert json.loads(bad.stdout)["error"]["code"] == "ARCH_PROJECT_INVALID"
    for outcome in (good, bad):
        text = outcome.stdout
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_write_applies_and_reports_what_is_left(project: Project):
    """The documents that changed are named; what no patch can mend is still found."""
    project.append("src/shop/core.py", "import socket\n")
    project.node("shop.app")["imports"].append("gone")
    project.save()
    outcome = run("check", project.root, "--write")
    assert outcome.exit_code == 2
    lines = outcome.output.splitlines()
    assert lines[0] == "wrote arch/graph.json"
    assert lines[-1] == "ARCH_CONTRACT_FAIL: 1 finding"
    assert "E_ARCH_PREFIX_FORBIDDEN" in lines[1]
    assert run("check", project.root, "--write").output.splitlines()[0] == lines[1]


def test_a_patch_that_would_break_a_schema_is_not_written(project: Project):
    """All results are valid before the first is written, so --write cannot break a contract."""
    project.node("shop.core")["worlds_allowed"] = ["fixture", "run-os"]
    project.node("shop.ports")["worlds_allowed"] = ["run-os-sandboxed"]
    project.save()
    before = (project.root / "arch/graph.json").read_bytes()
    outcome = run("check", project.root, "--write")
    assert outcome.exit_code == 3
    assert "arch/graph.json#/modules/1/worlds_allowed" in outcome.stderr
    assert (project.root / "arch/graph.json").read_bytes() == before


def test_a_terminal_gets_a_table(project: Project):
    """On a terminal the findings are a table, and brackets in names are no markup."""
    project.node("shop.app")["imports"].append("[red]gone")
    project.save()
    command = [sys.executable, "-c", "from cloche.cli.arch import app; app()"]
    controller, terminal = pty.openpty()
    outcome = subprocess.run(
        [*command, "check", str(project.root)],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm"},
        check=False,
    )
    os.close(terminal)
    text = ""
    while True:
        try:
            text += os.read(controller, 65536).decode()
        except OSError:  # Linux says so when the other end is closed.
            break
    os.close(controller)
    assert outcome.returncode == 2, outcome.stderr
    assert "shop.app declares [red]gone, which is no node" in text
    assert text.rstrip().endswith("ARCH_CONTRACT_FAIL: 1 finding")

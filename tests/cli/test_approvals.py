"""`cloche approvals`, as a real process, on runs that another process put away."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest
from tests.cli.support import cloche

MODULE = '''
import cloche


@cloche.tool(secret_args=["token"])
def send(to: str, token: str = "") -> str:
    """Send."""
    return f"sent to {to}"
'''
SOURCE = b"""const say = 'hi';
try {
  return await tools.send({ to: 'ann', token: 's3c' + 'ret' });
} catch (error) {
  return error.message;
}
"""


@pytest.fixture
def command(tmp_path):
    """Return a function that runs cloche in a folder where a script waits."""
    (tmp_path / "send_tools.py").write_text(MODULE)

    def run(*arguments, stdin=b""):
        env = {"CLOCHE_STORE": str(tmp_path / "store.db")}
        return cloche(*arguments, cwd=tmp_path, stdin=stdin, env=env)

    run.folder = tmp_path
    run.first = run(
        "script", "-", "--tools", "send_tools", "--session", "s", "--json", stdin=SOURCE
    ).document["run_id"]
    (run.approval,) = run("approvals", "list", "--json").document["approvals"]
    return run


def resume(command):
    """Go on with the run that waited."""
    return command(
        "script", "resume", command.first, "--tools", "send_tools", "--session", "s", "--json"
    ).document


def test_list_and_show(command):
    """What waits, where in the script, until when; no secret is shown."""
    table = command("approvals", "list").stdout
    assert command.approval["id"][:12] in table
    shown = command("approvals", "show", command.approval["id"][:10])
    assert "tool: send\n" in shown.stdout
    assert "return await tools.send(" in shown.stdout
    assert "s3cret" not in table + shown.stdout
    document = command("approvals", "show", command.approval["id"], "--json").document
    assert document["shown"] == {"to": "ann", "token": "<redacted>"}
    assert command("approvals", "list", "--run", "other", "--json").document == {"approvals": []}


def test_approving_twice(command):
    """The second time changes nothing and says so; both are fine."""
    first = command("approvals", "approve", command.approval["id"], "--who", "ann", "--json")
    assert (first.exit_code, first.document["changed"]) == (0, True)
    second = command("approvals", "approve", command.approval["id"], "--who", "ann", "--json")
    assert (second.exit_code, second.document["changed"]) == (0, False)
    assert resume(command)["value"] == "sent to ann"


def test_deciding_otherwise_later(command):
    """A decision stands."""
    command("approvals", "reject", command.approval["id"], "--reason", "not today")
    late = command("approvals", "approve", command.approval["id"])
    assert late.exit_code == 1
    assert "decided otherwise" in late.stdout
    assert "not today" in resume(command)["value"]


def test_other_arguments(command):
    """From a file; they are checked where the tools are known."""
    (command.folder / "args.json").write_text(json.dumps({"to": 5}))
    approve = ("approvals", "approve", command.approval["id"], "--args", "@args.json")
    wrong = command(*approve, "--tools", "send_tools")
    assert wrong.exit_code != 0
    assert "were not valid" in wrong.stderr
    (command.folder / "args.json").write_text(json.dumps({"to": "bob"}))
    assert command(*approve, "--tools", "send_tools").exit_code == 0
    assert resume(command)["value"] == "sent to bob"


def test_always(command):
    """Later calls of the tool in the session do not ask."""
    command("approvals", "approve", command.approval["id"], "--always")
    assert resume(command)["value"] == "sent to ann"
    again = command(
        "script", "-", "--tools", "send_tools", "--session", "s", "--json", stdin=SOURCE
    )
    assert again.document["value"] == "sent to ann"


def test_calls_left_and_detached_work_are_shown(command):
    """Also where there is none of it."""
    shown = command("approvals", "show", command.approval["id"]).stdout
    assert "calls left: 31\ndetached: none\n" in shown
    assert "tools_used" not in shown
    header, row = (
        [cell.strip() for cell in line[1:-1].replace("┃", "│").split("│")]
        for line in command("approvals", "list").stdout.splitlines()
        if "left" in line or "send" in line
    )
    found = dict(zip(header, row, strict=True))
    assert (found["tool"], found["left"], found["detached"]) == ("send", "31", "")


def test_ending_the_run(command):
    """There is nothing to go on with, and it says so."""
    done = command("approvals", "reject", command.approval["id"], "--run")
    assert done.stdout.splitlines()[1] == "the run is over"


def test_the_audit(command):
    """What was asked and decided, with the proof that it is whole."""
    command("approvals", "reject", command.approval["id"], "--who", "ann", "--reason", "not today")
    whole = command("approvals", "audit", "--json").document
    assert [(one["event"], one["who"], one["reason"]) for one in whole["entries"]] == [
        ("pending", "cloche", ""),
        ("rejected", "ann", "not today"),
    ]
    proof = {"verified": True, "count": 2, "hash": whole["hash"]}
    assert command("approvals", "audit", "--verify", "--json").document == proof
    said = f"verified: 2 entries, the last hash is {whole['hash']}\n"
    assert command("approvals", "audit", "--verify").stdout == said
    table = command("approvals", "audit").stdout
    assert "not today" in table
    assert table.endswith(said)
    none = command("approvals", "audit", "--run", "other", "--json").document
    assert (none["entries"], none["count"]) == ([], 2)


def test_an_audit_that_was_changed(command):
    """The first row that is another is named; the exit code says it, too."""
    command("approvals", "reject", command.approval["id"])
    with contextlib.closing(sqlite3.connect(command.folder / "store.db")) as database:
        database.execute(
            "UPDATE audit_entries SET data = CAST(replace(data, 'pending', 'approved') AS BLOB)"
        )
        database.commit()
    for more in ((), ("--verify",)):
        done = command("approvals", "audit", *more)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "the audit of approvals was changed at row 0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["approve", "none"], 1, "none"),
        (["show", "none"], 2, "none"),
        (["approve", "x", "--args", "[]"], 2, "must be an object"),
        (["approve", "x", "--args", "{"], 2, "is no JSON"),
        (["approve", "x", "--args", "{}", "--always"], 2, "give one of them"),
        (["reject", "x", "--never", "--run"], 2, "give one of them"),
    ],
)
def test_wrong_options(tmp_path, arguments, code, problem):
    """A clear message and a documented exit code."""
    done = cloche("approvals", *arguments, cwd=tmp_path, env={"CLOCHE_STORE": str(tmp_path / "s")})
    assert done.exit_code == code
    assert problem in done.stderr + done.stdout
    assert "Traceback" not in done.stderr

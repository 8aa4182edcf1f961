"""`cloche script`, as a real process."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time

import pytest
from tests.cli.support import START, cloche, environment

MODULE = '''
import pathlib
import cloche


@cloche.tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@cloche.tool(read_only=True)
def begun() -> None:
    """Tell the test that the script is at work."""
    pathlib.Path("begun").touch()


def unwrite(args, result):
    pathlib.Path(args["path"]).unlink()


@cloche.tool(revert=unwrite)
def write(path: str, text: str) -> int:
    """Write a file."""
    return pathlib.Path(path).write_text(text)
'''


@pytest.fixture
def script(tmp_path):
    """Return a function that runs `cloche script` in a folder with tools and a store."""
    (tmp_path / "script_tools.py").write_text(MODULE)

    def run(*arguments, stdin=b""):
        env = {"CLOCHE_STORE": str(tmp_path / "store.db")}
        return cloche(*arguments, cwd=tmp_path, stdin=stdin, env=env)

    run.folder = tmp_path
    return run


TOOLS = ("--tools", "script_tools")


def test_a_program(script):
    """A plain program from standard input; its value and what it printed."""
    done = script(
        "script", "-", *TOOLS, stdin=b"console.log('hi'); return await tools.add({ a: 1, b: 2 })"
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "hi\n3\n", "")


def test_json(script):
    """One object with the fields that are promised, in a file's own language."""
    (script.folder / "a.py").write_text("print('x')\ntools.add(a=1, b=2)")
    document = script("script", "a.py", *TOOLS, "--json").document
    assert list(document) == [
        "run_id",
        "status",
        "value",
        "output",
        "tool_calls",
        "error",
        "usage",
    ]
    assert (document["status"], document["value"], document["output"]) == ("completed", 3, "x\n")
    assert [call["tool"] for call in document["tool_calls"]] == ["add"]
    assert document["usage"]["tool_calls"] == 1


def test_a_message_with_several_scripts(script):
    """An array, one object for each; the exit code is that of the first that failed."""
    (script.folder / "message.md").write_text(
        "First\n<tool-calls>return 1</tool-calls>\nthen\n"
        '<tool-calls lang="python">1 / 0</tool-calls>\n<tool-calls>return 3</tool-calls>'
    )
    done = script("script", "message.md", "--json")
    assert [one["status"] for one in done.document] == ["completed", "failed", "skipped"]
    assert done.exit_code == 1
    going_on = script("script", "message.md", "--json", "--go-on")
    assert [one["status"] for one in going_on.document] == ["completed", "failed", "completed"]


def test_waiting_approving_and_going_on(script):
    """Exit code 75; another process approves with other arguments, a third goes on."""
    (script.folder / "w.ts").write_text("return await tools.write({ path: 'o.txt', text: 'hi' })")
    waits = script("script", "w.ts", *TOOLS)
    assert waits.exit_code == 75
    assert 'write {"path": "o.txt", "text": "hi"}' in waits.stdout
    run_id = waits.stdout.split()[1]
    (approval,) = script("approvals", "list", "--json").document["approvals"]
    approved = script(
        "approvals", "approve", approval["id"][:12], "--args", '{"path":"o.txt","text":"other"}'
    )
    assert approved.exit_code == 0
    assert f"go on: cloche script resume {run_id}" in approved.stdout
    done = script("script", "resume", run_id, *TOOLS, "--json")
    assert (done.exit_code, done.document["value"]) == (0, 5)
    assert (script.folder / "o.txt").read_text() == "other"
    undone = script("script", "rollback", run_id, *TOOLS, "--json")
    assert (undone.exit_code, undone.document["status"]) == (0, "rolled_back")
    assert not (script.folder / "o.txt").exists()


def test_a_rejected_run(script):
    """Exit code 77, and nothing happened."""
    waits = script(
        "script", "-", *TOOLS, "--json", stdin=b"await tools.write({ path: 'o', text: '' })"
    )
    (approval,) = script("approvals", "list", "--json").document["approvals"]
    script("approvals", "reject", approval["id"], "--run", "--reason", "no")
    done = script("script", "resume", waits.document["run_id"], *TOOLS)
    assert done.exit_code == 77
    assert done.stderr.startswith("cloche: rejected: ")
    assert not (script.folder / "o").exists()


def test_modes(script):
    """Dry-run reports and runs nothing; disabled warns."""
    source = b"await tools.write({ path: 'o', text: '' }); await tools.ad({})"
    dry = script("script", "-", *TOOLS, "--mode", "dry-run", "--json", stdin=source)
    assert (dry.exit_code, dry.document["status"]) == (1, "failed")
    assert dry.document["error"]["code"] == "TOOL_NOT_FOUND"
    assert dry.document["value"]["tools"] == [
        {"tool": "write", "line": 1, "known": True},
        {"tool": "ad", "line": 1, "known": False},
    ]
    off = script("script", "-", "--mode", "disabled", stdin=b"return 1")
    assert (off.exit_code, off.stdout) == (0, "")
    assert "scripts are disabled" in off.stderr


def test_a_policy(script):
    """Rules of a file come before what tools say."""
    (script.folder / "rules.json").write_text(
        json.dumps([{"tool": "write", "when": {"path": "*.txt"}, "verdict": "allow"}])
    )
    done = script(
        "script",
        "-",
        *TOOLS,
        "--policy",
        "rules.json",
        stdin=b"return await tools.write({ path: 'a.txt', text: 'abc' })",
    )
    assert (done.exit_code, done.stdout) == (0, "3\n")


def test_a_workspace_and_commands(script):
    """Granted by options, and only then."""
    (script.folder / "found.txt").write_text("")
    source = b"return (await tools.fileSearch({ pattern: 'found' })).length"
    assert script("script", "-", "--workspace", ".", stdin=source).stdout == "1\n"
    assert "TOOL_NOT_FOUND" in script("script", "-", "--json", stdin=source).stdout
    command = b"return await tools.exec({ command: ['echo', 'hi'] })"
    waits = script("script", "-", "--workspace", ".", "--exec", "echo", stdin=command)
    assert waits.exit_code == 75


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["resume"], "`cloche script resume` takes RUN behind it, found nothing"),
        (["a.ts", "run"], "`cloche script a.ts` takes nothing behind it, found run"),
        (["save", "run"], "`cloche script save` takes RUN and NAME behind it, found run"),
        (["jobs", "run"], "takes nothing behind it, found run"),
        (["fork", "run"], "needs --calls"),
        (["replay", "run", "--calls", "1"], "--calls goes with fork"),
        (["-", "--source", "a.ts"], "--source goes with replay"),
        (["resume", "run", "--params", "{}"], "--params goes with FILE or snippet"),
        (["-", "--params", "[]"], "--params must be an object, found list"),
        (["-", "--params", "@none.json"], "cannot read none.json"),
        (["replay", "nothing"], "there is no script run 'nothing' in the store /"),
        (["snippet", "nothing"], "snippet 'nothing': there is none"),
        (["-", "--mode", "on"], "--mode is 'on'"),
        (["-", "--language", "perl"], "--language is 'perl'"),
        (["none.ts"], "cannot read none.ts"),
        (["-", "--tools", "no_such_module"], "cannot be imported"),
        (["-", "--exec", "echo"], "--exec needs --workspace"),
        (["-", "--policy", "none.json"], "cannot read none.json"),
        (["resume", "nothing"], "nothing"),
    ],
)
def test_wrong_options(script, arguments, problem):
    """A clear message and exit code 2."""
    done = script("script", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_keeps_what_is_there(script):
    """Ctrl-C ends the run as cancelled, with what it printed."""
    program = "console.log('begun'); await tools.begun(); for (;;) {}"
    (script.folder / "endless.ts").write_text(program)
    process = subprocess.Popen(
        [*START, "script", "endless.ts", "--json", *TOOLS],
        cwd=script.folder,
        env=environment(CLOCHE_STORE=str(script.folder / "store.db")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline_s = time.monotonic() + 60
    while not (script.folder / "begun").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    document = json.loads(stdout)
    assert (document["status"], document["output"]) == ("cancelled", "begun\n")
    assert process.returncode == 130


SPAWNING = '''
import cloche
from cloche.script.adapters.spawn import Spawner


@cloche.tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@cloche.tool(read_only=True)
def forever() -> None:
    """Never end."""
    import threading

    threading.Event().wait(30)


spawner = Spawner(add, forever)


@cloche.tool(read_only=True)
def finished(id: str) -> None:
    """Wait for the end of a job."""
    spawner.wait(id, 60)


def everything():
    return [*spawner.tools, finished]
'''


def test_detached_work_is_listed(script):
    """By another process, with what became of it; and a later script finds the result."""
    (script.folder / "spawning.py").write_text(SPAWNING)
    tools = ("--tools", "spawning:everything")
    source = b"""
const job = await tools.spawn.add({ a: 1, b: 2 });
await tools.finished({ id: job.id });
return job.id;
"""
    done = script("script", "-", *tools, stdin=source)
    job_id = json.loads(done.stdout)
    (job,) = json.loads(script("script", "jobs", "--json").stdout)["jobs"]
    assert (job["id"], job["tool"], job["status"], job["value"]) == (job_id, "add", "completed", 3)
    assert job_id in script("script", "jobs").stdout
    later = script(
        "script", "-", *tools, stdin=f"return (await tools.spawn.status('{job_id}')).value".encode()
    )
    assert later.stdout == "3\n"


def test_old_runs_are_removed(script):
    """As the limits say."""
    script("script", "-", stdin=b"return 1")
    assert script("script", "prune").stdout == "0 runs removed\n"
    (script.folder / "cloche.toml").write_text("[limits.scripts]\nkept_run_count_max = 0\n")
    assert json.loads(script("script", "prune", "--json").stdout) == {"removed": 1}


ADDING = b"""
const { n } = context.params;
await tools.write({ path: `${n}.txt`, text: "hi" });
return tools.add({ a: n, b: 1 });
"""
ALLOWED = (*TOOLS, "--policy", "all.json")


@pytest.fixture
def run_id(script):
    """Return the id of a run that wrote a file and added."""
    (script.folder / "all.json").write_text('[{"tool": "*", "verdict": "allow"}]')
    (script.folder / "adding.ts").write_bytes(ADDING)
    done = script("script", "adding.ts", *ALLOWED, "--params", '{"n": 1}', "--json").document
    assert done["value"] == 2
    return done["run_id"]


def test_a_snippet(script, run_id):
    """Kept by a name, listed, run with other parameters, also from a file."""
    saved = script("script", "save", run_id, "adding")
    assert saved.stdout == "saved: cloche script snippet adding --params '{\"n\": 1}'\n"
    (listed,) = script("script", "snippets", "--json").document["snippets"]
    assert (listed["name"], listed["params"], listed["run_id"]) == ("adding", {"n": 1}, run_id)
    assert "adding" in script("script", "snippets").stdout
    again = script("script", "snippet", "adding", *ALLOWED, "--params", '{"n": 5}')
    assert (again.exit_code, again.stdout) == (0, "6\n")
    wrong = script("script", "snippet", "adding", *ALLOWED, "--params", '{"m": 5}')
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "cloche: snippet 'adding': has no parameter 'm'; it has n\n",
    )


def test_parameters_are_for_one_program(script):
    """A message with scripts has none."""
    message = b"<tool-calls>\nreturn 1\n</tool-calls>"
    done = script("script", "-", "--params", "{}", stdin=message)
    assert (done.exit_code, "is a message with scripts" in done.stderr) == (2, True)


def test_a_replay(script, run_id):
    """The same run is the same; another script shows both sides, and nothing is called."""
    (script.folder / "1.txt").unlink()
    same = script("script", "replay", run_id, *TOOLS)
    assert (same.exit_code, same.stdout) == (0, "2\n")
    other = ADDING.replace(b'"hi"', b'"ho"')
    done = script("script", "replay", run_id, *TOOLS, "--source", "-", stdin=other)
    assert done.exit_code == 1
    assert done.stdout.startswith("the replay diverged: another effect at the same place")
    recorded, now = done.stdout.split("recorded:\n")[1].split("now:\n")
    assert '  args: {"path": "1.txt", "text": "hi"}\n' in recorded
    assert '  args: {"path": "1.txt", "text": "ho"}\n' in now
    document = script(
        "script", "replay", run_id, *TOOLS, "--source", "-", "--json", stdin=other
    ).document
    assert document["same"] is False
    assert document["divergence"]["fields"]["requested"]["args"]["text"] == "ho"
    assert not (script.folder / "1.txt").exists()


def test_a_fork(script, run_id):
    """A run of its own behind the calls that it shares."""
    (script.folder / "1.txt").unlink()
    done = script("script", "fork", run_id, "--calls", "1", *ALLOWED, "--json")
    assert (done.exit_code, done.document["value"]) == (0, 2)
    assert done.document["run_id"] != run_id
    assert not (script.folder / "1.txt").exists()
    told = script("script", "fork", run_id, "--calls", "0", *ALLOWED)
    assert told.stderr.startswith(f"cloche: {run_id} goes on anew as run ")
    assert (script.folder / "1.txt").exists()


def test_a_rollback_says_what_it_did(script, run_id):
    """Which calls were undone and which could not be; asked again, the rest is tried again."""
    without = script("script", "rollback", run_id)
    assert (without.exit_code, "nothing was undone" in without.stderr) == (2, True)
    (script.folder / "1.txt").unlink()
    write = 'write {"path": "1.txt", "text": "hi"}'
    failed = script("script", "rollback", run_id, *TOOLS)
    assert failed.exit_code == 1
    assert failed.stdout.startswith(f"not undone: {write}: FileNotFoundError: ")
    assert f"cloche script rollback {run_id}" in failed.stderr
    (script.folder / "1.txt").touch()
    done = script("script", "rollback", run_id, *TOOLS)
    assert (done.exit_code, done.stdout) == (0, f"undone: {write}\n")
    nothing = json.loads(script("script", "-", "--json", stdin=b"return 1").stdout)["run_id"]
    assert script("script", "rollback", nothing).stdout == "there was nothing to undo\n"


def test_verbose(script):
    """A banner with the hash, and lines that are marked; on standard error, and only if asked."""
    program = b"console.log('mine'); return await tools.add({ a: 1, b: 2 })"
    quiet = script("script", "-", *TOOLS, stdin=program)
    done = script("script", "-", *TOOLS, "--verbose", stdin=program)
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "") == ("mine\n3\n", "")
    started, ended, call = done.stderr.splitlines()
    digest = hashlib.sha256(program).hexdigest()[:12]
    assert started.startswith(f"[script] started typescript {digest} run ")
    assert ended.startswith(f"[script] completed typescript {digest} run ")
    assert ": 1 calls, " in ended
    assert call.startswith("[script] add (line 1) completed, ")


def test_verbose_says_what_failed(script):
    """With its code, and the message of the call."""
    done = script(
        "script", "-", *TOOLS, "--verbose", stdin=b"return await tools.add({ a: 'x', b: 1 })"
    )
    assert "TOOL_VALIDATION" in done.stderr.splitlines()[1]


def test_packs_are_switched(script):
    """`--pack NAME=off`; what is no switch is a mistake."""
    (script.folder / "a.txt").write_text("hi")
    read = (
        "script",
        "-",
        "--workspace",
        ".",
    )
    source = b"return tools.readFile('a.txt')"
    assert script(*read, stdin=source).stdout == '"hi"\n'
    off = script(*read, "--pack", "files=off", stdin=source)
    assert (off.exit_code, "is switched off" in off.stderr) == (1, True)
    assert script(*read, "--pack", "files", stdin=source).exit_code == 2
    listed = script("tools", "list", "--workspace", ".", "--pack", "*=off", "--json")
    assert json.loads(listed.stdout) == {"tools": []}


def test_a_file_is_what_its_suffix_says(script):
    """A program may hold the tags in its texts, and a message may only speak of them."""
    programs = {"p.ts": 'return "<tool-calls>".length', "p.py": 'len("</tool-calls>")'}
    for name, text in programs.items():
        (script.folder / name).write_text(text)
    assert script("script", "p.ts", "--json").document["value"] == 12
    assert script("script", "p.py", "--json").document["value"] == 13
    for text in ("No script.", "Write `<tool-calls>` around it."):
        (script.folder / "said.md").write_text(text)
        assert script("script", "said.md", "--json").stdout == "[]\n"
        done = script("script", "said.md")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "cloche: there is no script in the message\n"


def test_a_long_message(script):
    """Prose counts for the limit of messages, not for that of programs."""
    text = "word\n" * 250_000 + "<tool-calls>return 7</tool-calls>"
    (script.folder / "long.md").write_text(text)
    assert script("script", "long.md", "--json").document["value"] == 7


def test_a_workspace_that_is_not_there(script):
    """Is a wrong option, not a failure."""
    done = script("script", "-", "--workspace", "nowhere", stdin=b"return 1")
    assert done.exit_code == 2
    assert done.stderr == "cloche: --workspace is 'nowhere', which is no folder\n"

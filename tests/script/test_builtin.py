"""Tests of the tools that come with cloche: a workspace, commands, detached calls."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from tests.script.cases import WAIT_S

import cloche
from cloche.gate.ports import EffectFailure
from cloche.script.adapters.commands import OUTPUT_LIMIT_BYTES, TRUNCATED, Commands
from cloche.script.adapters.spawn import Spawner
from cloche.script.adapters.workspace import PathError, Workspace
from cloche.script.approvals import Made
from cloche.script.errors import ToolDeclarationError
from cloche.script.patches import PatchError
from cloche.script.policy import ToolPolicy

UPDATE = "--- a/main.py\n+++ b/main.py\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
ADD = "--- /dev/null\n+++ b/new/deep/file.txt\n@@ -0,0 +1 @@\n+hello\n"
DELETE = "--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"


@pytest.fixture
def folder(tmp_path):
    """A workspace's folder, with files."""
    inside = tmp_path / "work"
    inside.mkdir()
    (inside / "main.py").write_text("one\ntwo\n")
    (inside / "old.txt").write_text("gone\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    return inside


def texts(folder):
    """Return every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- applyPatch ---


def test_a_patch_changes_adds_and_deletes(folder):
    """One patch may do all three, and says what it did."""
    done = Workspace(folder).apply_patch(UPDATE + ADD + DELETE)
    assert texts(folder) == {"main.py": "one\n2\n", "new/deep/file.txt": "hello\n"}
    assert done == {
        "summary": "changed main.py, added new/deep/file.txt, deleted old.txt",
        "changes": [
            {"path": "main.py", "kind": "update"},
            {"path": "new/deep/file.txt", "kind": "add"},
            {"path": "old.txt", "kind": "delete"},
        ],
    }


def test_a_patch_is_undone(folder):
    """`undo_patch` gives back the files that were there."""
    before = texts(folder)
    workspace = Workspace(folder)
    workspace.apply_patch(UPDATE + ADD + DELETE)
    workspace.undo_patch(UPDATE + ADD + DELETE)
    assert texts(folder) == before


@pytest.mark.parametrize(
    "bad",
    [
        "--- a/old.txt\n+++ b/old.txt\n@@ -1 +1 @@\n-other\n+x\n",
        "--- a/none.txt\n+++ b/none.txt\n@@ -1 +1 @@\n-a\n+b\n",
        "--- /dev/null\n+++ b/old.txt\n@@ -0,0 +1 @@\n+x\n",
        "--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-other\n",
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(folder, bad):
    """Neither the file that does not fit nor the others."""
    before = texts(folder)
    with pytest.raises(PatchError):
        Workspace(folder).apply_patch(UPDATE + ADD + bad)
    assert texts(folder) == before


def test_a_patch_that_cannot_be_written_changes_nothing(folder):
    """What was replaced before the disk refused is put back, and nothing is left beside it."""
    (folder / "dir").mkdir()
    (folder / "dir" / "kept").write_text("kept\n")
    workspace = Workspace(folder)
    before = texts(folder)
    replace = workspace._replace
    calls = []

    def refuse_the_second(path, beside):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "no space")
        replace(path, beside)

    workspace._replace = refuse_the_second
    with pytest.raises(OSError, match="no space"):
        workspace.apply_patch(UPDATE + DELETE)
    assert texts(folder) == before


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "a/../../secret.txt",
        "/etc/passwd",
        "link.txt",
        "folder/secret.txt",
        "main.py\0.txt",
        "..\\secret.txt",
        ".",
        "dir/",
        "x" * 5000,
        "/".join("a" * 100),
        "loop/file",
        "\ud800",
    ],
)
@pytest.mark.parametrize("kind", ["add", "update", "delete"])
def test_no_path_leads_out(folder, path, kind):
    """Not by `..`, a link, a NUL, or a length; whatever the patch does."""
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "folder").symlink_to(folder.parent)
    (folder / "loop").symlink_to("loop")
    old, new = f"a/{path}", f"b/{path}"
    hunk = "@@ -1 +1 @@\n-secret\n+stolen\n"
    if kind == "add":
        old, hunk = "/dev/null", "@@ -0,0 +1 @@\n+stolen\n"
    if kind == "delete":
        new, hunk = "/dev/null", "@@ -1 +0,0 @@\n-secret\n"
    with pytest.raises((PathError, PatchError, OSError)):
        Workspace(folder).apply_patch(f"--- {old}\n+++ {new}\n{hunk}")
    assert (folder.parent / "secret.txt").read_text() == "secret\n"
    assert sorted(texts(folder)) == ["link.txt", "main.py", "old.txt"]


def test_no_device_is_read(folder):
    """A named pipe is no file, and nobody waits for its writer."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(PathError, match="is no file"):
        Workspace(folder).apply_patch("--- a/pipe\n+++ b/pipe\n@@ -1 +1 @@\n-a\n+b\n")


def test_a_patch_that_fails_leaves_no_folders(folder):
    """Folders that it made go with it; those that were there stay, also when they are empty."""
    (folder / "there").mkdir()
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    add = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+x\n"
    bad = add.format("new/deep/a.txt") + add.format("there/b.txt") + add.format("there/b.txt/c.txt")
    with pytest.raises(IsADirectoryError):
        Workspace(folder).apply_patch(bad)
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before


def test_the_mode_of_a_file_is_kept(folder):
    """A program stays one."""
    (folder / "main.py").chmod(0o750)
    Workspace(folder).apply_patch(UPDATE)
    assert (folder / "main.py").stat().st_mode & 0o777 == 0o750


def test_a_script_patches_after_a_yes(folder):
    """`applyPatch` asks; the script gets the changes."""
    harness = cloche.ScriptHarness(*Workspace(folder).tools)
    parked = harness.run(f"return await tools.applyPatch({{ patch: {UPDATE!r} }})")
    assert (parked.status, texts(folder)["main.py"]) == ("suspended", "one\ntwo\n")
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="ann"))
    result = harness.resume(parked.run_id)
    assert result.value["changes"] == [{"path": "main.py", "kind": "update"}]
    assert texts(folder)["main.py"] == "one\n2\n"


def test_a_script_reads_why_a_patch_failed(folder):
    """The error says what is wrong, for the model to act on."""
    policy = ToolPolicy.from_document(
        [{"tool": "applyPatch", "verdict": "allow"}], limits=cloche.Limits()
    )
    harness = cloche.ScriptHarness(*Workspace(folder).tools, policy=policy)
    result = harness.run("tools.applyPatch(patch='nonsense')", language="python")
    assert result.error["code"] == "TOOL_EXECUTION"
    assert "PATCH_INVALID: there is no change in it" in result.error["message"]


# --- fileSearch ---


def test_searching(folder):
    """The best first: the name, a part of it, its letters in order; links are no files."""
    (folder / "src").mkdir()
    (folder / "src" / "domain.py").write_text("")
    (folder / ".git").mkdir()
    (folder / ".git" / "main.py").write_text("")
    (folder / "out").symlink_to(folder.parent)
    search = Workspace(folder).search
    assert [one["path"] for one in search("main.py")] == ["main.py", "src/domain.py"]
    assert [one["path"] for one in search("*.PY", exclude=["src/*"])] == ["main.py"]
    assert [one["path"] for one in search("srdo")] == ["src/domain.py"]
    assert search("secret") == []
    assert len(search("", limit=2)) == 2
    assert search("", limit=-1) == []


def test_a_script_searches_without_asking(folder):
    """`fileSearch` only reads."""
    result = cloche.ScriptHarness(*Workspace(folder).tools).run(
        "return (await tools.fileSearch({ pattern: 'old' })).map((one) => one.path)"
    )
    assert result.value == ["old.txt"]


# --- exec ---


def commands(folder, *allowed, **options):
    """Return commands that may run, by default a few harmless ones."""
    return Commands(allowed or ["echo", "sh -c", "pwd", "env", "sleep"], folder=folder, **options)


def test_a_command_runs(folder):
    """Exit code, output and errors of a command come back."""
    done = commands(folder).run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.exit_code, done.stdout, done.stderr, done.timed_out) == (
        3,
        "out\n",
        "err\n",
        False,
    )


def test_there_is_no_shell(folder):
    """What would mean something to a shell is text."""
    done = commands(folder).run(["echo", "$HOME; ls `pwd` > x"])
    assert done.stdout == "$HOME; ls `pwd` > x\n"
    assert not (folder / "x").exists()


@pytest.mark.parametrize(
    "command",
    [["ls"], ["/bin/echo", "a"], ["./echo"], ["sh"], ["sh", "-x"], [], ["echo\0"], ["ECHO"]],
)
def test_what_is_not_listed_does_not_run(folder, command):
    """A command begins with the words of an entry, exactly."""
    with pytest.raises(EffectFailure) as caught:
        commands(folder).run(command)
    assert caught.value.error.code == "COMMAND_DENIED"


def test_where_a_command_starts(folder):
    """In the workspace or below it, links resolved."""
    (folder / "below").mkdir()
    (folder / "out").symlink_to(folder.parent)
    run = commands(folder).run
    assert run(["pwd"]).stdout == f"{folder}\n"
    assert run(["pwd"], cwd="below").stdout == f"{folder / 'below'}\n"
    for cwd in ("..", "/", "out", "a\0b"):
        with pytest.raises(EffectFailure, match="not below"):
            run(["pwd"], cwd=cwd)


def test_the_environment_of_a_command(folder, monkeypatch):
    """Nothing of ours is inherited; a script sets what the list allows."""
    monkeypatch.setenv("API_KEY", "secret")
    allowed = commands(folder, environment=["MODE"])
    assert "secret" not in allowed.run(["env"]).stdout
    assert "MODE=a\n" in allowed.run(["env"], env={"MODE": "a"}).stdout
    with pytest.raises(EffectFailure, match="LD_PRELOAD"):
        allowed.run(["env"], env={"LD_PRELOAD": "/tmp/x.so"})


def test_a_command_that_takes_too_long_is_stopped(folder):
    """And its result says so."""
    done = commands(folder).run(["sh", "-c", "exec sleep 60"], timeout_ms=200)
    assert (done.timed_out, done.exit_code) == (True, -15)


def test_a_command_is_stopped(folder):
    """With all that it started, also what ignores the first signal."""
    script = "trap '' TERM; (sleep 60; touch late) & touch ready; wait; sleep 60"
    done = commands(folder).run(["sh", "-c", script], is_cancelled=(folder / "ready").exists)
    assert (done.timed_out, done.exit_code) == (False, -9)
    assert not (folder / "late").exists()


def test_output_is_cut(folder):
    """A flood ends at the limit, with a mark, and the command goes on to its end."""
    flood = f"import sys; sys.stdout.write('x' * {OUTPUT_LIMIT_BYTES + 10}); sys.exit(4)"
    python = (sys.executable, "-c")
    allowed = Commands([(sys.executable, "-c")], folder=folder)
    done = allowed.run([*python, flood])
    assert done.stdout == "x" * OUTPUT_LIMIT_BYTES + TRUNCATED
    assert done.exit_code == 4


def test_declaring_commands(folder):
    """A list that is empty, or names what is not there, is refused at once."""
    with pytest.raises(ToolDeclarationError, match="no program 'nothing-of-this-name'"):
        commands(folder, "nothing-of-this-name")
    with pytest.raises(ToolDeclarationError, match="empty"):
        Commands([], folder=folder)


def test_a_script_runs_a_command_after_a_yes(folder):
    """`exec` asks, and shows the command."""
    harness = cloche.ScriptHarness(*commands(folder).tools)
    parked = harness.run("(await tools.exec(command=['echo', 'hi']))['stdout']", language="python")
    assert harness.pending[0].shown["command"] == ["echo", "hi"]
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="ann"))
    assert harness.resume(parked.run_id).value == "hi\n"


# --- spawn ---


def test_detached_work_outlives_its_script():
    """The script gets a job at once; a later one reads what became of it."""
    go_on = threading.Event()

    @cloche.tool(read_only=True)
    def slow(n: int) -> int:
        """Take until it may go on."""
        go_on.wait(WAIT_S)
        return n

    spawner = Spawner(slow)
    harness = cloche.ScriptHarness(slow, *spawner.tools)
    first = harness.run("return await tools.spawn.slow({ n: 150 })")
    assert first.value == {"id": first.value["id"], "tool": "slow", "status": "running"}
    go_on.set()
    spawner.wait(first.value["id"], WAIT_S)
    second = harness.run(f"tools.spawn.status('{first.value['id']}')", language="python")
    assert second.value == {**first.value, "status": "completed", "value": 150}
    assert harness.run("return (await tools.spawn.list()).length").value == 1


def test_detached_work_is_cancelled():
    """The tool is told; the job says so."""

    @cloche.tool(read_only=True)
    async def endless() -> None:
        """Wait for ever."""
        import asyncio

        await asyncio.sleep(1000)

    spawner = Spawner(endless)
    harness = cloche.ScriptHarness(*spawner.tools)
    result = harness.run(
        "const job = await tools.spawn.endless(); return [job.id, await tools.spawn.cancel(job.id)]"
    )
    job_id, was_running = result.value
    assert was_running is True
    assert spawner.wait(job_id, WAIT_S).to_document()["status"] == "cancelled"


def test_detached_work_is_decided_about():
    """A rule about a tool holds for its detached calls; arguments are checked as always."""
    done = []

    @cloche.tool(requires_approval=False)
    def write(path: str) -> None:
        """Write."""
        done.append(path)

    policy = ToolPolicy.from_document(
        [{"tool": "write", "when": {"path": "*.key"}, "verdict": "deny"}], limits=cloche.Limits()
    )
    harness = cloche.ScriptHarness(*Spawner(write).tools, policy=policy)
    denied = harness.run("return await tools.spawn.write({ path: 'a.key' })")
    assert denied.error["code"] == "APPROVAL_DENIED"
    wrong = harness.run("return await tools.spawn.write({ path: 5 })")
    assert wrong.error["code"] == "TOOL_VALIDATION"
    assert done == []


def test_a_failing_job_and_an_unknown_one():
    """The job says what broke; what is no job is an error."""

    @cloche.tool(read_only=True)
    def broken() -> None:
        """Fail."""
        raise ValueError("no")

    spawner = Spawner(broken)
    harness = cloche.ScriptHarness(*spawner.tools)
    job_id = harness.run("return (await tools.spawn.broken()).id").value
    assert spawner.wait(job_id, WAIT_S).to_document()["error"] == "ValueError: no"
    unknown = harness.run("return await tools.spawn.status('nothing')")
    assert "there is no detached call 'nothing'" in unknown.error["message"]
    spawner.close()

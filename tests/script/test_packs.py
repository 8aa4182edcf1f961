"""Packs of tools, switched together, and the catalogue of built-in ones."""

from __future__ import annotations

import pytest
from tests.script.cases import LANGUAGES, add, run

import cloche
from cloche.gate.ports import EffectFailure
from cloche.script.adapters.commands import Commands
from cloche.script.adapters.spawn import Spawner
from cloche.script.adapters.workspace import Workspace
from cloche.script.approvals import Made
from cloche.script.errors import ToolDeclarationError, ToolNotAllowedError
from cloche.script.plan import Plan, Step
from cloche.script.tools import ToolSet, pack
from cloche.script.web_tools import Found, search_tool

CALLS = {"python": "tools.double(n=2)"}


@cloche.tool(read_only=True, pack="maths")
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def yes(approval):
    """Approve everything."""
    return Made(verdict="approve", who="ann")


# --- packs ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_pack_that_is_off(language):
    """Its tools are not there, and a call says which pack it is and what is allowed."""
    call = CALLS.get(language, "return await tools.double({ n: 2 })")
    assert run(call, add, double, language=language).value == 4
    off = run(call, add, double, language=language, packs={"maths": False})
    assert off.error["code"] == "TOOL_NOT_ALLOWED"
    assert off.error["message"] == (
        "the tool 'double' is not allowed: the pack 'maths' is switched off. Allowed: add"
    )
    assert off.error["fields"]["allowed"] == ["add"]


def test_a_script_does_not_see_what_is_off():
    """Not in the context, not by searching, not in a dry run."""
    harness = cloche.ScriptHarness(add, double, packs={"maths": False})
    source = "return [context.capabilities.tools, (await tools.search('double')).length]"
    assert harness.run(source).value == [["add"], 0]
    checked = harness.run("return tools.double({ n: 1 })", mode="dry-run")
    assert checked.error["code"] == "TOOL_NOT_ALLOWED"


def test_a_pack_of_ones_own():
    """Any tools; a tool is of one pack."""
    mine = pack("mine", add, double)
    assert {one.pack for one in mine.values()} == {"mine"}
    assert list(ToolSet(mine, packs={"mine": False})) == []
    with pytest.raises(ToolDeclarationError, match="no name of a pack"):
        pack("", add)


def test_all_that_are_not_named():
    """`*` stands for the other packs; tools without one stay."""
    tools = (add, double, *Plan().tools)
    assert list(ToolSet(*tools, packs={"*": False})) == ["add"]
    assert list(ToolSet(*tools, packs={"*": False, "plan": True})) == ["add", "updatePlan"]


def test_a_pack_that_is_none():
    """A name that is not there is a mistake, and leaves nothing open by itself."""
    with pytest.raises(ToolDeclarationError, match="no tool is of this pack"):
        ToolSet(double, packs={"math": False})


def test_a_set_in_a_set_remembers_what_is_off():
    """The error is the same wherever the pack was switched."""
    outer = ToolSet(ToolSet(add, double, packs={"maths": False}))
    with pytest.raises(ToolNotAllowedError, match="'maths' is switched off"):
        outer.find("double")


def test_every_built_in_tool_is_of_a_pack(tmp_path):
    """So what reaches out of the sandbox is switched by one word."""
    found = ToolSet(
        *Workspace(tmp_path).tools,
        *Commands(["true"], folder=tmp_path).tools,
        *Spawner(add).tools,
        *Plan().tools,
        search_tool(lambda query, count: []),
    )
    assert {one.pack for one in found.values()} == {"files", "commands", "spawn", "plan", "web"}


# --- files ---


@pytest.fixture
def files(tmp_path):
    """Return a harness over a small folder, in which everything is approved."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").write_text("one\ntwo\nThree two\n")
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe two")
    (tmp_path / "notes.md").write_text("nothing of it\n")
    (tmp_path / "out").symlink_to("/etc")
    return cloche.ScriptHarness(*Workspace(tmp_path).tools, approver=yes)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("{ path: 'src/main.py' }", "one\ntwo\nThree two\n"),
        ("{ path: 'src/main.py', start: 2 }", "two\nThree two\n"),
        ("{ path: 'src/main.py', start: 2, count: 1 }", "two\n"),
        ("{ path: 'src/main.py', start: 9 }", ""),
        ("{ path: 'src/main.py', count: -1 }", ""),
    ],
)
def test_reading(files, args, text):
    """A whole file or some of its lines; nobody is asked."""
    assert files.run(f"return tools.readFile({args})").value == text
    assert files.audit == ()


@pytest.mark.parametrize(
    "path", ["gone.txt", "../x", "/etc/passwd", "out/passwd", "src", "data.bin"]
)
def test_what_cannot_be_read(files, path):
    """Paths that lead out, folders, and what is no text."""
    result = files.run(f"return tools.readFile({{ path: '{path}' }})")
    assert result.error["code"] == "TOOL_EXECUTION"


def test_writing(files, tmp_path):
    """A new file with its folders, and one that is replaced; both can be undone."""
    source = """
await tools.writeFile({ path: "new/deep/a.txt", text: "hi" });
return tools.writeFile({ path: "notes.md", text: "changed" });
"""
    result = files.run(source)
    assert result.value == {
        "path": "notes.md",
        "bytes": 7,
        "created": False,
        "before": "nothing of it\n",
        "can_undo": True,
    }
    assert (tmp_path / "new/deep/a.txt").read_text() == "hi"
    assert [one.tool for one in files.audit if one.event == "approved"] == ["writeFile"] * 2
    assert files.rollback(result.run_id).status == "rolled_back"
    assert (tmp_path / "notes.md").read_text() == "nothing of it\n"
    assert not (tmp_path / "new/deep/a.txt").exists()


def test_writing_asks(tmp_path):
    """Without a yes nothing is written."""
    harness = cloche.ScriptHarness(*Workspace(tmp_path).tools)
    parked = harness.run("await tools.writeFile({ path: 'a', text: 'b' })")
    assert (parked.status, list(tmp_path.iterdir())) == ("suspended", [])


def test_a_large_file_is_not_kept(files, tmp_path):
    """What it was is not in the record, so a rollback says that it stays."""
    (tmp_path / "large.txt").write_text("x" * 70_000)
    result = files.run("return tools.writeFile({ path: 'large.txt', text: 'small' })")
    assert (result.value["before"], result.value["can_undo"]) == (None, False)
    undone = files.rollback(result.run_id)
    assert undone.error["code"] == "ROLLBACK_PARTIAL"
    assert "too large to be kept" in undone.error["message"]


def test_listing(files):
    """By name, with kinds and sizes; links are not followed."""
    assert files.run("return tools.listDir()").value == [
        {"name": "data.bin", "kind": "file", "bytes": 6},
        {"name": "notes.md", "kind": "file", "bytes": 14},
        {"name": "out", "kind": "link", "bytes": 0},
        {"name": "src", "kind": "folder", "bytes": 0},
    ]
    inner = files.run("return (await tools.listDir('src/')).map((one) => one.name)")
    assert inner.value == ["main.py"]
    assert files.run("return tools.listDir('.')").value == files.run("return tools.listDir()").value
    for path in ("..", "out", "/", "notes.md", "gone"):
        result = files.run(f"return tools.listDir('{path}')")
        assert result.error["code"] == "TOOL_EXECUTION"


def test_looking_for_a_text(files):
    """Lines of text files, with `*`; what is no text is left out."""

    def hits(args):
        found = files.run(f"return tools.grepFiles({args})").value
        return [(one["path"], one["line"]) for one in found]

    assert hits("{ text: 'two' }") == [("src/main.py", 2), ("src/main.py", 3)]
    assert hits("{ text: 'three', ignore_case: true }") == [("src/main.py", 3)]
    assert hits("{ text: 'three' }") == []
    assert hits("{ text: 'Th*two' }") == [("src/main.py", 3)]
    assert hits("{ text: 'o', path: '*.md' }") == [("notes.md", 1)]
    assert hits("{ text: 'two', limit: 1 }") == [("src/main.py", 2)]
    assert hits("{ text: '(t+)+$' }") == []


# --- the plan and the web ---


def test_a_plan():
    """The steps are the application's to show; nobody is asked."""
    seen = []
    plan = Plan(seen.append)
    harness = cloche.ScriptHarness(*plan.tools)
    steps = "[{ title: 'look', status: 'completed' }, { title: 'change', status: 'in_progress' }]"
    assert harness.run(f"return tools.updatePlan({{ steps: {steps} }})").value == 1
    assert plan.steps == (
        Step(title="look", status="completed"),
        Step(title="change", status="in_progress"),
    )
    assert seen == [plan.steps]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[{ title: '' }]", "a title has 1 to 1000 characters"),
        ("Array(101).fill({ title: 'x' })", "at most 100 steps"),
        ("Array(2).fill({ title: 'x', status: 'in_progress' })", "more than one step"),
        ("[{ title: 'x', status: 'done' }]", "Invalid enum value"),
    ],
)
def test_what_is_no_plan(steps, said):
    """The old one stays."""
    plan = Plan()
    result = cloche.ScriptHarness(*plan.tools).run(f"return tools.updatePlan({{ steps: {steps} }})")
    assert said in result.error["message"]
    assert plan.steps == ()


def test_searching_the_web():
    """By a function of the application; no more results than were asked for."""
    asked = []

    def search(query, count):
        asked.append((query, count))
        return [Found(url=f"https://{number}", title=query) for number in range(9)]

    source = "return (await tools.webSearch({ query: 'moon', limit: 2 })).map((one) => one.url)"
    assert run(source, search_tool(search)).value == ["https://0", "https://1"]
    assert asked == [("moon", 2)]


def test_a_search_that_fails():
    """It is an error of the tool."""

    def search(query, count):
        raise EffectFailure("QUOTA", "no more today")

    result = run("return tools.webSearch('x')", search_tool(search))
    assert result.error["message"] == "tool 'webSearch' failed: QUOTA: no more today"

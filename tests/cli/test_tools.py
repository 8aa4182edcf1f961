"""`cloche tools`, as a real process."""

from __future__ import annotations

import pytest
from tests.cli.support import cloche

MODULE = '''
import cloche


@cloche.tool(read_only=True, namespace="math")
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@cloche.tool(requires_approval=lambda args: args["path"].startswith("/"))
def write(path: str) -> None:
    """Write."""
'''


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a module of tools."""
    (tmp_path / "my_tools.py").write_text(MODULE)
    return tmp_path


def test_list(folder):
    """A table for people: names, arguments, whether they ask."""
    done = cloche("tools", "list", "--tools", "my_tools", cwd=folder)
    assert done.exit_code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines()]
    assert ["math.add", "a, b", "no", "Add two numbers."] in rows
    assert ["write", "path", "by rule", "Write."] in rows


def test_list_as_json(folder):
    """Every tool with its schema."""
    (tool,) = cloche("tools", "list", "--tools", "my_tools:add", "--json", cwd=folder).document[
        "tools"
    ]
    assert (tool["name"], tool["read_only"]) == ("math.add", True)
    assert tool["parameters"]["required"] == ["a"]


def test_prompt(folder):
    """What to tell a model, in either language."""
    typescript = cloche("tools", "prompt", "--tools", "my_tools", cwd=folder).stdout
    assert "<tool-calls" in typescript
    assert "add(args: { a: number; b?: number }): Promise<number>;" in typescript
    python = cloche("tools", "prompt", "--tools", "my_tools", "-l", "python", cwd=folder).stdout
    assert "def add(" in python


def test_stubs(folder):
    """Declarations for editors: the Python ones are Python."""
    assert (
        "declare const tools" in cloche("tools", "stubs", "--tools", "my_tools", cwd=folder).stdout
    )
    stubs = cloche("tools", "stubs", "--tools", "my_tools", "-l", "python", cwd=folder).stdout
    compile(stubs, "tools.pyi", "exec")
    short = cloche("tools", "stubs", "--tools", "my_tools", "-l", "py", cwd=folder).stdout
    assert short == stubs


def test_a_workspace(tmp_path):
    """What comes with cloche is listed where it is granted."""
    done = cloche("tools", "list", "--workspace", ".", "--exec", "git log", "--json", cwd=tmp_path)
    names = "applyPatch exec fileSearch grepFiles listDir readFile writeFile".split()
    assert [tool["name"] for tool in done.document["tools"]] == names


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["list", "--tools", "none_such"], "cannot be imported"),
        (["list", "--workspace", "none_such"], "is no folder"),
        (["list", "--workspace", ".", "--exec", "none-such-program"], "there is no program"),
        (["stubs", "--language", "perl"], "--language is 'perl'"),
    ],
)
def test_wrong_options(tmp_path, arguments, problem):
    """A clear message, and an exit code that is not 0."""
    done = cloche("tools", *arguments, cwd=tmp_path)
    assert done.exit_code in {1, 2}
    assert problem in done.stderr
    assert "Traceback" not in done.stderr

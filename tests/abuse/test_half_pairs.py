"""Attack: text that is no Unicode (half a surrogate pair) wherever it goes to the host."""

from __future__ import annotations

import pytest

from abuse.support import completes

JAVASCRIPT = {
    "a path": 'fs.writeFileSync("/\\ud800", "x"); fs.readFileSync("/\\ufffd", "utf8")',
    "a link's target": 'fs.symlinkSync("\\ud800", "/link"); fs.readlinkSync("/link")',
    "an environment variable": 'process.env.X = "\\ud800"',
    "a module": 'try { require("./\\ud800") } catch {}',
    "a tool's argument": 'await tools.echo({ text: "\\ud800", "\\udfff": 1 })',
    "a tool's name": 'await tools["\\ud800"]().catch(() => 0)',
    "output": 'process.stdout.write("\\ud800")',
}

PYTHON = {
    "a path": 'open("/\\ud800", "w")',
    "a link's target": 'os.symlink("\\ud800", "/link")',
    "an environment variable": 'os.environ["X"] = "\\ud800"',
    "a module": '__import__("\\ud800")',
    "a tool's argument": 'tools.echo(text="\\ud800")',
    "a tool's name": 'getattr(tools, "\\ud800")()',
    "output": 'print("\\ud800")',
}


def echo(**given):
    """Return what was given."""
    return given


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_replaces_it(code):
    """As everywhere on the web, a replacement character takes its place; the program goes on."""
    code = f'const fs = require("fs");\n{code};\nconsole.log("\\nafter");'
    assert completes(code, "javascript", tools={"echo": echo}).endswith("\nafter\n")


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_raises_where_it_is_used(code):
    """An exception that the program can catch, or nothing; the program goes on."""
    code = f'import os\ntry:\n    {code}\nexcept Exception: pass\nprint("after")'
    assert completes(code, "python", tools={"echo": echo}) == "after\n"


def test_escapes_that_only_look_like_it():
    """Text about escapes arrives as it was written."""
    code = 'console.log((await tools.echo({ text: "\\\\ud800 \\\\\\\\ud800 \\u0001" })).text)'
    out = completes(code, "javascript", tools={"echo": echo})
    assert out == "\\ud800 \\\\ud800 \x01\n"

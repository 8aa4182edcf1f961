"""From a script to the program that the sandbox runs, and what can be known without running it.

Pure. A script is the body of an async function (JavaScript, TypeScript) or a module whose last
expression is its value (Python). The program around it hands the value over in a call of the tool
`$return`, which no script can name by accident. Lines keep their numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloche.engine import tokens
from cloche.script import python_tokens

if TYPE_CHECKING:
    from cloche.script.finder import Language

RETURN_TOOL: Final = "$return"
FILENAMES: Final[dict[Language, str]] = {
    "javascript": "script.js",
    "typescript": "script.ts",
    "python": "script.py",
}
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")

_JAVASCRIPT_BEFORE: Final = "await (async () => {"
_JAVASCRIPT_AFTER: Final = """
})().then((value) => {
  let text, problem;
  try { text = JSON.stringify(value); } catch (error) { problem = String(error.message); }
  if (text === undefined && value !== undefined && !problem) problem = `is a ${typeof value}`;
  tools.$sync("$return", problem ? { problem } : { value });
});
"""
_JAVASCRIPT_CHECK: Final = "(async () => {%s\n});\n"

# The script is compiled under its own name, so that its tracebacks show its own lines.
_PYTHON: Final = """
def _cloche(source, name, check):
    import ast, asyncio, inspect, json, linecache
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, name, "exec", flags | ast.PyCF_ONLY_AST)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compile(ast.Expression(tree.body.pop().value), name, "eval", flags)
    body = compile(tree, name, "exec", flags)
    if check:
        return
    scope = {"__name__": "__main__"}
    def run(code):
        return None if code is None else eval(code, scope)
    async def run_async():
        value = run(body)
        if inspect.iscoroutine(value):
            await value
        value = run(last)
        return await value if inspect.isawaitable(value) else value
    if any(code and code.co_flags & inspect.CO_COROUTINE for code in (body, last)):
        value = asyncio.run(run_async())
    else:
        run(body)
        value = run(last)
    try:
        json.dumps(value, allow_nan=False)
        report = {"value": value}
    except (TypeError, ValueError, RecursionError) as error:
        report = {"problem": f"cannot be JSON: {error}"}
    tools["$return"](report)
"""


def wrap(source: str, language: Language) -> str:
    """Return the program that runs a script and hands over its value."""
    if language == "python":
        return f"{_PYTHON}\n_cloche({source!r}, {FILENAMES[language]!r}, False)\n"
    return f"{_JAVASCRIPT_BEFORE}{source}{_JAVASCRIPT_AFTER}"


def wrap_check(source: str, language: Language) -> str:
    """Return the program that compiles a script and does not run it."""
    if language == "python":
        return f"{_PYTHON}\n_cloche({source!r}, {FILENAMES[language]!r}, True)\n"
    return _JAVASCRIPT_CHECK % source


def called_tools(source: str, language: Language) -> tuple[tuple[str, int], ...]:
    """Return the tools that a script calls by their names, each with its first line, from 1.

    What is computed, aliased or passed on is not seen: this is a report, not a wall.
    """
    scan = python_tokens.scan if language == "python" else tokens.scan
    found: dict[str, int] = {}
    name: list[str] = []
    start = 0
    last = ""
    for offset, text in scan(source):
        if text == "tools" and last not in {".", "?."}:
            name, start = [text], offset
        elif name and last == "." and _NAME.fullmatch(text):
            name.append(text)
        elif name and text != ".":
            if text == "(" and len(name) > 1 and last == name[-1]:
                found.setdefault(".".join(name[1:]), source.count("\n", 0, start) + 1)
            name = []
        last = text
    return tuple(found.items())

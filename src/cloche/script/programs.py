"""From a script to the program that the sandbox runs, and what can be known without running it.

Pure. A script is the body of an async function (JavaScript, TypeScript) or a module whose last
expression is its value (Python). The program around it hands the value over in a call of the tool
`$return`, which no script can name by accident. Lines keep their numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cloche.engine import tokens
from cloche.gate.canonical import encode_plain
from cloche.script import python_tokens
from cloche.script.errors import BannedIdentifierError, ScriptSyntaxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloche.limits import Limits
    from cloche.script.finder import Language

RETURN_TOOL: Final = "$return"
FILENAMES: Final[dict[Language, str]] = {
    "javascript": "script.js",
    "typescript": "script.ts",
    "python": "script.py",
}
# Images in which scripts find what they may use and nothing else.
IMAGES: Final[dict[Language, str | None]] = {
    "javascript": "javascript+script",
    "typescript": "javascript+script",
    "python": None,
}
_DECLARES: Final = frozenset({"function", "const", "let", "var", "class"})
_PARAMETER_TOKENS_MAX: Final = 1000  # of a method; so the time grows with the length alone
_NO_MODULES: Final = "There are no modules: use tools, and what the language has."
_NO_CODE: Final = "Write a function instead of making one from text."
_BANNED: Final = {
    "require": _NO_MODULES,
    "import": _NO_MODULES,
    "eval": _NO_CODE,
    "Function": _NO_CODE,
}
_NAME: Final = re.compile(r"[A-Za-z_$][\w$]*")

# Everything stands on the first line before the script, or behind it: lines keep their numbers. The
# inner function lets a script have a `tools` or `context` of its own.
JAVASCRIPT_BEFORE: Final = "await $run((tools, context, help) => async () => {"
_JAVASCRIPT_CHECK: Final = "(async () => {%s\n});\n"

_PYTHON_MODULE: Final = "__import__('sys').modules['_cloche.script']"
PYTHON_BEFORE: Final = f"{_PYTHON_MODULE}.run("


def wrap(
    source: str,
    language: Language,
    *,
    names: Sequence[str] = (),
    context: Mapping[str, Any] | None = None,
    limits: Limits,
) -> str:
    """Return the program that runs a script and hands over its value.

    Args:
        source: of the script.
        language: of the script.
        names: of the tools that it is shown.
        context: what it may know of its run, plain JSON.
        limits: of the group `scripts`.
    """
    given = (list(names), dict(context or {}), _told(limits))
    if language == "python":
        arguments = ", ".join(map(repr, (source, FILENAMES[language], *given)))
        return f"{PYTHON_BEFORE}{arguments})\n"
    # One text: a guest reads JSON faster than it compiles it, and types have not to be looked for.
    text = encode_plain(encode_plain(given).decode()).decode()
    return f"{JAVASCRIPT_BEFORE}{source}\n}}, {text});\n"


def _told(limits: Limits) -> dict[str, int]:
    """Return the limits that the script's own side keeps: what is over them never comes here."""
    scripts = limits.scripts
    return {
        "grace_ms": scripts.grace_ms,
        "console_count": scripts.console_count_max,
        "console_rate": scripts.console_rate_max,
        "progress_count": scripts.progress_count_max,
        "progress_interval_ms": scripts.progress_interval_ms,
        "progress_limit": scripts.progress_limit_bytes,
    }


def wrap_check(source: str, language: Language) -> str:
    """Return the program that compiles a script and does not run it."""
    if language == "python":
        return f"{_PYTHON_MODULE}.compile_script({source!r}, {FILENAMES[language]!r})\n"
    return _JAVASCRIPT_CHECK % source


def banned_word(source: str, language: Language) -> BannedIdentifierError | None:
    """Return what a script uses that scripts have not, as far as its text shows it.

    This is advice before anything ran; the realm is what enforces it. A word that the script
    declares itself, a property and a key are no uses.
    """
    if language == "python":
        return None
    found = list(tokens.scan(source))
    texts = ["", *(text for _, text in found), ""]
    own = {texts[i + 1] for i in range(len(texts) - 1) if texts[i] in _DECLARES}
    for index, (offset, text) in enumerate(found, 1):
        advice = _BANNED.get(text)
        before, after = texts[index - 1], texts[index + 1]
        if advice is None or text in own or before in {".", "?."}:
            continue
        is_call = after == "(" and not _is_method(texts, index + 1)
        is_use = is_call or (before == "new" and text == "Function")
        if text == "import":
            is_use = after not in {":", "=", ".", ")", ","}
        if is_use:
            line = source.count("\n", 0, offset) + 1
            column = offset - (source.rfind("\n", 0, offset) + 1) + 1
            return BannedIdentifierError(name=text, line=line, column=column, advice=advice)
    return None


def _is_method(texts: Sequence[str], opening: int) -> bool:
    """Return whether a body follows on the parenthesis that is opened here."""
    depth = 0
    for index in range(opening, min(len(texts) - 1, opening + _PARAMETER_TOKENS_MAX)):
        depth += (texts[index] == "(") - (texts[index] == ")")
        if depth == 0:
            return texts[index + 1] == "{"
    return False


def unopened_brace(source: str, language: Language) -> ScriptSyntaxError | None:
    """Return the error of a script that closes the function around it: behind that it would run."""
    if language == "python":
        return None
    depth = 0
    for offset, text in tokens.scan(source):
        depth += (text == "{") - (text == "}")
        if depth < 0:
            line = source.count("\n", 0, offset) + 1
            column = offset - source.rfind("\n", 0, offset)
            snippet = source.splitlines()[line - 1] if line <= len(source.splitlines()) else ""
            problem = "a brace is closed that was not opened"
            return ScriptSyntaxError(problem, line=line, column=column, snippet=snippet)
    return None


def called_tools(source: str, language: Language) -> tuple[tuple[str, int], ...]:
    """Return the tools that a script calls by their names, each with its first line, from 1.

    What is computed, aliased or passed on is not seen: this is a report, not a wall.
    """
    found: dict[str, int] = {}
    for name, line in call_places(source, language):
        found.setdefault(name, line)
    return tuple(found.items())


def call_places(source: str, language: Language) -> Iterator[tuple[str, int]]:
    """Yield every call of a tool by its name, with its line; see `called_tools`."""
    for name, start, _ in call_offsets(source, language):
        yield name, source.count("\n", 0, start) + 1


def call_offsets(source: str, language: Language) -> Iterator[tuple[str, int, int]]:
    """Yield every call of a tool by its name, with the offsets of it and of its parenthesis."""
    scan = python_tokens.scan if language == "python" else tokens.scan
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
                yield ".".join(name[1:]), start, offset
            name = []
        last = text

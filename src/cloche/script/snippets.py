"""Snippets: scripts that did their work once, kept by name, to be run again with other parameters.

Pure. Owns what is kept and the check of parameters. Invariants:
- the parameters of the run that was saved are the defaults, and say of which kind each one is;
- a snippet is the very text that ran: what it may do is decided anew whenever it runs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.errors import SnippetError
from cloche.script.finder import Language  # noqa: TC001 - msgspec reads it

if TYPE_CHECKING:
    from collections.abc import Mapping

SNIPPET_KIND: Final = "script-snippet"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """A script that can be run by its name.

    Args:
        name: of it.
        language: of the script.
        source: the script; it finds its parameters in `context.params`.
        sha256: of the script.
        params: the parameters with their defaults.
        run_id: the run that it was saved from.
        saved_ms: when, in ms of the Unix epoch.
    """

    name: str
    language: Language
    source: str
    sha256: str
    params: dict[str, Any]
    run_id: str
    saved_ms: int

    def fill(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a run: what is given, and the defaults of the rest.

        Raises:
            SnippetError: there is no such parameter, or it is of another kind.
        """
        for name, value in given.items():
            if name not in self.params:
                known = ", ".join(self.params) or "none"
                problem = f"has no parameter {name!r}; it has {known}"
                raise SnippetError(name=self.name, problem=problem)
            wanted, found = _kind(self.params[name]), _kind(value)
            if "null" not in (wanted, found) and wanted != found:
                problem = f"parameter {name!r} is of kind {found}, expected {wanted}"
                raise SnippetError(name=self.name, problem=problem)
        return {**self.params, **given}


def check_name(name: str) -> None:
    """Raise unless a snippet can have this name.

    Raises:
        SnippetError: it cannot.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problem = "a name has letters, digits, `_`, `-` and `.`, at most 100, a letter first"
        raise SnippetError(name=str(name)[:100], problem=problem)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"

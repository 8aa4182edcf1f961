"""What was found in a project: the reality that the contract is compared with.

Owns frozen values only. The adapters make them, the rules read them. Paths are relative to the
project, with `/`; lines count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportStatement:
    """One imported name.

    `base` is the module that stands in the statement, `name` what it brings: `from os import path`
    has base `os` and name `os.path`. Both are absolute. `type_only` is an import under
    `TYPE_CHECKING`; `top_level` is one that runs when the module is imported.
    """

    base: str
    name: str
    line: int
    type_only: bool = False
    top_level: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSize:
    """A function or method with its length in lines."""

    name: str
    line: int
    line_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts:
    """One Python module as its text says.

    `exported` is `__all__` (None without one); `exported_dynamic` says that a part of `__all__` is
    computed, so `exported` may lack names. `answers_any_name` is True with a module `__getattr__`
    or a star import: a name may exist that is not in `bound`.
    """

    name: str
    path: str
    line_count: int
    imports: tuple[ImportStatement, ...] = ()
    bound: frozenset[str] = frozenset()
    exported: tuple[str, ...] | None = None
    exported_dynamic: bool = False
    answers_any_name: bool = False
    functions: tuple[FunctionSize, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseFailure:
    """A Python module whose text is no Python."""

    name: str
    path: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModuleEdge:
    """One module of the project imports another."""

    importer: str
    imported: str
    line: int
    type_only: bool = False
    top_level: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A file that the contract names. `tests` are ids such as `test_a` or `TestB::test_c`."""

    exists: bool
    is_empty: bool = False
    tests: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFacts:
    """Everything that a check reads."""

    modules: Mapping[str, ModuleFacts]
    unparsed: tuple[ParseFailure, ...] = ()
    excluded: frozenset[str] = frozenset()
    edges: tuple[ModuleEdge, ...] = ()
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    schema_copies: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)

    def module_names(self) -> frozenset[str]:
        """Return every module that the contract must claim, readable or not."""
        return frozenset(self.modules) | {failure.name for failure in self.unparsed}


def below(name: str, prefix: str) -> bool:
    """Say whether a dotted name is the prefix or stands below it. A dot at its end is ignored."""
    stem = prefix.rstrip(".")
    return name == stem or name.startswith(f"{stem}.")


def resolve(name: str, module_names: frozenset[str]) -> str | None:
    """Return the longest module of the project that the dotted name starts with."""
    while name:
        if name in module_names:
            return name
        name = name.rpartition(".")[0]
    return None

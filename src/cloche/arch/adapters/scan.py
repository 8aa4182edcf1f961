"""Find the Python modules of a project and read the files that its contract names.

Nothing of the project is imported. Symbolic links to directories are not followed, so a scan ends.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.arch.adapters.documents import read_limited
from cloche.arch.errors import ProjectInvalidError, ToolBudgetExceededError
from cloche.arch.facts import FileFacts, ModuleFacts, ParseFailure, below
from cloche.arch.source import read_module, read_tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# In a project without src/, these stand beside the program and are no part of it.
_BESIDE_DIRECTORIES = frozenset(
    [
        "bench",
        "benchmark",
        "benchmarks",
        "build",
        "dist",
        "doc",
        "docs",
        "env",
        "examples",
        "node_modules",
        "scripts",
        "site-packages",
        "test",
        "tests",
        "tools",
        "venv",
    ]
)
_BESIDE_FILES = frozenset({"conftest.py", "fabfile.py", "noxfile.py", "setup.py", "tasks.py"})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SourceFile:
    """A Python file that can be imported as `name`. `top` is the directory or file of its root."""

    name: str
    path: Path
    shown: str
    is_package: bool
    top: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The modules of a project. `files` are those that could be read, in order of names."""

    modules: dict[str, ModuleFacts]
    unparsed: tuple[ParseFailure, ...]
    excluded: frozenset[str]
    files: tuple[SourceFile, ...]


def scan_modules(
    root: Path,
    *,
    source_roots: Iterable[str],
    excluded_prefixes: Iterable[str],
    module_count_max: int,
    limit_bytes: int,
) -> Scan:
    """Read every module of the project.

    Raises:
        ProjectInvalidError: a source root is no directory.
        ToolBudgetExceededError: too many modules, or a file too large.
    """
    prefixes = tuple(excluded_prefixes)
    modules: dict[str, ModuleFacts] = {}
    unparsed: list[ParseFailure] = []
    excluded: set[str] = set()
    files: list[SourceFile] = []
    for count, file in enumerate(find_sources(root, source_roots), start=1):
        if count > module_count_max:
            raise ToolBudgetExceededError(
                limit="module_count_max",
                limit_value=module_count_max,
                found=count,
                subject="modules",
            )
        if any(below(file.name, prefix) for prefix in prefixes):
            excluded.add(file.name)
            continue
        facts = _read_source(file, limit_bytes)
        if isinstance(facts, ParseFailure):
            unparsed.append(facts)
        else:
            modules[file.name] = facts
            files.append(file)
    return Scan(
        modules=modules,
        unparsed=tuple(sorted(unparsed, key=lambda failure: failure.name)),
        excluded=frozenset(excluded),
        files=tuple(sorted(files)),
    )


def _read_source(file: SourceFile, limit_bytes: int) -> ModuleFacts | ParseFailure:
    try:
        content = read_limited(file.path, shown=file.shown, limit_bytes=limit_bytes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Warnings about the project's own text.
            return read_module(
                decode_source(content),
                name=file.name,
                path=file.shown,
                is_package=file.is_package,
            )
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        kind = type(error).__name__
        return ParseFailure(
            name=file.name,
            path=file.shown,
            line=line,
            reason=f"{kind}: {reason}" if reason else kind,
        )


def find_sources(root: Path, source_roots: Iterable[str]) -> Iterator[SourceFile]:
    """Yield every importable file below the source roots, each name once, in a stable order."""
    seen: set[str] = set()
    for entry in tuple(source_roots) or _default_roots(root):
        base = root / entry
        if not base.is_dir():
            raise ProjectInvalidError(
                path=str(base),
                reason="this source root of arch/graph.json is no directory",
                advice="Correct source_roots",
            )
        for file in _walk_root(root, base, is_flat=base.resolve() == root.resolve()):
            if file.name not in seen:
                seen.add(file.name)
                yield file


def _default_roots(root: Path) -> tuple[str, ...]:
    return ("src",) if (root / "src").is_dir() else (".",)


def _walk_root(root: Path, base: Path, *, is_flat: bool) -> Iterator[SourceFile]:
    for entry in sorted(base.iterdir()):
        if entry.is_symlink() and entry.is_dir():
            continue
        if entry.is_dir() and entry.name.isidentifier():
            # A flat project has other directories beside its packages; a package says so.
            is_beside = entry.name in _BESIDE_DIRECTORIES or not (entry / "__init__.py").is_file()
            if not (is_flat and is_beside):
                yield from _walk_package(root, base, entry)
        elif _is_module_file(entry.name) and entry.is_file():
            is_beside = entry.name in _BESIDE_FILES or entry.name.startswith("test_")
            if not (is_flat and is_beside):
                yield _to_source(root, base, entry, top=entry)


def _walk_package(root: Path, base: Path, top: Path) -> Iterator[SourceFile]:
    for directory, names, files in os.walk(top, onerror=_refuse):
        names[:] = sorted(name for name in names if name.isidentifier() and name != "__pycache__")
        for file in sorted(files):
            if _is_module_file(file):
                yield _to_source(root, base, Path(directory) / file, top=top)


def _refuse(error: OSError) -> None:
    # Without this a directory that cannot be read would count as empty.
    raise error


def _is_module_file(name: str) -> bool:
    stem, dot, extension = name.rpartition(".")
    return dot == "." and extension == "py" and stem.isidentifier()


def _to_source(root: Path, base: Path, path: Path, *, top: Path) -> SourceFile:
    parts = path.relative_to(base).with_suffix("").parts
    is_package = parts[-1] == "__init__" and len(parts) > 1
    return SourceFile(
        name=".".join(parts[:-1] if is_package else parts),
        path=path,
        shown=path.relative_to(root).as_posix(),
        is_package=is_package,
        top=top,
    )


def read_files(root: Path, paths: Iterable[str], *, limit_bytes: int) -> dict[str, FileFacts]:
    """Look at the files that a contract names; test ids are read from those in Python."""
    return {path: _read_file(root / path, path, limit_bytes) for path in sorted(set(paths))}


def _read_file(path: Path, shown: str, limit_bytes: int) -> FileFacts:
    if not path.is_file():
        return FileFacts(exists=False)
    content = read_limited(path, shown=shown, limit_bytes=limit_bytes)
    if path.suffix != ".py":
        return FileFacts(exists=True, is_empty=not content.strip())
    try:
        text = decode_source(content)
    except (SyntaxError, ValueError):
        return FileFacts(exists=True, tests=frozenset())
    return FileFacts(exists=True, is_empty=not content.strip(), tests=read_tests(text))

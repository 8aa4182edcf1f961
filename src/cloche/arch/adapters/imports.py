"""Find which module of a project imports which. Only this file knows grimp.

Two readers look, and an edge counts if either sees it. grimp is the proven reader of packages. The
text reader (`source.py`) also sees what grimp does not: modules that are a single file beside the
packages, and `import_module("literal")`; and it knows which imports are for types alone.

grimp is told the files by its own settings instead of `sys.path`, so nothing that is installed
under the same name can be read in place of the project, and nothing of the project is imported.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grimp
from grimp.application.config import settings
from grimp.application.ports.modulefinder import AbstractModuleFinder, FoundPackage, ModuleFile
from grimp.application.ports.packagefinder import AbstractPackageFinder
from grimp.domain.valueobjects import Module
from grimp.exceptions import GrimpException

from cloche.arch.facts import ModuleEdge, ModuleFacts, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from grimp.application.ports.filesystem import AbstractFileSystem

    from cloche.arch.adapters.scan import SourceFile

# grimp's settings belong to the process.
_SETTINGS_LOCK = threading.Lock()


def find_edges(
    modules: Mapping[str, ModuleFacts], files: Iterable[SourceFile], *, names: frozenset[str]
) -> tuple[ModuleEdge, ...]:
    """Return every import between two modules of the project, sorted.

    `names` are the modules that an import may lead to; it may hold some that could not be read.
    """
    flags: dict[tuple[str, str, int], tuple[bool, bool]] = {}
    for module in modules.values():
        for statement in module.imports:
            imported = resolve(statement.name, names)
            if imported is not None:
                key = (module.name, imported, statement.line)
                type_only, top_level = flags.get(key, (True, False))
                flags[key] = (type_only and statement.type_only, top_level or statement.top_level)
    for key in _read_by_grimp(files):
        if key[0] in names and key[1] in names:
            flags.setdefault(key, (False, True))
    return tuple(
        ModuleEdge(
            importer=importer, imported=imported, line=line, type_only=flag[0], top_level=flag[1]
        )
        for (importer, imported, line), flag in sorted(flags.items())
        if importer != imported
    )


def _read_by_grimp(files: Iterable[SourceFile]) -> frozenset[tuple[str, str, int]]:
    """Return (importer, imported, line) for each import that grimp sees in the packages."""
    packages: dict[str, dict[str, set[str]]] = {}
    for file in files:
        if file.top.is_dir():
            by_directory = packages.setdefault(file.top.name, {})
            by_directory.setdefault(str(file.top), set()).add(file.name)
    if not packages:
        return frozenset()
    with _told_files(packages):
        try:
            graph = grimp.build_graph(*sorted(packages), cache_dir=None)
        except (GrimpException, UnicodeError):
            # Its parser refuses a file that Python's own parser took. The text reader has read that
            # file and every other, so no import is lost.
            return frozenset()
    return frozenset(_details(graph))


def _details(graph: Any) -> Iterator[tuple[str, str, int]]:
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            for detail in graph.get_import_details(importer=importer, imported=imported):
                yield importer, imported, detail["line_number"]


class _ToldPackages(AbstractPackageFinder, AbstractModuleFinder):
    """Answers grimp from a list: package -> directory -> names of modules."""

    def __init__(self, packages: Mapping[str, Mapping[str, set[str]]]) -> None:
        self._packages = packages

    def determine_package_directories(
        self, package_name: str, file_system: AbstractFileSystem
    ) -> set[str]:
        del file_system
        return set(self._packages[package_name])

    def find_package(
        self, package_name: str, package_directory: str, file_system: AbstractFileSystem
    ) -> FoundPackage:
        del file_system
        names = self._packages[package_name][package_directory]
        return FoundPackage(
            name=package_name,
            directory=package_directory,
            # The time of change only matters to grimp's cache, which is off.
            module_files=frozenset(ModuleFile(module=Module(name), mtime=0.0) for name in names),
        )


@contextmanager
def _told_files(packages: Mapping[str, Mapping[str, set[str]]]) -> Iterator[None]:
    """Let grimp ask us instead of the import system, and put its own finders back."""
    told = _ToldPackages(packages)
    with _SETTINGS_LOCK:
        before = {name: getattr(settings, name) for name in ("PACKAGE_FINDER", "MODULE_FINDER")}
        settings.configure(PACKAGE_FINDER=told, MODULE_FINDER=told)
        try:
            yield
        finally:
            settings.configure(**before)

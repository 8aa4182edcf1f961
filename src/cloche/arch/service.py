"""Check a project on disk: reads, judges, and writes patches if asked. Wires core and adapters."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloche.arch.adapters.documents import (
    load_contract,
    packaged_schemas,
    read_schema_copies,
    read_templates,
    to_document_text,
    validate_document,
    write_text,
)
from cloche.arch.adapters.imports import find_edges
from cloche.arch.adapters.scan import read_files, scan_modules
from cloche.arch.check import judge
from cloche.arch.documents import DOCUMENT_PATHS, Contracts, to_documents
from cloche.arch.errors import FileAccessError, ProjectInvalidError
from cloche.arch.facts import ProjectFacts
from cloche.arch.jsonpatch import apply_operations
from cloche.arch.rules.structure import REQUIRED_FILES
from cloche.arch.starter import InitReport, starter_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloche.arch.report import Report
    from cloche.limits import Limits


def check_project(path: Path, limits: Limits, *, write: bool = False) -> Report:
    """Check a project; with `write`, apply the suggested patches first if there are any.

    Raises:
        ProjectInvalidError: the path is no directory, or has no contract.
        DocumentInvalidError: a document is unreadable or invalid.
        ToolBudgetExceededError: the project is larger than `limits.arch`.
    After an error nothing is written.
    """
    root = to_root(path)
    with _file_errors():
        report = _check(root, limits)
        if not write or not report.patches():
            return report
        written = _write_patches(root, report, limits)
        return replace(_check(root, limits), written=written)


def init_project(path: Path, limits: Limits, *, force: bool = False) -> InitReport:
    """Write the starter files of a contract that describes the project as it is now.

    A file that is there is kept, unless `force`. All texts are made before the first is written.

    Raises:
        ProjectInvalidError: the path is no directory.
        ToolBudgetExceededError: the project is larger than `limits.arch`.
    """
    root = to_root(path)
    with _file_errors():
        facts = read_facts(root, limits)
        files = starter_files(root.name, facts, read_templates())
        kept = () if force else tuple(sorted(name for name in files if (root / name).exists()))
        written = tuple(sorted(set(files) - set(kept)))
        for name in written:
            write_text(root / name, files[name])
    return InitReport(written=written, kept=kept)


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = str(error.filename or "the project")
        raise FileAccessError(path=name, reason=error.strerror or str(error)) from error


def to_root(path: Path) -> Path:
    """Return the project's directory, absolute and without links."""
    if not path.is_dir():
        reason = "it is no directory" if path.exists() else "it does not exist"
        raise ProjectInvalidError(
            path=str(path), reason=reason, advice="Give the directory of a project"
        )
    return path.resolve()


def _check(root: Path, limits: Limits) -> Report:
    documents = to_documents(load_contract(root, limit_bytes=limits.arch.document_limit_bytes))
    facts = read_facts(
        root,
        limits,
        source_roots=documents.graph.source_roots,
        excluded_prefixes=tuple(item.prefix for item in documents.graph.exclude),
        contracts=documents.contracts,
    )
    return judge(
        documents,
        facts,
        edge_count_max=limits.arch.edge_count_max,
        finding_count_max=limits.arch.finding_count_max,
    )


def read_facts(
    root: Path,
    limits: Limits,
    *,
    source_roots: tuple[str, ...] = (),
    excluded_prefixes: tuple[str, ...] = (),
    contracts: Contracts | None = None,
) -> ProjectFacts:
    """Read what is true of a project: modules, imports, and the files its contract names."""
    limit_bytes = limits.arch.document_limit_bytes
    scan = scan_modules(
        root,
        source_roots=source_roots,
        excluded_prefixes=excluded_prefixes,
        module_count_max=limits.arch.module_count_max,
        limit_bytes=limit_bytes,
    )
    names = frozenset(scan.modules) | {failure.name for failure in scan.unparsed}
    return ProjectFacts(
        modules=scan.modules,
        unparsed=scan.unparsed,
        excluded=scan.excluded,
        edges=find_edges(scan.modules, scan.files, names=names),
        files=read_files(root, _named_files(contracts), limit_bytes=limit_bytes),
        schema_copies=read_schema_copies(root, limit_bytes=limit_bytes),
        schemas=packaged_schemas(),
    )


def _named_files(contracts: Contracts | None) -> set[str]:
    paths = set(REQUIRED_FILES)
    for api in contracts.public_apis if contracts else ():
        paths.update((api.encoding_doc, api.errors_doc))
        paths.update(test.partition("::")[0] for test in api.smoke_tests)
    return paths


def _write_patches(root: Path, report: Report, limits: Limits) -> tuple[str, ...]:
    """Apply every patch in memory, hold the results against the schemas, then write."""
    raw = load_contract(root, limit_bytes=limits.arch.document_limit_bytes)
    by_path: dict[str, Any] = {DOCUMENT_PATHS[name]: raw[name] for name in raw}
    patched = {
        patch.document: apply_operations(by_path.get(patch.document), patch.operations)
        for patch in report.patches()
    }
    for name, path in DOCUMENT_PATHS.items():
        if path in patched:
            validate_document(name, patched[path])
    for path, document in patched.items():
        write_text(root / path, to_document_text(document))
    return tuple(patched)

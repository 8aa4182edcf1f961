"""Does the graph describe this project? Claims, duplicates, circles, the files of the contract."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloche.arch.documents import DOCUMENT_PATHS
from cloche.arch.facts import below
from cloche.arch.findings import Finding
from cloche.arch.graph import find_cycles, find_path
from cloche.arch.jsonpatch import Operation, Patch, append_to, remove_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.arch.subject import Subject

REQUIRED_FILES = (
    "AGENTS.md",
    "docs/architecture/contract-v1.md",
    "docs/architecture/public-apis.md",
    "docs/architecture/encodings/README.md",
)
_GRAPH = DOCUMENT_PATHS["graph"]
_ALL_WORLDS = ["fixture", "run-os", "run-os-sandboxed"]


def check_structure(subject: Subject) -> Iterator[Finding]:
    """Yield every difference between the nodes and the modules."""
    yield from _check_parsed(subject)
    yield from _check_claims(subject)
    yield from _check_orphans(subject)
    yield from _check_duplicates(subject)
    yield from _check_exclusions(subject)
    yield from _check_node_cycles(subject)
    yield from _check_module_cycles(subject)
    yield from _check_files(subject)
    yield from _check_schemas(subject)


def _check_parsed(subject: Subject) -> Iterator[Finding]:
    for failure in subject.facts.unparsed:
        yield Finding(
            code="E_ARCH_MODULE_PARSE",
            message=f"{failure.name} cannot be read: {failure.reason}",
            node_from=subject.claims.owner.get(failure.name, ""),
            module=failure.name,
            path=failure.path,
            line=failure.line,
        )


def _check_claims(subject: Subject) -> Iterator[Finding]:
    for module, ids in sorted(subject.claims.overlaps.items()):
        yield Finding(
            code="E_ARCH_MODULE_OVERLAP",
            message=f"{module} is claimed by {', '.join(ids)}",
            node_from=ids[0],
            node_to=ids[1],
            module=module,
            path=subject.path_of(module),
        )
    for index, claim in subject.claims.empty:
        node = subject.documents.graph.modules[index]
        yield Finding(
            code="E_ARCH_NODE_EMPTY",
            message=f"node {node.id} claims {claim}, and no module is there for it to own",
            node_from=node.id,
            module=claim,
            path=_GRAPH,
            patch=_unclaim(subject, index, claim),
        )


def _unclaim(subject: Subject, index: int, claim: str) -> Patch:
    """Remove a claim, and the node with its last one."""
    node = subject.documents.graph.modules[index]
    claimed = node.claimed()
    lost = [name for at, name in subject.claims.empty if at == index]
    if len(lost) == len(claimed.modules) + len(claimed.prefixes):
        return remove_item(_GRAPH, "modules", index, value=node.id, tested="/id")
    field, names = (
        ("modules", claimed.modules) if claim in claimed.modules else ("prefixes", claimed.prefixes)
    )
    place = ("modules", index, "match", field, names.index(claim))
    return remove_item(_GRAPH, *place, value=claim)


def _check_orphans(subject: Subject) -> Iterator[Finding]:
    orphans = subject.claims.orphans
    for module in orphans:
        imports = {
            subject.claims.owner.get(edge.imported) or to_node_id(edge.imported)
            for edge in subject.facts.edges
            if edge.importer == module and edge.imported != module
        }
        node = {
            "id": to_node_id(module),
            "kind": _guess_kind(module),
            "worlds_allowed": _ALL_WORLDS,
            "imports": sorted(imports - {to_node_id(module)}),
            "exports": [],
            "match": {"modules": [module]},
        }
        yield Finding(
            code="E_ARCH_MODULE_ORPHAN",
            message=f"{module} is claimed by no node",
            module=module,
            path=subject.path_of(module),
            patch=append_to(_GRAPH, "modules", value=node),
        )


def to_node_id(module: str) -> str:
    """Return the id that a node for this module gets."""
    return re.sub(r"[^a-z0-9_.-]", "_", module.lower())


def _guess_kind(module: str) -> str:
    parts = module.split(".")
    if "adapters" in parts:
        return "adapter-os"
    return "port" if parts[-1] == "ports" else "core"


def _check_duplicates(subject: Subject) -> Iterator[Finding]:
    ids = [node.id for node in subject.documents.graph.modules]
    for node_id, count in _repeated(ids):
        yield Finding(
            code="E_ARCH_NODE_DUPLICATE",
            message=f"node id {node_id} stands {count} times in {_GRAPH}",
            node_from=node_id,
            path=_GRAPH,
        )


def _repeated(values: Iterable[str]) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return ((value, count) for value, count in sorted(counts.items()) if count > 1)


def _check_exclusions(subject: Subject) -> Iterator[Finding]:
    for index, exclusion in enumerate(subject.documents.graph.exclude):
        if not any(below(name, exclusion.prefix) for name in subject.facts.excluded):
            yield Finding(
                code="E_ARCH_EXCLUDE_EMPTY",
                message=f"{_GRAPH} excludes {exclusion.prefix}, where no Python file is",
                module=exclusion.prefix,
                path=_GRAPH,
                patch=remove_item(
                    _GRAPH, "exclude", index, value=exclusion.prefix, tested="/prefix"
                ),
            )


def _check_node_cycles(subject: Subject) -> Iterator[Finding]:
    edges: dict[str, set[str]] = {}
    for importer, imported in subject.pairs:
        edges.setdefault(importer, set()).add(imported)
    for cycle in find_cycles(edges):
        yield Finding(
            code="E_ARCH_NODE_CYCLE",
            message=f"nodes in a circle: {' -> '.join(find_path(edges, cycle))}",
            node_from=cycle[0],
            node_to=cycle[1],
            path=_GRAPH,
        )


def _check_module_cycles(subject: Subject) -> Iterator[Finding]:
    """Circles that Python meets at import time: not in a function, not for types alone."""
    edges: dict[str, set[str]] = {}
    for edge in subject.facts.edges:
        if edge.top_level and not edge.type_only and edge.importer != edge.imported:
            edges.setdefault(edge.importer, set()).add(edge.imported)
    for cycle in find_cycles(edges):
        path = find_path(edges, cycle)
        yield Finding(
            code="E_ARCH_MODULE_CYCLE",
            message=f"modules in a circle: {' -> '.join(path)}",
            node_from=subject.claims.owner.get(path[0], ""),
            node_to=subject.claims.owner.get(path[1], ""),
            module=path[0],
            imported=path[1],
            path=subject.path_of(path[0]),
        )


def _check_files(subject: Subject) -> Iterator[Finding]:
    for path in REQUIRED_FILES:
        file = subject.facts.files.get(path)
        if file is None or not file.exists or file.is_empty:
            state = "is empty" if file is not None and file.exists else "is missing"
            yield Finding(code="E_ARCH_FILE_MISSING", message=f"{path} {state}", path=path)


def _check_schemas(subject: Subject) -> Iterator[Finding]:
    for path, schema in sorted(subject.facts.schemas.items()):
        found = subject.facts.schema_copies.get(path)
        if found != schema:
            state = "is missing" if found is None else "is not the schema that the checker uses"
            operation = Operation(op="add", path="", value=schema)
            yield Finding(
                code="E_ARCH_SCHEMA_DRIFT",
                message=f"{path} {state}",
                path=path,
                patch=Patch(document=path, operations=(operation,)),
            )

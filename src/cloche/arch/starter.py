"""The starter contract for a project: documents that describe it as it is.

Pure. A project that runs today passes its first check: its packages become nodes of kind `app`,
packages that import each other in a circle become one node, ceilings are at least what is there. To
make the contract mean more, one gives nodes their true kinds and names what is public.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.arch.documents import DOCUMENT_PATHS, SCHEMA_VERSIONS
from cloche.arch.graph import find_cycles
from cloche.arch.rules.structure import to_node_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.arch.facts import ProjectFacts

# Path in a project -> name of the template that ships with the checker.
TEMPLATE_NAMES = {
    "AGENTS.md": "AGENTS.md",
    "arch/rules.json": "rules.json",
    "docs/architecture/contract-v1.md": "contract-v1.md",
    "docs/architecture/encodings/README.md": "encodings.md",
    "docs/architecture/public-apis.md": "public-apis.md",
    "tests/smoke/test_architecture.py": "test_architecture.py.txt",
}
MODULE_LINES = 600
FUNCTION_LINES = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class InitReport:
    """Which files were written, and which were there and kept."""

    written: tuple[str, ...]
    kept: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {"written": list(self.written), "kept": list(self.kept)}


def starter_files(
    project: str, facts: ProjectFacts, templates: Mapping[str, str]
) -> dict[str, str]:
    """Return every file of a starter contract: path -> text."""
    files = {path: text.replace("{{project}}", project) for path, text in templates.items()}
    documents = {
        DOCUMENT_PATHS["graph"]: _graph(facts),
        DOCUMENT_PATHS["contracts"]: _contracts(facts),
        DOCUMENT_PATHS["budgets"]: _budgets(facts),
        **facts.schemas,
    }
    for path, document in documents.items():
        files[path] = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return files


def _graph(facts: ProjectFacts) -> dict[str, Any]:
    unit_of = {name: _unit(name) for name in facts.module_names()}
    edges: dict[str, set[str]] = {}
    for edge in facts.edges:
        importer, imported = unit_of[edge.importer], unit_of[edge.imported]
        if importer != imported:
            edges.setdefault(importer, set()).add(imported)
    group_of = {unit: unit for unit in unit_of.values()}
    for cycle in find_cycles(edges):
        group_of.update(dict.fromkeys(cycle, cycle[0]))
    nodes = [_node(group, group_of, edges, facts) for group in sorted(set(group_of.values()))]
    return {"schema_version": SCHEMA_VERSIONS["graph"], "modules": nodes}


def _unit(module: str) -> str:
    """Return what becomes a node: a top-level package itself, or a package or module in it."""
    return ".".join(module.split(".")[:2])


def _node(
    group: str, group_of: Mapping[str, str], edges: Mapping[str, set[str]], facts: ProjectFacts
) -> dict[str, Any]:
    units = sorted(unit for unit, found in group_of.items() if found == group)
    targets = {group_of[target] for unit in units for target in edges.get(unit, ())} - {group}
    # The top-level package claims its own file alone, so that a new package below is seen.
    exact = [unit for unit in units if "." not in unit and unit in facts.module_names()]
    prefixes = [unit for unit in units if unit not in exact]
    match = {"modules": exact, "prefixes": prefixes}
    return {
        "id": to_node_id(group),
        "kind": "app",
        "worlds_allowed": ["fixture", "run-os", "run-os-sandboxed"],
        "imports": sorted(to_node_id(target) for target in targets),
        "exports": [],
        "match": {field: names for field, names in match.items() if names},
    }


def _contracts(facts: ProjectFacts) -> dict[str, Any]:
    tops = sorted({name.partition(".")[0] for name in facts.module_names()})
    reason = "Nothing is promised yet. Move what is public into public_apis and narrow this prefix."
    return {
        "schema_version": SCHEMA_VERSIONS["contracts"],
        "public_apis": [],
        "internal": [{"prefix": top, "reason": reason} for top in tops],
    }


def _budgets(facts: ProjectFacts) -> dict[str, Any]:
    modules = facts.modules.values()
    lines = (module.line_count for module in modules)
    function_lines = (function.line_count for module in modules for function in module.functions)
    return {
        "schema_version": SCHEMA_VERSIONS["budgets"],
        "defaults": {
            "max_module_lines": max(MODULE_LINES, *lines, 0),
            "max_function_lines": max(FUNCTION_LINES, *function_lines, 0),
        },
        "overrides": [],
    }

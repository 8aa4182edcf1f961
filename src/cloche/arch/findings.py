"""Findings: what differs between the contract and the project, as data.

Owns the catalogue of codes. A code is stable: it keeps its meaning for ever, and a new meaning is a
new code. Order is total and depends on the finding alone, so two checks of one project print the
same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from cloche.arch.jsonpatch import Patch

Severity: TypeAlias = Literal["error", "warning"]
_SEVERITY_RANK: dict[Severity, int] = {"error": 0, "warning": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingKind:
    """What a code means and what to do about it."""

    title: str
    advice: str
    severity: Severity = "error"


CATALOGUE: dict[str, FindingKind] = {
    "E_ARCH_MODULE_PARSE": FindingKind(
        title="a Python file cannot be read",
        advice="correct the file, or exclude it in arch/graph.json with a reason",
    ),
    "E_ARCH_MODULE_ORPHAN": FindingKind(
        title="no node claims a module",
        advice="let a node of arch/graph.json match it",
    ),
    "E_ARCH_MODULE_OVERLAP": FindingKind(
        title="two nodes claim a module in the same words",
        advice="keep one claim, or make one more specific",
    ),
    "E_ARCH_MODULE_CYCLE": FindingKind(
        title="modules import each other in a circle",
        advice="move what both need into a third module",
        severity="warning",
    ),
    "E_ARCH_NODE_DUPLICATE": FindingKind(
        title="an id stands twice in the graph", advice="rename or remove one of the nodes"
    ),
    "E_ARCH_NODE_EMPTY": FindingKind(
        title="a claim of a node matches no module", advice="correct the claim or remove the node"
    ),
    "E_ARCH_NODE_CYCLE": FindingKind(
        title="nodes depend on each other in a circle",
        advice="turn one arrow round, or move what both need into a third node",
    ),
    "E_ARCH_EXCLUDE_EMPTY": FindingKind(
        title="an exclusion matches no module", advice="remove the exclusion", severity="warning"
    ),
    "E_ARCH_IMPORT_UNKNOWN": FindingKind(
        title="a declared import names no node", advice="correct the id or remove it"
    ),
    "E_ARCH_IMPORT_UNDECLARED": FindingKind(
        title="the code imports what the graph does not declare",
        advice="remove the import from the code, or declare it on purpose",
    ),
    "E_ARCH_IMPORT_UNUSED": FindingKind(
        title="the graph declares what the code does not import", advice="remove the declaration"
    ),
    "E_ARCH_IMPORT_EXCLUDED": FindingKind(
        title="the program imports an excluded module", advice="remove the import or the exclusion"
    ),
    "E_ARCH_EDGE_NOT_ALLOWED": FindingKind(
        title="allowed_edges has no such edge between kinds",
        advice="depend on a port, or move the code to a node of the right kind",
    ),
    "E_ARCH_EDGE_FORBIDDEN": FindingKind(
        title="forbidden_imports has this edge between kinds",
        advice="depend on a port and let an app bind the adapter",
    ),
    "E_ARCH_PREFIX_FORBIDDEN": FindingKind(
        title="a kind imports what it must not",
        advice="take the value as an argument, or move the code behind a port into an adapter",
    ),
    "E_ARCH_PREFIX_CONFINED": FindingKind(
        title="a module is imported outside the nodes that own it",
        advice="use the node that owns the technology",
    ),
    "E_ARCH_RULE_NODE_UNKNOWN": FindingKind(
        title="a rule names no node", advice="correct the id in arch/rules.json"
    ),
    "E_ARCH_WORLD_FORBIDDEN": FindingKind(
        title="a node is allowed in a world that something it imports is not",
        advice="narrow worlds_allowed of the importer, or bind through an app",
    ),
    "E_ARCH_WORLD_UNBOUND": FindingKind(
        title="an app is allowed in a world where a port has no adapter",
        advice="import an adapter of that port for the world, or narrow worlds_allowed of the app",
    ),
    "E_ARCH_EXPORT_UNKNOWN": FindingKind(
        title="a declared export does not exist", advice="correct the symbol or remove it"
    ),
    "E_ARCH_EXPORT_UNDECLARED": FindingKind(
        title="__all__ names what the graph does not export",
        advice="export it in arch/graph.json, or declare it internal in arch/contracts.json",
    ),
    "E_ARCH_EXPORT_UNCONTRACTED": FindingKind(
        title="an export of a core or a port has no contract",
        advice="add it to public_apis in arch/contracts.json, or declare it internal there",
    ),
    "E_ARCH_EXPORTS_DYNAMIC": FindingKind(
        title="a part of __all__ is computed and cannot be read",
        advice="write the names as literals",
        severity="warning",
    ),
    "E_ARCH_API_DUPLICATE": FindingKind(
        title="a public symbol has two contracts", advice="keep one"
    ),
    "E_ARCH_API_UNKNOWN": FindingKind(
        title="a public symbol is not exported by the code",
        advice="export it (in __all__, where there is one), or remove its contract",
    ),
    "E_ARCH_API_UNEXPORTED": FindingKind(
        title="no node exports a public symbol", advice="add it to the exports of its node"
    ),
    "E_ARCH_API_ENCODING_DOC_MISSING": FindingKind(
        title="a public symbol has no encoding document", advice="write the document"
    ),
    "E_ARCH_API_ERRORS_DOC_MISSING": FindingKind(
        title="a public symbol has no errors document", advice="write the document"
    ),
    "E_ARCH_API_SMOKE_MISSING": FindingKind(
        title="a public symbol has no smoke test that exists",
        advice="write the test, named as path::test_name",
    ),
    "E_ARCH_INTERNAL_UNUSED": FindingKind(
        title="an internal prefix covers no module",
        advice="remove it from arch/contracts.json",
        severity="warning",
    ),
    "E_ARCH_BUDGET_UNKNOWN": FindingKind(
        title="an override names a budget that defaults do not have",
        advice="name the budget in defaults, or remove it",
    ),
    "E_ARCH_BUDGET_MODULE_UNKNOWN": FindingKind(
        title="an override names no node", advice="correct the id or remove the override"
    ),
    "E_ARCH_BUDGET_DUPLICATE": FindingKind(
        title="a node has two overrides", advice="join them into one"
    ),
    "E_ARCH_BUDGET_EXCEEDED": FindingKind(
        title="a module is over its budget", advice="split it, or raise the budget on purpose"
    ),
    "E_ARCH_FILE_MISSING": FindingKind(
        title="a file of the contract is missing or empty",
        advice="`cloche arch init` writes what is missing",
    ),
    "E_ARCH_SCHEMA_DRIFT": FindingKind(
        title="a copy of a schema is missing or differs from the checker's",
        advice="`--write` puts the checker's schema there",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference. Empty strings and line 0 mean that the field does not apply."""

    code: str
    message: str
    node_from: str = ""
    node_to: str = ""
    module: str = ""
    imported: str = ""
    path: str = ""
    line: int = 0
    patch: Patch | None = None

    def __post_init__(self) -> None:
        """Refuse a code that is not in the catalogue."""
        assert self.code in CATALOGUE, self.code

    @property
    def severity(self) -> Severity:
        """`error` fails the check, `warning` does not."""
        return CATALOGUE[self.code].severity

    def sort_key(self) -> tuple[Any, ...]:
        """Return the total order: severity, code, nodes, module, import, message, then place."""
        return (
            _SEVERITY_RANK[self.severity],
            self.code,
            self.node_from,
            self.node_to,
            self.module,
            self.imported,
            self.message,
            self.path,
            self.line,
        )

    def to_document(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "advice": CATALOGUE[self.code].advice,
            "node_from": self.node_from,
            "node_to": self.node_to,
            "module": self.module,
            "import": self.imported,
            "path": self.path,
            "line": self.line,
            "patch": None if self.patch is None else self.patch.to_document(),
        }


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return the findings in their order, each once."""
    unique: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        unique.setdefault(finding.sort_key(), finding)
    return tuple(unique[key] for key in sorted(unique))

"""May this import that? Declared against real, kinds, forbidden and confined prefixes.

Imports that only types use count as edges, because they couple as well; they are let past the
prefix rules, which are about what a run can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.arch.documents import DOCUMENT_PATHS
from cloche.arch.facts import ImportStatement, ModuleEdge, below, resolve
from cloche.arch.findings import Finding
from cloche.arch.jsonpatch import Patch, append_to, remove_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.arch.subject import Subject

_GRAPH = DOCUMENT_PATHS["graph"]
_RULES = DOCUMENT_PATHS["rules"]


def check_imports(subject: Subject) -> Iterator[Finding]:
    """Yield every import that the contract does not allow or does not match."""
    yield from _check_declared_names(subject)
    yield from _check_declared_edges(subject)
    yield from _check_excluded(subject)
    yield from _check_kinds(subject)
    yield from _check_prefixes(subject)
    yield from _check_confined(subject)


def _check_declared_names(subject: Subject) -> Iterator[Finding]:
    """Forbidden prefixes come first: `os` in `imports` is forbidden, not merely unknown."""
    for index, node in enumerate(subject.documents.graph.modules):
        for position, name in enumerate(node.imports):
            if name in subject.nodes and name != node.id:
                continue
            patch = remove_item(_GRAPH, "modules", index, "imports", position, value=name)
            prefix = _forbidden_prefix(subject, node.kind, name)
            if name == node.id:
                code = "E_ARCH_IMPORT_UNUSED"
                message = f"{node.id} declares an import of itself"
            elif prefix:
                code = "E_ARCH_PREFIX_FORBIDDEN"
                message = (
                    f"{node.kind} {node.id} declares {name}; {prefix} is forbidden to {node.kind}"
                )
            else:
                code = "E_ARCH_IMPORT_UNKNOWN"
                message = f"{node.id} declares {name}, which is no node"
            yield Finding(
                code=code,
                message=message,
                node_from=node.id,
                imported=name,
                path=_GRAPH,
                patch=patch,
            )


def _check_declared_edges(subject: Subject) -> Iterator[Finding]:
    for pair in sorted(subject.declared - set(subject.sites)):
        importer, imported = pair
        position = subject.nodes[importer].imports.index(imported)
        place = ("modules", subject.positions[importer], "imports", position)
        yield Finding(
            code="E_ARCH_IMPORT_UNUSED",
            message=f"{importer} declares {imported}, and none of its modules imports it",
            node_from=importer,
            node_to=imported,
            path=_GRAPH,
            patch=remove_item(_GRAPH, *place, value=imported),
        )
    for pair in sorted(set(subject.sites) - subject.declared):
        for site in subject.sites[pair]:
            yield _at_site(
                subject,
                pair,
                site,
                code="E_ARCH_IMPORT_UNDECLARED",
                message=f"{pair[0]} imports {pair[1]} without declaring it",
                patch=_declare(subject, pair),
            )


def _declare(subject: Subject, pair: tuple[str, str]) -> Patch | None:
    """Suggest a declaration only where the rules allow the edge."""
    if not _is_allowed(subject, pair) or _is_forbidden(subject, pair):
        return None
    position = subject.positions[pair[0]]
    return append_to(_GRAPH, "modules", position, "imports", value=pair[1])


def _at_site(
    subject: Subject,
    pair: tuple[str, str],
    site: ModuleEdge | None,
    *,
    code: str,
    message: str,
    patch: Patch | None = None,
) -> Finding:
    return Finding(
        code=code,
        message=message,
        node_from=pair[0],
        node_to=pair[1],
        module=site.importer if site else "",
        imported=site.imported if site else pair[1],
        path=subject.path_of(site.importer) if site else _GRAPH,
        line=site.line if site else 0,
        patch=patch,
    )


def _check_excluded(subject: Subject) -> Iterator[Finding]:
    if not subject.facts.excluded:
        return
    names = subject.facts.module_names()
    for node, module, statement in subject.statements():
        found = resolve(statement.name, subject.facts.excluded)
        # A module of the program may stand nearer: its package may share the excluded prefix.
        if found is not None and len(found) > len(resolve(statement.name, names) or ""):
            yield Finding(
                code="E_ARCH_IMPORT_EXCLUDED",
                message=f"{module.name} imports {found}, which {_GRAPH} excludes",
                node_from=node.id,
                module=module.name,
                imported=found,
                path=module.path,
                line=statement.line,
            )


def _check_kinds(subject: Subject) -> Iterator[Finding]:
    for pair in subject.pairs:
        importer, imported = (subject.nodes[name] for name in pair)
        edge = f"{importer.kind} {importer.id} -> {imported.kind} {imported.id}"
        for site in subject.sites.get(pair, (None,)):
            if _is_forbidden(subject, pair):
                message = f"{edge}: forbidden_imports has {importer.kind} -> {imported.kind}"
                yield _at_site(subject, pair, site, code="E_ARCH_EDGE_FORBIDDEN", message=message)
            if not _is_allowed(subject, pair):
                message = f"{edge}: allowed_edges has no {importer.kind} -> {imported.kind}"
                yield _at_site(subject, pair, site, code="E_ARCH_EDGE_NOT_ALLOWED", message=message)


def _kinds(subject: Subject, pair: tuple[str, str]) -> tuple[str, str]:
    return subject.nodes[pair[0]].kind, subject.nodes[pair[1]].kind


def _is_allowed(subject: Subject, pair: tuple[str, str]) -> bool:
    edges = subject.documents.rules.allowed_edges
    return _kinds(subject, pair) in {(edge.from_kind, edge.to_kind) for edge in edges}


def _is_forbidden(subject: Subject, pair: tuple[str, str]) -> bool:
    edges = subject.documents.rules.forbidden_imports
    return _kinds(subject, pair) in {(edge.from_kind, edge.to_kind) for edge in edges}


def _forbidden_prefix(subject: Subject, kind: str, name: str) -> str:
    """Return the longest prefix that forbids the name to the kind, or nothing."""
    prefixes = (
        rule.prefix
        for rule in subject.documents.rules.forbidden_module_prefixes
        if rule.from_kind == kind
        and below(name, rule.prefix)
        and not any(below(name, pure) for pure in rule.but)
    )
    return max(prefixes, key=len, default="")


def _shown(statement: ImportStatement, prefix: str) -> str:
    """Show the module of the statement if the prefix covers it, else the name taken from it."""
    return statement.base if below(statement.base, prefix) else statement.name


def _check_prefixes(subject: Subject) -> Iterator[Finding]:
    for node, module, statement in subject.statements():
        prefix = _forbidden_prefix(subject, node.kind, statement.name)
        if prefix and not statement.type_only:
            shown = _shown(statement, prefix)
            yield Finding(
                code="E_ARCH_PREFIX_FORBIDDEN",
                message=f"{node.kind} {node.id} imports {shown}; "
                f"{prefix} is forbidden to {node.kind}",
                node_from=node.id,
                module=module.name,
                imported=shown,
                path=module.path,
                line=statement.line,
            )


def _check_confined(subject: Subject) -> Iterator[Finding]:
    rules = subject.documents.rules.confined_prefixes
    for index, rule in enumerate(rules):
        for position, name in enumerate(rule.nodes):
            if name not in subject.nodes:
                place = ("confined_prefixes", index, "nodes", position)
                yield Finding(
                    code="E_ARCH_RULE_NODE_UNKNOWN",
                    message=f"the rule that confines {rule.prefix} names {name}, which is no node",
                    node_from=name,
                    imported=rule.prefix,
                    path=_RULES,
                    patch=remove_item(_RULES, *place, value=name),
                )
    for node, module, statement in subject.statements() if rules else ():
        for rule in rules:
            if node.id in rule.nodes or statement.type_only:
                continue
            if below(statement.name, rule.prefix):
                owners = ", ".join(rule.nodes) or "no node"
                yield Finding(
                    code="E_ARCH_PREFIX_CONFINED",
                    message=f"{node.id} imports {rule.prefix}, which only {owners} may: "
                    f"{rule.reason}",
                    node_from=node.id,
                    module=module.name,
                    imported=_shown(statement, rule.prefix),
                    path=module.path,
                    line=statement.line,
                )

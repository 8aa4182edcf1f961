"""What every rule looks at: the contract, the project, and the graph between its nodes.

Owns the joins of contract and facts that more than one rule needs, made once. Rules are functions
from a `Subject` to findings; they share nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche.arch.graph import Claims, claim_modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloche.arch.documents import Documents, Node
    from cloche.arch.facts import ImportStatement, ModuleEdge, ModuleFacts, ProjectFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The contract and the project, joined.

    `nodes` and `positions` hold the first node of each id. `sites` maps (importer, imported) of two
    different nodes to the imports that make the edge. `declared` holds the declared edges whose
    both ends exist. `pairs` are all edges between nodes, declared or real, sorted.
    """

    documents: Documents
    facts: ProjectFacts
    claims: Claims
    nodes: Mapping[str, Node]
    positions: Mapping[str, int]
    sites: Mapping[tuple[str, str], tuple[ModuleEdge, ...]]
    declared: frozenset[tuple[str, str]]
    pairs: tuple[tuple[str, str], ...]

    def runs(self, pair: tuple[str, str]) -> bool:
        """Say whether an edge takes part in a run: one that only types use does not."""
        sites = self.sites.get(pair)
        return sites is None or any(not site.type_only for site in sites)

    def path_of(self, module: str) -> str:
        """Return the file of a module."""
        facts = self.facts.modules.get(module)
        return facts.path if facts else ""

    def owned_modules(self) -> Iterator[tuple[Node, ModuleFacts]]:
        """Yield each module that a node claims with its node, sorted by module."""
        for name in sorted(self.facts.modules):
            if name in self.claims.owner:
                yield self.nodes[self.claims.owner[name]], self.facts.modules[name]

    def statements(self) -> Iterator[tuple[Node, ModuleFacts, ImportStatement]]:
        """Yield each import statement of each claimed module."""
        for node, module in self.owned_modules():
            for statement in module.imports:
                yield node, module, statement


def join_subject(documents: Documents, facts: ProjectFacts) -> Subject:
    """Join the contract with the project."""
    nodes: dict[str, Node] = {}
    positions: dict[str, int] = {}
    for index, node in enumerate(documents.graph.modules):
        nodes.setdefault(node.id, node)
        positions.setdefault(node.id, index)
    claims = claim_modules(documents.graph.modules, facts.module_names())
    sites: dict[tuple[str, str], list[ModuleEdge]] = {}
    for edge in sorted(facts.edges):
        pair = (claims.owner.get(edge.importer), claims.owner.get(edge.imported))
        if pair[0] is not None and pair[1] is not None and pair[0] != pair[1]:
            sites.setdefault((pair[0], pair[1]), []).append(edge)
    declared = {
        (node.id, target)
        for node in documents.graph.modules
        for target in node.imports
        if target in nodes and target != node.id
    }
    return Subject(
        documents=documents,
        facts=facts,
        claims=claims,
        nodes=nodes,
        positions=positions,
        sites={pair: tuple(edges) for pair, edges in sites.items()},
        declared=frozenset(declared),
        pairs=tuple(sorted(declared | set(sites))),
    )

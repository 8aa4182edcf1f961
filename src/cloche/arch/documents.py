"""The four documents of an architecture contract as frozen data.

Owns the shapes of `arch/graph.json`, `rules.json`, `contracts.json` and `budgets.json`. The strict
JSON Schemas of the same names decide what is a valid document; this module turns a valid one into
values. It reads no file.

Beyond the pinned shape of version 0.1.0 these fields are optional and ours: `match` of a node,
`source_roots` and `exclude` of the graph, `confined_prefixes` and `but` of the rules, `internal`
of the contracts. A document without them means what it always meant.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["core", "port", "adapter-fixture", "adapter-os", "app"]
World: TypeAlias = Literal["fixture", "run-os", "run-os-sandboxed"]

DOCUMENT_NAMES = ("graph", "rules", "contracts", "budgets")
DOCUMENT_PATHS = {name: f"arch/{name}.json" for name in DOCUMENT_NAMES}
SCHEMA_VERSIONS = {name: f"arch.{name}@0.1.0" for name in DOCUMENT_NAMES}


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Which Python modules a node claims.

    `modules` are exact names; a name in `prefixes` claims the module and everything below it. The
    most specific claim wins: an exact name, then the longest prefix.
    """

    modules: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the declared graph."""

    id: str
    kind: Kind
    worlds_allowed: tuple[World, ...]
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    match: Match | None = None

    def claimed(self) -> Match:
        """Return the claim; without `match` the id itself is the prefix."""
        return Match(prefixes=(self.id,)) if self.match is None else self.match


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """Python files below a module prefix that are no part of the program."""

    prefix: str
    reason: str


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """`arch/graph.json`: the nodes and what each may import."""

    schema_version: str
    modules: tuple[Node, ...]
    source_roots: tuple[str, ...] = ()
    exclude: tuple[Exclusion, ...] = ()


class KindEdge(msgspec.Struct, frozen=True, kw_only=True):
    """An import from one kind to another."""

    from_kind: Kind
    to_kind: Kind


class ForbiddenPrefix(msgspec.Struct, frozen=True, kw_only=True):
    """A module, and all below it, that a kind must not import.

    `but` names what may be taken from it all the same: `pathlib.PurePath` computes, `pathlib` acts.
    """

    from_kind: Kind
    prefix: str
    but: tuple[str, ...] = ()


class ConfinedPrefix(msgspec.Struct, frozen=True, kw_only=True):
    """A module, and all below it, that only these nodes may import."""

    prefix: str
    nodes: tuple[str, ...]
    reason: str


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """`arch/rules.json`: which imports are allowed."""

    schema_version: str
    forbidden_imports: tuple[KindEdge, ...]
    forbidden_module_prefixes: tuple[ForbiddenPrefix, ...]
    allowed_edges: tuple[KindEdge, ...]
    confined_prefixes: tuple[ConfinedPrefix, ...] = ()


class PublicApi(msgspec.Struct, frozen=True, kw_only=True):
    """A public symbol with its documents and its smoke tests."""

    symbol: str
    encoding_doc: str
    errors_doc: str
    smoke_tests: tuple[str, ...]


class InternalPrefix(msgspec.Struct, frozen=True, kw_only=True):
    """Symbols that modules share with each other and do not promise to anyone."""

    prefix: str
    reason: str


class Contracts(msgspec.Struct, frozen=True, kw_only=True):
    """`arch/contracts.json`: the public symbols and what stands behind each."""

    schema_version: str
    public_apis: tuple[PublicApi, ...]
    internal: tuple[InternalPrefix, ...] = ()


class BudgetOverride(msgspec.Struct, frozen=True, kw_only=True):
    """Other budgets for one node."""

    module: str
    budgets: dict[str, float]


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """`arch/budgets.json`: named ceilings; `defaults` is where a budget gets its name."""

    schema_version: str
    defaults: dict[str, float]
    overrides: tuple[BudgetOverride, ...]


class Documents(msgspec.Struct, frozen=True, kw_only=True):
    """The whole contract."""

    graph: Graph
    rules: Rules
    contracts: Contracts
    budgets: Budgets


def to_documents(raw: dict[str, Any]) -> Documents:
    """Turn four schema-valid JSON objects, keyed by document name, into values."""
    budgets = raw["budgets"]
    return Documents(
        graph=msgspec.convert(raw["graph"], Graph),
        rules=msgspec.convert(raw["rules"], Rules),
        contracts=msgspec.convert(raw["contracts"], Contracts),
        budgets=Budgets(
            schema_version=budgets["schema_version"],
            defaults=dict(budgets["defaults"]),
            overrides=tuple(_to_override(item) for item in budgets["overrides"]),
        ),
    )


def _to_override(raw: dict[str, Any]) -> BudgetOverride:
    budgets = {name: value for name, value in raw.items() if name != "module"}
    return BudgetOverride(module=raw["module"], budgets=budgets)

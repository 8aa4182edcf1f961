"""Graph algorithms on names: who claims a module, and where a circle is.

Pure and deterministic: every result is sorted. The search for circles is iterative, so a long chain
of imports cannot exhaust the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from cloche.arch.documents import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Which node owns which module.

    `overlaps` maps a module to the ids that claim it in the same words; the first in the document
    owns it. `empty` holds (index of a node, claim) for each claim that wins no module.
    """

    owner: Mapping[str, str]
    orphans: tuple[str, ...]
    overlaps: Mapping[str, tuple[str, ...]]
    empty: tuple[tuple[int, str], ...]


def claim_modules(nodes: Collection[Node], module_names: Iterable[str]) -> Claims:
    """Give each module to the node with the most specific claim."""
    exact: dict[str, list[int]] = {}
    prefixes: dict[str, list[int]] = {}
    ids: list[str] = []
    for index, node in enumerate(nodes):
        ids.append(node.id)
        for name in dict.fromkeys(node.claimed().modules):
            exact.setdefault(name, []).append(index)
        for prefix in dict.fromkeys(node.claimed().prefixes):
            prefixes.setdefault(prefix, []).append(index)
    owner: dict[str, str] = {}
    overlaps: dict[str, tuple[str, ...]] = {}
    orphans: list[str] = []
    effective: set[tuple[int, str]] = set()
    for module in sorted(module_names):
        claim, claimants = _nearest_claim(module, exact, prefixes)
        if not claimants:
            orphans.append(module)
            continue
        owner[module] = ids[claimants[0]]
        effective.update((index, claim) for index in claimants)
        if len(claimants) > 1:
            overlaps[module] = tuple(ids[index] for index in claimants)
    declared = {(i, name) for table in (exact, prefixes) for name in table for i in table[name]}
    return Claims(
        owner=owner,
        orphans=tuple(orphans),
        overlaps=overlaps,
        empty=tuple(sorted(declared - effective)),
    )


def _nearest_claim(
    module: str, exact: Mapping[str, list[int]], prefixes: Mapping[str, list[int]]
) -> tuple[str, list[int]]:
    """Return the most specific claim on a module and the indices of the nodes that make it."""
    if module in exact:
        return module, exact[module]
    name = module
    while name and name not in prefixes:
        name = name.rpartition(".")[0]
    return name, prefixes.get(name, [])


def find_cycles(edges: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], ...]:
    """Return every strongly connected set of two or more names, sorted (Tarjan's algorithm).

    An edge from a name to itself is no circle.
    """
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    cycles: list[tuple[str, ...]] = []
    for root in sorted(edges):
        if root in index:
            continue
        work = [(root, iter(sorted(edges[root])))]
        _open(root, index, lowest, stack, on_stack)
        while work:
            name, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[name])
                if lowest[name] == index[name]:
                    cycles.extend(_close(name, stack, on_stack))
            elif target not in index:
                _open(target, index, lowest, stack, on_stack)
                work.append((target, iter(sorted(edges.get(target, ())))))
            elif target in on_stack:
                lowest[name] = min(lowest[name], index[target])
    return tuple(sorted(cycles))


def _open(
    name: str, index: dict[str, int], lowest: dict[str, int], stack: list[str], on_stack: set[str]
) -> None:
    index[name] = lowest[name] = len(index)
    stack.append(name)
    on_stack.add(name)


def _close(name: str, stack: list[str], on_stack: set[str]) -> Iterator[tuple[str, ...]]:
    """Take a finished component from the stack and yield it if it is a circle."""
    component = [stack.pop()]
    while component[-1] != name:
        component.append(stack.pop())
    on_stack.difference_update(component)
    if len(component) > 1:
        yield tuple(sorted(component))


def find_path(edges: Mapping[str, Collection[str]], members: Collection[str]) -> tuple[str, ...]:
    """Return a shortest circle through the first member, as names with the first at both ends.

    `members` is a strongly connected set, so there is one.
    """
    start = min(members)
    parents: dict[str, str] = {}
    frontier = [start]
    while start not in parents:
        reached: list[str] = []
        for name in frontier:
            for target in sorted(edges.get(name, ())):
                if target in members and target not in parents:
                    parents[target] = name
                    reached.append(target)
        assert reached, "the members are strongly connected"
        frontier = reached
    path = [start]
    while len(path) == 1 or path[-1] != start:
        path.append(parents[path[-1]])
    return tuple(reversed(path))

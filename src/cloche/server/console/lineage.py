"""Sessions that have a past in common, as a tree. Pure.

A store keeps no word of where a fork comes from: it has the history of its origin, step by step.
So a session stands below the older one with which it shares most of its history, where both began
in the same state; the oldest of those, where several share as much.
Invariants: each session is in the tree once; every one but the oldest has a parent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A state that is kept whole: after which operation, how large, since when."""

    ordinal: int
    size_bytes: int
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A session of a family.

    Args:
        id: names it.
        name: for people, None where it has none.
        created_ms: when it began to be.
        steps: what stands for each operation so far; equal where they are the same.
        kept: its snapshots, oldest first.
    """

    id: str
    name: str | None
    created_ms: int
    steps: Sequence[Hashable]
    kept: Sequence[Kept] = ()


@dataclass(kw_only=True)
class Node:
    """A session in its place.

    Args:
        member: which.
        shared: so many operations it has in common with the one above.
        forks: those below, in the order in which they left.
    """

    member: Member
    shared: int = 0
    forks: list[Node] = field(default_factory=list)


def tree_of(family: Iterable[Member]) -> Node | None:
    """Return the oldest session of a family with the others below it; None of nobody."""
    placed: list[Node] = []
    for member in sorted(family, key=lambda each: (each.created_ms, each.id)):
        node = Node(member=member)
        if placed:
            # `max` takes the first one, which is the oldest.
            parent = max(placed, key=lambda other: _shared(other.member.steps, member.steps))
            node.shared = _shared(parent.member.steps, member.steps)
            parent.forks.append(node)
        placed.append(node)
    for node in placed:
        node.forks.sort(key=lambda fork: (fork.shared, fork.member.created_ms, fork.member.id))
    return placed[0] if placed else None


def _shared(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Return how many steps two histories begin with in common."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count

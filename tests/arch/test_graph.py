"""Claims and circles."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cloche.arch.documents import Match, Node
from cloche.arch.graph import claim_modules, find_cycles, find_path

EDGES = st.dictionaries(
    st.sampled_from("abcdefg"), st.sets(st.sampled_from("abcdefg"), max_size=4), max_size=7
)


def to_node(node_id, *, modules=(), prefixes=()):
    """Return a node with a claim."""
    match = Match(modules=modules, prefixes=prefixes) if modules or prefixes else None
    return Node(
        id=node_id, kind="core", worlds_allowed=("fixture",), imports=(), exports=(), match=match
    )


def reachable(edges, start):
    """Return everything that one can reach in one step or more (the slow, obvious way)."""
    found, work = set(), [start]
    while work:
        for target in edges.get(work.pop(), ()):
            if target not in found:
                found.add(target)
                work.append(target)
    return found


@given(EDGES)
def test_circles_are_the_sets_whose_members_reach_each_other(edges):
    """Tarjan's answer equals the definition."""
    names = sorted({*edges, *itertools.chain.from_iterable(edges.values())})
    expected = set()
    for name in names:
        mutual = {
            other
            for other in names
            if other in reachable(edges, name) and name in reachable(edges, other)
        }
        if len(mutual | {name}) > 1 and name in mutual:
            expected.add(tuple(sorted(mutual)))
    assert find_cycles(edges) == tuple(sorted(expected))


@given(EDGES)
def test_the_way_round_is_a_real_way(edges):
    """The path shown starts and ends with the first member and follows the edges."""
    plain = {name: targets - {name} for name, targets in edges.items()}
    for cycle in find_cycles(plain):
        path = find_path(plain, cycle)
        assert path[0] == path[-1] == cycle[0]
        assert len(set(path)) == len(path) - 1
        assert all(after in plain[before] for before, after in itertools.pairwise(path))


def test_a_long_chain_does_not_exhaust_the_stack():
    """50 000 names in one circle are found without recursion."""
    count = 50_000
    edges = {str(index): {str((index + 1) % count)} for index in range(count)}
    assert len(find_cycles(edges)[0]) == count


def test_claims_go_to_the_most_specific():
    """Exact names, then longer prefixes, then shorter ones; an id is its own prefix."""
    nodes = [
        to_node("a"),
        to_node("long", prefixes=("a.b",)),
        to_node("exact", modules=("a.b.c",)),
    ]
    claims = claim_modules(nodes, ["a", "a.x", "a.b", "a.b.c", "a.b.c.d", "ab"])
    assert claims.owner == {
        "a": "a",
        "a.x": "a",
        "a.b": "long",
        "a.b.c": "exact",
        "a.b.c.d": "long",
    }
    assert claims.orphans == ("ab",)
    assert claims.empty == ()


def test_a_claim_that_wins_nothing_is_empty():
    """A prefix below which others own every module owns none."""
    nodes = [to_node("a"), to_node("b", modules=("a", "a.b", "a.gone"))]
    claims = claim_modules(nodes, ["a", "a.b"])
    assert claims.empty == ((0, "a"), (1, "a.gone"))


def test_equal_claims_overlap():
    """The first node of the document owns the module, and both are named."""
    claims = claim_modules([to_node("x", prefixes=("a",)), to_node("a")], ["a.b"])
    assert claims.owner == {"a.b": "x"}
    assert claims.overlaps == {"a.b": ("x", "a")}
    assert claims.empty == ()

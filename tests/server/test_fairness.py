"""The queue: turns between tenants, order within one, one run of a session at a time, bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloche.server.fairness import Bounds, Entry, FairQueue


def queue(waiting=100, tenant_waiting=100, tenant_running=100):
    """Return an empty queue."""
    return FairQueue(
        Bounds(
            waiting_max=waiting,
            tenant_waiting_max=tenant_waiting,
            tenant_running_max=tenant_running,
        )
    )


def entry(tenant, item, session=None):
    """Return something that waits."""
    return Entry(tenant=tenant, session=session, item=item)


def drained(found):
    """Return the items in the order in which they are given out, none of them finished."""
    items = []
    while (given_out := found.pop()) is not None:
        items.append(given_out.item)
    return items


def test_tenants_take_turns():
    """Many runs of one tenant delay another tenant by one run."""
    found = queue()
    for number in range(4):
        found.push(entry("greedy", f"g{number}"))
    found.push(entry("modest", "m0"))
    assert drained(found) == ["g0", "m0", "g1", "g2", "g3"]


def test_one_run_of_a_session_at_a_time():
    """The next run of a session waits for the one before; others overtake it."""
    found = queue()
    for item, session in (("a", "s"), ("b", "s"), ("c", None), ("d", "t")):
        found.push(entry("acme", item, session))
    first = found.pop()
    assert first.item == "a"
    assert drained(found) == ["c", "d"]
    found.finish(first)
    assert drained(found) == ["b"]


def test_a_tenant_has_a_share_of_the_workers():
    """Beyond its share its runs wait, though workers are free."""
    found = queue(tenant_running=1)
    found.push(entry("acme", "a"))
    found.push(entry("acme", "b"))
    first = found.pop()
    assert found.pop() is None
    assert (found.waiting_count, found.running_count) == (1, 1)
    found.finish(first)
    assert found.pop().item == "b"


def test_bounds():
    """It is said which bound is reached; what was accepted before a restart is never refused."""
    found = queue(waiting=3, tenant_waiting=2)
    assert [found.push(entry("acme", item)) for item in "abc"] == [None, None, "tenant"]
    assert found.push(entry("other", "d")) is None
    assert found.room_for("third") == "all"
    assert found.push(entry("third", "e")) == "all"
    assert found.push(entry("third", "f"), forced=True) is None
    assert found.waiting_count == 4


def test_taking_back():
    """What waits can be taken back once; what was given out cannot."""
    found = queue()
    items = [object(), object()]
    for item in items:
        found.push(entry("acme", item))
    given_out = found.pop()
    assert given_out.item is items[0]
    assert not found.remove(items[0])
    assert found.remove(items[1])
    assert not found.remove(items[1])
    assert found.waiting_count == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "s", "t"])), max_size=30),
    st.data(),
)
def test_everything_is_given_out_once(pushed, data):
    """Whatever comes and ends when: each entry is given out once, a session never twice at once."""
    found = queue(tenant_running=2)
    for number, (tenant, session) in enumerate(pushed):
        # A session has one owner.
        name = None if session is None else tenant + session
        found.push(entry(tenant, number, name))
    running, seen = [], []
    while found.waiting_count or running:
        given_out = found.pop()
        if given_out is not None:
            seen.append(given_out.item)
            running.append(given_out)
            sessions = [each.session for each in running if each.session]
            assert len(sessions) == len(set(sessions))
            for tenant in "abc":
                assert sum(each.tenant == tenant for each in running) <= 2
        if running and (given_out is None or data.draw(st.booleans())):
            found.finish(running.pop(data.draw(st.integers(0, len(running) - 1))))
    assert sorted(seen) == list(range(len(pushed)))
    assert found.running_count == 0

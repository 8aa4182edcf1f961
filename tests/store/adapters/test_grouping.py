"""Many callers share a commit; order, errors and interruptions stay with whom they belong to."""

from __future__ import annotations

import threading

import pytest

from cloche.store.adapters.grouping import Grouping

WAIT_S = 60


class Recorder:
    """A commit that can be held: it records its groups."""

    def __init__(self):
        self.groups = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.error = None

    def __call__(self, items):
        self.groups.append(list(items))
        self.entered.release()
        assert self.go_on.acquire(timeout=WAIT_S)
        if self.error is not None:
            error, self.error = self.error, None
            raise error


def start(grouping, item, outcomes, *, key=None, size_bytes=1):
    """Submit in a thread of its own; it is in the queue when this returns."""

    def body():
        try:
            grouping.submit(item, key=key or item, size_bytes=size_bytes)
            outcomes[item] = "done"
        except Exception as error:  # noqa: BLE001 - the outcome is what is checked
            outcomes[item] = error

    length = len(grouping._queue)
    was_busy = grouping._is_busy
    thread = threading.Thread(target=body)
    thread.start()
    while was_busy and len(grouping._queue) == length:
        pass
    return thread


def held(count_max=100, limit_bytes=1000, pending_count_max=100):
    """Return a grouping whose first commit is under way and held."""
    commit, outcomes = Recorder(), {}
    grouping = Grouping(
        commit, count_max=count_max, limit_bytes=limit_bytes, pending_count_max=pending_count_max
    )
    threads = [start(grouping, "first", outcomes)]
    assert commit.entered.acquire(timeout=WAIT_S)
    return grouping, commit, outcomes, threads


def finish(commit, threads, group_count):
    """Let all groups go on and wait for all threads."""
    for _ in range(group_count):
        commit.go_on.release()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_those_who_come_during_a_commit_share_the_next():
    """Five that waited are one group, in the order in which they came."""
    grouping, commit, outcomes, threads = held()
    threads += [start(grouping, name, outcomes) for name in "abcde"]
    finish(commit, threads, 2)
    assert commit.groups == [["first"], list("abcde")]
    assert set(outcomes.values()) == {"done"}


def test_a_group_is_bounded_by_count():
    """More than `count_max` make several groups; none is left behind."""
    grouping, commit, outcomes, threads = held(count_max=2)
    threads += [start(grouping, name, outcomes) for name in "abcde"]
    finish(commit, threads, 4)
    assert commit.groups == [["first"], ["a", "b"], ["c", "d"], ["e"]]


def test_a_group_is_bounded_by_size():
    """A group takes no more when it has its size; one that is larger goes alone."""
    grouping, commit, outcomes, threads = held(limit_bytes=10)
    for name, size_bytes in (("a", 6), ("b", 6), ("c", 99), ("d", 1)):
        threads.append(start(grouping, name, outcomes, size_bytes=size_bytes))
    finish(commit, threads, 4)
    assert commit.groups == [["first"], ["a", "b"], ["c"], ["d"]]


def test_a_group_holds_no_key_twice():
    """The second item of a key waits for the outcome of the first."""
    grouping, commit, outcomes, threads = held()
    for name, key in (("a", "k"), ("b", "l"), ("c", "k"), ("d", "m")):
        threads.append(start(grouping, name, outcomes, key=key))
    finish(commit, threads, 3)
    assert commit.groups == [["first"], ["a", "b"], ["c", "d"]]


def test_an_error_reaches_its_group_alone():
    """All callers of the group that failed raise it; the next group goes on."""
    grouping, commit, outcomes, threads = held(count_max=2)
    threads += [start(grouping, name, outcomes) for name in "abc"]
    commit.go_on.release()
    assert commit.entered.acquire(timeout=WAIT_S)
    commit.error = OSError("disk")
    finish(commit, threads, 2)
    assert outcomes["first"] == outcomes["c"] == "done"
    assert outcomes["a"] is outcomes["b"]
    assert str(outcomes["a"]) == "disk"


def test_who_is_interrupted_while_waiting_leaves_the_queue():
    """Ctrl-C in one caller: its item is not committed, and those behind it are."""
    grouping, commit, outcomes, threads = held()

    class Interrupting:
        def acquire(self):
            raise KeyboardInterrupt

        def release(self):
            raise AssertionError

    from cloche.store.adapters import grouping as module

    class Waiter(module._Waiter):
        __slots__ = ()

        def __init__(self, *args):
            super().__init__(*args)
            self.wake = Interrupting()

    plain, module._Waiter = module._Waiter, Waiter
    try:
        with pytest.raises(KeyboardInterrupt):
            grouping.submit("gone", key="gone", size_bytes=1)
    finally:
        module._Waiter = plain
    threads.append(start(grouping, "a", outcomes))
    finish(commit, threads, 2)
    assert commit.groups == [["first"], ["a"]]


def test_writers_wait_for_room():
    """Beyond what may be pending nothing is queued; it is committed when there is room again."""
    grouping, commit, outcomes, threads = held(pending_count_max=3)
    threads += [start(grouping, name, outcomes) for name in ("a", "b")]
    item = {"key": "c", "size_bytes": 1}
    outside = threading.Thread(target=grouping.submit, args=("c",), kwargs=item)
    outside.start()
    threads.append(outside)
    while not grouping._room._cond._waiters:
        pass
    assert [waiter.item for waiter in grouping._queue] == ["a", "b"]
    finish(commit, threads, 3)
    assert [item for group in commit.groups for item in group] == ["first", "a", "b", "c"]


def test_one_caller_commits_in_its_own_thread():
    """Nobody else is needed, so a single caller pays no change of threads."""
    threads = []
    grouping = Grouping(
        lambda _items: threads.append(threading.get_ident()),
        count_max=1,
        limit_bytes=1,
        pending_count_max=1,
    )
    for _ in range(3):
        grouping.submit("x", key="x", size_bytes=1)
    assert threads == [threading.get_ident()] * 3

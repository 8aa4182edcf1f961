"""Tests of undoing what a script did."""

from __future__ import annotations

import pytest

from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.errors import ScriptRunUnknownError, ToolNotFoundError
from cloche.script.harness import ScriptHarness
from cloche.script.tools import ToolContext, tool
from cloche.store.open import open_store

LIMITS = Limits()
BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
THREE = {
    "typescript": "await tools.put({ name: 'a' }); await tools.look({}); "
    "await tools.put({ name: 'b' }); return await tools.keep({})",
    "python": "tools.put(name='a')\ntools.look()\ntools.put(name='b')\ntools.keep()",
}


class World:
    """What tools change, and what was undone."""

    def __init__(self):
        self.there = []
        self.undone = []
        self.broken = set()

    def tools(self):
        """Return the tools of this world."""

        def take_back(args, value, context):
            assert isinstance(context, ToolContext)
            if args["name"] in self.broken:
                raise OSError("still in use")
            self.undone.append((args["name"], value))
            self.there.remove(args["name"])

        @tool(requires_approval=False, revert=take_back)
        def put(name: str) -> str:
            """Put something somewhere."""
            self.there.append(name)
            return name.upper()

        async def let_go(args):
            self.undone.append(("asked", args))

        @tool(revert=let_go)
        def ask(name: str = "x") -> None:
            """Do something that people are asked about."""
            self.there.append(name)

        @tool(requires_approval=False)
        def keep() -> int:
            """Do something that cannot be undone."""
            return 1

        @tool(read_only=True)
        def look() -> int:
            """Look."""
            return 1

        return put, ask, keep, look


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """Return a store."""
    store = open_store("memory:" if request.param == "memory" else tmp_path / "s.db")
    yield store
    store.close()


@BOTH
def test_calls_are_undone_in_reverse_order(store, language):
    """Those that have a `revert`; the others are as they were."""
    world = World()
    harness = ScriptHarness(*world.tools(), limits=LIMITS, store=store)
    done = harness.run(THREE[language], language=language)
    assert (done.value, world.there) == (1, ["a", "b"])
    result = harness.rollback(done.run_id)
    assert (result.status, result.error, result.value) == ("rolled_back", None, 1)
    assert (world.there, world.undone) == ([], [("b", "B"), ("a", "A")])
    statuses = [(call.tool, call.status) for call in result.tool_calls]
    assert statuses == [
        ("put", "reverted"),
        ("look", "completed"),
        ("put", "reverted"),
        ("keep", "completed"),
    ]
    assert harness.rollback(done.run_id) == harness.result(done.run_id) == result
    assert len(world.undone) == 2


def test_what_cannot_be_undone_is_told_and_tried_again(store):
    """The others are undone all the same."""
    world = World()
    harness = ScriptHarness(*world.tools(), limits=LIMITS, store=store)
    done = harness.run(THREE["typescript"])
    world.broken.add("b")
    result = harness.rollback(done.run_id)
    assert (result.status, result.error["code"]) == ("failed", "ROLLBACK_PARTIAL")
    assert result.error["message"] == (
        f"run {done.run_id} was undone in part; these calls stay done: put (OSError: still in use)"
    )
    assert (world.there, world.undone) == (["b"], [("a", "A")])
    assert harness.result(done.run_id) == result
    world.broken.clear()
    assert harness.rollback(done.run_id).status == "rolled_back"
    assert world.undone == [("a", "A"), ("b", "B")]


def test_changed_arguments_are_those_that_are_undone(store):
    """A compensation gets what was done, not what was asked for."""
    world = World()
    harness = ScriptHarness(*world.tools(), limits=LIMITS, store=store)
    parked = harness.run("await tools.ask({ name: 'x' })")
    made = Made(verdict="approve", who="ann", args={"name": "y"})
    harness.decide(harness.pending[0].id, made)
    harness.resume(parked.run_id)
    harness.rollback(parked.run_id)
    assert world.undone == [("asked", {"name": "y"})]


def test_without_its_tools_nothing_is_undone(store):
    """Else what could be undone would be left without a word."""
    world = World()
    parked = ScriptHarness(*world.tools(), limits=LIMITS, store=store).run(
        "await tools.put({ name: 'a' })"
    )
    other = ScriptHarness(limits=LIMITS, store=store)
    with pytest.raises(ToolNotFoundError, match="there is no tool 'put'"):
        other.rollback(parked.run_id)
    assert (world.there, other.result(parked.run_id).status) == (["a"], "completed")


def test_a_run_that_waits_is_ended(store):
    """It never goes on, and nobody is asked about it any more."""
    world = World()
    harness = ScriptHarness(*world.tools(), limits=LIMITS, store=store)
    parked = harness.run("await tools.put({ name: 'a' }); await tools.ask({})")
    assert (parked.status, world.there) == ("suspended", ["a"])
    assert harness.rollback(parked.run_id).status == "rolled_back"
    assert (world.there, harness.pending) == ([], ())
    assert harness.resume(parked.run_id).status == "rolled_back"
    with pytest.raises(ScriptRunUnknownError):
        harness.rollback("unknown")


@pytest.mark.parametrize(("count", "undone"), [(0, 0), (1, 0), (3, 1), (5, 2)])
def test_a_rollback_that_died_is_gone_on_with(store, count, undone):
    """What its journal says is undone is not undone again."""
    world = World()
    harness = ScriptHarness(*world.tools(), limits=LIMITS, store=store)
    done = harness.run(THREE["typescript"])
    appended = store.journals.append
    left = [count]

    def dying(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return appended(*args, **options)

    store.journals.append = dying
    with pytest.raises(KeyboardInterrupt):
        harness.rollback(done.run_id)
    store.journals.append = appended
    assert len(world.undone) == undone
    assert harness.rollback(done.run_id).status == "rolled_back"
    assert world.undone == [("b", "B"), ("a", "A")]

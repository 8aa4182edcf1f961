"""Tests of retries, atomic blocks and transactions: which effects happen, in which order."""

from __future__ import annotations

import pytest

from cloche.exec.errors import RuntimeFailedError
from cloche.exec.session import Session, sessions_of
from cloche.gate.ports import EffectFailure
from cloche.store.open import open_store

# A program may write `step(n)` and `undo(n)`; both are tools that the world notes and can fail.
PYTHON = """
import cloche
def step(n): return tools.step(n)
def undo(n): tools.undo(n)
"""
JAVASCRIPT = """
const step = (n) => tools.step([n]); const undo = (n) => tools.undo([n]);
"""
PROGRAMS = {
    "atomic": {
        "python": """
def region():
    for n in (1, 2, 3): step(n)
cloche.atomic(region)
for n in (4, 5, 6): cloche.retry(lambda: step(n), cloche.Retry(3, when=["FLAKY"]))
""",
        "javascript": """
await cloche.atomic(async () => { for (const n of [1, 2, 3]) await step(n) });
for (const n of [4, 5, 6]) await cloche.retry(() => step(n), { when: ["FLAKY"] });
""",
    },
    "jump": {
        "python": """
for n in (1, 2, 3, 4, 5): last = cloche.retry(lambda: step(n), cloche.Retry(2))
print(last)
""",
        "javascript": """
let last;
for (const n of [1, 2, 3, 4, 5]) last = await cloche.retry(() => step(n), { attempts: 2 });
console.log(last);
""",
    },
    "checkpoint": {
        "python": """
def region():
    for n in (2, 3, 4): last = step(n)
    return last
print(cloche.atomic(region))
""",
        "javascript": """
console.log(await cloche.atomic(async () => {
  let last;
  for (const n of [2, 3, 4]) last = await step(n);
  return last;
}));
""",
    },
    "fallible": {
        "python": """
def body(tx):
    for n in (1, 2, 3): tx.run(lambda: step(n), undo)
    raise ValueError("domain")
cloche.transaction(body)
""",
        "javascript": """
await cloche.transaction(async (tx) => {
  for (const n of [1, 2, 3]) await tx.run(() => step(n), undo);
  throw new Error("domain");
});
""",
    },
    "infallible": {
        "python": """
tries = []
def body(tx):
    for n in (1, 2, 3): tx.run(lambda: step(n), undo)
    tries.append(1)
    if len(tries) == 1: raise ValueError("domain")
    tx.run(lambda: step(4), undo)
    return 11
print(cloche.transaction(body, attempts=5))
""",
        "javascript": """
let tries = 0;
console.log(await cloche.transaction(async (tx) => {
  for (const n of [1, 2, 3]) await tx.run(() => step(n), undo);
  if (++tries === 1) throw new Error("domain");
  await tx.run(() => step(4), undo);
  return 11;
}, { attempts: 5 }));
""",
    },
    "undo fails": {
        "python": """
def bad(n): raise RuntimeError(f"undo {n}")
def body(tx):
    tx.run(lambda: step(1), undo)
    tx.run(lambda: step(2), bad)
    raise ValueError("domain")
cloche.transaction(body)
""",
        "javascript": """
await cloche.transaction(async (tx) => {
  await tx.run(() => step(1), undo);
  await tx.run(() => step(2), (n) => { throw new Error(`undo ${n}`) });
  throw new Error("domain");
});
""",
    },
    "not retried": {
        "python": "cloche.retry(lambda: step(5), cloche.Retry(9, when=['OTHER']))",
        "javascript": "await cloche.retry(() => step(5), { attempts: 9, when: ['OTHER'] })",
    },
    "retryable": {
        "python": "print(cloche.retry(lambda: step(5), cloche.Retry(4)))",
        "javascript": "console.log(await cloche.retry(() => step(5), { attempts: 4 }))",
    },
    "too late": {
        "python": "cloche.retry(lambda: step(5), cloche.Retry(9, delay=30, within=20))",
        "javascript": "await cloche.retry(() => step(5), { attempts: 9, delay: 30, within: 20 })",
    },
    "delays": {
        "python": """
policy = cloche.Retry(9, delay=0.01, factor=2, delay_max=0.03, jitter=0.5)
print(cloche.retry(lambda: step(5), policy))
""",
        "javascript": """
const policy = { attempts: 9, delay: 0.01, factor: 2, delayMax: 0.03, jitter: 0.5 };
console.log(await cloche.retry(() => step(5), policy));
""",
    },
}


class World:
    """Notes what is done; steps fail as often as they are told to."""

    def __init__(self, failures):
        self.failures = dict(failures)
        self.trace = []

    def step(self, number):
        self.trace.append(f"=>{number}")
        if self.failures.get(number, 0):
            self.failures[number] -= 1
            raise EffectFailure("FLAKY", "not now", retryable=True)
        return number

    def undo(self, number):
        self.trace.append(f"<={number}")


@pytest.fixture(params=["python", "javascript"])
def language(request):
    """Both languages."""
    return request.param


@pytest.fixture
def run(tmp_path, language):
    """Run one of the programs against a world; return what it printed."""
    store = open_store(tmp_path / "cloche.db", durability="normal")

    def call(name, world):
        head = {"python": PYTHON, "javascript": JAVASCRIPT}[language]
        with Session.create(language, store=store) as session:
            tools = {"step": world.step, "undo": world.undo}
            return session.run(head + PROGRAMS[name][language], tools=tools).run.stdout

    yield call
    sessions_of(store).close()
    store.close()


def test_an_atomic_block_is_repeated_whole(run):
    """Outside of it only the failing step is."""
    world = World({2: 2, 5: 2})
    run("atomic", world)
    numbers = [int(entry[2:]) for entry in world.trace]
    assert numbers == [1, 2, 1, 2, 1, 2, 3, 4, 5, 5, 5, 6]


def test_a_step_that_fails_is_done_again(run):
    """It alone: the reference jumps back to before the step, to the same trace."""
    world = World({2: 1, 4: 1})
    assert run("jump", world) == "5\n"
    assert [int(entry[2:]) for entry in world.trace] == [1, 2, 2, 3, 4, 4, 5]


def test_going_back_to_a_checkpoint(run):
    """The reference goes back to where it marked its place; a block does from its beginning."""
    world = World({2: 1, 3: 1})
    assert run("checkpoint", world) == "4\n"
    assert [int(entry[2:]) for entry in world.trace] == [2, 2, 3, 2, 3, 4]


def test_a_transaction_undoes_in_reverse(run):
    """What was done is undone, the last first, and the error is told."""
    world = World({})
    with pytest.raises(RuntimeFailedError, match="domain"):
        run("fallible", world)
    assert " ".join(world.trace) == "=>1 =>2 =>3 <=3 <=2 <=1"


def test_a_transaction_is_done_again(run):
    """After undoing, from the beginning, until it succeeds."""
    world = World({})
    assert run("infallible", world) == "11\n"
    assert " ".join(world.trace) == "=>1 =>2 =>3 <=3 <=2 <=1 =>1 =>2 =>3 =>4"


def test_what_cannot_be_undone_is_told(run):
    """The other steps are undone all the same."""
    world = World({})
    with pytest.raises(RuntimeFailedError, match="could not be undone"):
        run("undo fails", world)
    assert " ".join(world.trace) == "=>1 =>2 <=1"


def test_only_what_the_policy_names_is_tried_again(run):
    """Another code is raised at once."""
    world = World({5: 1})
    with pytest.raises(RuntimeFailedError, match="FLAKY"):
        run("not retried", world)
    assert world.trace == ["=>5"]


def test_what_says_that_trying_helps_is_tried_again(run):
    """That is the rule where no other is given; the last error is raised."""
    assert run("retryable", World({5: 3})) == "5\n"
    world = World({5: 4})
    with pytest.raises(RuntimeFailedError, match="FLAKY"):
        run("retryable", world)
    assert len(world.trace) == 4


def test_delays_grow_to_a_ceiling(run):
    """They are real and part of them is chance."""
    world = World({5: 5})
    assert run("delays", world) == "5\n"
    assert len(world.trace) == 6


def test_nothing_is_tried_after_its_time(run):
    """A delay that would end too late is not waited for."""
    world = World({5: 1})
    with pytest.raises(RuntimeFailedError, match="FLAKY"):
        run("too late", world)
    assert world.trace == ["=>5"]

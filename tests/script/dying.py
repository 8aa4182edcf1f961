"""A process that kills itself with SIGKILL at a point of its work, and what it works on.

A point is a change of the store, or a call of a tool: before it, or right after it. Points are
counted; the process dies at the one that it is told.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.harness import ScriptHarness
from cloche.script.tools import ToolContext, tool
from cloche.store.open import open_store

NOW_MS = 1_700_000_000_000
LIMITS = Limits()
CHANGES = frozenset({"create", "update", "append", "apply", "put", "remove", "delete"})
SOURCES = {
    "typescript": """
const first = await tools.note({ n: 1 });
const both = await Promise.all([tools.write({ n: 2 }), tools.write({ n: 3 })]);
return [first, ...both, await tools.note({ n: 4 })];
""",
    "python": """
import asyncio
first = await tools.note(n=1)
both = await asyncio.gather(tools.write(n=2), tools.write(n=3))
[first, *both, await tools.note(n=4)]
""",
}
VALUE = [1, 20, 30, 4]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["cloche.script.harness", "cloche.store.adapters.sql.store"])


class Points:
    """Counts points, and ends this process at one of them."""

    def __init__(self, die_at=None):
        self.names = []
        self._die_at = die_at

    def reach(self, name):
        """Come to a point."""
        self.names.append(name)
        if self._die_at == len(self.names) - 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A store whose changes are points."""

    def __init__(self, store, points):
        self._store = store
        self._points = points

    def __getattr__(self, name):
        part = getattr(self._store, name)
        return part if isinstance(part, str) or callable(part) else _Part(part, name, self._points)


class _Part:
    def __init__(self, part, name, points):
        self._part, self._name, self._points = part, name, points

    def __getattr__(self, name):
        method = getattr(self._part, name)
        if name not in CHANGES:
            return method

        def change(*args, **options):
            self._points.reach(f"before {self._name}.{name}")
            result = method(*args, **options)
            self._points.reach(f"after {self._name}.{name}")
            return result

        return change


class Place:
    """A store in a folder, with a log of the calls that really happened."""

    def __init__(self, folder, *, points=None, later_ms=0):
        self.folder = Path(folder)
        self.points = points or Points()
        self.store = open_store(self.folder / "s.db", limits=LIMITS)
        self.harness = ScriptHarness(
            *self._tools(),
            store=Watched(self.store, self.points),
            session_id="s",
            limits=LIMITS,
            clock_ms=lambda: NOW_MS + later_ms,
        )

    def _tools(self):
        def happen(name, n, call):
            self.points.reach(f"before {name}")
            with (self.folder / "log").open("a") as log:
                log.write(f"{call.idempotency_key} {name} {n}\n")
            self.points.reach(f"after {name}")

        @tool(read_only=True)
        def note(n: int, call: ToolContext) -> int:
            """Do something that nobody is asked about."""
            happen("note", n, call)
            return n

        @tool
        def write(n: int, call: ToolContext) -> int:
            """Do something that people are asked about."""
            happen("write", n, call)
            return n * 10

        return note, write

    def log(self):
        """Return what happened, in order."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def runs(self):
        """Return the runs that the store knows."""
        return self.store.runs.list()

    def close(self):
        """Close the store."""
        self.store.close()


def work(place, phase, language):
    """Do one of the phases of a run's life in a place."""
    harness = place.harness
    if phase == "suspend":
        return harness.run(SOURCES[language], language=language)
    if phase == "decide":
        return [
            harness.decide(one.id, Made(verdict="approve", who="ann")) for one in harness.pending
        ]
    (run,) = place.runs()
    return harness.resume(run.id)


def die(folder, phase, language, die_at):
    """Do a phase until a point."""
    place = Place(folder, points=Points(die_at))
    work(place, phase, language)
    place.close()


def died(folder, phase, language, die_at):
    """Do a phase until a point in a process of its own; return how that ended."""
    process = context.Process(target=die, args=(str(folder), phase, language, die_at))
    process.start()
    process.join(60)
    return process.exitcode

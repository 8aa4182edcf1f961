"""Measures scripts: text to result, a call of a tool, parking, and a thousand that wait.

python bench/scripts.py           a table
python bench/scripts.py --quick   without the scripts that wait
python bench/scripts.py --json    for machines

What is compared is measured in turns, so that a machine that others use is as slow for the one as
for the other. Measured is the median; processor time, of all threads, is the lowest: what the work
takes where nobody else is.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import multiprocessing
import resource
import statistics
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cloche
from cloche.script.inbox import Inbox
from cloche.store.open import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 200
PARKED = 1000
LIMITS = cloche.Limits().replace(
    {"scripts": {"call_count_max": 2 * CALLS, "approval_count_max": 2 * PARKED}}
)
PLAIN = {"javascript": "return 1", "typescript": "const x: number = 1; return x", "python": "1"}
MANY = {
    "javascript": f"for (let a = 0; a < {CALLS}; a++) await tools.add({{ a }});",
    "python": f"for a in range({CALLS}): tools.add(a=a)",
}
TARGETS_MS = {"javascript": 1.0, "typescript": 2.0, "python": 2.0}
Times = tuple[float, float]  # the median by the clock, the lowest of the processor
ASKING = "const a = await tools.add({ a: 1 }); return tools.write({ a })"


class Row(NamedTuple):
    """A line of the table."""

    what: str
    target: float | None
    measured: float
    cpu: float | None
    unit: str


@cloche.tool(read_only=True)
def add(a: int) -> int:
    """Add one."""
    return a + 1


@cloche.tool
def write(a: int) -> int:
    """Write something."""
    return a


def harness(store: Any = None) -> cloche.ScriptHarness:
    """Return a harness with these tools."""
    return cloche.ScriptHarness(add, write, store=store, limits=LIMITS, session_id="bench")


def medians_ms(works: dict[str, Callable[[], object]], count: int) -> dict[str, Times]:
    """Return the times of some calls in milliseconds, after one of each that does not count."""
    times: dict[str, list[Times]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(count):
        for name, work in works.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            work()
            cpu_s = time.process_time() - started_cpu
            times[name].append((time.perf_counter() - started, cpu_s))
    return {
        name: (
            statistics.median(one for one, _ in found) * 1000,
            min(cpu for _, cpu in found) * 1000,
        )
        for name, found in times.items()
    }


def text_to_result() -> list[Row]:
    """Measure scripts that call nothing, and one in TypeScript that was not seen before."""
    using, counter = harness(), itertools.count()
    works: dict[str, Callable[[], object]] = {
        language: partial(using.run, source, language=language)
        for language, source in PLAIN.items()
    }
    works["typescript, not seen before"] = lambda: using.run(
        f"const x: number = {next(counter)}; return x", language="typescript"
    )
    found = medians_ms(works, 100)
    return [
        Row(f"{name}: text to result", TARGETS_MS[name.partition(",")[0]], times[0], times[1], "ms")
        for name, times in found.items()
    ]


def calls(folder: Path) -> list[Row]:
    """Measure a call of a tool within a script, in memory and through SQLite."""
    rows: list[Row] = []
    places: list[tuple[str, float, Any]] = [
        ("in memory", 0.1, None),
        ("journaled in SQLite", 0.4, open_store(folder / "full.db")),
    ]
    for place, target_ms, store in places:
        using = harness(store)
        works: dict[str, Callable[[], object]] = {}
        for language, source in MANY.items():
            works[f"{language}, none"] = partial(using.run, PLAIN[language], language=language)
            works[language] = partial(using.run, source, language=language)
        found = medians_ms(works, 15)
        for language in MANY:
            none, many = found[f"{language}, none"], found[language]
            wall_ms, cpu_ms = ((one - other) / CALLS for one, other in zip(many, none, strict=True))
            rows.append(
                Row(f"{language}: tool call, {place}", target_ms, wall_ms, cpu_ms, "ms"),
            )
    return rows


def _elsewhere(path: str, requests: Any, answers: Any) -> None:
    """Approve and go on with runs in a process that has not seen them."""
    store = open_store(path)
    using, inbox = harness(store), Inbox(store, limits=LIMITS)
    using.run("return 1")
    answers.put(None)
    while (run_id := requests.get()) is not None:
        started = time.perf_counter()
        (approval,) = inbox.list(run_id=run_id)
        inbox.approve(approval.id, who="bench")
        result = using.resume(run_id)
        assert result.status == "completed", result
        answers.put(time.perf_counter() - started)


def parking(folder: Path) -> list[Row]:
    """Measure putting a script away, and approving and going on with it in another process."""
    context = multiprocessing.get_context("spawn")
    requests, answers = context.Queue(), context.Queue()
    path = str(folder / "park.db")
    using = harness(open_store(path))
    process = context.Process(target=_elsewhere, args=(path, requests, answers))
    process.start()
    answers.get()
    away, back = [], []
    for _ in range(40):
        started = time.perf_counter()
        parked = using.run(ASKING)
        away.append(time.perf_counter() - started)
        requests.put(parked.run_id)
        back.append(answers.get())
    requests.put(None)
    process.join()
    both = [one + other for one, other in zip(away, back, strict=True)]
    return [
        Row("put away in SQLite", None, statistics.median(away) * 1000, None, "ms"),
        Row("approve and go on, another process", None, statistics.median(back) * 1000, None, "ms"),
        Row("park and resume, both together", 15.0, statistics.median(both) * 1000, None, "ms"),
    ]


def thousand(folder: Path) -> list[Row]:
    """Measure what a thousand scripts hold that wait."""
    using = harness(open_store(folder / "thousand.db"))
    for _ in range(20):
        using.run(ASKING)
    gc.collect()
    before, threads = _resident_bytes(), threading.active_count()
    parked = [using.run(ASKING).run_id for _ in range(PARKED)]
    gc.collect()
    grown_kb = max(0, _resident_bytes() - before) / 1024 / PARKED
    more_threads = threading.active_count() - threads
    started = time.perf_counter()
    inbox = Inbox(using.store, limits=LIMITS)
    for one in inbox.list():
        inbox.approve(one.id, who="bench")
    done = [using.resume(run_id).status for run_id in parked]
    assert set(done) == {"completed"}
    each_ms = (time.perf_counter() - started) * 1000 / PARKED
    return [
        Row(f"{PARKED} parked: memory of each", None, grown_kb, None, "KB"),
        Row(f"{PARKED} parked: threads", 0, max(0, more_threads), None, ""),
        Row(f"{PARKED} parked: approve and go on, each", 15.0, each_ms, None, "ms"),
    ]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*text_to_result(), *calls(folder)]
        if not arguments.quick:
            rows += [*parking(folder), *thousand(folder)]
    if arguments.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    print("| what | at most | measured | processor time | met |\n|---|---|---|---|---|")
    for row in rows:
        met = "" if row.target is None else "yes" if row.measured <= row.target else "**no**"
        wanted = "" if row.target is None else f"{row.target:g} {row.unit}".strip()
        cpu = "" if row.cpu is None else f"{row.cpu:.3g} {row.unit}"
        print(f"| {row.what} | {wanted} | {row.measured:.3g} {row.unit} | {cpu} | {met} |")


if __name__ == "__main__":
    main()

"""Measures scripts: text to result, a call of a tool, parking, and a thousand that wait.

python bench/scripts.py          a table
python bench/scripts.py --json   for machines
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import resource
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
ASKING = "const a = await tools.add({ a: 1 }); return tools.write({ a })"


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


def median_ms(work: Callable[[], object], count: int) -> float:
    """Return the median time of a call in milliseconds, after a few that do not count."""
    for _ in range(min(5, count)):
        work()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def text_to_result() -> list[tuple[str, float | None, float, str]]:
    """Measure scripts that call nothing."""
    using = harness()
    return [
        (
            f"{language}: text to result",
            TARGETS_MS[language],
            median_ms(lambda: using.run(source, language=language), 100),  # noqa: B023
            "ms",
        )
        for language, source in PLAIN.items()
    ]


def calls(folder: Path) -> list[tuple[str, float | None, float, str]]:
    """Measure a call of a tool within a script, in memory and through SQLite."""
    rows: list[tuple[str, float | None, float, str]] = []
    places: list[tuple[str, float | None, Any]] = [
        ("in memory", 0.1, None),
        ("journaled in SQLite", 0.4, open_store(folder / "full.db")),
    ]
    for place, target_ms, store in places:
        using = harness(store)
        for language, source in MANY.items():
            none = median_ms(lambda: using.run(PLAIN[language], language=language), 20)  # noqa: B023
            all_ms = median_ms(lambda: using.run(source, language=language), 7)  # noqa: B023
            name = f"{language}: tool call, {place}"
            rows.append((name, target_ms, (all_ms - none) / CALLS, "ms"))
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


def parking(folder: Path) -> list[tuple[str, float | None, float, str]]:
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
        ("put away in SQLite", None, statistics.median(away) * 1000, "ms"),
        ("approve and go on, another process", None, statistics.median(back) * 1000, "ms"),
        ("park and resume, both together", 15.0, statistics.median(both) * 1000, "ms"),
    ]


def thousand(folder: Path) -> list[tuple[str, float | None, float, str]]:
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
        (f"{PARKED} parked: memory of each", None, grown_kb, "KB"),
        (f"{PARKED} parked: threads", 0, max(0, more_threads), ""),
        (f"{PARKED} parked: approve and go on, each", 15.0, each_ms, "ms"),
    ]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*text_to_result(), *calls(folder), *parking(folder), *thousand(folder)]
    if arguments.json:
        fields = ("what", "target", "measured", "unit")
        print(json.dumps([dict(zip(fields, row, strict=True)) for row in rows], indent=2))
        return
    print("| what | at most | measured | met |\n|---|---|---|---|")
    for what, target, measured, unit in rows:
        met = "" if target is None else "yes" if measured <= target else "**no**"
        wanted = "" if target is None else f"{target:g} {unit}"
        print(f"| {what} | {wanted.strip()} | {measured:.3g} {unit} | {met} |")


if __name__ == "__main__":
    main()

"""Measures what docs/performance.md says of sessions: medians, with peers where they are installed.

python bench/sessions.py [--json]                everything, a table
python bench/sessions.py --only snapshot         the rows whose name has this word
python bench/sessions.py --crowd 60 [--store U]  fifty sessions at once for a minute: no cross-talk
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from cloche.exec.adapters.session_store import StoreSink
from cloche.exec.session import Session, sessions_of
from cloche.exec.session_request import session_request
from cloche.store.open import open_store
from cloche.store.rows import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.store.ports import Store

LANGUAGES = ("javascript", "python")
CROWD_SIZE = 50
MANY = 1000
SMALL = {
    "javascript": "let x = { a: [1, 2, 3] }; function f(n) { return x.a.length + n }",
    "python": "x = {'a': [1, 2, 3]}\ndef f(n): return len(x['a']) + n",
}
READ = {"javascript": "console.log(f(1))", "python": "print(f(1))"}
FRAME = "import numpy as np, pandas as pd\ndf = pd.DataFrame(np.arange(6_500_000).reshape(-1, 10))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `target` and `measured` in `unit`."""

    name: str
    target: float | None
    measured: float
    unit: str = "ms"
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None where there is none."""
        if self.target is None:
            return None
        return self.measured >= self.target if self.at_least else self.measured <= self.target


@contextmanager
def stored(durability: str = "full") -> Iterator[Store]:
    """Open a new SQLite store on the disk of the current folder; close all that used it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="."))
    store = open_store(folder / "cloche.db", durability=durability)
    try:
        yield store
    finally:
        sessions_of(store).close()
        store.close()
        shutil.rmtree(folder)


def median_ms(function: Callable[[], object], count: int, *, unmeasured: int = 3) -> float:
    """Return the median time of a call."""
    for _ in range(unmeasured):
        function()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


# --- rows ---


def live_run(language: str) -> Row:
    """A run in a session that is awake, without its store: instance, gate and turn."""
    with stored() as store, Session.create(language, store=store) as session:
        session.run("1")
        live = sessions_of(store)._live[session.id]
        machine = live.machine
        assert machine is not None
        request = session_request(
            live.settings,
            live.head,
            "1+1",
            limits=sessions_of(store).limits,
            tools=(),
            seed=1,
            now_ns=10**18,
            options={},
        )
        measured = median_ms(lambda: machine.run(request, run_id="r", record=False), 2000)
    target = {"javascript": 0.1, "python": 0.2}[language]
    return Row(name=f"{language}: run in a live session", target=target, measured=measured)


def kept_run(language: str, durability: str) -> Row:
    """The same with everything durable."""
    with stored(durability) as store, Session.create(language, store=store) as session:
        measured = median_ms(lambda: session.run("1+1"), 200)
    return Row(name=f"{language}: the same, kept ({durability})", target=None, measured=measured)


def snapshot_size(language: str) -> Row:
    """What a small session's snapshot takes."""
    with stored() as store, Session.create(language, store=store) as session:
        session.run(SMALL[language])
        session.snapshot()
        (kept,) = store.sessions.snapshots(session.id)
    target = {"javascript": 120.0, "python": 400.0}[language]
    size = kept.size_bytes / 1000
    return Row(name=f"{language}: snapshot, small session", target=target, measured=size, unit="KB")


_OTHER = """
import sys, time
from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store
store = open_store(sys.argv[1], durability=sys.argv[2])
warm = Session.create(sys.argv[3], store=store)
warm.run("1")
for line in sys.stdin:
    started = time.perf_counter_ns()
    session = Session.open(line.strip(), store=store)
    printed = session.run(sys.argv[4]).run.stdout
    took = time.perf_counter_ns() - started
    assert printed == "4\\n", printed
    session.close()
    print(took, flush=True)
"""


def resumed(language: str, durability: str, *, snapshot: bool = True, count: int = 60) -> Row:
    """Snapshot and store here, load and run on in another process that is ready.

    Without `snapshot` the session is only let go of, and its one small run is repeated there.
    """
    with stored(durability) as store:
        arguments = [store.url, durability, language, READ[language]]
        other = subprocess.Popen(
            [sys.executable, "-c", _OTHER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdin is not None
        assert other.stdout is not None
        times = []
        for _ in range(count):
            session = Session.create(language, store=store)
            session.run(SMALL[language])
            started = time.perf_counter_ns()
            if snapshot:
                session.snapshot()
            session.close()
            here = time.perf_counter_ns() - started
            other.stdin.write(f"{session.id}\n")
            other.stdin.flush()
            times.append((here + int(other.stdout.readline())) / 1e6)
        other.communicate()
    target = {"full": 8.0, "normal": 5.0}[durability]
    how = "snapshot, store, load, run" if snapshot else "let go, take up, run"
    name = f"{language}: {how} in another process ({durability})"
    return Row(name=name, target=target, measured=statistics.median(times))


def journaled_effect() -> Row:
    """Two appends, each durable before the next step."""
    with stored("normal") as store:
        store.runs.create(Run(id="r", language="python", status="running", created_ns=0))
        sink = StoreSink(store, "r")

        def effect() -> None:
            sink.append([b"e" * 250])
            sink.append([b"e" * 250])

        measured = median_ms(effect, 2000)
    return Row(name="journaled effect, alone", target=0.3, measured=measured)


def effects_together() -> Row:
    """Effects a second with 50 runs in flight."""
    count = 200
    with stored("normal") as store:
        for index in range(CROWD_SIZE):
            run = Run(id=f"r{index}", language="python", status="running", created_ns=0)
            store.runs.create(run)

        def work(index: int) -> None:
            sink = StoreSink(store, f"r{index}")
            for _ in range(2 * count):
                sink.append([b"e" * 250])

        taken_s = in_threads(work, CROWD_SIZE)
    measured = CROWD_SIZE * count / taken_s
    name = "journaled effects, 50 runs in flight"
    return Row(name=name, target=5000, measured=measured, unit="/s", at_least=True)


def fork_frame() -> Row:
    """A second session with a DataFrame of 50 MB."""
    with stored() as store:
        session = Session.create("python", image="python+pandas", store=store)
        session.run(FRAME)
        times = []
        for _ in range(3):
            session.run("df.iloc[0, 0] += 1")
            started = time.perf_counter()
            session.fork()
            times.append((time.perf_counter() - started) * 1000)
        session.close()
    return Row(name="fork with a DataFrame of 50 MB", target=100, measured=statistics.median(times))


def evicted() -> Row:
    """What sessions that sleep hold of the process's memory, each."""
    with stored("normal") as store:
        sessions = [Session.create("python", store=store) for _ in range(100)]
        for session in sessions:
            session.run(SMALL["python"])
            session.close()
        before = private_kb()
        awake = [Session.open(session.id, store=store) for session in sessions]
        for session in awake:
            session.run("x")
        for session in awake:
            session.close()
        held = (private_kb() - before) / len(awake)
    return Row(name="memory of an evicted session", target=1, measured=max(0.0, held), unit="KB")


def thousand() -> Row:
    """A thousand sessions of both languages, woken from the disk by a new process, one run each."""
    with stored("normal") as store:
        names = []
        for index in range(MANY):
            session = Session.create(LANGUAGES[index % 2], store=store)
            session.run(SMALL[session.language])
            session.close()
            names.append(session.id)

        def work(worker: int) -> None:
            for name in names[worker :: os.cpu_count() or 1]:
                with Session.open(name, store=store) as session:
                    assert session.run(READ[session.language]).run.stdout == "4\n"

        measured = in_threads(work, os.cpu_count() or 1)
    return Row(name="1,000 sessions woken, one run each", target=30, measured=measured, unit="s")


def private_kb() -> int:
    """Return the private memory of this process."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


def in_threads(work: Callable[[int], object], count: int) -> float:
    """Call on so many threads at once; return the seconds until the last is done."""
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - started


# --- no cross-talk ---

_CROWD = {
    "python": (
        "import random\n"
        "n = globals().get('n', 0) + 1\n"
        "mine = tools.mine(me=ME, n=n)\n"
        "open(f'{ME}.txt', 'a').write(f'{n} ')\n"
        "import os; print(ME, n, mine, sorted(os.listdir('/')), random.random())"
    ),
    "javascript": (
        "var n = (globalThis.n ?? 0) + 1;\n"
        "var mine = await tools.mine({ me: ME, n });\n"
        "require('fs').appendFileSync(`${ME}.txt`, `${n} `);\n"
        "console.log(ME, n, mine, require('fs').readdirSync('/').sort(), Math.random())"
    ),
}


def crowd(
    store: Store, *, rounds: int = 10**9, seconds: float = 10**9, size: int = CROWD_SIZE
) -> int:
    """Let many sessions work at once, each with its own variables, file, tool and randomness.

    Args:
        store: where they are kept.
        rounds: how often each runs, at most.
        seconds: for how long, at most.
        size: how many sessions.

    Returns:
        how many runs there were.

    Raises:
        AssertionError: one saw something of another.
    """
    until = time.monotonic() + seconds
    lock = threading.Lock()
    randoms: list[str] = []

    def work(index: int) -> None:
        language = LANGUAGES[index % 2]
        with Session.create(language, store=store) as session:
            session.run(f"ME = 'me{index}'")
            done = 0
            for n in range(1, rounds + 1):
                if time.monotonic() > until:
                    break
                done = n
                asked: list[Any] = []

                def mine(me: str, n: int, asked: list[Any] = asked) -> str:
                    asked.append((me, n))
                    return f"yours{index}"

                printed = session.run(_CROWD[language], tools={"mine": mine}).run.stdout
                *said, random = printed.split()
                names = f"['me{index}.txt']".split()
                if language == "javascript":
                    names = f"[ 'me{index}.txt' ]".split()
                assert said == [f"me{index}", str(n), f"yours{index}", *names], printed
                assert asked == [(f"me{index}", n)], asked
                with lock:
                    randoms.append(random)
            written = session.download(f"me{index}.txt").decode().split()
            assert written == [str(n) for n in range(1, done + 1)], written

    in_threads(work, size)
    assert len(set(randoms)) == len(randoms)
    return len(randoms)


# --- peers ---


def peers() -> list[Row]:
    """What others need for what they have of this."""
    rows: list[Row] = []
    try:
        import pydantic_monty
    except ImportError:
        pass
    else:
        rows += monty(pydantic_monty)
    try:
        import quickjs_rs
    except ImportError:
        pass
    else:
        rows += quickjs(quickjs_rs)
    return rows


def monty(module: Any) -> list[Row]:
    """A session with a variable, put into bytes and taken out again; a subset of Python."""
    with module.Monty() as pool:
        with pool.checkout() as session:
            session.feed_run(SMALL["python"])
            live_ms = median_ms(lambda: session.feed_run("1+1"), 500)
            kept = session.dump()

        def story() -> None:
            with pool.checkout() as first:
                first.feed_run(SMALL["python"])
                dumped = first.dump()
            with pool.checkout() as second:
                second.load_session(dumped)
                assert second.feed_run("f(1)") == 4

        story_ms = median_ms(story, 50)
    return [
        Row(name="pydantic-monty: run in a live session", target=None, measured=live_ms),
        Row(name="pydantic-monty: dump", target=None, measured=len(kept) / 1000, unit="KB"),
        Row(name="pydantic-monty: dump, load, run (memory only)", target=None, measured=story_ms),
    ]


def quickjs(module: Any) -> list[Row]:
    """The same for JavaScript; values, but no functions."""
    with module.Runtime() as runtime, runtime.new_context() as context:
        context.eval("globalThis.x = { a: [1, 2, 3] }")
        live_ms = median_ms(lambda: context.eval("1+1"), 2000)
        kept = context.create_snapshot().to_bytes()

    def story() -> None:
        with module.Runtime() as first, first.new_context() as context:
            context.eval("globalThis.x = { a: [1, 2, 3] }")
            dumped = context.create_snapshot().to_bytes()
        with module.Runtime() as second, second.new_context() as context:
            second.restore_snapshot(module.Snapshot.from_bytes(dumped), context)
            assert context.eval("x.a.length + 1") == 4

    return [
        Row(name="quickjs-rs: run in a live context", target=None, measured=live_ms),
        Row(name="quickjs-rs: snapshot", target=None, measured=len(kept) / 1000, unit="KB"),
        Row(
            name="quickjs-rs: snapshot, restore, run (memory only)",
            target=None,
            measured=median_ms(story, 50),
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--crowd", type=float, metavar="SECONDS")
    parser.add_argument("--store", default=None)
    options = parser.parse_args()
    if options.crowd is not None:
        with stored("normal") as own:
            store = own if options.store is None else open_store(options.store)
            count = crowd(store, seconds=options.crowd)
            if store is not own:
                sessions_of(store).close()
                store.close()
        print(f"{CROWD_SIZE} sessions, {count} runs, no cross-talk")
        return
    wanted: list[tuple[str, Callable[[], Row]]] = []
    for language in LANGUAGES:
        wanted += [
            ("live", lambda language=language: live_run(language)),
            ("kept", lambda language=language: kept_run(language, "full")),
            ("size", lambda language=language: snapshot_size(language)),
            ("resumed full", lambda language=language: resumed(language, "full")),
            ("resumed normal", lambda language=language: resumed(language, "normal")),
            ("let go full", lambda language=language: resumed(language, "full", snapshot=False)),
            (
                "let go normal",
                lambda language=language: resumed(language, "normal", snapshot=False),
            ),
        ]
    wanted += [
        ("effect", journaled_effect),
        ("effects", effects_together),
        ("fork", fork_frame),
        ("evicted", evicted),
        ("thousand", thousand),
    ]
    rows = [make() for name, make in wanted if options.only in name]
    if not options.only or options.only == "peers":
        rows += peers()
    show(rows, as_json=options.json)


def show(rows: list[Row], *, as_json: bool) -> None:
    """Print the rows."""
    if as_json:
        document = [
            {"name": r.name, "target": r.target, "measured": r.measured, "unit": r.unit}
            for r in rows
        ]
        print(json.dumps({"rows": document}))
        return
    table = Table("what", "target", "measured", "met")
    for row in rows:
        target = "" if row.target is None else f"{row.target:g} {row.unit}"
        met = {True: "yes", False: "no", None: ""}[row.met]
        table.add_row(row.name, target, f"{row.measured:.3g} {row.unit}", met)
    Console().print(table)


if __name__ == "__main__":
    main()

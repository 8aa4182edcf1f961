"""How fast the store keeps what runs do: `python bench/store.py [URL]`.

A journaled effect is two appends, each durable before the next step: started, completed.
Without a URL: SQLite in a new file of the current folder's disk, with both kinds of durability.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from cloche.store.open import open_store
from cloche.store.rows import Change, Head, Run, Session

ENTRY = b"e" * 250  # a small effect, encoded
ALONE_COUNT = 3000
RUN_COUNT = 50
EFFECT_COUNT = 300  # of each run
BLOB = bytes(range(256)) * 400  # 100 KB, about a small snapshot


def effect(store, run_id, count):
    count = store.journals.append(run_id, [ENTRY], expected_count=count)
    return store.journals.append(run_id, [ENTRY], expected_count=count)


def alone(store):
    times, count = [], 0
    for _ in range(ALONE_COUNT):
        start = time.perf_counter()
        count = effect(store, "alone", count)
        times.append((time.perf_counter() - start) * 1e3)
    cuts = statistics.quantiles(times, n=20)
    return statistics.median(times), cuts[18]


def together(store):
    def work(index):
        count = 0
        for _ in range(EFFECT_COUNT):
            count = effect(store, f"r{index}", count)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(RUN_COUNT)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return RUN_COUNT * EFFECT_COUNT / (time.perf_counter() - start)


def changes(store):
    """Return the median time of keeping a new snapshot of a session."""
    session = Session(id="s", language="python", image_id="i", created_ns=0, changed_ns=0)
    store.sessions.create(session)
    times = []
    for index in range(100):
        start = time.perf_counter()
        content = index.to_bytes(8, "big") + BLOB
        blob = store.blobs.put(content, now_ns=index).sha256
        head = Head(ordinal=index, snapshot=blob, snapshot_ordinal=index)
        change = Change(session=Session(**{**fields(session), "head": head}))
        session = store.sessions.apply(change)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def fields(row):
    return {name: getattr(row, name) for name in row.__slots__}


def measure(url, durability):
    store = open_store(url, durability=durability)
    try:
        for run_id in ("alone", *(f"r{index}" for index in range(RUN_COUNT))):
            store.runs.create(Run(id=run_id, language="python", status="running", created_ns=0))
        median_ms, p95_ms = alone(store)
        print(f"{durability:7} one effect alone          {median_ms:8.3f} ms   p95 {p95_ms:.3f} ms")
        print(f"{durability:7} {RUN_COUNT} runs in flight        {together(store):8.0f} effects/s")
        print(f"{durability:7} blob of 100 KB and head   {changes(store):8.3f} ms")
    finally:
        store.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="of a store; SQLite here when it is left out")
    url = parser.parse_args().url
    if url is not None:
        measure(url, "full")
        return
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for durability in ("full", "normal"):
            measure(f"{folder}/{durability}.db", durability)


if __name__ == "__main__":
    main()

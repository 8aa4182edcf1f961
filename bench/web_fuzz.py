"""Fuzz what reads bytes of strangers: `python bench/web_fuzz.py --count 1000000`.

Prints findings as they come and what was the slowest; exits with 1 if there is any finding. Begins
with the requests of a corpus as well where a folder of JSON Lines with `raw_base64` is given.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from pathlib import Path

from cloche.testing.web_fuzz import SIZE_MAX, TARGETS, run_one

SLOW_S = 0.5  # for 16 KiB; what is linear takes a hundredth of it


def corpus(folder):
    found = []
    for path in sorted(Path(folder).glob("*.jsonl")) if folder else ():
        for line in path.read_text(encoding="utf-8").splitlines():
            raw = base64.b64decode(json.loads(line)["raw_base64"])
            if len(raw) <= SIZE_MAX:
                found.append(raw)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--target", choices=sorted(TARGETS), help="one target alone")
    parser.add_argument("--corpus", help="a folder of requests to begin with")
    arguments = parser.parse_args()
    more = corpus(arguments.corpus)
    names = [arguments.target] if arguments.target else sorted(TARGETS)
    finding_count, slowest, began = 0, (0.0, "", 0), time.perf_counter()
    for number in range(arguments.first, arguments.first + arguments.count // len(names)):
        for name in names:
            started = time.perf_counter()
            finding = run_one(name, number, arguments.seed, more)
            took = time.perf_counter() - started
            slowest = max(slowest, (took, name, number))
            if finding is not None or took > SLOW_S:
                finding_count += 1
                problem = f"{took:.3f} s" if finding is None else finding.problem
                data = "" if finding is None else finding.data[:200]
                print(f"{name} {number}: {problem} {data!r}", flush=True)
    total_s = time.perf_counter() - began
    took, name, number = slowest
    print(
        f"{arguments.count} inputs, seed {arguments.seed}, {len(more)} of a corpus: "
        f"{finding_count} findings in {total_s:.0f} s; "
        f"slowest {took * 1000:.1f} ms ({name} {number})"
    )
    sys.exit(1 if finding_count else 0)


if __name__ == "__main__":
    main()

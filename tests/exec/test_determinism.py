"""The same request gives the same bytes: in two processes, with fuel, and on other Python hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.exec import hosts
from tests.exec.support import LANGUAGES, NOW_NS, both, small, start

from cloche import File


@pytest.fixture(scope="module")
def here():
    """What the programs print on this host, in a process of their own."""
    return hosts.fingerprint(sys.executable)


def test_two_processes(here):
    """Two processes print the same bytes, leave the same files and have the same journal hash."""
    assert hosts.fingerprint(sys.executable) == here
    found = json.loads(here)
    assert set(found) == {"python", "javascript", "typescript"}
    for stdout, stderr, exit_code, journal_hash, files in found.values():
        assert stdout
        assert len(journal_hash) == 64
        assert exit_code == (1 if stderr else 0)
        assert {"/b.bin", "/f/a.txt"} <= {path for path, _ in files}
    assert "1700000000123" in found["python"][0]
    assert "1700000000123" in found["javascript"][0]


@pytest.mark.parametrize("version", hosts.VERSIONS)
def test_other_hosts(here, version):
    """Each supported version of Python, as the host, gives the same bytes and hashes."""
    if os.environ.get("CLOCHE_TEST_HOSTS") == "1":
        hosts.build(version)
    interpreter, reason = hosts.host(version)
    if interpreter is None:
        pytest.skip(reason)
    assert hosts.fingerprint(interpreter) == here


RANDOM = {
    "python": "import random, time; print(random.random(), time.time())",
    "javascript": "console.log(Math.random(), Date.now())",
}


@both
def test_what_the_hash_depends_on(language):
    """Seed, start of the clock, code, arguments and files change the hash; nothing else does."""
    base = {"seed": 1, "now_ns": NOW_NS}
    same = {start(RANDOM[language], language, **base).journal_hash for _ in range(5)}
    assert len(same) == 1
    changed = [
        start(RANDOM[language], language, **{**base, **change}).journal_hash
        for change in (
            {"seed": 2},
            {"now_ns": NOW_NS + 1_000_000},
            {"args": ["a"]},
            {"env": {"A": "1"}},
            {"stdin": "x"},
            {"cwd": "/w"},
            {"files": [File(name="a", content=b"")]},
            {"files": [File(name="a", content=b"1")]},
            {"limits": small(timeout_ms=4999)},
        )
    ]
    changed.append(start(RANDOM[language] + " ", language, **base).journal_hash)
    assert len(same | set(changed)) == 11


@both
def test_seed_and_clock(language):
    """Randomness is of the seed and time of the start, and neither touches the other."""

    def numbers(seed, now_ns):
        run = start(RANDOM[language], language, seed=seed, now_ns=now_ns).result.run
        return run.stdout.split()

    (random_1, time_1), (random_2, time_2) = numbers(1, NOW_NS), numbers(2, NOW_NS)
    (random_3, time_3) = numbers(1, NOW_NS + 10**10)
    assert (random_1 == random_3, random_1 == random_2) == (True, False)
    assert (time_1 == time_2, time_1 == time_3) == (True, False)


WORK = {
    "python": "import re, json\nx = sum(n * n for n in range({n}))\nprint(json.dumps({{'x': x}}))",
    "javascript": "let x = 0; for (let n = 0; n < {n}; n++) x += n * n; console.log(x);",
}
FUEL = 2_000_000_000
USED = """
from tests.exec.support import start, small
from tests.exec.test_determinism import FUEL, WORK
for language in WORK:
    code = WORK[language].format(n=1000)
    print(start(code, language, seed=1, now_ns=2, limits=small(fuel=FUEL)).fuel_used)
"""


def used(code, language, fuel=FUEL):
    """Return how much fuel a program uses."""
    limits = small(fuel=fuel, timeout_ms=60_000)
    return start(code, language, seed=1, now_ns=2, limits=limits)


def test_fuel_is_the_same_everywhere():
    """A program uses the same fuel in each run, and in another process."""
    here = [
        {used(WORK[language].format(n=1000), language).fuel_used for _ in range(3)}
        for language in LANGUAGES
    ]
    done = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=hosts.ROOT,
        env={**os.environ, "PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert here == [{int(line)} for line in done.stdout.split()]


@both
def test_fuel_is_of_the_work(language):
    """More work uses more fuel; as much as was used is enough, half of it is not."""
    one, more = (WORK[language].format(n=n) for n in (1000, 1010))
    needed = used(one, language).fuel_used
    assert 0 < needed < used(more, language).fuel_used
    assert used(one, language, fuel=needed).error is None
    short = used(one, language, fuel=needed // 2)
    assert short.error.limit == "guests.fuel"
    assert start(one, language).fuel_used is None


@both
def test_fuel_stops_at_the_same_place(language):
    """A program that fuel stops has printed the same in every run."""
    code = {
        "python": "n = 0\nwhile True:\n    n += 1\n    if n % 100 == 0: print(n, flush=True)",
        "javascript": "for (let n = 1; ; n++) if (n % 100 === 0) console.log(n);",
    }[language]
    found = [used(code, language, fuel=20_000_000) for _ in range(3)]
    assert {one.error.limit for one in found} == {"guests.fuel"}
    assert len({one.result.run.stdout for one in found}) == 1
    assert len({one.journal_hash for one in found}) == 1
    assert found[0].result.run.stdout.startswith("100\n200\n")

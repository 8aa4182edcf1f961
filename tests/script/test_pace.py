"""What a script costs before and behind its own work, and what it may take of the machine."""

from __future__ import annotations

import time

import pytest
from tests.script.cases import LANGUAGES, add, run

import cloche

MIB = 1024 * 1024
SOURCES = {"python": "tools.add(a=1, b=2)", "other": "return tools.add({ a: 1, b: 2 })"}


def source_of(language):
    """Return a small script."""
    return SOURCES.get(language, SOURCES["other"])


def best_ms(call, count=15):
    """Return the least processor time of some calls: what else the machine does is not in it."""
    found = []
    for number in range(count):
        started_s = time.process_time()
        assert call(number).status == "completed"
        found.append((time.process_time() - started_s) * 1000)
    return min(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_script_that_was_seen_costs_below_20_ms(language):
    """From text to result, with a fresh realm and a call."""
    harness = cloche.ScriptHarness(add)
    source = source_of(language)
    harness.run(source, language=language)
    assert best_ms(lambda _: harness.run(source, language=language)) < 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_script_costs_below_100_ms(language):
    """Another text each time, so nothing that was kept of the last one helps."""
    harness = cloche.ScriptHarness(add)
    comment = "#" if language == "python" else "//"

    def another(number):
        return harness.run(f"{comment} {number}\n{source_of(language)}", language=language)

    another(-1)
    assert best_ms(another) < 100


def test_thirty_calls_take_no_5_seconds():
    """Ten calls and more, one after the other."""
    harness = cloche.ScriptHarness(add)
    source = "for (let i = 0; i < 30; i++) await tools.add({ a: i, b: 1 }); return 1"
    assert best_ms(lambda _: harness.run(source), count=3) < 5000


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "const all = []; for (;;) all.push(new Array(100000).fill(1));"),
        ("python", "found = []\nwhile True:\n    found.append(bytearray(1 << 20))"),
    ],
)
def test_memory_is_measured_from_outside(language, source):
    """The host counts what the instance has, and it never has more than it may."""
    result = run(source, language=language, limits={"memory_limit_bytes": 64 * MIB})
    assert result.error["code"] == "SCRIPT_MEMORY"
    assert 16 * MIB < result.usage["memory_bytes"] <= 64 * MIB

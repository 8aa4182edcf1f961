"""What scripts print: limited in number and rate, and in the record of the run."""

from __future__ import annotations

import pytest
from tests.script.cases import run

import cloche
from cloche.store.adapters.memory import MemoryStore

LOOPS = {
    "javascript": "for (let i = 0; i < %d; i++) console.log(i);",
    "typescript": "for (let i = 0; i < %d; i++) console.info(i);",
    "python": "for i in range(%d): print(i)",
}
PAUSED = {
    "javascript": "for (let i = 0; i < 230; i++) { console.log(i); "
    "await new Promise((done) => setTimeout(done, 60)); }",
    "python": "import time\nfor i in range(230):\n    print(i)\n    time.sleep(0.06)",
}


def lines(count):
    """Return what a loop of so many prints."""
    return "".join(f"{number}\n" for number in range(count))


@pytest.mark.parametrize("language", LOOPS)
def test_twenty_lines_a_second(language):
    """What comes faster is dropped, and a mark says so once."""
    assert run(LOOPS[language] % 20, language=language).output == lines(20)
    found = run(LOOPS[language] % 1000, language=language).output
    assert found == lines(20) + "<lines beyond 20 a second were dropped>\n"


@pytest.mark.parametrize("language", PAUSED)
def test_two_hundred_lines_in_all(language):
    """However slow they come."""
    found = run(PAUSED[language], language=language).output
    assert found == lines(200) + "<more console output was dropped>\n"


@pytest.mark.parametrize("language", LOOPS)
def test_both_limits_can_be_set(language):
    """They are limits like any other."""
    limits = {"console_count_max": 3, "console_rate_max": 1000}
    found = run(LOOPS[language] % 9, language=language, limits=limits).output
    assert found == lines(3) + "<more console output was dropped>\n"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "console.log('a'); console.warn('b'); console.error('c')"),
        ("python", "import sys\nprint('a')\nprint('b', file=sys.stderr)\nsys.stdout.write('c\\n')"),
    ],
)
def test_every_stream_is_in_the_record_of_the_run(language, source):
    """The result that the store keeps has what was printed, warnings too, in order."""
    store = MemoryStore(cloche.Limits())
    harness = cloche.ScriptHarness(store=store)
    result = harness.run(source, language=language)
    assert result.output == "a\nb\nc\n"
    assert cloche.ScriptHarness(store=store).result(result.run_id).output == "a\nb\nc\n"


def test_pieces_of_a_line_are_one_line():
    """In Python a line may be printed in pieces."""
    source = "for i in range(3):\n    print(i, end='')\n    print('.', end='')\nprint()\nprint('x')"
    found = run(source, language="python", limits={"console_count_max": 2}).output
    assert found == "0.1.2.\nx\n"

"""Attack: making the clock that ends a run come late."""

from __future__ import annotations

import threading

import pytest

from abuse.support import check_next_run, times_out

TIMEOUT_MS = 100
LATE_FACTOR_MAX = 10  # generous: the machine that tests run on is shared

LOOPS = {
    "python": "while True: pass",
    "javascript": "for (;;);",
}
NATIVE = {
    "python": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "javascript": "/^(a+)+$/.test('a'.repeat(40) + 'b')",
}
HOST_CALLS = {
    "python": "import os\nwhile True: os.urandom(60_000)",
    "javascript": "const b = new Uint8Array(60000); for (;;) crypto.getRandomValues(b)",
}


def assert_punctual(result):
    """Assert that the run took at least its time, and not wildly more."""
    assert TIMEOUT_MS <= result.time_ms < TIMEOUT_MS * LATE_FACTOR_MAX


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize(
    "attacks", [LOOPS, NATIVE, HOST_CALLS], ids=["loop", "native", "host calls"]
)
def test_the_stop_comes_in_time(attacks, language):
    """Whatever the guest is doing when its time is over."""
    assert_punctual(times_out(attacks[language], language, limits={"timeout_ms": TIMEOUT_MS}))


def test_loops_on_several_threads():
    """Each run has its own deadline; none keeps another from ending."""
    results = []

    def run(language):
        limits = {"timeout_ms": TIMEOUT_MS}
        results.append(times_out(LOOPS[language], language, limits=limits))

    threads = [threading.Thread(target=run, args=(name,)) for name in (*LOOPS, *LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads)
    for result in results:
        assert_punctual(result)
    check_next_run("python")

"""Attack: making the clock that ends a run come late."""

from __future__ import annotations

import threading

import pytest

import cloche
from abuse.support import TimeoutExceededError, check_next_run, make_limits, times_out

TIMEOUT_MS = 100
LATE_MAX_MS = 30_000  # a clock that is late for good, and no machine that is slow

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


def assert_stopped(result):
    """Assert that the run took its time, and ended all the same."""
    assert TIMEOUT_MS <= result.time_ms < LATE_MAX_MS


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize(
    "attacks", [LOOPS, NATIVE, HOST_CALLS], ids=["loop", "native", "host calls"]
)
def test_the_stop_comes(attacks, language):
    """Whatever the guest is doing when its time is over."""
    assert_stopped(times_out(attacks[language], language, limits={"timeout_ms": TIMEOUT_MS}))


def test_loops_on_several_threads():
    """Each run has its own deadline; none keeps another from ending."""
    ended = []

    def run(language):
        with pytest.raises(TimeoutExceededError):
            cloche.run(
                LOOPS[language], language=language, limits=make_limits(timeout_ms=TIMEOUT_MS)
            )
        ended.append(language)

    threads = [threading.Thread(target=run, args=(name,)) for name in (*LOOPS, *LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == len(threads)
    check_next_run("python")

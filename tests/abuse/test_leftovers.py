"""Attack: reading in one run what another left behind, or leaving something for it."""

from __future__ import annotations

import pytest

import cloche
from abuse.support import PATIENT_LIMITS, attack, completes
from cloche.exec.api import default_runner

RUN_COUNT = 6  # more than wait in a pool, so that some are used again

SECRET = "5ec2e7-5ec2e7-5ec2e7"

LEAVE = f"kept = [b'{SECRET}' * 50 + str(i).encode() for i in range(200)]\n"
# Memory that is asked for and not written: it holds what its last owner wrote. JavaScript has no
# such thing, its buffers are zeroed.
LOOK = f"""
import numpy
print(any(b"{SECRET[:6]}" in numpy.empty(n, "u1").tobytes() for n in range(64, 20_000, 50)))
"""

CHANGES = {
    "python": [
        "import builtins; builtins.print = None",
        "import json; json.dumps = lambda value: 'changed'",
        "import sys; sys.path.insert(0, '/evil'); sys.setrecursionlimit(50)",
        "import os; os.environ['LEFT'] = '1'; os.makedirs('/left'); os.chdir('/left')",
        "open('/tmp/left', 'w').write('1')",
        "import random; random.seed(1); random.random = lambda: 4",
        "import warnings; warnings.simplefilter('error')",
        "import atexit; atexit.register(print, 'left')",
        "import gc; gc.disable()",
    ],
    "javascript": [
        "console.log = null",
        "JSON.stringify = () => 'changed'",
        "Array.prototype.map = null; Object.prototype.left = 1",
        "process.env.LEFT = '1'; require('fs').mkdirSync('/left'); process.chdir('/left')",
        "require('fs').writeFileSync('/tmp/left', '1')",
        "Math.random = () => 4",
        "process.on('exit', () => console.log('left'))",
        "setTimeout(() => {}, 1e6).unref()",
    ],
}
STATE = {
    "python": """
import gc, json, os, random, sys
print(json.dumps([len(sys.path), sys.getrecursionlimit(), dict(os.environ), os.getcwd()]))
print(os.listdir("/"), os.listdir("/tmp"), random.random(), gc.isenabled())
""",
    "javascript": """
const fs = require("fs");
console.log(JSON.stringify([{}.left, process.env, process.cwd()].map(String)));
console.log(fs.readdirSync("/"), fs.readdirSync("/tmp"), Math.random());
""",
}


def run_again(code, language):
    """Return the output of several runs, each after the pool is ready again."""
    outputs = set()
    for _ in range(RUN_COUNT):
        default_runner()._pool.settle()
        result = cloche.run(code, language=language, limits=PATIENT_LIMITS, seed=7, now_ns=0)
        outputs.add(result.run.stdout + result.run.stderr)
    return outputs


def look(before=""):
    """Return what a run finds in memory that it did not write."""
    limits = {"memory_limit_bytes": 1 << 28}
    return completes(before + LOOK, "python", limits=limits, image="python+numpy")


def test_the_search_finds_what_is_there():
    """In the run that wrote and freed it, it is found: the test below can fail."""
    assert look(LEAVE + "del kept\n") == "True\n"


def test_memory_holds_nothing_of_another_run():
    """What one run wrote is in no memory that a later one gets."""
    for _ in range(RUN_COUNT):
        completes(LEAVE, "python", image="python+numpy")
        default_runner()._pool.settle()
        assert look() == "False\n"


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_changes_end_with_their_run(language):
    """Whatever a run changes of its runtime, the next ones find it as it always was."""
    (before,) = run_again(STATE[language], language)
    for change in CHANGES[language]:
        attack(change, language)
        assert run_again(STATE[language], language) == {before}, change


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_stopped_run_leaves_nothing(language):
    """What was stopped in the middle is not used again."""
    (before,) = run_again(STATE[language], language)
    for change in CHANGES[language]:
        attack(
            f"{change}\n{'while True: pass' if language == 'python' else 'for (;;);'}",
            language,
            limits={"timeout_ms": 30},
        )
        assert run_again(STATE[language], language) == {before}, change

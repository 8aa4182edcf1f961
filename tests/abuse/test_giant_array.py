"""Attack: one native operation over a thousand million elements."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds, fails

GIANT = {
    "to text": 'new Array(1e9) + ""',
    "join": 'new Array(1e9).join("abc")',
    "fill": "new Array(1e9).fill(0)",
    "from a length": "Array.from({ length: 1e9 })",
    "spread": "Math.max(...new Array(1e9))",
}


@pytest.mark.parametrize("code", GIANT.values(), ids=GIANT.keys())
def test_time_or_memory_ends_it(code):
    """Whichever limit is nearer; the native loop asks nobody in between."""
    _, error = attack(code, "javascript")
    assert error is not None
    assert error.fields.get("resource") == "memory" or error.case == "timeout", error


@pytest.mark.parametrize(
    "code",
    [
        "Math.max.apply(null, { length: 1e9 })",
        '"abc".repeat(2 ** 30)',
        '"".padEnd(2 ** 30, "abc")',
        "new Uint8Array(2 ** 31)",
        "new Function(...Array.from({ length: 70000 }, (_, i) => 'a' + i), '')",
    ],
)
def test_javascript_refuses_what_can_never_fit(code):
    """A RangeError that the program may catch; nothing is allocated."""
    fails("RangeError", code, "javascript")


def test_a_giant_array_without_elements_costs_nothing():
    """Length alone is no memory."""
    assert completes("console.log(new Array(2 ** 32 - 1).length)", "javascript") == "4294967295\n"


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(10**9)",
        "[0] * 10**8",
        "list(iter(int, 1))",
        '"%1000000000d" % 1',
        'f"{1:>2000000000}"',
        '("\\t" * 1000).expandtabs(10**6)',
        '("a" * 10**4).replace("a", "b" * 10**5)',
        "import os; os.urandom(1 << 30)",
        "import itertools; list(itertools.product(range(1000), repeat=10))",
    ],
)
def test_python_says_out_of_memory(code):
    """A MemoryError that nothing catches ends the run as the memory limit."""
    exceeds("memory", code, "python")


@pytest.mark.parametrize("code", ["bytearray(1 << 31)", "(0,) * (1 << 31)"])
def test_python_refuses_what_can_never_fit(code):
    """Beyond the address space there is an OverflowError; nothing is allocated."""
    fails("OverflowError", code, "python")

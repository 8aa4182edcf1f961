"""Attack: arithmetic that takes for ever, or whose result does not fit anywhere."""

from __future__ import annotations

import pytest

from abuse.support import TIMEOUT_MS, attack, fails, times_out


@pytest.mark.parametrize(
    "code",
    [
        "7 ** 10**8",
        "import math; math.factorial(10**8)",
        "import math; math.comb(10**9, 5 * 10**8)",
        "pow(3, 10**6 * 7, 10**200000 + 1)",
        "from decimal import *; getcontext().prec = 10**9; Decimal(1) / 3",
        "from fractions import Fraction; Fraction('1e1000000000')",
    ],
)
def test_python_is_stopped(code):
    """One operation on integers is native code, and is stopped in the middle."""
    _, error = attack(code, "python", limits={"timeout_ms": TIMEOUT_MS})
    assert error is not None
    assert error.case == "timeout" or error.fields["resource"] == "memory", error


@pytest.mark.parametrize("code", ["7n ** (10n ** 8n)", "2n ** (10n ** 18n)", "1n << (1n << 40n)"])
def test_javascript_refuses_a_result_that_is_too_large(code):
    """The engine knows a largest BigInt."""
    fails("RangeError", code, "javascript")


def test_javascript_is_stopped():
    """Below that size the time limit holds."""
    times_out("let n = 3n ** 300000n; for (;;) n = (n * n) % (3n ** 300001n)", "javascript")


def test_python_refuses_a_shift_that_is_too_large():
    """Such an integer cannot exist, so nothing is allocated."""
    fails("OverflowError", "1 << 10**12", "python")

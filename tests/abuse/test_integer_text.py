"""Attack: integers of millions of digits, to and from text."""

from __future__ import annotations

import pytest

from abuse.support import fails, times_out

UNLIMITED = "import sys; sys.set_int_max_str_digits(0)\n"


@pytest.mark.parametrize("code", ["str(10**5000)", "int('9' * 5000)", "repr([10**5000])"])
def test_python_has_a_limit_of_its_own(code):
    """An error that tells how to raise the limit."""
    fails("ValueError", code, "python")


@pytest.mark.parametrize(
    "code", ["n = 3 << 10**7\nwhile True: str(n)", "n = '9' * 10**7\nwhile True: int(n)"]
)
def test_python_without_it_runs_out_of_time(code):
    """Raising that limit is the program's right; the time is not its own."""
    times_out(UNLIMITED + code, "python")


@pytest.mark.parametrize(
    "code", ["(2n ** 1000000n).toString()", "String(7n ** 350000n)", "BigInt('9'.repeat(2e5))"]
)
def test_javascript_runs_out_of_time(code):
    """The conversion is native code, and is stopped in the middle."""
    times_out(f"for (;;) {code}", "javascript")

"""What `print` of the guest does is what `print` does."""

from __future__ import annotations

import pytest

from guests.python.driver import run

CASES = {
    "separators and ends": ("print('a', 1, sep='-', end='!\\n')", "a-1!\n"),
    "nothing": ("print()", "\n"),
    "none is the default": ("print('a', 'b', sep=None, end=None, file=None)", "a b\n"),
    "flushed": ("print('a', flush=True)", "a\n"),
    "the end only": ("print(end='x')", "x"),
    "long text": ("print('x' * 100_000)", "x" * 100_000 + "\n"),
    "another stream": (
        "import io\no = io.StringIO()\nprint('a', file=o)\nprint(repr(o.getvalue()))",
        "'a\\n'\n",
    ),
    "redirected": (
        "import io, sys\no, sys.stdout = sys.stdout, io.StringIO()\nprint(1)\nprint(2, file=o)",
        "2\n",
    ),
    "no stream": (
        "import sys\no, sys.stdout = sys.stdout, None\nprint('a')\nsys.stdout = o\nprint('b')",
        "b\n",
    ),
    "a wrong separator": (
        "try: print('a', sep=5)\nexcept TypeError as e: print(e)",
        "sep must be None or a string, not int\n",
    ),
    "a wrong end": (
        "try: print('a', end=5)\nexcept TypeError as e: print(e)",
        "end must be None or a string, not int\n",
    ),
    "bytes between": (
        "import sys\nprint('a', end='')\nsys.stdout.buffer.write(b'b')\nprint('c')",
        "abc\n",
    ),
}


@pytest.mark.parametrize(("code", "stdout"), CASES.values(), ids=CASES.keys())
def test_print(code: str, stdout: str) -> None:
    """Arguments, streams and mistakes are treated as by the interpreter's own."""
    assert run(code).stdout == stdout


def test_it_looks_like_the_builtin() -> None:
    """Programs ask for its name and where it comes from."""
    assert run("print(print.__name__, print.__module__)").stdout == "print builtins\n"

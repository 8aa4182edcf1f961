"""Attack: errors, exits and streams that break whatever tells how a program ended."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, fails

PYTHON = {
    "str() raises SystemExit": (
        "E",
        "class E(Exception):\n    def __str__(self): raise SystemExit(3)\nraise E",
    ),
    "a metaclass hides the name": (
        "E",
        (
            "class M(type):\n    @property\n    def __name__(c): raise RuntimeError\n"
            "class E(Exception, metaclass=M): pass\nraise E"
        ),
    ),
    "an errno that cannot be hashed": ("OSError", "e = OSError(); e.errno = [1]; raise e"),
    "half a surrogate pair": ("ValueError", 'raise ValueError("\\ud800")'),
    "an exit code whose text fails": (
        "RuntimeError",
        "import sys\nclass A:\n    def __str__(self): raise RuntimeError\nsys.exit(A())",
    ),
    "an exit whose code fails": (
        "RuntimeError",
        "class A(SystemExit):\n    @property\n    def code(self): raise RuntimeError\nraise A",
    ),
    "a hook that fails": (
        "ZeroDivisionError",
        "import sys\ndef hook(*a): raise RuntimeError\nsys.excepthook = hook\n1 / 0",
    ),
    "no hook": ("ZeroDivisionError", "import sys\nsys.excepthook = None\n1 / 0"),
    "closed streams": (
        "ZeroDivisionError",
        "import sys\nsys.stdout.close(); sys.stderr.close()\n1 / 0",
    ),
    "closed descriptors": ("ZeroDivisionError", "import os\nos.close(1); os.close(2)\n1 / 0"),
    "every descriptor closed": (
        "OSError",
        (
            "import os\nfor n in range(20):\n    try: os.close(n)\n    except OSError: pass\n"
            "open('/a', 'w')"
        ),
    ),
    "streams that exit": (
        "ZeroDivisionError",
        (
            "import sys\nclass S:\n    def write(self, text): raise RuntimeError\n"
            "    def flush(self): raise SystemExit(9)\nsys.stdout = sys.stderr = S()\n1 / 0"
        ),
    ),
}

JAVASCRIPT = {
    "half a surrogate pair": 'throw new Error("\\ud800")',
    "getters that throw": "throw { get message() { throw 1 }, get stack() { throw 2 } }",
    "a proxy that throws": (
        "throw new Proxy(new Error('x'), { get() { throw 1 }, getPrototypeOf() { throw 2 } })"
    ),
    "nothing": "throw null",
    "a symbol": "throw Symbol('x')",
    "a hook that throws": "process.on('uncaughtException', () => { throw 1 }); throw 2",
    "a trace that throws": "Error.prepareStackTrace = () => { throw 1 }; throw new Error('x')",
    "no trace": "Error.stack = undefined; Error.stackTraceLimit = 0; throw new Error('x')",
}


@pytest.mark.parametrize(("name", "code"), PYTHON.values(), ids=PYTHON.keys())
def test_python_tells_the_error_all_the_same(name, code):
    """What cannot be shown ends the run as any other error does, under its own name."""
    fails(name, code, "python")


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_tells_the_error_all_the_same(code):
    """What cannot be shown ends the run as any other error does."""
    _, error = attack(code, "javascript")
    assert error is not None
    assert error.case == "runtime-failed", error


def test_an_exit_code_with_methods_of_its_own():
    """An int with a hostile `&` is read as the number that it is."""
    code = """
import sys
class I(int):
    def __and__(self, other): raise RuntimeError
sys.exit(I(3))
"""
    completes(code, "python", exit_code=3)

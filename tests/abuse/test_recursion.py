"""Attack: recursion without end, through every door that calls back."""

from __future__ import annotations

import pytest

from abuse.support import TIMEOUT_MS, attack, fails, times_out

UNLIMITED = "import sys; sys.setrecursionlimit(10**9)\n"

PYTHON = {
    "a function": "def f(): f()\nf()",
    "mutual": "def f(): g()\ndef g(): f()\nf()",
    "__repr__": "class A:\n    def __repr__(self): return repr(self)\nrepr(A())",
    "__getattr__": "class A:\n    def __getattr__(self, n): return getattr(self, n)\nA().a",
    "__eq__": "class A:\n    def __eq__(self, o): return [self] == [o]\nA() == A()",
    "__iter__": "class A:\n    def __iter__(self): return iter(list(self))\nlist(A())",
    "__reduce__": (
        "import pickle\nclass A:\n    def __reduce__(self): return A, (A(),)\npickle.dumps(A())"
    ),
    "a generator": "def g():\n    yield from g()\nnext(g())",
}

JAVASCRIPT = {
    "a function": "function f() { f() } f()",
    "mutual": "const f = () => g(), g = () => f(); f()",
    "toJSON": "const o = { toJSON() { return JSON.stringify(o) } }; JSON.stringify(o)",
    "toString": "const o = { toString() { return '' + o } }; '' + o",
    "a getter": "const o = { get a() { return this.a } }; o.a",
    "a proxy": "const p = new Proxy({}, { get(t, n, r) { return r[n] } }); p.x",
    "many proxies": "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x",
    "sort": "const f = () => [1, 2].sort(f); f()",
    "replace": "const f = () => 'a'.replace(/a/, f); f()",
    "instanceof": "const o = { [Symbol.hasInstance]: (x) => x instanceof o }; 1 instanceof o",
    "a generator": "function* g() { yield* g() } for (const x of g());",
    "an exit listener": "process.on('exit', function f() { process.emit('exit') })",
    "a long trace": "Error.stackTraceLimit = 1e9; function f() { f() } f()",
}

DEEP_PYTHON = {
    "repr": "repr(k)",
    "==": "k == m",
    "pickle": "import pickle; pickle.dumps(k)",
    "copy": UNLIMITED + "import copy; copy.deepcopy(k)",
    "freeing": "del k",
}

DEEP_JAVASCRIPT = {
    "JSON.stringify": "JSON.stringify(k)",
    "structuredClone": "structuredClone(k)",
    "flat": "k.flat(Infinity)",
    "toString": "String(k)",
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_says_recursion_error(code):
    """The interpreter's own limit turns it into an error of the program."""
    fails(
        "RecursionError", code, "python", resource="stack", limits={"output_limit_bytes": 1 << 20}
    )


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_without_its_own_limit_still_ends(code):
    """With no recursion limit it is an error, the stack, or the memory: never the process."""
    _, error = attack(UNLIMITED + code, "python", limits={"timeout_ms": 2000})
    assert error is not None
    assert error.case in {"runtime-failed", "resource-exceeded", "timeout"}, error


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_says_range_error(code):
    """The engine's own limit turns it into an error of the program."""
    code = f"try {{ {code} }} finally {{ console.log('cleaned up') }}"
    result = fails("RangeError", code, "javascript", resource="stack")
    assert "cleaned up" in result.run.stdout


@pytest.mark.parametrize(
    ("code", "language"),
    [
        (UNLIMITED + "def f():\n    try: f()\n    except BaseException: f()\nf()", "python"),
        ("function f() { try { f() } catch { f() } } f()", "javascript"),
    ],
)
def test_recursion_that_catches_its_own_end(code, language):
    """Two calls for each that fails take exponential time, and the time limit ends that."""
    _, error = attack(code, language, limits={"timeout_ms": TIMEOUT_MS})
    assert error is not None
    assert error.case in {"timeout", "resource-exceeded"}, error


def test_javascript_that_recurses_in_a_loop():
    """Running out of stack again and again is no way to stay."""
    times_out("function f() { f() } for (;;) try { f() } catch {}", "javascript")


@pytest.mark.parametrize("use", DEEP_PYTHON.values(), ids=DEEP_PYTHON.keys())
def test_python_data_that_nests_too_deep(use):
    """What walks it natively ends in an error, or the host ends it at the machine's stack."""
    code = "k, m = [], []\nfor i in range(10**5): k, m = [k], [m]\n" + use
    _, error = attack(code, "python")
    assert error is not None
    assert error.fields["resource"] in {"stack", "output"}, error


@pytest.mark.parametrize("use", DEEP_JAVASCRIPT.values(), ids=DEEP_JAVASCRIPT.keys())
def test_javascript_data_that_nests_too_deep(use):
    """What walks it natively ends in an error, or the host ends it at the machine's stack."""
    code = f"let k = []; for (let i = 0; i < 1e5; i++) k = [k]; {use}"
    _, error = attack(code, "javascript")
    assert error is not None
    assert error.fields["resource"] == "stack", error

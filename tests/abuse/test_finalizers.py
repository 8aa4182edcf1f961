"""Attack: objects that fight when they are freed."""

from __future__ import annotations

import pytest

from abuse.support import TIMEOUT_MS, attack, completes, times_out

PYTHON_LOOPS = {
    "__del__": "class A:\n    def __del__(self):\n        while True: pass\nA()",
    "__del__ that makes another": "class A:\n    def __del__(self): A()\nA()",
    "weakref.finalize": (
        "import weakref\nclass A: pass\ndef f():\n    while True: pass\n"
        "a = A(); weakref.finalize(a, f); del a"
    ),
    "a weak reference's callback": (
        "import weakref\nclass A: pass\ndef f(r):\n    while True: pass\n"
        "a = A(); r = weakref.ref(a, f); del a"
    ),
    "a cycle": (
        "import gc\nclass A:\n    def __del__(self):\n        while True: pass\n"
        "a = A(); a.a = a; del a; gc.collect()"
    ),
}


@pytest.mark.parametrize("code", PYTHON_LOOPS.values(), ids=PYTHON_LOOPS.keys())
def test_python_finalizers_run_inside_the_time_limit(code):
    """A finalizer that does not end is stopped as any other code."""
    times_out(code, "python")


def test_python_objects_that_come_back():
    """Resurrection keeps an object, and nothing more."""
    code = """
import gc
kept = []
class A:
    def __del__(self): kept.append(self)
A(); gc.collect()
print(len(kept))
"""
    assert completes(code, "python") == "1\n"


def test_python_finalizers_that_raise_are_told_and_ignored():
    """As everywhere in Python: such an error goes to stderr, and the program goes on."""
    code = "class A:\n    def __del__(self): raise RuntimeError('late')\nA()\nprint('after')"
    result, error = attack(code, "python")
    assert error is None
    assert result.run.stdout == "before\nafter\n"
    assert "RuntimeError: late" in result.run.stderr


def test_python_objects_left_at_the_end():
    """The instance is dropped whole: what is left is not finalized one by one."""
    code = "class A:\n    def __del__(self):\n        while True: pass\nkept = A()"
    completes(code, "python")


def test_python_finalizers_that_exit():
    """SystemExit in a finalizer is ignored as any other error."""
    completes("class A:\n    def __del__(self): raise SystemExit(3)\nA()", "python")


def test_javascript_registries_run_inside_the_time_limit():
    """A callback of a FinalizationRegistry that does not end is stopped as any other code."""
    code = """
const registry = new FinalizationRegistry(() => { for (;;); });
for (let i = 0; i < 1e5; i++) registry.register({}, i);
"""
    times_out(code, "javascript")


def test_javascript_registries_that_feed_themselves():
    """A callback that registers another is no way to stay."""
    code = """
const registry = new FinalizationRegistry((n) => {
  registry.register({}, n); registry.register({}, n);
});
registry.register({}, 1);
for (;;) await 0;
"""
    _, error = attack(code, "javascript", limits={"timeout_ms": TIMEOUT_MS})
    assert error is not None
    assert error.case in {"timeout", "resource-exceeded"}, error


def test_javascript_objects_left_at_the_end():
    """The instance is dropped whole: what is left is not finalized one by one."""
    code = """
const registry = new FinalizationRegistry(() => { for (;;); });
globalThis.kept = {}; registry.register(kept, 1);
"""
    completes(code, "javascript")


def test_javascript_weak_references():
    """Weak references that are made for ever are memory or time."""
    code = "const k = []; for (;;) k.push(new WeakRef({}))"
    _, error = attack(code, "javascript", limits={"timeout_ms": TIMEOUT_MS})
    assert error is not None
    assert error.case in {"timeout", "resource-exceeded"}, error

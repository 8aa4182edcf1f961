"""Attack: generators that are kept, that never end, that refuse to be closed."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds, fails, times_out


@pytest.mark.parametrize(
    ("code", "language"),
    [
        (
            (
                "k = []\ndef g():\n    while True: yield\n"
                "while True:\n    x = g(); next(x); k.append(x)"
            ),
            "python",
        ),
        (
            (
                "const k = []; function* g() { for (;;) yield }\n"
                "for (;;) { const x = g(); x.next(); k.push(x) }"
            ),
            "javascript",
        ),
    ],
)
def test_suspended_generators_count_as_memory(code, language):
    """A frame that is kept is memory as any other."""
    exceeds("memory", code, language)


def test_a_generator_that_ignores_close():
    """Python tells the one who closes it."""
    code = "def g():\n    while True:\n        try: yield\n        except BaseException: pass\n"
    fails("RuntimeError", code + "x = g(); next(x); x.close()", "python")


def test_generators_that_ignore_close_at_the_end():
    """What is left when the program ends cannot keep the instance."""
    code = "def g():\n    while True:\n        try: yield\n        except GeneratorExit: pass\n"
    completes(code + "k = [g() for _ in range(100)]\n[next(x) for x in k]", "python")


def test_a_generator_that_loops_when_it_is_closed():
    """Its finally runs inside the time limit."""
    code = "def g():\n    try: yield\n    finally:\n        while True: pass\n"
    times_out(code + "x = g(); next(x); x.close()", "python")


def test_a_javascript_generator_that_loops_when_it_is_closed():
    """Its finally runs inside the time limit."""
    times_out(
        "function* g() { try { yield } finally { for (;;); } } for (const x of g()) break",
        "javascript",
    )


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("it = iter([1])\nfor _ in range(10**5): it = map(lambda x: x, it)\nnext(it)", "python"),
        (
            (
                "let it = [1][Symbol.iterator]();\n"
                "for (let i = 0; i < 1e5; i++) it = it.map((x) => x);\nit.next()"
            ),
            "javascript",
        ),
    ],
)
def test_a_chain_of_iterators(code, language):
    """One step through a hundred thousand of them is recursion, and ends as stack."""
    _, error = attack(code, language)
    assert error is not None
    assert error.fields["resource"] == "stack", error

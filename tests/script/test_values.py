"""Values cross whole or not at all, and what cannot is named by its path."""

from __future__ import annotations

import pytest
from tests.script.cases import LANGUAGES, add, run

JAVASCRIPT = [
    ("new Map([[1, 2]])", "$ is a Map"),
    ("{ a: [1, { b: new Date(0) }] }", "$.a[1].b is a Date"),
    ("[new Set()]", "$[0] is a Set"),
    ("10n", "$ is a bigint"),
    ("{ rate: 0 / 0 }", "$.rate is NaN"),
    ("1 / 0", "$ is Infinity"),
    ("new Uint8Array(2)", "$ is a Uint8Array"),
    ("{ f() {} }", "$.f is a function"),
    ("[Symbol('x')]", "$[0] is a symbol"),
    ("/a/", "$ is a RegExp"),
    ("new TypeError('x')", "$ is a TypeError"),
    ("(() => { const a = []; a.push({ a }); return a; })()", "$[0].a holds itself"),
]
PYTHON = [
    ("{1, 2}", "$ is a set"),
    ("{'a': [1, {'b': b''}]}", "$.a[1].b is a bytes"),
    ("float('nan')", "$ is nan"),
    ("[float('inf')]", "$[0] is inf"),
    ("__import__('datetime').datetime(2026, 1, 1)", "$ is a datetime"),
    ("__import__('decimal').Decimal(1)", "$ is a Decimal"),
    ("{1: 2}", "$ has a key that is no text: 1"),
    ("[len]", "$[0] is a builtin_function_or_method"),
    ("a = []\na.append({'a': a})\na", "$[0].a holds itself"),
]
CASES = [("javascript", f"return {source}", said) for source, said in JAVASCRIPT]
CASES += [("python", source, said) for source, said in PYTHON]


@pytest.mark.parametrize(("language", "source", "said"), CASES)
def test_what_is_no_data_is_refused_with_its_path(language, source, said):
    """Nothing is turned into something else on its way out."""
    error = run(source, language=language).error
    assert error["code"] == "SCRIPT_SERIALIZATION"
    assert error["message"] == f"the value at {said}; only plain JSON leaves a script"
    assert error["fields"]["path"] == said.split(" ", 1)[0]


@pytest.mark.parametrize(
    ("language", "source", "place"),
    [
        (
            "javascript",
            "return [await tools.add({ a: 1, b: 1 }), tools.add({ a: 2, b: 1 })]",
            "$[1]",
        ),
        ("javascript", "return { later: Promise.resolve(1) }", "$.later"),
        ("python", "[await tools.add(a=1, b=1), tools.add(a=2, b=1)]", "$[1]"),
        ("python", "async def f():\n    return 1\n{'later': f()}", "$.later"),
        ("javascript", "return tools.add({ a: tools.add({ a: 1, b: 1 }), b: 1 })", "$.a"),
    ],
)
def test_what_was_not_awaited_is_named(language, source, place):
    """The error names the place and says what to do."""
    message = run(source, add, language=language).error["message"]
    assert message.startswith(f"the value at {place} ")
    assert message.endswith("; the call was not awaited: write `await` before it")


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "await tools.add({ a: { b: new Map() }, b: 1 })"),
        ("python", "tools.add(a={'b': {1}}, b=1)"),
        ("python", "await tools.add(a={'b': {1}}, b=1)"),
    ],
)
def test_arguments_cross_whole_or_not_at_all(language, source):
    """The call does not happen, and the error names the tool and the place."""
    result = run(source, add, language=language)
    kind = "Map" if language == "javascript" else "set"
    assert result.error["message"] == (
        f"the value at $.a.b (an argument of 'add') is a {kind}; only plain JSON leaves a script"
    )
    assert result.tool_calls == ()


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "javascript",
            "try { await tools.add({ a: 1n, b: 1 }) } catch (error) { return error.code }",
        ),
        (
            "python",
            (
                "import cloche\ntry:\n    tools.add(a={1}, b=1)\n"
                "except cloche.EffectError as error:\n    found = error.code\nfound"
            ),
        ),
    ],
)
def test_a_script_may_catch_it(language, source):
    """It is an error of the host with its code, as any other of a call."""
    assert run(source, add, language=language).value == "SCRIPT_SERIALIZATION"


@pytest.mark.parametrize(
    ("language", "source", "value"),
    [
        ("javascript", "return [undefined, { a: undefined, b: 1 }]", [None, {"b": 1}]),
        ("javascript", "class P { x = 1 } return new P()", {"x": 1}),
        ("javascript", "const a = [1]; return [a, a]", [[1], [1]]),
        ("javascript", "return Object.assign(Object.create(null), { a: 1 })", {"a": 1}),
        ("python", "(1, (2,))", [1, [2]]),
        ("python", "__import__('collections').Counter('aab')", {"a": 2, "b": 1}),
        ("python", "a = [1]\n[a, a]", [[1], [1]]),
        ("python", "2 ** 70", 2**70),
    ],
)
def test_what_is_data_crosses(language, source, value):
    """What JSON has a form for is no error."""
    assert run(source, language=language).value == value


@pytest.mark.parametrize("language", LANGUAGES)
def test_how_deep_a_value_may_be(language):
    """Eight levels; one more is an error with the start of the value."""
    give = "" if language == "python" else "return "
    assert run(f"{give}{'[' * 8}{']' * 8}", language=language).status == "completed"
    error = run(f"{give}{'[' * 9}{']' * 9}", language=language).error
    assert error["code"] == "SCRIPT_RETURN_TOO_LARGE"
    assert error["fields"] == {"depth_max": 8, "found": 9, "preview": "[[[[[[[[[]]]]]]]]]"}
    deeper = run(f"{give}{'[' * 9}{']' * 9}", language=language, limits={"return_depth_max": 9})
    assert deeper.status == "completed"

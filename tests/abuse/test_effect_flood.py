"""Attack: effects without number, without permission, and with arguments that no host can hold."""

from __future__ import annotations

import pytest

from abuse.support import completes, exceeds
from cloche import Policy

LIMITS = {"gate": {"effect_count_max": 500}}

PYTHON = {
    "synchronous": "while True:\n    try: tools.x()\n    except Exception: pass",
    "awaited": "while True:\n    try: await tools.x()\n    except Exception: pass",
    "never awaited": (
        "import _host\ni = 0\nwhile True:\n    i += 1\n"
        '    _host.call(b\'\\x02{"id":%d,"kind":"tool","target":"x","args":null}\' % i)'
    ),
}
JAVASCRIPT = {
    "awaited": "for (;;) try { await tools.x() } catch {}",
    "never awaited": "for (;;) tools.x().catch(() => 0)",
}

UNHOLDABLE_PYTHON = {
    "too large": "'x' * (2 << 20)",
    "too deep": "__import__('functools').reduce(lambda k, _: [k], range(500), 0)",
    "not a number": "float('nan')",
    "no JSON": "object()",
}
UNHOLDABLE_JAVASCRIPT = {
    "too large": "'x'.repeat(2 << 20)",
    "too deep": "Array(5000).fill(0).reduce((k) => [k], 0)",
    "circular": "(() => { const k = []; k.push(k); return k })()",
    "a BigInt": "1n",
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_ends_at_the_effect_count(code):
    """A refused effect counts too: refusals are recorded, and records take space."""
    exceeds("effects", code, "python", limits=LIMITS)


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_ends_at_the_effect_count(code):
    """A refused effect counts too: refusals are recorded, and records take space."""
    exceeds("effects", code, "javascript", limits=LIMITS)


@pytest.mark.parametrize("value", UNHOLDABLE_PYTHON.values(), ids=UNHOLDABLE_PYTHON.keys())
def test_python_gets_an_error_for_unholdable_arguments(value):
    """The call fails, nothing is performed, and the program goes on."""
    calls = []
    code = f"value = {value}\ntry: tools.take(value)\nexcept Exception: print('refused')"
    out = completes(code, "python", tools={"take": lambda *given: calls.append(given)})
    assert (out, calls) == ("refused\n", [])


@pytest.mark.parametrize("value", UNHOLDABLE_JAVASCRIPT.values(), ids=UNHOLDABLE_JAVASCRIPT.keys())
def test_javascript_gets_an_error_for_unholdable_arguments(value):
    """The call fails, nothing is performed, and the program goes on."""
    calls = []
    code = f"try {{ await tools.take({value}) }} catch {{ console.log('refused') }}"
    out = completes(code, "javascript", tools={"take": lambda *given: calls.append(given)})
    assert (out, calls) == ("refused\n", [])


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("try: tools.secret()\nexcept Exception as error: print(error.code)", "python"),
        ("try { await tools.secret() } catch (error) { console.log(error.code) }", "javascript"),
    ],
)
def test_what_no_policy_allows_is_never_performed(code, language):
    """A tool that exists but is not allowed is refused like any other."""
    calls = []
    tools = {"secret": lambda: calls.append(1)}
    out = completes(code, language, tools=tools, policy=Policy())
    assert (out, calls) == ("POLICY_DENIED\n", [])

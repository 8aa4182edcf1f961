"""What a script may know of its run: what is left, what it may call, who was asked."""

from __future__ import annotations

import pytest
from tests.script.cases import add, run, write

import cloche
from cloche.script.approvals import Made

GIVE = {"javascript": "return ", "typescript": "return ", "python": ""}


@pytest.mark.parametrize("language", GIVE)
def test_the_sandbox(language):
    """Time, memory, calls, concurrency and mode."""
    names = "timeoutMs memoryBytes toolBudget maxConcurrentToolCalls mode toolCallsLeft".split()
    listed = ", ".join(f"context.sandbox.{name}" for name in names)
    value = run(f"{GIVE[language]}[{listed}]", language=language).value
    assert value == [30_000, 96 * 1024 * 1024, 32, 4, "enabled", 32]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "typescript",
            (
                "const left = () => context.sandbox.toolCallsLeft; const before = left(); "
                "await tools.add({ a: 1, b: 2 }); return [before, left()]"
            ),
        ),
        (
            "python",
            (
                "before = context.sandbox.tool_calls_left\ntools.add(a=1, b=2)\n"
                "[before, context.sandbox['toolCallsLeft']]"
            ),
        ),
    ],
)
def test_how_many_calls_are_left(language, source):
    """The number is that of the moment, and a replay sees the same."""
    harness = cloche.ScriptHarness(add)
    result = harness.run(source, language=language)
    assert result.value == [32, 31]
    assert harness.replay(result.run_id).value == [32, 31]


@pytest.mark.parametrize("language", GIVE)
def test_the_names_of_the_tools_that_may_be_used(language):
    """A tool that a rule forbids whatever its arguments are is not among them."""
    rules = [
        {"tool": "write", "when": {"path": "*.key"}, "verdict": "deny"},
        {"tool": "add", "verdict": "deny"},
    ]
    policy = cloche.ToolPolicy.from_document(rules, limits=cloche.Limits())
    source = f"{GIVE[language]}context.capabilities.tools"
    assert run(source, add, write, language=language).value == ["add", "write"]
    assert run(source, add, write, language=language, policy=policy).value == ["write"]


@pytest.mark.parametrize("language", GIVE)
def test_whether_anybody_is_asked(language):
    """Only where a call can be one that waits."""
    source = f"{GIVE[language]}context.approvals.asked"
    allow = cloche.ToolPolicy.from_document(
        [{"tool": "write", "verdict": "allow"}], limits=cloche.Limits()
    )
    assert run(source, add, language=language).value is False
    assert run(source, write, language=language).value is True
    assert run(source, write, language=language, policy=allow).value is False


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "typescript",
            (
                "const first = context.approvals.lastRequest; "
                "await tools.write({ path: 'a', text: 'b' }); "
                "return [first, context.approvals.lastRequest]"
            ),
        ),
        (
            "python",
            (
                "first = context.approvals.last_request\ntools.write(path='a', text='b')\n"
                "[first, {name: context.approvals.lastRequest[name] "
                "for name in ('id', 'tool', 'status')}]"
            ),
        ),
    ],
)
def test_the_last_request(language, source):
    """None before anybody was asked, then which tool, and what was decided."""
    harness = cloche.ScriptHarness(write, approver=lambda _: Made(verdict="approve", who="ann"))
    result = harness.run(source, language=language)
    first, last = result.value
    assert first is None
    assert (last["tool"], last["status"]) == ("write", "approved")
    assert last["id"] == harness.audit[0].approval_id


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "context.sandbox.toolCallsLeft = 99"),
        ("javascript", "context.approvals.asked = false"),
        ("python", "context.sandbox.toolCallsLeft = 99"),
        ("python", "context.approvals.asked = False"),
    ],
)
def test_nothing_of_it_can_be_changed(language, source):
    """It is read-only, what changes by itself too."""
    result = run(source, language=language)
    assert result.error["code"] == "SCRIPT_RUNTIME"


@pytest.mark.parametrize("language", GIVE)
def test_help_about_a_tool(language):
    """By its name or by itself; without one, or about all tools, it lists them."""
    waits = "" if language == "python" else "await "
    asked = ("", "tools", "'add'", "tools.add")
    source = f"{GIVE[language]}[{', '.join(f'{waits}help({one})' for one in asked)}]"
    everything, again, by_name, by_itself = run(source, add, write, language=language).value
    assert everything == again
    assert everything.startswith("Tools: add, write.\n")
    assert by_name == by_itself
    assert (by_name["name"], by_name["read_only"]) == ("add", True)

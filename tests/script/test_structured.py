"""Structured calls of a turn have the checks, the approvals and the record of a script's calls."""

from __future__ import annotations

import json
import threading
import time

import pytest
from tests.script.cases import TELL, add, block, fail, run, until, write

import cloche
from cloche.limits.adapters.settings import load_limits
from cloche.script.approvals import Made
from cloche.script.errors import ToolNotFoundError
from cloche.script.messages import write_history
from cloche.script.structured import call_result, declarations, name_in
from cloche.script.tools import ToolSet

called = []


@cloche.tool(namespace="notes", revert=lambda args, result: called.remove(args["text"]))
def keep(text: str) -> str:
    """Keep a note."""
    called.append(text)
    return text.upper()


@pytest.fixture(autouse=True)
def _nothing_called():
    called.clear()


def calling(*calls, content=None):
    """Return a message with structured calls: (name, arguments)."""
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": f"c{number}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": args if isinstance(args, str) else json.dumps(args),
                },
            }
            for number, (name, args) in enumerate(calls, 1)
        ],
    }


def results(harness, *calls, **options):
    """Return what became of structured calls."""
    history = harness.handle(calling(*calls), api="openai.chat", structured=True, **options)
    return [item for item in history.items if type(item).__name__ == "ToolResult"]


def yes(approval):
    """Approve everything."""
    return Made(verdict="approve", who="ann")


def test_a_call_and_a_script_in_one_turn():
    """Each result stands behind its call, and goes back in the form of the API."""
    harness = cloche.ScriptHarness(add)
    message = calling(("add", {"a": 1, "b": 2}), content=block("return tools.add({ a: 3, b: 4 })"))
    history = harness.handle(message, api="openai.chat", structured=True)
    kinds = [type(item).__name__ for item in history.items]
    assert kinds == ["ScriptCall", "ScriptResult", "ToolCall", "ToolResult"]
    assert [history.items[1].value, history.items[3].value] == [7, 3]
    written = write_history(history)
    assert written[1] == {"role": "tool", "tool_call_id": "c1", "content": '{"value": 3}'}


def test_they_are_left_alone_unless_asked_for():
    """An application may make them itself."""
    history = cloche.ScriptHarness(keep).handle(
        calling(("notes__keep", {"text": "x"})), api="openai.chat"
    )
    assert [type(item).__name__ for item in history.items] == ["ToolCall"]
    assert called == []


@pytest.mark.parametrize(
    ("name", "args", "source"),
    [
        ("add", {"a": "x", "b": 1}, "return tools.add({ a: 'x', b: 1 })"),
        ("add", {"a": 1}, "return tools.add({ a: 1 })"),
        ("fail", {"message": "no"}, "return tools.fail({ message: 'no' })"),
        ("ad", {}, "return tools.ad({})"),
        ("off", {}, "return tools.off({})"),
    ],
)
def test_the_error_is_that_of_a_script(name, args, source):
    """The same code and the same message, whichever way a tool is called."""

    @cloche.tool(pack="extra")
    def off() -> None:
        """Do nothing."""

    harness = cloche.ScriptHarness(add, fail, off, packs={"extra": False})
    (structured,) = results(harness, (name, args))
    scripted = run(source, add, fail, off, packs={"extra": False})
    assert structured.error == scripted.error
    assert structured.status == "failed"


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", '"x"'])
def test_arguments_that_are_no_object(arguments):
    """An error that the model can act on."""
    (result,) = results(cloche.ScriptHarness(add), ("add", arguments))
    assert result.error["code"] == "TOOL_VALIDATION"


def test_arguments_are_never_program_text():
    """Whatever they hold."""
    text = "\"); return 'hacked'; (\" \u2028 ${1} `x` </tool-calls>"
    args = {"text": text}
    (result,) = results(cloche.ScriptHarness(keep, approver=yes), ("notes__keep", args))
    assert result.value == text.upper()


def test_a_call_that_waits():
    """It is a run: decided about, gone on with, and undone as any other."""
    harness = cloche.ScriptHarness(keep)
    (waiting,) = results(harness, ("notes__keep", {"text": "x"}))
    assert (waiting.status, waiting.error["code"]) == ("suspended", "APPROVAL_PENDING")
    (approval,) = harness.pending
    assert (approval.tool, approval.shown) == ("notes.keep", {"text": "x"})
    harness.decide(approval.id, Made(verdict="approve", who="ann"))
    history = harness.handle(calling(("notes__keep", {"text": "x"})), api="openai.chat")
    done = call_result(history.items[0], harness.resume(waiting.run_id))
    assert (done.call_id, done.value, called) == ("c1", "X", ["x"])
    assert harness.rollback(waiting.run_id).status == "rolled_back"
    assert called == []


def test_one_that_fails_stops_no_other():
    """Each has its answer."""
    found = results(cloche.ScriptHarness(add, fail), ("fail", {"message": "x"}), ("add", [1]))
    assert [one.error["code"] for one in found] == ["TOOL_EXECUTION", "TOOL_VALIDATION"]


def test_the_budget_is_that_of_the_turn():
    """More calls than a script may make are not made."""
    found = results(
        cloche.ScriptHarness(add), *[("add", {"a": 1, "b": 1})] * 3, limits={"call_count_max": 2}
    )
    assert [one.value for one in found] == [2, 2, None]
    assert found[2].error["code"] == "TOOL_BUDGET_EXCEEDED"


def test_the_order_of_the_checks():
    """Mode, arguments, budget, approval: what fails first is told, and nothing behind it happens.

    A call that fits nothing is not asked about and spends no budget.
    """
    limits = {"call_count_max": 0}
    harness = cloche.ScriptHarness(write)
    bad, good = ("write", {"path": 1}), ("write", {"path": "a", "text": "b"})

    def code(call, **options):
        return results(harness, call, **options)[0].error["code"]

    assert code(bad, mode="disabled") == "SCRIPT_CANCELLED"
    assert code(bad, limits=limits) == "TOOL_VALIDATION"
    assert code(good, limits=limits) == "TOOL_BUDGET_EXCEEDED"
    assert harness.pending == ()
    assert code(good) == "APPROVAL_PENDING"
    scripted = {"bad": "tools.write({ path: 1 })", "good": "tools.write({ path: 'a', text: 'b' })"}
    for call, expected in (("bad", "TOOL_VALIDATION"), ("good", "TOOL_BUDGET_EXCEEDED")):
        result = run(f"return {scripted[call]}", write, limits=limits)
        assert result.error["code"] == expected


def test_a_dry_run():
    """Names and arguments are checked; nobody is asked."""
    harness = cloche.ScriptHarness(write, mode="dry-run")
    good, bad = results(harness, ("write", {"path": "a", "text": "b"}), ("write", {}))
    assert (good.status, good.value["tools"]) == ("checked", [{"tool": "write", "known": True}])
    assert (bad.status, bad.error["code"]) == ("failed", "TOOL_VALIDATION")
    assert harness.audit == ()


def test_large_and_deep_results_are_the_tools_own():
    """What a tool may give, its call may give."""

    @cloche.tool(read_only=True)
    def much() -> list:
        """Give much."""
        deep: list = []
        for _ in range(20):
            deep = [deep]
        return [deep, "x" * 200_000]

    (result,) = results(cloche.ScriptHarness(much), ("much", {}))
    assert len(result.value[1]) == 200_000


def test_what_apis_are_told():
    """In the form of each, with names that it takes."""
    tools = ToolSet(add, keep)
    schema = add.signature.parameters
    chat = declarations(tools, api="openai.chat")
    function = {"name": "add", "description": "Add two numbers.", "parameters": schema}
    assert chat[0] == {"type": "function", "function": function}
    assert declarations(tools, api="openai.responses")[0] == {"type": "function", **function}
    messages = declarations(tools, api="anthropic.messages")
    assert messages[0] == {
        "name": "add",
        "description": "Add two numbers.",
        "input_schema": schema,
    }
    assert [one["name"] for one in messages] == ["add", "notes__keep"]
    assert name_in(tools, "notes__keep") == name_in(tools, "notes.keep") == "notes.keep"
    with pytest.raises(ToolNotFoundError):
        name_in(tools, "notes__kept")


@pytest.mark.parametrize("api", ["openai.responses", "anthropic.messages"])
def test_the_other_apis(api):
    """Their messages, too."""
    if api == "openai.responses":
        message = [
            {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a":1,"b":2}'}
        ]
    else:
        content = [{"type": "tool_use", "id": "c", "name": "add", "input": {"a": 1, "b": 2}}]
        message = {"role": "assistant", "content": content}
    harness = cloche.ScriptHarness(add, limits=load_limits())
    history = harness.handle(message, api=api, structured=True)
    assert (history.items[1].call_id, history.items[1].value) == ("c", 3)


def test_a_place_before_an_approval():
    """Who is asked about is asked when its turn comes; a call that waits leaves its place again."""
    order, begun = [], threading.Event()

    @cloche.tool(read_only=True)
    def slow() -> None:
        """Take a moment."""
        begun.set()
        time.sleep(0.05)
        order.append("slow is done")

    def rule(args):
        order.append(f"asked about {args['name']}")
        return True

    @cloche.tool(requires_approval=rule)
    def change(name: str) -> str:
        """Change something."""
        return name

    source = f"""
const first = tools.slow();
{TELL["typescript"]}
return Promise.all([first, tools.change({{ name: "a" }}), tools.change({{ name: "b" }})]);
"""
    harness = cloche.ScriptHarness(slow, change, on_progress=until(begun))
    parked = harness.run(source, limits={"call_concurrency_max": 1})
    assert (parked.status, len(harness.pending)) == ("suspended", 2)
    assert order[0] == "slow is done"
    assert sorted(order[1:3]) == ["asked about a", "asked about b"]

"""Cases I1 to I10: scripts in an agent's loop. Each test names its number."""

from __future__ import annotations

import json

import pytest
from tests.clock import stop_clock
from tests.script.cases import TELL, add, block, chat, run, write

import cloche
from cloche.script.approvals import Made
from cloche.script.items import ScriptCall, ScriptResult, Text, Thinking, ToolCall, ToolResult
from cloche.script.messages import write_history, write_results

SOURCES = {
    "ts": "return await tools.add({ a: 1, b: 2 });",
    "js": "return await tools.add({ a: 1, b: 2 });",
    "python": "tools.add(a=1, b=2)",
}


@pytest.mark.parametrize("lang", SOURCES)
def test_i01_the_responses_api_from_end_to_end(lang):
    """I1: output items in, output items and the model's next input out."""
    output = [
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "content": [{"type": "output_text", "text": block(SOURCES[lang], lang)}],
        },
    ]
    history = cloche.ScriptHarness(add).handle(output, api="openai.responses")
    assert history.results[0].value == 3
    *before, answer = write_history(history)
    assert before == output
    assert answer["role"] == "user"
    assert '"value": 3' in answer["content"][0]["text"]


@pytest.mark.parametrize("lang", SOURCES)
def test_i02_the_chat_api_from_end_to_end(lang):
    """I2: the message as it was, then one of a user."""
    message = chat("I look.", block(SOURCES[lang], lang))
    assistant, answer = write_history(cloche.ScriptHarness(add).handle(message, api="openai.chat"))
    assert assistant == message
    assert '"value": 3' in answer["content"]


@pytest.mark.parametrize("lang", SOURCES)
def test_i03_the_messages_api_from_end_to_end(lang):
    """I3: blocks in, blocks out; thinking keeps its signature."""
    message = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": block(SOURCES[lang], lang)},
        ],
    }
    assistant, answer = write_history(
        cloche.ScriptHarness(add).handle(message, api="anthropic.messages")
    )
    assert assistant == message
    assert '"value": 3' in answer["content"][0]["text"]


def test_i04_a_structured_call_and_a_script_in_one_turn():
    """I4: both have their results, each where its API wants it."""
    message = {
        "role": "assistant",
        "content": [
            {"type": "text", "text": block(SOURCES["ts"])},
            {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 5, "b": 5}},
        ],
    }
    history = cloche.ScriptHarness(add).handle(message, api="anthropic.messages")
    (call,) = [item for item in history.items if isinstance(item, ToolCall)]
    value = add(**json.loads(call.arguments))
    result = ToolResult(call_id=call.call_id, name=call.name, value=value)
    (answer,) = write_results(history.message.with_results(*history.results, result))
    first, second = answer["content"]
    assert (first["type"], first["tool_use_id"]) == ("tool_result", "t1")
    assert '"value": 3' in second["text"]


@pytest.mark.parametrize(
    ("lang", "source"),
    [
        ("ts", "const text = 'hi';\nreturn await tools.write({ path: 'a', text })"),
        ("python", "text = 'hi'\ntools.write(path='a', text=text)"),
    ],
)
def test_i05_a_person_sees_the_script_and_it_goes_on(lang, source):
    """I5: tool, arguments, the line of the program, its hash, until when."""
    harness = cloche.ScriptHarness(write)
    (parked,) = harness.handle(chat(block(source, lang)), api="openai.chat").results
    assert parked.status == "suspended"
    (approval,) = harness.pending
    assert (approval.tool, approval.shown) == ("write", {"path": "a", "text": "hi"})
    assert "tools.write(" in approval.excerpt
    assert len(approval.script_sha256) == 64
    assert approval.expires_ms - approval.created_ms == 24 * 3600 * 1000
    harness.decide(approval.id, Made(verdict="approve", who="ann"))
    assert harness.resume(parked.run_id).value == "a: hi"


def test_i06_a_time_out_is_in_the_history(monkeypatch):
    """I6: the model reads which limit it was, and what was done."""
    limits = cloche.Limits().replace({"scripts": {"timeout_ms": 200}})
    source = f"await tools.add({{ a: 1, b: 1 }}); {TELL['typescript']} for (;;) {{}}"
    clock = stop_clock(monkeypatch)
    history = cloche.ScriptHarness(add, limits=limits, on_progress=clock.start).handle(
        chat(block(source)), api="openai.chat"
    )
    (message,) = write_results(history)
    assert "SCRIPT_TIMEOUT" in message["content"]
    assert "scripts.timeout_ms allows 200. Completed calls: add." in message["content"]


def test_i07_switched_off():
    """I7: for a provider, for a turn, for all; the turn comes first."""
    harness = cloche.ScriptHarness(add, modes={"careful": "disabled"})

    def status(**options):
        (result,) = harness.handle(chat(block("return 1")), api="openai.chat", **options).results
        return result.status

    assert status() == "completed"
    assert status(provider="careful") == "skipped"
    assert status(provider="careful", mode="enabled") == "completed"
    assert status(mode="disabled") == "skipped"


def test_i08_what_a_dry_run_counts():
    """I8: the report is data to count; nothing ran."""
    history = cloche.ScriptHarness(add, write, mode="dry-run").handle(
        chat(
            block("await tools.add({ a: 1, b: 1 }); await tools.write({ path: 'a', text: 'b' })"),
            block("tools.add(a=1, b=1)", "python"),
        ),
        api="openai.chat",
    )
    assert [result.status for result in history.results] == ["checked", "checked"]
    names = [one["tool"] for result in history.results for one in result.value["tools"]]
    assert names == ["add", "write", "add"]
    assert not any(result.tool_calls for result in history.results)


@pytest.mark.parametrize(
    ("javascript", "python", "value"),
    [
        ("return await tools.add({ a: 1, b: 2 })", "tools.add(a=1, b=2)", 3),
        ("return { a: [1, 'x', null] }", "{'a': [1, 'x', None]}", {"a": [1, "x", None]}),
        ("return (await tools.search('add')).length", "len(tools.search('add'))", 1),
        ("return (await tools.describe('add')).name", "tools.describe('add')['name']", "add"),
        ("return context.sandbox.toolBudget", "context.sandbox.toolBudget", 32),
    ],
)
def test_i09_both_languages_say_the_same(javascript, python, value):
    """I9: values, calls and codes do not depend on the language."""
    results = [
        run(javascript, add, language="javascript"),
        run(javascript, add, language="typescript"),
        run(python, add, language="python"),
    ]
    assert [result.value for result in results] == [value] * 3
    assert len({len(result.tool_calls) for result in results}) == 1


def test_i10_the_whole_order():
    """I10: thinking, text, scripts, results, calls and text, as the model wrote them."""
    message = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": f"A{block('return 1')}B{block('1 / 0', 'python')}C"},
            {"type": "tool_use", "id": "t1", "name": "add", "input": {}},
            {"type": "text", "text": block("return 3")},
        ],
    }
    history = cloche.ScriptHarness(go_on=True).handle(message, api="anthropic.messages")
    kinds = {
        Thinking: "thinking",
        Text: "text",
        ScriptCall: "script",
        ScriptResult: "result",
        ToolCall: "call",
    }
    order = [kinds[type(item)] for item in history.items]
    assert order == [
        *("thinking", "text", "script", "result", "text", "script", "result", "text"),
        *("call", "script", "result"),
    ]
    assert [one.status for one in history.results] == ["completed", "failed", "completed"]

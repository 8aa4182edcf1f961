"""Cases F1 to F30: what a script does. Each test names its number."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tests.clock import stop_clock
from tests.script.cases import WAIT_S, Crowd, Slow, add, block, chat, fail, run, write

import cloche
from cloche.script.adapters.commands import Commands
from cloche.script.adapters.mcp import McpTools, StdioServer
from cloche.script.adapters.workspace import Workspace
from cloche.script.approvals import Made
from cloche.script.items import ScriptCall, ScriptResult, Text, Thinking

SERVER = Path(__file__).parent / "data" / "mcp_server.py"
PATCH = "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+hello\n"

ALL_THREE = """
return await Promise.all([1, 2, 3].map((n) => tools.meet({ name: `${n}` })));
"""
GATHER_THREE = """
import asyncio
await asyncio.gather(*[tools.meet(name=str(n)) for n in (1, 2, 3)])
"""
RACE = """
const slow = tools.wait({ ms: 60000, name: 'slow' });
const winner = await Promise.race([slow, tools.wait({ ms: 5, name: 'quick' })]);
await tools.after({ count: 2 });
return winner;
"""
RACE_IN_PYTHON = """
import asyncio

async def one(ms, name):
    return await tools.wait(ms=ms, name=name)

tasks = [asyncio.ensure_future(one(*what)) for what in ((60000, 'slow'), (5, 'quick'))]
done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
for task in left:
    task.cancel()
await tools.after(count=2)
done.pop().result()
"""
CAUGHT = """
from cloche import EffectError
try:
    tools.fail(message='no')
except EffectError as error:
    code = error.code
code
"""
CHAIN = "const a = await tools.add({ a: 1, b: 2 }); return await tools.add({ a, b: 10 })"
DENIED = """
try {
  await tools.write({ path: 'a', text: '' });
} catch (error) {
  return [error.code, await tools.add({ a: 1, b: 1 })];
}
"""
DENIED_IN_PYTHON = """
from cloche import EffectError
try:
    tools.write(path='a', text='')
except EffectError as error:
    code = error.code
[code, tools.add(a=1, b=1)]
"""
HELPER = """
return await twice(4);
async function twice(n: number) { return await tools.add({ a: n, b: n }) }
"""


def meeting(crowd):
    """Return a tool that is a visit to a crowd."""

    @cloche.tool(read_only=True)
    def meet(name: str) -> str:
        """Meet the others."""
        crowd.visit()
        return name

    return meet


def yes(approval):
    """Approve whatever is asked."""
    return Made(verdict="approve", who="ann")


def no(approval):
    """Reject whatever is asked."""
    return Made(verdict="reject", who="ann", reason="not now")


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", f"return (await tools.applyPatch({{ patch: {PATCH!r} }})).summary"),
        ("python", f"tools.applyPatch(patch={PATCH!r})['summary']"),
    ],
)
def test_f01_a_single_patch(tmp_path, language, source):
    """F1: one call of applyPatch."""
    result = run(source, *Workspace(tmp_path).tools, language=language, approver=yes)
    assert result.value == "added new.txt"
    assert (tmp_path / "new.txt").read_text() == "hello\n"


def test_f02_text_around_a_script_is_kept():
    """F2: before, between and behind."""
    history = cloche.ScriptHarness().handle(
        chat("before", block("return 1"), "between", block("return 2"), "behind"),
        api="openai.chat",
    )
    texts = [item.text for item in history.items if isinstance(item, Text)]
    assert texts == ["before", "between", "behind"]


def test_f03_typescript_with_await():
    """F3: types are taken off."""
    source = (
        "interface Sum { value: number }\n"
        "const f = async <T,>(x: T): Promise<T> => x;\n"
        "const sum: Sum = { value: (await tools.add({ a: 1, b: 2 })) as number };\n"
        "return (await f<Sum>(sum)).value!;"
    )
    assert run(source, add).value == 3


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", ALL_THREE),
        (
            "python",
            GATHER_THREE,
        ),
    ],
)
def test_f04_three_calls_at_once(language, source):
    """F4: they overlap."""
    crowd = Crowd(3)
    assert run(source, meeting(crowd), language=language).value == ["1", "2", "3"]
    assert crowd.most == 3


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "typescript",
            RACE,
        ),
        (
            "python",
            RACE_IN_PYTHON,
        ),
    ],
)
def test_f05_the_losers_of_a_race_are_cancelled(language, source):
    """F5: at once, while the script goes on."""
    slow = Slow()
    result = run(source, slow.wait, slow.after, language=language)
    assert (result.value, result.error) == ("quick", None)
    assert slow.ended == ["quick done", "slow aborted"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "try { await tools.fail({ message: 'no' }) } catch (e) { return e.code }"),
        (
            "python",
            CAUGHT,
        ),
    ],
)
def test_f06_a_failing_tool_is_caught(language, source):
    """F6: with its code."""
    result = run(source, fail, language=language)
    assert (result.status, result.value) == ("completed", "TOOL_EXECUTION")
    assert [call.status for call in result.tool_calls] == ["failed"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", CHAIN),
        ("python", "tools.add(a=tools.add(a=1, b=2), b=10)"),
        ("python", "await tools.add(a=await tools.add(a=1, b=2), b=10)"),
    ],
)
def test_f07_what_one_call_gives_another_takes(language, source):
    """F7: a chain."""
    assert run(source, add, language=language).value == 13


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "const f = () => { return 1 }; f(); return 2"),
        ("python", "def f():\n    return 1\nf()\n2"),
    ],
)
def test_f08_a_nested_return_is_the_functions_own(language, source):
    """F8: it does not end the script."""
    assert run(source, language=language).value == 2


def test_f09_thinking_script_and_text_keep_their_order():
    """F9: as the model wrote them."""
    message = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": f"so{block('return 1')}done"},
        ],
    }
    history = cloche.ScriptHarness().handle(message, api="anthropic.messages")
    assert [type(item) for item in history.items] == [
        Thinking,
        Text,
        ScriptCall,
        ScriptResult,
        Text,
    ]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "context.telemetry.emitProgress('half'); return 1"),
        ("python", "context.telemetry.emit_progress('half')\n1"),
    ],
)
def test_f10_progress_is_told_while_it_runs(language, source):
    """F10: whoever shows it may fail without harm."""
    seen = []

    def show(message, kind):
        seen.append((message, kind))
        raise ValueError("broken screen")

    assert run(source, language=language, on_progress=show).value == 1
    assert seen == [("half", "info")]


def test_f11_exec_waits_for_a_yes(tmp_path):
    """F11: nothing ran before it."""
    harness = cloche.ScriptHarness(*Commands(["touch"], folder=tmp_path).tools)
    parked = harness.run("return (await tools.exec({ command: ['touch', 'x'] })).exitCode")
    assert (parked.status, list(tmp_path.iterdir())) == ("suspended", [])
    harness.decide(harness.pending[0].id, yes(None))
    assert harness.resume(parked.run_id).value == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "typescript",
            DENIED,
        ),
        (
            "python",
            DENIED_IN_PYTHON,
        ),
    ],
)
def test_f12_a_denial_is_caught_and_the_script_goes_on(language, source):
    """F12: with other calls."""
    result = run(source, write, add, language=language, approver=no)
    assert result.value == ["APPROVAL_DENIED", 2]


def test_f13_outputs_are_in_the_history():
    """F13: what the model reads next holds value, output and calls."""
    from cloche.script.messages import read_result, write_results

    history = cloche.ScriptHarness(add).handle(
        chat(block("console.log('hi'); return await tools.add({ a: 1, b: 2 })")), api="openai.chat"
    )
    (message,) = write_results(history)
    result = read_result(message["content"])
    assert (result.value, result.output, result.tool_calls[0].tool) == (3, "hi\n", "add")


def test_f14_the_time_limit_can_be_set_within_its_range():
    """F14: outside of it is an error before anything runs."""
    assert run("for (;;) {}", limits={"timeout_ms": 100}).error["fields"]["timeout_ms"] == 100
    with pytest.raises(cloche.ClocheError, match="timeout_ms"):
        run("return 1", limits={"timeout_ms": 0})


def test_f15_tools_of_an_mcp_server():
    """F15: below the server's name."""
    with McpTools("notes", StdioServer(command=[sys.executable, str(SERVER)])) as mcp:
        result = run(
            "return await tools.notes.read_note({ name: 'first' })", mcp.tools, approver=yes
        )
    assert result.value == {"result": "hello"}


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_f16_many_scripts_leave_nothing_behind(language):
    """F16: the twentieth finds what the first found."""
    harness = cloche.ScriptHarness(add)
    sources = {
        "typescript": "return [Object.keys(globalThis).length, await tools.add({ a: 1, b: 1 })]",
        "python": "[len(dir(__builtins__)), tools.add(a=1, b=1)]",
    }
    values = [harness.run(sources[language], language=language).value for _ in range(20)]
    assert values == [values[0]] * 20


def test_f17_a_disabled_harness_warns():
    """F17: nothing runs, and the result says why."""
    history = cloche.ScriptHarness(add, mode="disabled").handle(
        chat(block("return await tools.add({ a: 1, b: 1 })")), api="openai.chat"
    )
    (result,) = history.results
    assert (result.status, result.tool_calls) == ("skipped", ())
    assert "scripts are disabled" in result.error["message"]


def test_f18_the_report_of_a_dry_run():
    """F18: every tool that is called by its name, with its line, and whether it is known."""
    result = run("tools.add({});\ntools.nope({})", add, mode="dry-run")
    assert result.value["tools"] == [
        {"tool": "add", "line": 1, "known": True},
        {"tool": "nope", "line": 2, "known": False},
    ]
    assert run("return (", mode="dry-run").error["code"] == "SCRIPT_SYNTAX"


def test_f19_fences_are_shown_and_never_run():
    """F19: one format, the tag."""
    fenced = "```ts tool-calls\nreturn 1\n```\n```\n<tool-calls>return 1</tool-calls>\n```\n"
    assert cloche.ScriptHarness().handle(chat(fenced), api="openai.chat").results == ()


def test_f20_several_blocks_run_in_order():
    """F20: in any languages."""
    seen = []

    @cloche.tool(read_only=True)
    def note(n: int) -> None:
        """Note."""
        seen.append(n)

    parts = [block("await tools.note({ n: 1 })"), "and", block("tools.note(n=2)", "python")]
    history = cloche.ScriptHarness(note).handle(chat(*parts), api="openai.chat")
    assert ([one.status for one in history.results], seen) == (["completed"] * 2, [1, 2])


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "return [context.workingDirectory, context.model, context.scriptId]"),
        ("python", "[context.workingDirectory, context.model, context['scriptId']]"),
        ("python", "[context.working_directory, context.model, context.script_id]"),
    ],
)
def test_f21_reading_the_context(language, source):
    """F21: what the host told of the turn."""
    told = {"workingDirectory": "/work", "model": "m"}
    assert run(source, language=language, context=told).value == ["/work", "m", "script_1"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "1 + 1"),
        ("javascript", ";"),
        ("python", "x = 1"),
        ("python", "pass"),
    ],
)
def test_f22_without_return_there_is_no_value(language, source):
    """F22: nothing is fine."""
    result = run(source, language=language)
    assert (result.status, result.value) == ("completed", None)


def test_f23_what_a_command_wrote(tmp_path):
    """F23: both streams and the exit code."""
    source = (
        "const r = await tools.exec({ command: ['sh', '-c', 'echo out; echo err >&2; exit 2'] });"
        "return [r.stdout, r.stderr, r.exitCode]"
    )
    result = run(source, *Commands(["sh -c"], folder=tmp_path).tools, approver=yes)
    assert result.value == ["out\n", "err\n", 2]


@pytest.mark.parametrize(
    ("language", "source"),
    [("typescript", "await tools.write({ path: 5 })"), ("python", "tools.write(path=5)")],
)
def test_f24_bad_arguments_are_caught_before_the_call(language, source):
    """F24: and before anybody is asked."""
    harness = cloche.ScriptHarness(write)
    result = harness.run(source, language=language)
    assert (result.error["code"], harness.pending) == ("TOOL_VALIDATION", ())


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", HELPER),
        ("python", "def twice(n):\n    return tools.add(a=n, b=n)\ntwice(4)"),
        ("python", "async def twice(n):\n    return await tools.add(a=n, b=n)\nawait twice(4)"),
    ],
)
def test_f25_helper_functions(language, source):
    """F25: of one's own."""
    assert run(source, add, language=language).value == 8


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "for (let i = 0; i < 100; i++) context.telemetry.emitProgress(`${i}`)"),
        ("python", "for i in range(100): context.telemetry.emit_progress(str(i))"),
    ],
)
def test_f26_progress_is_throttled(language, source):
    """F26: what comes too quickly, or too often, is dropped; a long text is cut."""
    seen = []
    options = {"language": language, "on_progress": lambda message, _: seen.append(message)}
    run(source, **options)
    assert seen == ["0"]
    seen.clear()
    run(source, limits={"progress_interval_ms": 0, "progress_count_max": 3}, **options)
    assert seen == ["0", "1", "2"]


def test_f26_progress_is_text():
    """F26: anything else is a TypeError in the script."""
    source = "try { context.telemetry.emitProgress({}) } catch (e) { return e.name }"
    assert run(source).value == "TypeError"


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "await tools.add({ a: 1, b: 1 }); await tools.wait()"),
        ("python", "tools.add(a=1, b=1)\ntools.wait()"),
    ],
)
def test_f27_a_time_out_keeps_what_is_complete(language, source, monkeypatch):
    """F27: and names what was in flight."""
    clock, ended = stop_clock(monkeypatch), []

    @cloche.tool(read_only=True)
    async def wait() -> None:
        """Wait."""
        clock.start()
        await asyncio.sleep(WAIT_S)
        ended.append("wait")

    result = run(source, add, wait, language=language, limits={"timeout_ms": 400})
    assert ended == []
    assert result.error["code"] == "SCRIPT_TIMEOUT"
    assert result.error["fields"]["completed"] == ["add"]
    assert result.error["fields"]["pending"] == ["wait"]
    assert [call.value for call in result.tool_calls if call.status == "completed"] == [2]


@pytest.mark.parametrize(
    ("language", "source"),
    [("typescript", "await tools.ad({})"), ("python", "tools.ad(a=1)")],
)
def test_f28_an_unknown_tool_with_a_suggestion(language, source):
    """F28: the most similar name."""
    result = run(source, add, language=language)
    assert result.error["message"] == "there is no tool 'ad'. Did you mean add?"


@pytest.mark.parametrize(
    ("language", "source"), [("typescript", "return 1;\nconst = 5"), ("python", "x = 1\nx = = 5")]
)
def test_f29_a_syntax_error_is_told(language, source):
    """F29: with its line, and nothing ran."""
    result = run(source, language=language)
    assert result.error["code"] == "SCRIPT_SYNTAX"
    assert result.error["fields"]["line"] == 2


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "for (let i = 0; i < 9; i++) await tools.add({ a: i, b: 0 })"),
        ("python", "for i in range(9): tools.add(a=i, b=0)"),
    ],
)
def test_f30_the_budget_is_spent(language, source):
    """F30: the call above it does not happen."""
    result = run(source, add, language=language, limits={"call_count_max": 5})
    assert result.error["code"] == "TOOL_BUDGET_EXCEEDED"
    assert len(result.tool_calls) == 5


def test_f30_the_fifth_call_at_once_waits():
    """F30: more than four at once are queued, not refused."""
    crowd = Crowd(4)
    source = "return (await Promise.all([...'123456'].map((name) => tools.meet({ name })))).length"
    assert run(source, meeting(crowd)).value == 6
    assert crowd.most == 4

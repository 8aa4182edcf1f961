"""What a result says: a summary, where it went wrong, the script's own stack, and warnings."""

from __future__ import annotations

import pytest
from tests.script.cases import add, block, chat, fail, run, write

import cloche
from cloche.script.errors import TAXONOMY, phase_of
from cloche.script.items import ScriptResult, Text
from cloche.script.messages import read_result, result_text


def test_the_summary_and_the_numbers():
    """One line, and duration, calls and memory as data."""
    result = run("await tools.add({ a: 1, b: 1 }); return 1", add)
    time_ms = result.usage["time_ms"]
    assert result.summary == f"completed: 1 tool call, {time_ms} ms"
    assert result.usage["memory_bytes"] > 0
    failed = run("await tools.fail({ message: 'x' })", fail)
    assert failed.summary.endswith(" ms, TOOL_EXECUTION")
    document = failed.to_document()
    assert (document["summary"], document["phase"]) == (failed.summary, "tool")
    assert read_result(result_text(failed)) == failed


@pytest.mark.parametrize(
    ("source", "phase"),
    [
        ("return (", "read"),
        ("return require('x')", "read"),
        ("throw new Error('x')", "run"),
        ("await tools.nope()", "tool"),
        ("await tools.add({ a: 'x' })", "tool"),
        ("return new Map()", "return"),
        ("return 1", ""),
    ],
)
def test_where_it_went_wrong(source, phase):
    """Reading it, running it, in a tool, in its value."""
    assert run(source, add).phase == phase


def test_every_code_has_a_phase():
    """Nothing else than these."""
    found = {phase_of(cls.code) for cls in TAXONOMY}
    assert found == {"read", "run", "tool", "approval", "return", "harness"}


STACKS = [
    (
        "javascript",
        "function a() { throw new TypeError('t') }\nclass B { m() { a() } }\nnew B().m()",
        ["a script.js:1:26", "m script.js:2:17", "<script> script.js:3:9"],
    ),
    (
        "python",
        "def f(n):\n    if n:\n        return f(n - 1)\n    raise ValueError('x')\nf(1)",
        ["f script.py:4", "f script.py:3", "<script> script.py:5"],
    ),
    ("python", "import json\njson.loads('{')", ["<script> script.py:2"]),
]


@pytest.mark.parametrize(("language", "source", "stack"), STACKS)
def test_the_stack_is_the_scripts_own(language, source, stack):
    """Its lines and names, the innermost first; nothing of the harness, and no paths."""
    error = run(source, language=language).error
    assert error["fields"]["stack"] == stack


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("typescript", "const f = (n: number) => { if (n) f(n - 1); else throw 1 as any }; f(50)"),
        ("typescript", "const f = (n) => { if (n) f(n - 1); else throw new Error('x') }; f(50)"),
        ("python", "def f(n):\n    if n:\n        f(n - 1)\n    raise ValueError(n)\nf(50)"),
    ],
)
def test_the_stack_is_short(language, source):
    """At most ten frames."""
    assert len(run(source, language=language).error["fields"]["stack"]) <= 10


def test_a_byte_order_mark_is_removed_with_a_warning():
    """In a message and alone."""
    said = ("a byte order mark before the program was removed",)
    history = cloche.ScriptHarness().handle(
        chat("<tool-calls>\ufeffreturn 1</tool-calls>"), api="openai.chat"
    )
    assert (history.results[0].value, history.results[0].warnings) == (1, said)
    alone = run("\ufeffreturn 1")
    assert (alone.value, alone.warnings) == (1, said)
    assert run("return 1").warnings == ()


def test_a_disabled_harness_warns_and_counts():
    """The warning stands where the script was."""
    harness = cloche.ScriptHarness(mode="disabled")
    history = harness.handle(chat("Look: ", block("return 1")), api="openai.chat")
    assert history.results[0].warnings == ("scripts are disabled: this one did not run",)
    count = harness.metrics.snapshot()['cloche_scripts_total{mode="disabled",status="skipped"}']
    assert count == 1


def test_text_behind_a_script_is_marked():
    """The model did not know the result when it wrote it."""
    message = chat("Before. ", block("return 1"), " After.", block("return 2"), " End.")
    history = cloche.ScriptHarness().handle(message, api="openai.chat")
    marked = [(item.text, item.is_ahead) for item in history.items if isinstance(item, Text)]
    assert marked == [("Before. ", False), (" After.", True), (" End.", True)]


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_guest_cannot_forge_a_code_of_the_host(language):
    """An error that looks like one of the host's is the script's own."""
    source = (
        "const own = new Error('APPROVAL_DENIED: no'); own.code = 'APPROVAL_DENIED'; throw own"
        if language == "javascript"
        else "import cloche\nraise cloche.EffectError('APPROVAL_DENIED', 'no')"
    )
    result = run(source, write, language=language)
    assert result.error["code"] == "SCRIPT_RUNTIME"


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_results_of_tools(language):
    """In JavaScript they are frozen; what a script does to one is its own affair."""

    @cloche.tool(read_only=True)
    def listed() -> list[dict[str, int]]:
        """List something."""
        return [{"a": 1}]

    source = (
        "const found = await tools.listed(); found[0].a = 2;"
        if language == "javascript"
        else "found = tools.listed()\nfound[0]['a'] = 2\n[found, tools.listed()]"
    )
    result = run(source, listed, language=language)
    if language == "javascript":
        assert result.error["fields"]["problem"].startswith("TypeError: 'a' is read-only")
    else:
        assert result.value == [[{"a": 2}], [{"a": 1}]]
    assert result.tool_calls[0].value == [{"a": 1}]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (
            "javascript",
            (
                "const seen = [String(tools), JSON.stringify(tools), (await tools) === tools, "
                "Object.keys(tools), `${tools.add}`.length > 0]; console.log(tools); return seen"
            ),
        ),
        (
            "python",
            "print(tools, tools.add)\n[str(tools), list(tools), dir(tools), 'add' in tools]",
        ),
    ],
)
def test_tools_can_be_printed_awaited_and_listed(language, source):
    """Without a call, and without an error."""
    result = run(source, add, language=language)
    assert (result.status, result.tool_calls) == ("completed", ())
    assert "tools" in result.output
    assert any("add" in one for one in result.value if isinstance(one, list))


def test_calls_are_recorded_with_their_run():
    """The journal of a run has each call, by its name and arguments."""
    harness = cloche.ScriptHarness(add)
    result = harness.run("return tools.add({ a: 1, b: 2 })")
    records = harness.store.journals.read(result.run_id)
    assert any(b"add" in record for record in records)
    assert isinstance(result, ScriptResult)
    assert harness.result(result.run_id).tool_calls[0].args == {"a": 1, "b": 2}


@pytest.mark.parametrize("language", ["javascript", "python"])
@pytest.mark.parametrize("kind", ["rejects", "never"])
def test_the_next_script_runs(language, kind):
    """Whatever became of the one before: it rejected, or it waits for what never comes."""
    bad = {
        ("javascript", "rejects"): "Promise.reject(new Error('x')); await Promise.reject(1)",
        ("javascript", "never"): "await new Promise(() => {})",
        ("python", "rejects"): "raise SystemExit(3)",
        ("python", "never"): "import asyncio\nawait asyncio.Event().wait()",
    }[language, kind]
    harness = cloche.ScriptHarness()
    assert harness.run(bad, language=language, limits={"timeout_ms": 2000}).status == "failed"
    good = "return 1" if language == "javascript" else "1"
    assert harness.run(good, language=language).value == 1

"""Tests of running scripts: what they return, call, wait for, and how they fail."""

from __future__ import annotations

import pytest
from tests.clock import stop_clock
from tests.script.cases import TELL, Crowd

from cloche.exec.adapters.effects import CancelToken
from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.errors import ScriptRunUnknownError, ToolValidationError
from cloche.script.harness import ScriptHarness, mode_of
from cloche.script.message_errors import (
    ApiUnknownError,
    MessageInvalidError,
    RequestInvalidError,
)
from cloche.script.policy import ToolPolicy
from cloche.script.tools import ToolContext, tool

LIMITS = Limits()
BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
APPROVE = Made(verdict="approve", who="ann")


@tool(read_only=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool(read_only=True)
async def later(value: str) -> str:
    """Say it again, from async code."""
    return value


@tool(read_only=True, secret_args=["pin"])
def fail(pin: str = "") -> None:
    """Fail."""
    raise OSError("disk full")


def harness(*tools, limits=None, **options):
    """Return a harness with some tools."""
    limits = LIMITS.replace({"scripts": limits or {}})
    return ScriptHarness(add, later, fail, *tools, limits=limits, **options)


def writer(**options):
    """Return a tool that must be asked about, and what it wrote."""
    written = []

    @tool(**options)
    def write(path: str, text: str = "") -> str:
        """Write a file."""
        written.append((path, text))
        return f"wrote {path}"

    return write, written


def run(source, language="typescript", *, using=None, **options):
    """Return what became of a script."""
    return (using or harness()).run(source, language=language, **options)


@pytest.mark.parametrize(
    ("language", "source", "value"),
    [
        ("typescript", "const x: number = await tools.add({ a: 1 }); return { x }", {"x": 2}),
        (
            "typescript",
            "const f = async () => { return { a: [1, null] } }; return f()",
            {"a": [1, None]},
        ),
        ("typescript", "let x = 1", None),
        (
            "javascript",
            "return await Promise.all([1, 2, 3].map((a) => tools.add({ a })))",
            [2, 3, 4],
        ),
        ("javascript", "return tools.later('é')", "é"),
        ("javascript", "try { await tools.fail() } catch (e) { return e.code }", "TOOL_EXECUTION"),
        ("javascript", "return (await tools.search('add'))[0].name", "add"),
        ("javascript", "return (await tools.describe('add')).read_only", True),
        ("python", "x = tools.add(a=1)\n{'x': x}", {"x": 2}),
        ("python", "await tools.add(1, 4)", 5),
        ("python", "x = 1", None),
        (
            "python",
            "import asyncio\nawait asyncio.gather(*(tools.add(a=a) for a in range(3)))",
            [1, 2, 3],
        ),
        (
            "python",
            "try:\n  tools.fail()\nexcept Exception as e:\n  c = e.code\nc",
            "TOOL_EXECUTION",
        ),
        ("python", "tools.search('add')[0]['name']", "add"),
        ("python", "'\U0001f600\\n' + \"it's\"", "\U0001f600\nit's"),
    ],
)
def test_what_a_script_returns(language, source, value):
    """Its value as plain JSON; calls may overlap, and their errors may be caught."""
    result = run(source, language)
    assert (result.status, result.value, result.error) == ("completed", value, None)
    assert result.journal_id


@BOTH
def test_what_a_script_prints_and_calls(language):
    """Output and calls are in the result, with what they took and gave."""
    source = {
        "typescript": "console.log('hi'); await tools.add({ a: 1 }); await tools.later('x')",
        "python": "print('hi')\ntools.add(a=1)\nx = tools.later('x')",
    }[language]
    result = run(source, language)
    assert result.output == "hi\n"
    calls = [(call.tool, call.args, call.status, call.value) for call in result.tool_calls]
    assert calls == [
        ("add", {"a": 1, "b": 1}, "completed", 2),
        ("later", {"value": "x"}, "completed", "x"),
    ]
    assert result.usage["tool_calls"] == 2


@pytest.mark.parametrize(
    ("language", "source", "code", "message"),
    [
        ("typescript", "const a = ;", "SCRIPT_SYNTAX", "the script cannot be read"),
        ("python", "x = 1\ndef f(:", "SCRIPT_SYNTAX", "the script cannot be read (line 2"),
        (
            "javascript",
            "let a\n\nnull.x",
            "SCRIPT_RUNTIME",
            "the script failed at line 3: TypeError",
        ),
        (
            "python",
            "x = 1\n1 / 0",
            "SCRIPT_RUNTIME",
            "the script failed at line 2: ZeroDivisionError",
        ),
        (
            "javascript",
            "await tools.fail()",
            "TOOL_EXECUTION",
            "tool 'fail' failed: OSError: disk full",
        ),
        ("python", "tools.fail()", "TOOL_EXECUTION", "tool 'fail' failed: OSError: disk full"),
        (
            "javascript",
            "await tools.ad()",
            "TOOL_NOT_FOUND",
            "there is no tool 'ad'. Did you mean add?",
        ),
        (
            "javascript",
            "await tools.add({})",
            "TOOL_VALIDATION",
            "the arguments of 'add' were not valid",
        ),
        (
            "javascript",
            "const f = () => f() + 1; f()",
            "SCRIPT_STACK_OVERFLOW",
            "the script's functions",
        ),
        ("python", "def f():\n  f()\nf()", "SCRIPT_STACK_OVERFLOW", "the script's functions"),
        ("javascript", "return 1n", "SCRIPT_SERIALIZATION", "the value at $ is a bigint"),
        ("javascript", "return () => 1", "SCRIPT_SERIALIZATION", "the value at $ is a function"),
        ("python", "lambda: 1", "SCRIPT_SERIALIZATION", "the value at $ is a function"),
    ],
)
def test_how_a_script_fails(language, source, code, message):
    """Each failure has its code, and the line where it can be known."""
    result = run(source, language)
    assert (result.status, result.error["code"]) == ("failed", code)
    assert result.error["message"].startswith(message)


@BOTH
def test_a_script_that_never_ends(language, monkeypatch):
    """It is stopped, and what it completed is in the result."""
    source = {
        "typescript": f"await tools.add({{ a: 1 }}); {TELL[language]} for (;;) {{}}",
        "python": f"tools.add(a=1)\n{TELL[language]}while True: pass",
    }[language]
    clock = stop_clock(monkeypatch)
    using = harness(limits={"timeout_ms": 300}, on_progress=clock.start)
    result = run(source, language, using=using)
    assert (result.status, result.error["code"]) == ("failed", "SCRIPT_TIMEOUT")
    assert result.error["fields"]["completed"] == ["add"]


def test_the_time_before_a_wait_counts_and_the_wait_does_not(monkeypatch):
    """Active time is that of all parts of a run together."""
    write, written = writer()
    clock = stop_clock(monkeypatch)

    @tool(read_only=True)
    def nap() -> int:
        """Take half a second."""
        clock.pass_ms(500)
        return 1

    using = harness(write, nap, limits={"timeout_ms": 900})
    source = "await tools.nap(); await tools.write({ path: 'a' }); await tools.nap(); for (;;);"
    parked = run(source, using=using)
    assert parked.status == "suspended"
    clock.pass_ms(5000)
    using.decide(using.pending[0].id, APPROVE)
    result = using.resume(parked.run_id)
    assert (result.error["code"], written) == ("SCRIPT_TIMEOUT", [("a", "")])
    assert (parked.usage["time_ms"], result.usage["time_ms"]) == (500, 1000)


@BOTH
def test_a_script_that_takes_all_memory(language):
    """It is stopped by its own limit."""
    source = {
        "typescript": "const a = []; for (;;) a.push(new Array(100000).fill(1))",
        "python": "a = []\nwhile True: a.append(bytearray(1000000))",
    }[language]
    result = run(source, language)
    assert (result.status, result.error["code"]) == ("failed", "SCRIPT_MEMORY")


def test_a_value_may_be_as_large_as_its_limit():
    """One byte more is an error with the start of the value."""
    using = harness(limits={"return_limit_bytes": 64})
    assert run("return 'a'.repeat(62)", using=using).status == "completed"
    result = run("return 'a'.repeat(63)", using=using)
    assert result.error["code"] == "SCRIPT_RETURN_TOO_LARGE"
    assert result.error["fields"]["preview"] == f'"{"a" * 63}"'


def test_a_script_may_make_so_many_calls():
    """The next one fails, and the script may go on without it."""
    using = harness(limits={"call_count_max": 2})
    source = (
        "for (let i = 0; ; i++) try { await tools.add({ a: i }) } catch (e) { return [i, e.code] }"
    )
    result = run(source, using=using)
    assert result.value == [2, "TOOL_BUDGET_EXCEEDED"]
    assert len(result.tool_calls) == 2


def test_calls_over_the_concurrency_wait():
    """All of them happen, never more than so many at once."""
    crowd = Crowd(3)

    @tool(read_only=True)
    def slow(n: int) -> int:
        """Take a moment."""
        crowd.visit()
        return n

    using = harness(slow, limits={"call_concurrency_max": 3})
    source = "return Promise.all([...Array(9).keys()].map((n) => tools.slow({ n })))"
    assert run(source, using=using).value == list(range(9))
    assert crowd.most == 3


@BOTH
def test_a_call_that_must_be_asked_about_waits(language):
    """The run is put away; approved, it goes on, and nothing is called twice."""
    write, written = writer()
    using = harness(write)
    source = {
        "typescript": "const n = await tools.add({ a: 1 });\n"
        "return [n, await tools.write({ path: 'a' })]",
        "python": "n = tools.add(a=1)\n[n, tools.write(path='a')]",
    }[language]
    parked = run(source, language, using=using)
    assert (parked.status, written) == ("suspended", [])
    assert [call.status for call in parked.tool_calls] == ["completed", "pending"]
    (approval,) = using.pending
    assert (approval.tool, approval.shown, approval.tools_used) == (
        "write",
        {"path": "a", "text": ""},
        ("add",),
    )
    assert using.decide(approval.id, APPROVE).ignored is None
    result = using.resume(parked.run_id)
    assert (result.status, result.value, written) == ("completed", [2, "wrote a"], [("a", "")])
    assert result.run_id == parked.run_id
    assert using.decide(approval.id, APPROVE).ignored == "same"
    assert using.resume(parked.run_id) == result
    with pytest.raises(ScriptRunUnknownError) as raised:
        using.resume("unknown")
    assert raised.value.message == "there is no script run 'unknown' in the store memory:"


def test_without_a_decision_the_run_keeps_waiting():
    """To go on with it changes nothing."""
    write, written = writer()
    using = harness(write)
    parked = run("await tools.write({ path: 'a' })", using=using)
    again = using.resume(parked.run_id)
    assert (again.status, again.run_id, written) == ("suspended", parked.run_id, [])
    assert len(using.pending) == 1


def test_parallel_calls_wait_side_by_side():
    """They are decided in any order."""
    write, written = writer()
    using = harness(write)
    source = (
        "return Promise.allSettled(['a', 'b', 'c'].map((path) => tools.write({ path })))"
        ".then((all) => all.map((one) => one.status))"
    )
    parked = run(source, using=using)
    assert sorted(one.shown["path"] for one in using.pending) == ["a", "b", "c"]
    for one in reversed(using.pending):
        verdict = "reject" if one.shown["path"] == "b" else "approve"
        using.decide(one.id, Made(verdict=verdict, who="ann"))
    result = using.resume(parked.run_id)
    assert result.value == ["fulfilled", "rejected", "fulfilled"]
    assert sorted(path for path, _ in written) == ["a", "c"]


@BOTH
def test_a_rejected_call_may_be_caught(language):
    """The script gets a typed error with the reason, and goes on."""
    write, written = writer()
    using = harness(write, approver=lambda _: Made(verdict="reject", who="ann", reason="too late"))
    source = {
        "typescript": "try { await tools.write({ path: 'a' }) } "
        "catch (e) { return [e.code, e.message] }",
        "python": "try:\n  tools.write(path='a')\n"
        "except Exception as e:\n  r = [e.code, str(e)]\nr",
    }[language]
    result = run(source, language, using=using)
    assert result.status == "completed"
    assert result.value[0] == "APPROVAL_DENIED"
    assert "denied by ann: too late" in result.value[1]
    assert written == []
    assert result.tool_calls[0].status == "denied"


def test_a_rejected_run_gets_no_further_call():
    """Whatever it catches."""
    write, written = writer()
    using = harness(write, approver=lambda _: Made(verdict="reject_run", who="ann"))
    source = "for (;;) try { await tools.write({ path: 'a' }) } catch {}"
    result = run(source, using=using)
    assert (result.status, written, len(result.tool_calls)) == ("rejected", [], 1)


def test_a_run_that_nobody_decides_about_expires():
    """Looking at it later ends it; a decision then is too late."""
    now = [1000]
    write, written = writer()
    using = harness(write, limits={"approval_expires_ms": 50}, clock_ms=lambda: now[0])
    parked = run("try { await tools.write({ path: 'a' }) } catch {} return 1", using=using)
    (approval,) = using.pending
    now[0] = 1050
    assert using.decide(approval.id, APPROVE).ignored == "expired"
    result = using.resume(parked.run_id)
    assert (result.status, result.error["code"], written) == ("rejected", "APPROVAL_TIMEOUT", [])


def test_arguments_may_be_changed_by_who_approves():
    """They are checked again; what does not fit decides nothing."""
    write, written = writer()
    using = harness(write)
    parked = run("return tools.write({ path: 'a' })", using=using)
    (approval,) = using.pending
    with pytest.raises(ToolValidationError):
        using.decide(approval.id, Made(verdict="approve", who="ann", args={"path": 5}))
    using.decide(approval.id, Made(verdict="approve", who="ann", args={"path": "b"}))
    assert using.resume(parked.run_id).value == "wrote b"
    assert written == [("b", "")]


def test_always_holds_for_the_session():
    """The next call of the tool is not asked about."""
    write, written = writer()
    asked = []

    def approver(approval):
        asked.append(approval.shown["path"])
        return Made(verdict="always", who="ann")

    using = harness(write, approver=approver)
    result = run("await tools.write({ path: 'a' }); return tools.write({ path: 'b' })", using=using)
    assert (result.value, asked, len(written)) == ("wrote b", ["a"], 2)
    assert [entry.event for entry in using.audit] == ["pending", "approved", "pending", "approved"]


def test_rules_decide_by_arguments():
    """Allowed, denied, or asked about: the first rule that fits."""
    write, written = writer()
    rules = [
        {"tool": "write", "when": {"path": {"under": "/tmp"}}, "verdict": "allow"},
        {"tool": "write", "verdict": "deny", "reason": "only /tmp"},
    ]
    using = harness(write, policy=ToolPolicy.from_document(rules, limits=LIMITS))
    source = "await tools.write({ path: '/tmp/a' }); await tools.write({ path: '/tmp/../b' })"
    result = run(source, using=using)
    assert result.error["code"] == "APPROVAL_DENIED"
    assert "only /tmp" in result.error["message"]
    assert written == [("/tmp/a", "")]


def test_secrets_are_in_no_record():
    """Neither in the calls nor in what people are shown."""
    result = run("try { await tools.fail({ pin: '1234' }) } catch {}")
    assert result.tool_calls[0].args == {"pin": "<redacted>"}


def test_a_tool_learns_of_its_call():
    """Its context names the run, and the call for ever."""
    seen = []

    @tool(read_only=True)
    def look(context: ToolContext) -> None:
        """Look."""
        seen.append((context.run_id, len(context.idempotency_key), context.cancelled()))

    result = run("await tools.look()", using=harness(look))
    assert seen == [(result.run_id, 64, False)]


def test_a_cancelled_script():
    """It ends with what it did until then."""
    cancel = CancelToken()

    @tool(read_only=True)
    def stop() -> None:
        """Stop."""
        cancel.cancel()

    result = harness(stop).run("await tools.stop(); for (;;) {}", cancel=cancel)
    assert (result.status, result.error["code"]) == ("cancelled", "SCRIPT_CANCELLED")


@BOTH
def test_a_dry_run_runs_nothing(language):
    """It says which tools are called, and what is wrong."""
    write, written = writer()
    using = harness(write)
    call = {
        "typescript": "await tools.write({ path: 'a' });\nawait tools.ad({})",
        "python": "tools.write(path='a')\ntools.ad()",
    }[language]
    result = run(call, language, using=using, mode="dry-run")
    assert (result.status, result.error["code"]) == ("failed", "TOOL_NOT_FOUND")
    assert result.value["tools"] == [
        {"tool": "write", "line": 1, "known": True},
        {"tool": "ad", "line": 2, "known": False},
    ]
    assert (
        run(call.split("\n", maxsplit=1)[0], language, using=using, mode="dry-run").status
        == "checked"
    )
    broken = run("if (", language, using=using, mode="dry-run")
    assert broken.error["code"] == "SCRIPT_SYNTAX"
    assert (written, using.pending) == ([], ())


def test_modes():
    """That of the turn, then of the provider, then of everything."""
    assert mode_of(None, "dry-run", "enabled") == "dry-run"
    assert mode_of(None, None) == "disabled"
    with pytest.raises(ValueError, match="'on' is no mode"):
        mode_of(None, "on")
    message = {"role": "assistant", "content": "<tool-calls>return 1</tool-calls>"}
    using = harness(mode="disabled", modes={"acme": "dry-run"})
    for options, status in [
        ({}, "skipped"),
        ({"provider": "acme"}, "checked"),
        ({"provider": "acme", "mode": "enabled"}, "completed"),
    ]:
        (result,) = using.handle(message, api="openai.chat", **options).results
        assert result.status == status


TWO = "<tool-calls>throw new Error('x')</tool-calls> <tool-calls>return 2</tool-calls>"


@pytest.mark.parametrize(("go_on", "status"), [(False, "skipped"), (True, "completed")])
def test_scripts_behind_a_failed_one(go_on, status):
    """They are skipped, unless they shall go on."""
    history = harness(go_on=go_on).handle({"role": "assistant", "content": TWO}, api="openai.chat")
    assert [result.status for result in history.results] == ["failed", status]


def test_a_broken_script_is_told_about():
    """The model learns what is wrong with its tags."""
    history = harness().handle({"role": "assistant", "content": "<tool-calls>1"}, api="openai.chat")
    assert history.results[0].error["code"] == "SCRIPT_SYNTAX"


@BOTH
def test_a_script_leaves_nothing_to_the_next(language):
    """Each has an instance of its own."""
    source = {
        "typescript": "const was = globalThis.x; globalThis.x = 1; return was ?? null",
        "python": "import builtins\nwas = getattr(builtins, 'x', None)\nbuiltins.x = 1\nwas",
    }[language]
    using = harness()
    assert [run(source, language, using=using).value for _ in range(2)] == [None, None]


def test_an_approver_that_gives_no_decision():
    """True is none: whoever wrote the approver is told, and the question stays open."""
    write, written = writer()
    for answer in (True, "approve"):
        using = harness(write, approver=lambda _, answer=answer: answer)
        with pytest.raises(TypeError, match="an approver returns Made or None, found"):
            run("return tools.write('a')", using=using)
        assert (len(using.pending), written) == (1, [])


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda: harness().run(5), "the source is int, expected a text"),
        (lambda: harness().run("return 1", params=[1]), "params is list, expected an object"),
        (lambda: harness().run_snippet("s", [1]), "params is list, expected an object"),
        (
            lambda: harness(default="ruby"),
            "'ruby' is no language; it is one of javascript, typescript, python",
        ),
        (
            lambda: harness(modes={"small": "on"}),
            "'on' is no mode; it is one of disabled, dry-run, enabled",
        ),
        (
            lambda: harness(store="runs.db"),
            "store is a path; give cloche.store.open.open_store(path)",
        ),
        (
            lambda: harness(policy=[{"tool": "add", "verdict": "deny"}]),
            "policy is list; give ToolPolicy.from_document(rules, limits=…)",
        ),
    ],
)
def test_a_request_of_no_use(use, says):
    """Is refused before anything runs, and says what was expected."""
    with pytest.raises(RequestInvalidError) as refused:
        use()
    assert str(refused.value) == says


def test_structured_calls_of_one_id():
    """None of them is made: their results could not be told apart."""
    write, written = writer(requires_approval=False)
    function = {"name": "write", "arguments": '{"path": "a"}'}
    message = {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": function}] * 2,
    }
    using = harness(write)
    with pytest.raises(MessageInvalidError) as refused:
        using.handle(message, api="openai.chat", structured=True)
    assert str(refused.value) == (
        "this is no message of the OpenAI Chat Completions API: the message has two calls with the "
        "id 'c1'"
    )
    assert written == []
    assert len(using.handle(message, api="openai.chat").items) == 2
    with pytest.raises(ApiUnknownError):
        using.handle(message, api=["openai.chat"])

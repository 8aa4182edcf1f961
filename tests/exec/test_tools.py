"""Host functions as tools: through the policy, as values or as errors, alone or many at once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time

import pytest
from tests.clock import stop_clock
from tests.exec.support import PATIENT_MS, both, printed, small, start

import cloche
from cloche import EffectFailure, Policy, RuntimeFailedError
from cloche.exec.adapters.tools import ToolHandler
from cloche.gate.effect import EffectRequest

# Programs that call `tools.it(…)` and print the value, or the error's code and text.
CALL = {
    "python": "print(tools.it({args}))",
    "javascript": "console.log(await tools.it({args}))",
}
TRY = {
    "python": "try:\n    tools.it({args})\nexcept Exception as e:\n"
    "    print(type(e).__name__, e.code, e.message, str(e.retryable).lower(), sep='|')",
    "javascript": "try {{ await tools.it({args}) }} catch (e) {{\n"
    "console.log([e.name, e.code, e.message.replace(`${{e.code}}: `, ''), e.retryable]"
    ".join('|')) }}",
}


def caught(language, tool, *, args="", **options):
    """Return what a program catches when it calls a tool."""
    tools = {} if tool is None else {"it": tool}
    return printed(TRY[language].format(args=args), language, tools=tools, **options)


@both
def test_value(language):
    """A tool's value reaches the program as data."""
    args = {"python": "a=1, b=[2, {'c': None}]", "javascript": "{a: 1, b: [2, {c: null}]}"}[
        language
    ]
    seen = []

    def it(a, b):
        seen.append((a, b))
        return {"é": [a, b, True, 1.5]}

    code = {
        "python": "import json\nprint(json.dumps(tools.it({args}), ensure_ascii=False))",
        "javascript": "console.log(JSON.stringify(await tools.it({args})))",
    }[language].replace("{args}", args)
    found = printed(code, language, tools={"it": it})
    assert found.replace(" ", "") == '{"é":[1,[2,{"c":null}],true,1.5]}\n'
    assert seen == [(1, [2, {"c": None}])]


@both
def test_async_tool(language):
    """An async function is a tool like any other."""

    async def it(n):
        await asyncio.sleep(0)
        return n + 1

    args = {"python": "n=1", "javascript": "{n: 1}"}[language]
    assert printed(CALL[language].format(args=args), language, tools={"it": it}) == "2\n"


@both
def test_positional_arguments(language):
    """Arguments by position arrive by position."""
    code = CALL[language].format(args="1, 2" if language == "python" else "[1, 2]")
    assert printed(code, language, tools={"it": lambda a, b: f"{a}-{b}"}) == "1-2\n"


@both
def test_denied(language):
    """A tool that no rule allows is denied; it does not run."""
    calls = []
    found = caught(language, lambda: calls.append(1), policy=Policy())
    assert found == ("EffectError|POLICY_DENIED|policy denies tool 'it': no rule allows it|false\n")
    assert calls == []


@both
def test_denied_by_rule(language):
    """A rule that denies wins over one that allows."""
    calls = []
    policy = Policy.allow(tool=["*"]).and_deny(tool=["it"])
    found = caught(language, lambda: calls.append(1), policy=policy)
    assert found.startswith("EffectError|POLICY_DENIED|policy denies tool 'it': ")
    assert calls == []


@both
def test_unknown_tool(language):
    """A name that no function has is denied too; what there is does not matter."""
    assert caught(language, None).startswith("EffectError|POLICY_DENIED|")


@both
def test_ask_without_approver_is_closed(language):
    """A tool that the policy asks a person about never runs while nobody can answer."""
    calls = []
    policy = Policy.from_document({"tool": {"ask": ["it"]}})
    found = caught(language, lambda: calls.append(1), policy=policy)
    assert found.startswith("EffectError|APPROVAL_UNAVAILABLE|")
    assert calls == []


def broken():
    """Fail as a tool may."""
    raise ValueError("nö")


def deliberate():
    """Fail with a code of its own."""
    raise EffectFailure("QUOTA", "come back later", retryable=True)


@both
@pytest.mark.parametrize(
    ("tool", "code", "message", "retryable"),
    [
        (broken, "TOOL_ERROR", "ValueError: nö", "false"),
        (deliberate, "QUOTA", "come back later", "true"),
        (
            lambda x: x,
            "TOOL_ARGUMENTS",
            "wrong arguments for it: <lambda>() missing 1 required positional argument: 'x'",
            "false",
        ),
    ],
    ids=["raises", "chooses", "arguments"],
)
def test_errors_are_data(language, tool, code, message, retryable):
    """What a tool raises is an error that the program can catch, with code and retryability."""
    # 3.12 and later say where the function was defined.
    found = re.sub(r"\S*<lambda>", "<lambda>", caught(language, tool))
    assert found == f"EffectError|{code}|{message}|{retryable}\n"


@both
def test_uncaught_error(language):
    """A tool's error that the program does not catch fails the program."""
    execution = start(CALL[language].format(args=""), language, tools={"it": broken})
    assert type(execution.error) is RuntimeFailedError
    assert execution.error.message == "EffectError: TOOL_ERROR: ValueError: nö"
    assert "EffectError: TOOL_ERROR: ValueError: nö" in execution.result.run.stderr


@both
def test_value_that_is_no_data(language):
    """A tool that returns what is not JSON fails the call, not the host."""
    found = caught(language, object)
    kind, code, _, retryable = found.strip().split("|")
    assert (kind, code, retryable) == ("EffectError", "VALUE_INVALID", "false")


@both
@pytest.mark.parametrize("is_async", [False, True])
def test_parallel_calls_overlap(language, is_async):
    """Calls made together are in flight together: each waits until all have begun."""
    count = 4
    gate = threading.Barrier(count)

    def plain(n):
        gate.wait(50)  # breaks, and the call fails, unless all four are here at once
        return n

    async def waiting(n):
        return await asyncio.to_thread(plain, n)

    code = {
        "python": "import asyncio\nprint(await asyncio.gather(*[tools.it(n=n) for n in range(4)]))",
        "javascript": "console.log(JSON.stringify("
        "await Promise.all([0, 1, 2, 3].map((n) => tools.it({n})))))",
    }[language]
    found = printed(code, language, tools={"it": waiting if is_async else plain})
    assert found.replace(" ", "") == "[0,1,2,3]\n"


@both
def test_race(language):
    """The first answer wins a race; the run need not wait for the other."""
    release = threading.Event()

    def it(name):
        if name == "slow":
            release.wait(60)
        return name

    code = {
        "python": "import asyncio\n"
        "async def one(name): return await tools.it(name=name)\n"
        "tasks = [asyncio.ensure_future(one(n)) for n in ('slow', 'fast')]\n"
        "done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)\n"
        "print([t.result() for t in done])\nfor t in rest: t.cancel()",
        "javascript": "console.log(JSON.stringify([await Promise.race("
        "['slow', 'fast'].map((name) => tools.it({name})))])); process.exit(0)",
    }[language]
    try:
        found = printed(code, language, tools={"it": it})
    finally:
        release.set()
    assert found.replace('"', "'") == "['fast']\n"


@both
def test_effect_budget(language):
    """A program cannot call more effects than its limit; what it printed is kept."""
    code = {
        "python": "for n in range(99):\n  try: tools.it()\n  except Exception as e: print(e.code)",
        "javascript": "for (let n = 0; n < 99; n++)\n"
        "try { await tools.it() } catch (e) { console.log(e.code) }",
    }[language]
    calls = []
    execution = start(
        code, language, tools={"it": lambda: calls.append(1)}, limits=small({"effect_count_max": 5})
    )
    assert len(calls) == 5
    assert set(execution.result.run.stdout.split()) == {"BUDGET_EXHAUSTED"}
    assert execution.error.limit == "gate.effect_count_max"


@both
def test_waiting_counts_as_time(language, monkeypatch):
    """A tool that takes longer than the run may is not waited for."""
    clock, release, ended = stop_clock(monkeypatch), threading.Event(), threading.Event()

    def it():
        clock.pass_ms(PATIENT_MS)
        release.wait(60)
        ended.set()

    code = {"python": "print('x', flush=True)\nawait tools.it()"}.get(
        language, "console.log('x'); await tools.it()"
    )
    try:
        execution = start(code, language, tools={"it": it})
        assert not ended.is_set()
    finally:
        release.set()
    assert (execution.exit_code, execution.result.run.stdout) == (124, "x\n")


@both
def test_the_virtual_clock_waits_too(language):
    """The program's clock moves by what it waited for a tool."""
    code = {
        "python": "import time\na = time.time()\ntools.it()\nprint(time.time() - a >= 0.05)",
        "javascript": "const a = Date.now(); await tools.it();\n"
        "console.log(Date.now() - a >= 50 ? 'True' : 'False')",
    }[language]
    assert printed(code, language, tools={"it": lambda: time.sleep(0.06)}) == "True\n"


@both
def test_broken_host_is_not_the_guests_fault(language):
    """An exception that no tool may raise ends the run as the host's: it is raised."""

    def it():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(CALL[language].format(args=""), language, tools={"it": it})
    assert printed(CALL[language].format(args=""), language, tools={"it": lambda: 1}) == "1\n"


def request(target, args):
    """Return an effect as the handler gets it."""
    return EffectRequest(sequence=0, task="0", ordinal=0, kind="tool", target=target, args=args)


def test_handler_alone():
    """The handler maps arguments: an object by name, a list by position, nothing as nothing."""
    handler = ToolHandler({"it": lambda *a, **k: (a, k)})
    assert handler.perform(request("it", None), "run") == ((), {})
    assert handler.perform(request("it", {"x": 1}), "run") == ((), {"x": 1})
    assert handler.perform(request("it", [1, 2]), "run") == ((1, 2), {})
    assert handler.perform(request("it", "one"), "run") == (("one",), {})


def test_handler_without_that_tool():
    """A tool that the policy lets through but nobody offers names those that there are."""
    with pytest.raises(EffectFailure) as caught:
        ToolHandler({"b": print, "a": print}).perform(request("c", None), "run")
    assert caught.value.error.code == "TOOL_UNKNOWN"
    assert caught.value.error.message == "there is no tool 'c'; the tools are: a, b"


def test_type_error_from_within():
    """A TypeError from inside a tool is the tool's, not one of arguments."""

    def it():
        return 1 + "x"

    with pytest.raises(EffectFailure) as caught:
        ToolHandler({"it": it}).perform(request("it", None), "run")
    assert caught.value.error.code == "TOOL_ERROR"


def test_a_failure_that_was_awaited_says_where():
    """The trace has the program's frames at the call, though the answer came in a later turn."""
    code = "async function f(a) {\n  return await tools.nope({ a });\n}\nawait f(1);"
    lines = start(code, "javascript").result.run.stderr.splitlines()
    assert lines[:3] == ["main.js:2:22", "  return await tools.nope({ a });", " " * 21 + "^"]
    assert [line.strip(" {") for line in lines if line.startswith("    at ")] == [
        "at f (main.js:2:22)",
        "at main.js:4:7",
    ]


MODEL = {
    "python": """
rows = tools.query("select name, total from orders where total > ?", [10])
print(tools.complete("Say who ordered most: " + repr(rows)))
""",
    "javascript": """
const rows = await tools.query(["select name, total from orders where total > ?", [10]]);
console.log(await tools.complete(["Say who ordered most: " + JSON.stringify(rows)]));
""",
}


@both
def test_databases_and_models_are_tools(language):
    """A program reaches them as far as a function of the host goes, and by no other way."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("create table orders (name text, total integer)")
    database.executemany("insert into orders values (?, ?)", [("ann", 9), ("bob", 30)])
    asked = []

    def query(sql: str, values: list[int]) -> list[list[object]]:
        return [list(row) for row in database.execute(sql, values)]

    def complete(prompt: str) -> str:
        asked.append(prompt)
        return "bob" if "bob" in prompt else "nobody"

    result = cloche.run(
        MODEL[language], language=language, tools={"query": query, "complete": complete}
    )
    database.close()
    assert result.run.stdout == "bob\n"
    assert len(asked) == 1
    assert "ann" not in asked[0]

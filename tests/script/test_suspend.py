"""Tests of runs that wait: in a store, for another process, and what ends them meanwhile."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time

import msgspec
import pytest
from tests.clock import stop_clock
from tests.script.cases import TELL

from cloche.exec.adapters.effects import CancelToken
from cloche.limits import Limits
from cloche.script.approvals import Made
from cloche.script.errors import ScriptRunBusyError, ScriptRunStateError
from cloche.script.harness import ScriptHarness
from cloche.script.inbox import Inbox
from cloche.script.tools import tool
from cloche.store.open import open_store
from script import dying

LIMITS = Limits()
BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
APPROVE = Made(verdict="approve", who="ann")
WRITTEN = []


@tool
def write(n: int) -> int:
    """Write."""
    WRITTEN.append(n)
    return n


@tool(read_only=True)
def read(n: int = 0) -> int:
    """Read."""
    return n


@pytest.fixture(autouse=True)
def nothing_written():
    """Forget what other tests wrote."""
    WRITTEN.clear()


def in_place(path, **options):
    """Return a harness with a store of its own connections, as another process has it."""
    options = {"limits": LIMITS, "session_id": "s", **options}
    return ScriptHarness(write, read, store=open_store(path), **options)


def ask_in_another_process(folder, language):
    """Run the script of the crash tests until it waits."""
    process = dying.context.Process(
        target=dying.die, args=(str(folder), "suspend", language, 1 << 30)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0


@BOTH
def test_a_run_goes_on_in_another_process(language, tmp_path):
    """One asks, another decides, a third goes on."""
    ask_in_another_process(tmp_path, language)
    inbox = Inbox(open_store(tmp_path / "s.db"), limits=LIMITS, clock_ms=lambda: dying.NOW_MS)
    first, second = inbox.list()
    assert {first.shown["n"], second.shown["n"]} == {2, 3}
    assert first.tools_used == ("note",)
    assert inbox.approve(second.id, who="ann").changed
    place = dying.Place(tmp_path)
    waiting = place.harness.resume(first.run_id)
    assert waiting.status == "suspended"
    assert len(place.log()) == 2, "what was decided is done, the other call still waits"
    assert inbox.approve(first.id, who="bob").changed
    result = place.harness.resume(first.run_id)
    assert (result.status, result.value) == ("completed", dying.VALUE)
    assert [call.status for call in result.tool_calls] == ["completed"] * 4
    assert len(place.log()) == len(set(place.log())) == 4
    place.close()


def test_nothing_live_is_held():
    """A hundred scripts that wait have no instance and no thread between them."""
    harness = ScriptHarness(write, read, limits=LIMITS)
    source = "await tools.read({}); return tools.write({ n: 1 })"
    harness.run(source)
    gc.collect()
    threads = threading.active_count()
    parked = [harness.run(source) for _ in range(100)]
    assert {one.status for one in parked} == {"suspended"}
    gc.collect()
    assert threading.active_count() <= threads + 1
    assert not harness._runs.shelf._active
    for one in harness.pending:
        harness.decide(one.id, APPROVE)
    assert {harness.resume(one.run_id).value for one in parked} == {1}


@BOTH
def test_a_person_sees_where_the_call_stands(language):
    """The line, where the name stands once; else all places."""
    harness = ScriptHarness(write, read, limits=LIMITS)
    once, twice = {
        "typescript": (
            "let a = 1;\nawait tools.write({ n: a });\na = 2;",
            "if (false) await tools.write({ n: 1 });\n\n\n\n\n\nawait tools.write({ n: 2 });",
        ),
        "python": (
            "a = 1\ntools.write(n=a)\na = 2",
            "False and tools.write(1)\n\n\n\n\n\ntools.write(2)",
        ),
    }[language]
    harness.run(once, language=language)
    (approval,) = harness.pending
    assert approval.line == 2
    shown = approval.excerpt.splitlines()
    assert [line[:5] for line in shown] == ["    1", ">   2", "    3"]
    harness.decide(approval.id, Made(verdict="reject_run", who="ann"))
    harness.run(twice, language=language)
    (approval,) = harness.pending
    assert approval.line is None
    assert [line[:5] for line in approval.excerpt.splitlines()] == [
        ">   1",
        "    2",
        "    3",
        "    5",
        "    6",
        ">   7",
    ]


@BOTH
@pytest.mark.parametrize("how", ["reject_run", "expire"])
def test_a_run_that_is_over_never_calls_again(how, language, tmp_path):
    """Decided elsewhere, whatever the script would catch."""
    now = [1000]
    path = tmp_path / "s.db"
    harness = in_place(path, clock_ms=lambda: now[0])
    source = {
        "typescript": "for (let n = 0; ; n++) try { await tools.write({ n }) } catch {}",
        "python": "n = 0\nwhile True:\n  try: tools.write(n=n)\n  except BaseException: n += 1",
    }[language]
    parked = harness.run(source, language=language)
    (approval,) = harness.pending
    inbox = Inbox(open_store(path), limits=LIMITS, clock_ms=lambda: now[0])
    if how == "expire":
        now[0] += LIMITS.scripts.approval_expires_ms
        assert inbox.list() == ()
    else:
        inbox.reject(approval.id, who="ann", run=True)
    code = {"expire": "APPROVAL_TIMEOUT", "reject_run": "SCRIPT_CANCELLED"}[how]
    for _ in range(2):
        result = in_place(path, clock_ms=lambda: now[0]).resume(parked.run_id)
        assert (result.status, result.error["code"]) == ("rejected", code)
    assert inbox.approve(approval.id, who="bob").ignored in {"decided", "expired"}
    assert WRITTEN == []


@BOTH
def test_a_rejection_that_nobody_catches_ends_the_run(language):
    """With its own error."""
    harness = ScriptHarness(write, read, limits=LIMITS)
    source = {"typescript": "await tools.write({ n: 1 })", "python": "tools.write(n=1)"}[language]
    parked = harness.run(source, language=language)
    harness.decide(harness.pending[0].id, Made(verdict="reject", who="ann", reason="no"))
    result = harness.resume(parked.run_id)
    assert (result.status, result.error["code"]) == ("failed", "APPROVAL_DENIED")
    assert result.error["fields"] == {"tool": "write", "reason": "no", "who": "ann"}
    assert (harness.resume(parked.run_id), WRITTEN) == (result, [])


def test_errors_are_the_same_after_a_restart(tmp_path):
    """What failed before a run was put away is known with all that was known of it."""
    path = tmp_path / "s.db"
    source = (
        "let e; try { await tools.read({ n: 'x' }) } catch (error) { e = error }"
        "await tools.write({ n: 1 }); throw e"
    )
    parked = in_place(path).run(source)
    harness = in_place(path)
    harness.decide(harness.pending[0].id, APPROVE)
    result = harness.resume(parked.run_id)
    live = ScriptHarness(write, read, limits=LIMITS, approver=lambda _: APPROVE).run(source)
    assert result.error == live.error
    assert result.error["code"] == "TOOL_VALIDATION"


def test_a_run_that_is_decided_about_while_it_works():
    """What is rejected in the middle makes no further call."""
    harness = ScriptHarness(write, read, limits=LIMITS)

    @tool(read_only=True)
    def slow() -> None:
        """Wait until the question is there, and have the run rejected."""
        while not other.pending:
            time.sleep(0.01)
        other.decide(other.pending[0].id, Made(verdict="reject_run", who="ann"))

    other = ScriptHarness(write, read, slow, limits=LIMITS, store=harness.store)
    source = (
        "const asked = tools.write({ n: 1 }).catch(() => 0);"
        "await tools.slow();"
        "try { await tools.read({ n: 5 }) } catch (e) { await tools.write({ n: 2 }) }"
        "return asked"
    )
    result = other.run(source)
    assert (result.status, WRITTEN) == ("rejected", [])


@pytest.mark.parametrize("kind", ["sync", "async", "nobody"])
def test_approvers(kind):
    """A function, a coroutine function, or one that leaves the question open."""

    async def later(approval):
        return Made(verdict="approve", who=approval.who)

    approver = {
        "sync": lambda approval: Made(verdict="approve", who=approval.who),
        "async": later,
        "nobody": lambda _: None,
    }[kind]
    harness = ScriptHarness(write, read, limits=LIMITS, approver=approver)
    result = harness.run("return [await tools.write({ n: 1 }), await tools.write({ n: 2 })]")
    if kind == "nobody":
        assert (result.status, WRITTEN, len(harness.pending)) == ("suspended", [], 1)
    else:
        assert (result.value, WRITTEN) == ([1, 2], [1, 2])


def test_an_approver_that_fails_leaves_the_run_waiting():
    """Nothing is called because something broke."""

    def broken(approval):
        raise OSError("no chat")

    harness = ScriptHarness(write, read, limits=LIMITS, approver=broken)
    with pytest.raises(OSError, match="no chat"):
        harness.run("return tools.write({ n: 1 })")
    (approval,) = harness.pending
    assert harness.result(approval.run_id).status == "suspended"
    assert WRITTEN == []


def test_a_run_is_worked_on_once(tmp_path):
    """Whoever comes second is told, and does nothing."""
    path = tmp_path / "s.db"
    errors = []

    @tool
    def meet() -> int:
        """Go on with this very run elsewhere."""
        try:
            other.resume(run_id)
        except ScriptRunBusyError as error:
            errors.append(error)
        return 1

    harness, other = (
        ScriptHarness(meet, store=open_store(path), limits=LIMITS, session_id="s") for _ in range(2)
    )
    run_id = harness.run("return tools.meet()").run_id
    harness.decide(harness.pending[0].id, APPROVE)
    assert harness.resume(run_id).value == 1
    assert len(errors) == 1


def test_a_run_that_waits_may_be_cancelled():
    """By whoever goes on with it."""
    cancel = CancelToken()
    soon = threading.Timer(0.1, cancel.cancel)
    harness = ScriptHarness(write, read, limits=LIMITS, on_progress=lambda *_: soon.start())
    parked = harness.run(f"await tools.write({{ n: 1 }}); {TELL['typescript']} for (;;) {{}}")
    harness.decide(harness.pending[0].id, APPROVE)
    result = harness.resume(parked.run_id, cancel=cancel)
    assert (result.status, result.error["code"]) == ("cancelled", "SCRIPT_CANCELLED")
    assert WRITTEN == [1]


def test_a_rejected_run_says_who_and_why():
    """The model reads the reason, and who gave it."""
    using = ScriptHarness(write)
    parked = using.run("await tools.write({ n: 1 })")
    (asked,) = using.pending
    using.decide(asked.id, Made(verdict="reject_run", who="bob", reason="not today"))
    said = "the script was cancelled: the run was rejected by bob: not today"
    assert using.resume(parked.run_id).error["message"] == said


@BOTH
def test_a_run_that_goes_on_has_the_time_that_it_left(tmp_path, language, monkeypatch):
    """A guest that does nothing but count is stopped as well, and not after all of the time."""
    source = {
        "typescript": f"await tools.write({{ n: 1 }}); {TELL[language]} while (true);",
        "python": f"tools.write(n=1)\n{TELL[language]}while True: pass",
    }[language]
    clock = stop_clock(monkeypatch)
    harness = in_place(tmp_path / "a.db", on_progress=clock.start)
    parked = harness.run(source, language=language)
    row = harness.store.runs.get(parked.run_id)
    used = msgspec.json.encode({"time_ms": LIMITS.scripts.timeout_ms - 300})
    harness.store.runs.update(dataclasses.replace(row, usage=used), expected="suspended")
    harness.decide(harness.pending[0].id, APPROVE)
    result = harness.resume(parked.run_id)
    assert (result.error["code"], WRITTEN) == ("SCRIPT_TIMEOUT", [1])
    assert result.usage["time_ms"] < 2 * LIMITS.scripts.timeout_ms - 300


@pytest.mark.parametrize("decided", [True, False])
def test_a_run_does_not_end_because_its_tools_are_not_given(decided, tmp_path):
    """Whoever goes on without them is told, and the run waits as before."""
    path = tmp_path / "s.db"
    source = "const a = await tools.read({}); return [a, await tools.write({ n: 2 })]"
    parked = in_place(path).run(source, language="javascript")
    (asked,) = in_place(path).pending
    if decided:
        in_place(path).decide(asked.id, Made(verdict="approve", who="ann"))
        without = ScriptHarness(limits=LIMITS, session_id="s", store=open_store(path))
        with pytest.raises(ScriptRunStateError) as refused:
            without.resume(parked.run_id)
        assert str(refused.value) == (
            f"script run {parked.run_id} used tools that are not given here: read, write. Give "
            "them; nothing happened"
        )
        assert in_place(path).resume(parked.run_id).status == "completed"
    else:
        assert in_place(path).resume(parked.run_id).status == "suspended"

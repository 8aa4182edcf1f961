"""What an application is told of scripts while they run, and the numbers that it watches."""

from __future__ import annotations

from tests.script.cases import add, block, chat, run, write

import cloche
from cloche.script.approvals import Made

WRITE = "await tools.write({ path: 'a', text: 'b' }); return 1"


def told(events):
    """Return what is the same in every run."""
    return [(one.kind, one.status, one.code, one.tool_calls) for one in events]


def test_a_run_that_completes():
    """Started, then completed, with the ids and the hash of the script."""
    events = []
    harness = cloche.ScriptHarness(add, on_event=events.append, session_id="s1")
    result = harness.run("return tools.add({ a: 1, b: 2 })")
    assert told(events) == [("started", "", "", 0), ("completed", "completed", "", 1)]
    assert {one.run_id for one in events} == {result.run_id}
    assert {(one.script_id, one.session_id) for one in events} == {("script_1", "s1")}
    assert {len(one.sha256) for one in events} == {64}


def test_a_run_that_waits_and_fails():
    """Every end is told, with its code."""
    events = []
    harness = cloche.ScriptHarness(write, on_event=events.append)
    parked = harness.run(WRITE)
    assert harness.resume(parked.run_id).status == "suspended"
    harness.decide(harness.pending[0].id, Made(verdict="reject", who="ann"))
    harness.resume(parked.run_id)
    assert told(events) == [
        ("started", "", "", 0),
        ("suspended", "suspended", "", 1),
        ("resumed", "", "", 0),
        ("failed", "failed", "APPROVAL_DENIED", 1),
    ]


def test_events_come_while_it_runs():
    """The start is told before anything of the script happens."""
    order = []
    harness = cloche.ScriptHarness(
        on_event=lambda event: order.append(event.kind), on_progress=lambda *_: order.append("said")
    )
    harness.run("context.telemetry.emitProgress('half way')")
    assert order == ["started", "said", "completed"]


def test_whoever_is_told_is_no_part_of_the_run():
    """An error of the callback changes nothing."""

    def broken(event):
        raise RuntimeError(event.kind)

    assert run("return 1", on_event=broken).value == 1


def test_what_is_counted():
    """Results by mode and status, errors by code, calls by tool, time; nothing twice."""
    harness = cloche.ScriptHarness(add, write, approver=None)
    harness.run("await tools.add({ a: 1, b: 1 }); return tools.add({ a: 1, b: 1 })")
    harness.run("throw new Error('x')")
    parked = harness.run(WRITE)
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="ann"))
    harness.resume(parked.run_id)
    harness.resume(parked.run_id)
    numbers = harness.metrics.snapshot()
    assert numbers.pop("cloche_script_time_ms_total") >= 0
    assert numbers == {
        'cloche_script_calls_total{status="completed",tool="add"}': 2,
        'cloche_script_calls_total{status="completed",tool="write"}': 1,
        'cloche_script_errors_total{code="SCRIPT_RUNTIME"}': 1,
        'cloche_scripts_total{mode="enabled",status="completed"}': 2,
        'cloche_scripts_total{mode="enabled",status="failed"}': 1,
        'cloche_scripts_total{mode="enabled",status="suspended"}': 1,
    }


def test_what_does_not_run_is_counted_by_its_mode():
    """Switched off and only checked."""
    harness = cloche.ScriptHarness(add)
    message = chat(block("return 1"), block("return ("))
    for mode in ("disabled", "dry-run"):
        harness.handle(message, api="openai.chat", mode=mode)
    numbers = harness.metrics.snapshot()
    assert numbers['cloche_scripts_total{mode="disabled",status="skipped"}'] == 2
    assert numbers['cloche_scripts_total{mode="dry-run",status="checked"}'] == 1
    assert numbers['cloche_scripts_total{mode="dry-run",status="failed"}'] == 1


def test_the_numbers_as_prometheus_reads_them():
    """One type line for each family."""
    harness = cloche.ScriptHarness(add)
    harness.run("return tools.add({ a: 1, b: 1 })", mode="disabled")
    assert harness.metrics.prometheus() == (
        "# TYPE cloche_script_errors_total counter\n"
        'cloche_script_errors_total{code="SCRIPT_CANCELLED"} 1\n'
        "# TYPE cloche_script_time_ms_total counter\n"
        "cloche_script_time_ms_total 0\n"
        "# TYPE cloche_scripts_total counter\n"
        'cloche_scripts_total{mode="disabled",status="skipped"} 1\n'
    )

"""Conformance suite of the gate's port `JournalSink`.

Public: whoever writes a sink runs `check_journal_sink` in a test, with a function that opens a new
sink and one that reads back the journal file that the sink stands for.
The suite states the behaviour once; it knows nothing of how a sink stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cloche.gate.entries import RunInputs, RunOutcome
from cloche.gate.errors import GateMisuseError
from cloche.gate.gate import Gate, Perform
from cloche.gate.journal import HEADER, encode_file, load_journal, verify
from cloche.gate.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.gate.ports import JournalSink
    from cloche.limits import Limits

    OpenSink: TypeAlias = Callable[[], tuple[JournalSink, Callable[[], bytes]]]


def check_journal_sink(open_sink: OpenSink, limits: Limits) -> None:
    """Check that a sink keeps what it is given.

    Args:
        open_sink: returns a new, empty sink and a function that reads its journal file.
        limits: any limits that let a small run pass.

    Raises:
        AssertionError: the sink breaks a rule; the message says which.
    """
    _check_empty(open_sink)
    _check_groups(open_sink, limits)
    _check_replay(open_sink, limits)
    _check_closed(open_sink, limits)


def recorded_run(limits: Limits) -> list[bytes]:
    """Return the records of a small finished run: one effect that succeeds, one refused."""
    gate = Gate(Policy.allow(tool=["add"]), limits)
    gate.started(RunInputs(language="python", image_id="none", filename="main.py", code=b"pass"))
    for target in ("add", "remove"):
        verdict = gate.request("tool", target, {"numbers": [1, 2]})
        if isinstance(verdict, Perform):
            gate.complete(verdict.request, value=3, duration_ns=1000)
    gate.deliver((0, 1), 1000)
    digest = "0" * 64
    gate.finish(
        RunOutcome(
            exit_code=0,
            stage="run",
            stdout_sha256=digest,
            stderr_sha256=digest,
            files_sha256=digest,
            clock_ns=1000,
        )
    )
    return gate.take_entries()


def _check_empty(open_sink: OpenSink) -> None:
    sink, read = open_sink()
    sink.append([])
    _expect(read() == HEADER, "a new sink, and an append of nothing, hold the header alone")
    sink.close()


def _check_groups(open_sink: OpenSink, limits: Limits) -> None:
    records = recorded_run(limits)
    expected = encode_file(records)
    for group_size in (1, 2, len(records)):
        sink, read = open_sink()
        for start in range(0, len(records), group_size):
            sink.append(records[start : start + group_size])
            prefix = encode_file(records[: start + group_size])
            _expect(read() == prefix, "after `append` returns, its records can be read")
        sink.close()
        _expect(read() == expected, "records are the same however they are grouped")


def _check_replay(open_sink: OpenSink, limits: Limits) -> None:
    sink, read = open_sink()
    records = recorded_run(limits)
    sink.append(records)
    sink.close()
    found = verify(read(), limits)
    _expect(found.finished and found.record_count == len(records), "a kept journal verifies")
    _expect(load_journal(read(), limits).hash == found.hash, "a kept journal loads")


def _check_closed(open_sink: OpenSink, limits: Limits) -> None:
    records = recorded_run(limits)
    sink, read = open_sink()
    sink.close()
    sink.close()
    try:
        sink.append(records)
    except GateMisuseError:
        pass
    else:
        _expect(False, "`append` after `close` raises GateMisuseError")
    _expect(read() == HEADER, "a closed sink keeps nothing more")


def _expect(holds: bool, rule: str) -> None:
    # Not `assert`: the suite must also check where Python runs with -O.
    if not holds:
        raise AssertionError(f"journal sink breaks a rule: {rule}")

"""How runs end: the table of ceilings, exit codes, and what is kept."""

from __future__ import annotations

from typing import get_args

import pytest

from cloche.engine.abi import GuestError, Report, Stop
from cloche.exec.errors import (
    CompilationFailedError,
    InternalExecError,
    ResourceExceededError,
    RunCancelledError,
    RuntimeFailedError,
    TimeoutExceededError,
)
from cloche.exec.outcome import _CEILINGS, MESSAGE_LENGTH_MAX, ending_of
from cloche.limits import Limits


def ending(outcome, *, stdout=b"out", stderr=b"err", limits=None, quota=""):
    """Return how a run with this outcome ended."""
    return ending_of(
        outcome,
        stdout=stdout,
        stderr=stderr,
        time_ms=3,
        memory_bytes=4,
        limits=limits or Limits(),
        quota=quota,
    )


def failed(stage="run", **fields):
    """Return the report of a program that failed."""
    return Report(state="failed", stage=stage, exit_code=1, **fields)


def exceeded(resource, limit, hint=""):
    """Return the message of a ceiling."""
    return f"the program ran out of {resource}: {limit}; raise it{hint} if the program needs more"


TIMEOUT = (
    "the program ran longer than 5000 ms; raise guests.timeout_ms (--timeout) if it needs more"
)
ENGINE = "said by the engine"
EXCEEDED = ResourceExceededError
# stop kind: (error, exit code, message)
STOPS = {
    "time": (TimeoutExceededError, 124, TIMEOUT),
    "memory": (
        EXCEEDED,
        137,
        exceeded("memory", "guests.memory_limit_bytes is 268435456", " (--memory)"),
    ),
    "output": (EXCEEDED, 1, exceeded("output", "guests.output_limit_bytes is 4194304")),
    "fuel": (EXCEEDED, 1, exceeded("fuel", "guests.fuel is 0", " (--fuel)")),
    "host_calls": (EXCEEDED, 1, exceeded("host calls", "guests.host_call_count_max is 10000000")),
    "turns": (EXCEEDED, 1, exceeded("turns", "guests.turn_count_max is 100000")),
    "effects": (EXCEEDED, 1, exceeded("effects", "gate.effect_count_max is 10000")),
    "stack": (EXCEEDED, 1, exceeded("stack", "guests.stack_limit_bytes is 8388608")),
    "cancelled": (RunCancelledError, 130, "the run was cancelled"),
    "protocol": (InternalExecError, 1, ENGINE),
    "gate": (InternalExecError, 1, ENGINE),
    "trap": (InternalExecError, 1, ENGINE),
}


def stop_kinds():
    """Return the kinds of stop that the engine knows."""
    import typing

    hint = typing.get_type_hints(Stop)["kind"]
    return set(get_args(hint))


@pytest.mark.parametrize("kind", STOPS)
def test_stop(kind):
    """Each stop has its error, its exit code, a message with the limit, and keeps the output."""
    kind_of_error, exit_code, message = STOPS[kind]
    found = ending(Stop(kind=kind, message="said by the engine"))
    assert type(found.error) is kind_of_error
    assert (found.exit_code, found.error.message) == (exit_code, message)
    assert found.error.result is found.result
    run = found.result.run
    assert (run.stdout, run.stderr, run.exit_code, run.signal) == ("out", "err", None, "SIGKILL")
    assert (found.result.time_ms, found.result.memory_bytes, found.stage) == (3, 4, "run")


def test_every_stop_is_in_the_table():
    """No kind of stop is without a row above; a run that is put away has not ended."""
    assert stop_kinds() - {"exit", "suspended"} == set(STOPS)


@pytest.mark.parametrize("resource", _CEILINGS)
def test_every_ceiling_exists(resource):
    """Each row of the table of ceilings names a limit that there is."""
    group, name = _CEILINGS[resource].limit.split(".")
    assert isinstance(getattr(getattr(Limits(), group), name), int)


@pytest.mark.parametrize("exit_code", [0, 1, 3, 255])
def test_exit(exit_code):
    """A program that ends itself has its own exit code and no error."""
    for outcome in (
        Stop(kind="exit", exit_code=exit_code),
        Report(state="done", exit_code=exit_code),
    ):
        found = ending(outcome)
        assert (found.error, found.exit_code, found.result.run.exit_code) == (
            None,
            exit_code,
            exit_code,
        )
        assert found.result.run.signal is None


def test_program_that_failed():
    """An error that nobody caught is runtime-failed, with the guest's words."""
    found = ending(failed(error=GuestError(name="ValueError", message="no")))
    assert type(found.error) is RuntimeFailedError
    assert (found.error.message, found.error.resource) == ("ValueError: no", None)
    assert (found.exit_code, found.result.run.exit_code, found.result.compile) == (1, 1, None)


def test_program_that_is_not_valid():
    """A syntax error is of the compile stage, and the run stage is empty."""
    found = ending(failed("compile", error=GuestError(name="SyntaxError", message="no")))
    assert type(found.error) is CompilationFailedError
    assert (found.stage, found.exit_code) == ("compile", 1)
    assert (found.result.compile.stderr, found.result.compile.exit_code) == ("err", 1)
    assert (found.result.run.stderr, found.result.run.exit_code) == ("", None)


@pytest.mark.parametrize(
    ("resource", "quota", "limit", "exit_code"),
    [
        ("memory", "", "guests.memory_limit_bytes", 137),
        ("files", "", "guests.files_limit_bytes", 1),
        ("files", "file_count_max", "guests.file_count_max", 1),
        ("files", "file_limit_bytes", "guests.file_limit_bytes", 1),
        ("memory", "file_count_max", "guests.memory_limit_bytes", 137),
    ],
)
def test_report_of_a_resource(resource, quota, limit, exit_code):
    """A program that failed for want of memory or room for files says which limit it met."""
    found = ending(failed(resource=resource), quota=quota)
    assert type(found.error) is ResourceExceededError
    assert (found.error.limit, found.exit_code) == (limit, exit_code)
    name = limit.split(".")[1]
    assert found.error.limit_value == getattr(Limits().guests, name)


def test_native_recursion_is_the_languages_own_error():
    """Recursion that the language itself stops is runtime-failed; the resource is named."""
    found = ending(failed(resource="stack", error=GuestError(name="RecursionError", message="")))
    assert type(found.error) is RuntimeFailedError
    assert (found.error.message, found.error.resource) == ("RecursionError", "stack")


def test_quota_met_and_survived():
    """A program that met a quota and ended well ended well."""
    assert ending(Report(state="done", exit_code=0), quota="file_count_max").error is None


def test_hostile_words():
    """A guest's own words are cut, and half a surrogate pair does not get out."""
    report = failed(error=GuestError(name="E", message="\ud800" + "x" * 20_000))
    message = ending(report).error.message
    assert message.startswith("E: ?x")
    assert len(message) == MESSAGE_LENGTH_MAX
    assert ending(failed()).error.message == "the program failed"
    assert ending(failed("compile")).error.message == "the program is not valid"


def test_output_that_is_not_text():
    """Bytes that are not UTF-8 are shown as replacement characters."""
    found = ending(Report(state="done", exit_code=0), stdout=b"a\xff", stderr=b"\xc3")
    assert (found.result.run.stdout, found.result.run.stderr) == ("a\ufffd", "\ufffd")

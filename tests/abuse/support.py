"""One shape for every attack: it ends as data, keeps its output, and the next run is right.

The time of an attack begins when its program says that it is there: until then the clock of runs
stands still (`conftest` puts that clock in place). So a machine that is slow to begin takes nothing
from an attack that the time limit has to end. One attack at a time: there is one clock.
"""

from __future__ import annotations

import time

import cloche
from cloche import (
    CompilationFailedError,
    ExecResult,
    Limits,
    ResourceExceededError,
    RuntimeFailedError,
    TimeoutExceededError,
)
from cloche.exec.api import execute, make_request

__all__ = [
    "BEFORE",
    "CLOCK",
    "PATIENT_LIMITS",
    "PATIENT_TIMEOUT_MS",
    "TIMEOUT_MS",
    "CompilationFailedError",
    "ResourceExceededError",
    "RuntimeFailedError",
    "TimeoutExceededError",
    "attack",
    "completes",
    "exceeds",
    "fails",
    "make_limits",
    "times_out",
]

TIMEOUT_MS = 200  # for attacks that this limit has to stop, from when they are there
PATIENT_TIMEOUT_MS = 60_000  # for attacks that end by themselves, or that another limit has to stop
PATIENT_LIMITS = Limits().replace({"guests": {"timeout_ms": PATIENT_TIMEOUT_MS}})
MEMORY_LIMIT_BYTES = 64 << 20
OUTPUT_LIMIT_BYTES = 64 << 10

BEFORE = "before\n"
_ANNOUNCE = {"python": 'print("before")\n', "javascript": 'console.log("before");\n'}
_NEXT = {
    "python": 'print(sorted(str(n * n) for n in range(4)), end="")',
    "javascript": "process.stdout.write(JSON.stringify([3, 1, 2].sort()))",
}
_NEXT_ANSWER = {"python": "['0', '1', '4', '9']", "javascript": "[1,2,3]"}
_REAL_NS = time.monotonic_ns


class Clock:
    """A monotonic clock that can be stopped. It is not ahead of the real one, ever."""

    _stopped_ns: int | None = None
    _behind_ns = 0

    def reset(self) -> None:
        """Let it show the real time."""
        self._stopped_ns, self._behind_ns = None, 0

    def now_ns(self) -> int:
        """Return its time."""
        return _REAL_NS() - self._behind_ns if self._stopped_ns is None else self._stopped_ns

    def stop(self) -> None:
        """Let it stand still."""
        self._stopped_ns = self.now_ns()

    def go_on(self) -> None:
        """Let it go on from where it stands."""
        if self._stopped_ns is not None:
            self._behind_ns = _REAL_NS() - self._stopped_ns
            self._stopped_ns = None


CLOCK = Clock()


def make_limits(
    gate: dict[str, int] | None = None, egress: dict[str, int] | None = None, **guests: int
) -> Limits:
    """Return small limits, with these fields of the groups gate, egress and guests changed."""
    fields = {
        "timeout_ms": PATIENT_TIMEOUT_MS,
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
        "output_limit_bytes": OUTPUT_LIMIT_BYTES,
    }
    changed = {"guests": {**fields, **guests}, "gate": gate or {}, "egress": egress or {}}
    return Limits().replace(changed)


def attack(code: str, language: str, *, limits: dict | None = None, **options: object):
    """Run an attack after a line of output; return (result, error or None).

    Asserts what holds for all of them: the line is kept, the process survives, and the next run
    gives the right answer.
    """
    request = make_request(
        _ANNOUNCE[language] + code,
        language=language,
        limits=make_limits(**(limits or {})),
        **options,
    )
    told = bytearray()

    def hear(stream: str, piece: bytes) -> None:
        if stream == "stdout" and len(told) < len(BEFORE):
            told.extend(piece)
            if len(told) >= len(BEFORE):
                CLOCK.go_on()

    CLOCK.stop()
    try:
        execution = execute(request, tools=options.get("tools"), on_output=hear)
    finally:
        CLOCK.go_on()
    if not isinstance(execution.error, CompilationFailedError):
        assert execution.result.run.stdout.startswith(BEFORE)
    check_next_run(language)
    return execution.result, execution.error


def check_next_run(language: str) -> None:
    """Assert that a fresh run in this process gives the right answer."""
    code = _NEXT[language]
    result = cloche.run(code, language=language, limits=PATIENT_LIMITS, seed=1, now_ns=0)
    assert (result.run.stdout, result.run.stderr) == (_NEXT_ANSWER[language], "")
    assert result.run.exit_code == 0


def completes(code: str, language: str, *, exit_code: int = 0, **options: object):
    """Assert that the attack achieves nothing: it ends by itself. Return the rest of its output."""
    result, error = attack(code, language, **options)
    assert error is None, (error, result)
    assert result.run.exit_code == exit_code, result
    assert result.run.signal is None
    return result.run.stdout.removeprefix(BEFORE)


def times_out(code: str, language: str, *, limits: dict | None = None, **options: object):
    """Assert that the time limit ends the attack. Return the result."""
    limits = {"timeout_ms": TIMEOUT_MS, **(limits or {})}
    result, error = attack(code, language, limits=limits, **options)
    assert isinstance(error, TimeoutExceededError), (error, result)
    assert error.fields["limit"] == "guests.timeout_ms"
    _assert_killed(result)
    return result


def exceeds(resource: str, code: str, language: str, **options: object):
    """Assert that running out of `resource` ends the attack. Return the result."""
    result, error = attack(code, language, **options)
    assert isinstance(error, ResourceExceededError), (error, result)
    assert error.fields["resource"] == resource
    assert result.run.exit_code != 0
    return result


def fails(name: str, code: str, language: str, *, resource: str | None = None, **options: object):
    """Assert that an error which nothing catches ends the attack. Return the result."""
    result, error = attack(code, language, **options)
    assert isinstance(error, RuntimeFailedError), (error, result)
    assert error.message.partition(":")[0] == name
    assert error.fields["resource"] == resource
    assert result.run.exit_code == 1
    return result


def _assert_killed(result: ExecResult) -> None:
    assert result.run.exit_code is None
    assert result.run.signal == "SIGKILL"

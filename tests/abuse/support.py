"""One shape for every attack: it ends as data, keeps its output, and the next run is right."""

from __future__ import annotations

import cloche
from cloche import (
    CompilationFailedError,
    ExecResult,
    Limits,
    ResourceExceededError,
    RuntimeFailedError,
    StageResult,
    TimeoutExceededError,
)
from cloche.exec.errors import ExecError

__all__ = [
    "BEFORE",
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

TIMEOUT_MS = 200  # enough to reach the attack on a busy machine, short enough for a hundred of them
PATIENT_TIMEOUT_MS = 20_000  # for attacks that another limit has to stop
MEMORY_LIMIT_BYTES = 64 << 20
OUTPUT_LIMIT_BYTES = 64 << 10

BEFORE = "before\n"
NOTHING = ExecResult(compile=None, run=StageResult(stdout="", stderr=""))
_ANNOUNCE = {"python": 'print("before")\n', "javascript": 'console.log("before");\n'}
_NEXT = {
    "python": 'print(sorted(str(n * n) for n in range(4)), end="")',
    "javascript": "process.stdout.write(JSON.stringify([3, 1, 2].sort()))",
}
_NEXT_ANSWER = {"python": "['0', '1', '4', '9']", "javascript": "[1,2,3]"}


def make_limits(
    gate: dict[str, int] | None = None, egress: dict[str, int] | None = None, **guests: int
) -> Limits:
    """Return small limits, with these fields of the groups gate, egress and guests changed."""
    fields = {
        "timeout_ms": TIMEOUT_MS,
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
    outcome: tuple[ExecResult, ExecError | None]
    try:
        result = cloche.run(
            _ANNOUNCE[language] + code,
            language=language,
            limits=make_limits(**(limits or {})),
            **options,
        )
        outcome = result, None
    except ExecError as error:
        outcome = error.result or NOTHING, error
    if not isinstance(outcome[1], CompilationFailedError):
        assert outcome[0].run.stdout.startswith(BEFORE)
    check_next_run(language)
    return outcome


def check_next_run(language: str) -> None:
    """Assert that a fresh run in this process gives the right answer."""
    result = cloche.run(_NEXT[language], language=language, limits=Limits(), seed=1, now_ns=0)
    assert (result.run.stdout, result.run.stderr) == (_NEXT_ANSWER[language], "")
    assert result.run.exit_code == 0


def completes(code: str, language: str, *, exit_code: int = 0, patient: bool = True, **options):
    """Assert that the attack achieves nothing: it ends by itself. Return the rest of its output."""
    result, error = attack(code, language, **_patient(options, patient=patient))
    assert error is None, (error, result)
    assert result.run.exit_code == exit_code, result
    assert result.run.signal is None
    return result.run.stdout.removeprefix(BEFORE)


def times_out(code: str, language: str, **options):
    """Assert that the time limit ends the attack. Return the result."""
    result, error = attack(code, language, **options)
    assert isinstance(error, TimeoutExceededError), (error, result)
    assert error.fields["limit"] == "guests.timeout_ms"
    _assert_killed(result)
    return result


def exceeds(resource: str, code: str, language: str, **options):
    """Assert that running out of `resource` ends the attack. Return the result."""
    result, error = attack(code, language, **_patient(options))
    assert isinstance(error, ResourceExceededError), (error, result)
    assert error.fields["resource"] == resource
    assert result.run.exit_code != 0
    return result


def fails(name: str, code: str, language: str, *, resource: str | None = None, **options):
    """Assert that an error which nothing catches ends the attack. Return the result."""
    result, error = attack(code, language, **_patient(options))
    assert isinstance(error, RuntimeFailedError), (error, result)
    assert error.message.partition(":")[0] == name
    assert error.fields["resource"] == resource
    assert result.run.exit_code == 1
    return result


def _patient(options: dict, *, patient: bool = True) -> dict:
    """Give an attack time, when it is another limit that has to end it."""
    timeout_ms = PATIENT_TIMEOUT_MS if patient else TIMEOUT_MS
    return {**options, "limits": {"timeout_ms": timeout_ms, **(options.get("limits") or {})}}


def _assert_killed(result: ExecResult) -> None:
    assert result.run.exit_code is None
    assert result.run.signal == "SIGKILL"

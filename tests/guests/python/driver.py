"""Runs one Python program in the real engine and tells what came of it, failures included."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cloche
from cloche.exec.api import execute, make_request

# How long a program takes here says nothing: machines are busy.
PATIENT = cloche.Limits().replace({"guests": {"timeout_ms": 600_000}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program printed and left, and how it ended (`error` is a class name, or empty)."""

    stdout: str
    stderr: str
    exit_code: int
    error: str
    message: str
    files: dict[str, bytes] = field(repr=False)


def run(code: str, *, files: dict[str, str] | None = None, **options: Any) -> Outcome:
    """Run `code` as the program, with `files` (path to text) beside it."""
    stored = [cloche.File(name=name, content=text.encode()) for name, text in (files or {}).items()]
    options.setdefault("limits", PATIENT)
    request = make_request(code, language="python", files=stored, **options)
    execution = execute(request, tools=options.get("tools"))
    stage = execution.result.run or execution.result.compile
    assert stage is not None
    error = execution.error
    return Outcome(
        stdout=stage.stdout,
        stderr=stage.stderr,
        exit_code=execution.exit_code,
        error="" if error is None else type(error).__name__,
        message="" if error is None else error.message,
        files={file.path: file.content for file in execution.files},
    )


def output(code: str, **options: Any) -> str:
    """Run a program that must succeed without a word on stderr; return its output."""
    outcome = run(code, **options)
    assert (outcome.error, outcome.stderr, outcome.exit_code) == ("", "", 0), outcome
    return outcome.stdout

"""Runs one JavaScript program in the real engine and tells what came of it, failures included."""

from __future__ import annotations

from dataclasses import dataclass

import cloche
from cloche.errors import ClocheError

# How long a program takes here says nothing: machines are busy.
PATIENT = cloche.Limits().replace({"guests": {"timeout_ms": 600_000}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program printed, and how it ended (`error` is the class of the failure, or empty)."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None
    error: str = ""


def run(code: str, *, files: dict[str, str] | None = None, language: str = "javascript") -> Outcome:
    """Run `code` as the program, with `files` (path to text) beside it."""
    stored = [cloche.File(name=name, content=text.encode()) for name, text in (files or {}).items()]
    try:
        result, error = cloche.run(code, language=language, files=stored, limits=PATIENT), ""
    except ClocheError as failure:
        result, error = getattr(failure, "result", None), type(failure).__name__
    stage = None if result is None else result.run or result.compile
    if stage is None:
        return Outcome(error=error)
    return Outcome(stdout=stage.stdout, stderr=stage.stderr, exit_code=stage.exit_code, error=error)

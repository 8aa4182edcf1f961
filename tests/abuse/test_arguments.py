"""Attack: a request that is itself too large, or that holds what no process could get."""

from __future__ import annotations

import pytest

import cloche
from abuse.support import PATIENT_LIMITS, check_next_run
from cloche import InvalidRunError

LIMITS = cloche.Limits().guests

BOMBS = {
    "the program": {"code": "#" * (LIMITS.code_limit_bytes + 1)},
    "many arguments": {"args": ["a"] * (LIMITS.argument_count_max + 1)},
    "long arguments": {"args": ["a" * LIMITS.argument_limit_bytes, "b"]},
    "many variables": {"env": {f"A{i}": "" for i in range(LIMITS.environment_count_max + 1)}},
    "long variables": {"env": {"A": "a" * LIMITS.environment_limit_bytes}},
    "input": {"stdin": bytes(LIMITS.stdin_limit_bytes + 1)},
    "a large file": {"files": [cloche.File(name="a", content=bytes(LIMITS.file_limit_bytes + 1))]},
    "many files": {
        "files": [cloche.File(name=f"f{i}", content=b"") for i in range(LIMITS.file_count_max + 1)]
    },
    "a long name": {"files": [cloche.File(name="a" * 300, content=b"")]},
    "a deep name": {"files": [cloche.File(name="a/" * 100 + "b", content=b"")]},
    "a name with NUL": {"files": [cloche.File(name="a\0b", content=b"")]},
    "half a surrogate pair in a name": {"files": [cloche.File(name="\ud800", content=b"")]},
    "half a surrogate pair in the program": {"code": "'\ud800'"},
    "half a surrogate pair in an argument": {"args": ["\ud800"]},
    "half a surrogate pair in a variable": {"env": {"A": "\ud800"}},
    "NUL in an argument": {"args": ["a\0b"]},
    "NUL in a variable": {"env": {"A": "a\0b"}},
    "a variable without a name": {"env": {"": "a"}},
    "a variable with = in its name": {"env": {"a=b": "c"}},
    "NUL in the file name": {"filename": "a\0.py"},
    "a relative working directory": {"cwd": "a"},
    "a seed below zero": {"seed": -1},
    "a clock before its time": {"now_ns": -1},
    "a clock after its time": {"now_ns": 1 << 63},
}


@pytest.mark.parametrize("language", ["python", "javascript"])
@pytest.mark.parametrize("request_", BOMBS.values(), ids=BOMBS.keys())
def test_it_is_refused(request_, language):
    """The caller gets a typed error, and nothing ran."""
    request_ = {"code": "", "language": language, "limits": cloche.Limits(), **request_}
    with pytest.raises(InvalidRunError):
        cloche.run(**request_)
    check_next_run(language)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_exactly_the_limit_fits(language):
    """All that is allowed at once arrives as it was given."""
    argument = "a" * (LIMITS.argument_limit_bytes // LIMITS.argument_count_max)
    variable = "b" * (LIMITS.environment_limit_bytes // LIMITS.environment_count_max - 4)
    code = {
        "python": "import os, sys\nprint(len(sys.argv), len(os.environ), len(sys.stdin.read()))",
        "javascript": (
            "console.log(process.argv.length, Object.keys(process.env).length, "
            "require('fs').readFileSync(0).length)"
        ),
    }[language]
    result = cloche.run(
        code,
        language=language,
        limits=PATIENT_LIMITS,
        args=[argument] * LIMITS.argument_count_max,
        env={f"V{i:03}": variable for i in range(LIMITS.environment_count_max)},
        stdin=b"c" * (1 << 20),
    )
    count = LIMITS.argument_count_max + (1 if language == "python" else 2)
    assert result.run.stdout == f"{count} {LIMITS.environment_count_max} {1 << 20}\n"

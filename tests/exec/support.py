"""Helpers of the exec tests: programs in both languages, and how to run them."""

from __future__ import annotations

import pytest

from cloche.exec.api import execute, make_request
from cloche.limits import Limits

LANGUAGES = ("python", "javascript")
both = pytest.mark.parametrize("language", LANGUAGES)
NOW_NS = 1_700_000_000_000_000_000
# How long a program takes says nothing where the time is not what is tested: machines are busy.
PATIENT_MS = 60_000

# Prints a line, then runs for ever.
ENDLESS = {
    "python": "print('before', flush=True)\nwhile True: pass",
    "javascript": "console.log('before'); for (;;);",
}

# (program, its error, where its trace says that it was)
FAILING = {
    "python": (
        "print('before')\ndef f():\n    raise ValueError('nö')\nf()",
        "ValueError: nö",
        'File "main.py", line 3, in f',
    ),
    "javascript": (
        "console.log('before');\nfunction f() {\n  throw new TypeError('nö');\n}\nf();",
        "TypeError: nö",
        "at f (main.js:3:",
    ),
}


def small(gate=None, **guests):
    """Return limits with these fields of the groups guests and gate changed."""
    guests.setdefault("timeout_ms", PATIENT_MS)
    return Limits().replace({"guests": guests, "gate": gate or {}})


def start(code, language, *, tools=None, record=None, cancel=None, on_output=None, **options):
    """Run a program; return its execution, whatever happened."""
    return execute(
        make_request(code, language=language, tools=tools, **options),
        tools=tools,
        record=record,
        cancel=cancel,
        on_output=on_output,
    )


def printed(code, language, **options):
    """Run a program that must end well; return its standard output."""
    execution = start(code, language, **options)
    assert execution.error is None, execution.error
    assert execution.result.run.stderr == ""
    return execution.result.run.stdout

"""Helpers of the command line tests: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

START = [sys.executable, "-c", "from cloche.cli import main; main()"]
LATE = [sys.executable, str(Path(__file__).with_name("late.py"))]  # see there
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a process ended, and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self):
        """What `--json` printed: exactly one object on one line."""
        assert self.stdout.count("\n") == 1, self.stdout
        return json.loads(self.stdout)


def environment(**changes):
    """Return an environment without settings of the machine, with these changes."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOCHE_", "EXEC_")) or name == "CLOCHE_CACHE_DIR"
    }
    return {**kept, "COLUMNS": "140", "NO_COLOR": "1", **changes}


def cloche(*arguments, cwd=None, stdin=b"", env=None, start=START):
    """Run the command line to its end."""
    done = subprocess.run(
        [*start, *arguments],
        cwd=cwd,
        input=stdin,
        env=environment(**(env or {})),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Done(
        exit_code=done.returncode,
        stdout=done.stdout.decode(errors="replace"),
        stderr=done.stderr.decode(errors="replace"),
    )

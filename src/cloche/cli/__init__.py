"""The command line. One file per command group; heavy imports wait inside the commands.

Exit codes: the guest's own; 124 time limit, 137 memory limit; 2 for what the caller got wrong; 1
for everything else. `cloche arch check` has its own, see `arch`.
"""

from __future__ import annotations

from cloche.cli.app import main

__all__ = ["main"]

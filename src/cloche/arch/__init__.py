"""The architecture contract of a project and its checker.

A contract is four JSON documents in `arch/`: which nodes there are and what each may import, which
rules hold between kinds of nodes, what is public, and the budgets. `check_project` compares it with
the real modules and tells every difference; `init_project` writes a first contract.

The judgement (`check.py`, `rules/`, `graph.py`, `jsonpatch.py`, `source.py`, `starter.py`) is pure;
files and grimp are in `adapters/`; `service.py` joins them. Nothing of a checked project is
imported or run. The checker depends on `cloche.limits` and `cloche.errors` alone.
"""

from __future__ import annotations

from cloche.arch.errors import (
    ArchError,
    DocumentInvalidError,
    FileAccessError,
    PatchFailedError,
    ProjectInvalidError,
    ToolBudgetExceededError,
)
from cloche.arch.findings import CATALOGUE, Finding
from cloche.arch.jsonpatch import Operation, Patch
from cloche.arch.report import Report, Stats
from cloche.arch.service import check_project, init_project
from cloche.arch.starter import InitReport

__all__ = [
    "CATALOGUE",
    "ArchError",
    "DocumentInvalidError",
    "FileAccessError",
    "Finding",
    "InitReport",
    "Operation",
    "Patch",
    "PatchFailedError",
    "ProjectInvalidError",
    "Report",
    "Stats",
    "ToolBudgetExceededError",
    "check_project",
    "init_project",
]

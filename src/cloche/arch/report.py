"""What a check found, as a value, as JSON and as lines of text.

The JSON form is canonical: sorted keys, two spaces, UTF-8, one newline at the end. Two checks of
one project give the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloche.arch.findings import CATALOGUE, Finding
from cloche.arch.jsonpatch import Patch, combine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.errors import ClocheError

REPORT_VERSION = "arch.report@0.1.0"
EXIT_OK = 0
EXIT_FINDINGS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How large the checked project is."""

    module_count: int
    node_count: int
    module_edge_count: int
    node_edge_count: int

    def to_document(self) -> dict[str, int]:
        """Return the counts as JSON-ready data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a check. `written` names the documents that `--write` changed before it."""

    stats: Stats
    findings: tuple[Finding, ...]
    written: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """True if nothing worse than a warning was found."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 if the contract holds, 2 if not."""
        return EXIT_OK if self.is_ok else EXIT_FINDINGS

    def patches(self) -> tuple[Patch, ...]:
        """Return what every finding suggests, one patch for each document."""
        return combine(finding.patch for finding in self.findings if finding.patch is not None)

    def to_document(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "schema_version": REPORT_VERSION,
            "status": "ok" if self.is_ok else "fail",
            "stats": self.stats.to_document(),
            "findings": [finding.to_document() for finding in self.findings],
            "suggested_patches": [patch.to_document() for patch in self.patches()],
            "written": list(self.written),
        }

    def summary(self) -> str:
        """Return the last line of the text form."""
        warnings = sum(finding.severity == "warning" for finding in self.findings)
        errors = len(self.findings) - warnings
        if self.is_ok:
            return "ARCH_CONTRACT_OK"
        noted = f" ({_count(warnings, 'warning')})" if warnings else ""
        return f"ARCH_CONTRACT_FAIL: {_count(errors, 'finding')}{noted}"

    def lines(self) -> Iterator[str]:
        """Yield the text form: a line per finding with its advice, then the summary."""
        for finding in self.findings:
            yield f"{place_of(finding)}{finding.severity} {finding.code}: {finding.message}"
            yield f"    {CATALOGUE[finding.code].advice}"
        yield self.summary()


def error_document(error: ClocheError) -> dict[str, Any]:
    """Return the report of a check that could not be made."""
    return {"schema_version": REPORT_VERSION, "status": "error", "error": error.to_document()}


def to_canonical_json(document: Any) -> str:
    """Return the one JSON text of a value: sorted keys, two spaces, newline at the end."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def place_of(finding: Finding) -> str:
    """Return `path:line: `, as much of it as is known."""
    line = f":{finding.line}" if finding.line else ""
    return f"{finding.path}{line}: " if finding.path else ""


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

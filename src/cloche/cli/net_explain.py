"""What `cloche net test` prints: see `egress.adapters.explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.cli.output import table

if TYPE_CHECKING:
    from cloche.egress.adapters.explain import Verdict


def print_explanation(verdict: Verdict) -> None:
    """Print a verdict for people."""
    word = "allowed" if verdict["allowed"] else f"refused with {verdict['code']}"
    rows = [[step["rule"], step["says"]] for step in verdict["steps"]]
    limits = verdict.get("limits")
    if limits is not None:
        rows.append(["limits", ", ".join(f"{name} {value}" for name, value in limits.items())])
    table(f"{verdict['method']} {verdict['url']}: {word}", ["rule", "says"], rows)

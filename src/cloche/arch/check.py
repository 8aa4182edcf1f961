"""The judgement: contract and facts in, report out.

Pure. Every rule runs on every project, whatever the others found, so one check tells everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.arch.errors import ToolBudgetExceededError
from cloche.arch.findings import Finding, sort_findings
from cloche.arch.report import Report, Stats
from cloche.arch.rules.apis import check_apis
from cloche.arch.rules.budgets import check_budgets
from cloche.arch.rules.imports import check_imports
from cloche.arch.rules.structure import check_structure
from cloche.arch.rules.worlds import check_worlds
from cloche.arch.subject import Subject, join_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.arch.documents import Documents
    from cloche.arch.facts import ProjectFacts

RULES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_structure,
    check_imports,
    check_worlds,
    check_apis,
    check_budgets,
)


def judge(
    documents: Documents, facts: ProjectFacts, *, edge_count_max: int, finding_count_max: int
) -> Report:
    """Return the report on a project.

    Raises:
        ToolBudgetExceededError: too many edges (of modules and declared ones) or findings.
    """
    subject = join_subject(documents, facts)
    declared_count = sum(len(node.imports) for node in documents.graph.modules)
    _limit("edge_count_max", edge_count_max, len(facts.edges) + declared_count, "imports")
    findings: list[Finding] = []
    for rule in RULES:
        for finding in rule(subject):
            findings.append(finding)
            _limit("finding_count_max", finding_count_max, len(findings), "findings")
    stats = Stats(
        module_count=len(facts.module_names()),
        node_count=len(documents.graph.modules),
        module_edge_count=len(facts.edges),
        node_edge_count=len(subject.pairs),
    )
    return Report(stats=stats, findings=sort_findings(findings))


def _limit(limit: str, limit_value: int, found: int, subject: str) -> None:
    if found > limit_value:
        raise ToolBudgetExceededError(
            limit=limit, limit_value=limit_value, found=found, subject=subject
        )

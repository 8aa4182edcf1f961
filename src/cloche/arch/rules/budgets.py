"""Are the budgets named, do overrides meet a node, and do the modules keep what can be counted?

Two budgets are counted in the text: `max_module_lines` and `max_function_lines`. Every other name
is a ceiling for what runs, and is measured where it runs; here it only has to be consistent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.arch.documents import DOCUMENT_PATHS
from cloche.arch.findings import Finding
from cloche.arch.jsonpatch import remove_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.arch.subject import Subject

_BUDGETS = DOCUMENT_PATHS["budgets"]


def check_budgets(subject: Subject) -> Iterator[Finding]:
    """Yield every inconsistent override and every module over its budget."""
    yield from _check_overrides(subject)
    yield from _check_sizes(subject)


def _check_overrides(subject: Subject) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, override in enumerate(subject.documents.budgets.overrides):
        node_id = override.module
        if node_id not in subject.nodes:
            yield Finding(
                code="E_ARCH_BUDGET_MODULE_UNKNOWN",
                message=f"a budget override names {node_id}, which is no node",
                node_from=node_id,
                path=_BUDGETS,
                patch=remove_item(_BUDGETS, "overrides", index, value=node_id, tested="/module"),
            )
        if node_id in seen:
            yield Finding(
                code="E_ARCH_BUDGET_DUPLICATE",
                message=f"{node_id} has more than one budget override",
                node_from=node_id,
                path=_BUDGETS,
            )
        seen.add(node_id)
        for name, value in sorted(override.budgets.items()):
            if name not in subject.documents.budgets.defaults:
                yield Finding(
                    code="E_ARCH_BUDGET_UNKNOWN",
                    message=f"the override of {node_id} names {name}, which defaults do not have",
                    node_from=node_id,
                    imported=name,
                    path=_BUDGETS,
                    patch=remove_item(_BUDGETS, "overrides", index, name, value=value),
                )


def budget_of(subject: Subject, node_id: str, name: str) -> float | None:
    """Return a budget of a node: its override, else the default, else None."""
    for override in subject.documents.budgets.overrides:
        if override.module == node_id and name in override.budgets:
            return override.budgets[name]
    return subject.documents.budgets.defaults.get(name)


def _check_sizes(subject: Subject) -> Iterator[Finding]:
    for node, module in subject.owned_modules():
        line_limit = budget_of(subject, node.id, "max_module_lines")
        if line_limit is not None and module.line_count > line_limit:
            yield Finding(
                code="E_ARCH_BUDGET_EXCEEDED",
                message=f"{module.name} has {module.line_count} lines; "
                f"max_module_lines of {node.id} is {line_limit:g}",
                node_from=node.id,
                module=module.name,
                path=module.path,
            )
        function_limit = budget_of(subject, node.id, "max_function_lines")
        for function in module.functions:
            if function_limit is not None and function.line_count > function_limit:
                yield Finding(
                    code="E_ARCH_BUDGET_EXCEEDED",
                    message=f"{module.name}.{function.name} has {function.line_count} lines; "
                    f"max_function_lines of {node.id} is {function_limit:g}",
                    node_from=node.id,
                    module=module.name,
                    path=module.path,
                    line=function.line,
                )

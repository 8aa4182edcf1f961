"""One planted difference per code of `rules/budgets.py`."""

from arch.support import Project


def test_an_override_of_a_budget_without_a_default_is_found(project: Project):
    """E_ARCH_BUDGET_UNKNOWN: defaults are where a budget gets its name."""
    project.documents["budgets"]["overrides"] = [
        {"module": "shop.core", "max_module_lines": 9, "max_wishes": 3}
    ]
    assert project.messages("E_ARCH_BUDGET_UNKNOWN") == [
        "the override of shop.core names max_wishes, which defaults do not have"
    ]
    assert project.check(write=True).findings == ()


def test_an_override_of_no_node_is_found(project: Project):
    """E_ARCH_BUDGET_MODULE_UNKNOWN, and its patch removes the override."""
    project.documents["budgets"]["overrides"] = [{"module": "core.http", "max_module_lines": 9}]
    assert project.messages("E_ARCH_BUDGET_MODULE_UNKNOWN") == [
        "a budget override names core.http, which is no node"
    ]
    assert project.check(write=True).findings == ()
    assert project.load("budgets")["overrides"] == []


def test_two_overrides_of_one_node_are_found(project: Project):
    """E_ARCH_BUDGET_DUPLICATE: which one would hold?"""
    project.documents["budgets"]["overrides"] = [
        {"module": "shop.core", "max_module_lines": 90},
        {"module": "shop.core", "max_module_lines": 91},
    ]
    assert project.messages("E_ARCH_BUDGET_DUPLICATE") == [
        "shop.core has more than one budget override"
    ]


def test_a_module_over_its_budget_is_found(project: Project):
    """E_ARCH_BUDGET_EXCEEDED counts lines of modules and of functions, by node."""
    project.documents["budgets"]["defaults"] = {"max_module_lines": 7, "max_function_lines": 2}
    project.documents["budgets"]["overrides"] = [{"module": "shop.app", "max_module_lines": 6}]
    project.append("src/shop/ports.py", "    def long(self):\n        x = 1\n\n        return x\n")
    assert project.messages("E_ARCH_BUDGET_EXCEEDED") == [
        "shop.app has 7 lines; max_module_lines of shop.app is 6",
        "shop.adapters.disk has 8 lines; max_module_lines of shop.disk is 7",
        "shop.ports has 10 lines; max_module_lines of shop.ports is 7",
        "shop.ports.Store.long has 4 lines; max_function_lines of shop.ports is 2",
    ]


def test_a_budget_at_its_ceiling_holds(project: Project):
    """A ceiling is the last value that is allowed."""
    project.documents["budgets"]["defaults"] = {"max_module_lines": 8, "max_function_lines": 2}
    assert project.codes() == []

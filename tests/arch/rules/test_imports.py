"""One planted difference per code of `rules/imports.py`."""

from arch.support import Project, api, node


def test_an_import_that_is_not_declared_is_found(project: Project):
    """E_ARCH_IMPORT_UNDECLARED names file and line, and its patch declares the edge."""
    project.append("src/shop/app.py", "import shop.ports\n")
    report = project.check()
    assert [finding.code for finding in report.findings] == ["E_ARCH_IMPORT_UNDECLARED"]
    finding = report.findings[0]
    assert finding.message == "shop.app imports shop.ports without declaring it"
    assert (finding.path, finding.line) == ("src/shop/app.py", 8)
    assert (finding.module, finding.imported) == ("shop.app", "shop.ports")
    assert project.check(write=True).findings == ()
    assert project.load("graph")["modules"][5]["imports"][-1] == "shop.ports"


def test_an_edge_that_the_rules_forbid_gets_no_patch(project: Project):
    """What kinds may not do is not suggested as a declaration."""
    project.append("src/shop/core.py", "import shop.adapters.memory\n")
    report = project.check()
    undeclared = [item for item in report.findings if item.code == "E_ARCH_IMPORT_UNDECLARED"]
    assert [item.patch for item in undeclared] == [None]


def test_an_import_that_the_code_does_not_have_is_found(project: Project):
    """E_ARCH_IMPORT_UNUSED: the graph is the truth only if it promises nothing unreal."""
    project.node("shop.app")["imports"].append("shop.ports")
    assert project.messages("E_ARCH_IMPORT_UNUSED") == [
        "shop.app declares shop.ports, and none of its modules imports it"
    ]
    assert project.check(write=True).findings == ()


def test_a_node_that_declares_itself_is_found(project: Project):
    """E_ARCH_IMPORT_UNUSED: an edge from a node to itself says nothing."""
    project.node("shop.app")["imports"].append("shop.app")
    assert project.messages("E_ARCH_IMPORT_UNUSED") == ["shop.app declares an import of itself"]


def test_a_declared_import_of_no_node_is_found(project: Project):
    """E_ARCH_IMPORT_UNKNOWN names the id, and its patch removes it."""
    project.node("shop.core")["imports"].append("shop.time")
    assert project.messages("E_ARCH_IMPORT_UNKNOWN") == [
        "shop.core declares shop.time, which is no node"
    ]
    assert project.check(write=True).findings == ()


def test_an_import_of_an_excluded_module_is_found(project: Project):
    """E_ARCH_IMPORT_EXCLUDED: what is no part of the program cannot be relied on."""
    project.write("src/shop/guests/prelude.py", "x = 1\n")
    project.documents["graph"]["exclude"] = [{"prefix": "shop.guests", "reason": "not ours"}]
    project.append("src/shop/app.py", "from shop.guests import prelude\n")
    assert project.messages("E_ARCH_IMPORT_EXCLUDED") == [
        "shop.app imports shop.guests.prelude, which arch/graph.json excludes"
    ]


def test_an_edge_between_kinds_that_are_not_allowed_is_found(project: Project):
    """E_ARCH_EDGE_NOT_ALLOWED holds for every edge that allowed_edges does not have."""
    edges = project.documents["rules"]["allowed_edges"]
    edges.remove({"from_kind": "core", "to_kind": "port"})
    report = project.check()
    assert [finding.code for finding in report.findings] == ["E_ARCH_EDGE_NOT_ALLOWED"]
    assert report.findings[0].message == (
        "core shop.core -> port shop.ports: allowed_edges has no core -> port"
    )
    assert report.findings[0].line == 1


def test_an_edge_between_kinds_that_is_forbidden_is_found(project: Project):
    """E_ARCH_EDGE_FORBIDDEN wins even over an edge that is also allowed."""
    rules = project.documents["rules"]
    rules["forbidden_imports"].append({"from_kind": "core", "to_kind": "port"})
    assert project.messages("E_ARCH_EDGE_FORBIDDEN") == [
        "core shop.core -> port shop.ports: forbidden_imports has core -> port"
    ]


def test_an_edge_that_is_only_declared_is_judged_as_well(project: Project):
    """A declared edge from a core to an adapter is forbidden before any code makes it."""
    project.node("shop.core")["imports"].append("shop.disk")
    assert set(project.codes()) == {
        "E_ARCH_EDGE_FORBIDDEN",
        "E_ARCH_EDGE_NOT_ALLOWED",
        "E_ARCH_IMPORT_UNUSED",
        "E_ARCH_WORLD_FORBIDDEN",
    }


def test_a_forbidden_prefix_is_found_in_every_form_of_import(project: Project):
    """E_ARCH_PREFIX_FORBIDDEN sees import, from, dotted, nested and literal dynamic imports."""
    project.append(
        "src/shop/core.py",
        "import socket as s\n"
        "import os.path\n"
        "from urllib import parse, request\n"
        "def f():\n"
        "    from time import sleep\n"
        "    __import__('random')\n",
    )
    found = [(item.line, item.imported) for item in project.check().findings]
    assert sorted(found) == [
        (8, "socket"),
        (9, "os.path"),
        (10, "urllib.request"),
        (12, "time"),
        (13, "random"),
    ]
    assert set(project.codes()) == {"E_ARCH_PREFIX_FORBIDDEN"}


def test_the_most_specific_prefix_is_named(project: Project):
    """Where two rules forbid an import, the message names the longer prefix."""
    rules = project.documents["rules"]["forbidden_module_prefixes"]
    rules.append({"from_kind": "core", "prefix": "urllib"})
    project.append("src/shop/core.py", "import urllib.request\n")
    assert project.messages("E_ARCH_PREFIX_FORBIDDEN") == [
        "core shop.core imports urllib.request; urllib.request is forbidden to core"
    ]


def test_a_forbidden_prefix_is_a_module_and_not_a_string(project: Project):
    """`os` forbids `os` and `os.path`, and lets `ostrich` pass."""
    project.append("src/shop/core.py", "import ostrich\n")
    assert project.codes() == []


def test_a_rule_may_let_a_pure_name_pass(project: Project):
    """`but` lets PurePath pass, and neither Path nor the module that holds both."""
    project.append("src/shop/core.py", "from pathlib import Path, PurePath\nimport pathlib\n")
    found = [(item.line, item.imported) for item in project.check().findings]
    assert found == [(8, "pathlib"), (9, "pathlib")]
    project.write(
        "src/shop/core.py", "from pathlib import PurePath\nfrom shop.ports import Store\n"
    )
    project.node("shop.core")["exports"] = []
    project.documents["contracts"]["public_apis"] = [api("shop.ports.Store")]
    assert project.codes() == []


def test_an_import_for_types_alone_may_name_a_forbidden_module(project: Project):
    """What only a type checker reads can do nothing in a run."""
    project.append(
        "src/shop/core.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path\n",
    )
    assert project.codes() == []


def test_an_import_for_types_alone_is_an_edge(project: Project):
    """Types couple: a core that names an adapter's type knows the adapter."""
    project.append(
        "src/shop/core.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.adapters import disk\n",
    )
    assert set(project.codes()) == {
        "E_ARCH_EDGE_FORBIDDEN",
        "E_ARCH_EDGE_NOT_ALLOWED",
        "E_ARCH_IMPORT_UNDECLARED",
    }


def test_a_confined_prefix_is_found_outside_its_nodes(project: Project):
    """E_ARCH_PREFIX_CONFINED names who may import the technology, and why."""
    project.documents["rules"]["confined_prefixes"] = [
        {"prefix": "sqlite3", "nodes": ["shop.disk"], "reason": "one place knows the database"}
    ]
    project.append("src/shop/adapters/disk.py", "import sqlite3\n")
    project.append("src/shop/app.py", "from sqlite3 import connect\n")
    project.append(
        "src/shop/ports.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sqlite3\n",
    )
    report = project.check()
    assert [finding.code for finding in report.findings] == ["E_ARCH_PREFIX_CONFINED"]
    assert report.findings[0].message == (
        "shop.app imports sqlite3, which only shop.disk may: one place knows the database"
    )


def test_a_rule_that_names_no_node_is_found(project: Project):
    """E_ARCH_RULE_NODE_UNKNOWN: a rule about nobody would hold by accident."""
    project.documents["rules"]["confined_prefixes"] = [
        {"prefix": "sqlite3", "nodes": ["shop.disk", "shop.gone"], "reason": "one place"}
    ]
    assert project.messages("E_ARCH_RULE_NODE_UNKNOWN") == [
        "the rule that confines sqlite3 names shop.gone, which is no node"
    ]
    assert project.check(write=True).findings == ()


def test_every_import_site_is_reported(project: Project):
    """Two modules that make the same edge are two findings with one patch."""
    project.node("shop.app")["match"] = {"modules": ["shop.app", "shop.app2"]}
    project.append("src/shop/app.py", "import shop.ports\n")
    project.write("src/shop/app2.py", "import shop.ports\nfrom shop.ports import Store\n")
    report = project.check()
    assert [(item.module, item.line) for item in report.findings] == [
        ("shop.app", 8),
        ("shop.app2", 1),
        ("shop.app2", 2),
    ]
    assert len(report.patches()[0].operations) == 1


def test_modules_beside_the_packages_are_judged_too(project: Project):
    """A single-file module at the top, which grimp does not read, obeys the same rules."""
    project.write("src/tool.py", "import shop.core\nimport socket\n")
    project.documents["graph"]["modules"].append(node("tool", "core", ["shop.core"]))
    assert project.messages("E_ARCH_PREFIX_FORBIDDEN") == [
        "core tool imports socket; socket is forbidden to core"
    ]

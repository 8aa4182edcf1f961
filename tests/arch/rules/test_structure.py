"""One planted difference per code of `rules/structure.py`."""

from arch.support import Project, node


def test_a_project_that_keeps_its_contract_has_no_finding(project: Project):
    """The shop itself is clean, so every finding below comes from what its test breaks."""
    report = project.check()
    assert report.findings == ()
    assert report.exit_code == 0
    assert report.stats.to_document() == {
        "module_count": 7,
        "node_count": 6,
        "module_edge_count": 6,
        "node_edge_count": 6,
    }


def test_a_file_that_is_no_python_is_found(project: Project):
    """E_ARCH_MODULE_PARSE names file and line, and the other modules are still checked."""
    project.write("src/shop/broken.py", "x = 1\ndef (\n")
    project.node("shop")["match"]["modules"].append("shop.broken")
    project.append("src/shop/core.py", "import socket\n")
    report = project.check()
    assert [finding.code for finding in report.findings] == [
        "E_ARCH_MODULE_PARSE",
        "E_ARCH_PREFIX_FORBIDDEN",
    ]
    parse = report.findings[0]
    assert (parse.path, parse.line, parse.node_from) == ("src/shop/broken.py", 2, "shop")
    assert parse.message == "shop.broken cannot be read: SyntaxError: invalid syntax"


def test_a_module_that_no_node_claims_is_found(project: Project):
    """E_ARCH_MODULE_ORPHAN suggests a node with the real imports of the module."""
    project.write("src/shop/extra.py", "from shop.core import price\n")
    report = project.check()
    assert [finding.code for finding in report.findings] == ["E_ARCH_MODULE_ORPHAN"]
    assert report.findings[0].message == "shop.extra is claimed by no node"
    assert report.patches()[0].operations[0].value == node(
        "shop.extra", "core", ["shop.core"], match={"modules": ["shop.extra"]}
    )


def test_two_nodes_that_claim_a_module_in_the_same_words_are_found(project: Project):
    """E_ARCH_MODULE_OVERLAP names both nodes; a more specific claim is no overlap."""
    project.node("shop.core")["match"] = {"prefixes": ["shop.core", "shop.app"]}
    assert project.messages("E_ARCH_MODULE_OVERLAP") == [
        "shop.app is claimed by shop.core, shop.app"
    ]


def test_the_most_specific_claim_wins(project: Project):
    """An exact name wins over a prefix and a longer prefix over a shorter one."""
    project.node("shop")["match"] = {"prefixes": ["shop"]}
    assert project.codes() == []


def test_modules_in_a_circle_are_a_warning(project: Project):
    """E_ARCH_MODULE_CYCLE shows the way round and does not fail the check inside one node."""
    project.write("src/shop/core/__init__.py", (project.root / "src/shop/core.py").read_text())
    (project.root / "src/shop/core.py").unlink()
    project.write("src/shop/core/a.py", "from shop.core import b\n")
    project.write("src/shop/core/b.py", "from shop.core.a import x\n")
    report = project.check()
    assert [(finding.code, finding.severity) for finding in report.findings] == [
        ("E_ARCH_MODULE_CYCLE", "warning")
    ]
    assert report.findings[0].message == (
        "modules in a circle: shop.core.a -> shop.core.b -> shop.core.a"
    )
    assert report.exit_code == 0


def test_a_circle_that_no_import_meets_is_none(project: Project):
    """Imports for types, in functions and under the main guard close no circle of modules."""
    project.node("shop.core")["match"] = {"prefixes": ["shop.core", "shop.a", "shop.b"]}
    project.write("src/shop/a.py", "import shop.b\n")
    project.write(
        "src/shop/b.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import shop.a\n"
        "def f():\n    import shop.a\n"
        "if __name__ == '__main__':\n    import shop.a\n",
    )
    assert project.codes() == []


def test_an_id_that_stands_twice_is_found(project: Project):
    """E_ARCH_NODE_DUPLICATE names the id and how often it stands there."""
    project.documents["graph"]["modules"].append(
        node("shop.app", "app", [], match={"modules": ["shop"]})
    )
    assert project.messages("E_ARCH_NODE_DUPLICATE") == [
        "node id shop.app stands 2 times in arch/graph.json"
    ]


def test_a_patch_goes_to_the_first_of_two_equal_ids(project: Project):
    """Until the ids are told apart, the first node is the one that is judged."""
    project.documents["graph"]["modules"].append(
        node("shop.app", "core", [], match={"modules": ["shop"]})
    )
    project.append("src/shop/app.py", "import shop.ports\n")
    declared = [
        finding.patch.operations[0].path
        for finding in project.check().findings
        if finding.code == "E_ARCH_IMPORT_UNDECLARED" and finding.module == "shop.app"
    ]
    assert declared == ["/modules/5/imports/-"]


def test_a_node_that_matches_nothing_is_found(project: Project):
    """E_ARCH_NODE_EMPTY suggests to remove the node, and one claim alone where others hold."""
    project.documents["graph"]["modules"].append(node("ghost", "core", []))
    project.node("shop")["match"]["modules"].append("shop.gone")
    report = project.check(write=True)
    assert report.written == ("arch/graph.json",)
    assert report.findings == ()
    ids = [item["id"] for item in project.load("graph")["modules"]]
    assert "ghost" not in ids
    assert project.load("graph")["modules"][0]["match"] == {"modules": ["shop", "shop.adapters"]}


def test_nodes_in_a_circle_are_found(project: Project):
    """E_ARCH_NODE_CYCLE shows the way round, also where the code is split over modules."""
    project.append("src/shop/ports.py", "import shop.core\n")
    project.node("shop.ports")["imports"] = ["shop.core"]
    assert project.messages("E_ARCH_NODE_CYCLE") == [
        "nodes in a circle: shop.core -> shop.ports -> shop.core"
    ]


def test_an_exclusion_that_matches_nothing_is_found(project: Project):
    """E_ARCH_EXCLUDE_EMPTY is a warning, and its patch removes the exclusion."""
    project.documents["graph"]["exclude"] = [{"prefix": "shop.guests", "reason": "not ours"}]
    report = project.check(write=True)
    assert report.written == ("arch/graph.json",)
    assert report.findings == ()


def test_an_excluded_module_needs_no_node(project: Project):
    """What is excluded with a reason is no orphan, even if it is no Python of ours."""
    project.write("src/shop/guests/prelude.py", "def (\n")
    project.documents["graph"]["exclude"] = [{"prefix": "shop.guests", "reason": "not ours"}]
    assert project.codes() == []


def test_a_missing_file_of_the_contract_is_found(project: Project):
    """E_ARCH_FILE_MISSING: AGENTS.md and the words of the contract belong to it."""
    (project.root / "AGENTS.md").unlink()
    project.write("docs/architecture/contract-v1.md", " \n")
    assert project.messages("E_ARCH_FILE_MISSING") == [
        "AGENTS.md is missing",
        "docs/architecture/contract-v1.md is empty",
    ]


def test_a_copy_of_a_schema_that_differs_is_found_and_restored(project: Project):
    """E_ARCH_SCHEMA_DRIFT: the checker's schema judges, and --write puts it back."""
    project.write("schemas/arch.graph.schema.json", '{"type": "object"}')
    (project.root / "schemas/arch.rules.schema.json").unlink()
    assert project.messages("E_ARCH_SCHEMA_DRIFT") == [
        "schemas/arch.graph.schema.json is not the schema that the checker uses",
        "schemas/arch.rules.schema.json is missing",
    ]
    assert project.check(write=True).findings == ()

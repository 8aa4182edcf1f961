"""The weaknesses of the contract's reference sketch, each of which must be absent here."""

import json

from arch.support import ALL_WORLDS, REAL_WORLDS, Project, api, node

SKETCH_RULES = {
    "schema_version": "arch.rules@0.1.0",
    "forbidden_imports": [
        {"from_kind": "core", "to_kind": "adapter-fixture"},
        {"from_kind": "core", "to_kind": "adapter-os"},
    ],
    "forbidden_module_prefixes": [
        {"from_kind": "core", "prefix": "std.os."},
        {"from_kind": "core", "prefix": "ext.os."},
    ],
    "allowed_edges": [
        {"from_kind": "core", "to_kind": "port"},
        {"from_kind": "adapter-fixture", "to_kind": "port"},
        {"from_kind": "adapter-os", "to_kind": "port"},
        {"from_kind": "app", "to_kind": "core"},
        {"from_kind": "app", "to_kind": "adapter-fixture"},
        {"from_kind": "app", "to_kind": "adapter-os"},
    ],
}
SKETCH_BUDGETS = {
    "schema_version": "arch.budgets@0.1.0",
    "defaults": {
        "max_memcpy_bytes_factor": 2.0,
        "max_realloc_calls": 5,
        "max_peak_live_bytes_factor": 4.0,
    },
    "overrides": [
        {
            "module": "shop.core",
            "max_memcpy_bytes_factor": 1.2,
            "max_realloc_calls": 1,
            "max_peak_live_bytes_factor": 2.0,
        }
    ],
}


def test_01_the_starter_passes_its_own_check(project: Project):
    """1: the sample imports a node that is not there; what `init` writes passes at once."""
    assert project.check().findings == ()
    project.node("shop.core")["imports"].append("port.time")
    assert project.codes() == ["E_ARCH_IMPORT_UNKNOWN"]


def test_02_a_forbidden_prefix_is_not_reported_as_an_unknown_module(project: Project):
    """2: the unknown-module check hides the prefix rule; here the prefix rule comes first."""
    project.documents["rules"] = json.loads(json.dumps(SKETCH_RULES))
    project.node("shop.core")["imports"].append("std.os.fs")
    assert project.codes() == ["E_ARCH_PREFIX_FORBIDDEN"]


def test_03_prefix_rules_hold_for_the_kind_they_name(project: Project):
    """3: prefixes are checked for core alone; here `from_kind` decides."""
    project.documents["rules"]["forbidden_module_prefixes"] = [
        {"from_kind": "adapter-os", "prefix": "os"}
    ]
    project.append("src/shop/core.py", "import os\n")
    assert project.messages("E_ARCH_PREFIX_FORBIDDEN") == [
        "adapter-os shop.disk imports os; os is forbidden to adapter-os"
    ]


def test_04_allowed_edges_are_enforced(project: Project):
    """4: allowed_edges is never read; here an edge that it lacks is found."""
    project.documents["rules"] = json.loads(json.dumps(SKETCH_RULES))
    assert project.codes() == []
    project.append("src/shop/app.py", "import shop.ports\n")
    project.node("shop.app")["imports"].append("shop.ports")
    assert project.codes() == ["E_ARCH_EDGE_NOT_ALLOWED"]


def test_04_the_starter_allows_what_a_program_needs(project: Project):
    """4: the sample list lacks core to core, adapter to core, app to port, port to port."""
    edges = {(e["from_kind"], e["to_kind"]) for e in project.documents["rules"]["allowed_edges"]}
    assert {
        ("core", "core"),
        ("adapter-os", "core"),
        ("adapter-fixture", "core"),
        ("app", "port"),
        ("port", "port"),
    } <= edges


def test_05_budgets_are_used(project: Project):
    """5: budgets are loaded and forgotten; here names, nodes and ceilings are checked."""
    project.documents["budgets"] = json.loads(json.dumps(SKETCH_BUDGETS))
    assert project.codes() == []
    project.documents["budgets"]["defaults"]["max_module_lines"] = 2
    del project.documents["budgets"]["defaults"]["max_realloc_calls"]
    project.documents["budgets"]["overrides"].append({"module": "gone", "max_module_lines": 1})
    assert set(project.codes()) == {
        "E_ARCH_BUDGET_EXCEEDED",
        "E_ARCH_BUDGET_MODULE_UNKNOWN",
        "E_ARCH_BUDGET_UNKNOWN",
    }


def test_07_the_errors_document_is_checked(project: Project):
    """7: only the encoding document is looked at; here both are."""
    (project.root / "docs/architecture/encodings/errors.md").unlink()
    assert set(project.codes()) == {"E_ARCH_API_ERRORS_DOC_MISSING"}


def test_08_exports_of_core_and_port_need_a_contract(project: Project):
    """8: an export may be in no contract; here a core's and a port's may not."""
    project.documents["contracts"]["public_apis"] = []
    assert project.messages("E_ARCH_EXPORT_UNCONTRACTED") == [
        "core shop.core exports shop.core.price without a contract",
        "port shop.ports exports shop.ports.Store without a contract",
    ]


def test_09_worlds_are_compared(project: Project):
    """9: an app may claim a world in which an adapter it binds does not exist."""
    app = project.root / "src/shop/app.py"
    app.write_text("from shop.adapters.disk import DiskStore\nfrom shop.core import price\n")
    project.node("shop.app")["imports"] = ["shop.core", "shop.disk"]
    assert project.codes() == ["E_ARCH_WORLD_UNBOUND"]
    project.node("shop.app")["worlds_allowed"] = REAL_WORLDS
    assert project.codes() == []


def test_10_circles_duplicates_and_the_real_code_are_checked(project: Project):
    """10: no look for circles or equal ids, and none at the code."""
    project.node("shop.ports")["imports"] = ["shop.core"]
    project.append("src/shop/ports.py", "def late():\n    import shop.core\n")
    project.append("src/shop/app.py", "import shop.ports\n")
    project.documents["graph"]["modules"].append(
        node("shop.app", "app", ["shop.core"], match={"modules": ["shop.app"]})
    )
    assert {"E_ARCH_NODE_CYCLE", "E_ARCH_NODE_DUPLICATE", "E_ARCH_IMPORT_UNDECLARED"} <= set(
        project.codes()
    )


def test_11_every_difference_is_reported_with_a_patch_where_one_is_safe(project: Project):
    """11: the sketch stops at the first difference; here all come at once, with patches."""
    project.node("shop.core")["imports"].append("gone")
    project.node("shop.app")["exports"].append("shop.app.gone")
    project.append("src/shop/core.py", "import socket\n")
    project.append("src/shop/app.py", "import shop.ports\n")
    project.documents["contracts"]["public_apis"].append(api("shop.gone"))
    report = project.check()
    assert [finding.code for finding in report.findings] == [
        "E_ARCH_API_UNKNOWN",
        "E_ARCH_EXPORT_UNKNOWN",
        "E_ARCH_IMPORT_UNDECLARED",
        "E_ARCH_IMPORT_UNKNOWN",
        "E_ARCH_PREFIX_FORBIDDEN",
    ]
    assert [operation.op for operation in report.patches()[0].operations] == [
        "add",
        "test",
        "remove",
        "test",
        "remove",
    ]


def test_the_sketch_of_a_graph_is_still_a_valid_document(project: Project):
    """The pinned shape, without our optional fields, is read and judged."""
    project.documents["graph"]["modules"] = [
        {
            "id": "shop",
            "kind": "app",
            "worlds_allowed": ALL_WORLDS,
            "imports": [],
            "exports": ["shop.core.price", "shop.ports.Store"],
        }
    ]
    assert project.codes() == []

"""The forms of a report."""

import json
import random

from arch.support import Project
from cloche.arch.errors import ProjectInvalidError
from cloche.arch.findings import CATALOGUE, Finding, sort_findings
from cloche.arch.report import error_document, to_canonical_json


def test_findings_have_one_order_and_come_once():
    """Severity, code, nodes, module, import, message decide; the order of discovery does not."""
    expected = [
        Finding(code="E_ARCH_API_UNKNOWN", message="z", node_from="z"),
        Finding(code="E_ARCH_NODE_EMPTY", message="a", node_from="a"),
        Finding(code="E_ARCH_NODE_EMPTY", message="a", node_from="a", node_to="b"),
        Finding(code="E_ARCH_NODE_EMPTY", message="a", node_from="b", module="a"),
        Finding(code="E_ARCH_NODE_EMPTY", message="a", node_from="b", module="b"),
        Finding(code="E_ARCH_NODE_EMPTY", message="z", node_from="b", module="b", imported="w"),
        Finding(code="E_ARCH_NODE_EMPTY", message="a", node_from="b", module="b", imported="x"),
        Finding(code="E_ARCH_NODE_EMPTY", message="b", node_from="b", module="b", imported="x"),
        Finding(code="E_ARCH_EXCLUDE_EMPTY", message="a"),
    ]
    for seed in range(20):
        shuffled = expected * 2
        random.Random(seed).shuffle(shuffled)
        assert sort_findings(shuffled) == tuple(expected)


def test_the_json_form_is_canonical_and_stable(project: Project):
    """Sorted keys, two spaces, one newline; a second check gives the same bytes."""
    project.node("shop.app")["imports"].append("gone")
    text = to_canonical_json(project.check().to_document())
    assert text == to_canonical_json(project.check().to_document())
    document = json.loads(text)
    assert text == json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert document["schema_version"] == "arch.report@0.1.0"
    assert document["status"] == "fail"
    assert document["findings"] == [
        {
            "code": "E_ARCH_IMPORT_UNKNOWN",
            "severity": "error",
            "message": "shop.app declares gone, which is no node",
            "advice": "correct the id or remove it",
            "node_from": "shop.app",
            "node_to": "",
            "module": "",
            "import": "gone",
            "path": "arch/graph.json",
            "line": 0,
            "patch": document["suggested_patches"][0],
        }
    ]
    assert document["suggested_patches"] == [
        {
            "document": "arch/graph.json",
            "operations": [
                {"op": "test", "path": "/modules/5/imports/3", "value": "gone"},
                {"op": "remove", "path": "/modules/5/imports/3"},
            ],
        }
    ]


def test_the_text_form_ends_with_the_verdict(project: Project):
    """One line for what and where, one for what to do, then the verdict."""
    assert list(project.check().lines()) == ["ARCH_CONTRACT_OK"]
    project.append("src/shop/core.py", "import socket\n")
    project.documents["contracts"]["internal"] = [{"prefix": "gone", "reason": "was"}]
    assert list(project.check().lines()) == [
        (
            "src/shop/core.py:8: error E_ARCH_PREFIX_FORBIDDEN: "
            "core shop.core imports socket; socket is forbidden to core"
        ),
        f"    {CATALOGUE['E_ARCH_PREFIX_FORBIDDEN'].advice}",
        (
            "arch/contracts.json: warning E_ARCH_INTERNAL_UNUSED: "
            "the internal prefix gone covers no module and no symbol"
        ),
        "    remove it from arch/contracts.json",
        "ARCH_CONTRACT_FAIL: 1 finding (1 warning)",
    ]


def test_an_error_has_a_json_form_too():
    """What could not be checked says so in the same envelope."""
    error = ProjectInvalidError(path="x", reason="it does not exist", advice="Give a directory")
    assert error_document(error) == {
        "schema_version": "arch.report@0.1.0",
        "status": "error",
        "error": {
            "code": "ARCH_PROJECT_INVALID",
            "message": "x: it does not exist. Give a directory.",
            "blame": "caller",
            "retryable": False,
            "fields": {"path": "x", "reason": "it does not exist"},
        },
    }


def test_codes_are_well_formed_and_all_are_planted(request):
    """Every code has a test in this room that names it."""
    texts = [path.read_text() for path in request.path.parent.rglob("test_*.py")]
    for code, kind in CATALOGUE.items():
        assert code.startswith("E_ARCH_")
        assert kind.title
        assert kind.advice
        assert any(code in text for text in texts), code

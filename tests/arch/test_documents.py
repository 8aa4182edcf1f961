"""Reading, validating and writing the documents (defect 6: schemas that nobody uses)."""

import copy
import json
import stat

import pytest
from jsonschema import Draft202012Validator

from arch.support import Project
from cloche.arch.adapters.documents import packaged_schemas, write_text
from cloche.arch.errors import DocumentInvalidError, ToolBudgetExceededError


def refusal(project: Project) -> tuple[str, str, str]:
    """Check a project that must be refused and return where and why."""
    with pytest.raises(DocumentInvalidError) as caught:
        project.check()
    assert caught.value.exit_code == 3
    return caught.value.document, caught.value.pointer, caught.value.reason


def test_the_schemas_are_strict_json_schema_2020_12():
    """Every object of every schema says what it requires and refuses what it does not know."""

    def walk(schema):
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                assert schema["additionalProperties"] is False
                assert "required" in schema or "patternProperties" in schema
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    assert len(packaged_schemas()) == 4
    for schema in packaged_schemas().values():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        walk(schema)


@pytest.mark.parametrize(
    ("name", "change", "pointer", "reason"),
    [
        (
            "graph",
            lambda d: d.update(extra=1),
            "",
            "Additional properties are not allowed ('extra' was unexpected)",
        ),
        ("graph", lambda d: d.pop("modules"), "", "'modules' is a required property"),
        (
            "graph",
            lambda d: d.update(schema_version="arch.graph@0.2.0"),
            "/schema_version",
            "'arch.graph@0.1.0' was expected",
        ),
        (
            "graph",
            lambda d: d["modules"][0].update(id="Shop"),
            "/modules/0/id",
            "'Shop' does not match '^[a-z0-9_.-]+$'",
        ),
        (
            "graph",
            lambda d: d["modules"][1].update(kind="adapter"),
            "/modules/1/kind",
            "'adapter' is not one of ['core', 'port', 'adapter-fixture', 'adapter-os', 'app']",
        ),
        (
            "graph",
            lambda d: d["modules"][1].update(worlds_allowed=["moon"]),
            "/modules/1/worlds_allowed/0",
            "'moon' is not one of ['fixture', 'run-os', 'run-os-sandboxed']",
        ),
        ("rules", lambda d: d.pop("allowed_edges"), "", "'allowed_edges' is a required property"),
        (
            "contracts",
            lambda d: d["public_apis"][0].pop("errors_doc"),
            "/public_apis/0",
            "'errors_doc' is a required property",
        ),
        (
            "budgets",
            lambda d: d["defaults"].update(max_wishes="many"),
            "/defaults/max_wishes",
            "'many' is not of type 'number'",
        ),
    ],
)
def test_a_document_that_does_not_fit_its_schema_is_refused(
    project: Project, name, change, pointer, reason
):
    """6: the schemas judge; the place and the reason are named."""
    change(project.documents[name])
    assert refusal(project) == (f"arch/{name}.json", pointer, reason)


@pytest.mark.parametrize("path", ["../x.md", "/etc/passwd", "a/../../x", "a\\b"])
def test_a_path_out_of_the_project_is_refused(project: Project, path):
    """A contract names files of its project alone."""
    project.documents["contracts"]["public_apis"][0]["encoding_doc"] = path
    assert refusal(project)[1] == "/public_apis/0/encoding_doc"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "Expecting property name enclosed in double quotes"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"\xff", "can't decode byte 0xff"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_document_that_is_no_json_is_refused(project: Project, text, reason):
    """Broken, ambiguous, not UTF-8 and too deep are all unreadable, not a crash."""
    project.save()
    (project.root / "arch/rules.json").write_bytes(text)
    del project.documents["rules"]
    document, _, found = refusal(project)
    assert document == "arch/rules.json"
    assert reason in found


def test_a_missing_document_is_refused(project: Project):
    """All four documents belong to a contract."""
    del project.documents["budgets"]
    (project.root / "arch/budgets.json").unlink()
    assert refusal(project) == ("arch/budgets.json", "", "No such file or directory")


def test_more_problems_are_counted(project: Project):
    """The first place is shown, and how many more there are."""
    for item in project.documents["graph"]["modules"]:
        item["kind"] = "x"
    assert refusal(project)[2].endswith("(and 5 more)")


def test_a_weaker_copy_of_a_schema_does_not_judge(project: Project):
    """The schema in the project is a copy for people and editors."""
    project.write("schemas/arch.graph.schema.json", "{}")
    project.documents["graph"]["extra"] = 1
    assert refusal(project)[0] == "arch/graph.json"


def test_a_document_over_the_limit_is_refused(project: Project):
    """The size of what is read is bounded, and the error names the limit."""
    project.documents["graph"]["modules"][0]["imports"] = ["x" * 100] * 2
    with pytest.raises(ToolBudgetExceededError) as caught:
        project.check(document_limit_bytes=1024)
    assert caught.value.exit_code == 4
    assert (caught.value.limit, caught.value.subject) == ("document_limit_bytes", "arch/graph.json")


def test_the_sample_documents_are_not_changed_by_a_check(project: Project):
    """A check without --write leaves every byte as it was."""
    project.node("shop.app")["imports"].append("gone")
    before = copy.deepcopy(project.documents)
    project.check()
    assert {name: project.load(name) for name in before} == before


def test_a_write_keeps_mode_and_replaces_in_one_step(tmp_path):
    """The file's mode survives, no temporary file is left, a link is replaced and not followed."""
    target = tmp_path / "a" / "x.json"
    write_text(target, "one\n")
    target.chmod(0o640)
    write_text(target, "two\n")
    assert target.read_text() == "two\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    link = tmp_path / "a" / "link"
    link.symlink_to(target)
    write_text(link, "three\n")
    assert target.read_text() == "two\n"
    assert sorted(path.name for path in target.parent.iterdir()) == ["link", "x.json"]


def test_the_order_of_keys_survives_a_patch(project: Project):
    """A patched document differs from the old one where the patch says so, and nowhere else."""
    project.node("shop.app")["imports"].append("shop.ports")
    project.check(write=True)
    expected = copy.deepcopy(project.documents["graph"])
    expected["modules"][5]["imports"].remove("shop.ports")
    text = (project.root / "arch/graph.json").read_text()
    assert text == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"

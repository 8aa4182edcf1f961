"""Finding modules and imports in any project, whatever is installed."""

import json
import sys

import pytest

from arch.support import Project, node, to_limits
from cloche.arch import check_project, init_project
from cloche.arch.adapters.imports import find_edges
from cloche.arch.adapters.scan import scan_modules
from cloche.arch.errors import ProjectInvalidError, ToolBudgetExceededError


def scan(root, *, source_roots=(), excluded_prefixes=()):
    """Scan with the default limits."""
    return scan_modules(
        root,
        source_roots=source_roots,
        excluded_prefixes=excluded_prefixes,
        module_count_max=5000,
        limit_bytes=2**22,
    )


def write(root, files):
    """Write files with their texts."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def edges(root, **more):
    """Return (importer, imported) of a project."""
    found = scan(root, **more)
    names = frozenset(found.modules)
    return [(e.importer, e.imported) for e in find_edges(found.modules, found.files, names=names)]


def test_a_project_with_src_is_everything_below_it(tmp_path):
    """Packages, packages without __init__ and single modules below src are the program."""
    write(
        tmp_path,
        {
            "src/a/__init__.py": "",
            "src/a/b/c.py": "",
            "src/ns/deep/d.py": "",
            "src/tool.py": "",
            "src/my-script.py": "",
            "src/a/data.v1.py": "",
            "src/a/not-a-package/x.py": "",
            "src/a/__pycache__/x.py": "",
            "setup.py": "",
            "tests/test_a.py": "",
        },
    )
    assert sorted(scan(tmp_path).modules) == ["a", "a.b.c", "ns.deep.d", "tool"]


def test_a_flat_project_is_its_packages_and_modules(tmp_path):
    """What usually stands beside a program is left out."""
    write(
        tmp_path,
        {
            "a/__init__.py": "",
            "a/b.py": "",
            "main.py": "",
            "setup.py": "",
            "conftest.py": "",
            "test_main.py": "",
            "tests/__init__.py": "",
            "scripts/x.py": "",
            "build/a/__init__.py": "",
            ".venv/lib/x.py": "",
            "venv/__init__.py": "",
        },
    )
    assert sorted(scan(tmp_path).modules) == ["a", "a.b", "main"]


def test_source_roots_say_where_the_program_is(tmp_path):
    """Several roots are read; a root that is not there is an error and not an empty program."""
    write(tmp_path, {"one/a/__init__.py": "", "two/b.py": "", "src/c.py": ""})
    assert sorted(scan(tmp_path, source_roots=("one", "two")).modules) == ["a", "b"]
    with pytest.raises(ProjectInvalidError):
        scan(tmp_path, source_roots=("three",))


def test_another_package_of_the_same_name_is_not_read(tmp_path, monkeypatch):
    """A project may be called like something installed, imported or in the standard library."""
    project, other = tmp_path / "project", tmp_path / "other"
    write(other, {"typer/__init__.py": "", "typer/wrong.py": "import typer\n"})
    monkeypatch.syspath_prepend(str(other))
    write(
        project,
        {
            "src/typer/__init__.py": "import typer.right\n",
            "src/typer/right.py": "raise SystemExit('a project must not be imported')\n",
            "src/json/__init__.py": "import grimp\n",
            "src/grimp/__init__.py": "import typer\n",
        },
    )
    before = sys.modules.get("typer")
    assert edges(project) == [("grimp", "typer"), ("json", "grimp"), ("typer", "typer.right")]
    assert sys.modules.get("typer") is before


def test_both_readers_agree_on_this_project(request):
    """Whatever grimp sees in our own source, the text says as well."""
    from cloche.arch.adapters import imports

    found = scan(request.config.rootpath, excluded_prefixes=("cloche.guests",))
    names = frozenset(found.modules)
    by_grimp = {key for key in imports._read_by_grimp(found.files) if key[0] != key[1]}
    by_text = find_edges(found.modules, (), names=names)
    assert len(by_text) > 50
    # The text also gives the package where an import names a module that is not there.
    assert by_grimp <= {(edge.importer, edge.imported, edge.line) for edge in by_text}


def test_the_settings_of_grimp_are_put_back(tmp_path):
    """Another user of grimp in this process is not disturbed."""
    from grimp.application.config import settings

    before = settings.PACKAGE_FINDER, settings.MODULE_FINDER
    write(tmp_path, {"src/a/__init__.py": "import a.b", "src/a/b.py": ""})
    assert edges(tmp_path) == [("a", "a.b")]
    assert before == (settings.PACKAGE_FINDER, settings.MODULE_FINDER)


def test_a_file_that_only_grimp_refuses_loses_no_import(tmp_path, monkeypatch):
    """The text reader stands in, so a parser's opinion cannot hide an edge."""
    import grimp
    from grimp.exceptions import SourceSyntaxError

    def refuse(*_names, **_options):
        raise SourceSyntaxError(filename="a.py", lineno=1, text="")

    write(tmp_path, {"src/a/__init__.py": "import a.b", "src/a/b.py": ""})
    monkeypatch.setattr(grimp, "build_graph", refuse)
    assert edges(tmp_path) == [("a", "a.b")]


def test_odd_files_are_read_or_reported(tmp_path):
    """Declared encodings are read; NUL bytes, wrong bytes and endless nesting are findings."""
    write(tmp_path, {"src/a/__init__.py": ""})
    package = tmp_path / "src/a"
    (package / "latin.py").write_bytes(b"# coding: latin-1\nimport a\nx = '\xe9'\n")
    (package / "bom.py").write_bytes(b"\xef\xbb\xbfimport a\r\n")
    (package / "nul.py").write_bytes(b"x = '\0'\n")
    (package / "wrong.py").write_bytes(b"x = '\xe9'\n")
    (package / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (package / "escape.py").write_text("x = '\\d'\n")
    found = scan(tmp_path)
    assert sorted(found.modules) == ["a", "a.bom", "a.escape", "a.latin"]
    assert [failure.name for failure in found.unparsed] == ["a.deep", "a.nul", "a.wrong"]
    assert edges(tmp_path) == [("a.bom", "a"), ("a.latin", "a")]


def test_links_to_directories_are_not_followed(tmp_path):
    """A link to a parent directory does not make the scan endless."""
    write(tmp_path, {"src/a/__init__.py": "", "src/a/b.py": ""})
    (tmp_path / "src/a/loop").symlink_to(tmp_path / "src")
    (tmp_path / "src/link").symlink_to(tmp_path / "src/a")
    assert sorted(scan(tmp_path).modules) == ["a", "a.b"]


@pytest.mark.parametrize(
    ("limit", "value", "found", "subject"),
    [
        ("module_count_max", 6, 7, "modules"),
        ("edge_count_max", 14, 15, "imports"),
        ("finding_count_max", 2, 3, "findings"),
        ("document_limit_bytes", 1024, None, "arch/graph.json"),
    ],
)
def test_a_project_over_the_tool_budget_is_refused(project: Project, limit, value, found, subject):
    """Exit code 4, with the limit and how to go on; one below passes."""
    for index in range(3):
        project.node("shop.app")["imports"].append(f"gone{index}")
    with pytest.raises(ToolBudgetExceededError) as caught:
        project.check(**{limit: value})
    error = caught.value
    assert (error.exit_code, error.limit, error.limit_value) == (4, limit, value)
    assert error.subject == subject
    if found is not None:
        assert error.found == found
        assert project.check(**{limit: found}).exit_code == 2


def test_names_in_other_letters_get_ids(tmp_path):
    """A module whose name is no id still gets a node in the starter."""
    write(tmp_path, {"src/Über/__init__.py": "", "src/Shop/__init__.py": "import Über\n"})
    init_project(tmp_path, to_limits())
    assert check_project(tmp_path, to_limits()).findings == ()
    ids = [item["id"] for item in json.loads((tmp_path / "arch/graph.json").read_text())["modules"]]
    assert ids == ["shop", "_ber"]


def test_node_helper_makes_valid_nodes(project: Project):
    """The helper of these tests writes what the schema accepts."""
    project.documents["graph"]["modules"].append(node("x", "core", []))
    assert project.codes() == ["E_ARCH_NODE_EMPTY"]

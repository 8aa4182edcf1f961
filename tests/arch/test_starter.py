"""`cloche arch init`: a contract that describes a project as it is."""

import json
import shutil
import sysconfig
from pathlib import Path

import pytest

from arch.support import to_limits
from cloche.arch import check_project, init_project


def write(root, files):
    """Write files with their texts."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def nodes(root):
    """Return the nodes of a written graph by id."""
    graph = json.loads((root / "arch/graph.json").read_text())
    return {item["id"]: item for item in graph["modules"]}


def test_the_file_set_is_complete_and_passes_at_once(tmp_path):
    """Even an empty directory gets a contract that holds."""
    report = init_project(tmp_path, to_limits())
    assert report.kept == ()
    assert report.written == (
        "AGENTS.md",
        "arch/budgets.json",
        "arch/contracts.json",
        "arch/graph.json",
        "arch/rules.json",
        "docs/architecture/contract-v1.md",
        "docs/architecture/encodings/README.md",
        "docs/architecture/public-apis.md",
        "schemas/arch.budgets.schema.json",
        "schemas/arch.contracts.schema.json",
        "schemas/arch.graph.schema.json",
        "schemas/arch.rules.schema.json",
        "tests/smoke/test_architecture.py",
    )
    assert check_project(tmp_path, to_limits()).findings == ()
    assert "{{" not in (tmp_path / "AGENTS.md").read_text()
    assert tmp_path.name in (tmp_path / "AGENTS.md").read_text()


def test_the_contract_has_every_section(tmp_path):
    """What a project promises has a place: purpose, rules, worlds, data, ports, tests, changes."""
    init_project(tmp_path, to_limits())
    text = (tmp_path / "docs/architecture/contract-v1.md").read_text()
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert [title.partition(". ")[2] for title in titles] == [
        "Mission",
        "What must hold",
        "Worlds",
        "Kinds",
        "Public modules and data",
        "Ports and adapters",
        "Tests",
        "Budgets",
        "Change",
    ]
    assert [title[0] for title in titles] == list("012345678")


def test_packages_become_nodes_with_their_real_imports(tmp_path):
    """Each package or module below the top is a node, so a new import is seen."""
    write(
        tmp_path,
        {
            "src/a/__init__.py": "import a.core\n__all__ = ['x']\nx = 1\n",
            "src/a/core/__init__.py": "",
            "src/a/core/deep.py": "import os\n",
            "src/a/web.py": "from a.core import deep\nimport b\n",
            "src/b.py": "",
        },
    )
    init_project(tmp_path, to_limits())
    assert {name: item["imports"] for name, item in nodes(tmp_path).items()} == {
        "a": ["a.core"],
        "a.core": [],
        "a.web": ["a.core", "b"],
        "b": [],
    }
    assert check_project(tmp_path, to_limits()).findings == ()
    (tmp_path / "src/a/core/deep.py").write_text("import a.web\n")
    codes = {finding.code for finding in check_project(tmp_path, to_limits()).findings}
    assert "E_ARCH_NODE_CYCLE" in codes


def test_packages_in_a_circle_become_one_node(tmp_path):
    """A tangled project starts with a coarse node instead of a failure."""
    write(
        tmp_path,
        {
            "src/a/__init__.py": "",
            "src/a/x.py": "def f():\n    import a.y\n",
            "src/a/y.py": "import a.x\n",
            "src/a/z.py": "import a.y\n",
        },
    )
    init_project(tmp_path, to_limits())
    assert nodes(tmp_path)["a.x"]["match"] == {"prefixes": ["a.x", "a.y"]}
    assert nodes(tmp_path)["a.z"]["imports"] == ["a.x"]
    assert check_project(tmp_path, to_limits()).findings == ()


def test_long_files_raise_the_first_ceiling(tmp_path):
    """The budget starts at what is there and can only be lowered on purpose."""
    write(tmp_path, {"src/a.py": "def f():\n" + "    x = 1\n" * 700})
    init_project(tmp_path, to_limits())
    budgets = json.loads((tmp_path / "arch/budgets.json").read_text())
    assert budgets["defaults"] == {"max_module_lines": 701, "max_function_lines": 701}
    assert check_project(tmp_path, to_limits()).findings == ()


def test_files_that_are_there_are_kept(tmp_path):
    """Nothing of the user's is lost without --force, and what was kept is said."""
    write(tmp_path, {"AGENTS.md": "mine\n", "arch/rules.json": "mine too"})
    report = init_project(tmp_path, to_limits())
    assert report.kept == ("AGENTS.md", "arch/rules.json")
    assert (tmp_path / "AGENTS.md").read_text() == "mine\n"
    assert not set(report.kept) & set(report.written)
    forced = init_project(tmp_path, to_limits(), force=True)
    assert forced.kept == ()
    assert (tmp_path / "AGENTS.md").read_text() != "mine\n"
    assert check_project(tmp_path, to_limits()).findings == ()


def test_a_second_init_writes_nothing(tmp_path):
    """Init completes a file set; it does not touch a complete one."""
    init_project(tmp_path, to_limits())
    assert init_project(tmp_path, to_limits()).written == ()


@pytest.mark.parametrize("package", ["typer", "rich", "hypothesis"])
def test_real_packages_pass_at_once(tmp_path, package):
    """Programs that nobody wrote for this check start with a contract that holds."""
    source = Path(sysconfig.get_path("purelib")) / package
    if not source.is_dir():
        pytest.fail(f"{package} is a dependency of these tests and is not installed")
    shutil.copytree(source, tmp_path / "src" / package)
    init_project(tmp_path, to_limits())
    report = check_project(tmp_path, to_limits())
    assert report.is_ok, "\n".join(report.lines())
    assert report.stats.module_count > 10


def test_the_smoke_test_of_the_starter_runs(tmp_path):
    """The skeleton is a real test: it fails when the contract does."""
    init_project(tmp_path, to_limits())
    smoke = {"__file__": str(tmp_path / "tests/smoke/test_architecture.py")}
    text = (tmp_path / "tests/smoke/test_architecture.py").read_text()
    exec(compile(text, smoke["__file__"], "exec"), smoke)
    smoke["test_the_architecture_contract_holds"]()
    write(tmp_path, {"src/a.py": ""})
    with pytest.raises(AssertionError, match="E_ARCH_MODULE_ORPHAN"):
        smoke["test_the_architecture_contract_holds"]()

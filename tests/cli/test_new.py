"""`cloche new web`: a project that runs and passes its own tests as it was written."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.cli.support import cloche, environment
from tests.cli.web_server import Served

NAME = "shop_of_tests"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return the folder of a new project."""
    folder = tmp_path_factory.mktemp("new")
    done = cloche("new", "web", NAME, "--json", cwd=folder)
    assert done.exit_code == 0, done.stderr
    written = done.document["written"]
    assert {"src/shop_of_tests/core.py", "tests/traffic.x7wt", "arch/graph.json"} <= set(written)
    assert not [path for path in written if path.endswith(".pyc")]
    return folder / NAME


def test_its_own_tests_pass(project):
    """Those of the application, of its recorded traffic and of its contract."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert "9 passed" in done.stdout


def test_its_contract_holds(project):
    """Its core is a core, and the check agrees with the code."""
    done = cloche("arch", "check", cwd=project)
    assert (done.exit_code, done.stdout.strip()) == (0, "ARCH_CONTRACT_OK")
    graph = (project / "arch/graph.json").read_text()
    assert '"kind": "core"' in graph
    core = project / "src" / NAME / "core.py"
    before = core.read_text()
    try:
        core.write_text(before.replace("import msgspec\n", "import msgspec\nimport socket\n"))
        assert cloche("arch", "check", cwd=project).exit_code == 2
    finally:
        core.write_text(before)


def test_its_commands(project):
    """Its routes are shown, its document is made, its traffic gives the same bytes."""
    place = (f"{NAME}.main", "--dir", "src")
    routes = cloche("web", "routes", *place, "--json", cwd=project).document["routes"]
    assert {"method": "POST", "template": "/greetings", "handler": "order"} in routes
    document = cloche("web", "openapi", *place, cwd=project)
    assert document.document["openapi"] == "3.1.0"
    again = cloche("web", "replay", "tests/traffic.x7wt", *place, cwd=project)
    assert (again.exit_code, again.stdout) == (0, "5 of 5 answers have the same bytes\n")


def test_it_runs(project):
    """It is served by our server, and another server finds its ASGI application."""
    with Served(project, f"{NAME}.main", "--dir", "src") as served:
        status, fields, body = served.get()
        assert (status, fields["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"It works" in body
        assert served.get("/greetings/a")[2] == b'{"text":"hello a","count":1}'
        assert served.get("/docs")[0] == 200
    assert served.exit_code == 0
    assert all(json.loads(line)["event"] == "request" for line in served.stderr.splitlines())
    found = "from shop_of_tests.main import asgi; print(type(asgi).__name__)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", found],
        cwd=project / "src",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "AsgiApp\n"


def test_nothing_of_a_template_is_left(project):
    """Every place for the name was filled, and every file is formatted as it stands."""
    for path in project.rglob("*"):
        if path.is_file() and path.suffix in {".py", ".toml", ".md"}:
            assert "{{name}}" not in path.read_text()
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "src", "tests/test_app.py"],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Shop", "use lowercase letters, digits and underscores"),
        ("../", "use lowercase"),
        ("json", "a package of this name is installed already"),
        ("pytest", "a package of this name is installed already"),
        ("taken_of_tests", "is there and not empty"),
    ],
)
def test_names_that_will_not_do(tmp_path, name, problem):
    """It is said why, and nothing is written."""
    (tmp_path / "taken_of_tests").mkdir()
    (tmp_path / "taken_of_tests" / "file").write_text("mine")
    done = cloche("new", "web", name, cwd=tmp_path)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken_of_tests"]

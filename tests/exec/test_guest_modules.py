"""Other guest modules than the packaged ones, named by the variables of seed 004."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.support import cloche

from cloche.engine.adapters.images import python_artifacts

JAVASCRIPT = "EXEC_JS_QUICKJS_PATH"
PYTHON = "EXEC_PYTHON_WASI_PATH"
FOLDER = Path(__file__).parents[2] / "src" / "cloche" / "guests" / "javascript"


@pytest.mark.timeout(240)  # the first time, it is compiled
def test_another_javascript_module(tmp_path):
    """Programs run on the module that is named: here one whose engine words an error otherwise."""
    module = tmp_path / "other.wasm"
    module.write_bytes(
        (FOLDER / "guest.wasm").read_bytes().replace(b"not a function", b"not a Function")
    )
    code = "try { (1)() } catch (error) { console.log(error.message) }"
    for variables, said in (({JAVASCRIPT: str(module)}, "not a Function"), ({}, "not a function")):
        done = cloche("run", "-l", "javascript", "-c", code, env=variables)
        assert (done.stdout, done.exit_code) == (f"{said}\n", 0), done.stderr


def test_another_python_module(tmp_path):
    """The module that is named is read, wherever it lies."""
    module = tmp_path / "other.wasm"
    module.symlink_to(python_artifacts() / "python-snapshot.wasm")
    done = cloche("run", "-l", "python", "-c", "print(6 * 7)", env={PYTHON: str(module)})
    assert (done.stdout, done.exit_code) == ("42\n", 0), done.stderr


@pytest.mark.parametrize(("variable", "language"), [(JAVASCRIPT, "javascript"), (PYTHON, "python")])
def test_a_module_that_is_not_there(variable, language, tmp_path):
    """The packaged one does not stand in for it: the error names the file."""
    path = tmp_path / "none.wasm"
    done = cloche("run", "-l", language, "-c", "1", env={variable: str(path)})
    assert done.exit_code not in (0, None)
    assert f"{path} is missing" in done.stderr

"""The builder: its failures, and that it never leaves half a file."""

from __future__ import annotations

import importlib.util
import re

import pytest

from cloche.components import build
from cloche.components.build import ComponentBuildError, ComponentToolError, build_python

needs_tool = pytest.mark.skipif(
    importlib.util.find_spec("componentize_py") is None, reason="componentize-py is not installed"
)


def test_without_the_tool(monkeypatch, tmp_path):
    """The message names the extra to install, and nothing is written."""
    monkeypatch.setattr(build, "find_spec", lambda _: None)
    with pytest.raises(ComponentToolError, match=re.escape("pip install 'cloche[components]'")):
        build_python(tmp_path / "a.wasm")
    assert not list(tmp_path.iterdir())


@needs_tool
def test_a_folder_that_is_not_there(tmp_path):
    """Is said with the path of the file, before anything is built."""
    with pytest.raises(ComponentBuildError, match=r"none/a\.wasm: No such file or directory"):
        build_python(tmp_path / "none" / "a.wasm")


@needs_tool
def test_a_build_that_fails_leaves_the_old_file(monkeypatch, tmp_path):
    """The message has what the tool said."""
    out = tmp_path / "a.wasm"
    out.write_bytes(b"old")
    monkeypatch.setattr(build, "WORLD", "no-such-world")
    with pytest.raises(ComponentBuildError, match="no-such-world"):
        build_python(out)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@needs_tool
def test_a_build_that_takes_too_long(tmp_path):
    """The tool is stopped, and nothing is left."""
    with pytest.raises(ComponentBuildError, match=r"not done after 0\.01 s"):
        build_python(tmp_path / "a.wasm", timeout_s=0.01)
    assert not list(tmp_path.iterdir())


@needs_tool
def test_the_inputs_are_all_that_a_build_reads(monkeypatch, tmp_path):
    """Their digest changes with the interface and with any source, and only then."""
    wit = tmp_path / "golem-exec.wit"
    wit.write_bytes(build.wit_path().read_bytes())
    before = build.python_inputs()
    monkeypatch.setattr(build, "wit_path", lambda: wit)
    assert build.python_inputs() == before
    wit.write_text("package other:one;")
    assert build.python_inputs() != before

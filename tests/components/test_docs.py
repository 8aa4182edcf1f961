"""The host on the page of golem:exec is a real one, and its lists are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.components import support

from cloche.components.build import ComponentToolError, wit_path

PAGE = (Path(__file__).parents[2] / "docs" / "golem-exec.md").read_text(encoding="utf-8")


@pytest.mark.timeout(240)  # it may be the one that builds
def test_the_host_on_the_page(monkeypatch, capsys):
    """Prints what its comments say."""
    try:
        monkeypatch.chdir(support.built().parent)
    except ComponentToolError as error:
        pytest.skip(error.message)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    said = re.findall(r"^print.*  # (.*)$", example, re.MULTILINE)
    exec(compile(example, "docs/golem-exec.md", "exec"), {})
    assert capsys.readouterr().out.split() == said == ["42", "2"]


def test_every_function_and_error_is_on_the_page():
    """What the interface has, the page explains."""
    wit = wit_path().read_text(encoding="utf-8")
    functions = re.findall(r"^ *([a-z-]+): func", wit, re.MULTILINE)
    variant = re.search(r"variant error \{\n(.*?)\n  \}", wit, re.DOTALL)[1]
    cases = re.findall(r"^ +([a-z-]+)", variant, re.MULTILINE)
    assert functions
    assert len(cases) == 6
    assert not [name for name in [*functions, *cases] if name not in PAGE]

"""The pages of the room say what the code does."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from cloche.web import errors, middleware
from cloche.web.errors import HttpError
from cloche.web.websocket.handshake import UpgradeRequiredError

TEXT = (Path(__file__).parents[2] / "docs/web/framework.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example):
    """Every example of the page runs as it stands."""
    exec(compile(example, "example", "exec"), {"__name__": "example"})


def test_there_are_examples():
    """The expression above finds them."""
    assert len(EXAMPLES) == 4


def test_errors_are_listed():
    """The table has each error of the room with its status."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = {
        (kind.status, kind.code)
        for kind in [*kinds, UpgradeRequiredError]
        if issubclass(kind, HttpError) and kind is not HttpError
    }
    listed = {
        (int(status), code)
        for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|$", TEXT, re.MULTILINE)
    }
    assert listed == known | {(500, "INTERNAL")}


def test_middleware_is_listed():
    """The table has each function that makes middleware, and no other name."""
    makers = set()
    for each in pkgutil.iter_modules(middleware.__path__, middleware.__name__ + "."):
        module = importlib.import_module(each.name)
        makers |= {
            f"{each.name.rpartition('.')[2]}.{name}"
            for name, found in vars(module).items()
            if getattr(found, "__annotations__", {}).get("return") == "Middleware"
            and not name.startswith("_")
        }
    table = TEXT.partition("## Middleware")[2].partition("```")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+\.\w+)`", " ".join(rows))) == makers

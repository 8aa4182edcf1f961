"""A small real project with a contract that holds; each test breaks one thing in it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloche.arch import Report, check_project, init_project
from cloche.limits import Limits
from cloche.limits.groups import ArchLimits

if TYPE_CHECKING:
    from pathlib import Path

ALL_WORLDS = ["fixture", "run-os", "run-os-sandboxed"]
REAL_WORLDS = ["run-os", "run-os-sandboxed"]

FILES = {
    "src/shop/__init__.py": '"""A shop."""\n',
    "src/shop/core.py": (
        "from shop.ports import Store\n\n"
        '__all__ = ["price"]\n\n\n'
        "def price(store: Store) -> int:\n    return store.read() + 1\n"
    ),
    "src/shop/ports.py": (
        '__all__ = ["Store"]\n\n\nclass Store:\n    def read(self) -> int:\n        return 0\n'
    ),
    "src/shop/adapters/__init__.py": "",
    "src/shop/adapters/memory.py": (
        "from shop.ports import Store\n\n\nclass MemoryStore(Store):\n    pass\n"
    ),
    "src/shop/adapters/disk.py": (
        "import os\n\nfrom shop.ports import Store\n\n\nclass DiskStore(Store):\n"
        "    def read(self) -> int:\n        return os.getpid()\n"
    ),
    "src/shop/app.py": (
        "from shop.adapters.disk import DiskStore\n"
        "from shop.adapters.memory import MemoryStore\n"
        "from shop.core import price\n\n\n"
        "def main() -> int:\n    return price(DiskStore()) + price(MemoryStore())\n"
    ),
    "tests/smoke/test_shop.py": (
        "def test_price() -> None:\n    assert True\n\n\n"
        "class TestStore:\n    def test_read(self) -> None:\n        assert True\n"
    ),
    "docs/architecture/encodings/price.md": "# price\n",
    "docs/architecture/encodings/errors.md": "# errors\n",
}


def node(node_id: str, kind: str, imports: list[str], **more: Any) -> dict[str, Any]:
    """Return a node of the graph, allowed in every world."""
    return {
        "id": node_id,
        "kind": kind,
        "worlds_allowed": ALL_WORLDS,
        "imports": imports,
        "exports": [],
        **more,
    }


def api(symbol: str, **more: Any) -> dict[str, Any]:
    """Return a complete entry of public_apis."""
    return {
        "symbol": symbol,
        "encoding_doc": "docs/architecture/encodings/price.md",
        "errors_doc": "docs/architecture/encodings/errors.md",
        "smoke_tests": ["tests/smoke/test_shop.py::test_price"],
        **more,
    }


def to_limits(**changes: int) -> Limits:
    """Return limits with some of the group `arch` changed."""
    return Limits(arch=ArchLimits(**changes))


@dataclass
class Project:
    """A project on disk whose documents are edited as data."""

    root: Path
    documents: dict[str, Any] = field(default_factory=dict)

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def append(self, path: str, text: str) -> None:
        """Add lines to a file of the project."""
        self.write(path, (self.root / path).read_text(encoding="utf-8") + text)

    def node(self, node_id: str) -> dict[str, Any]:
        """Return a node of the graph to edit."""
        return next(item for item in self.documents["graph"]["modules"] if item["id"] == node_id)

    def save(self) -> None:
        """Write the documents."""
        for name, document in self.documents.items():
            self.write(f"arch/{name}.json", json.dumps(document, indent=2))

    def load(self, name: str) -> Any:
        """Read a document back from disk."""
        return json.loads((self.root / f"arch/{name}.json").read_text(encoding="utf-8"))

    def check(self, *, write: bool = False, **limits: int) -> Report:
        """Save the documents and check the project."""
        self.save()
        return check_project(self.root, to_limits(**limits), write=write)

    def codes(self) -> list[str]:
        """Check and return the codes found, in order."""
        return [finding.code for finding in self.check().findings]

    def messages(self, code: str) -> list[str]:
        """Check and return the messages of one code."""
        return [finding.message for finding in self.check().findings if finding.code == code]


def make_shop(root: Path) -> Project:
    """Write the shop and its contract into a directory."""
    init_project(root, to_limits())
    made = Project(root=root)
    for path, text in FILES.items():
        made.write(path, text)
    for name in ("graph", "rules", "contracts", "budgets"):
        made.documents[name] = made.load(name)
    made.documents["graph"]["modules"] = [
        node("shop", "app", [], match={"modules": ["shop", "shop.adapters"]}),
        node("shop.core", "core", ["shop.ports"], exports=["shop.core.price"]),
        node("shop.ports", "port", [], exports=["shop.ports.Store"]),
        node(
            "shop.memory",
            "adapter-fixture",
            ["shop.ports"],
            match={"prefixes": ["shop.adapters.memory"]},
            worlds_allowed=["fixture"],
        ),
        node(
            "shop.disk",
            "adapter-os",
            ["shop.ports"],
            match={"prefixes": ["shop.adapters.disk"]},
            worlds_allowed=REAL_WORLDS,
        ),
        node("shop.app", "app", ["shop.core", "shop.memory", "shop.disk"]),
    ]
    made.documents["contracts"]["public_apis"] = [api("shop.core.price"), api("shop.ports.Store")]
    made.documents["contracts"]["internal"] = []
    return made

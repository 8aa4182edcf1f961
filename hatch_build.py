"""Build hook: the JavaScript guest and its library exist before a wheel or editable install."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from types import ModuleType

GUEST = Path("src/cloche/guests/javascript")


class GuestBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs the two build scripts; both do nothing when their output is up to date."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build for wheels and editable installs; a source distribution carries the sources."""
        if self.target_name != "wheel":
            return
        root = Path(self.root) / GUEST
        _load(root / "lib" / "build.py").build()
        _load(root / "build.py").build()


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_build_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

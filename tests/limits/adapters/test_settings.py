"""Tests of settings: file, environment, call, and their order."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from cloche.limits import (
    SPECIFICATIONS,
    GuestModules,
    LimitError,
    LimitFileError,
    LimitQuantityError,
    LimitTypeError,
    LimitUnknownError,
)
from cloche.limits.adapters.hardware import detected
from cloche.limits.adapters.settings import guest_modules, load_limits, resolve_limits
from cloche.limits.layers import defaults

TIMEOUT = "guests.timeout_ms"


@pytest.fixture
def config(tmp_path):
    """Return a function that writes a configuration file and returns its path."""

    def write(text):
        path = tmp_path / "settings.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in an empty folder with a known environment, whatever surrounds the tests."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in list(os.environ):
        if name.startswith(("CLOCHE_", "EXEC_")):
            monkeypatch.delenv(name)
    return place


def test_without_settings_the_machine_decides():
    """No file and no variables: what is derived from this machine."""
    assert resolve_limits(environ={}) == defaults(detected())
    assert load_limits(environ={}) == defaults(detected()).limits


def test_every_combination_of_places(config):
    """Of the places that name a limit, the strongest gives value and origin."""
    path = config("[limits.guests]\ntimeout_ms = 1001\n")
    for has_file, has_exec, has_cloche, has_call in itertools.product((False, True), repeat=4):
        environ = {}
        expected = (5000, "default")
        if has_file:
            expected = (1001, str(path))
        if has_exec:
            environ["EXEC_TIMEOUT_MS"] = "1002"
            expected = (1002, "environment EXEC_TIMEOUT_MS")
        if has_cloche:
            environ["CLOCHE_GUESTS_TIMEOUT_MS"] = "1003"
            expected = (1003, "environment CLOCHE_GUESTS_TIMEOUT_MS")
        if has_call:
            expected = (1004, "the call")
        resolved = resolve_limits(
            {"guests": {"timeout_ms": 1004}} if has_call else None,
            environ=environ,
            config_path=path if has_file else None,
        )
        assert (resolved.limits.guests.timeout_ms, resolved.origins[TIMEOUT]) == expected


def test_a_setting_beats_what_is_derived():
    """The machine is weaker than what people say."""
    resolved = resolve_limits(environ={"CLOCHE_STORAGE_MAX_VFS": "10MiB"})
    assert resolved.limits.storage.max_vfs == 10 << 20
    assert resolved.origins["storage.max_vfs"] == "environment CLOCHE_STORAGE_MAX_VFS"


@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECIFICATIONS.values() if not spec.read_only],
    ids=lambda spec: spec.path,
)
def test_every_limit_has_a_variable(spec):
    """CLOCHE_, the group, the name; the message of a wrong value names the variable."""
    variable = f"CLOCHE_{spec.group}_{spec.name}".upper()
    limits = load_limits(environ={variable: str(spec.maximum)})
    assert getattr(getattr(limits, spec.group), spec.name) == spec.maximum
    with pytest.raises(LimitError) as caught:
        load_limits(environ={variable: str(spec.maximum + 1)})
    unit = "" if spec.unit == "count" else f" {spec.unit}"
    assert caught.value.message == (
        f"{spec.path} is {spec.maximum + 1} (from environment {variable}); "
        f"it must be between {spec.minimum} and {spec.maximum}{unit}"
    )


def test_the_example_message():
    """Field, value, place, range and unit in one sentence."""
    with pytest.raises(LimitError) as caught:
        load_limits(environ={"CLOCHE_GUESTS_TIMEOUT_MS": "0"})
    assert caught.value.message == (
        "guests.timeout_ms is 0 (from environment CLOCHE_GUESTS_TIMEOUT_MS); "
        "it must be between 1 and 86400000 ms"
    )
    assert caught.value.origin == "environment CLOCHE_GUESTS_TIMEOUT_MS"


def test_the_variables_of_seed_004():
    """EXEC_TIMEOUT_MS is the time of a run, EXEC_MEMORY_LIMIT_MB its memory in MiB."""
    assert load_limits(environ={}).guests.timeout_ms == 5000
    resolved = resolve_limits(environ={"EXEC_TIMEOUT_MS": "750", "EXEC_MEMORY_LIMIT_MB": "64"})
    guests = resolved.limits.guests
    assert (guests.timeout_ms, guests.memory_limit_bytes) == (750, 64 << 20)
    memory = "guests.memory_limit_bytes"
    assert resolved.origins[memory] == "environment EXEC_MEMORY_LIMIT_MB"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "EXEC_TIMEOUT_MS",
            "soon",
            (
                "guests.timeout_ms is 'soon' (from environment EXEC_TIMEOUT_MS); it must be a "
                "whole number of ms, or have a unit behind it: ms, s, min, h"
            ),
        ),
        (
            "EXEC_TIMEOUT_MS",
            "0",
            (
                "guests.timeout_ms is 0 (from environment EXEC_TIMEOUT_MS); "
                "it must be between 1 and 86400000 ms"
            ),
        ),
        ("EXEC_MEMORY_LIMIT_MB", "1.5", "EXEC_MEMORY_LIMIT_MB is '1.5', which is no whole number"),
        (
            "EXEC_MEMORY_LIMIT_MB",
            "15",
            (
                "guests.memory_limit_bytes is 15728640 (from environment EXEC_MEMORY_LIMIT_MB); "
                "it must be between 16777216 and 4294967296 bytes"
            ),
        ),
        (
            "CLOCHE_GUESTS_TIMOUT_MS",
            "5",
            (
                "there is no limit guests.timout_ms (from environment CLOCHE_GUESTS_TIMOUT_MS); "
                "did you mean guests.timeout_ms?"
            ),
        ),
        (
            "CLOCHE_HARDWARE_CPU_CORES",
            "5",
            (
                "hardware.cpu_cores cannot be set (from environment CLOCHE_HARDWARE_CPU_CORES): "
                "it is detected or estimated; remove it"
            ),
        ),
    ],
)
def test_wrong_variables(variable, value, message):
    """The message names the variable and what it may be."""
    with pytest.raises(LimitError) as caught:
        load_limits(environ={variable: value})
    assert caught.value.message.startswith(message)


def test_other_variables_are_left_alone():
    """Empty ones are not set; other groups, other names and other prefixes are not ours."""
    environ = {
        "CLOCHE_GUESTS_TIMEOUT_MS": "",
        "EXEC_TIMEOUT_MS": "",
        "EXEC_MEMORY_LIMIT_MB": "",
        "CLOCHE_CONFIG": "",
        "CLOCHE_STORE": "x",
        "CLOCHE_GUESTS": "x",
        "CLOCHE_": "x",
        "GUESTS_TIMEOUT_MS": "0",
        "XCLOCHE_GUESTS_TIMEOUT_MS": "0",
    }
    assert resolve_limits(environ=environ) == resolve_limits(environ={})


def test_the_process_environment_is_the_default(monkeypatch):
    """Without `environ`, the variables of the process count."""
    monkeypatch.setenv("CLOCHE_GUESTS_TIMEOUT_MS", "9s")
    monkeypatch.setenv("EXEC_JS_QUICKJS_PATH", "/js.wasm")
    assert load_limits().guests.timeout_ms == 9000
    assert guest_modules().javascript_path == "/js.wasm"


def test_which_file_is_read(config, folder):
    """The caller's before CLOCHE_CONFIG before cloche.toml in the working directory."""
    (folder / "cloche.toml").write_text("[limits.guests]\ntimeout_ms = 1\n")
    named = folder / "named.toml"
    named.write_text("[limits.guests]\ntimeout_ms = 2\n")
    given = config("[limits.guests]\ntimeout_ms = 3\n")
    environ = {"CLOCHE_CONFIG": str(named)}
    assert load_limits(environ={}).guests.timeout_ms == 1
    assert load_limits(environ=environ).guests.timeout_ms == 2
    assert load_limits(environ=environ, config_path=given).guests.timeout_ms == 3
    assert load_limits(environ=environ, config_path=str(given)).guests.timeout_ms == 3


def test_a_named_file_must_be_there(tmp_path):
    """Only cloche.toml in the working directory may be missing."""
    missing = tmp_path / "missing.toml"
    for environ, path in (({}, missing), ({"CLOCHE_CONFIG": str(missing)}, None)):
        with pytest.raises(LimitFileError) as caught:
            load_limits(environ=environ, config_path=path)
        assert caught.value.message == (
            f"there is no configuration file {missing}; create it or do not name it"
        )
    with pytest.raises(LimitFileError, match=r"^cannot read .*: Is a directory$"):
        load_limits(environ={}, config_path=tmp_path)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("limits", LimitFileError, "{path} is not valid TOML: "),
        (b"\xff", LimitFileError, "{path} is not valid TOML: "),
        ("a = " + "[" * 100_000, LimitFileError, "{path} is not valid TOML: "),
        ("[limits.guests]\nfuel = " + "9" * 5000, LimitFileError, "{path} is not valid TOML: "),
        (b"#" * (2**20 + 1), LimitFileError, "{path} is larger than 1048576 bytes"),
        ("limits = 5", LimitTypeError, "limits is 5 (from {path}); it must be a table of groups"),
        (
            "[limits]\nguests = 5",
            LimitTypeError,
            "guests is 5 (from {path}); it must be a table of limits",
        ),
        (
            "[limit.guests]\nfuel = 1",
            LimitUnknownError,
            "there is no table limit (from {path}); did you mean limits?",
        ),
        (
            "[guests]\nfuel = 1",
            LimitUnknownError,
            "there is no table guests (from {path}); did you mean limits.guests?",
        ),
        (
            "[limits.guest]\nfuel = 1",
            LimitUnknownError,
            "there is no group of limits guest (from {path}); did you mean guests?",
        ),
        (
            "[limits.guests]\ntimeout = 1",
            LimitUnknownError,
            "there is no limit guests.timeout (from {path}); did you mean guests.timeout_ms?",
        ),
        (
            "[limits.guests]\ntimeout_ms = 1.5",
            LimitTypeError,
            "guests.timeout_ms is 1.5 (from {path}); it must be a whole number of ms",
        ),
        (
            "[limits.guests]\ntimeout_ms = true",
            LimitTypeError,
            "guests.timeout_ms is True (from {path}); it must be a whole number of ms",
        ),
        (
            '[limits.guests]\ntimeout_ms = "5 parsecs"',
            LimitQuantityError,
            "guests.timeout_ms is '5 parsecs' (from {path}); it must be a whole number of ms, or",
        ),
        (
            "[limits.capacity]\nusers = 9",
            LimitError,
            "capacity.users cannot be set (from {path}): it is detected or estimated; remove it",
        ),
    ],
)
def test_wrong_files(config, text, kind, message):
    """Each mistake in a file is told with its place."""
    path = config(text)
    with pytest.raises(kind) as caught:
        load_limits(environ={}, config_path=path)
    assert caught.value.message.startswith(message.format(path=path))


def test_an_empty_file_changes_nothing(config):
    """Nor does one with empty tables."""
    for text in ("", "[limits]\n", "[limits.guests]\n", "# nothing\n"):
        assert load_limits(environ={}, config_path=config(text)) == load_limits(environ={})


def test_a_file_may_use_units(config):
    """Numbers and texts, in any group."""
    path = config('[limits.guests]\nmemory_limit_bytes = "1GiB"\n[limits.net]\nmax_calls = 7\n')
    limits = load_limits(environ={}, config_path=path)
    assert (limits.guests.memory_limit_bytes, limits.net.max_calls) == (1 << 30, 7)


def test_the_call_may_use_units_and_is_checked():
    """Overrides are the strongest layer, with the same rules."""
    assert load_limits({"guests": {"timeout_ms": "2s"}}, environ={}).guests.timeout_ms == 2000
    with pytest.raises(LimitError, match=re.escape("guests.fuel is -1 (from the call)")):
        load_limits({"guests": {"fuel": -1}}, environ={})


def test_guest_modules():
    """Both paths by their names of seed 004; unset and empty are the packaged modules."""
    assert guest_modules({}) == GuestModules()
    assert guest_modules({"EXEC_JS_QUICKJS_PATH": ""}) == GuestModules()
    environ = {"EXEC_JS_QUICKJS_PATH": "/js.wasm", "EXEC_PYTHON_WASI_PATH": "/py.wasm"}
    assert guest_modules(environ) == GuestModules(
        javascript_path="/js.wasm", python_path="/py.wasm"
    )

"""The layers of settings: file and environment, in their order of strength.

defaults < machine < cloche.toml < EXEC_* (seed 004) < CLOCHE_* < given by the caller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cloche.limits.adapters.hardware import detected
from cloche.limits.fields import MIB, LimitError
from cloche.limits.limits import (
    SPECIFICATIONS,
    Layer,
    Limits,
    Resolved,
    derive,
    flatten,
    merge,
    parse_quantity,
)

CONFIG_NAME: Final = "cloche.toml"
CONFIG_VARIABLE: Final = "CLOCHE_CONFIG"
PREFIX: Final = "CLOCHE_"

# Variables with our prefix that are no limits.
_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "CLOCHE_STORE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestModules:
    """Guest modules to use instead of the packaged ones (seed 004, section 7)."""

    javascript_path: str | None = None
    python_path: str | None = None


def guest_modules(environ: Mapping[str, str] | None = None) -> GuestModules:
    """Read EXEC_JS_QUICKJS_PATH and EXEC_PYTHON_WASI_PATH."""
    environ = os.environ if environ is None else environ
    return GuestModules(
        javascript_path=environ.get("EXEC_JS_QUICKJS_PATH") or None,
        python_path=environ.get("EXEC_PYTHON_WASI_PATH") or None,
    )


def load_limits(
    overrides: Mapping[str, Mapping[str, int]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_path: Path | None = None,
) -> Limits:
    """Return the limits in force; see `resolve_limits`."""
    return resolve_limits(overrides, environ=environ, config_path=config_path).limits


def resolve_limits(
    overrides: Mapping[str, Mapping[str, int]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_path: Path | None = None,
) -> Resolved:
    """Return the limits in force and where each value came from.

    Args:
        overrides: strongest, `{group: {name: value}}`.
        environ: instead of this process's environment.
        config_path: instead of CLOCHE_CONFIG or `cloche.toml` in the working directory.

    Raises:
        LimitError: a setting is unknown, malformed or out of range; the message names its place.
    """
    environ = os.environ if environ is None else environ
    layers = [*_file_layers(environ, config_path), _exec_layer(environ), _cloche_layer(environ)]
    if overrides:
        layers.append(flatten(overrides, "the call"))
    return merge(derive(detected()), layers)


def _file_layers(environ: Mapping[str, str], config_path: Path | None) -> list[Layer]:
    named = config_path or (Path(environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environ else None)
    path = named or Path(CONFIG_NAME)
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        if named is None:
            return []
        raise LimitError(f"there is no configuration file {path}", path=str(path)) from None
    except OSError as error:
        raise LimitError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        document = tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LimitError(f"{path} is not valid TOML: {error}", path=str(path)) from None
    table = document.get("limits", {})
    if not isinstance(table, dict):
        raise LimitError(f"[limits] in {path} must be a table", path=str(path))
    return [flatten(table, f"{path}")]


def _exec_layer(environ: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    timeout = environ.get("EXEC_TIMEOUT_MS")
    if timeout:
        values["guests.timeout_ms"] = parse_quantity(timeout, "ms", "EXEC_TIMEOUT_MS")
        origins["guests.timeout_ms"] = "environment EXEC_TIMEOUT_MS"
    memory = environ.get("EXEC_MEMORY_LIMIT_MB")
    if memory:
        mebibytes = parse_quantity(memory, "count", "EXEC_MEMORY_LIMIT_MB")
        values["guests.memory_limit_bytes"] = mebibytes * MIB
        origins["guests.memory_limit_bytes"] = "environment EXEC_MEMORY_LIMIT_MB"
    return Layer(origin="environment", values=values, origins=origins)


def _cloche_layer(environ: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
            continue
        group, _, name = variable.removeprefix(PREFIX).lower().partition("_")
        path = f"{group}.{name}"
        # Other programs may use the prefix for groups that are not ours; a group of ours with an
        # unknown name is a mistake, and `merge` says so.
        if path in SPECIFICATIONS or any(p.startswith(f"{group}.") for p in SPECIFICATIONS):
            values[path] = environ[variable]
            origins[path] = f"environment {variable}"
    return Layer(origin="environment", values=values, origins=origins)

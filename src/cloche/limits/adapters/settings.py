"""The layers of settings: machine, file and environment, in their order of strength.

defaults < machine < cloche.toml < EXEC_* (seed 004) < CLOCHE_* < given by the caller.

The file is `cloche.toml` in the working directory, or what CLOCHE_CONFIG or the caller names; its
table `limits` has one table for each group. A limit's variable is CLOCHE_, its group, `_`, its
name, in upper case. An empty variable counts as not set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.limits.adapters.hardware import detected
from cloche.limits.errors import LimitFileError, LimitTypeError, shown
from cloche.limits.fields import MIB
from cloche.limits.layers import Layer, Resolved, defaults, flatten, merge
from cloche.limits.limits import GROUPS, Limits, unknown
from cloche.limits.ports import GuestModules
from cloche.limits.quantity import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_NAME: Final = "cloche.toml"
CONFIG_VARIABLE: Final = "CLOCHE_CONFIG"
CONFIG_LIMIT_BYTES: Final = MIB  # a file of all limits has 5 kB
PREFIX: Final = "CLOCHE_"
TABLES: Final = ("limits", "serve")  # of a configuration file
TIMEOUT_VARIABLE: Final = "EXEC_TIMEOUT_MS"
MEMORY_VARIABLE: Final = "EXEC_MEMORY_LIMIT_MB"
ORIGIN_CALL: Final = "the call"


def guest_modules(environ: Mapping[str, str] | None = None) -> GuestModules:
    """Read EXEC_JS_QUICKJS_PATH and EXEC_PYTHON_WASI_PATH (seed 004); whether they exist is left
    to those who open them.
    """  # noqa: D205 - one sentence
    environ = os.environ if environ is None else environ
    return GuestModules(
        javascript_path=environ.get("EXEC_JS_QUICKJS_PATH") or None,
        python_path=environ.get("EXEC_PYTHON_WASI_PATH") or None,
    )


def load_limits(
    overrides: Mapping[str, Mapping[str, int | str]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_path: str | os.PathLike[str] | None = None,
) -> Limits:
    """Return the limits in force; see `resolve_limits`."""
    return resolve_limits(overrides, environ=environ, config_path=config_path).limits


def resolve_limits(
    overrides: Mapping[str, Mapping[str, int | str]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config_path: str | os.PathLike[str] | None = None,
) -> Resolved:
    """Return the limits in force and where each value came from.

    Args:
        overrides: strongest, `{group: {name: value}}`; text is read as a quantity.
        environ: instead of this process's environment.
        config_path: instead of CLOCHE_CONFIG or `cloche.toml` in the working directory.

    Raises:
        LimitError: a setting is unknown, read-only, malformed or out of range; names its place.
        LimitFileError: a file that was named is missing, or a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    layers = [*_file_layers(environ, config_path), _exec_layer(environ), _cloche_layer(environ)]
    if overrides:
        layers.append(flatten(overrides, ORIGIN_CALL))
    return merge(layers, defaults(detected()))


def _file_layers(
    environ: Mapping[str, str], config_path: str | os.PathLike[str] | None
) -> list[Layer]:
    found = read_config(environ=environ, config_path=config_path)
    if found is None:
        return []
    path, document = found
    table = document.get("limits", {})
    if not isinstance(table, dict):
        raise LimitTypeError(
            f"limits is {shown(table)} (from {path}); it must be a table of groups",
            limit="limits",
            value=shown(table),
            origin=str(path),
        )
    return [flatten(table, str(path))]


def read_config(
    *,
    environ: Mapping[str, str] | None = None,
    config_path: str | os.PathLike[str] | None = None,
) -> tuple[Path, dict[str, Any]] | None:
    """Return the configuration file and its tables; None where there is none and none was named.

    Args:
        environ: instead of this process's environment.
        config_path: instead of CLOCHE_CONFIG or `cloche.toml` in the working directory.

    Raises:
        LimitFileError: a file that was named is missing, or it cannot be read, or is no TOML.
        LimitUnknownError: it has a table that nothing reads.
    """
    environ = os.environ if environ is None else environ
    named = config_path or environ.get(CONFIG_VARIABLE) or None
    path = Path(named or CONFIG_NAME)
    try:
        with path.open("rb") as file:
            body = file.read(CONFIG_LIMIT_BYTES + 1)
    except FileNotFoundError:
        if named is None:
            return None
        raise LimitFileError(
            f"there is no configuration file {path}; create it or do not name it", path=str(path)
        ) from None
    except OSError as error:
        raise LimitFileError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    if len(body) > CONFIG_LIMIT_BYTES:
        raise LimitFileError(
            f"{path} is larger than {CONFIG_LIMIT_BYTES} bytes, which no configuration file is",
            path=str(path),
        )
    return path, _parse(body, path)


def _parse(body: bytes, path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        document = tomllib.loads(body.decode())
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, endless digits, deep nesting
        raise LimitFileError(f"{path} is not valid TOML: {error}", path=str(path)) from None
    for name in document:
        if name not in TABLES:
            # A group on its own is what most people write first.
            tables = (f"limits.{name}",) if name in GROUPS else TABLES
            raise unknown("table", name, tables, str(path))
    return document


def _exec_layer(environ: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    timeout = environ.get(TIMEOUT_VARIABLE)
    if timeout:
        path = "guests.timeout_ms"
        values[path], origins[path] = timeout, f"environment {TIMEOUT_VARIABLE}"
    memory = environ.get(MEMORY_VARIABLE)
    if memory:
        path = "guests.memory_limit_bytes"
        mebibytes = parse_quantity(memory, "count", MEMORY_VARIABLE)
        values[path], origins[path] = mebibytes * MIB, f"environment {MEMORY_VARIABLE}"
    return Layer(origin="environment", values=values, origins=origins)


def _cloche_layer(environ: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for variable in sorted(environ):
        group, _, name = variable.removeprefix(PREFIX).lower().partition("_")
        # Other variables may have the prefix; with the name of a group it must be a limit.
        if variable.startswith(PREFIX) and environ[variable] and name and group in GROUPS:
            path = f"{group}.{name}"
            values[path], origins[path] = environ[variable], f"environment {variable}"
    return Layer(origin="environment", values=values, origins=origins)

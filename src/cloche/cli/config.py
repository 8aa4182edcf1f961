"""`cloche config`: what the configuration is, and which place says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.output import print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Resolved
    from cloche.server.config import Configured

app = typer.Typer(help="The configuration: file, environment, flags.", no_args_is_help=True)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file; or CLOCHE_CONFIG, else cloche.toml here."),
]


def use_config(path: Path | None) -> None:
    """Let every part of this process, and its workers, read a configuration file that was named."""
    from cloche.limits.adapters.settings import CONFIG_VARIABLE  # noqa: PLC0415 - slow to import

    if path is not None:
        os.environ[CONFIG_VARIABLE] = str(path.absolute())


def configured(flags: Mapping[str, Any] | None = None) -> tuple[Configured, Path | None]:
    """Return the settings of a server, and the file that was read.

    Raises:
        ConfigError, LimitError: something in them is wrong.
    """
    from cloche.limits.adapters.settings import read_config  # noqa: PLC0415 - slow to import
    from cloche.server.config import TABLE, configure  # noqa: PLC0415

    found = read_config()
    path, document = (None, dict[str, Any]()) if found is None else found
    settings = configure(
        table=document.get(TABLE), path=str(path or ""), environ=os.environ, flags=flags
    )
    return settings, path


def served_store(store: str | None) -> str | None:
    """Return the store that a server would serve here, unless one is named.

    Raises:
        ConfigError, LimitError: something in the configuration is wrong.
    """
    if store is not None:
        return store
    found: str | None = configured()[0].values["store"]
    return found


def print_config(flags: Mapping[str, Any] | None, *, as_json: bool, every: bool = False) -> None:
    """Print all settings and limits with the place of each; in words only limits that were set.

    Raises:
        ConfigError, LimitError: something in them is wrong.
    """
    from cloche.limits.adapters.settings import resolve_limits  # noqa: PLC0415 - slow to import

    settings, path = configured(flags)
    values = _shown(settings)
    limits = resolve_limits()
    if as_json:
        print_json(_document(values, settings.origins, limits, path))
        return
    typer.echo(f"file: {path or 'none'}")
    rows = [
        [f"serve.{name}", _text(value), settings.origins[name]] for name, value in values.items()
    ]
    table("Settings", ["setting", "value", "from"], rows)
    table("Limits", ["limit", "value", "from"], _limit_rows(limits, every=every))


def _limit_rows(limits: Resolved, *, every: bool) -> list[list[str]]:
    from cloche.limits import format_quantity  # noqa: PLC0415
    from cloche.limits.layers import (  # noqa: PLC0415
        ORIGIN_DEFAULT,
        ORIGIN_DERIVED,
        ORIGIN_DETECTED,
    )
    from cloche.limits.limits import SPECIFICATIONS  # noqa: PLC0415

    unset = {ORIGIN_DEFAULT, ORIGIN_DERIVED, ORIGIN_DETECTED}
    values = limits.limits.to_dict()
    rows = []
    for path, origin in limits.origins.items():
        group, _, name = path.partition(".")
        if every or origin not in unset:
            shown = format_quantity(values[group][name], SPECIFICATIONS[path].unit)
            rows.append([path, shown, origin])
    return rows


def _shown(settings: Configured) -> dict[str, Any]:
    """Return the settings with the place of the store that is used where nothing names one."""
    from cloche.exec.stores import own_place  # noqa: PLC0415 - slow to import

    return {**settings.values, "store": settings.values["store"] or own_place()}


def _document(
    settings: Mapping[str, Any], origins: Mapping[str, str], limits: Resolved, path: Path | None
) -> dict[str, Any]:
    values = limits.limits.to_dict()
    return {
        "file": None if path is None else str(path),
        "serve": {
            name: {"value": value, "from": origins[name]} for name, value in settings.items()
        },
        "limits": {
            group: {
                name: {"value": value, "from": limits.origins[f"{group}.{name}"]}
                for name, value in found.items()
            }
            for group, found in values.items()
        },
    }


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return {None: "", True: "true", False: "false"}.get(value, str(value))


@app.command("show")
def show_command(
    config: ConfigFile = None,
    every: Annotated[bool, typer.Option("--all", help="Limits that nobody has set too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every setting, the limits that were set, and where each value came from."""
    use_config(config)
    print_config(None, as_json=as_json, every=every)

"""`cloche limits`: what is in force, where it came from, and what it may be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cloche.limits import Resolved

_WIDTH_PIPED: Final = 140  # columns where no terminal says how wide it is


def limits_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the values as JSON.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print labels, units and ranges as JSON.")
    ] = False,
    group: Annotated[
        str | None, typer.Option("--group", help="Only this group, such as guests.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file instead of cloche.toml.")
    ] = None,
) -> None:
    """Show every limit: its value, its range, and where the value came from."""
    from cloche.limits import GROUPS  # noqa: PLC0415 - slow to import
    from cloche.limits.adapters.settings import resolve_limits  # noqa: PLC0415 - slow to import
    from cloche.limits.limits import find_group  # noqa: PLC0415
    from cloche.limits.schema import schema_bytes, to_schema  # noqa: PLC0415

    names = tuple(GROUPS) if group is None else (find_group(group),)
    if schema:
        document = to_schema()
        whole = group is None
        typer.echo(
            schema_bytes().decode() if whole else _json({name: document[name] for name in names})
        )
        return
    resolved = resolve_limits(config_path=config)
    if as_json:
        values = resolved.limits.to_dict()
        typer.echo(_json({name: values[name] for name in names}))
        return
    _print_table(resolved, names)


def _json(document: object) -> str:
    import json  # noqa: PLC0415 - only where it is used

    return json.dumps(document, separators=(",", ":"))


def _print_table(resolved: Resolved, names: tuple[str, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    from cloche.limits import GROUPS, format_quantity  # noqa: PLC0415
    from cloche.limits.document import format_range  # noqa: PLC0415
    from cloche.limits.fields import specifications  # noqa: PLC0415
    from cloche.limits.layers import ORIGIN_DEFAULT  # noqa: PLC0415

    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("group", "limit", "value", "range", "origin"):
        table.add_column(column, overflow="fold")
    for name in names:
        values = getattr(resolved.limits, name)
        for spec in specifications(GROUPS[name]):
            value = format_quantity(getattr(values, spec.name), spec.unit)
            origin = resolved.origins[spec.path]
            style = "bold" if origin != ORIGIN_DEFAULT and not spec.read_only else None
            table.add_row(name, spec.name, value, format_range(spec), origin, style=style)
        table.add_section()
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_PIPED
    console.print(table)

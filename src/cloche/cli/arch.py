"""`cloche arch`: check the architecture contract of a project, or write a first one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from cloche.arch import Report
    from cloche.errors import ClocheError

app = typer.Typer(
    name="arch",
    help="Check the architecture contract of a Python project, or write a first one.",
    no_args_is_help=True,
)

_PROJECT = typer.Argument(help="Directory of the project.", show_default="this directory")
_JSON = typer.Option("--json", help="Print one JSON object with sorted keys.")


@app.command()
def check(
    path: Annotated[Path, _PROJECT] = Path(),
    *,
    as_json: Annotated[bool, _JSON] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Apply the suggested patches, then check again.")
    ] = False,
) -> None:
    """Compare the contract with the code.

    Prints ARCH_CONTRACT_OK (exit code 0), or each difference and ARCH_CONTRACT_FAIL (2). 3 means
    that a document is unreadable or invalid, 4 that the project is over the limits of arch.
    """
    # Imports wait here so that other commands start fast.
    from cloche.arch import check_project  # noqa: PLC0415
    from cloche.errors import ClocheError  # noqa: PLC0415
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    try:
        report = check_project(path, load_limits(), write=write)
    except ClocheError as error:
        _fail(error, as_json=as_json)
    _print_report(report, as_json=as_json)
    raise typer.Exit(report.exit_code)


@app.command()
def init(
    path: Annotated[Path, _PROJECT] = Path(),
    *,
    as_json: Annotated[bool, _JSON] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that are already there.")
    ] = False,
) -> None:
    """Write a first contract that describes the project as it is.

    Files that are already there are kept, and named.
    """
    from cloche.arch import init_project  # noqa: PLC0415
    from cloche.errors import ClocheError  # noqa: PLC0415
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    try:
        report = init_project(path, load_limits(), force=force)
    except ClocheError as error:
        _fail(error, as_json=as_json)
    if as_json:
        _print_json(report.to_document())
        return
    for name in report.written:
        typer.echo(f"wrote {name}")
    for name in report.kept:
        typer.echo(f"kept  {name} (already there; --force overwrites it)")
    typer.echo(f"Next: cloche arch check {path}")


def _fail(error: ClocheError, *, as_json: bool) -> NoReturn:
    from cloche.arch import ArchError  # noqa: PLC0415
    from cloche.arch.report import error_document  # noqa: PLC0415

    if as_json:
        _print_json(error_document(error))
    else:
        typer.echo(f"ARCH_CONTRACT_ERROR: {error.code}: {error.message}", err=True)
    # A wrong setting of a limit comes from elsewhere and has no code of ours.
    raise typer.Exit(error.exit_code if isinstance(error, ArchError) else ArchError.exit_code)


def _print_json(document: object) -> None:
    from cloche.arch.report import to_canonical_json  # noqa: PLC0415

    typer.echo(to_canonical_json(document), nl=False)


def _print_report(report: Report, *, as_json: bool) -> None:
    import sys  # noqa: PLC0415

    if as_json:
        _print_json(report.to_document())
        return
    for name in report.written:
        typer.echo(f"wrote {name}")
    if sys.stdout.isatty() and report.findings:
        _print_table(report)
        typer.echo(report.summary())
        return
    for line in report.lines():
        typer.echo(line)


def _print_table(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cloche.arch import CATALOGUE  # noqa: PLC0415
    from cloche.arch.report import place_of  # noqa: PLC0415

    table = Table(show_lines=True)
    for heading in ("code", "where", "what and what to do"):
        table.add_column(heading, overflow="fold")
    for finding in report.findings:
        style = "red" if finding.severity == "error" else "yellow"
        advice = CATALOGUE[finding.code].advice
        # Text, not markup: a message may hold brackets of the project's own.
        table.add_row(
            Text(finding.code, style=style),
            Text(place_of(finding).rstrip(": ")),
            Text(f"{finding.message}\n") + Text(advice, style="dim"),
        )
    Console().print(table)

"""`cloche replay`: run a recorded run again, and say whether it is the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cloche.cli.output import ImageProgress, print_json
from cloche.cli.run import document_of


def replay_command(
    journal: Annotated[Path, typer.Argument(metavar="FILE", help="A journal from --record.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not repeat the output.")] = False,
) -> None:
    """Run a recorded run again from its journal, to the same bytes.

    Exit code 0 when every byte is the same, 1 with both sides of the first difference.
    """
    from cloche.engine.adapters.images import Images  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.adapters.runner import Runner  # noqa: PLC0415
    from cloche.exec.api import request_of  # noqa: PLC0415
    from cloche.gate.adapters.file import read_journal  # noqa: PLC0415
    from cloche.gate.errors import DivergenceError  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415

    limits = load_limits()
    recorded = read_journal(journal, limits)
    request = request_of(recorded.inputs)
    runner = Runner(Images(limits, modules=guest_modules(), progress=ImageProgress()))
    try:
        execution = runner.execute(request, replay=recorded)
    except DivergenceError as error:
        if as_json:
            print_json({"same": False, "divergence": error.to_document()})
        else:
            _print_divergence(error)
        raise typer.Exit(1) from None
    if as_json:
        print_json({"same": True, "execution": document_of(execution)})
        return
    if not quiet:
        sys.stdout.write(execution.result.run.stdout)
        sys.stderr.write(execution.result.run.stderr)
    sys.stderr.write(f"cloche: replayed to the same bytes, journal {execution.journal_hash}\n")


def _print_divergence(error: Exception) -> None:
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415

    fields = getattr(error, "fields", {})
    grid = Table(title=f"The replay diverged: {fields.get('reason', error)}", title_justify="left")
    grid.add_column("recorded", overflow="fold")
    grid.add_column("now", overflow="fold")
    sides = [json.dumps(fields.get(side), indent=1) for side in ("recorded", "requested")]
    grid.add_row(*sides)
    Console(stderr=True).print(grid)

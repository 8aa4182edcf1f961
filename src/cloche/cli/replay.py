"""`cloche replay`: run a recorded run again, and say whether it is the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloche.cli.output import ImageProgress, print_json
from cloche.cli.run import document_of, print_output
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from cloche.exec.adapters.runner import Execution, OutputListener
    from cloche.gate.effect import EffectRequest


def replay_command(
    journal: Annotated[
        str, typer.Argument(metavar="FILE|RUN", help="A journal, or the id of a session's run.")
    ],
    until: Annotated[
        int | None, typer.Option("--until", help="Stop at this effect, before it is answered.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the timeline first.")] = False,
    store: Annotated[
        str | None, typer.Option("--store", help="Where runs are kept; or CLOCHE_STORE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not repeat the output.")] = False,
) -> None:
    """Run a recorded run again from its journal, to the same bytes.

    Exit code 0 when every byte is the same, 1 with both sides of the first difference.
    """
    from cloche.cli.journal import print_timeline, timeline  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.adapters.partial import ReplayStopped  # noqa: PLC0415
    from cloche.gate.errors import DivergenceError  # noqa: PLC0415

    if show and not as_json:
        print_timeline(journal, list(timeline(journal, store)))
    # A whole replay says what it printed when it is known to be the same.
    on_output = print_output if until is not None and not (as_json or quiet) else None
    try:
        if Path(journal).is_file():
            execution = _replay_file(Path(journal), until, on_output)
        else:
            execution = _replay_run(journal, store, until, on_output)
    except DivergenceError as error:
        if as_json:
            print_json({"same": False, "divergence": error.to_document()})
        else:
            _print_divergence(error)
        raise typer.Exit(1) from None
    except ReplayStopped as stopped:
        _print_stop(stopped.request, as_json=as_json)
        return
    if as_json:
        print_json({"same": True, "execution": document_of(execution)})
        return
    if not quiet:
        sys.stdout.write(execution.result.run.stdout)
        sys.stderr.write(execution.result.run.stderr)
    sys.stderr.write(f"cloche: replayed to the same bytes, journal {execution.journal_hash}\n")


def _replay_file(path: Path, until: int | None, on_output: OutputListener | None) -> Execution:
    from cloche.engine.adapters.images import Images  # noqa: PLC0415
    from cloche.exec.adapters.partial import StopAtLive, journal_until  # noqa: PLC0415
    from cloche.exec.adapters.runner import Runner  # noqa: PLC0415
    from cloche.exec.api import request_of  # noqa: PLC0415
    from cloche.gate.adapters.file import read_journal  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415

    limits = load_limits()
    recorded = read_journal(path, limits)
    if recorded.inputs.state:
        raise InvalidRunError(
            f"{path} is the journal of a run in a session: replay it by its run id, where the "
            "session is kept"
        )
    part = None if until is None else journal_until(recorded, until)
    runner = Runner(Images(limits, modules=guest_modules(), progress=ImageProgress()))
    return runner.execute(
        request_of(recorded.inputs),
        on_output=on_output,
        handlers=None if part is None else StopAtLive(),
        replay=recorded if part is None else None,
        resume=part,
    )


def _replay_run(
    run_id: str, store: str | None, until: int | None, on_output: OutputListener | None
) -> Execution:
    from cloche.exec.adapters.session_travel import SessionTravel  # noqa: PLC0415
    from cloche.exec.session import sessions_of  # noqa: PLC0415
    from cloche.exec.stores import store_at  # noqa: PLC0415

    sessions = sessions_of(store_at(store))
    try:
        return SessionTravel(sessions).replay(run_id, until=until, on_output=on_output)
    finally:
        sessions.close()


def _print_stop(request: EffectRequest, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "stopped_at": request.sequence,
                "kind": request.kind,
                "target": request.target,
                "args": request.args,
            }
        )
        return
    sys.stderr.write(
        f"cloche: stopped at effect {request.sequence}: {request.kind} {request.target}\n"
    )


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

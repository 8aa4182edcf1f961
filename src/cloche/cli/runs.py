"""`cloche runs`: what ran, how it ended, and stopping what runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from cloche.cli.output import print_json, table
from cloche.cli.session import AsJson, Store, time_text
from cloche.exec.errors import RunNotFoundError

if TYPE_CHECKING:
    from cloche.store.rows import Run

app = typer.Typer(help="Runs of all sessions.", no_args_is_help=True)

NS_PER_MS = 1_000_000
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")]


def _document(run: Run, status: str) -> dict[str, Any]:
    result = msgspec.json.decode(run.result)
    return {
        "id": run.id,
        "session_id": run.session_id,
        "language": run.language,
        "status": status,
        "created_ns": run.created_ns,
        "ended_ns": run.ended_ns,
        "result": result,
    }


@app.command("list")
def list_command(
    session: Annotated[str | None, typer.Option("--session", help="Of this session.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many, newest first.")] = 50,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from cloche.exec.listing import status_of_run  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.session import Session  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.stores import store_at  # noqa: PLC0415

    opened = store_at(store)
    session_id = None if session is None else Session.open(session, store=opened).id
    runs = opened.runs.list(session_id=session_id, limit=limit)
    told = [(run, status_of_run(opened, run, time.time_ns())) for run in runs]
    if as_json:
        print_json({"runs": [_document(run, status) for run, status in told]})
        return
    rows = []
    for run, status in told:
        result = msgspec.json.decode(run.result)
        taken = "" if run.ended_ns is None else f"{(run.ended_ns - run.created_ns) // NS_PER_MS} ms"
        code = str(result.get("exit_code", ""))
        rows.append(
            [
                run.id,
                status,
                "" if code is None else str(code),
                taken,
                time_text(run.created_ns),
            ]
        )
    table("Runs", ["id", "status", "exit", "took", "started"], rows, whole={"id"})


@app.command("show")
def show_command(run: RunId, store: Store = None, as_json: AsJson = False) -> None:
    """Show one run with its output."""
    from cloche.exec.listing import status_of_run  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.stores import store_at  # noqa: PLC0415

    opened = store_at(store)
    found = opened.runs.get(run)
    if found is None:
        raise RunNotFoundError(run)
    document = _document(found, status_of_run(opened, found, time.time_ns()))
    if as_json:
        print_json(document)
        return
    result = document.pop("result")
    rows = [[name, str(value)] for name, value in document.items() if value is not None]
    rows += [[name, str(value)] for name, value in result.items() if value not in (None, "")]
    table(run, ["field", "value"], rows)


@app.command("wake")
def wake_command(store: Store = None, as_json: AsJson = False) -> None:
    """Resume every run whose time has come; call it from a timer of your system."""
    from cloche.errors import ClocheError  # noqa: PLC0415
    from cloche.exec.session import Session  # noqa: PLC0415
    from cloche.exec.stores import store_at  # noqa: PLC0415

    opened = store_at(store)
    woken = []
    for timer in opened.timers.due(now_ns=time.time_ns()):
        run = opened.runs.get(timer.run_id)
        if run is None or run.session_id is None or run.status != "suspended":
            opened.timers.remove(timer.id)
            continue
        try:
            with Session.open(run.session_id, store=opened) as session:
                session.resume()
            outcome = "completed"
        except ClocheError as error:
            outcome = error.code
        woken.append({"run_id": run.id, "outcome": outcome})
    if as_json:
        print_json({"woken": woken})
    else:
        rows = [[w["run_id"], w["outcome"]] for w in woken]
        table("Woken", ["run", "outcome"], rows, whole={"run"})


@app.command("cancel")
def cancel_command(run: RunId, store: Store = None, as_json: AsJson = False) -> None:
    """Mark a run that a dead process left as cancelled; it will not be resumed."""
    from dataclasses import replace  # noqa: PLC0415

    from cloche.exec.stores import store_at  # noqa: PLC0415

    opened = store_at(store)
    found = opened.runs.get(run)
    if found is None:
        raise RunNotFoundError(run)
    if found.status in ("queued", "running", "suspended", "interrupted"):
        ended = replace(found, status="cancelled", ended_ns=time.time_ns())
        opened.runs.update(ended, expected=found.status)
        found = ended
    if as_json:
        print_json(_document(found, found.status))
    else:
        typer.echo(f"{run} is {found.status}")

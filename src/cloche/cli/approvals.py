"""`cloche approvals`: what waits for a person, and the decision.

Exit codes: 0 decided, or decided so before; 1 nothing was decided (too late, decided otherwise, no
such approval); 2 the options are wrong.
"""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.output import print_json, table
from cloche.cli.run import read_file
from cloche.cli.tools import Tools, tools_of
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from cloche.script.inbox import Answer, Inbox

app = typer.Typer(help="Approvals: what waits for a person.", no_args_is_help=True)

Store = Annotated[
    str | None,
    typer.Option("--store", help="Where runs are kept: a path or a URL; or CLOCHE_STORE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the approval, or how it begins.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; you if not given.")]
Reason = Annotated[str, typer.Option("--reason", help="For the script and the audit.")]

_ID_SHOWN = 12
_FOR_PROGRAMS = {"parameters", "entry"}  # of an approval; --json has them
_ARGUMENTS_SHOWN = 80


def _inbox(store: str | None, tools: list[str] | None = None) -> Inbox:
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.script.inbox import Inbox  # noqa: PLC0415

    return Inbox(store_at(store), tools=tools_of(tools, None, None) if tools else None)


@app.command("list")
def list_command(
    run: Annotated[str | None, typer.Option("--run", help="Of this run only.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for a decision, the oldest first."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    found = _inbox(store).list(run_id=run)
    if as_json:
        print_json({"approvals": [msgspec.to_builtins(one) for one in found]})
        return
    rows = []
    for one in found:
        shown = json.dumps(one.shown, ensure_ascii=False)
        cut = shown if len(shown) <= _ARGUMENTS_SHOWN else shown[: _ARGUMENTS_SHOWN - 1] + "…"
        rows.append([one.id[:_ID_SHOWN], one.tool, cut, one.run_id, _time(one.expires_ms)])
    table("approvals", ["id", "tool", "arguments", "run", "until (UTC)"], rows)


@app.command("show")
def show_command(approval: Id, store: Store = None, as_json: AsJson = False) -> None:
    """Show all that there is to know of one approval."""
    document = _inbox(store).show(approval)
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        if value in (None, "", [], {}) or name in _FOR_PROGRAMS:
            continue
        if name.endswith("_ms"):
            name, value = name.removesuffix("_ms"), _time(value)  # noqa: PLW2901 - shown so
        if name == "excerpt":
            typer.echo("excerpt:\n" + "\n".join(f"  {line}" for line in value.splitlines()))
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        typer.echo(f"{name}: {text}")


@app.command("approve")
def approve_command(
    approval: Id,
    args: Annotated[
        str | None,
        typer.Option("--args", help="Other arguments: a JSON object, or @FILE with one."),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help="And all calls of this tool in the session.")
    ] = False,
    who: Who = None,
    reason: Reason = "",
    tools: Tools = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Let a call happen; `cloche script resume RUN` goes on."""
    if args is not None and always:
        raise InvalidRunError("--args is about this call, --always about all: give one of them")
    changed = None if args is None else _arguments(args)
    answer = _inbox(store, tools).approve(
        approval, who=who or getpass.getuser(), args=changed, always=always, reason=reason
    )
    _say(answer, as_json)


@app.command("reject")
def reject_command(
    approval: Id,
    never: Annotated[
        bool, typer.Option("--never", help="Nor any call of this tool in the session.")
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="End the whole run.")] = False,
    who: Who = None,
    reason: Reason = "",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Let a call not happen; the script gets an error that it may catch."""
    if never and run:
        raise InvalidRunError("--never is about the tool, --run about the run: give one of them")
    answer = _inbox(store).reject(
        approval, who=who or getpass.getuser(), reason=reason, never=never, run=run
    )
    _say(answer, as_json)


def _arguments(text: str) -> dict[str, Any]:
    if text.startswith("@"):
        from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415 - when needed

        limit_bytes = load_limits().scripts.args_limit_bytes
        text = read_file(Path(text[1:]), limit_bytes).decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidRunError(f"--args is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRunError(f"--args must be an object, found {type(found).__name__}")
    return found


def _say(answer: Answer, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        typer.echo(answer.says)
        if answer.changed and answer.approval is not None:
            typer.echo(f"go on: cloche script resume {answer.approval.run_id}")
    raise typer.Exit(0 if answer.changed or answer.ignored == "same" else 1)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

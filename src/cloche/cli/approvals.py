"""`cloche approvals`: what waits for a person, and the decision.

Exit codes: 0 decided, or decided so before; 1 nothing was decided (too late, decided otherwise, no
such approval); 2 the options are wrong.
"""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cloche.cli.output import print_json, table
from cloche.cli.tools import Tools, json_object, tools_of
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

_ID_SHOWN: Final = 12
_FOR_PROGRAMS: Final = {"parameters", "entry"}  # of an approval; --json has them
_ALWAYS_SHOWN: Final = {"detached", "calls_left"}
_ARGUMENTS_SHOWN: Final = 80


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
        left = "" if one.calls_left is None else str(one.calls_left)
        detached = ", ".join(one.detached)
        until = _time(one.expires_ms)
        rows.append([one.id[:_ID_SHOWN], one.tool, cut, left, detached, one.run_id, until])
    columns = ["id", "tool", "arguments", "left", "detached", "run", "until (UTC)"]
    table("approvals", columns, rows, whole={"id", "run"})


@app.command("show")
def show_command(approval: Id, store: Store = None, as_json: AsJson = False) -> None:
    """Show all that there is to know of one approval."""
    document = _inbox(store).show(approval)
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        is_empty = not value and value != 0
        if name in _FOR_PROGRAMS or (is_empty and name not in _ALWAYS_SHOWN):
            continue
        if name in _ALWAYS_SHOWN:
            name, value = name.replace("_", " "), _listed(value)  # noqa: PLW2901 - shown so
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
    changed = None if args is None else json_object("--args", args)
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


def _listed(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value)


@app.command("audit")
def audit_command(
    run: Annotated[str | None, typer.Option("--run", help="Of this run only.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Say only whether the chain of hashes holds.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List what was asked and decided, in order; the chain of hashes is verified."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    inbox = _inbox(store)
    proof = inbox.verify()
    entries = () if verify else inbox.audit(run_id=run)
    if as_json:
        document = {"verified": True, "count": proof.count, "hash": proof.hash.hex()}
        if not verify:
            document["entries"] = [msgspec.to_builtins(one) for one in entries]
        print_json(document)
        return
    if not verify:
        columns = ["at (UTC)", "approval", "tool", "event", "by", "decision", "run", "reason"]
        rows = [
            [
                _time(one.at_ms),
                one.approval_id[:_ID_SHOWN],
                one.tool,
                one.event,
                one.who,
                (one.verdict or "") + (" with other arguments" if one.changed_sha256 else ""),
                one.run_id,
                one.reason,
            ]
            for one in entries
        ]
        table("audit", columns, rows, whole={"approval", "run"})
    typer.echo(f"verified: {proof.count} entries, the last hash is {proof.hash.hex()}")


def _say(answer: Answer, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        typer.echo(answer.says)
        one = answer.approval
        if answer.changed and one is not None and one.made is not None:
            over = one.made.verdict == "reject_run"
            typer.echo("the run is over") if over else typer.echo(
                f"go on: cloche script resume {one.run_id}"
            )
    raise typer.Exit(0 if answer.changed or answer.ignored == "same" else 1)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

"""What `cloche script` prints: results, what was undone, both sides of a divergence, snippets.

Values and lists go to standard output, everything else to standard error.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import typer

from cloche.cli.output import print_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.gate.errors import DivergenceError
    from cloche.script.events import ScriptEvent
    from cloche.script.harness import ScriptHarness
    from cloche.script.items import ScriptResult
    from cloche.script.snippets import Snippet

_FIELDS: Final = ("run_id", "status", "value", "output", "tool_calls", "error", "usage")
_HASH_SHOWN: Final = 12
_ARGUMENTS_SHOWN: Final = 80


def document_of(result: ScriptResult) -> dict[str, Any]:
    """Return what `--json` prints of a result."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    whole: dict[str, Any] = msgspec.to_builtins(result)
    return {name: whole[name] for name in _FIELDS}


def show(harness: ScriptHarness, result: ScriptResult) -> None:
    """Print a result for a person."""
    sys.stdout.write(result.output)
    if result.output and not result.output.endswith("\n"):
        sys.stdout.write("\n")
    if result.status in {"completed", "checked"}:
        if result.value is not None:
            typer.echo(json.dumps(result.value, ensure_ascii=False, indent=2))
    elif result.status == "suspended":
        typer.echo(f"run {result.run_id} waits for a person:")
        for one in harness.pending:
            if one.run_id == result.run_id:
                shown = json.dumps(one.shown, ensure_ascii=False)
                typer.echo(f"  {one.tool} {shown}\n    cloche approvals approve {one.id[:12]}")
        typer.echo(f"then: cloche script resume {result.run_id}")
    elif result.error is not None:
        sys.stdout.flush()
        sys.stderr.write(f"cloche: {result.status}: {result.error['message']}\n")
    else:
        typer.echo(result.status)


def show_undone(harness: ScriptHarness, result: ScriptResult) -> None:
    """Print what became of each completed call of a run that was rolled back."""
    error = result.error
    failed = [] if error is None or not _is_partial(result) else error["fields"]["failed"]
    places = {one["place"]: one["problem"] for one in failed}
    lines = []
    for place, call in enumerate(result.tool_calls):
        said = f"{call.tool} {_short(call.args)}"
        if call.status == "reverted":
            lines.append(f"undone: {said}")
        elif place in places:
            lines.append(f"not undone: {said}: {places[place]}")
        elif call.status == "completed" and not harness.tools[call.tool].read_only:
            lines.append(f"stays done: {said}: it has no revert")
    for line in lines or ["there was nothing to undo"]:
        typer.echo(line)
    if failed:
        sys.stdout.flush()
        sys.stderr.write(
            "cloche: try the rest again: cloche script rollback " + result.run_id + "\n"
        )


def undone_code(result: ScriptResult) -> int:
    """Return the exit code of a rollback: 1 if something stays done that has a `revert`."""
    return int(_is_partial(result))


def _is_partial(result: ScriptResult) -> bool:
    return result.error is not None and result.error["code"] == "ROLLBACK_PARTIAL"


def _short(args: Any) -> str:
    text = json.dumps(args, ensure_ascii=False)
    return text if len(text) <= _ARGUMENTS_SHOWN else text[: _ARGUMENTS_SHOWN - 1] + "…"


def show_divergence(error: DivergenceError, *, as_json: bool) -> None:
    """Print both sides of what another script, or the same one, did otherwise."""
    if as_json:
        print_json({"same": False, "divergence": error.to_document()})
        return
    typer.echo(f"the replay diverged: {error.fields['reason']}")
    for title, side in (("recorded", "recorded"), ("now", "requested")):
        typer.echo(f"{title}:")
        document = error.fields[side]
        for name, value in (document or {"nothing": ""}).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines = text.splitlines() or [""]
            typer.echo(f"  {name}: {lines[0]}".rstrip())
            for line in lines[1:]:
                typer.echo(f"    {line}")


def snippet_document(snippet: Snippet) -> dict[str, Any]:
    """Return what `--json` prints of a snippet."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    document: dict[str, Any] = msgspec.to_builtins(snippet)
    return document


def show_snippets(snippets: Sequence[Snippet], *, as_json: bool) -> None:
    """Print what is kept by name."""
    if as_json:
        print_json({"snippets": [snippet_document(one) for one in snippets]})
        return
    rows = [
        [one.name, one.language, json.dumps(one.params, ensure_ascii=False), one.run_id]
        for one in snippets
    ]
    columns = ["name", "language", "parameters", "saved from run"]
    table("snippets", columns, rows, whole={"name", "saved from run"})


def show_jobs(harness: ScriptHarness, *, as_json: bool) -> None:
    """Print detached work."""
    jobs = harness.jobs
    if as_json:
        print_json({"jobs": [{**one.to_document(), "run_id": one.run_id} for one in jobs]})
        return
    rows = [[one.id, one.tool, one.status, one.run_id] for one in jobs]
    table("jobs", ["id", "tool", "status", "run"], rows, whole={"id", "run"})


def tell(event: ScriptEvent) -> None:
    """Say on standard error what happens to a run."""
    said = f"{event.kind} {event.language} {event.sha256[:_HASH_SHOWN]} run {event.run_id}"
    if event.status:
        said += f": {event.tool_calls} calls, {event.time_ms} ms"
    if event.code:
        said += f", {event.code}"
    sys.stderr.write(f"[script] {said}\n")


def tell_calls(result: ScriptResult) -> None:
    """Say on standard error what a run called."""
    for call in result.tool_calls:
        at = "" if call.line is None else f" (line {call.line})"
        error = "" if call.error is None else f": {call.error['message']}"
        said = f"{call.tool}{at} {call.status}, {call.duration_ms} ms{error}"
        sys.stderr.write(f"[script] {said}\n")


def progress(message: str, kind: str) -> None:
    """Say on standard error what a script says of its progress."""
    sys.stderr.write(f"{'warning' if kind == 'warn' else 'progress'}: {message}\n")

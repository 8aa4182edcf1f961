"""`cloche script`: run the scripts of a message, or one program, with tools and approvals.

Exit codes, of the first script that did not complete: 0 all did (or were checked, or are switched
off); 1 failed; 2 the options are wrong; 75 it waits for a person; 77 a person ended the run, or
nobody decided in time; 130 cancelled.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloche.cli.output import print_json, table
from cloche.cli.run import program_of, read_file
from cloche.cli.tools import Commands, Packs, Tools, Workspace, tools_of
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.script.events import ScriptEvent
    from cloche.script.finder import Language
    from cloche.script.harness import ScriptHarness
    from cloche.script.items import ScriptResult

_EXIT_CODES: Final = {
    "completed": 0,
    "checked": 0,
    "rolled_back": 0,
    "failed": 1,
    "skipped": 1,
    "suspended": 75,  # EX_TEMPFAIL of sysexits.h
    "rejected": 77,  # EX_NOPERM
    "cancelled": 130,
}
_LANGUAGES: Final[dict[str, Language]] = {
    ".py": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    "py": "python",
    "python": "python",
    "js": "javascript",
    "javascript": "javascript",
    "ts": "typescript",
    "typescript": "typescript",
}
_FIELDS: Final = ("run_id", "status", "value", "output", "tool_calls", "error", "usage")
_ACTIONS: Final = ("resume", "rollback")
_ALONE: Final = ("jobs", "prune")
_HASH_SHOWN: Final = 12


def script_command(
    program: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|resume|rollback|jobs|prune",
            help="A message with <tool-calls>, or a program; - reads standard input. `jobs` lists "
            "detached work, `prune` removes old runs.",
        ),
    ],
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="After `resume`: go on; after `rollback`: undo."),
    ] = None,
    tools: Tools = None,
    workspace: Workspace = None,
    exec_: Commands = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "-l", help="Of what names none: ts, js or python; by suffix."),
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", help="enabled, dry-run (nothing runs), or disabled.")
    ] = "enabled",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Rules about calls, a JSON list; first match.")
    ] = None,
    session: Annotated[
        str, typer.Option("--session", help="What `always` and `never` hold for.")
    ] = "",
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Run what stands behind a script that failed.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Where runs wait: a path or a URL; or CLOCHE_STORE."),
    ] = None,
    packs: Packs = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say on standard error what runs and what it calls.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; an array for several scripts.")
    ] = False,
) -> None:
    """Run the scripts of a message, or one program, with tools and approvals."""
    from cloche.exec.adapters.effects import CancelToken  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.stores import store_at  # noqa: PLC0415
    from cloche.script.harness import MODES, ScriptHarness  # noqa: PLC0415

    if mode not in MODES:
        raise InvalidRunError(f"--mode is {mode!r}; it must be one of {', '.join(MODES)}")
    if (program in _ACTIONS) != (run is not None):
        raise InvalidRunError("RUN goes with `resume` or `rollback`, and they need it")
    known = _language(program, language)
    harness = ScriptHarness(
        tools_of(tools, workspace, exec_, packs=packs),
        policy=None if policy is None else _policy(policy),
        mode=mode,  # type: ignore[arg-type]  # checked above
        default=known or "typescript",
        go_on=go_on,
        session_id=session,
        store=store_at(store),
        on_progress=None if as_json else _progress,
        on_event=_tell if verbose else None,
    )
    if program in _ALONE:
        _alone(program, harness, as_json)
        return
    cancel = CancelToken()
    before = signal.signal(signal.SIGINT, lambda *_: cancel.cancel())
    try:
        results = _performed(harness, program, run, known, cancel)
    finally:
        signal.signal(signal.SIGINT, before)
    _print(harness, results, as_json=as_json, verbose=verbose)
    if mode == "disabled":
        return
    codes = (_EXIT_CODES[result.status] for result in results)
    raise typer.Exit(next((code for code in codes if code), 0))


def _performed(
    harness: ScriptHarness, program: str, run: str | None, language: Language | None, cancel: Any
) -> Sequence[ScriptResult]:
    if run is not None and program == "rollback":
        return [harness.rollback(run)]
    if run is not None:
        return [harness.resume(run, cancel=cancel)]
    return _results(harness, program_of(program, None)[1], language, cancel)


def _print(
    harness: ScriptHarness, results: Sequence[ScriptResult], *, as_json: bool, verbose: bool
) -> None:
    if verbose:
        for result in results:
            _tell_calls(result)
    if as_json:
        documents = [_document(result) for result in results]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for result in results:
        _show(harness, result)


def _results(
    harness: ScriptHarness, text: str, language: Language | None, cancel: Any
) -> Sequence[ScriptResult]:
    """Run what a text holds: the scripts of a message, or itself."""
    if "<tool-calls" in text or "</tool-calls" in text:
        message = {"role": "assistant", "content": text}
        history = harness.handle(message, api="openai.chat", cancel=cancel)
        if history.results:
            return history.results
    return [harness.run(text, language=language, cancel=cancel)]


def _language(program: str, language: str | None) -> Language | None:
    if language is None:
        return _LANGUAGES.get(Path(program).suffix)
    known = _LANGUAGES.get(language)
    if known is None or language.startswith("."):
        raise InvalidRunError(f"--language is {language!r}; it must be ts, js or python")
    return known


def _policy(path: Path) -> Any:
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415 - when needed
    from cloche.script.policy import ToolPolicy  # noqa: PLC0415

    limits = load_limits()
    data = read_file(path, limits.guests.code_limit_bytes)
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InvalidRunError(f"{path} is no JSON: {error}", path=str(path)) from None
    return ToolPolicy.from_document(document, limits=limits)


def _document(result: ScriptResult) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    whole: dict[str, Any] = msgspec.to_builtins(result)
    return {name: whole[name] for name in _FIELDS}


def _show(harness: ScriptHarness, result: ScriptResult) -> None:
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


def _alone(action: str, harness: ScriptHarness, as_json: bool) -> None:
    """Do what concerns no run: list detached work, or remove old runs."""
    if action == "prune":
        removed = harness.prune()
        if as_json:
            print_json({"removed": removed})
        else:
            typer.echo(f"{removed} runs removed")
        return
    jobs = harness.jobs
    if as_json:
        print_json({"jobs": [{**one.to_document(), "run_id": one.run_id} for one in jobs]})
        return
    rows = [[one.id, one.tool, one.status, one.run_id] for one in jobs]
    table("jobs", ["id", "tool", "status", "run"], rows)


def _tell(event: ScriptEvent) -> None:
    said = f"{event.kind} {event.language} {event.sha256[:_HASH_SHOWN]} run {event.run_id}"
    if event.status:
        said += f": {event.tool_calls} calls, {event.time_ms} ms"
    if event.code:
        said += f", {event.code}"
    sys.stderr.write(f"[script] {said}\n")


def _tell_calls(result: ScriptResult) -> None:
    for call in result.tool_calls:
        at = "" if call.line is None else f" (line {call.line})"
        error = "" if call.error is None else f": {call.error['message']}"
        said = f"{call.tool}{at} {call.status}, {call.duration_ms} ms{error}"
        sys.stderr.write(f"[script] {said}\n")


def _progress(message: str, kind: str) -> None:
    sys.stderr.write(f"{'warning' if kind == 'warn' else 'progress'}: {message}\n")

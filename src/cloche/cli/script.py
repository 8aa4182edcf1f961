"""`cloche script`: run the scripts of a message, or one program, with tools and approvals.

Exit codes, of the first script that did not complete: 0 all did (or were checked, or are switched
off); 1 failed, or not all was undone, or a replay diverged; 2 the options are wrong; 75 it waits
for a person; 77 a person ended the run, or nobody decided in time; 130 cancelled.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cloche.cli import script_shown as shown
from cloche.cli.output import print_json
from cloche.cli.run import program_of, read_file
from cloche.cli.tools import Commands, Packs, Tools, Workspace, json_object, tools_of
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloche.exec.adapters.effects import CancelToken
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
# What a file holds, by its suffix.
_KINDS: Final[dict[str, Literal["program", "message"]]] = {
    **{suffix: "program" for suffix in _LANGUAGES if suffix.startswith(".")},
    ".md": "message",
    ".markdown": "message",
}
# What follows on the first word, by its name, and whether it must.
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "resume": ("RUN",),
    "rollback": ("RUN",),
    "fork": ("RUN",),
    "replay": ("RUN",),
    "save": ("RUN", "NAME"),
    "snippet": ("NAME",),
    "snippets": (),
    "jobs": (),
    "prune": (),
}
_PROGRAM: Final = "FILE"
_OPTIONS: Final = {
    "--calls": ("fork",),
    "--source": ("replay",),
    "--params": (_PROGRAM, "snippet"),
}


def script_command(
    program: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-|resume|rollback|fork|replay|save|snippet|snippets|jobs|prune",
            help="A message with <tool-calls>, or a program; - reads standard input. Or a word: go "
            "on with a run, undo it, run it anew behind its first calls, run it again from its "
            "journal, keep its script by a name; run what is kept, list that; list detached work; "
            "remove old runs.",
        ),
    ],
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Behind a word: the run; the NAME behind `snippet`."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="After `save RUN`: of the snippet.")
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
    params: Annotated[
        str | None,
        typer.Option(
            "--params", help="JSON object, or @FILE: `context.params` of a program or snippet."
        ),
    ] = None,
    calls: Annotated[
        int | None, typer.Option("--calls", min=0, help="With `fork`: how many calls it shares.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="With `replay`: another script, FILE or -.")
    ] = None,
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
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.script.harness import MODES, ScriptHarness  # noqa: PLC0415

    if mode not in MODES:
        raise InvalidRunError(f"--mode is {mode!r}; it must be one of {', '.join(MODES)}")
    behind = [word for word in (run, name) if word is not None]
    _check_words(program, behind, {"--calls": calls, "--source": source, "--params": params})
    known = _language(program, language)
    harness = ScriptHarness(
        tools_of(tools, workspace, exec_, packs=packs),
        policy=None if policy is None else _policy(policy),
        mode=mode,  # type: ignore[arg-type]  # checked above
        default=known or "typescript",
        go_on=go_on,
        session_id=session,
        store=store_at(store),
        on_progress=None if as_json else shown.progress,
        on_event=shown.tell if verbose else None,
    )
    given = None if params is None else json_object("--params", params)
    match program:
        case "jobs":
            shown.show_jobs(harness, as_json=as_json)
        case "prune":
            _prune(harness, as_json=as_json)
        case "snippets":
            shown.show_snippets(harness.snippets, as_json=as_json)
        case "save":
            _save(harness, behind[0], behind[1], as_json=as_json)
        case "rollback":
            _rollback(harness, behind[0], as_json=as_json)
        case "replay":
            _replay(harness, behind[0], source, as_json=as_json)
        case _:
            first = behind[0] if behind else ""
            results = _perform(
                harness, program, first, calls=calls or 0, language=known, params=given
            )
            if program == "fork" and not as_json:
                sys.stderr.write(f"cloche: {first} goes on anew as run {results[0].run_id}\n")
            _print(harness, results, as_json=as_json, verbose=verbose)
            if mode != "disabled":
                codes = (_EXIT_CODES[result.status] for result in results)
                raise typer.Exit(next((code for code in codes if code), 0))


def _check_words(program: str, given: list[str], options: dict[str, Any]) -> None:
    """Refuse words without what belongs to them, and options that belong to others."""
    wanted = _WORDS.get(program, ())
    if len(given) != len(wanted):
        raise InvalidRunError(
            f"`cloche script {program}` takes {' and '.join(wanted) or 'nothing'} behind it, found "
            f"{' '.join(given) or 'nothing'}"
        )
    for option, value in options.items():
        goes_with = _OPTIONS[option]
        if value is not None and (program if program in _WORDS else _PROGRAM) not in goes_with:
            raise InvalidRunError(f"{option} goes with {' or '.join(goes_with)}")
    if program == "fork" and options["--calls"] is None:
        raise InvalidRunError("`cloche script fork` needs --calls: how many calls are shared")


@contextmanager
def _interruptible() -> Iterator[CancelToken]:
    """Let Ctrl-C end the script, whose result then tells what it had done."""
    from cloche.exec.adapters.effects import CancelToken  # noqa: PLC0415 - keeps --help fast

    cancel = CancelToken()
    before = signal.signal(signal.SIGINT, lambda *_: cancel.cancel())
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def _rollback(harness: ScriptHarness, run: str, *, as_json: bool) -> None:
    from cloche.script.errors import ToolNotFoundError  # noqa: PLC0415 - keeps --help fast

    try:
        result = harness.rollback(run)
    except ToolNotFoundError as error:
        used = error.fields["tool"]
        problem = f"the run used the tool '{used}': give it with --tools; nothing was undone"
        raise InvalidRunError(problem) from None
    if as_json:
        print_json(shown.document_of(result))
    else:
        shown.show_undone(harness, result)
    raise typer.Exit(shown.undone_code(result))


def _replay(harness: ScriptHarness, run: str, source: str | None, *, as_json: bool) -> None:
    from cloche.gate.errors import DivergenceError  # noqa: PLC0415 - keeps --help fast

    text = None if source is None else program_of(source, None)[1]
    try:
        result = harness.replay(run, source=text)
    except DivergenceError as error:
        shown.show_divergence(error, as_json=as_json)
        raise typer.Exit(1) from None
    _print(harness, [result], as_json=as_json, verbose=False)
    if not as_json:
        sys.stdout.flush()
        sys.stderr.write("cloche: replayed, the same from start to end\n")


def _save(harness: ScriptHarness, run: str, name: str, *, as_json: bool) -> None:
    snippet = harness.save(run, name)
    if as_json:
        print_json(shown.snippet_document(snippet))
        return
    params = json.dumps(snippet.params, ensure_ascii=False)
    typer.echo(f"saved: cloche script snippet {name} --params {shlex.quote(params)}")


def _prune(harness: ScriptHarness, *, as_json: bool) -> None:
    removed = harness.prune()
    if as_json:
        print_json({"removed": removed})
    else:
        typer.echo(f"{removed} runs removed")


def _perform(
    harness: ScriptHarness,
    program: str,
    run: str,
    *,
    calls: int,
    language: Language | None,
    params: dict[str, Any] | None,
) -> Sequence[ScriptResult]:
    with _interruptible() as cancel:
        match program:
            case "resume":
                return [harness.resume(run, cancel=cancel)]
            case "fork":
                return [harness.fork(run, calls=calls, cancel=cancel)]
            case "snippet":
                return [harness.run_snippet(run, params, cancel=cancel)]
            case _:
                most = harness.limits.scripts.message_limit_bytes
                text = program_of(program, None, limit_bytes=most)[1]
                kind = _KINDS.get(Path(program).suffix)
                return _results(harness, text, kind, language, params, cancel)


def _print(
    harness: ScriptHarness, results: Sequence[ScriptResult], *, as_json: bool, verbose: bool
) -> None:
    if verbose:
        for result in results:
            shown.tell_calls(result)
    if as_json:
        documents = [shown.document_of(result) for result in results]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    if not results:
        sys.stderr.write("cloche: there is no script in the message\n")
    for result in results:
        shown.show(harness, result)


def _results(
    harness: ScriptHarness,
    text: str,
    kind: Literal["program", "message"] | None,
    language: Language | None,
    params: dict[str, Any] | None,
    cancel: CancelToken,
) -> Sequence[ScriptResult]:
    """Run what a text holds: the scripts of a message, or itself.

    What the file is not known for, its tags say.
    """
    from cloche.script.messages import read_message  # noqa: PLC0415 - keeps --help fast

    has_tags = "<tool-calls" in text or "</tool-calls" in text
    if kind == "message" or (kind is None and has_tags):
        message = {"role": "assistant", "content": text}
        read = read_message(message, api="openai.chat", limits=harness.limits)
        if params is not None and read.scripts:
            raise InvalidRunError("--params is for one program; this is a message with scripts")
        history = harness.handle(message, api="openai.chat", cancel=cancel)
        if history.results or kind == "message":
            return history.results
    return [harness.run(text, language=language, params=params, cancel=cancel)]


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

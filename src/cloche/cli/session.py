"""`cloche session`: machines that live on, by name."""

from __future__ import annotations

import os
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloche.cli.net_options import Allow, Lists, SecretNames, policy_of
from cloche.cli.output import print_error, print_json, table
from cloche.cli.run import (
    document_of,
    environment_of,
    limits_of,
    print_output,
    program_of,
    read_file,
    stdin_of,
)
from cloche.exec.errors import InvalidRunError, RunSuspendedError
from cloche.limits.quantity import parse_quantity

if TYPE_CHECKING:
    from cloche.exec.listing import Listed
    from cloche.exec.session import Session

app = typer.Typer(help="Sessions: heap, files and directory live on.", no_args_is_help=True)

NS_PER_MS: Final = 1_000_000
EXIT_SUSPENDED: Final = 75  # EX_TEMPFAIL of sysexits.h: not yet
_TOLD_BY_GUEST: Final = ("runtime-failed", "compilation-failed")

Store = Annotated[
    str | None,
    typer.Option("--store", help="Where sessions are kept: a path or a URL; or CLOCHE_STORE."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[str, typer.Argument(metavar="SESSION", help="Id or name.")]
NewName = Annotated[str | None, typer.Option("--name", help="A name for it.")]
Inside = Annotated[str, typer.Argument(metavar="PATH", help="A path in the session.")]


def _open(name: str, store: str | None) -> Session:
    from cloche.exec.session import Session  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.stores import VARIABLE, store_at  # noqa: PLC0415

    if store is not None:
        os.environ[VARIABLE] = store  # the lists and secrets of its calls lie beside it
    return Session.open(name, store=store_at(store))


def _say(session: Session, text: str, as_json: bool, **more: Any) -> None:
    if as_json:
        print_json({"id": session.id, "name": session.name, "language": session.language, **more})
    else:
        typer.echo(text)


@app.command("new")
def new_command(
    language: Annotated[str, typer.Option("--language", "-l", help="python or javascript.")],
    name: NewName = None,
    image: Annotated[str | None, typer.Option("--image", help="See `cloche images list`.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of its randomness.")] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", help="A file that is there from the start.")
    ] = None,
    mount: Annotated[
        list[str] | None, typer.Option("--mount", help="HOST:GUEST[:ro|overlay], a folder.")
    ] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", help="Of each run.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Of each run.")] = None,
    repeat: Annotated[
        bool, typer.Option(help="After a crash: perform again what was in flight.")
    ] = True,
    allow: Allow = None,
    net: Lists = None,
    secret: SecretNames = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Create a session."""
    from cloche.exec.mounts import Mount  # noqa: PLC0415
    from cloche.exec.session import Session  # noqa: PLC0415
    from cloche.exec.stores import VARIABLE, store_at  # noqa: PLC0415
    from cloche.exec.types import File  # noqa: PLC0415

    if store is not None:
        os.environ[VARIABLE] = store  # secrets are looked for beside it

    limits = limits_of(timeout, memory, None, None)
    mounts = [Mount.parse(text) for text in mount or []]
    session = Session.create(
        language,
        name=name,
        image=image,
        seed=seed,
        modules=[
            File(name=path.name, content=read_file(path, limits.guests.file_limit_bytes))
            for path in file or []
        ],
        mounts=mounts,
        limits=limits,
        policy=policy_of(allow, net, secret),
        repeat_in_flight=repeat,
        store=store_at(store),
    )
    with session:
        _say(session, session.name or session.id, as_json)


@app.command("list")
def list_command(
    name: Annotated[str | None, typer.Option("--name", help="A pattern: 'job-*'.")] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="idle, running, suspended, interrupted or failed."),
    ] = None,
    language: Annotated[str | None, typer.Option("--language", "-l", help="Of this one.")] = None,
    older: Annotated[
        str | None, typer.Option("--older", help="Not changed for so long: 30min, 48h.")
    ] = None,
    newer: Annotated[
        str | None, typer.Option("--newer", help="Changed within so long: 30min, 48h.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, all or some."""
    from cloche.exec.listing import list_sessions  # noqa: PLC0415
    from cloche.exec.request import full_language  # noqa: PLC0415
    from cloche.exec.stores import store_at  # noqa: PLC0415

    found = list(
        list_sessions(
            store_at(store),
            now_ns=time.time_ns(),
            name=name,
            status=status,
            language=None if language is None else full_language(language),
            changed_before_ns=_ago(older),
            changed_after_ns=_ago(newer),
        )
    )
    if as_json:
        print_json({"sessions": [_listed(one) for one in found]})
        return
    table(
        "Sessions",
        ["id", "name", "language", "status", "operations", "changed"],
        [
            [
                one.row.id,
                one.row.name or "",
                one.row.language,
                one.status,
                str(one.row.head.ordinal),
                time_text(one.row.changed_ns),
            ]
            for one in found
        ],
        whole={"id"},
    )


def _listed(one: Listed) -> dict[str, Any]:
    row = one.row
    return {
        "id": row.id,
        "name": row.name,
        "language": row.language,
        "status": one.status,
        "operations": row.head.ordinal,
        "working_dir": row.working_dir,
        "created_ns": row.created_ns,
        "changed_ns": row.changed_ns,
    }


def _ago(duration: str | None) -> int | None:
    """Return the time of the wall clock so long ago."""
    if duration is None:
        return None
    return time.time_ns() - parse_quantity(duration, "ms", "the duration") * NS_PER_MS


@app.command("run")
def run_command(
    session: Name,
    program: Annotated[
        str, typer.Argument(metavar="FILE|-", help="The program; - reads it from standard input.")
    ] = "",
    code: Annotated[str | None, typer.Option("-c", "--code", help="The program as text.")] = None,
    entrypoint: Annotated[
        str | None, typer.Option("--entrypoint", help="A file of the session to run.")
    ] = None,
    arg: Annotated[list[str] | None, typer.Option("--arg", help="An argument.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE.")] = None,
    stdin: Annotated[str | None, typer.Option("--stdin", help="Text, @FILE, or -.")] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", help="Time limit.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory limit.")] = None,
    allow: Allow = None,
    net: Lists = None,
    secret: SecretNames = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Run a program in a session, with live output and its own exit code."""
    if entrypoint is not None and (program or code is not None):
        raise InvalidRunError("give either a program or --entrypoint, not both")
    filename, text = ("", None) if entrypoint is not None else program_of(program, code)
    with _open(session, store) as opened:
        execution = opened.execute(
            text,
            entrypoint=entrypoint,
            filename=filename,
            args=arg or [],
            env=environment_of(env or []),
            stdin=stdin_of(stdin, program),
            limits=limits_of(timeout, memory, None, None) if timeout or memory else None,
            policy=policy_of(allow, net, secret),
            on_output=None if as_json else print_output,
        )
    suspension = execution.suspension
    if as_json:
        suspended = None if suspension is None else {"due_ns": suspension.due_ns}
        print_json({**document_of(execution), "suspended": suspended})
    elif suspension is not None:
        when = "something" if suspension.due_ns is None else time_text(suspension.due_ns)
        typer.echo(
            f"cloche: the run waits for {when} and is put away; go on with "
            f"`cloche session resume {session}`",
            err=True,
        )
    elif execution.error is not None and execution.error.case not in _TOLD_BY_GUEST:
        print_error(execution.error)
    raise typer.Exit(execution.exit_code if suspension is None else EXIT_SUSPENDED)


@app.command("resume")
def resume_command(session: Name, store: Store = None, as_json: AsJson = False) -> None:
    """Go on with the run that was put away, once what it waits for is there."""
    with _open(session, store) as opened:
        run_id = opened.suspended
        try:
            result = opened.resume(on_output=None if as_json else print_output)
        except RunSuspendedError as error:
            print_error(error, as_json=as_json)
            raise typer.Exit(EXIT_SUSPENDED) from None
        if as_json:
            _say(opened, "", as_json, run_id=run_id, stdout=result.run.stdout)
    raise typer.Exit(result.run.exit_code or 0)


@app.command("promise")
def promise_command(
    promise: Annotated[str, typer.Argument(metavar="ID", help="Of a promise.")],
    value: Annotated[str, typer.Argument(metavar="JSON", help="Its value.")] = "null",
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Give a promise its value; a run that waits for it can then be resumed."""
    import json  # noqa: PLC0415

    from cloche.exec.session import complete_promise  # noqa: PLC0415
    from cloche.exec.stores import store_at  # noqa: PLC0415

    try:
        decoded = json.loads(value)
    except ValueError as error:
        raise InvalidRunError(f"{value!r} is no JSON: {error}") from None
    first = complete_promise(promise, decoded, store=store_at(store))
    if as_json:
        print_json({"id": promise, "completed": first})
    else:
        typer.echo("completed" if first else "it had a value already; that one stays")


@app.command("mount")
def mount_command(
    session: Name,
    folder: Annotated[str, typer.Argument(metavar="HOST:GUEST[:ro|overlay]")],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Put a picture of a folder in place; again to renew it."""
    from cloche.exec.mounts import Mount  # noqa: PLC0415

    mount = Mount.parse(folder)
    with _open(session, store) as opened:
        opened.mount(mount)
        _say(opened, f"{mount.host} is at {mount.guest}", as_json)


@app.command("upload")
def upload_command(
    session: Name,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file of yours.")],
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="Where it goes.")] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Programs cannot write it.")
    ] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Put a file into a session."""
    content = read_file(source, limits_of(None, None, None, None).guests.file_limit_bytes)
    with _open(session, store) as opened:
        opened.write_file(path or source.name, content, read_only=read_only)
        _say(
            opened, f"{path or source.name}: {len(content)} bytes", as_json, size_bytes=len(content)
        )


@app.command("download")
def download_command(
    session: Name,
    path: Inside,
    target: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where it goes; standard output if not.")
    ] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Bring a file of a session back."""
    with _open(session, store) as opened:
        content = opened.download(path)
    if target is not None:
        try:
            target.write_bytes(content)
        except OSError as error:
            raise InvalidRunError(f"cannot write {target}: {error.strerror}") from error
    elif not as_json:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    if as_json:
        held = {} if target is not None else {"content": b64encode(content).decode()}
        _say(opened, "", as_json, path=path, size_bytes=len(content), **held)


@app.command("files")
def files_command(
    session: Name,
    path: Annotated[str, typer.Argument(metavar="DIR", help="A directory.")] = ".",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="And below.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List the files of a session."""
    with _open(session, store) as opened:
        entries = opened.list_files(path, recursive=recursive)
    if as_json:
        fields = ("path", "kind", "size_bytes", "read_only")
        print_json({"files": [{name: getattr(e, name) for name in fields} for e in entries]})
        return
    table(
        path,
        ["path", "kind", "bytes", "mode"],
        [[e.path, e.kind, str(e.size_bytes), "r" if e.read_only else "rw"] for e in entries],
    )


@app.command("cd")
def cd_command(session: Name, path: Inside, store: Store = None, as_json: AsJson = False) -> None:
    """Change where the runs of a session start."""
    with _open(session, store) as opened:
        opened.set_working_dir(path)
        _say(opened, opened.working_dir, as_json, working_dir=opened.working_dir)


@app.command("fork")
def fork_command(
    session: Name, name: NewName = None, store: Store = None, as_json: AsJson = False
) -> None:
    """Make a second session in the same state."""
    with _open(session, store) as opened, opened.fork(name) as forked:
        _say(forked, forked.name or forked.id, as_json, forked_from=opened.id)


@app.command("snapshot")
def snapshot_command(session: Name, store: Store = None, as_json: AsJson = False) -> None:
    """Keep the state of now; prints the name for `restore`."""
    with _open(session, store) as opened:
        snapshot = opened.snapshot()
        _say(opened, snapshot, as_json, snapshot=snapshot)


@app.command("restore")
def restore_command(
    session: Name,
    snapshot: Annotated[str, typer.Argument(help="From `cloche session snapshot`.")],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Go back to a snapshot; what came later is forgotten."""
    with _open(session, store) as opened:
        opened.restore(snapshot)
        _say(opened, f"{session} is at {snapshot}", as_json, snapshot=snapshot)


@app.command("revert")
def revert_command(
    session: Name,
    last: Annotated[int | None, typer.Option("--last", help="How many runs to undo.")] = None,
    to: Annotated[int | None, typer.Option("--to", help="Operation to go back to.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Undo the last runs."""
    with _open(session, store) as opened:
        opened.revert(last=1 if last is None and to is None else last, to=to)
        count = len(opened.history())
        _say(opened, f"{session} has {count} operations", as_json, operations=count)


@app.command("history")
def history_command(session: Name, store: Store = None, as_json: AsJson = False) -> None:
    """List what happened in a session."""
    import msgspec  # noqa: PLC0415

    with _open(session, store) as opened:
        steps = opened.history()
    if as_json:
        print_json({"steps": [msgspec.to_builtins(step) for step in steps]})
        return
    rows = []
    for step in steps:
        detail = msgspec.to_builtins(step.operation)
        kind = detail.pop("type")
        text = detail.get("path") or detail.get("run_id", "")
        rows.append([str(step.ordinal), kind, text, step.state[:12]])
    table(session, ["ordinal", "operation", "what", "state"], rows)


@app.command("export")
def export_command(
    session: Name,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Write a session as one signed archive."""
    with _open(session, store) as opened:
        content = opened.export()
        try:
            with target.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise InvalidRunError(f"cannot write {target}: {error.strerror}") from error
        _say(opened, f"{target}: {len(content)} bytes", as_json, size_bytes=len(content))


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="From `export`.")],
    name: NewName = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Make a session of an archive."""
    from cloche.exec.session import Session  # noqa: PLC0415
    from cloche.exec.stores import store_at  # noqa: PLC0415

    limit_bytes = limits_of(None, None, None, None).sessions.archive_limit_bytes
    archive = read_file(source, limit_bytes)
    with Session.import_(archive, name=name, store=store_at(store)) as session:
        _say(session, session.name or session.id, as_json)


@app.command("close")
def close_command(session: Name, store: Store = None, as_json: AsJson = False) -> None:
    """Keep a snapshot of a session and let go of it; it can be opened again."""
    with _open(session, store) as opened:
        opened.snapshot()
        _say(opened, f"{session} is kept", as_json)


@app.command("rm")
def rm_command(session: Name, store: Store = None, as_json: AsJson = False) -> None:
    """Remove a session for ever."""
    opened = _open(session, store)
    opened.delete()
    _say(opened, f"{session} is gone", as_json)


@app.command("repl")
def repl_command(session: Name, store: Store = None) -> None:
    """Work in a session line by line."""
    from cloche.cli.repl import Repl  # noqa: PLC0415

    with _open(session, store) as opened:
        Repl(opened).run()


def time_text(time_ns: int) -> str:
    """Return a time as people read it, in UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")

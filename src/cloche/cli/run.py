"""`cloche run`: run a program once."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from cloche.cli.net_options import Allow, Lists, SecretNames, policy_of
from cloche.cli.output import ImageProgress, print_error, print_json
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from cloche.engine.vfs import StoredFile
    from cloche.exec.adapters.runner import Execution
    from cloche.exec.types import StageResult
    from cloche.limits import Limits
    from cloche.limits.groups import GuestsLimits

STANDARD_INPUT: Final = "-"

Repeatable = list[str]


def run_command(
    program: Annotated[
        str, typer.Argument(metavar="FILE|-", help="The program; - reads it from standard input.")
    ] = "",
    code: Annotated[str | None, typer.Option("-c", "--code", help="The program as text.")] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "-l", help="python, javascript or typescript; by suffix."),
    ] = None,
    arg: Annotated[
        Repeatable | None, typer.Option("--arg", help="An argument of the program; repeatable.")
    ] = None,
    env: Annotated[
        Repeatable | None, typer.Option("--env", help="NAME=VALUE for its environment; repeatable.")
    ] = None,
    stdin: Annotated[
        str | None,
        typer.Option(
            "--stdin", help="Its input: text, @FILE, or - for ours. A pipe is passed on by itself."
        ),
    ] = None,
    file: Annotated[
        Repeatable | None,
        typer.Option("--file", help="A file or folder it finds: PATH or NAME=PATH; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files that it wrote.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", help="Time limit: 5000 (ms), 30s, 2min.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory limit: bytes, or 64MiB, 1GiB.")
    ] = None,
    fuel: Annotated[
        int | None, typer.Option("--fuel", help="Instructions it may use; deterministic.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of its randomness.")] = None,
    now: Annotated[
        str | None, typer.Option("--now", help="Start of its clock, RFC 3339; now if not given.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Image to start from; see `cloche images list`.")
    ] = None,
    allow: Allow = None,
    net: Lists = None,
    secret: SecretNames = None,
    world: Annotated[
        str, typer.Option("--world", help="sandboxed, or fixture: answered from --cassette only.")
    ] = "sandboxed",
    cassette: Annotated[
        Path | None, typer.Option("--cassette", help="Journal that answers effects (fixture).")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write the journal to this new file.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file instead of cloche.toml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a program in a sandbox, with live output and its own exit code."""
    from cloche.engine.adapters.images import Images  # noqa: PLC0415 - keeps --help fast
    from cloche.exec.adapters.runner import Runner  # noqa: PLC0415
    from cloche.exec.api import make_request  # noqa: PLC0415
    from cloche.gate.adapters.file import FileSink  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules  # noqa: PLC0415

    limits = limits_of(timeout, memory, fuel, config)
    filename, text = program_of(program, code, limits)
    request = make_request(
        text,
        language=language or _language(filename, text),
        filename=filename,
        files=_files(file or [], limits),
        args=arg or [],
        env=environment_of(env or []),
        stdin=stdin_of(stdin, program, limits),
        limits=limits,
        seed=seed,
        now_ns=None if now is None else _time_ns(now),
        image=image,
        policy=policy_of(allow, net, secret),
    )
    recorded = _cassette(world, cassette, limits)
    runner = Runner(Images(limits, modules=guest_modules(), progress=ImageProgress()))
    sink = None if record is None else FileSink(_new_file(record))
    try:
        execution = runner.execute(
            request,
            sink=sink,
            replay=recorded,
            on_output=None if as_json else print_output,
        )
    finally:
        if sink is not None:
            sink.close()
    if out is not None:
        _write_files(out, execution, given=request.files)
    if as_json:
        print_json(document_of(execution))
    elif execution.error is not None and execution.error.case not in _TOLD_BY_GUEST:
        print_error(execution.error)
    raise typer.Exit(execution.exit_code)


# The guest itself wrote these on its standard error: saying it twice helps nobody.
_TOLD_BY_GUEST: Final = ("runtime-failed", "compilation-failed")


def document_of(execution: Execution) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    result = execution.result
    return {
        "language": execution.language,
        "result": {
            "compile": None if result.compile is None else _stage(result.compile),
            "run": _stage(result.run),
            "time_ms": result.time_ms,
            "memory_bytes": result.memory_bytes,
        },
        "error": None if execution.error is None else execution.error.to_document(),
        "run_id": execution.run_id,
        "journal_hash": execution.journal_hash,
        "image": execution.image,
        "files": [file.path for file in execution.files],
        "fuel_used": execution.fuel_used,
    }


def _stage(stage: StageResult) -> dict[str, Any]:
    return {
        "stdout": stage.stdout,
        "stderr": stage.stderr,
        "exit_code": stage.exit_code,
        "signal": stage.signal,
    }


def print_output(stream: str, data: bytes) -> None:
    """Pass a piece of the guest's output on at once."""
    target = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
    target.write(data)
    target.flush()


# --- what goes in ---


def program_of(
    program: str,
    code: str | None,
    limits: Limits | None = None,
    *,
    limit_bytes: int | None = None,
) -> tuple[str, str]:
    """Return the program's file name, empty if it has none, and its text.

    Args:
        program: FILE, - or empty.
        code: the program itself.
        limits: how much is read at most; the configured ones when None.
        limit_bytes: instead of what a program may have at most.
    """
    if code is not None:
        if program:
            raise InvalidRunError("give either a FILE or -c CODE, not both")
        return "", code
    if not program:
        raise InvalidRunError("there is no program: give a FILE, -, or -c CODE")
    limit_bytes = limit_bytes or _guests(limits).code_limit_bytes
    if program == STANDARD_INPUT:
        return "", _text(_read_standard_input(limit_bytes), "standard input")
    return Path(program).name, _text(read_file(Path(program), limit_bytes), program)


def _guests(limits: Limits | None) -> GuestsLimits:
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    return (limits or load_limits()).guests


def _language(filename: str, text: str) -> str | None:
    from cloche.exec.request import language_of_file  # noqa: PLC0415

    if not filename or language_of_file(filename):
        return None
    first = text.split("\n", 1)[0]
    if first.startswith("#!"):
        return "javascript" if "node" in first or "deno" in first else "python"
    raise InvalidRunError(
        f"cannot tell the language of {filename}: name it with --language python, javascript or "
        "typescript",
        filename=filename,
    )


def read_file(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a file of ours, which may be of any size.

    Raises:
        InvalidRunError: it cannot be read, or has more than `limit_bytes`.
    """
    try:
        with path.open("rb") as file:
            return _read_up_to(file, limit_bytes, str(path))
    except OSError as error:
        raise InvalidRunError(
            f"cannot read {path}: {error.strerror or error}", path=str(path)
        ) from error


def _read_standard_input(limit_bytes: int) -> bytes:
    return _read_up_to(sys.stdin.buffer, limit_bytes, "standard input")


def _read_up_to(file: BinaryIO, limit_bytes: int, name: str) -> bytes:
    """Read a file that may have no end, such as a device."""
    data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise InvalidRunError(
            f"{name} has more than {limit_bytes} bytes; `cloche limits --group guests` shows the "
            "limits and where to raise them",
            limit_value=limit_bytes,
        )
    return data


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRunError(f"{name} is not UTF-8: byte {error.start} is wrong") from None


def limits_of(
    timeout: str | None, memory: str | None, fuel: int | None, config: Path | None
) -> Limits:
    """Return the limits in force with these options over them."""
    from cloche.limits import parse_quantity  # noqa: PLC0415
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415

    guests: dict[str, int] = {}
    if timeout is not None:
        guests["timeout_ms"] = parse_quantity(timeout, "ms")
    if memory is not None:
        guests["memory_limit_bytes"] = parse_quantity(memory, "bytes")
    if fuel is not None:
        guests["fuel"] = fuel
    return load_limits({"guests": guests} if guests else None, config_path=config)


def environment_of(pairs: list[str]) -> dict[str, str]:
    """Return what `--env NAME=VALUE` options say."""
    env: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise InvalidRunError(f"--env needs NAME=VALUE, found {pair!r}")
        env[name] = value
    _warn_of_secrets(env)
    return env


def _warn_of_secrets(env: dict[str, str]) -> None:
    if not env:
        return
    from cloche.egress.secrets import looks_like_secret  # noqa: PLC0415 - slow, for settings only

    for name in sorted(name for name, value in env.items() if looks_like_secret(value)):
        sys.stderr.write(
            f"cloche: warning: --env {name} looks like a secret, which the program and the journal "
            f"then hold; `cloche secret set {name} --domain HOST --from-env {name}` keeps it out\n"
        )


def stdin_of(stdin: str | None, program: str, limits: Limits | None = None) -> bytes:
    """Return the input that `--stdin` says, or what is piped to us."""
    limit_bytes = _guests(limits).stdin_limit_bytes
    if stdin == STANDARD_INPUT:
        if program == STANDARD_INPUT:
            raise InvalidRunError("standard input cannot be both the program and its input")
        return _read_standard_input(limit_bytes)
    if stdin is not None:
        if stdin.startswith("@"):
            return read_file(Path(stdin[1:]), limit_bytes)
        # A shell's argument may be no UTF-8: then Python keeps its bytes as halves of pairs.
        return os.fsencode(stdin)
    if program == STANDARD_INPUT or sys.stdin is None:
        return b""
    # Only a pipe or a file is certain to end; a terminal or a socket might never.
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISREG(mode):
        return _read_standard_input(limit_bytes)
    return b""


def _files(entries: list[str], limits: Limits) -> list[StoredFile]:
    from cloche.engine.vfs import StoredFile  # noqa: PLC0415

    files: list[StoredFile] = []
    room_bytes = limits.guests.files_limit_bytes
    for entry in entries:
        name, separator, source = entry.partition("=")
        path = Path(source if separator else entry)
        target = name if separator else _relative_name(path)
        pairs = [(target, path)]
        if path.is_dir():
            below = (found for found in sorted(path.rglob("*")) if found.is_file())
            pairs = [
                (str(PurePosixPath(target, found.relative_to(path))), found) for found in below
            ]
        if len(files) + len(pairs) > limits.guests.file_count_max:
            raise InvalidRunError(
                f"{entry} makes it more than {limits.guests.file_count_max} files: "
                "guests.file_count_max allows no more"
            )
        for inside, source_path in pairs:
            content = read_file(source_path, min(limits.guests.file_limit_bytes, room_bytes))
            room_bytes -= len(content)
            files.append(StoredFile(path=inside, content=content))
    return files


def _relative_name(path: Path) -> str:
    # What lies below this folder keeps its place; anything else is known by its last name.
    if path.is_absolute() or ".." in path.parts:
        return path.resolve().name
    return path.as_posix()


def _time_ns(text: str) -> int:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRunError(
            f"--now {text!r} is not a time of RFC 3339, such as 2026-01-31T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise InvalidRunError(f"--now {text!r} has no zone; add Z or an offset such as +01:00")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


def _cassette(world: str, cassette: Path | None, limits: Limits) -> Any:
    from cloche.gate.adapters.file import read_journal  # noqa: PLC0415

    if world not in {"sandboxed", "fixture"}:
        raise InvalidRunError(f"--world is {world!r}; it must be sandboxed or fixture")
    if cassette is None:
        if world == "fixture":
            raise InvalidRunError("--world fixture needs --cassette, the journal that answers")
        return None
    if world != "fixture":
        raise InvalidRunError("--cassette goes with --world fixture")
    return read_journal(cassette, limits)


def _new_file(path: Path) -> Path:
    if path.exists():
        raise InvalidRunError(
            f"{path} exists already; a journal is never overwritten", path=str(path)
        )
    return path


# --- what comes out ---


def _write_files(folder: Path, execution: Execution, *, given: tuple[StoredFile, ...]) -> None:
    before = {"/" + file.path.strip("/"): file.content for file in given}
    for file in execution.files:
        if before.get(file.path) == file.content:
            continue
        # The guest's paths have no dots and no links left in them: they cannot leave the folder.
        target = folder / file.path.lstrip("/")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _check_inside(folder, target)
            target.write_bytes(file.content)
        except OSError as error:
            raise InvalidRunError(
                f"cannot write {target}: {error.strerror or error}", path=str(target)
            ) from error


def _check_inside(folder: Path, target: Path) -> None:
    """Refuse to follow a link that lay in the folder before."""
    if target.is_symlink() or not target.parent.resolve().is_relative_to(folder.resolve()):
        raise InvalidRunError(
            f"{target} leads out of {folder} through a link; nothing is written there",
            path=str(target),
        )

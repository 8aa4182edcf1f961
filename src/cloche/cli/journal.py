"""`cloche journal`: show, export and verify journal files.

Owns the words on the screen; what a journal is, the room `gate` says.
Exit codes: 0 fine, 1 the journal is not valid (message on stderr), 2 usage.
"""

# ruff: noqa: PLC0415 - heavy imports wait for the command that needs them
from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.gate.errors import JournalError

app = typer.Typer(help="Show, export and verify journals of runs.", no_args_is_help=True)

# Letters of args, values and errors in one line of the timeline; `export` has all of them.
DETAIL_LENGTH = 100

JournalFile = Annotated[
    str, typer.Argument(metavar="FILE|RUN", help="A journal file, or the id of a kept run.")
]
Store = Annotated[str | None, typer.Option("--store", help="Where runs are kept; or CLOCHE_STORE.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(file: JournalFile, store: Store = None, as_json: AsJson = False) -> None:
    """Print the timeline of a run, as far as the journal is valid."""
    rows: list[dict[str, Any]] = []
    failure = None
    try:
        rows.extend(timeline(file, store))
    except _invalid() as error:
        failure = error
    if as_json:
        error_document = None if failure is None else failure.to_document()
        _print_json({"entries": rows, "error": error_document})
    else:
        print_timeline(file, rows)
    _end(failure)


@app.command()
def export(
    file: JournalFile,
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Accepted; the output is JSON.")] = True,
) -> None:
    """Print a journal as JSON Lines: one object per record."""
    from cloche.gate.export import to_json_lines
    from cloche.limits.adapters.settings import load_limits

    del as_json
    failure = None
    try:
        for line in to_json_lines(chunks_of(file, store), load_limits()):
            sys.stdout.write(line)
    except _invalid() as error:
        failure = error
    sys.stdout.flush()
    _end(failure)


@app.command()
def verify(file: JournalFile, store: Store = None, as_json: AsJson = False) -> None:
    """Check every record and the chain; exit with 1 and the first bad record if one is bad."""
    from cloche.gate.journal import verify as verify_journal
    from cloche.limits.adapters.settings import load_limits

    try:
        found = verify_journal(chunks_of(file, store), load_limits())
    except _invalid() as error:
        if as_json:
            _print_json({"valid": False, "error": error.to_document()})
        _end(error)
        return
    if as_json:
        _print_json(
            {
                "valid": True,
                "finished": found.finished,
                "record_count": found.record_count,
                "hash": found.hash,
            }
        )
        return
    end = "finished" if found.finished else "stops before the run finished"
    typer.echo(f"valid: {found.record_count} records, {end}, hash {found.hash}")


def chunks_of(name: str, store: str | None) -> Iterator[bytes]:
    """Yield the bytes of a journal: of a file if there is one, else of a run that is kept.

    Raises:
        RunNotFoundError: it is neither.
    """
    if Path(name).is_file():
        from cloche.gate.adapters.file import read_chunks

        yield from read_chunks(Path(name))
        return
    from cloche.exec.adapters.session_store import read_records
    from cloche.exec.errors import RunNotFoundError
    from cloche.exec.stores import store_at
    from cloche.gate.journal import encode_file

    records = read_records(store_at(store), name)
    if not records:
        raise RunNotFoundError(name)
    yield encode_file(records)


def _invalid() -> type[JournalError]:
    from cloche.gate.errors import JournalError

    return JournalError


def _end(failure: JournalError | None) -> None:
    if failure is not None:
        typer.echo(_printable(f"{failure.code}: {failure.message}"), err=True)
        raise typer.Exit(1)


def timeline(file: str, store: str | None) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal as data, with the time waited so far."""
    from cloche.gate.entries import Content, Delivered, entry_document
    from cloche.gate.journal import JournalReader, read_records
    from cloche.limits.adapters.settings import load_limits

    elapsed_ns = 0
    chunks = chunks_of(file, store)
    for index, (_, entry) in enumerate(read_records(chunks, JournalReader(load_limits()))):
        if isinstance(entry, Content):
            continue
        if isinstance(entry, Delivered):
            elapsed_ns += entry.clock_advance_ns
        yield {"index": index, "waited_ns": elapsed_ns, **entry_document(entry)}


def _print_json(document: dict[str, Any]) -> None:
    from cloche.gate.canonical import encode_plain

    typer.echo(encode_plain(document).decode())


def print_timeline(file: str, rows: list[dict[str, Any]]) -> None:
    """Print entries as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(str(file)), title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("waited", justify="right")
    for name in ("entry", "effect", "what"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (str(row["index"]), _seconds(row["waited_ns"]), row["entry"], *_describe(row))
        # Text and not markup: what a guest wrote must not style or hide anything.
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    Console().print(table)


def _describe(row: dict[str, Any]) -> tuple[str, str]:
    sequence = str(row.get("sequence", ""))
    match row["entry"]:
        case "run_started":
            return "", f"{row['language']} {row['filename']} in {row['image_id']}, {row['world']}"
        case "effect_started":
            return sequence, f"{row['kind']} {row['target']} {_short(row['args'])}"
        case "effect_refused":
            return sequence, f"{row['kind']} {row['target']}: {row['error']['message']}"
        case "effect_completed":
            answer = _short(row["value"] if row["error"] is None else row["error"])
            return sequence, f"{answer} after {_seconds(row['duration_ns'])}"
        case "delivered":
            names = ", ".join(str(sequence) for sequence in row["sequences"])
            return names, f"clock + {_seconds(row['clock_advance_ns'])}"
        case _:
            count = sum(row["effects"].values())
            ended = "" if row["error"] is None else f", {_short(row['error'])}"
            return "", f"exit code {row['exit_code']}, {count} effects{ended}"


def _short(value: Any) -> str:
    from cloche.gate.canonical import encode_plain

    text = encode_plain(value).decode()
    return text if len(text) <= DETAIL_LENGTH else text[:DETAIL_LENGTH] + "…"


def _printable(text: str) -> str:
    # A terminal must not obey what a guest wrote.
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.6f} s"

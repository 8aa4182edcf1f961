"""`cloche components`: cloche as WebAssembly components, for other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cloche.cli.output import print_json

app = typer.Typer(help="Build WASI components that export golem:exec.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `build` a name of its own; a group of one command would lose it."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("exec-python.wasm"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build exec-python.wasm: CPython in one component (needs the extra `components`)."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast

    from cloche.components import build_python  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"cloche: building {out} …", highlight=False, soft_wrap=True)
    with console.status(f"building {out} …"):
        component = build_python(out)
    if as_json:
        document = {"size_bytes": component.size_bytes, "sha256": component.sha256}
        print_json({"component": {"path": str(component.path), **document}})
        return
    size = f"{component.size_bytes / 1_000_000:.1f} MB"
    typer.echo(f"{component.path} ({size}, sha256 {component.sha256[:12]})")

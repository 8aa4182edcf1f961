"""`cloche tools`: what scripts may call, for people and for models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cloche.cli.output import print_json, table
from cloche.cli.run import read_file
from cloche.exec.errors import InvalidRunError

if TYPE_CHECKING:
    from cloche.script.tools import ToolSet

app = typer.Typer(help="Tools: what scripts may call.", no_args_is_help=True)

Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools", help="Tools to offer: MODULE or MODULE:OBJECT, also of this folder; repeatable."
    ),
]
Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", help="Folder for the tools of files, and for exec."),
]
Commands = Annotated[
    list[str] | None,
    typer.Option("--exec", help="Start of a command that exec may run, asking; repeatable."),
]
Packs = Annotated[
    list[str] | None,
    typer.Option("--pack", help="NAME=off or NAME=on; * is every pack not named; repeatable."),
]
Language = Annotated[str, typer.Option("--language", "-l", help="typescript (ts) or python (py).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def tools_of(
    tools: list[str] | None,
    workspace: Path | None,
    commands: list[str] | None,
    *,
    packs: list[str] | None = None,
) -> ToolSet:
    """Return the tools that the options of a command name.

    Raises:
        ToolDeclarationError: one of them cannot be.
    """
    from cloche.script.adapters.modules import load_tools  # noqa: PLC0415 - keeps --help fast
    from cloche.script.tools import ToolSet  # noqa: PLC0415

    sets: list[ToolSet] = [load_tools(name) for name in tools or []]
    if workspace is not None:
        from cloche.script.adapters.workspace import Workspace  # noqa: PLC0415

        if not workspace.is_dir():
            raise InvalidRunError(f"--workspace is {str(workspace)!r}, which is no folder")
        sets.append(ToolSet(*Workspace(workspace).tools))
    if commands:
        from cloche.script.adapters.commands import Commands  # noqa: PLC0415

        if workspace is None:
            raise InvalidRunError("--exec needs --workspace, the folder where commands run")
        sets.append(ToolSet(*Commands(commands, folder=workspace).tools))
    return ToolSet(*sets, packs=dict(map(_switch, packs or [])))


def json_object(option: str, text: str) -> dict[str, Any]:
    """Return the JSON object that an option gives, or that the file behind its @ holds.

    Raises:
        InvalidRunError: it is none, or cannot be read.
    """
    if text.startswith("@"):
        from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415 - when needed

        limit_bytes = load_limits().scripts.args_limit_bytes
        text = read_file(Path(text[1:]), limit_bytes).decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRunError(f"{option} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRunError(f"{option} must be an object, found {type(found).__name__}")
    return found


def _switch(text: str) -> tuple[str, bool]:
    name, _, state = text.rpartition("=")
    if not name or state not in {"on", "off"}:
        raise InvalidRunError(f"--pack is {text!r}; it must be NAME=on or NAME=off")
    return name, state == "on"


@app.command("list")
def list_command(
    tools: Tools = None,
    workspace: Workspace = None,
    exec_: Commands = None,
    packs: Packs = None,
    as_json: AsJson = False,
) -> None:
    """List tools, with what they take and whether they ask."""
    found = tools_of(tools, workspace, exec_, packs=packs)
    if as_json:
        print_json({"tools": [one.describe() for one in found.values()]})
        return
    rows = []
    for one in found.values():
        asks = "no" if one.read_only else "yes"
        if one.requires_approval is not None:
            known = isinstance(one.requires_approval, bool)
            asks = ("yes" if one.requires_approval else "no") if known else "by rule"
        rows.append([one.name, ", ".join(one.signature.names), asks, one.summary])
    table("tools", ["name", "arguments", "asks", "what it does"], rows)


@app.command("prompt")
def prompt_command(
    tools: Tools = None,
    workspace: Workspace = None,
    exec_: Commands = None,
    packs: Packs = None,
    language: Language = "typescript",
) -> None:
    """Print what to tell a model: how to write scripts, and what they may call."""
    from cloche.script.stubs import prompt  # noqa: PLC0415 - keeps --help fast

    typer.echo(prompt(tools_of(tools, workspace, exec_, packs=packs), language=_typed(language)))


@app.command("stubs")
def stubs_command(
    tools: Tools = None,
    workspace: Workspace = None,
    exec_: Commands = None,
    packs: Packs = None,
    language: Language = "typescript",
) -> None:
    """Print declarations for an editor: a .d.ts, or a .pyi."""
    from cloche.script.stubs import python_stubs, typescript_stubs  # noqa: PLC0415 - as above

    found = tools_of(tools, workspace, exec_, packs=packs)
    is_python = _typed(language) == "python"
    typer.echo(python_stubs(found) if is_python else typescript_stubs(found), nl=False)


def _typed(language: str) -> Literal["typescript", "python"]:
    if language in {"python", "py"}:
        return "python"
    if language in {"typescript", "ts"}:
        return "typescript"
    raise InvalidRunError(f"--language is {language!r}; it must be typescript (ts) or python (py)")

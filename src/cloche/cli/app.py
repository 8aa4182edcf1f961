"""The tree of commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import gc
import resource
import sys
from importlib import import_module
from typing import Final, NoReturn

import typer

from cloche._version import __version__
from cloche.cli.output import print_error
from cloche.errors import ClocheError

EXIT_USAGE: Final = 2
EXIT_FAILURE: Final = 1

# Objects made before the collector looks: imports make tens of thousands, none of them garbage.
_COLLECT_AFTER: Final = 20_000

# command name -> (module, attribute, is a group). Only the module that is asked for is imported,
# except for `--help`, which shows them all.
_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("cloche.cli.run", "run_command"),
    "replay": ("cloche.cli.replay", "replay_command"),
    "journal": ("cloche.cli.journal", "app"),
    "session": ("cloche.cli.session", "app"),
    "runs": ("cloche.cli.runs", "app"),
    "script": ("cloche.cli.script", "script_command"),
    "tools": ("cloche.cli.tools", "app"),
    "approvals": ("cloche.cli.approvals", "app"),
    "net": ("cloche.cli.net", "app"),
    "secret": ("cloche.cli.secret", "app"),
    "serve": ("cloche.cli.serve", "serve_command"),
    "app": ("cloche.cli.apps", "app"),
    "keys": ("cloche.cli.keys", "app"),
    "tenants": ("cloche.cli.tenants", "app"),
    "mcp": ("cloche.cli.mcp", "mcp_command"),
    "images": ("cloche.cli.images", "app"),
    "components": ("cloche.cli.components", "app"),
    "config": ("cloche.cli.config", "app"),
    "limits": ("cloche.cli.limits", "limits_command"),
    "doctor": ("cloche.cli.doctor", "doctor_command"),
    "arch": ("cloche.cli.arch", "app"),
    "web": ("cloche.cli.web", "app"),
    "new": ("cloche.cli.new", "app"),
}


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"cloche {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Run code that an agent wrote, in a sandbox where every effect passes one gate."""


def _app(names: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        name="cloche",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names:
        module, attribute = _COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _leave_no_core_file() -> None:
    """See that a crash does not write the memory of this process, with its secrets, to the disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    gc.set_threshold(_COLLECT_AFTER)
    _leave_no_core_file()
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    app = _app((first,) if first in _COMMANDS else tuple(_COMMANDS))
    try:
        app(args=arguments, prog_name="cloche")
    except ClocheError as error:
        print_error(error, as_json="--json" in arguments)
        sys.exit(EXIT_USAGE if error.blame == "caller" else EXIT_FAILURE)
    except BrokenPipeError:
        # The reader went away (`cloche … | head`); there is nobody left to tell.
        sys.stderr.close()
        sys.exit(EXIT_FAILURE)
    sys.exit(0)

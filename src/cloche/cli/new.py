"""`cloche new`: write projects that run and pass their own tests at once.

Owns where files are put and under which names; what is in them stands in `new_web/`.
Exit codes: 0 written, 1 a file cannot be written, 2 the name or place will not do.
"""

# ruff: noqa: PLC0415 - heavy imports wait for the command that needs them
from __future__ import annotations

import json
import re
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cloche.cli.output import print_json
from cloche.errors import ClocheError

app = typer.Typer(help="Write a new project.", no_args_is_help=True)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Template -> path in the project.
_FILES: Final = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "init.py.txt": "src/{name}/__init__.py",
    "core.py.txt": "src/{name}/core.py",
    "main.py.txt": "src/{name}/main.py",
    "test_app.py.txt": "tests/test_app.py",
    "test_traffic.py.txt": "tests/test_traffic.py",
    "http.md.txt": "docs/architecture/encodings/http.md",
    "errors.md.txt": "docs/architecture/encodings/errors.md",
}
TRAFFIC: Final = "tests/traffic.x7wt"
# What the first recording asks: a page, a parameter, a body, two errors.
_ASKED: Final = (
    ("GET", "/", b""),
    ("GET", "/greetings/world?loud=true", b""),
    ("POST", "/greetings", b'{"name":"cloche","count":2}'),
    ("POST", "/greetings", b'{"name":"cloche","count":0}'),
    ("GET", "/nowhere", b""),
)


class NewProjectError(ClocheError):
    """A project cannot be written here or under this name. State: nothing was written."""

    code = "NEW_PROJECT"
    blame = "caller"

    def __init__(self, *, name: str, problem: str) -> None:
        super().__init__(f"no project {name}: {problem}", name=name, problem=problem)


@app.callback()
def _root() -> None:
    """Write a new project."""


@app.command()
def web(
    place: Annotated[
        Path, typer.Argument(metavar="NAME", help="The project; its folder may be in front.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a web project: an application, tests with recorded traffic, a contract."""
    written = write_web(place)
    if as_json:
        print_json({"project": str(place), "written": written})
        return
    typer.echo(f"{place}: {len(written)} files")
    typer.echo(f"  cd {place} && cloche web serve {place.name}.main --dir src")
    typer.echo("  python -m pytest && cloche arch check")


def write_web(place: Path) -> list[str]:
    """Write a web project; return the paths of its files, sorted.

    Raises:
        NewProjectError: the name is no name of a package or is taken, or the folder is there.
    """
    name = place.name
    _check(place, name)
    for template, target in _FILES.items():
        text = files("cloche.cli").joinpath("new_web", template).read_text(encoding="utf-8")
        path = place / target.format(name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{{name}}", name), encoding="utf-8")
    _record(place, name)
    _write_contract(place, name)
    return sorted(
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _check(place: Path, name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise NewProjectError(name=name, problem="use lowercase letters, digits and underscores")
    if place.exists() and any(place.iterdir() if place.is_dir() else [place]):
        raise NewProjectError(name=name, problem=f"{place} is there and not empty")
    installed = find_spec(name)
    # A folder without `__init__.py` beside us is no package, though it could be imported.
    if name in sys.stdlib_module_names or (installed is not None and installed.origin is not None):
        raise NewProjectError(name=name, problem="a package of this name is installed already")


def _record(place: Path, name: str) -> None:
    """Ask the new application, and keep what it answers as the first recording."""
    from cloche.web.adapters.fixture import FixtureServices, run_now
    from cloche.web.adapters.loading import load_app
    from cloche.web.adapters.traffic_file import TrafficFile
    from cloche.web.request import Request
    from cloche.web.traffic import Recorder

    # Bytecode would be a file that nobody wrote.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        found = load_app(f"{name}.core:build", folder=place / "src", factory=True)
    finally:
        sys.dont_write_bytecode = before
    with TrafficFile(place / TRAFFIC) as file:
        found.wrap(Recorder(file.write).middleware())
        services = FixtureServices()
        for method, target, body in _ASKED:
            fields = ((b"host", b"localhost"), (b"content-type", b"application/json"))
            request = Request(
                method=method, target=target, fields=fields, body=body, services=services
            )
            run_now(found.handle(request))


def _write_contract(place: Path, name: str) -> None:
    """Write the contract of the project: its core is pure, and what is public has documents."""
    from cloche.arch import init_project
    from cloche.limits import Limits

    init_project(place, Limits())
    _change(place / "arch/graph.json", lambda document: _set_kinds(document, name))
    _change(place / "arch/contracts.json", lambda document: _publish(document, name))


def _change(path: Path, change: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _set_kinds(document: dict[str, Any], name: str) -> None:
    for module in document["modules"]:
        if module["id"] == f"{name}.core":
            module["kind"] = "core"
            module["exports"] = [f"{name}.core.build"]


def _publish(document: dict[str, Any], name: str) -> None:
    document["public_apis"] = [
        {
            "symbol": f"{name}.core.build",
            "encoding_doc": "docs/architecture/encodings/http.md",
            "errors_doc": "docs/architecture/encodings/errors.md",
            "smoke_tests": ["tests/test_app.py"],
        }
    ]
    document["internal"] = [
        each for each in document.get("internal", []) if each != f"{name}.core.build"
    ]

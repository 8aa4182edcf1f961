"""`cloche web`: serve applications, show their routes, replay recorded traffic.

Owns the words on the screen; what is served and replayed, the room `web` says.
Exit codes: 0 fine, 1 a replay differs, a case fails or a server cannot start, 2 usage, 3 requests
were cut.
"""

# ruff: noqa: PLC0415 - heavy imports wait for the command that needs them
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloche.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.web.app import App
    from cloche.web.encodings.traffic import Exchange

app = typer.Typer(
    help="Serve web applications, show their routes, replay recorded traffic.", no_args_is_help=True
)

AppName = Annotated[
    str, typer.Argument(metavar="MODULE:APP", help="The application; `app` where only a module.")
]
AppFolder = Annotated[Path, typer.Option("--dir", help="Where modules are looked for first.")]
Factory = Annotated[bool, typer.Option("--factory", help="It is a function that makes the app.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def serve(
    name: AppName,
    folder: AppFolder = Path(),
    factory: Factory = False,
    bind: Annotated[
        list[str] | None,
        typer.Option(help="ADDRESS:PORT, unix:PATH, fd:NUMBER, systemd:; may be given often."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Processes that share each address; one that ends is replaced."),
    ] = 1,
    certificate: Annotated[
        Path | None, typer.Option(help="A chain of certificates (PEM); serves TLS 1.3.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The key of the certificate (PEM).")] = None,
    tls_1_2: Annotated[bool, typer.Option("--tls-1-2", help="Take TLS 1.2 as well.")] = False,
    http_1_0: Annotated[bool, typer.Option("--http-1-0", help="Take HTTP/1.0.")] = False,
    proxy_protocol: Annotated[
        bool, typer.Option("--proxy-protocol", help="Connections begin with a PROXY header.")
    ] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="Network of proxies whose X-Forwarded-For is believed; often."),
    ] = None,
    forwarded: Annotated[
        bool, typer.Option("--forwarded", help="The proxies write Forwarded (RFC 7239).")
    ] = False,
    limit: Annotated[
        list[str] | None, typer.Option(help="web.NAME=VALUE, as `cloche limits` shows; often.")
    ] = None,
    log: Annotated[
        str, typer.Option(help="Where records go: - is stderr, empty nowhere, or a file.")
    ] = "-",
    record: Annotated[
        Path | None, typer.Option(help="Record traffic to this file (.x7wt).")
    ] = None,
    redact: Annotated[
        list[str] | None, typer.Option(help="A field whose values are not recorded; often.")
    ] = None,
) -> None:
    """Serve an application until SIGTERM or SIGINT; SIGHUP reads certificates again.

    Exits with 0 when all requests were answered, with 3 when some were broken off.
    """
    from cloche.cli import web_serve

    code = web_serve.run(
        _load(name, folder, factory=factory),
        binds=bind or [web_serve.DEFAULT_BIND],
        worker_count=workers,
        tls=web_serve.tls_settings(certificate, key, tls_1_2=tls_1_2),
        http_1_0=http_1_0,
        proxy_protocol=proxy_protocol,
        forwarding=web_serve.forwarding(trust or [], forwarded=forwarded),
        limits=web_serve.limits(limit or []),
        log=log,
        record=record,
        redact=redact or [],
    )
    raise typer.Exit(code)


@app.command()
def routes(
    name: AppName,
    folder: AppFolder = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Print the routes of an application, in the order of its registration."""
    from cloche.web.app import SocketEndpoint

    found = _load(name, folder, factory=factory)
    rows = [
        {
            "method": "WEBSOCKET" if isinstance(route.target, SocketEndpoint) else route.method,
            "template": route.template,
            "handler": getattr(route.target.handler, "__qualname__", ""),
        }
        for route in found.router.routes
    ]
    if as_json:
        print_json({"routes": rows})
        return
    for row in rows:
        typer.echo(f"{row['method']:<9} {row['template']}  {row['handler']}")
    if not rows:
        typer.echo("no routes; an ASGI application keeps its own", err=True)


@app.command()
def openapi(
    name: AppName,
    folder: AppFolder = Path(),
    factory: Factory = False,
    title: Annotated[str, typer.Option(help="What the document is called.")] = "",
    version: Annotated[str, typer.Option(help="The version of the API.")] = "0.1.0",
    check: Annotated[
        Path | None, typer.Option(help="Compare with this document instead, and say what differs.")
    ] = None,
) -> None:
    """Print the OpenAPI 3.1 document of an application, or compare it with one that was kept.

    Title and version are not compared. Exits with 1 if anything else differs.
    """
    from cloche.web.openapi import describe, differences, render

    found = _load(name, folder, factory=factory)
    document = describe(found, title=title or name.partition(":")[0], version=version)
    if check is None:
        sys.stdout.write(render(document).decode())
        return
    from cloche.cli.web_serve import ServeOptionError

    try:
        kept = json.loads(check.read_bytes())
    except (OSError, ValueError) as failure:
        raise ServeOptionError(option="check", problem=f"{check}: {failure}") from failure
    lines = differences(kept, document)
    for line in lines:
        typer.echo(line)
    if lines:
        raise typer.Exit(1)
    typer.echo(f"{name} is as {check} says")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Traffic that was recorded (.x7wt, or one .x7wc).")],
    name: Annotated[
        str, typer.Argument(metavar="[MODULE:APP]", help="Ask it again; without, show the file.")
    ] = "",
    folder: AppFolder = Path(),
    factory: Factory = False,
    as_json: AsJson = False,
) -> None:
    """Ask an application again what it was asked, and compare the bytes.

    Exits with 1 if any answer differs.
    """
    exchanges = _read(file)
    if not name:
        _show(exchanges, as_json=as_json)
        return
    from cloche.web.adapters.replay import replay as replay_traffic

    found = list(replay_traffic(_load(name, folder, factory=factory), exchanges))
    differing = sum(not each.is_same for each in found)
    if as_json:
        rows = [
            {
                "method": each.method,
                "target": each.target,
                "status": each.status,
                "problem": each.problem,
            }
            for each in found
        ]
        print_json({"same": not differing, "count": len(found), "exchanges": rows})
    else:
        for each in found:
            if not each.is_same:
                typer.echo(f"{each.method} {_printable(each.target)}: {each.problem}")
        typer.echo(f"{len(found) - differing} of {len(found)} answers have the same bytes")
    if differing:
        raise typer.Exit(1)


@app.command()
def smoke(
    files: Annotated[list[Path], typer.Argument(help="Suites of cases (smoke_suite@0.1.0).")],
    name: Annotated[
        str, typer.Option("--app", metavar="MODULE:APP", help="For the program fixture.run_v1.")
    ] = "",
    folder: AppFolder = Path(),
    as_json: AsJson = False,
) -> None:
    """Run smoke suites: bytes in, bytes out, each case twice. Exits with 1 if any case fails."""
    from cloche.web.adapters.fixture import FixtureServices, run_v1
    from cloche.web.smoke import SuiteError, read_suite, run_suite

    program = None
    records: list[dict[str, object]] = []  # of the last answer
    if name:
        found = _load(name, folder, factory=False)

        def program(data: bytes) -> bytes:
            services = FixtureServices()
            records[:] = ()
            try:
                return run_v1(found, data, services)
            finally:
                records[:] = services.records

    outcomes = []
    for file in files:
        try:
            text = file.read_bytes()
        except OSError as failure:
            raise SuiteError(problem=f"{file}: {failure.strerror}") from failure
        outcomes += run_suite(read_suite(text), program, lambda: _failure(records))
    failed = [outcome for outcome in outcomes if outcome.problem]
    if as_json:
        rows = [
            {"suite": each.suite_id, "name": each.name, "problem": each.problem}
            for each in outcomes
        ]
        print_json({"passed": len(outcomes) - len(failed), "failed": len(failed), "cases": rows})
    else:
        for each in failed:
            typer.echo(f"{each.suite_id} {each.name}: {each.problem}")
        typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases passed")
    if failed:
        raise typer.Exit(1)


def _failure(records: Sequence[Mapping[str, Any]]) -> str:
    """Return what an application failed with and where, from its log; empty where it did not."""
    for record in records:
        if record.get("event") == "failure":
            where = record["where"][-1:]
            place = f" ({where[0]})" if where else ""
            return _printable(
                f"the application failed: {record['type']}: {record['message']}{place}"
            )
    return ""


def _show(exchanges: tuple[Exchange, ...], *, as_json: bool) -> None:
    from cloche.web.encodings.messages import HttpResponse

    rows = []
    for exchange in exchanges:
        asked, answered = exchange.pair.request, exchange.pair.response
        row: dict[str, object] = {
            "method": asked.method.value,
            "target": asked.target.decode("ascii"),
            "status": 0,
            "body_bytes": 0,
        }
        if isinstance(answered, HttpResponse):
            row.update(status=answered.status, body_bytes=len(answered.body))
        rows.append(row)
    if as_json:
        print_json({"exchanges": rows})
        return
    for row in rows:
        typer.echo(f"{row['status']} {row['method']} {row['target']} {row['body_bytes']} bytes")


def _read(file: Path) -> tuple[Exchange, ...]:
    from cloche.errors import ClocheError
    from cloche.exec.errors import InvalidRunError
    from cloche.web.adapters.traffic_file import read_traffic

    try:
        return read_traffic(file)
    except ClocheError as failure:
        # Not 1, which says that an answer differs.
        problem = failure.message.removeprefix(f"{file}: ")
        raise InvalidRunError(f"cannot read {file}: {problem}", path=str(file)) from failure


def _load(name: str, folder: Path, *, factory: bool) -> App:
    from cloche.errors import ClocheError
    from cloche.web.adapters.loading import describe_failure, load_app

    try:
        return load_app(name, folder=folder, factory=factory)
    except ClocheError:
        raise
    except Exception as failure:  # noqa: BLE001 - of the application's own module, whatever it is
        typer.echo(
            f"cloche: {name} cannot be loaded\n{describe_failure(failure)}", err=True, nl=False
        )
        raise typer.Exit(1) from None


def _printable(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )

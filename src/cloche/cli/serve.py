"""`cloche serve`: the control API as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cloche.cli.session import Store


def serve_command(
    bind: Annotated[
        str, typer.Option("--bind", help="Address to listen on: HOST:PORT, unix:PATH.")
    ] = "127.0.0.1:8787",
    store: Store = None,
    durability: Annotated[
        Literal["full", "normal"],
        typer.Option("--durability", help="normal is faster and does not survive a power cut."),
    ] = "full",
    tools: Annotated[
        list[str] | None,
        typer.Option(
            "--tools",
            help="Tools of scripts: MODULE[:OBJECT], or NAME=MODULE[:OBJECT]; repeatable.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")] = None,
    tls_self_signed: Annotated[
        bool, typer.Option("--tls-self-signed", help="TLS with a certificate made now.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve a public address without TLS.")
    ] = False,
    allow_net: Annotated[
        bool, typer.Option("--allow-net", help="Let policies allow outbound HTTP.")
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Pages of this origin may ask; repeatable, * for all."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            max=256,
            help="Processes that run guests; one a processor by default, 0 for none: guests then "
            "run in the process of the server.",
        ),
    ] = None,
    log: Annotated[
        bool, typer.Option("--log", help="A line of JSON for each request, on stderr.")
    ] = False,
) -> None:
    """Serve runs and sessions over HTTP until SIGTERM or Ctrl-C.

    Exit code 0 when every request had ended, 3 when some were cut off.
    """
    from cloche.server.serve import ServeSettings, run_server  # noqa: PLC0415 - keeps --help fast

    settings = ServeSettings(
        bind=bind,
        store=store,
        durability=durability,
        tools=tuple(tools or ()),
        tls_certificate=tls_cert,
        tls_key=tls_key,
        tls_self_signed=tls_self_signed,
        insecure=insecure,
        allow_net=allow_net,
        log=log,
        cors_origins=tuple(cors or ()),
        workers=workers,
    )
    raise typer.Exit(run_server(settings, _say))


def _say(line: str) -> None:
    typer.echo(line)

"""`cloche serve`: the control API as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cloche.cli.config import ConfigFile, configured, print_config, use_config
from cloche.cli.session import Store

AppHostnames = Annotated[
    list[str] | None,
    typer.Option(
        "--app-hostnames",
        help="Another name that apps may have: NAME, *.NAME, or TENANT=NAME; repeatable.",
    ),
]
Certificates = Annotated[
    list[str] | None,
    typer.Option(
        "--certificates",
        help="NAME=CERT:KEY, PEM: shown to who asks for the name, as for an app; repeatable.",
    ),
]
PublicNames = Annotated[
    list[str] | None,
    typer.Option(
        "--public-names", help="A name of the server itself, which no app gets; repeatable."
    ),
]


def serve_command(
    bind: Annotated[
        str | None,
        typer.Option(
            "--bind", help="Address to listen on: HOST:PORT, unix:PATH; 127.0.0.1:8787 by default."
        ),
    ] = None,
    store: Store = None,
    durability: Annotated[
        Literal["full", "normal"] | None,
        typer.Option("--durability", help="normal is faster and does not survive a power cut."),
    ] = None,
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
        bool | None,
        typer.Option(
            "--tls-self-signed/--no-tls-self-signed", help="TLS with a certificate made now."
        ),
    ] = None,
    certificates: Certificates = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure/--no-insecure", help="Serve a public address without TLS."),
    ] = None,
    allow_net: Annotated[
        bool | None,
        typer.Option("--allow-net/--no-allow-net", help="Let policies allow outbound HTTP."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Pages of this origin may ask; repeatable, * for all."),
    ] = None,
    app_domain: Annotated[
        str | None,
        typer.Option("--app-domain", help="Apps answer at NAME.DOMAIN; localhost by default."),
    ] = None,
    app_hostnames: AppHostnames = None,
    public_names: PublicNames = None,
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
        bool | None,
        typer.Option("--log/--no-log", help="A line of JSON for each request, on stderr."),
    ] = None,
    config: ConfigFile = None,
    show_config: Annotated[
        bool,
        typer.Option("--show-config", help="Print what would be served, and where it is said."),
    ] = False,
) -> None:
    """Serve runs and sessions over HTTP until SIGTERM or Ctrl-C.

    What is not said here comes from the environment (CLOCHE_SERVE_BIND, …), else from the table
    `serve` of the configuration file.
    Exit code 0 when every request had ended, 3 when some were cut off. A second SIGTERM or Ctrl-C
    ends it at once, with 3; the next start takes up what had not ended.
    """
    from cloche.server.serve import ServeSettings, run_server  # noqa: PLC0415 - keeps --help fast

    use_config(config)
    flags = {
        "bind": bind,
        "store": store,
        "durability": durability,
        "tools": tools,
        "tls_cert": None if tls_cert is None else str(tls_cert),
        "tls_key": None if tls_key is None else str(tls_key),
        "tls_self_signed": tls_self_signed,
        "certificates": certificates,
        "insecure": insecure,
        "allow_net": allow_net,
        "cors": cors,
        "app_domain": app_domain,
        "app_hostnames": app_hostnames,
        "public_names": public_names,
        "workers": workers,
        "log": log,
    }
    if show_config:
        print_config(flags, as_json=False)
        return
    values = dict(configured(flags)[0].values)
    chain, key = values.pop("tls_cert"), values.pop("tls_key")
    settings = ServeSettings(
        tls_certificate=None if chain is None else Path(chain),
        tls_key=None if key is None else Path(key),
        cors_origins=values.pop("cors"),
        **values,
    )
    raise typer.Exit(run_server(settings, _say))


def _say(line: str) -> None:
    typer.echo(line)

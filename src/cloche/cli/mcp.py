"""`cloche mcp`: tools for models over the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from cloche.cli.session import Store

Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools", help="Tools of scripts: [NAME=]MODULE[:OBJECT], also of this folder; repeatable."
    ),
]


def mcp_command(tools: Tools = None, store: Store = None) -> None:
    """Speak MCP on standard input and output: run code, sessions, their files, scripts.

    Tell your client to start `cloche mcp`.
    """
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.limits.adapters.settings import load_limits  # noqa: PLC0415
    from cloche.server.mcp_local import LocalBackend  # noqa: PLC0415
    from cloche.server.mcp_server import serve_stdio  # noqa: PLC0415
    from cloche.server.serve import tools_of  # noqa: PLC0415

    serve_stdio(lambda: LocalBackend(store_at(store), load_limits(), tools_of(tools or [])))

"""`cloche mcp`: tools for models over the Model Context Protocol."""

from __future__ import annotations

from cloche.cli.session import Store


def mcp_command(store: Store = None) -> None:
    """Speak MCP on standard input and output: run code, sessions, their files.

    Tell your client to start `cloche mcp`.
    """
    from cloche.exec.stores import store_at  # noqa: PLC0415 - keeps --help fast
    from cloche.server.mcp_server import Tools, make_server  # noqa: PLC0415

    tools = Tools(store_at(store))
    try:
        make_server(tools).run("stdio")
    finally:
        tools.close()

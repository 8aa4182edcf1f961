"""A real MCP server for the tests: `python mcp_server.py` speaks over stdio."""

import os

from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations

server = FastMCP("notes", log_level="ERROR")
notes = {"first": "hello"}


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def read_note(name: str) -> str:
    """Read a note."""
    return notes[name]


@server.tool(name="write-note")
def write_note(name: str, text: str) -> dict[str, int]:
    """Write a note."""
    notes[name] = text
    return {"size": len(text)}


@server.tool()
def crash() -> str:
    """End the server."""
    os._exit(3)


@server.tool()
async def slow(seconds: float) -> str:
    """Take a while."""
    import asyncio

    await asyncio.sleep(seconds)
    return "done"


if __name__ == "__main__":
    server.run()

"""The tools over MCP, asked by the protocol's own client over stdio."""

from __future__ import annotations

import asyncio
import base64
import json

from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from tests.cli.support import START, environment

TOOLS = {
    "run_code",
    "session_create",
    "session_list",
    "session_run",
    "session_fork",
    "session_revert",
    "session_delete",
    "write_file",
    "read_file",
    "list_files",
    "run_script",
    "script_status",
}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


def asked(folder, ask, *options, **callbacks):
    """Return what a coroutine function returns that is given a client's session."""

    async def main():
        parameters = StdioServerParameters(
            command=START[0],
            args=[*START[1:], "mcp", "--store", str(folder / "s.db"), *options],
            env=environment(CLOCHE_KEY_FILE=str(folder / "key")),
        )
        with (folder / "stderr.txt").open("w") as errors:
            async with (
                stdio_client(parameters, errlog=errors) as streams,
                ClientSession(*streams, **callbacks) as session,
            ):
                await session.initialize()
                return await ask(session)

    return asyncio.run(main())


async def called(asking, tool, /, **arguments):
    """Return the structured answer of a tool that must end well."""
    answer = await asking.call_tool(tool, arguments)
    assert not answer.isError, answer.content
    found = answer.structuredContent
    return found["result"] if set(found) == {"result"} else found


def test_the_tools(tmp_path):
    """Each has a description and a schema."""

    async def ask(session):
        return (await session.list_tools()).tools

    tools = asked(tmp_path, ask)
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.description and tool.inputSchema["type"] == "object" for tool in tools)


def test_running_code(tmp_path):
    """A program's output and its failure are results; wrong arguments are errors."""

    async def ask(session):
        good = await called(session, "run_code", code="print(open('a').read())", files={"a": "é"})
        bad = await called(session, "run_code", code="throw new Error('x')", language="javascript")
        none = await called(session, "run_code", code="print(", language="python")
        endless = await called(session, "run_code", code="while True: pass", timeout_ms=50)
        wrong = await session.call_tool("run_code", {"code": "1", "language": "cobol"})
        return good, bad, none, endless, wrong

    good, bad, none, endless, wrong = asked(tmp_path, ask)
    assert (good["stdout"], good["exit_code"], good["error"]) == ("é\n", 0, None)
    assert bad["error"]["code"] == "RUNTIME_FAILED"
    assert none["error"]["code"] == "COMPILATION_FAILED"
    assert "SyntaxError" in none["stderr"]
    assert endless["error"]["code"] == "TIMEOUT"
    assert wrong.isError


def test_pictures_of_a_program(tmp_path):
    """What a program draws is shown, not what it was given."""
    code = f"import base64; open('a.png', 'wb').write(base64.b64decode({base64.b64encode(PNG)!r}))"

    async def ask(session):
        return await session.call_tool("run_code", {"code": code, "files": {"b.png": "given"}})

    drawn = asked(tmp_path, ask)
    assert [each.type for each in drawn.content] == ["text", "text", "image"]
    assert drawn.content[1].text == "/a.png"
    assert base64.b64decode(drawn.content[2].data) == PNG


def test_sessions_and_files(tmp_path):
    """State lives on, even for the next process; images are images."""

    async def first(session):
        made = await called(session, "session_create", name="work")
        await called(session, "session_run", session="work", code="x = 40")
        image = base64.b64encode(PNG).decode()
        await called(
            session, "write_file", session="work", path="a.png", content=image, is_base64=True
        )
        await called(session, "write_file", session="work", path="d/b.txt", content="text")
        return made

    async def second(session):
        done = await called(session, "session_run", session="work", code="print(x + 2)")
        files = [
            await session.call_tool("read_file", {"session": "work", "path": path})
            for path in ("a.png", "d/b.txt")
        ]
        listed = await called(session, "list_files", session="work")
        await called(session, "session_fork", session="work", name="fork")
        await called(session, "session_revert", session="work", last=1)
        names = {each["name"] for each in await called(session, "session_list")}
        await called(session, "session_delete", session="fork")
        missing = await session.call_tool("session_run", {"session": "fork", "code": "1"})
        return done, *(file.content[0] for file in files), listed, names, missing

    made = asked(tmp_path, first)
    assert json.dumps(made)
    done, image, text, listed, names, missing = asked(tmp_path, second)
    assert done["stdout"] == "42\n"
    assert (image.type, image.mimeType, base64.b64decode(image.data)) == ("image", "image/png", PNG)
    assert (text.type, text.text) == ("text", "text")
    assert [each["path"] for each in listed] == ["/a.png", "/d", "/d/b.txt"]
    assert names == {"work", "fork"}
    assert missing.isError
    assert "there is no session 'fork'" in missing.content[0].text

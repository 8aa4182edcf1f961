"""The tools over MCP at `/mcp` of a server, asked by the protocol's own client over a socket."""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.types import (
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ElicitResult,
)

import cloche
from cloche.server.pictures import COUNT_MAX

from .faults import WAIT_S
from .process import serving

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
PICTURE = f"import base64; open('a.png', 'wb').write(base64.b64decode({base64.b64encode(PNG)!r}))"
HELLO = "tools.send({ to: 'ann' })"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("server"), "--tools", "tests.server.tools:TOOLS") as found:
        yield found


@asynccontextmanager
async def connected(server, key=None, **callbacks):
    """Give a session of the protocol."""
    headers = {"authorization": f"Bearer {key or server.key}"}
    async with (
        httpx.AsyncClient(headers=headers, timeout=WAIT_S) as http,
        streamable_http_client(f"{server.url}/mcp", http_client=http) as (read, write, session_id),
        ClientSession(
            read, write, read_timeout_seconds=timedelta(seconds=WAIT_S), **callbacks
        ) as session,
    ):
        await session.initialize()
        session.http, session.id_of = http, session_id
        yield session


def asked(server, ask, key=None, **callbacks):
    """Return what a coroutine function returns that is given a session."""

    async def main():
        async with connected(server, key, **callbacks) as session:
            return await ask(session)

    return asyncio.run(main())


async def called(session, tool, /, **arguments):
    """Return the structured answer of a tool that must end well."""
    answer = await session.call_tool(tool, arguments)
    assert not answer.isError, answer.content
    found = answer.structuredContent
    return found["result"] if set(found) == {"result"} else found


def test_a_program_and_a_session(server):
    """Programs run, and state lives on in a session; pictures are shown as pictures."""

    async def ask(session):
        once = await called(session, "run_code", code="print(6 * 7)")
        await called(session, "session_create", name="mcp")
        await called(session, "session_run", session="mcp", code="x = 1")
        drawn = await session.call_tool("session_run", {"session": "mcp", "code": PICTURE})
        again = await session.call_tool("session_run", {"session": "mcp", "code": "print(x)"})
        file = await session.read_resource("cloche://sessions/mcp/files/a.png")
        return once, drawn, again, file

    once, drawn, again, file = asked(server, ask)
    assert (once["stdout"], once["exit_code"]) == ("42\n", 0)
    assert [each.type for each in drawn.content] == ["text", "text", "image"]
    assert base64.b64decode(drawn.content[2].data) == PNG
    assert again.structuredContent["stdout"] == "1\n"
    assert [each.type for each in again.content] == ["text"]
    assert base64.b64decode(file.contents[0].blob) == PNG


def test_pictures_of_a_program(server):
    """What a program draws by itself is shown, not what it was given, and no more than fits."""
    many = (
        "import pathlib\npathlib.Path('plots').mkdir()\n"
        "start = bytes.fromhex('89504e470d0a1a0a')\n"
        "for n in range(20): open(f'plots/{n:02}.png', 'wb').write(start + bytes(n))\n"
        "open('huge.jpg', 'wb').write(bytes.fromhex('ffd8ff') + bytes(9 << 20))"
    )

    async def ask(session):
        drawn = await session.call_tool(
            "run_code", {"code": PICTURE, "files": {"given.png": "no", "b.txt": "text"}}
        )
        failed = await session.call_tool("run_code", {"code": f"{PICTURE}; 1 / 0"})
        return drawn, failed, await session.call_tool("run_code", {"code": many})

    drawn, failed, some = asked(server, ask)
    assert [each.type for each in drawn.content] == ["text", "text", "image"]
    assert drawn.content[1].text == "/a.png"
    image = drawn.content[2]
    assert (image.mimeType, base64.b64decode(image.data)) == ("image/png", PNG)
    assert failed.structuredContent["error"]["code"] == "RUNTIME_FAILED"
    assert [each.type for each in failed.content] == ["text", "text", "image"]
    shown = [each.text for each in some.content[1:] if each.type == "text"]
    assert shown == [f"/plots/{n:02}.png" for n in range(COUNT_MAX)]


def test_a_plot(server):
    """A figure of matplotlib is an image for the model."""
    code = (
        "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
        "plt.plot([1, 4, 9])\nplt.savefig('plot.png')"
    )

    async def ask(session):
        return await session.call_tool("run_code", {"code": code, "timeout_ms": 60_000})

    answer = asked(server, ask)
    assert [each.type for each in answer.content] == ["text", "text", "image"], answer.content
    assert base64.b64decode(answer.content[2].data).startswith(b"\x89PNG\r\n")


def test_progress(server):
    """While a program runs the client is told what it prints, until it wants no more."""
    code = "n = 0\nwhile True:\n    n += 1\n    if n % 1000000 == 1: print('line', n, flush=True)"
    told = []

    async def ask(session):
        number = session._request_id  # of what is asked next
        enough = CancelledNotification(params=CancelledNotificationParams(requestId=number))

        async def progress(count, _total, message):
            told.append((count, message))
            if len(told) == 2:
                await session.send_notification(ClientNotification(enough))

        with pytest.raises(McpError, match="cancelled"):
            await session.call_tool(
                "run_code", {"code": code, "timeout_ms": 100_000}, progress_callback=progress
            )

    asked(server, ask)
    assert told[0][1].startswith("line ")
    assert [count for count, _ in told] == sorted({count for count, _ in told})


def test_a_person_at_the_client_approves(server):
    """The client's person is asked with the call and its lines, may change it, and is obeyed."""
    questions = []

    async def person(_context, question):
        questions.append(question.message)
        if len(questions) == 1:
            return ElicitResult(
                action="accept",
                content={"approve": True, "args_json": '{"to": "bob"}'},
            )
        return ElicitResult(action="decline")

    async def ask(session):
        good = await called(session, "run_script", source=f"return await {HELLO}")
        bad = await called(
            session, "run_script", source=f"return await {HELLO}.catch((e) => e.code)"
        )
        journal = await session.read_resource(f"cloche://runs/{good['run_id']}/journal")
        return good, bad, journal.contents[0].text

    good, bad, journal = asked(server, ask, elicitation_callback=person)
    assert good["status"] == "completed"
    assert bad["value"] == "APPROVAL_DENIED"
    assert "send" in questions[0]
    assert HELLO in questions[0]
    assert '"kind":"tool"' in journal.replace(" ", "")


def test_somebody_else_was_faster(server):
    """What was decided elsewhere while the person was asked holds, and the model sees the end."""

    async def answer(_context, _question):
        def decide():
            with cloche.Client(server.url, server.key) as client:
                client.approvals.approve(client.approvals.list().items[0].id, args={"to": "eve"})

        await asyncio.to_thread(decide)
        return ElicitResult(action="accept", content={"approve": False})

    async def ask(session):
        return await called(session, "run_script", source=f"return await {HELLO}")

    done = asked(server, ask, elicitation_callback=answer)
    assert (done["status"], done["value"]) == ("completed", "sent to eve")


def test_without_forms_it_waits(server):
    """A client that cannot ask is told that the script waits; whoever may decides elsewhere."""

    async def ask(session):
        waiting = await called(session, "run_script", source=f"await {HELLO}; return 7")
        headers = {"authorization": f"Bearer {server.key}"}
        async with httpx.AsyncClient(
            base_url=f"{server.url}/v1", headers=headers, timeout=WAIT_S
        ) as api:
            (one,) = (await api.get(f"/approvals?run={waiting['run_id']}")).json()["items"]
            (await api.post(f"/approvals/{one['id']}/approve")).raise_for_status()
        found = waiting
        until = time.monotonic() + WAIT_S
        while found["status"] in {"suspended", "running"} and time.monotonic() < until:
            found = await called(session, "script_status", run_id=waiting["run_id"])
        return waiting, found

    waiting, found = asked(server, ask)
    assert waiting["status"] == "suspended"
    assert (found["status"], found["value"]) == ("completed", 7)


def test_keys_and_tenants(server):
    """No key opens nothing; a scope is needed for what needs it; tenants do not meet."""
    with server.client() as client:
        other = client.create_key(["session"], tenant="other").key
        runner = client.create_key(["run"], tenant="other").key
    assert httpx.post(f"{server.url}/mcp", json={}, timeout=WAIT_S).status_code == 401

    async def mine(session):
        await called(session, "session_create", name="mine")
        opened = session.id_of()
        headers = {
            "authorization": f"Bearer {other}",
            "mcp-session-id": opened,
            "accept": "application/json, text/event-stream",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        async with httpx.AsyncClient(timeout=WAIT_S) as stranger:
            return await stranger.post(f"{server.url}/mcp", json=body, headers=headers)

    assert asked(server, mine).status_code == 404

    async def theirs(session):
        seen = await called(session, "session_list")
        ran = await session.call_tool("run_code", {"code": "1"})
        file = await session.call_tool("session_run", {"session": "mine", "code": "1"})
        return seen, ran, file

    seen, ran, file = asked(server, theirs, other)
    assert seen == []
    assert ran.isError
    assert "run" in ran.content[0].text
    assert file.isError

    async def questions(_context, _question):
        raise AssertionError("a key that may not approve is not asked")

    async def script(session):
        return await called(session, "run_script", source=f"return await {HELLO}")

    assert asked(server, script, runner, elicitation_callback=questions)["status"] == "suspended"


def test_sessions_of_a_tenant(tmp_path):
    """A tenant has so many sessions of the protocol, and leaves the others theirs."""
    body = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }

    def opened(server, key):
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json, text/event-stream",
        }
        return httpx.post(f"{server.url}/mcp", json=body, headers=headers, timeout=WAIT_S)

    with serving(tmp_path, CLOCHE_SERVER_TENANT_MCP_SESSION_COUNT_MAX="2") as server:
        answers = [opened(server, server.key) for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 409]
        assert answers[2].json()["fields"]["limit"] == "server.tenant_mcp_session_count_max"
        with cloche.Client(server.url, server.key) as client:
            other = client.create_key(["run"], tenant="other").key
        assert opened(server, other).status_code == 200
        headers = {
            "authorization": f"Bearer {server.key}",
            "mcp-session-id": answers[0].headers["mcp-session-id"],
        }
        assert httpx.delete(f"{server.url}/mcp", headers=headers).status_code == 200
        assert opened(server, server.key).status_code == 200

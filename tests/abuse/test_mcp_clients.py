"""Attack: a client of MCP uses another key's session, crooked resources, giant arguments."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest
from tests.server.test_mcp_http import asked, called

from abuse.app_support import WAIT_S

pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def keys(served):
    """Keys of another tenant, by scope."""
    with served.client() as client:
        return {
            scope: client.create_key([scope], tenant="stranger").key
            for scope in ("run", "session", "approve")
        }


@pytest.fixture(scope="module")
def mine(served):
    """A session with a file, and a run, of the server's own tenant."""
    with served.client() as client:
        session = client.Session.create("python")
        session.run("open('/secret.txt', 'w').write('my-secret')")
    headers = {"authorization": f"Bearer {served.key}"}
    body = {"language": "python", "code": "print('my-secret')"}
    run = httpx.post(f"{served.url}/v1/run", json=body, headers=headers, timeout=WAIT_S).json()
    return session.id, run["id"]


def uris(session, run):
    """Return resources that are not the client's, in every spelling."""
    return [
        f"cloche://sessions/{session}/files/secret.txt",
        f"cloche://sessions/{session}/files/%2Fsecret.txt",
        f"cloche://sessions/x%2F..%2F{session}/files/secret.txt",
        f"cloche://sessions/../sessions/{session}/files/secret.txt",
        f"cloche://runs/{run}/journal",
        f"cloche://runs/..%2F{run}/journal",
        "cloche://runs/%00/journal",
        "file:///etc/passwd",
        "cloche://sessions/a/files/..%2F..%2F..%2Fetc%2Fpasswd",
        "http://127.0.0.1:8787/v1/keys",
    ]


@pytest.mark.parametrize("number", range(10))
def test_resources_of_others(served, keys, mine, number):
    """No spelling of a resource gives what is another tenant's, or the host's."""
    uri = uris(*mine)[number]

    async def read(session):
        try:
            return str(await session.read_resource(uri))
        except Exception as error:  # noqa: BLE001 - whatever the client makes of it
            return str(error)

    for key in (keys["session"], keys["run"]):
        text = asked(served, read, key)
        assert "my-secret" not in text
        assert "root:" not in text
        assert str(served.folder) not in text


def test_tools_without_scope(served, keys):
    """Each tool needs its scope; what is refused tells no place of the host."""
    calls = {
        "run_code": ({"code": "1", "language": "python"}, "run"),
        "session_create": ({"name": "x"}, "session"),
        "session_list": ({}, "session"),
        "list_files": ({"session": "x"}, "session"),
        "read_file": ({"session": "x", "path": "../../etc/passwd"}, "session"),
        "write_file": ({"session": "x", "path": "/a", "content": "b"}, "session"),
    }

    async def try_all(session):
        return {
            name: await session.call_tool(name, arguments) for name, (arguments, _) in calls.items()
        }

    for has in ("run", "approve"):
        for name, answer in asked(served, try_all, keys[has]).items():
            text = str(answer.content)
            assert str(served.folder) not in text
            assert "site-packages" not in text
            if calls[name][1] != has:
                assert answer.isError, name


ARGUMENTS = [
    ("run_code", {"code": "x" * (20 << 20), "language": "python"}),
    ("run_code", {"code": 1}),
    ("run_code", {"code": "1", "language": "../../bin/sh"}),
    ("run_code", {"code": "1", "language": "python", "policy": {"net": True}}),
    ("session_run", {"session": "../x", "code": "1"}),
    ("session_run", {"session": "x" * 100_000, "code": "1"}),
    ("write_file", {"session": "a", "path": "\x00", "content": "x"}),
    ("no_such_tool", {}),
    ("run_script", {"source": "x", "tools": "os:system"}),
]


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_arguments(served, number):
    """Giant, crooked and unknown arguments are refused in words, and the session goes on."""
    name, arguments = ARGUMENTS[number]

    async def talk(session):
        try:
            answer = await session.call_tool(name, arguments)
            text, is_error = str(answer.content), answer.isError
        except Exception as error:  # noqa: BLE001 - the transport may refuse it, too
            text, is_error = str(error), True
        assert str(served.folder) not in text
        assert "Traceback" not in text
        return is_error

    is_error = True
    with contextlib.suppress(ExceptionGroup):  # a body that is too large breaks the connection off
        is_error = asked(served, talk)
    assert is_error or "policy" in arguments or "tools" in arguments

    async def again(session):
        return await called(session, "run_code", code="print(1)", language="python")

    assert asked(served, again)["stdout"] == "1\n"


def test_the_session_of_another_key(served, keys):
    """What a key has opened no other key speaks in, listens to or ends, whatever its scopes."""
    accept = "application/json, text/event-stream"

    async def opened(session):
        found = []
        async with httpx.AsyncClient(timeout=WAIT_S) as stranger:
            for key in (*keys.values(), None, "clk_wrong"):
                fields = {"mcp-session-id": session.id_of(), "accept": accept}
                if key is not None:
                    fields["authorization"] = f"Bearer {key}"
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
                url = f"{served.url}/mcp"
                found.append((await stranger.post(url, json=body, headers=fields)).status_code)
                found.append((await stranger.get(url, headers=fields)).status_code)
                found.append((await stranger.delete(url, headers=fields)).status_code)
        await called(session, "session_list")  # it lives on
        return found

    assert set(asked(served, opened)) <= {401, 404}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1,"method":"x"}' * 3,
     json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}}).encode()],
)  # fmt: skip
def test_wrong_bodies(served, body):
    """What is no message, or answers a question that nobody asked, is refused."""
    headers = {
        "authorization": f"Bearer {served.key}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    answer = httpx.post(f"{served.url}/mcp", content=body, headers=headers, timeout=WAIT_S)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text
    assert asyncio.run(_health(served)) == 200


async def _health(served):
    async with httpx.AsyncClient(timeout=WAIT_S) as client:
        return (await client.get(f"{served.url}/healthz")).status_code

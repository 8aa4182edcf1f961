"""Attack: the code of an app speaks with the host itself, not through what it was given."""

from __future__ import annotations

import json

import pytest

from abuse.app_support import place

CODE = """
from _cloche import host
def handle(request):
    try:
        value = host.effect({kind!r}, {target!r}, {args})
        print("VALUE", value)
    except BaseException as error:
        print("REFUSED", type(error).__name__)
    return "after"
"""
CALLS = [
    ("app", "respond", {"status": 101, "headers": []}),
    ("app", "respond", {"status": True}),
    ("app", "respond", {"status": 200, "headers": [["a", "b\r\nset-cookie: x"]]}),
    ("app", "respond", {"status": 200, "headers": [["a"]]}),
    ("app", "respond", {"status": 200, "headers": {"a": "b"}}),
    ("app", "respond", {"status": 200, "body": {"b64": "!"}}),
    ("app", "respond", []),
    ("app", "respond.write", {"data": "x"}),
    ("app", "respond.end", {}),
    ("app", "socket.accept", {}),
    ("app", "socket.send", {"data": "x"}),
    ("app", "return", {"value": 1}),
    ("app", "log", {"level": [], "message": 1}),
    ("app", "../respond", {}),
    ("http.fetch", "GET http://127.0.0.1:8787", {"url": "http://127.0.0.1:8787/v1/keys"}),
    ("http.fetch", "GET https://example.org", {"url": "https://example.org/"}),
    ("tool", "send", {}),
    ("promise", "x", {}),
    ("app.kv", "get", {"tenant": "acme", "key": "x"}),
    ("shell", "run", {"command": "id"}),
]


@pytest.fixture(scope="module")
def world():
    """A server that the tests of this module share."""
    with place() as found:
        yield found


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_refused(world, number):
    """What an app may not ask for is refused, and its request is answered once, and rightly."""
    kind, target, args = CALLS[number]
    code = CODE.format(kind=kind, target=target, args=json.loads(json.dumps(args)))
    world.deploy("raw", code, main="main.py")
    answer = world.get("/apps/raw/")
    world.settle()
    lines = world.get("/v1/apps/raw/logs", key=world.key).document["items"]
    said = " ".join(each["message"] for each in lines)
    assert "VALUE" not in said or "VALUE None" in said
    assert answer.all("set-cookie") == []
    assert (answer.status, answer.body) == (200, b"after") or answer.status == 500
    world.ask("DELETE", "/v1/apps/raw", key=world.key)


def test_two_answers(world):
    """A second answer is refused, and the first one is the client's."""
    code = CODE.format(kind="app", target="respond", args={"status": 200, "body": "first"})
    world.deploy("raw", code, main="main.py")
    answer = world.get("/apps/raw/")
    assert answer.body == b"first"

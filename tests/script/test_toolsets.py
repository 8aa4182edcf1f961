"""Tests of tool sets: from modules, MCP servers (real ones, on both transports) and OpenAPI."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.egress.support import World, response

import cloche
from cloche.egress.adapters.service import NetService
from cloche.egress.allowlist import Entry, NetPolicy
from cloche.gate.ports import EffectFailure
from cloche.script.adapters.mcp import HttpServer, McpConnectionError, McpTools, StdioServer
from cloche.script.adapters.modules import load_tools
from cloche.script.approvals import Made
from cloche.script.errors import ToolDeclarationError, ToolValidationError
from cloche.script.json_schemas import clean_name, schema_tool
from cloche.script.openapi import read_operations
from cloche.script.openapi_tools import openapi_tools
from cloche.script.tools import ToolSet
from cloche.script.web_tools import fetch_tool

SERVER = Path(__file__).parent / "data" / "mcp_server.py"

# --- schemas of others ---


def test_names_are_cleaned():
    """Whatever a server calls a tool, scripts can write it, and no two are the same."""
    assert clean_name("create-issue") == "create_issue"
    assert clean_name("7up") == "t_7up"
    assert clean_name("then") == "then_"
    assert clean_name("…") == "tool"
    assert clean_name("a b", ["a_b", "a_b_2"]) == "a_b_3"
    assert len(clean_name("x" * 500)) == 64


def test_arguments_are_checked_by_their_schema():
    """Missing, wrong and surplus ones are refused; defaults are filled in."""
    schema = {
        "properties": {"n": {"type": "integer", "maximum": 5}, "m": {"default": 2}},
        "required": ["n"],
        "additionalProperties": False,
    }
    tool = schema_tool("t", lambda args: args, parameters=schema)
    limits = cloche.Limits()
    assert tool.check_args({"n": 1}, limits=limits) == {"n": 1, "m": 2}
    assert tool.check_args([3], limits=limits) == {"n": 3, "m": 2}
    for bad in ({}, {"n": "1"}, {"n": 6}, {"n": 1, "x": 1}, [1, 2, 3]):
        with pytest.raises(ToolValidationError):
            tool.check_args(bad, limits=limits)


def test_hostile_schemas():
    """Nothing is fetched, no pattern is run, and what is no schema is refused."""
    for bad in ({"$ref": "http://127.0.0.1:9/x"}, {"properties": {"a": {"$ref": "file:///etc"}}}):
        with pytest.raises(ToolDeclarationError, match="which is elsewhere"):
            schema_tool("t", print, parameters=bad)
    with pytest.raises(ToolDeclarationError, match="its schema is none"):
        schema_tool("t", print, parameters={"properties": {"a": {"type": "nonsense"}}})
    evil = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    tool = schema_tool("t", print, parameters=evil)
    tool.check_args({"a": "a" * 100 + "b"}, limits=cloche.Limits())  # else for years
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(ToolValidationError):
        schema_tool("t", print, parameters=circle).check_args({}, limits=cloche.Limits())


# --- modules ---


def test_tools_of_a_module(tmp_path, monkeypatch):
    """A module, an object in it, a function that makes tools."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "tools_of_a_module_under_test"
    (tmp_path / f"{name}.py").write_text(
        "import cloche\n"
        "@cloche.tool\n"
        "def add(a: int, b: int) -> int:\n"
        "    'Add.'\n"
        "    return a + b\n"
        "def make():\n"
        "    return [add]\n"
        "nothing = 5\n"
    )
    assert list(load_tools(name)) == ["add"]
    assert list(load_tools(f"{name}:add")) == ["add"]
    assert list(load_tools(f"{name}:make")) == ["add"]
    for bad, problem in [
        (f"{name}:nothing", "int is no tool"),
        (f"{name}:none", "has no 'none'"),
        ("no_such_module_here", "cannot be imported"),
        ("json", "has no tools"),
    ]:
        with pytest.raises(ToolDeclarationError, match=problem):
            load_tools(bad)


def test_a_module_that_fails(tmp_path, monkeypatch):
    """What it raised is in the error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "failing_module_under_test.py").write_text("1 / 0\n")
    with pytest.raises(ToolDeclarationError, match="failed: ZeroDivisionError"):
        load_tools("failing_module_under_test")


# --- MCP ---


@pytest.fixture
def address():
    """Return the address of a real MCP server on loopback."""
    import importlib.util

    import uvicorn

    spec = importlib.util.spec_from_file_location("mcp_server_under_test", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = uvicorn.Config(
        module.server.streamable_http_app(),
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        server.should_exit = True
        thread.join(60)


def check_notes(mcp):
    """Read and write notes by scripts in both languages; writing asks."""
    harness = cloche.ScriptHarness(mcp.tools)
    read = harness.run("return await tools.notes.read_note({ name: 'first' })")
    assert (read.status, read.value) == ("completed", {"result": "hello"})
    source = "tools.notes.write_note(name='b', text='four')"
    parked = harness.run(source, language="python")
    assert (parked.status, harness.pending[0].tool) == ("suspended", "notes.write_note")
    harness.decide(harness.pending[0].id, Made(verdict="approve", who="ann"))
    assert harness.resume(parked.run_id).value == {"size": 4}
    failed = harness.run("return await tools.notes.read_note({ name: 'none' })")
    assert failed.error["code"] == "TOOL_EXECUTION"
    assert "MCP_TOOL_ERROR" in failed.error["message"]
    wrong = harness.run("return await tools.notes.read_note({ name: 5 })")
    assert wrong.error["code"] == "TOOL_VALIDATION"


def test_mcp_over_stdio():
    """A server that is a command."""
    with McpTools(
        "notes", StdioServer(command=[sys.executable, str(SERVER)]), trust_hints=True
    ) as mcp:
        check_notes(mcp)


def test_mcp_over_http(address):
    """A server at an address."""
    with McpTools("notes", HttpServer(url=address), trust_hints=True) as mcp:
        check_notes(mcp)


def test_what_a_server_says_of_itself_is_not_believed():
    """Without `trust_hints` reading asks, too."""
    with McpTools("notes", StdioServer(command=[sys.executable, str(SERVER)])) as mcp:
        assert not any(tool.read_only for tool in mcp.tools.values())
        assert list(mcp.tools) == [
            "notes.crash",
            "notes.read_note",
            "notes.slow",
            "notes.write_note",
        ]


def test_a_server_that_goes_away():
    """Its calls fail at once, and do not hang."""
    with McpTools("notes", StdioServer(command=[sys.executable, str(SERVER)])) as mcp:
        policy = cloche.ToolPolicy.from_document(
            [{"tool": "*", "verdict": "allow"}], limits=cloche.Limits()
        )
        harness = cloche.ScriptHarness(mcp.tools, policy=policy)
        result = harness.run("return await tools.notes.crash()")
        assert result.error["code"] == "TOOL_EXECUTION"
        assert "too long" not in result.error["message"]


def test_a_call_that_takes_too_long():
    """It is given up after its time."""
    with McpTools(
        "notes", StdioServer(command=[sys.executable, str(SERVER)]), timeout_ms=200
    ) as mcp:
        context = cloche.ToolContext(run_id="r", idempotency_key="k", cancelled=lambda: False)
        with pytest.raises(EffectFailure, match="took too long"):
            mcp.tools["notes.slow"].function(args={"seconds": 30}, context=context)


def test_no_server():
    """A command that ends, and an address where nobody is, are errors that say so."""
    with pytest.raises(McpConnectionError):
        McpTools("x", StdioServer(command=[sys.executable, "-c", "pass"])).connect()
    with pytest.raises(McpConnectionError):
        McpTools("x", HttpServer(url="http://127.0.0.1:9/mcp")).connect()


# --- OpenAPI ---

DOCUMENT = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://a.example.com/v1"}],
    "paths": {
        "/pets/{petId}": {
            "parameters": [{"$ref": "#/components/parameters/Pet"}],
            "get": {
                "operationId": "get-pet",
                "summary": "Read a pet",
                "parameters": [
                    {"name": "fields", "in": "query", "schema": {"type": "array"}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                ],
            },
            "put": {
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}
                    },
                }
            },
        }
    },
    "components": {
        "parameters": {
            "Pet": {"name": "petId", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "schemas": {
            "Pet": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "nullable": True},
                    "parent": {"$ref": "#/components/schemas/Pet"},
                },
            }
        },
    },
}


def test_operations_become_tools():
    """Names are clean, GET only reads, and a parameter stands where the document says."""
    get, put = read_operations(DOCUMENT)
    assert (get.name, get.read_only, get.description) == ("get_pet", True, "Read a pet")
    assert (put.name, put.read_only) == ("put_pets_petId", False)
    assert sorted(get.schema["properties"]) == ["X_Trace", "fields", "petId"]
    assert get.schema["required"] == ["petId"]
    args = {"petId": "a/../b?c", "fields": ["x", "y&z"], "X_Trace": "t"}
    request = get.request("https://h/v1/", args)
    assert request["url"] == "https://h/v1/pets/a%2F..%2Fb%3Fc?fields=x&fields=y%26z"
    assert request["headers"] == {"accept": "application/json", "x-trace": "t"}
    body = put.request("https://h", {"petId": "1", "body": {"name": "é"}})
    assert (body["method"], json.loads(body["body"])) == ("PUT", {"name": "é"})


def test_a_part_of_a_path_that_is_not_declared():
    """Is an argument all the same: no brace is sent."""
    document = {"openapi": "3.1.0", "paths": {"/a/{one}/{two-2}/{one}": {"get": {}}}}
    (only,) = read_operations(document)
    assert only.schema["required"] == ["one", "two_2"]
    request = only.request("https://h", {"one": "x", "two_2": "y/z"})
    assert request["url"] == "https://h/a/x/y%2Fz/x"


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_no_part_of_a_path_leads_elsewhere(value):
    """Dots and nothing are refused."""
    with pytest.raises(ValueError, match="no part of a path"):
        read_operations(DOCUMENT)[0].request("https://h", {"petId": value})


def test_no_line_begins_in_a_header():
    """A line break is refused."""
    with pytest.raises(ValueError, match="no header"):
        read_operations(DOCUMENT)[0].request("https://h", {"petId": "a", "X_Trace": "a\r\nb: c"})


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"openapi": "2.0"},
        {"openapi": "3.0.0"},
        {"openapi": "3.1.0", "paths": {"x": {}}},
        {"openapi": "3.1.0", "paths": {"/x": {"get": {"parameters": [{"$ref": "http://h/x"}]}}}},
        {"openapi": "3.1.0", "paths": {"/x": {"get": {"parameters": [{"$ref": "#/none"}]}}}},
        {"openapi": "3.1.0", "paths": {"/x": {"get": {"parameters": 5}}}},
        "no json",
    ],
)
def test_documents_that_are_none(document):
    """A clear error, and no tools."""
    with pytest.raises(ToolDeclarationError, match="openapi"):
        openapi_tools("pets", document, base_url="https://h")


@pytest.fixture
def service():
    """Return a service whose world has a server of its own."""
    worlds = []

    def make():
        worlds.append(World({"net": {"app_concurrency": 20, "max_calls": 20}}))
        return worlds[0].egress

    opened = NetService(make)
    opened.call(lambda egress: None)
    opened.world = worlds[0]
    yield opened
    opened.submit(lambda egress: worlds[0].__aexit__()).result()
    opened.close()


def test_scripts_call_operations(service):
    """Reading is free and gives JSON; writing asks; failure is an error with the server's words."""
    answers = {
        "/v1/pets/1": response(body=b'{"name":"Tom"}', content_type="application/json"),
        "/v1/pets/2": response("404 Not Found", body=b"no such pet", content_type="text/plain"),
    }

    def answer(request):
        return answers[request.target]

    server = service.submit(lambda _: service.world.server("a.example.com", answer=answer)).result()
    tools = openapi_tools(
        "pets",
        DOCUMENT,
        base_url=f"https://a.example.com:{server.port}/v1",
        service=service,
        limits=service.world.limits,
    )
    harness = cloche.ScriptHarness(tools)
    found = harness.run("return (await tools.pets.get_pet({ petId: '1' })).name")
    assert (found.status, found.value) == ("completed", "Tom")
    missing = harness.run("tools.pets.get_pet(petId='2')", language="python")
    assert "HTTP_STATUS: 404 Not Found: no such pet" in missing.error["message"]
    parked = harness.run("return await tools.pets.put_pets_petId({ petId: '1', body: {} })")
    assert parked.status == "suspended"


def test_a_set_has_no_two_tools_of_one_name():
    """The second one is refused."""
    tools = openapi_tools("pets", DOCUMENT)
    with pytest.raises(ToolDeclarationError, match="two of this name"):
        ToolSet(tools, tools)


def test_scripts_read_pages_that_a_policy_names(service):
    """`fetchUrl` goes the gate's way out, and nowhere else."""

    def answer(request):
        return response(body=f"page {request.target}".encode(), content_type="text/plain")

    server = service.submit(lambda _: service.world.server("a.example.com", answer=answer)).result()
    policy = NetPolicy(allow=(Entry(host="a.example.com", ports=(server.port,)),))
    harness = cloche.ScriptHarness(fetch_tool(policy, service=service))
    url = f"https://a.example.com:{server.port}/one"
    assert harness.run(f"return tools.fetchUrl('{url}')").value == {
        "status": 200,
        "kind": "text/plain",
        "text": "page /one",
    }
    refused = harness.run("return tools.fetchUrl('https://b.example.com/')")
    assert refused.error["code"] == "TOOL_EXECUTION"
    assert "b.example.com" in refused.error["message"]
    off = cloche.ScriptHarness(fetch_tool(policy, service=service), packs={"web": False})
    assert off.run(f"return tools.fetchUrl('{url}')").error["code"] == "TOOL_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: StdioServer(command="notes --fast"),
            "the command is 'notes --fast', expected a list: a program and its words",
        ),
        (
            lambda: StdioServer(command=[]),
            "the command is [], expected a list: a program and its words",
        ),
        (
            lambda: HttpServer(url="ftp://notes"),
            "the url is 'ftp://notes', expected one that starts with https:// or http://",
        ),
    ],
)
def test_a_server_that_cannot_be(make, says):
    """Is refused where it is written."""
    with pytest.raises(ToolDeclarationError) as refused:
        make()
    assert str(refused.value) == f"an MCP server: {says}"

"""Scripts, approvals and cancelling over stdio, by the protocol's own client."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from mcp.shared.exceptions import McpError
from mcp.types import (
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ElicitResult,
    ErrorData,
)
from tests.server.test_mcp import asked, called

TOOLS = ("--tools", "tests.server.tools:TOOLS")
HELLO = "return await tools.send({ to: 'ann' })"


class Person:
    """Who is asked at the client, and gives these answers in their order."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.messages = []

    async def __call__(self, _context, question):
        self.messages.append(question.message)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, ErrorData) else ElicitResult(**answer)


def accepted(**content):
    """Return the answer of a form."""
    return {"action": "accept", "content": content}


def hello(session):
    """Run a script that must ask."""
    return called(session, "run_script", source=HELLO)


def test_a_person_changes_arguments(tmp_path):
    """A call happens with the arguments that the person wrote."""
    person = Person(accepted(approve=True, args_json='{"to": "bob"}'))
    done = asked(tmp_path, hello, *TOOLS, elicitation_callback=person)
    assert (done["status"], done["value"]) == ("completed", "sent to bob")
    assert 'send with\n{"to": "ann"}' in person.messages[0]


def test_a_person_writes_what_cannot_be(tmp_path):
    """They are asked again, with what was wrong, until it can be done."""
    person = Person(
        accepted(approve=True, args_json="{to"),
        accepted(approve=True, args_json="[]"),
        accepted(approve=True, args_json='{"from": 1}'),
        accepted(approve=True, args_json='{"to": "eve"}'),
    )
    done = asked(tmp_path, hello, *TOOLS, elicitation_callback=person)
    assert done["value"] == "sent to eve"
    first, *others = (message.split("\n", 1)[0] for message in person.messages)
    assert first == "A script asks to call send with"
    assert [line.split(":")[1] for line in others] == [
        " args_json",
        " args_json",
        " the arguments of 'send' were not valid",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "cancel"},
        {"action": "accept"},
        accepted(approve="perhaps"),
        ErrorData(code=-1, message="no"),
    ],
)
def test_nobody_answers(tmp_path, answer):
    """Without an answer the script waits, and the model learns where."""
    done = asked(tmp_path, hello, *TOOLS, elicitation_callback=Person(answer))
    assert done["status"] == "suspended"
    assert len(done["run_id"]) == 32


def test_a_script_keeps_its_tools(tmp_path):
    """Where two sets have a tool of the same name, that of the script's own set is called."""

    async def ask(session):
        found = [
            await called(session, "run_script", source=HELLO, tools=name) for name in ("a", "b")
        ]
        return [each["value"] for each in found]

    sets = ("--tools", "a=tests.server.tools:OTHERS", "--tools", "b=tests.server.tools:TOOLS")
    person = Person(accepted(approve=True), accepted(approve=True))
    values = asked(tmp_path, ask, *sets, elicitation_callback=person)
    assert values == ["another sent to ann", "sent to ann"]


def test_a_call_that_is_cancelled(tmp_path):
    """Its program is stopped, and its session can be used at once."""

    async def ask(session):
        await called(session, "session_create", name="work")
        began = time.monotonic()
        number = session._request_id
        endless = asyncio.ensure_future(
            session.call_tool(
                "session_run",
                {"session": "work", "code": "while True: pass", "timeout_ms": 600_000},
            )
        )
        await asyncio.sleep(0)  # it begins
        # The answer to another call says that the first one has been taken.
        await called(session, "session_list")
        params = CancelledNotificationParams(requestId=number)
        await session.send_notification(ClientNotification(CancelledNotification(params=params)))
        with pytest.raises(McpError, match="cancelled"):
            await endless
        done = await called(session, "session_run", session="work", code="print(1)")
        return done["stdout"], time.monotonic() - began

    printed, took_s = asked(tmp_path, ask)
    assert printed == "1\n"
    assert took_s < 300


def test_the_journal_of_a_run(tmp_path):
    """A run in a session says under which name its journal can be read."""

    async def ask(session):
        await called(session, "session_create", name="work")
        done = await called(session, "session_run", session="work", code="print(1)")
        found = await session.read_resource(f"cloche://runs/{done['run_id']}/journal")
        return [json.loads(line)["entry"] for line in found.contents[0].text.splitlines()]

    entries = asked(tmp_path, ask)
    assert (entries[0], entries[-1]) == ("run_started", "run_finished")


def test_a_journal_that_is_not_there(tmp_path):
    """It is an error, not an empty journal."""

    async def ask(session):
        with pytest.raises(McpError) as raised:
            await session.read_resource("cloche://runs/none/journal")
        return str(raised.value)

    assert asked(tmp_path, ask).endswith("there is no journal of run 'none'")


def test_arguments_that_a_tool_does_not_have(tmp_path):
    """They are an error that names them, as are numbers out of range."""

    async def ask(session):
        wrong = [
            await session.call_tool(name, arguments)
            for name, arguments in (
                ("run_code", {"code": "1", "timeout": 5}),
                ("run_code", {"code": "1", "timeout_ms": 0}),
                ("session_revert", {"session": "x", "last": 0}),
                ("session_list", {"tenant": "x"}),
            )
        ]
        tools = (await session.list_tools()).tools
        return wrong, tools

    wrong, tools = asked(tmp_path, ask)
    assert all(each.isError for each in wrong)
    assert [each.content[0].text.split("\n")[1] for each in wrong] == [
        "timeout",
        "timeout_ms",
        "last",
        "tenant",
    ]
    assert all(tool.inputSchema["additionalProperties"] is False for tool in tools)


def test_what_is_no_picture(tmp_path):
    """A file with the name of a picture is shown as one if it begins as one."""

    async def ask(session):
        code = "for kind in ('png', 'jpg', 'gif', 'webp'): open('a.' + kind, 'w').write('text')"
        await called(session, "session_create", name="work")
        return (
            await session.call_tool("run_code", {"code": code}),
            await session.call_tool("session_run", {"session": "work", "code": code}),
            await session.call_tool("read_file", {"session": "work", "path": "a.png"}),
        )

    run, in_session, file = asked(tmp_path, ask)
    assert [each.type for each in run.content + in_session.content] == ["text", "text"]
    assert file.content[0].text == "text"

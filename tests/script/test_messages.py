"""Tests of reading and writing the messages of three APIs."""

from __future__ import annotations

import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.limits import Limits
from cloche.script.items import (
    CallRecord,
    Foreign,
    History,
    Message,
    ScriptCall,
    ScriptResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from cloche.script.message_errors import ApiUnknownError, MessageInvalidError
from cloche.script.messages import (
    read_message,
    read_result,
    result_text,
    write_history,
    write_message,
    write_results,
)
from cloche.script.structured import declarations
from cloche.script.tools import ToolSet

LIMITS = Limits()
SAID = 'Look:\n<tool-calls lang="js">\nreturn 1\n</tool-calls>\nDone.'

ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "stop_reason": "tool_use",
    "content": [
        {"type": "thinking", "thinking": "<tool-calls>2</tool-calls>", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": SAID, "citations": None},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": "é"}},
        {"type": "text", "text": ""},
    ],
}
CHAT = {
    "role": "assistant",
    "content": SAID,
    "refusal": None,
    "reasoning_content": "hm",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "call_2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}},
    ],
}
CHAT_PARTS = {
    "role": "assistant",
    "content": [
        {"type": "text", "text": SAID},
        {"type": "refusal", "refusal": "<tool-calls>2</tool-calls>"},
    ],
}
RESPONSES = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}, {"type": "summary_text", "text": "so"}],
        "encrypted_content": "e",
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": SAID, "annotations": []},
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "sql", "input": "select 1"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
]
SCRIPT = ScriptCall(
    slot=0,
    raw=SAID[6:-6],
    script_id="script_1",
    language="javascript",
    source="return 1",
    sha256="62b2e9aed9dd0ae8f5ba0cea4b2ea1a1e5ee5f7a4a8c11cd2b22c2b0b9f1e2d8",
    line=3,
)
SAID_ITEMS = [Text(slot=0, text="Look:\n"), SCRIPT, Text(slot=0, text="\nDone.", is_ahead=True)]
EXPECTED = {
    "anthropic.messages": [
        Thinking(text="<tool-calls>2</tool-calls>"),
        Thinking(text=""),
        *SAID_ITEMS,
        Foreign(kind="server_tool_use"),
        ToolCall(call_id="toolu_1", name="add", arguments='{"a": 1, "b": "é"}'),
    ],
    "openai.chat": [
        Thinking(text="hm"),
        *SAID_ITEMS,
        ToolCall(call_id="call_1", name="add", arguments='{"a": 1}'),
        ToolCall(call_id="call_2", name="sql", arguments="select 1"),
    ],
    "openai.responses": [
        Thinking(text="hm\nso"),
        *SAID_ITEMS,
        Foreign(kind="refusal"),
        ToolCall(call_id="call_1", name="add", arguments="{}"),
        ToolCall(call_id="call_2", name="sql", arguments="select 1"),
        Foreign(kind="web_search_call"),
    ],
}
MESSAGES = {
    "anthropic.messages": ANTHROPIC,
    "openai.chat": CHAT,
    "openai.responses": RESPONSES,
}
APIS = list(MESSAGES)
RESULT = ScriptResult(
    script_id="script_1",
    run_id="r",
    status="failed",
    value={"a": [1, 2.5, None]},
    output="</tool-results> <tool-calls>é\u2028",
    tool_calls=(CallRecord(tool="add", args={"a": 1}, status="completed", value=3, line=2),),
    error={"code": "X", "message": "m", "blame": "guest", "retryable": True, "fields": {"a": 1}},
    usage={"time_ms": 3},
    journal_id="j",
)


def read(message, api):
    """Return a message as it is read."""
    return read_message(message, api=api, limits=LIMITS)


def without_hash(items):
    """Return items whose scripts have no hash; it is tested where it is made."""
    replace = msgspec.structs.replace
    return [replace(i, sha256="") if isinstance(i, ScriptCall) else i for i in items]


@pytest.mark.parametrize("api", APIS)
def test_the_items_of_a_message(api):
    """Thinking, text, scripts and calls in their order; what is no text is not searched."""
    assert without_hash(read(MESSAGES[api], api).items) == without_hash(EXPECTED[api])


@pytest.mark.parametrize("api", APIS)
def test_what_is_read_is_written_again(api):
    """The dictionary comes back equal, and the one that was given is not changed."""
    given_message = copy.deepcopy(MESSAGES[api])
    assert write_message(read(given_message, api)) == MESSAGES[api] == given_message


def test_the_parts_of_a_chat_message():
    """Content may be a list; a refusal is not searched."""
    message = read(CHAT_PARTS, "openai.chat")
    assert without_hash(message.items) == without_hash([*SAID_ITEMS, Foreign(kind="refusal")])
    assert write_message(message) == CHAT_PARTS


@pytest.mark.parametrize("api", ["openai.chat", "anthropic.messages"])
def test_a_message_that_is_one_text(api):
    """It stays one."""
    message = read({"role": "assistant", "content": SAID}, api)
    assert without_hash(message.items) == without_hash(SAID_ITEMS)
    assert write_message(message) == {"role": "assistant", "content": SAID}


def test_a_chat_message_may_have_no_text():
    """Calls alone are a message, too."""
    message = {"role": "assistant", "content": None, "tool_calls": None}
    assert read(message, "openai.chat").items == ()
    assert write_message(read(message, "openai.chat")) == message


@given(
    st.lists(
        st.lists(
            st.sampled_from(["<tool-calls>", "</tool-calls>", "1", "`", "\n", "'", " ", "é"]),
            max_size=8,
        ).map("".join),
        max_size=4,
    )
)
def test_every_text_comes_back(texts):
    """Whatever the texts hold, broken scripts, too, and also through storage."""
    content = [{"type": "text", "text": text} for text in texts]
    message = read({"role": "assistant", "content": content}, "anthropic.messages")
    assert write_message(message) == {"role": "assistant", "content": content}
    ids = [script.script_id for script in message.scripts]
    assert ids == [f"script_{number}" for number in range(1, len(ids) + 1)]
    stored = msgspec.json.encode(message)
    assert msgspec.json.encode(msgspec.json.decode(stored, type=Message)) == stored
    assert write_message(msgspec.json.decode(stored, type=Message)) == write_message(message)


@pytest.mark.parametrize(
    ("api", "message", "where"),
    [
        ("openai.chat", [], "the message is no object"),
        ("openai.chat", {"role": "user", "content": SAID}, "the message is not of the assistant"),
        ("openai.chat", {"role": "assistant", "content": 5}, "content is no list"),
        ("openai.chat", {"role": "assistant", "content": ["a"]}, "content[0] is no object"),
        ("openai.chat", {"role": "assistant", "tool_calls": {}}, "tool_calls is no list"),
        (
            "openai.chat",
            {"role": "assistant", "tool_calls": [{"type": "function"}]},
            "tool_calls[0] has no 'function'",
        ),
        ("anthropic.messages", {"role": "user", "content": []}, "the message is not of the"),
        ("anthropic.messages", {"role": "assistant"}, "content is no list"),
        (
            "anthropic.messages",
            {"role": "assistant", "content": [{"type": "text", "text": None}]},
            "content[0].text is no text",
        ),
        ("openai.responses", {}, "output is no list"),
        ("openai.responses", [{"type": 5}], "output[0] is no object with a type"),
        (
            "openai.responses",
            [{"type": "message", "role": "user", "content": []}],
            "output[0] is not of the assistant",
        ),
        ("openai.responses", [{"type": "function_call"}], "[0].arguments is no text"),
    ],
)
def test_another_form_is_refused(api, message, where):
    """The error says where; a user's text never runs."""
    with pytest.raises(MessageInvalidError) as caught:
        read(message, api)
    assert f": {where}" in caught.value.message


def test_an_unknown_api_is_refused():
    """The error names those that there are."""
    for ask in (
        lambda: read({"role": "assistant", "content": "x"}, "openai"),
        lambda: declarations(ToolSet(), api="openai"),
    ):
        with pytest.raises(ApiUnknownError) as caught:
            ask()
        assert caught.value.message == (
            "no API is called 'openai'; it is one of openai.responses, openai.chat, "
            "anthropic.messages"
        )


@pytest.mark.parametrize("api", APIS)
def test_a_history_is_the_message_and_its_results(api):
    """Results of calls first, then those of scripts, each in the form of the API."""
    call = EXPECTED[api][-1] if api == "anthropic.messages" else None
    call_id = call.call_id if call else "call_1"
    history = read(MESSAGES[api], api).with_results(
        RESULT, ToolResult(call_id=call_id, name="add", value="<b>")
    )
    text = result_text(RESULT)
    value = '{"value": "\\u003cb>"}'
    *before, first = write_history(history)[: -1 if api != "anthropic.messages" else None]
    if api == "anthropic.messages":
        assert before == [{"role": "assistant", "content": ANTHROPIC["content"]}]
        assert first["content"] == [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": value},
            {"type": "text", "text": text},
        ]
    elif api == "openai.chat":
        assert before == [CHAT]
        assert write_results(history) == [
            {"role": "tool", "tool_call_id": "call_1", "content": value},
            {"role": "user", "content": text},
        ]
    else:
        assert before == RESPONSES
        assert write_results(history) == [
            {"type": "function_call_output", "call_id": "call_1", "output": value},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": text}],
            },
        ]


def test_a_failed_call_is_marked():
    """The error is in the result, and the API that has a mark for it gets it."""
    message = {"role": "assistant", "content": [ANTHROPIC["content"][4]]}
    result = ToolResult(call_id="toolu_1", name="add", error=RESULT.error)
    history = read(message, "anthropic.messages").with_results(result)
    (block,) = write_results(history)[0]["content"]
    assert block["is_error"]
    assert json.loads(block["content"]) == {"error": RESULT.error}


@pytest.mark.parametrize("api", APIS)
def test_nothing_happened_nothing_to_tell(api):
    """Without a result there is no message of results."""
    assert write_results(read(MESSAGES[api], api).with_results()) == []


def test_a_result_stands_behind_its_call():
    """The order is that of the message, not of the results."""
    message = read(ANTHROPIC, "anthropic.messages")
    tool = ToolResult(call_id="toolu_1", name="add", value=3)
    items = message.with_results(tool, RESULT).items
    assert [type(item) for item in items] == [
        *(Thinking, Thinking, Text, ScriptCall, ScriptResult, Text, Foreign, ToolCall, ToolResult),
    ]
    stored = msgspec.json.encode(message.with_results(tool, RESULT))
    assert msgspec.json.decode(stored, type=History) == message.with_results(tool, RESULT)


def test_a_result_needs_its_call():
    """One of another message, and a second one, are mistakes of the caller."""
    message = read(CHAT, "openai.chat")
    with pytest.raises(ValueError, match="the message has no call script_2"):
        message.with_results(ScriptResult(script_id="script_2", status="skipped"))
    with pytest.raises(ValueError, match="there are two results of script_1"):
        message.with_results(RESULT, RESULT)


def test_a_result_as_text():
    """It can be read back, and nothing in it can pass for a tag."""
    text = result_text(RESULT)
    assert read_result(text) == RESULT
    assert text.count("<") == 2
    assert text.startswith("<tool-results>\n{")
    assert text.endswith("}\n</tool-results>")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<tool-results>\n{}\n</tool-results>",
        "<tool-results>\n[]\n</tool-results>",
        '<tool-results>\n{"script_id": "s", "status": "great"}\n</tool-results>',
        result_text(RESULT)[:-1],
    ],
)
def test_what_is_no_result(text):
    """Other text is refused."""
    with pytest.raises(MessageInvalidError, match="this is no message of a script's result"):
        read_result(text)


def test_a_broken_script_is_an_item_with_its_error():
    """It has a name, so that the model can be told what became of it."""
    message = read({"role": "assistant", "content": "a <tool-calls>b"}, "openai.chat")
    (script,) = message.scripts
    assert (script.script_id, script.source, script.language) == ("script_1", "", None)
    assert script.error["code"] == "SCRIPT_SYNTAX"

"""Settings of scripts as one document: what is dangerous is off until it is named."""

from __future__ import annotations

import pytest
from tests.script.cases import add, block, chat, write

from cloche.limits.errors import LimitError
from cloche.script.adapters.commands import Commands
from cloche.script.adapters.spawn import Spawner
from cloche.script.adapters.workspace import Workspace
from cloche.script.errors import ToolDeclarationError
from cloche.script.settings import ScriptSettings
from cloche.script.web_tools import search_tool


def harness_of(document, *tools):
    """Return a harness with the settings of a document."""
    return ScriptSettings.from_document(document).harness(*tools)


@pytest.fixture
def everything(tmp_path):
    """Return tools of every kind."""
    return [
        add,
        *Workspace(tmp_path).tools,
        *Commands(["true"], folder=tmp_path).tools,
        *Spawner(add).tools,
        search_tool(lambda query, count: []),
    ]


def test_nothing_runs_by_itself():
    """An empty document is a harness that is switched off."""
    assert harness_of({}).run("return 1").status == "skipped"


def test_what_is_dangerous_is_off(everything):
    """Commands, detached work and the web are not there; a call says so."""
    harness = harness_of({"mode": "enabled"}, *everything)
    names = "add applyPatch fileSearch grepFiles listDir readFile writeFile".split()
    assert list(harness.tools) == names
    off = harness.run("return tools.exec({ command: ['true'] })")
    assert off.error["code"] == "TOOL_NOT_ALLOWED"


def test_what_is_named_is_on(everything):
    """And a harmless pack can be switched off."""
    packs = {"spawn": True, "web": True, "files": False}
    harness = harness_of({"mode": "enabled", "packs": packs}, *everything)
    assert {one.pack for one in harness.tools.values()} == {"", "spawn", "web"}


def test_tools_by_name(everything):
    """A list of names and beginnings; what is dangerous stays off all the same."""
    harness = harness_of({"mode": "enabled", "tools": ["add", "spawn.*", "read*"]}, *everything)
    assert list(harness.tools) == ["add", "readFile"]
    on = {"mode": "enabled", "tools": ["spawn.*"], "packs": {"spawn": True}}
    assert "spawn.add" in harness_of(on, *everything).tools


def test_all_the_rest():
    """Modes, limits, languages, rules and what happens behind a failure."""
    harness = harness_of(
        {
            "mode": "enabled",
            "modes": {"new": "dry-run"},
            "default": "python",
            "go_on": True,
            "limits": {"call_count_max": 7},
            "provider_limits": {"small": {"call_count_max": 3}},
            "rules": [{"tool": "write", "verdict": "deny", "reason": "no writing"}],
        },
        write,
    )
    left = "<tool-calls>context.sandbox.toolCallsLeft</tool-calls>"

    def value(**options):
        return harness.handle(chat(left), api="openai.chat", **options).results[0]

    assert (value().value, value(provider="small").value) == (7, 3)
    assert value(provider="new").status == "checked"
    message = chat(block("1 / 0", "python"), block("tools.write(path='a', text='b')", "python"))
    results = harness.handle(message, api="openai.chat").results
    assert [one.error["code"] for one in results] == ["SCRIPT_RUNTIME", "APPROVAL_DENIED"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mod": "enabled"}, "mod"),
        ({"mode": "on"}, "Invalid enum value"),
        ({"packs": {"files": "yes"}}, "Expected `bool`"),
        ({"modes": {"a": "on"}}, "Invalid enum value"),
    ],
)
def test_a_document_that_is_none(document, said):
    """A name that means nothing is an error."""
    with pytest.raises(ToolDeclarationError, match=said):
        ScriptSettings.from_document(document)


def test_limits_and_packs_that_are_none():
    """They are found when the harness is made."""
    with pytest.raises(LimitError):
        harness_of({"limits": {"timeout_ms": 0}})
    with pytest.raises(ToolDeclarationError, match="no tool is of this pack"):
        harness_of({"packs": {"fils": False}}, add)

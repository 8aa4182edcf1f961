"""Tests of scripts that are kept by name."""

from __future__ import annotations

import pytest

from cloche.limits import Limits
from cloche.script.errors import ScriptRunStateError, SnippetError
from cloche.script.harness import ScriptHarness
from cloche.script.snippets import Snippet
from cloche.script.tools import tool

SOURCES = {
    "typescript": "const { city, days } = context.params;\n"
    "return [city, await tools.twice({ days })]",
    "python": "p = context['params']\n[p['city'], tools.twice(days=p['days'])]",
}


@tool(read_only=True)
def twice(days: int) -> int:
    """Double."""
    return days * 2


@tool
def ask() -> None:
    """Ask."""


def new_harness():
    """Return a harness."""
    return ScriptHarness(twice, ask, limits=Limits(), clock_ms=lambda: 5)


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_a_completed_script_is_run_again_by_name(language):
    """With its parameters, or with others."""
    harness = new_harness()
    given = {"city": "Rome", "days": 2}
    first = harness.run(SOURCES[language], language=language, params=given)
    assert first.value == ["Rome", 4]
    snippet = harness.save(first.run_id, "forecast")
    assert (snippet.params, snippet.run_id, snippet.saved_ms) == (given, first.run_id, 5)
    assert harness.snippets == (snippet,)
    assert harness.run_snippet("forecast").value == ["Rome", 4]
    assert harness.run_snippet("forecast", {"days": 5}).value == ["Rome", 10]
    harness.save(first.run_id, "forecast")
    assert len(harness.snippets) == 1


def test_what_did_not_complete_gets_no_name():
    """Neither what waits nor what failed."""
    harness = new_harness()
    for source in ("await tools.ask()", "throw new Error('no')"):
        run = harness.run(source)
        with pytest.raises(ScriptRunStateError, match="only what completed is worth a name"):
            harness.save(run.run_id, "x")
    done = harness.run("return 1")
    with pytest.raises(SnippetError, match="a letter first"):
        harness.save(done.run_id, "1 2")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"town": 1}, "has no parameter 'town'; it has city, days, any"),
        ({"city": 1}, "parameter 'city' is of kind number, expected text"),
        ({"days": True}, "parameter 'days' is of kind boolean, expected number"),
        ({"days": [1]}, "parameter 'days' is of kind list, expected number"),
    ],
)
def test_parameters_are_checked(given, problem):
    """A name that is none, and a value of another kind; null stands for any kind."""
    snippet = Snippet(
        name="s",
        language="python",
        source="",
        sha256="",
        params={"city": "Rome", "days": 1, "any": None},
        run_id="r",
        saved_ms=0,
    )
    with pytest.raises(SnippetError) as raised:
        snippet.fill(given)
    assert raised.value.message == f"snippet 's': {problem}"
    assert snippet.fill({"any": {}, "days": 1.5, "city": None}) == {
        "city": None,
        "days": 1.5,
        "any": {},
    }


def test_an_unknown_snippet_runs_nothing():
    """And says so."""
    with pytest.raises(SnippetError, match="there is none"):
        new_harness().run_snippet("nothing")

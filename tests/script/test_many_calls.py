"""More calls at once than may run: they queue, whatever the gate allows other programs."""

from __future__ import annotations

import pytest
from tests.script.cases import Crowd

from cloche.limits import Limits
from cloche.script.harness import ScriptHarness
from cloche.script.tools import tool

BOTH = pytest.mark.parametrize("language", ["typescript", "python"])
SOURCES = {
    "typescript": (
        "const all = context.params.all.map((n) => tools.one({ n }));\n"
        "return (await Promise.all(all)).length;"
    ),
    "python": (
        "import asyncio\n"
        "all = [tools.one(n=n) for n in context.params['all']]\n"
        "len(await asyncio.gather(*all))"
    ),
}


def visiting(crowd):
    """Return a tool that is a visit to a crowd."""

    @tool(read_only=True)
    def one(n: int) -> int:
        """Meet the others."""
        crowd.visit()
        return n

    return one


@BOTH
def test_all_of_them_are_made_a_few_at_once(language):
    """The limit of effects at once is that of programs; a script's calls queue behind four."""
    crowd = Crowd(4)
    limits = Limits().replace({"gate": {"effect_concurrency_max": 2}})
    harness = ScriptHarness(visiting(crowd), limits=limits)
    params = {"all": list(range(100))}
    result = harness.run(
        SOURCES[language], language=language, params=params, limits={"call_count_max": 100}
    )
    assert (result.value, result.error, crowd.most) == (100, None, 4)


@BOTH
def test_what_is_over_the_budget_says_so(language):
    """Also when all of it is begun at once."""
    params = {"all": list(range(100))}
    result = ScriptHarness(visiting(Crowd(1))).run(
        SOURCES[language], language=language, params=params
    )
    assert result.error["code"] == "TOOL_BUDGET_EXCEEDED"
    assert len(result.tool_calls) == 32


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = tools.one(n=1)\nawait x", 1),
        ("import asyncio\nx = [tools.one(n=n) for n in (1, 2)]\nawait asyncio.gather(*x)", [1, 2]),
        ("x = tools.one(n=1)\n[await x, await tools.one(n=2)]", [1, 2]),
        ("x = tools.one(n=1)\nx", 1),
        ("x = await tools.one(n=1)\n[x, tools.one(n=2)]", [1, 2]),
    ],
)
def test_an_await_makes_the_whole_script_async(source, value):
    """Also one in the last expression: what is before it may be what it awaits."""
    result = ScriptHarness(visiting(Crowd(1))).run(source, language="python")
    assert (result.value, result.error) == (value, None)

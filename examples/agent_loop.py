"""An agent loop whose model writes scripts: `python examples/agent_loop.py [openai|anthropic]`.

The model here is scripted, so that this runs without a network; put the SDK's call in its place.
It looks something up, writes a file (which a person must allow), and says that it is done.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import cloche
from cloche.script.approvals import Made
from cloche.script.messages import write_history
from cloche.script.stubs import prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.script.approvals import Approval

STOCK = {"apples": 3, "pears": 0, "plums": 12}
ORDERS: list[dict[str, Any]] = []


@cloche.tool(read_only=True)
def stock(fruit: str) -> int:
    """Tell how many there are of a fruit."""
    return STOCK[fruit]


def cancel_order(args: dict[str, Any], _result: Any) -> None:
    """Undo an order."""
    ORDERS.remove(args)


@cloche.tool(revert=cancel_order)
def order(fruit: str, count: int) -> str:
    """Order some of a fruit."""
    ORDERS.append({"fruit": fruit, "count": count})
    return f"{count} {fruit} ordered"


SCRIPTED = [
    """I look what is missing.
<tool-calls lang="ts">
const names = ["apples", "pears", "plums"];
const counts = await Promise.all(names.map((fruit) => tools.stock({ fruit })));
return names.filter((_, index) => counts[index] < 5);
</tool-calls>""",
    """Apples and pears. I order both.
<tool-calls lang="python">
[tools.order(fruit=fruit, count=10) for fruit in ("apples", "pears")]
</tool-calls>""",
    "Done: ten apples and five pears are on their way.",
]


def fake_model(api: str, says: Iterator[str], **request: Any) -> dict[str, Any]:
    """Stand for `client.chat.completions.create(…)` or `client.messages.create(…)`."""
    assert request["messages"][-1]["role"] == "user"
    text = next(says)
    if api == "anthropic":
        return {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"role": "assistant", "content": text}


def person(approval: Approval) -> Made:
    """Stand for whoever decides: apples are fine, of the rest only five."""
    print(f"  asked: {approval.tool} {approval.shown}")
    if approval.shown["fruit"] == "apples":
        return Made(verdict="approve", who="ann")
    return Made(verdict="approve", who="ann", args={**approval.shown, "count": 5})


def loop(api: str) -> list[dict[str, Any]]:
    """Talk to the model until it has no more scripts; return the conversation."""
    harness = cloche.ScriptHarness(stock, order, approver=person)
    says = iter(SCRIPTED)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Order what is missing."}]
    while True:
        answer = fake_model(api, says, system=prompt(harness.tools), messages=messages)
        form = "anthropic.messages" if api == "anthropic" else "openai.chat"
        history = harness.handle(answer, api=form)
        messages += write_history(history)
        if not history.results:
            return messages
        for result in history.results:
            print(f"  {result.script_id}: {result.status} {result.value}")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "openai"
    conversation = loop(chosen)
    print(f"{len(conversation)} messages; orders: {ORDERS}")

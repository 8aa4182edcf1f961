"""Tools of scripts: one that asks, one that does not, one that can be undone."""

from __future__ import annotations

from cloche import tool
from cloche.script.tools import ToolSet

sent = []
placed = []


@tool(requires_approval=True)
def send(to: str) -> str:
    """Send a letter.

    Args:
        to: who gets it.
    """
    sent.append(to)
    return f"sent to {to}"


@tool(requires_approval=False)
def double(number: int) -> int:
    """Double a number.

    Args:
        number: which.
    """
    return 2 * number


def _take_back(args, result):
    placed.remove(args["name"])


@tool(requires_approval=False, revert=_take_back)
def place(name: str) -> str:
    """Place something.

    Args:
        name: what.
    """
    placed.append(name)
    return name


@tool(name="send", requires_approval=True)
def send_otherwise(to: str) -> str:
    """Send a letter in another way.

    Args:
        to: who gets it.
    """
    return f"another sent to {to}"


TOOLS = ToolSet(send, double, place)
OTHERS = ToolSet(send_otherwise)

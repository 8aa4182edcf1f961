"""Tests of declarations for models: they are programs of their language, and say what is there."""

from __future__ import annotations

import ast
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloche
from cloche.script.stubs import prompt, python_stubs, typescript_stubs
from cloche.script.tools import ToolSet, tool


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


@tool(namespace="shop.eu")
def buy(  # noqa: D417 - not every argument needs a word
    item: str, count: int = 1, kind: Literal["a", 'b"c'] = "a", extra: dict[str, int] | None = None
) -> tuple[int, str]:
    """Buy some things.

    Not */ cheap, nor \"\"\"free.

    Args:
        item: what to
            buy.
    """


@tool
def walk(node: Node) -> list[Node | None]:
    """Walk."""


@tool
def stop() -> None:
    """Say "stop"."""


@tool
def anything(value: Any) -> Any:  # noqa: D103 - nothing to say
    pass


TOOLS = ToolSet(buy, walk, stop, anything)


def test_the_stubs_of_typescript():
    """Namespaces are nested objects, options are optional, types that have names keep them."""
    assert typescript_stubs(TOOLS) == (
        "type walk_Node = { name: string; children?: walk_Node[] };\n"
        "declare const tools: {\n"
        "    anything(args: { value: unknown }): Promise<unknown>;\n"
        "    shop: {\n"
        "        eu: {\n"
        "            /**\n"
        "             * Buy some things.\n"
        "             *\n"
        '             * Not *\\/ cheap, nor """free.\n'
        "             * - item: what to buy.\n"
        "             */\n"
        '            buy(args: { item: string; count?: number; kind?: "a" | "b\\"c"; '
        "extra?: Record<string, number> | null }): Promise<[number, string]>;\n"
        "        };\n"
        "    };\n"
        '    /** Say "stop". */\n'
        "    stop(): Promise<void>;\n"
        "    /** Walk. */\n"
        "    walk(args: { node: walk_Node }): Promise<(walk_Node | null)[]>;\n"
        "    /** Find tools by words. */\n"
        "    search(query: string): Promise<{ name: string; summary: string }[]>;\n"
        "    /** Tell everything about one tool. */\n"
        "    describe(name: string): Promise<unknown>;\n"
        "};\n"
    )


def test_the_stubs_of_python():
    """Namespaces are classes, arguments are named."""
    assert python_stubs(TOOLS) == (
        "from typing import Any, Literal, NotRequired, TypedDict\n"
        "\n"
        '_walk_1 = TypedDict("_walk_1", {"name": str, "children": NotRequired[list[walk_Node]]})\n'
        "walk_Node = _walk_1\n"
        "class Tools_shop_eu:\n"
        "    def buy(self, *, item: str, count: int = ..., "
        'kind: Literal["a", "b\\"c"] = ..., extra: dict[str, int] | None = ...) '
        "-> list[int | str]:\n"
        '        """Buy some things.\n'
        "\n"
        '        Not */ cheap, nor \\"\\"\\"free.\n'
        "        - item: what to buy.\n"
        '        """\n'
        "\n"
        "class Tools_shop:\n"
        "    eu: Tools_shop_eu\n"
        "\n"
        "class Tools:\n"
        "    def anything(self, *, value: Any) -> Any:\n"
        "        ...\n"
        "    shop: Tools_shop\n"
        "    def stop(self) -> None:\n"
        '        """Say \\"stop\\"."""\n'
        "    def walk(self, *, node: walk_Node) -> list[walk_Node | None]:\n"
        '        """Walk."""\n'
        "    def search(self, query: str) -> list[dict[str, str]]:\n"
        '        """Find tools by words."""\n'
        "    def describe(self, name: str) -> dict[str, Any]:\n"
        '        """Tell everything about one tool."""\n'
        "\n"
        "tools: Tools\n"
    )


@given(st.text(st.sampled_from(list("*/\\\"'`\n\r\t a{}\u2028\x0c")), max_size=12))
def test_a_description_cannot_end_its_comment(text):
    """Whatever it holds, the stubs declare one tool and nothing else."""

    def odd(value: int) -> None:
        pass

    odd.__doc__ = text
    tools = ToolSet(odd)
    module = ast.parse(python_stubs(tools))
    assert [type(node).__name__ for node in module.body] == ["ImportFrom", "ClassDef", "AnnAssign"]
    assert len(module.body[1].body) == 3
    lines = typescript_stubs(tools).split("\n")
    assert typescript_stubs(tools).count("*/") == 2 + bool(text.split())
    assert [line for line in lines if line.strip().startswith("odd(")] == [
        "    odd(args: { value: number }): Promise<void>;"
    ]


@pytest.mark.parametrize("language", ["typescript", "python"])
def test_what_a_model_is_told(language):
    """How to write a script, in which language, and the stubs."""
    text = prompt(TOOLS, language=language)
    tag, stubs = {
        "typescript": ("ts", typescript_stubs(TOOLS)),
        "python": ("python", python_stubs(TOOLS)),
    }[language]
    assert f'`<tool-calls lang="{tag}">`' in text
    assert text.endswith(f"```{tag}\n{stubs}```\n")


def test_the_stubs_are_typescript():
    """The transform that scripts pass takes them, in front of a program."""
    result = cloche.run(f"{typescript_stubs(TOOLS)}console.log(1)", language="typescript")
    assert result.run.stdout == "1\n"

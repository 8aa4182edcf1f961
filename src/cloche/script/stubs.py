"""Tools as declarations: TypeScript and Python stubs, and what to tell a model.

Pure text from schemas. Invariants: equal tools give equal text; a description cannot end the
comment that it stands in, nor a name the text that it is part of.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.script.tools import Tool, ToolSet

Typed = Literal["typescript", "python"]

_DEPTH_MAX: Final = 32  # of a schema; deeper ones are `unknown`
_INDENT: Final = "    "
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NOT_WORD: Final = re.compile(r"\W")
_TYPESCRIPT: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_PYTHON: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}


def typescript_stubs(tools: ToolSet) -> str:
    """Return the declaration of `tools` for TypeScript: the content of a `.d.ts` file."""
    named: dict[str, str] = {}
    body = _typescript_space(_tree(tools), _INDENT, named)
    search = [
        f"{_INDENT}/** Find tools by words. */",
        f"{_INDENT}search(query: string): Promise<{{ name: string; summary: string }}[]>;",
        f"{_INDENT}/** Tell everything about one tool. */",
        f"{_INDENT}describe(name: string): Promise<unknown>;",
    ]
    declared = [f"type {name} = {text};" for name, text in sorted(named.items())]
    return "\n".join([*declared, "declare const tools: {", *body, *search, "};", ""])


def python_stubs(tools: ToolSet) -> str:
    """Return the declaration of `tools` for Python: the content of a `.pyi` file."""
    named: dict[str, str] = {}
    classes: list[str] = []
    _python_space(_tree(tools), "Tools", classes, named)
    declared = [f"{name} = {text}" for name, text in sorted(named.items())]
    return "\n".join(
        [
            "from typing import Any, Literal, NotRequired, TypedDict",
            "",
            *declared,
            *classes,
            "tools: Tools",
            "",
        ]
    )


def prompt(tools: ToolSet, *, language: Typed = "typescript") -> str:
    """Return what to tell a model so that it writes scripts."""
    if language == "python":
        how = (
            "Write Python. `tools.name(argument=value)` gives the result. To run several at once, "
            "`import asyncio` and `await asyncio.gather(tools.a(), tools.b())`; a script with "
            "`await` in it awaits every call. The value of the last expression is the script's "
            "result. Arguments and result are plain JSON: text, numbers, lists and dictionaries "
            "with text as keys, no sets, bytes or dates. Modules are those of the standard library."
        )
        stubs, tag = python_stubs(tools), "python"
    else:
        how = (
            "Write TypeScript. `await tools.name({ argument: value })` gives the result; "
            "`Promise.all` runs several at once. `return` gives the script's result. Arguments and "
            "result are plain JSON: no Map, Set, Date or BigInt. Await every call. There is no "
            "import."
        )
        stubs, tag = typescript_stubs(tools), "ts"
    return (
        f'To use tools, write a script between `<tool-calls lang="{tag}">` and `</tool-calls>`, '
        "each on a line of its own and outside of any code block. The script runs when your "
        "message is complete, and the next message holds its result.\n\n"
        f"{how} Failed calls throw errors with `code` and `message`. Some calls wait for a "
        "person's approval: write the script as if they did not. There is no network and no file "
        "system but what the tools give. Return what matters, and print little.\n\n"
        f"```{tag}\n{stubs}```\n"
    )


class _Space(dict[str, "_Space | Tool"]):
    """One level of names: tools and namespaces."""


def _tree(tools: ToolSet) -> _Space:
    root = _Space()
    for name, tool in tools.items():
        *spaces, last = name.split(".")
        space = root
        for part in spaces:
            inner = space.setdefault(part, _Space())
            assert isinstance(inner, _Space)  # a set has no tool that is also a namespace
            space = inner
        space[last] = tool
    return root


# --- TypeScript ---


def _typescript_space(space: _Space, indent: str, named: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for name, member in space.items():
        if isinstance(member, _Space):
            inner = _typescript_space(member, indent + _INDENT, named)
            lines += [f"{indent}{name}: {{", *inner, f"{indent}}};"]
            continue
        types = _Types(member.name, _typescript, named)
        signature = member.signature
        args = types.of(signature.parameters)
        optional = "" if signature.parameters.get("required") else "?"
        args = f"args{optional}: {args}" if signature.names else ""
        returns = types.of(signature.returns)
        returns = "void" if returns == "null" else returns
        lines += _typescript_comment(member, indent)
        lines.append(f"{indent}{name}({args}): Promise<{returns}>;")
    return lines


def _typescript_comment(tool: Tool, indent: str) -> list[str]:
    text = _documentation(tool).replace("*/", "*\\/")
    if not text:
        return []
    lines = text.split("\n")
    if len(lines) == 1:
        return [f"{indent}/** {lines[0]} */"]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]


def _typescript(types: _Types, schema: Mapping[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if union := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(_unique(types.of(member, depth + 1) for member in union))
    if kind == "array":
        return _typescript_array(types, schema, depth)
    if kind == "object":
        return _typescript_object(types, schema, depth)
    return _TYPESCRIPT.get(str(kind), "unknown")


def _typescript_array(types: _Types, schema: Mapping[str, Any], depth: int) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(types.of(item, depth + 1) for item in schema['prefixItems'])}]"
    item = types.of(schema.get("items", {}), depth + 1)
    return f"({item})[]" if " " in item and item[0] != "{" else f"{item}[]"


def _typescript_object(types: _Types, schema: Mapping[str, Any], depth: int) -> str:
    properties = schema.get("properties")
    if properties is None:
        return f"Record<string, {types.of(_values(schema), depth + 1)}>"
    required = schema.get("required", [])
    fields = [
        f"{_key(name)}{'' if name in required else '?'}: {types.of(inner, depth + 1)}"
        for name, inner in properties.items()
    ]
    return f"{{ {'; '.join(fields)} }}" if fields else "{}"


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


# --- Python ---


def _python_space(
    space: _Space, class_name: str, classes: list[str], named: dict[str, str]
) -> None:
    lines: list[str] = []
    for name, member in space.items():
        if isinstance(member, _Space):
            inner_name = f"{class_name}_{name}"
            _python_space(member, inner_name, classes, named)
            lines.append(f"{_INDENT}{name}: {inner_name}")
            continue
        types = _Types(member.name, _python, named)
        types.define(member.signature.parameters)
        properties = member.signature.parameters.get("properties", {})
        required = member.signature.parameters.get("required", [])
        args = "".join(
            f", {name}: {types.of(inner)}{'' if name in required else ' = ...'}"
            for name, inner in properties.items()
        )
        star = ", *" if args else ""
        returns = types.of(member.signature.returns)
        lines.append(f"{_INDENT}def {name}(self{star}{args}) -> {returns}:")
        lines += _python_docstring(member)
    if class_name == "Tools":
        lines += [
            f"{_INDENT}def search(self, query: str) -> list[dict[str, str]]:",
            f'{_INDENT * 2}"""Find tools by words."""',
            f"{_INDENT}def describe(self, name: str) -> dict[str, Any]:",
            f'{_INDENT * 2}"""Tell everything about one tool."""',
        ]
    classes += [f"class {class_name}:", *lines, ""]


def _python_docstring(tool: Tool) -> list[str]:
    text = _documentation(tool).replace("\\", "\\\\").replace('"', '\\"')
    indent = _INDENT * 2
    if not text:
        return [f"{indent}..."]
    first, *rest = text.split("\n")
    if not rest:
        return [f'{indent}"""{first}"""']
    return [f'{indent}"""{first}', *(f"{indent}{line}".rstrip() for line in rest), f'{indent}"""']


def _python(types: _Types, schema: Mapping[str, Any], depth: int) -> str:
    kind = schema.get("type")
    if "enum" in schema:
        return f"Literal[{', '.join(_python_literal(value) for value in schema['enum'])}]"
    if "const" in schema:
        return f"Literal[{_python_literal(schema['const'])}]"
    if union := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(_unique(types.of(member, depth + 1) for member in union))
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return f"list[{' | '.join(_unique(types.of(item, depth + 1) for item in items))}]"
    if kind == "object":
        return _python_object(types, schema, depth)
    return _PYTHON.get(str(kind), "Any")


def _python_object(types: _Types, schema: Mapping[str, Any], depth: int) -> str:
    properties = schema.get("properties")
    if properties is None:
        return f"dict[str, {types.of(_values(schema), depth + 1)}]"
    required = schema.get("required", [])
    fields: list[str] = []
    for name, inner in properties.items():
        text = types.of(inner, depth + 1)
        text = text if name in required else f"NotRequired[{text}]"
        fields.append(f"{json.dumps(name)}: {text}")
    title = f"_{_NOT_WORD.sub('_', types.owner)}_{len(types.named)}"
    types.named[title] = f'TypedDict("{title}", {{{", ".join(fields)}}})'
    return title


def _python_literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    return json.dumps(value)


# --- both ---


def _documentation(tool: Tool) -> str:
    """Return what a tool does and what its arguments mean, one of them a line."""
    properties = tool.signature.parameters.get("properties", {})
    meanings = [
        f"- {name}: {' '.join(inner['description'].split())}"
        for name, inner in properties.items()
        if inner.get("description")
    ]
    text = "\n".join(" ".join(line.split()) for line in tool.description.splitlines())
    return "\n".join([text, *meanings]).strip()


class _Types:
    """The types of one tool; those that have names are collected in `named`."""

    def __init__(
        self,
        owner: str,
        write: Callable[[_Types, Mapping[str, Any], int], str],
        named: dict[str, str],
    ) -> None:
        self.owner = owner
        self.named = named
        self._write = write
        self._definitions: dict[str, Any] = {}

    def define(self, schema: Mapping[str, Any]) -> None:
        """Take up what a schema refers to, if it has such a section."""
        self._definitions = schema.get("$defs", self._definitions)

    def of(self, schema: Any, depth: int = 0) -> str:
        """Return the type of a schema."""
        anything = "unknown" if self._write is _typescript else "Any"
        if not isinstance(schema, dict) or depth > _DEPTH_MAX:
            return anything
        self.define(schema)
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]), anything)
        return self._write(self, schema, depth)

    def _reference(self, reference: str, anything: str) -> str:
        key = reference.rpartition("/")[2]
        if key not in self._definitions:
            return anything
        name = _NOT_WORD.sub("_", f"{self.owner}_{key}")
        if name not in self.named:
            self.named[name] = anything  # a type that holds itself finds its name
            self.named[name] = self.of(self._definitions[key])
        return name


def _unique(types: Any) -> list[str]:
    return list(dict.fromkeys(types))


def _values(schema: Mapping[str, Any]) -> Any:
    values = schema.get("additionalProperties", {})
    return values if isinstance(values, dict) else {}

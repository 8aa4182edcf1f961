"""What a tool takes and gives where JSON Schema says so, not Python: tools of other servers.

Owns checks against schemas that somebody else wrote. Invariants:
- nothing is fetched: a `$ref` leads into the schema itself or the tool is refused;
- `pattern` is not run: a hostile expression could take for ever, and whoever wrote the schema
  checks its arguments anyway.

It converts nothing: what fits is passed on as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.errors import ToolDeclarationError
from cloche.script.schemas import Invalid
from cloche.script.tools import NAME_PATTERN, RESERVED, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_UNCHECKED: Final = ("pattern", "patternProperties", "format", "contentEncoding")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_]+")
_NAME_CHARACTERS_MAX: Final = 64
_DESCRIPTION_CHARACTERS_MAX: Final = 4000  # a model pays for each of them


@dataclass(frozen=True, kw_only=True)
class SchemaSignature:
    """What a tool takes and gives, by two schemas; see `schemas.Signature`.

    Args:
        names: of the parameters, the required ones first.
        parameters: JSON Schema of an object.
        returns: JSON Schema; empty for anything.
    """

    names: tuple[str, ...]
    parameters: dict[str, Any]
    returns: dict[str, Any]

    def bind(self, args: Any) -> dict[str, Any]:
        """Return arguments by name, with the defaults of their schemas.

        Raises:
            Invalid: they do not fit.
        """
        named = self._named(args)
        for name, schema in self.parameters.get("properties", {}).items():
            if name not in named and isinstance(schema, dict) and "default" in schema:
                named[name] = schema["default"]
        _check(self._arguments_validator, named)
        return named

    def call_arguments(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments in one: a function of such a tool takes them as `args`."""
        return {"args": self.bind(args)}

    def check_result(self, value: Any) -> Any:
        """Return a result as plain JSON.

        Raises:
            Invalid: it is not what the schema says, or no JSON.
        """
        try:
            plain = msgspec.to_builtins(value, str_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise Invalid(str(error)) from None
        if self.returns:
            _check(self._returns_validator, plain)
        return plain

    @cached_property
    def _arguments_validator(self) -> Any:
        return _validator(self.parameters)

    @cached_property
    def _returns_validator(self) -> Any:
        return _validator(self.returns)

    def _named(self, args: Any) -> dict[str, Any]:
        if args is None:
            return {}
        if isinstance(args, dict):
            return dict(args)
        values = args if isinstance(args, list) else [args]
        if len(values) > len(self.names):
            raise Invalid(f"{len(values)} arguments, at most {len(self.names)} are taken")
        return dict(zip(self.names, values, strict=False))


def schema_tool(
    name: str,
    function: Callable[..., Any],
    *,
    description: str = "",
    parameters: dict[str, Any] | None = None,
    returns: dict[str, Any] | None = None,
    context_name: str | None = None,
    read_only: bool = False,
    requires_approval: bool | None = None,
    timeout_ms: int | None = None,
) -> Tool:
    """Make a tool whose arguments a schema describes.

    Args:
        name: with its namespaces; `clean_name` makes one of any text.
        function: takes `args`, the checked arguments, and `context_name` if that is given.
        description: for models; cut when it is very long.
        parameters: JSON Schema of an object.
        returns: JSON Schema of the result.
        context_name: the parameter of `function` that gets a `ToolContext`.
        read_only: see `Tool`, as the other options.
        requires_approval: see `Tool`.
        timeout_ms: see `Tool`.

    Raises:
        ToolDeclarationError: a schema is none, or refers to something outside of it.
    """
    if not NAME_PATTERN.fullmatch(name) or RESERVED.intersection(name.split(".")):
        raise ToolDeclarationError(where=repr(name), problem="it is no name for a tool")
    parameters = {"type": "object", **(parameters or {})}
    returns = returns or {}
    for schema in (parameters, returns):
        _check_schema(name, schema)
    properties = parameters.get("properties", {})
    required = [one for one in parameters.get("required", []) if one in properties]
    names = (*required, *(one for one in properties if one not in required))
    text = description.strip()[:_DESCRIPTION_CHARACTERS_MAX]
    signature: Any = SchemaSignature(names=names, parameters=parameters, returns=returns)
    return Tool(
        name=name,
        summary=text.split("\n", 1)[0],
        description=text,
        function=function,
        signature=signature,
        context_name=context_name,
        read_only=read_only,
        requires_approval=requires_approval,
        timeout_ms=timeout_ms,
    )


def clean_name(text: str, taken: Iterable[str] = ()) -> str:
    """Return a name that scripts can write, like a text, and unlike all that are taken.

    `create-issue` becomes `create_issue`; what would begin with a digit, or means something to
    `tools`, gets a letter more; a second one of the same name gets a number.
    """
    name = _NO_NAME.sub("_", text).strip("_")[:_NAME_CHARACTERS_MAX] or "tool"
    if not name[0].isalpha():
        name = f"t_{name}"[:_NAME_CHARACTERS_MAX]
    if name in RESERVED:
        name = f"{name}_"
    known = set(taken)
    found, number = name, 1
    while found in known:
        number += 1
        found = f"{name[: _NAME_CHARACTERS_MAX - 8]}_{number}"
    return found


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    from jsonschema import (  # type: ignore[import-untyped]  # noqa: PLC0415 - 50 ms, when needed
        Draft202012Validator,
        validators,
    )

    def unchecked(*_: object) -> Iterable[Any]:
        return ()

    return validators.extend(Draft202012Validator, dict.fromkeys(_UNCHECKED, unchecked))


def _validator(schema: dict[str, Any]) -> Any:
    from referencing import Registry  # noqa: PLC0415 - as above

    return _validator_class()(schema, registry=Registry())


def _check_schema(name: str, schema: Any) -> None:
    from jsonschema.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        SchemaError,
    )

    for reference in _references(schema):
        if not (reference == "#" or reference.startswith("#/")):
            problem = f"its schema refers to {reference[:100]!r}, which is elsewhere"
            raise ToolDeclarationError(where=name, problem=problem)
    try:
        _validator_class().check_schema(schema)
    except (SchemaError, RecursionError) as error:
        problem = f"its schema is none: {str(error)[:200]}"
        raise ToolDeclarationError(where=name, problem=problem) from None


def _references(schema: Any) -> Iterable[str]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                if isinstance(value.get(key), str):
                    yield value[key]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check(validator: Any, value: Any) -> None:
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - as above
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - as above

    try:
        error = best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError) as problem:
        raise Invalid(f"its schema cannot be followed: {problem}") from None
    if error is not None:
        place = error.json_path
        raise Invalid(f"{error.message[:300]} (at {place})")

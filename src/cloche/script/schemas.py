"""What a tool takes and gives, from the type hints of a function.

Owns the way from a signature to JSON Schema and to checks. Invariants:
- what the schema says and what the check accepts come from the same types;
- a check does not change what a caller sees: it gives plain JSON, with the defaults
  of the parameters filled in.

It calls nothing.
"""

from __future__ import annotations

import copy
import inspect
import keyword
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.script.errors import ToolDeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS_HIDDEN: Final = frozenset({"title"})  # the names of generated classes say nothing
_NO_DEFAULT: Final = inspect.Parameter.empty


class Invalid(Exception):  # noqa: N818 - an answer of `check`, not an error of the host
    """A value does not fit; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function takes and gives.

    Args:
        names: of the parameters, in order.
        parameters: JSON Schema of an object.
        returns: JSON Schema; empty for anything.
        arguments_type: a msgspec Struct of the parameters.
        returns_type: the hint of the result, `Any` where there is none.
    """

    names: tuple[str, ...]
    parameters: dict[str, Any]
    returns: dict[str, Any]
    arguments_type: type[msgspec.Struct]
    returns_type: Any

    def bind(self, args: Any) -> dict[str, Any]:
        """Return arguments by name, as plain JSON with defaults filled in.

        Args:
            args: as guests send them: an object, a list (positional), or None.

        Raises:
            Invalid: they do not fit.
        """
        return dict(msgspec.to_builtins(self._converted(args)))

    def call_arguments(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by name as the function wants them: dates, structs, enums.

        Raises:
            Invalid: they do not fit.
        """
        converted = self._converted(args)
        return {name: getattr(converted, name) for name in self.names}

    def check_result(self, value: Any) -> Any:
        """Return a result as plain JSON.

        Raises:
            Invalid: it is not of the declared type, or no JSON.
        """
        try:
            plain = msgspec.to_builtins(value, str_keys=True)
            msgspec.convert(plain, self.returns_type)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
            raise Invalid(str(error)) from None
        return plain

    def _converted(self, args: Any) -> msgspec.Struct:
        try:
            return msgspec.convert(self._named(args), self.arguments_type)
        except (msgspec.ValidationError, RecursionError) as error:
            raise Invalid(str(error)) from None

    def _named(self, args: Any) -> dict[str, Any]:
        if args is None:
            return {}
        if isinstance(args, dict):
            return args
        values = args if isinstance(args, list) else [args]
        if len(values) > len(self.names):
            raise Invalid(f"{len(values)} arguments, at most {len(self.names)} are taken")
        return dict(zip(self.names, values, strict=False))


def read_signature(
    function: Callable[..., Any], *, where: str, descriptions: dict[str, str], skip: Any = None
) -> Signature:
    """Return what a function takes and gives.

    Args:
        function: sync or async.
        where: its name, for errors.
        descriptions: of its parameters.
        skip: a type; parameters of it are not the caller's.

    Raises:
        ToolDeclarationError: a parameter without a hint, or with one that JSON has no form for.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolDeclarationError(
            where=where, problem=f"its hints cannot be read: {error}"
        ) from error
    fields: list[tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if skip is not None and hint is skip:
            continue
        _check_parameter(parameter, hint, where)
        fields.append(_field(parameter, hint, descriptions.get(parameter.name, "")))
    returns_type = hints.get("return", Any)
    name = "".join(part.capitalize() for part in where.replace(".", "_").split("_")) + "Arguments"
    try:
        arguments_type = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        parameters = json_schema(arguments_type)
        returns = json_schema(returns_type)
    except (TypeError, ValueError) as error:
        raise ToolDeclarationError(where=where, problem=f"no JSON form: {error}") from error
    return Signature(
        names=tuple(field[0] for field in fields),
        parameters=parameters,
        returns=returns,
        arguments_type=arguments_type,
        returns_type=returns_type,
    )


def json_schema(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; what it refers to stands in its `$defs`.

    Raises:
        TypeError: msgspec knows no form for it.
    """
    (schema,), components = msgspec.json.schema_components([hint], ref_template="#/$defs/{name}")
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    if reference and not _mentions(components, f"#/$defs/{reference}"):
        schema = components.pop(reference)
    cleaned: dict[str, Any] = _without_titles(schema)
    if components:
        cleaned["$defs"] = {name: _without_titles(components[name]) for name in sorted(components)}
    return cleaned


def _check_parameter(parameter: inspect.Parameter, hint: Any, where: str) -> None:
    name = parameter.name
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
        problem = f"parameter {name!r} takes any number of arguments; name each of them"
    elif parameter.kind is parameter.POSITIONAL_ONLY:
        problem = f"parameter {name!r} is positional-only; guests name arguments"
    elif hint is None and parameter.annotation is _NO_DEFAULT:
        problem = f"parameter {name!r} has no type hint"
    elif name.startswith("_") or keyword.iskeyword(name):
        problem = f"parameter {name!r} has a name that guests cannot write"
    else:
        return
    raise ToolDeclarationError(where=where, problem=problem)


def _field(parameter: inspect.Parameter, hint: Any, description: str) -> tuple[str, Any, Any]:
    if description:
        hint = typing.Annotated[hint, msgspec.Meta(description=description)]
    default = parameter.default
    if default is _NO_DEFAULT:
        return (parameter.name, hint, msgspec.field())
    if isinstance(default, str | int | float | bool | bytes | None):
        return (parameter.name, hint, msgspec.field(default=default))
    return (
        parameter.name,
        hint,
        msgspec.field(default_factory=lambda: copy.deepcopy(default)),
    )


def _mentions(value: Any, reference: str) -> bool:
    if isinstance(value, dict):
        return value.get("$ref") == reference or any(
            _mentions(v, reference) for v in value.values()
        )
    return isinstance(value, list) and any(_mentions(item, reference) for item in value)


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles of its levels; a property named `title` stays."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _KEYS_HIDDEN and isinstance(value, str):
            continue
        if key in {"properties", "$defs"}:
            out[key] = {name: _without_titles(inner) for name, inner in value.items()}
        elif key in {"enum", "const", "default", "examples", "required"}:
            out[key] = value
        else:
            out[key] = _without_titles(value)
    return out

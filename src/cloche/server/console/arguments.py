"""The arguments of a call as fields of a form, and back. Pure.

Invariant: a form that nobody touched gives back exactly the arguments that it showed, whatever
browsers do to the ends of lines; what a field cannot carry so is shown as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cloche.gate.canonical import digest, encode_canonical
from cloche.server.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.web.target import Pairs

Kind = Literal["line", "text", "truth", "json"]
PREFIX: Final = "arg."
_FIELD_COUNT_MAX: Final = 50
_LINE_MAX: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument: what it is called, how it is edited, and what stands there at first."""

    name: str
    kind: Kind
    text: str


def fields_of(shown: Any, args_sha256: str) -> list[Field] | None:
    """Return a field for each argument; None where what is shown is not all there is.

    Args:
        shown: the arguments as people see them.
        args_sha256: of the arguments themselves: where it is another one, something was cut or
            hidden, and a form would send that back.
    """
    if not isinstance(shown, dict) or len(shown) > _FIELD_COUNT_MAX:
        return None
    if digest(encode_canonical(shown)) != args_sha256:
        return None
    return [_field(name, value) for name, value in shown.items()]


def _field(name: str, value: Any) -> Field:
    if isinstance(value, bool):
        return Field(name=name, kind="truth", text="true" if value else "false")
    if isinstance(value, str) and all(each.isprintable() or each == "\n" for each in value):
        kind: Kind = "text" if "\n" in value or len(value) > _LINE_MAX else "line"
        return Field(name=name, kind=kind, text=value)
    return Field(name=name, kind="json", text=json.dumps(value, ensure_ascii=True))


def changed_args(
    shown: Mapping[str, Any], fields: list[Field], form: Pairs
) -> dict[str, Any] | None:
    """Return the arguments that a form says, None where it changes none of them.

    Raises:
        InvalidFieldError: a field is missing, or is no JSON where it has to be.
    """
    found = {each.name: _value(each, form.get(PREFIX + each.name)) for each in fields}
    is_same = all(_is_same(found[name], shown[name]) for name in found)
    return None if is_same else found


def _is_same(found: Any, shown: Any) -> bool:
    return type(found) is type(shown) and bool(found == shown)  # 1 is not true, nor 1.0


def _value(field: Field, sent: str | None) -> Any:
    if sent is None:
        raise InvalidFieldError(field=field.name, problem="is missing from the form")
    if field.kind in ("line", "text"):
        return sent.replace("\r\n", "\n")
    return json_value(field.name, sent)


def json_value(name: str, text: str) -> Any:
    """Return the value that JSON in a field stands for.

    Raises:
        InvalidFieldError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFieldError(
            field=name, problem='is no JSON; a text stands in quotes, as "a"'
        ) from None

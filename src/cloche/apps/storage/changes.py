"""Changes of documents: `$set`, `$unset`, `$inc`, `$push`, `$pull`, or plain fields to set.

| operator | what it does with each field |
|---|---|
| plain fields, `$set` | gives it a value; objects on the way are made |
| `$unset` | removes it; `{"field": true}` or a list of names |
| `$inc` | adds a number; a field that is not there counts as 0 |
| `$push` | puts a value at the end of a list, which is made; `{"$each": [...]}` puts several |
| `$pull` | removes all equal values from a list |

Invariants: a document is never changed in place, nor half: `apply` returns a new one or raises.
What the host gives (`id`, `_created_at_ms`, `_updated_at_ms`) cannot be changed.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.errors import ChangeError, OperatorUnknownError, QueryError
from cloche.apps.storage.query import split_path
from cloche.apps.storage.values import is_equal

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVED: Final = ("id", "_created_at_ms", "_updated_at_ms")

Place = dict[str, Any] | list[Any]


@dataclass(frozen=True, slots=True)
class _Step:
    apply: Callable[[Any, tuple[str, ...], Any, str], None]
    parts: tuple[str, ...]
    operand: Any
    where: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Checked changes."""

    steps: tuple[_Step, ...]

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the document with these changes.

        Raises:
            ChangeError: a field has another type than the change needs.
        """
        changed = copy.deepcopy(document)
        for step in self.steps:
            step.apply(changed, step.parts, step.operand, step.where)
        return changed


def parse_changes(changes: Any, *, operator_count_max: int) -> Changes:
    """Return the changes that a document of operators means.

    Raises:
        OperatorUnknownError: an operator does not exist.
        ChangeError: an operand has the wrong type, a field is the host's, or there are too many.
    """
    if not isinstance(changes, dict) or not changes:
        raise ChangeError(where="changes", problem="changes are an object that is not empty")
    marked = [name.startswith("$") for name in changes]
    if any(marked) and not all(marked):
        raise ChangeError(where="changes", problem="operators and fields stand in one object")
    operators = changes if all(marked) else {"$set": changes}
    steps = [step for name, operand in operators.items() for step in _steps(name, operand)]
    if len(steps) > operator_count_max:
        raise ChangeError(
            where="changes",
            problem=f"more fields than apps.query_operator_count_max = {operator_count_max}",
        )
    _check_conflicts(steps)
    return Changes(tuple(steps))


def _steps(name: str, operand: Any) -> list[_Step]:
    if name not in _APPLY:
        raise OperatorUnknownError(
            where="changes", operator=name[:40], known=" ".join(sorted(_APPLY))
        )
    if name == "$unset" and isinstance(operand, list):
        if not all(isinstance(one, str) for one in operand):
            raise ChangeError(where=name, problem="takes names of fields")
        operand = dict.fromkeys(operand, True)
    if not isinstance(operand, dict):
        raise ChangeError(where=name, problem="takes an object of fields")
    return [_step(name, path, value) for path, value in operand.items()]


def _step(name: str, path: str, operand: Any) -> _Step:
    where = f"{name}.{path[:80]}"
    try:
        parts = split_path(path, where)
    except QueryError as error:
        raise ChangeError(where=where, problem=error.fields["problem"]) from None
    if parts[0] in RESERVED:
        raise ChangeError(where=where, problem=f"{parts[0]} is given by the host")
    if any(part.startswith("$") for part in parts):
        raise ChangeError(where=where, problem="the name of a field does not begin with $")
    if name == "$inc" and not _is_number(operand):
        raise ChangeError(where=where, problem="adds a number")
    if name == "$push" and isinstance(operand, dict) and "$each" in operand:
        if operand.keys() != {"$each"} or not isinstance(operand["$each"], list):
            raise ChangeError(where=where, problem="$each takes a list, and stands alone")
        operand = operand["$each"]
    elif name == "$push":
        operand = [operand]
    return _Step(_APPLY[name], parts, operand, where)


def _check_conflicts(steps: list[_Step]) -> None:
    # Two changes of one field, or of a field and of what is in it, would depend on their order.
    paths = sorted((step.parts, step.where) for step in steps)
    for (one, _), (other, where) in pairwise(paths):
        if other[: len(one)] == one:
            raise ChangeError(where=where, problem="another change is of the same field")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


# --- what each operator does, in place, to a copy ---


def _set(document: Any, parts: tuple[str, ...], operand: Any, where: str) -> None:
    place, key = _place(document, parts, where)
    _put(place, key, copy.deepcopy(operand), where)


def _unset(document: Any, parts: tuple[str, ...], _operand: Any, _where: str) -> None:
    place = document
    for part in parts[:-1]:
        if isinstance(place, dict):
            place = place.get(part)
        elif isinstance(place, list) and _is_index(part) and int(part) < len(place):
            place = place[int(part)]
        else:
            return
    # Taking an element away would move the others: of lists only what is in them can be unset.
    if isinstance(place, dict):
        place.pop(parts[-1], None)


def _inc(document: Any, parts: tuple[str, ...], operand: Any, where: str) -> None:
    place, key = _place(document, parts, where)
    before = _take(place, key, 0)
    if not _is_number(before):
        raise ChangeError(where=where, problem="the field is no number")
    try:
        after = before + operand
    except OverflowError:
        after = math.inf
    if not math.isfinite(after) or (isinstance(after, int) and abs(after) >= 1 << 63):
        raise ChangeError(where=where, problem="the sum is too large")
    _put(place, key, after, where)


def _push(document: Any, parts: tuple[str, ...], operand: Any, where: str) -> None:
    place, key = _place(document, parts, where)
    before = _take(place, key, [])
    if not isinstance(before, list):
        raise ChangeError(where=where, problem="the field is no list")
    _put(place, key, before + copy.deepcopy(operand), where)


def _pull(document: Any, parts: tuple[str, ...], operand: Any, where: str) -> None:
    place, key = _place(document, parts, where, make=False)
    if place is None:
        return
    before = _take(place, key, [])
    if not isinstance(before, list):
        raise ChangeError(where=where, problem="the field is no list")
    if before:
        _put(place, key, [one for one in before if not is_equal(one, operand)], where)


_APPLY: Final[dict[str, Callable[[Any, tuple[str, ...], Any, str], None]]] = {
    "$set": _set,
    "$unset": _unset,
    "$inc": _inc,
    "$push": _push,
    "$pull": _pull,
}


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10  # noqa: PLR2004 - below any list


def _place(
    document: Any, parts: tuple[str, ...], where: str, *, make: bool = True
) -> tuple[Any, str]:
    """Return the object or list that the last part names something in."""
    place = document
    for part in parts[:-1]:
        if isinstance(place, dict):
            if part not in place and not make:
                return None, parts[-1]
            place = place.setdefault(part, {})
        elif isinstance(place, list) and _is_index(part) and int(part) < len(place):
            place = place[int(part)]
        elif make:
            raise ChangeError(where=where, problem=f"{part!r} is in nothing that has fields")
        else:
            return None, parts[-1]
    return place, parts[-1]


def _take(place: Any, key: str, default: Any) -> Any:
    if isinstance(place, dict):
        return place.get(key, default)
    if isinstance(place, list) and _is_index(key) and int(key) < len(place):
        return place[int(key)]
    return default


def _put(place: Any, key: str, value: Any, where: str) -> None:
    if isinstance(place, dict):
        place[key] = value
    elif isinstance(place, list) and _is_index(key) and int(key) <= len(place):
        place[int(key) : int(key) + 1] = [value]  # the index behind the last one adds
    else:
        raise ChangeError(where=where, problem="is in nothing that has fields")

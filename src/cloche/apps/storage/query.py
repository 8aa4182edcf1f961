"""Queries on documents: checked once, then asked of each document.

    {"age": {"$gte": 18}, "$or": [{"city": "Bonn"}, {"tags": {"$contains": "vip"}}]}

| operator | true for a field |
|---|---|
| a plain value, `$eq` | that is this value; an object is compared as a whole |
| `$ne` | that is not this value, or is not there |
| `$gt`, `$gte`, `$lt`, `$lte` | of the same type, number or text, on that side |
| `$in`, `$nin` | that is, or is not, one of a list |
| `$contains` | a list with this value in it, or a text with this text in it |
| `$exists` | that is there (true) or is not (false) |
| `$not` | for which a condition does not hold; also with a whole query |
| `$and`, `$or` | lists of queries |

A field that is not there is equal to nothing, not even null. `a.b` is field `b` of field `a`, or of
a list the element `b`. Nothing in a query is code: there are no patterns, so the time is linear.

Invariants: depth and number of conditions are bounded before anything is compared; a `Query` that
exists can be asked of every JSON object without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cloche.apps.storage.errors import OperatorUnknownError, QueryError
from cloche.apps.storage.values import index_key, is_equal, order_key, type_rank

Test = Callable[[Any], bool]  # of a document, or of the value of a field

OPERATORS: Final = "$eq $ne $gt $gte $lt $lte $in $nin $contains $exists $and $or $not".split()
FIELD_LENGTH_MAX: Final = 256
FIELD_PART_COUNT_MAX: Final = 16

_ORDERED_TYPES: Final = (int, float, str)
_LISTED: Final = ("$and", "$or")


class _Missing:
    """The value of a field that is not there."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final[Any] = _Missing()


@dataclass(frozen=True, slots=True)
class Range:
    """What an index may be asked first: entries between two keys, both included.

    It holds for every document that matches; not every document in it matches.
    """

    field: str
    low: bytes | None
    high: bytes | None

    @property
    def is_exact(self) -> bool:
        """Whether only one value is meant: the most useful of ranges."""
        return self.low == self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked query.

    Args:
        matches: whether a document is meant.
        ids: of documents, when no others can match.
        ranges: of which an index may be asked any one.
    """

    matches: Test = field(repr=False)
    ids: tuple[str, ...] | None = None
    ranges: tuple[Range, ...] = ()


def parse_query(query: Any, *, depth_max: int, operator_count_max: int) -> Query:
    """Return the query that a document of operators means; a text is the id of one document.

    Raises:
        OperatorUnknownError: an operator does not exist.
        QueryError: an operand has the wrong type, or there are too many or too deep.
    """
    if isinstance(query, str):
        query = {"id": query}
    parser = _Parser(depth_max, operator_count_max)
    matches = parser.query(query, "query", 0)
    return Query(matches=matches, ids=_ids_of(query), ranges=tuple(_ranges_of(query)))


def split_path(path: str, where: str) -> tuple[str, ...]:
    """Return the parts of the name of a field.

    Raises:
        QueryError: it is empty, too long, or has an empty part.
    """
    parts = tuple(path.split("."))
    if len(path) > FIELD_LENGTH_MAX or len(parts) > FIELD_PART_COUNT_MAX or not all(parts):
        raise QueryError(
            where=where,
            problem=f"{path[:40]!r} names no field: up to {FIELD_PART_COUNT_MAX} names between "
            f"dots, {FIELD_LENGTH_MAX} characters in all",
        )
    return parts


def value_at(document: Any, parts: tuple[str, ...]) -> Any:
    """Return the value of a field, or MISSING."""
    value = document
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isascii() and part.isdigit():
            # More digits than any list is long: a number of that size is not even made.
            index = int(part) if len(part) < 10 else len(value)  # noqa: PLR2004
            value = value[index] if index < len(value) else MISSING
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


class _Parser:
    """Reads one query and counts what it has read."""

    def __init__(self, depth_max: int, operator_count_max: int) -> None:
        self._depth_max = depth_max
        self._count_max = operator_count_max
        self._count = 0

    def query(self, query: Any, where: str, depth: int) -> Test:
        """Return the test of a document that an object of fields and operators means."""
        if not isinstance(query, dict):
            raise QueryError(where=where, problem="a query is an object")
        if depth > self._depth_max:
            raise QueryError(
                where=where, problem=f"deeper than apps.query_depth_max = {self._depth_max}"
            )
        tests = [
            self._entry(name, operand, f"{where}.{name}", depth) for name, operand in query.items()
        ]
        return _all_of(tests)

    def _entry(self, name: str, operand: Any, where: str, depth: int) -> Test:
        self._charge(1)
        if name in _LISTED:
            if not isinstance(operand, list) or not operand:
                raise QueryError(where=where, problem=f"{name} takes a list of queries")
            tests = [
                self.query(inner, f"{where}.{index}", depth + 1)
                for index, inner in enumerate(operand)
            ]
            return _all_of(tests) if name == "$and" else _any_of(tests)
        if name == "$not":
            inner = self.query(operand, where, depth + 1)
            return lambda document: not inner(document)
        if name.startswith("$"):
            if name in OPERATORS:
                raise QueryError(where=where, problem=f"{name} stands behind the name of a field")
            raise _unknown(name, where)
        parts = split_path(name, where)
        test = self._condition(operand, where, depth)
        return lambda document: test(value_at(document, parts))

    def _condition(self, operand: Any, where: str, depth: int) -> Test:
        """Return the test of a field's value: operators, or a value to be equal to."""
        if not _has_operators(operand, where):
            return lambda value: value is not MISSING and is_equal(value, operand)
        if depth > self._depth_max:
            raise QueryError(
                where=where, problem=f"deeper than apps.query_depth_max = {self._depth_max}"
            )
        tests = []
        for name, inner in operand.items():
            self._charge(1)
            tests.append(self._operator(name, inner, f"{where}.{name}", depth))
        return _all_of(tests)

    def _operator(self, name: str, operand: Any, where: str, depth: int) -> Test:
        if name == "$not":
            if not isinstance(operand, dict) or not _has_operators(operand, where):
                raise QueryError(where=where, problem="$not takes an object of operators")
            inner = self._condition(operand, where, depth + 1)
            return lambda value: not inner(value)
        if name in _LISTED:
            raise QueryError(where=where, problem=f"{name} stands beside fields, not behind one")
        make = _MAKERS.get(name)
        if make is None:
            raise _unknown(name, where)
        if name in {"$in", "$nin"}:
            if not isinstance(operand, list):
                raise QueryError(where=where, problem=f"{name} takes a list")
            self._charge(len(operand))
        return make(operand, where)

    def _charge(self, count: int) -> None:
        self._count += count
        if self._count > self._count_max:
            raise QueryError(
                where="query",
                problem=f"more conditions than apps.query_operator_count_max = {self._count_max}",
            )


def _has_operators(operand: Any, where: str) -> bool:
    if not isinstance(operand, dict):
        return False
    marked = [name.startswith("$") for name in operand]
    if any(marked) and not all(marked):
        raise QueryError(where=where, problem="operators and fields stand in one object")
    return any(marked)


def _unknown(name: str, where: str) -> OperatorUnknownError:
    return OperatorUnknownError(where=where, operator=name[:40], known=" ".join(OPERATORS))


def _all_of(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _any_of(tests: list[Test]) -> Test:
    return lambda value: any(test(value) for test in tests)


# --- operators of one field: (operand, where) -> test of its value ---


def _equal(operand: Any, _where: str) -> Test:
    return lambda value: value is not MISSING and is_equal(value, operand)


def _not_equal(operand: Any, _where: str) -> Test:
    return lambda value: value is MISSING or not is_equal(value, operand)


def _ordered(accepts: Callable[[Any, Any], bool]) -> Callable[[Any, str], Test]:
    def make(operand: Any, where: str) -> Test:
        if isinstance(operand, bool) or not isinstance(operand, _ORDERED_TYPES):
            raise QueryError(where=where, problem="compares with a number or a text")
        rank, bound = order_key(operand)

        def test(value: Any) -> bool:
            if value is MISSING or type_rank(value) != rank:
                return False
            return accepts(order_key(value)[1], bound)

        return test

    return make


def _one_of(operand: Any, _where: str) -> Test:
    return lambda value: value is not MISSING and any(is_equal(value, one) for one in operand)


def _none_of(operand: Any, _where: str) -> Test:
    return lambda value: value is MISSING or not any(is_equal(value, one) for one in operand)


def _contains(operand: Any, _where: str) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, list):
            return any(is_equal(one, operand) for one in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value

    return test


def _exists(operand: Any, where: str) -> Test:
    if not isinstance(operand, bool):
        raise QueryError(where=where, problem="$exists takes true or false")
    return lambda value: (value is not MISSING) == operand


_MAKERS: Final[dict[str, Callable[[Any, str], Test]]] = {
    "$eq": _equal,
    "$ne": _not_equal,
    "$gt": _ordered(lambda value, bound: value > bound),
    "$gte": _ordered(lambda value, bound: value >= bound),
    "$lt": _ordered(lambda value, bound: value < bound),
    "$lte": _ordered(lambda value, bound: value <= bound),
    "$in": _one_of,
    "$nin": _none_of,
    "$contains": _contains,
    "$exists": _exists,
}


# --- what an index can be asked ---


def _conditions_of(query: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return (field, operator, operand) of what every match must fulfil."""
    found: list[tuple[str, str, Any]] = []
    for name, operand in query.items():
        if name == "$and":
            for inner in operand:
                found += _conditions_of(inner)
        elif not name.startswith("$"):
            if isinstance(operand, dict) and any(key.startswith("$") for key in operand):
                found += [(name, operator, value) for operator, value in operand.items()]
            else:
                found.append((name, "$eq", operand))
    return found


def _ids_of(query: dict[str, Any]) -> tuple[str, ...] | None:
    for name, operator, operand in _conditions_of(query):
        if name == "id" and operator == "$eq":
            return (operand,) if isinstance(operand, str) else ()
        if name == "id" and operator == "$in":
            return tuple(dict.fromkeys(one for one in operand if isinstance(one, str)))
    return None


def _ranges_of(query: dict[str, Any]) -> list[Range]:
    bounds: dict[str, list[bytes | None]] = {}
    for name, operator, operand in _conditions_of(query):
        if operator not in {"$eq", "$gt", "$gte", "$lt", "$lte"}:
            continue
        key = index_key(operand)
        if key is None:
            continue
        low, high = bounds.setdefault(name, [None, None])
        if operator in {"$eq", "$gt", "$gte"}:
            bounds[name][0] = key if low is None else max(low, key)
        if operator in {"$eq", "$lt", "$lte"}:
            bounds[name][1] = key if high is None else min(high, key)
    ranges = [Range(name, low, high) for name, (low, high) in bounds.items()]
    return sorted(ranges, key=lambda found: (not found.is_exact, found.low is None, found.field))

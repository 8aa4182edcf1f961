"""Apply the part of RFC 6902 that the checker suggests: add, replace, remove, test.

Pure: the document given is never changed. `move` and `copy` are refused, because no finding needs
them. Pointers are RFC 6901. Written here and not taken from a library: it is smaller than the
adapter for one would be, and `test` must not hold `true` and `1` for equal.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloche.arch.errors import PatchFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

OperationName: TypeAlias = Literal["add", "replace", "remove", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `value` is JSON data and is read by all but `remove`."""

    op: OperationName
    path: str
    value: Any = None

    def to_document(self) -> dict[str, Any]:
        """Return the operation as RFC 6902 writes it."""
        document = {"op": self.op, "path": self.path}
        return document if self.op == "remove" else {**document, "value": self.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Operations, all or none, on one document of the project."""

    document: str
    operations: tuple[Operation, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the patch as JSON-ready data."""
        operations = [operation.to_document() for operation in self.operations]
        return {"document": self.document, "operations": operations}


def apply_operations(document: Any, operations: Iterable[Operation]) -> Any:
    """Return the document with every operation done in order.

    Raises:
        PatchFailedError: a pointer leads nowhere, a test differs, or the operation is unknown.
    """
    root = {"": copy.deepcopy(document)}
    for operation in operations:
        _apply(root, operation)
    return root[""]


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """Split an RFC 6901 pointer into its unescaped parts; the empty pointer is the whole."""
    if pointer and not pointer.startswith("/"):
        raise PatchFailedError(operation="pointer", pointer=pointer, reason="it must start with /")
    parts = pointer.split("/")[1:]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def to_pointer(*parts: str | int) -> str:
    """Join parts into an RFC 6901 pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def append_to(document: str, *parts: str | int, value: Any) -> Patch:
    """Return a patch that adds a value at the end of an array."""
    operation = Operation(op="add", path=to_pointer(*parts, "-"), value=value)
    return Patch(document=document, operations=(operation,))


def remove_item(document: str, *parts: str | int, value: Any, tested: str = "") -> Patch:
    """Return a patch that removes an item after testing that it still is the one meant."""
    path = to_pointer(*parts)
    test = Operation(op="test", path=path + tested, value=value)
    return Patch(document=document, operations=(test, Operation(op="remove", path=path)))


def combine(patches: Iterable[Patch]) -> tuple[Patch, ...]:
    """Join patches into one for each document, in an order in which none disturbs another.

    What adds or replaces comes first (an addition at the end shifts nothing), then what removes,
    from the end of each array and the depth of each object backwards.
    """
    unique = {json.dumps(patch.to_document(), sort_keys=True): patch for patch in patches}
    joined: dict[str, list[Operation]] = {}
    for patch in sorted(unique.values(), key=_combination_key):
        joined.setdefault(patch.document, []).extend(patch.operations)
    return tuple(
        Patch(document=document, operations=tuple(operations))
        for document, operations in sorted(joined.items())
    )


def _combination_key(patch: Patch) -> tuple[Any, ...]:
    last = patch.operations[-1]
    if last.op != "remove":
        return (patch.document, 0, ())
    # Later positions first: negated indices, and negated code points for names.
    return (patch.document, 1, (*map(_descending, parse_pointer(last.path)), (2,)))


def _descending(part: str) -> tuple[Any, ...]:
    return (0, -int(part)) if part.isdecimal() else (1, *(-ord(letter) for letter in part), 1)


def _apply(root: dict[str, Any], operation: Operation) -> None:
    parts = ("", *parse_pointer(operation.path))
    parent = _walk(root, parts[:-1], operation)
    key = parts[-1]
    if operation.op == "add":
        _add(parent, key, operation)
        return
    found = _child(parent, key, operation)
    if operation.op == "test":
        if not _is_same_json(found, operation.value):
            raise _failure(operation, f"found {found!r}, expected {operation.value!r}")
    elif operation.op == "replace":
        parent[int(key) if isinstance(parent, list) else key] = copy.deepcopy(operation.value)
    elif operation.op == "remove":
        if parent is root:
            raise _failure(operation, "the whole document cannot be removed")
        del parent[int(key) if isinstance(parent, list) else key]
    else:
        raise _failure(operation, "unknown operation; use add, replace, remove or test")


def _walk(root: Any, parts: tuple[str, ...], operation: Operation) -> Any:
    value = root
    for part in parts:
        value = _child(value, part, operation)
    return value


def _child(parent: Any, key: str, operation: Operation) -> Any:
    if isinstance(parent, dict) and key in parent:
        return parent[key]
    if isinstance(parent, list) and _is_index(key) and int(key) < len(parent):
        return parent[int(key)]
    raise _failure(operation, f"there is nothing at {key!r}")


def _add(parent: Any, key: str, operation: Operation) -> None:
    value = copy.deepcopy(operation.value)
    if isinstance(parent, dict):
        parent[key] = value
    elif isinstance(parent, list) and key == "-":
        parent.append(value)
    elif isinstance(parent, list) and _is_index(key) and int(key) <= len(parent):
        parent.insert(int(key), value)
    else:
        raise _failure(operation, f"nothing can be added at {key!r}")


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdecimal() and (key == "0" or not key.startswith("0"))


def _is_same_json(left: Any, right: Any) -> bool:
    """Compare as JSON does: `1` equals `1.0`, and `true` is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _is_same_json(value, right[key]) for key, value in left.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same_json, left, right))
    return bool(left == right)


def _failure(operation: Operation, reason: str) -> PatchFailedError:
    return PatchFailedError(operation=operation.op, pointer=operation.path, reason=reason)

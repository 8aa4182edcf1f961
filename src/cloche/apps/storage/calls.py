"""What the kinds of storage share: one call, writes that happen once, quotas, arguments.

Pure, but for the tables that are given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from cloche.apps.storage.errors import (
    QuotaError,
    StorageArgumentsError,
    StorageTargetError,
    StorageTooLargeError,
)
from cloche.apps.storage.values import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.storage.ports import AppRows, AppTables
    from cloche.apps.storage.rows import JobRow, Section

T = TypeVar("T")

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One effect of an app.

    Args:
        app: name of the app, see `app_name`.
        key: the effect's idempotency key.
        now_ns: the wall clock.
        run_id: the run that asks.
        job: the job that this run is, if it is one.
        time_ms: what the effect may take at most; None where nothing says.
    """

    app: str
    key: str
    now_ns: int
    run_id: str = ""
    job: JobRow | None = None
    time_ms: int | None = None


class Args(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the arguments of effects."""


class Operation(NamedTuple):
    """What an effect takes, and what performs it."""

    args: type[Args]
    perform: Callable[[Call, Any], Any]


def perform(
    kind: str, operations: Mapping[str, Operation], call: Call, target: str, args: Any
) -> Any:
    """Return the value of an effect.

    Raises:
        StorageTargetError: there is no such effect.
        StorageArgumentsError: its arguments are others.
        AppStorageError: as the effect says.
    """
    operation = operations.get(target)
    if operation is None:
        raise StorageTargetError(kind=kind, target=target[:80], known=", ".join(operations))
    try:
        parsed = msgspec.convert(args, operation.args)
    except msgspec.ValidationError as error:
        raise StorageArgumentsError(where=f"{kind}.{target}", problem=str(error)) from None
    return operation.perform(call, parsed)


def once(tables: AppTables, section: Section, call: Call, work: Callable[[AppRows], Any]) -> Any:
    """Return what the work returns, or returned when the same effect was performed before."""

    def whole(rows: AppRows) -> Any:
        known = rows.recall(call.key)
        if known is not None:
            return decode(known)
        value = work(rows)
        rows.remember(call.key, encode(value), call.now_ns)
        return value

    return tables.write(call.app, section, whole)


class Quota(NamedTuple):
    """How much a section of an app may hold, and the names of these limits."""

    what: str
    count_limit: str
    count_max: int
    size_limit: str
    size_max: int


def charge(rows: AppRows, quota: Quota, *, count: int = 0, size_bytes: int = 0) -> int:
    """Count a write, and what it adds or takes away; return its sequence.

    Raises:
        QuotaError: it adds to what is full; nothing is counted.
    """
    usage = rows.usage
    if count > 0 and usage.count + count > quota.count_max:
        raise QuotaError(
            what=quota.what,
            used=usage.count,
            asked=count,
            limit=quota.count_limit,
            maximum=quota.count_max,
        )
    if size_bytes > 0 and usage.size_bytes + size_bytes > quota.size_max:
        raise QuotaError(
            what=f"bytes of {quota.what}",
            used=usage.size_bytes,
            asked=size_bytes,
            limit=quota.size_limit,
            maximum=quota.size_max,
        )
    rows.usage = replace(
        usage,
        count=usage.count + count,
        size_bytes=usage.size_bytes + size_bytes,
        sequence=usage.sequence + 1,
    )
    return rows.usage.sequence


class Budget:
    """Counts the bytes of a result while it is made."""

    def __init__(self, what: str, limit: str, maximum: int) -> None:
        self._what, self._limit, self._maximum = what, limit, maximum
        self._size = 0

    def add(self, size_bytes: int) -> None:
        """Count bytes.

        Raises:
            StorageTooLargeError: the result would be over its limit.
        """
        self._size += size_bytes
        if self._size > self._maximum:
            raise StorageTooLargeError(
                what=self._what, size=self._size, limit=self._limit, maximum=self._maximum
            )


def check_count(where: str, value: int, low: int, high: int) -> int:
    """Return a number of arguments if it is in its range.

    Raises:
        StorageArgumentsError: it is not.
    """
    if not low <= value <= high:
        raise StorageArgumentsError(where=where, problem=f"is {value}; it must be {low} to {high}")
    return value


def later_ns(now_ns: int, where: str, delay_ms: int | None, delay_ms_max: int) -> int | None:
    """Return the time some milliseconds from now; None for None.

    Raises:
        StorageArgumentsError: it is over its limit, or in the past.
    """
    if delay_ms is None:
        return None
    return now_ns + check_count(where, delay_ms, 0, delay_ms_max) * NS_PER_MS

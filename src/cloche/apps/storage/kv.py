"""Effects of kind `kv`: values by key, with a time to live and compare-and-set.

| target | args | value |
|---|---|---|
| `get` | `{"key"}` | the value, or null |
| `entry` | `{"key"}` | `{"key", "value", "version", "expires_at_ms"}`, or null |
| `set` | `{"key", "value", "ttl_ms"?}` | its version |
| `cas` | `{"key", "value", "expected_version", "ttl_ms"?}` | its version, null if not as expected |
| `delete` | `{"key"}` | whether it was there |
| `list` | `{"prefix"?, "after"?, "limit"?}` | entries in the order of their keys |

Invariants:
- a key that has expired is not there, whether its row is or not;
- a version is given to one write of the app only, and greater than all before: `cas` cannot take a
  key that was deleted and made again for the one that it knew. Version 0 means: not there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.calls import (
    NS_PER_MS,
    Args,
    Budget,
    Call,
    Operation,
    Quota,
    charge,
    check_count,
    later_ns,
    once,
)
from cloche.apps.storage.errors import QuotaError
from cloche.apps.storage.rows import KvRow
from cloche.apps.storage.values import check_name, check_size, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.apps.storage.ports import AppRows, AppTables
    from cloche.limits import Limits

TTL_MS_MAX: Final = 10 * 366 * 86_400_000
_PAGE_COUNT: Final = 100
_PURGE_COUNT: Final = 1000


class KeyArgs(Args):
    """Of `get`, `entry` and `delete`."""

    key: str


class SetArgs(Args):
    """Of `set`."""

    key: str
    value: Any
    ttl_ms: int | None = None


class CasArgs(SetArgs, kw_only=True):
    """Of `cas`."""

    expected_version: int


class ListArgs(Args):
    """Of `list`."""

    prefix: str = ""
    after: str = ""
    limit: int = 100


class Kv:
    """The keys of all apps."""

    def __init__(self, tables: AppTables, limits: Limits) -> None:
        self._tables = tables
        self._limits = limits.apps
        self._result_limit_bytes = limits.gate.value_limit_bytes
        self._quota = Quota(
            "keys",
            "apps.kv_count_max",
            limits.apps.kv_count_max,
            "apps.kv_limit_bytes",
            limits.apps.kv_limit_bytes,
        )
        self.operations: Mapping[str, Operation] = {
            "get": Operation(KeyArgs, self._get),
            "entry": Operation(KeyArgs, self._entry),
            "set": Operation(SetArgs, self._set),
            "cas": Operation(CasArgs, self._cas),
            "delete": Operation(KeyArgs, self._delete),
            "list": Operation(ListArgs, self._list),
        }

    def _get(self, call: Call, args: KeyArgs) -> Any:
        row = self._find(call, args.key)
        return None if row is None else decode(row.value)

    def _entry(self, call: Call, args: KeyArgs) -> Any:
        row = self._find(call, args.key)
        return None if row is None else _entry_of(row)

    def _find(self, call: Call, key: str) -> KvRow | None:
        self._check_key(key)
        row = self._tables.read(call.app, "kv", lambda rows: rows.get_key(key))
        return row if row is not None and _is_live(row, call.now_ns) else None

    def _set(self, call: Call, args: SetArgs) -> int:
        # Setting twice is setting once: nothing has to be remembered.
        row = self._new_row(call, args)
        return self._tables.write(call.app, "kv", lambda rows: self._put(rows, row, call.now_ns))

    def _cas(self, call: Call, args: CasArgs) -> int | None:
        row = self._new_row(call, args)

        def work(rows: AppRows) -> int | None:
            found = rows.get_key(args.key)
            is_there = found is not None and _is_live(found, call.now_ns)
            version = found.version if found is not None and is_there else 0
            if version != args.expected_version:
                return None
            return self._put(rows, row, call.now_ns)

        found: int | None = once(self._tables, "kv", call, work)
        return found

    def _delete(self, call: Call, args: KeyArgs) -> bool:
        self._check_key(args.key)

        def work(rows: AppRows) -> bool:
            row = rows.get_key(args.key)
            if row is None:
                return False
            self._remove(rows, row)
            return _is_live(row, call.now_ns)

        return bool(once(self._tables, "kv", call, work))

    def _list(self, call: Call, args: ListArgs) -> list[Any]:
        check_count("kv.list limit", args.limit, 1, self._limits.list_count_max)
        for where, text in (("kv.list prefix", args.prefix), ("kv.list after", args.after)):
            if text:
                check_name(where, text, self._limits.kv_key_limit_bytes)
        work = partial(self._page, args=args, now_ns=call.now_ns)
        found: list[Any] = self._tables.read(call.app, "kv", work)
        return found

    def _page(self, rows: AppRows, *, args: ListArgs, now_ns: int) -> list[Any]:
        budget = Budget("the list", "gate.value_limit_bytes", self._result_limit_bytes)
        entries: list[Any] = []
        after = args.after
        while len(entries) < args.limit:
            wanted = min(_PAGE_COUNT, args.limit - len(entries))
            page = rows.keys(start=args.prefix, after=after, now_ns=now_ns, limit=wanted)
            for row in page:
                if not row.key.startswith(args.prefix):
                    return entries  # in the order of bytes, all that begin so stand together
                budget.add(len(row.value) + len(row.key))
                entries.append(_entry_of(row))
            if len(page) < wanted:
                break
            after = page[-1].key
        return entries

    def _check_key(self, key: str) -> None:
        check_name("kv key", key, self._limits.kv_key_limit_bytes)

    def _new_row(self, call: Call, args: SetArgs) -> KvRow:
        self._check_key(args.key)
        value = encode(args.value)
        check_size(
            "the value", len(value), "apps.kv_value_limit_bytes", self._limits.kv_value_limit_bytes
        )
        expires_ns = later_ns(call.now_ns, "kv ttl_ms", args.ttl_ms, TTL_MS_MAX)
        return KvRow(key=args.key, value=value, version=0, expires_ns=expires_ns)

    def _put(self, rows: AppRows, row: KvRow, now_ns: int) -> int:
        before = rows.get_key(row.key)
        try:
            version = self._charge(rows, row, before)
        except QuotaError:
            if not self.purge(rows, now_ns):
                raise
            before = rows.get_key(row.key)
            version = self._charge(rows, row, before)
        rows.put_key(
            KvRow(key=row.key, value=row.value, version=version, expires_ns=row.expires_ns)
        )
        return version

    def _charge(self, rows: AppRows, row: KvRow, before: KvRow | None) -> int:
        size_bytes = _size_of(row) - (0 if before is None else _size_of(before))
        return charge(rows, self._quota, count=int(before is None), size_bytes=size_bytes)

    def _remove(self, rows: AppRows, row: KvRow) -> None:
        rows.remove_key(row.key)
        charge(rows, self._quota, count=-1, size_bytes=-_size_of(row))

    def purge(self, rows: AppRows, now_ns: int) -> int:
        """Remove rows of keys that have expired, some; return how many."""
        expired = rows.expired_keys(now_ns, _PURGE_COUNT)
        for row in expired:
            self._remove(rows, row)
        return len(expired)


def _is_live(row: KvRow, now_ns: int) -> bool:
    return row.expires_ns is None or row.expires_ns > now_ns


def _size_of(row: KvRow) -> int:
    return len(row.key.encode()) + len(row.value)


def _entry_of(row: KvRow) -> dict[str, Any]:
    expires_ns = row.expires_ns
    return {
        "key": row.key,
        "value": decode(row.value),
        "version": row.version,
        "expires_at_ms": None if expires_ns is None else expires_ns // NS_PER_MS,
    }

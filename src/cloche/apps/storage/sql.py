"""Effects of kind `sql`: a SQLite database of the app's own.

| target | args | value |
|---|---|---|
| `query` | `{"text", "params"?}` | `{"columns", "rows"}`; reads only |
| `execute` | `{"text", "params"?}` | `{"changes", "last_id", "columns", "rows"}` |
| `batch` | `{"statements": [{"text", "params"?}]}` | one such value each, in one transaction |

Values are null, numbers, text, and `{"b64"}` for bytes. Parameters are a list for `?`, or an object
for `:name`. Statements of `execute` and `batch` are kept all or not at all, and once for one
idempotency key.

This module says what crosses; `SqlFiles` does it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cloche.apps.storage.calls import Args, Call, Operation, check_count
from cloche.apps.storage.errors import StorageArgumentsError
from cloche.apps.storage.values import check_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.limits import Limits

Value = None | int | float | str | bytes
Parameters = tuple[Value, ...] | dict[str, Value]

_INTEGER_END = 1 << 63


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its parameters."""

    text: str
    parameters: Parameters


class SqlDatabases(Protocol):
    """The databases of all apps."""

    def query(self, app: str, statement: Statement, time_ms: int | None = None) -> dict[str, Any]:
        """Return what a statement reads, in `time_ms` or `apps.sql_timeout_ms` if that is less.

        Raises:
            AppStorageError: it writes, is wrong, takes too long, or answers too much.
        """

    def execute(
        self,
        app: str,
        key: str,
        statements: Sequence[Statement],
        now_ns: int,
        time_ms: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return what statements did, or did before under this key. Raises as `query`."""

    def remove(self, app: str) -> bool:
        """Remove the database of an app; return whether there was one."""

    def close(self) -> None:
        """Let go of all databases."""


class StatementArgs(Args):
    """Of `query` and `execute`."""

    text: str
    params: list[Any] | dict[str, Any] = msgspec.field(default_factory=list)


class BatchArgs(Args):
    """Of `batch`."""

    statements: list[StatementArgs]


class Sql:
    """The databases of apps, as these see them."""

    def __init__(self, databases: SqlDatabases, limits: Limits) -> None:
        self._databases = databases
        self._limits = limits.apps
        self.operations: Mapping[str, Operation] = {
            "query": Operation(StatementArgs, self._query),
            "execute": Operation(StatementArgs, self._execute),
            "batch": Operation(BatchArgs, self._batch),
        }

    def _query(self, call: Call, args: StatementArgs) -> Any:
        return self._databases.query(call.app, self._statement(args), call.time_ms)

    def _execute(self, call: Call, args: StatementArgs) -> Any:
        return self._write(call, [self._statement(args)])[0]

    def _batch(self, call: Call, args: BatchArgs) -> Any:
        most = self._limits.sql_statement_count_max
        check_count("sql.batch statements", len(args.statements), 1, most)
        statements = [self._statement(one) for one in args.statements]
        return self._write(call, statements)

    def _write(self, call: Call, statements: list[Statement]) -> list[dict[str, Any]]:
        return self._databases.execute(call.app, call.key, statements, call.now_ns, call.time_ms)

    def _statement(self, args: StatementArgs) -> Statement:
        most = self._limits.sql_value_limit_bytes
        check_size("the statement", len(args.text), "apps.sql_value_limit_bytes", most)
        if isinstance(args.params, dict):
            return Statement(
                args.text, {name: _parameter(value) for name, value in args.params.items()}
            )
        return Statement(args.text, tuple(map(_parameter, args.params)))


def _parameter(value: Any) -> Value:
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise StorageArgumentsError(where="sql params", problem="b64 is no base64") from None
    if isinstance(value, (dict, list)):
        raise StorageArgumentsError(
            where="sql params", problem='a value is null, a number, text, or {"b64"}'
        )
    if isinstance(value, int) and not -_INTEGER_END <= value < _INTEGER_END:
        raise StorageArgumentsError(where="sql params", problem="an integer has up to 64 bits")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StorageArgumentsError(where="sql params", problem="text is no UTF-8") from None
    found: Value = value
    return found

"""Where shared lists, secrets and the log are kept: one SQLite file.

Owns the file and its tables. Invariants:
- readable by its owner only; the values of secrets are encrypted, with name and bindings under the
  same seal, so that a value cannot be moved to another domain by who can write the file;
- a list that another process changes is seen with the next call;
- one entry for a host, method and path in a scope: writing it again replaces it;
- one secret for a name in a scope; a run gets that of the first of its lists that has one, then the
  global one of its tenant;
- what a tenant has is in scopes that begin with its name (`allowlist.scope_in`), and its records
  say whose they are.

What a process has in memory, its cache, is shown and cleared through this file too: it writes down
what the cache holds, and forgets it when the file's number of clearings grows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.egress.adapters.keys import Sealer
from cloche.egress.adapters.tables import (
    TABLES,
    UPGRADES,
    VERSION,
    bindings_of,
    former_of,
    identity_of,
    lives,
    tuples,
)
from cloche.egress.allowlist import GLOBAL_SCOPE, SCOPE, Entry, RuleSet, entry_from_document
from cloche.egress.errors import NetPolicyError, NetStoreError
from cloche.egress.log import Record
from cloche.egress.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloche.egress.cache import Stats
    from cloche.limits import Limits

_OWNER_ONLY: Final = 0o600
_FORMER_COUNT_MAX: Final = 8
_NS_PER_MS: Final = 10**6
# The time of a secret's last use is written once in so long.
_USED_RESOLUTION_NS: Final = 10 * 10**9
# Rows are counted when so many were added, not with each.
_TRIM_EVERY: Final = 1000

_LOG_FIELDS: Final = Record.__struct_fields__


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a secret: all but its value."""

    scope: str
    name: str
    inject_as: str
    key: str
    domains: tuple[str, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    ports: tuple[int, ...]
    created_ns: int
    updated_ns: int
    used_ns: int | None
    rotating: bool


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its list and the time at which it came there."""

    scope: str
    entry: Entry
    created_ns: int


class NetDatabase:
    """The file (an `EntryBook`, a `SecretBook` and a `LogSink`). Usable from any thread.

    Args:
        path: of the file; made with its folder where it is missing.
        limits: the group `egress`.
        key: of the secrets; found as `adapters.keys` says when None, and then only when a secret is
            touched.

    Raises:
        NetStoreError: it cannot be opened, or is of a later version.
    """

    def __init__(self, path: Path, limits: Limits, *, key: bytes | None = None) -> None:
        self._path = path
        self._limits = limits.egress
        self._log_row_count_max = min(limits.egress.log_row_count_max, limits.storage.max_log_rows)
        self._sealer = Sealer(key)
        self._lock = threading.RLock()
        self._seen = -1
        self._rules: dict[str, RuleSet] = {}
        self._opened: dict[tuple[str, str], Secret | None] = {}
        self._used_ns: dict[tuple[str, str], int] = {}
        self._former_until_ns: dict[tuple[str, str], int] = {}
        self._clearings: int | None = None
        self._added = 0
        with self._told("open the store of outbound HTTP"):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, _OWNER_ONLY))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma busy_timeout = 5000")
            self._db.execute("pragma journal_mode = wal")
            version = self._db.execute("pragma user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(TABLES)
                self._db.execute(f"pragma user_version = {VERSION}")
            elif version in UPGRADES:
                self._upgrade()
        if version > VERSION:
            self.close()
            raise NetStoreError(
                action="open the store of outbound HTTP",
                reason=f"{path} was written by a later cloche (version {version})",
            )

    def _upgrade(self) -> None:
        """Bring a file of a former version to this one; another process may do the same."""
        self._db.execute("begin immediate")
        version = self._db.execute("pragma user_version").fetchone()[0]
        while version in UPGRADES:
            for statement in UPGRADES[version].split(";"):
                self._db.execute(statement)
            version += 1
        self._db.execute("commit")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # --- lists ---

    def rules(self, scope: str) -> RuleSet:
        """See `EntryBook`."""
        with self._lock:
            self._refresh()
            found = self._rules.get(scope)
            if found is None:
                found = self._rules[scope] = RuleSet(scope, self.entries(scope))
            return found

    def entries(self, scope: str) -> list[Entry]:
        """Return the entries of a scope: what is denied, then what is allowed, each as added."""
        return [row.entry for row in self.entry_rows(scope)]

    def entry_rows(self, scope: str | None = None) -> list[EntryRow]:
        """Return the entries of a scope in their order; of all scopes by name when None."""
        with self._reading():
            rows = self._db.execute(
                "select scope, document, created_ns from entries "
                "where ?1 is null or scope = ?1 order by scope, position",
                (scope,),
            ).fetchall()
        found = [
            EntryRow(
                scope=scope,
                entry=entry_from_document(msgspec.json.decode(document)),
                created_ns=created_ns,
            )
            for scope, document, created_ns in rows
        ]
        # Who denies a host below a wildcard that is allowed already means it.
        return sorted(found, key=lambda row: (row.scope, row.entry.action != "deny"))

    def put_entry(self, scope: str, entry: Entry) -> bool:
        """Add an entry, or replace that of the same host, methods, ports and paths in its place.

        Returns:
            whether there was one before.

        Raises:
            NetPolicyError: the scope has no valid name, or the list is full.
        """
        if not SCOPE.fullmatch(scope):
            raise NetPolicyError(where="scope", problem=f"must match {SCOPE.pattern}")
        identity = identity_of(entry)
        with self._writing():
            old = self._db.execute(
                "select position from entries where scope = ? and identity = ?", (scope, identity)
            ).fetchone()
            count, last = self._db.execute(
                "select count(*), coalesce(max(position), 0) from entries where scope = ?", (scope,)
            ).fetchone()
            if old is None and count >= self._limits.entry_count_max:
                raise NetPolicyError(
                    where=f"list {scope}",
                    problem=f"has {count} entries; egress.entry_count_max allows no more",
                )
            self._db.execute(
                "insert or replace into entries values (?, ?, ?, ?, ?)",
                (
                    scope,
                    last + 1 if old is None else old[0],
                    identity,
                    msgspec.json.encode(entry.to_document()).decode(),
                    time.time_ns(),
                ),
            )
        return old is not None

    def remove_entries(self, scope: str, entry: Entry) -> int:
        """Remove entries of a scope; return how many.

        Args:
            scope: the list.
            entry: with a host alone, all entries that name it; else the one that says the same of
                methods, ports and paths.
        """
        whole_host = not (entry.methods or entry.ports or entry.paths)
        with self._writing():
            found = [
                other
                for other in self.entries(scope)
                if other.host == entry.host
                and (whole_host or identity_of(other) == identity_of(entry))
            ]
            self._db.executemany(
                "delete from entries where scope = ? and identity = ?",
                [(scope, identity_of(other)) for other in found],
            )
        return len(found)

    def remove_entry(self, scope: str, entry: Entry) -> bool:
        """Remove what says the same of host, methods, ports and paths; whether there was one."""
        with self._writing():
            done = self._db.execute(
                "delete from entries where scope = ? and identity = ?", (scope, identity_of(entry))
            ).rowcount
        return bool(done)

    # --- secrets ---

    def secret(self, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> Secret | None:
        """See `SecretBook`."""
        with self._lock:
            self._refresh()
            for scope in scopes:
                at = (scope, name)
                if at not in self._opened:
                    self._opened[at] = self._open_secret(scope, name)
                found = self._opened[at]
                if found is not None:
                    return self._without_late_values(at, found)
            return None

    def _without_late_values(self, at: tuple[str, str], secret: Secret) -> Secret:
        """Return a secret as it is by now: what it was before counts for a time."""
        if secret.former and self._former_until_ns.get(at, 0) <= time.time_ns():
            secret = self._opened[at] = msgspec.structs.replace(secret, former=())
        return secret

    def _open_secret(self, scope: str, name: str) -> Secret | None:
        with self._reading():
            row = self._db.execute(
                "select document, sealed, former, former_until_ns from secrets "
                "where scope = ? and name = ?",
                (scope, name),
            ).fetchone()
        if row is None:
            return None
        document, sealed, former, until_ns = row
        value = self._sealer.open(name, sealed, document.encode())
        old = ()
        if former is not None and until_ns > time.time_ns():
            old = tuple(
                msgspec.json.decode(self._sealer.open(name, former, former_of(scope, name)))
            )
            self._former_until_ns[scope, name] = until_ns
        bindings = msgspec.json.decode(document)
        if (bindings["scope"], bindings["name"]) != (scope, name):
            raise NetStoreError(
                action=f"open the secret {name!r}", reason="it was sealed for another place"
            )
        return Secret(**{**tuples(bindings), "value": value, "former": old})

    def used(self, secret: Secret) -> None:
        """See `SecretBook`."""
        now_ns = time.time_ns()
        at = (secret.scope, secret.name)
        with self._lock:
            if now_ns - self._used_ns.get(at, 0) < _USED_RESOLUTION_NS:
                return
            self._used_ns[at] = now_ns
        with self._writing(settings=False):
            self._db.execute(
                "update secrets set used_ns = ? where scope = ? and name = ?", (now_ns, *at)
            )

    def secrets(self, scope: str | None = None) -> list[SecretRow]:
        """Return secrets without their values, by scope and name; all, or those of one scope."""
        with self._reading():
            rows = self._db.execute(
                "select document, created_ns, updated_ns, used_ns, former_until_ns "
                "from secrets where ?1 is null or scope = ?1 order by scope, name",
                (scope,),
            ).fetchall()
        now_ns = time.time_ns()
        return [
            SecretRow(
                **tuples(msgspec.json.decode(document)),
                created_ns=created_ns,
                updated_ns=updated_ns,
                used_ns=used_ns,
                rotating=until_ns is not None and until_ns > now_ns,
            )
            for document, created_ns, updated_ns, used_ns, until_ns in rows
        ]

    def put_secret(self, secret: Secret, *, overlap_ms: int | None = None) -> bool:
        """Keep a secret, instead of the one of that name and scope; return whether there was one.

        Args:
            secret: the secret.
            overlap_ms: how long the value before stays known, so that it is still scrubbed;
                `egress.secret_overlap_ms` when None.

        Raises:
            NetPolicyError: too large, or too many. NetStoreError: there is no key, or another.
        """
        self._check_size(secret)
        document = bindings_of(secret)
        scope, name, now_ns = secret.scope, secret.name, time.time_ns()
        sealed = self._sealer.seal(secret.value, document.encode())
        if overlap_ms is None:
            overlap_ms = self._limits.secret_overlap_ms
        with self._writing():
            before = self._open_secret(scope, name)
            count = self._db.execute("select count(*) from secrets").fetchone()[0]
            if before is None and count >= self._limits.secret_count_max:
                raise NetPolicyError(
                    where=f"secret {name}",
                    problem=f"is one too many: egress.secret_count_max = {count}",
                )
            former: bytes | None = None
            if before is not None and overlap_ms:
                values = [v for v in (before.value, *before.former) if v != secret.value]
                text = msgspec.json.encode(values[:_FORMER_COUNT_MAX]).decode()
                former = self._sealer.seal(text, former_of(scope, name))
            self._db.execute(
                "insert into secrets values (?, ?, ?, ?, ?, ?, ?, ?, null) "
                "on conflict (scope, name) do "
                "update set document = excluded.document, sealed = excluded.sealed, "
                "former = excluded.former, former_until_ns = excluded.former_until_ns, "
                "updated_ns = excluded.updated_ns",
                (
                    scope,
                    name,
                    document,
                    sealed,
                    former,
                    now_ns + overlap_ms * _NS_PER_MS if former else None,
                    now_ns,
                    now_ns,
                ),
            )
        return before is not None

    def rotate_secret(
        self, name: str, value: str, *, scope: str = GLOBAL_SCOPE, overlap_ms: int | None = None
    ) -> None:
        """Give a secret another value; what it is bound to stays.

        Raises:
            NetPolicyError: there is none, or the value is none. NetStoreError: see `put_secret`.
        """
        with self._lock:
            before = self._open_secret(scope, name)
            if before is None:
                raise NetPolicyError(where=f"secret {name}", problem=f"does not exist in {scope}")
            after = msgspec.structs.replace(before, value=value, former=())
            self.put_secret(after, overlap_ms=overlap_ms)

    def _check_size(self, secret: Secret) -> None:
        size = len(secret.value.encode())
        if size > self._limits.secret_limit_bytes:
            raise NetPolicyError(
                where=f"secret {secret.name}",
                problem=f"has {size} bytes; egress.secret_limit_bytes allows "
                f"{self._limits.secret_limit_bytes}",
            )

    def remove_secret(self, name: str, scope: str = GLOBAL_SCOPE) -> bool:
        """Forget a secret; return whether there was one."""
        with self._writing():
            done = self._db.execute(
                "delete from secrets where scope = ? and name = ?", (scope, name)
            ).rowcount
        return bool(done)

    # --- the log ---

    def store(self, records: Sequence[Record], dropped: int) -> None:
        """See `LogSink`."""
        marks = ", ".join("?" * len(_LOG_FIELDS))
        with self._writing(settings=False):
            self._db.executemany(
                f"insert into log ({', '.join(_LOG_FIELDS)}) values ({marks})",  # noqa: S608 - names of our own
                [tuple(getattr(record, name) for name in _LOG_FIELDS) for record in records],
            )
            if dropped:
                self._count("log_dropped", dropped)
            self._added += len(records)
            if self._added >= _TRIM_EVERY:
                self._added = 0
                self._db.execute(
                    "delete from log where id <= (select max(id) from log) - ?",
                    (self._log_row_count_max,),
                )

    def records(self, *, count: int, **which: Any) -> list[Record]:
        """Return the newest records that fit, the oldest of them first.

        `which` is as in `numbered_records`.
        """
        found = self.numbered_records(count=count, **which)
        return [record for _, record in reversed(found)]

    def numbered_records(
        self,
        *,
        host: str | None = None,
        scope: str | None = None,
        run_id: str | None = None,
        tenant: str | None = None,
        errors: bool = False,
        before: int | None = None,
        count: int,
    ) -> list[tuple[int, Record]]:
        """Return the newest records that fit, newest first, each with its number.

        Args:
            host: and the next three: of which alone, where it is not None.
            scope: the list that decided.
            run_id: the run.
            tenant: whose runs; "" for those without one.
            errors: only what was refused, failed, or has a status from 400 on.
            before: of those with a smaller number, where it is not None.
            count: how many at most.
        """
        where, values = ["1"], list[Any]()
        columns = {"host": host, "scope": scope, "run_id": run_id, "tenant": tenant}
        for column, value in columns.items():
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if errors:
            where.append("(code is not null or status >= 400)")
        if before is not None:
            where.append("id < ?")
            values.append(before)
        with self._reading():
            rows = self._db.execute(
                f"select id, {', '.join(_LOG_FIELDS)} from log where {' and '.join(where)} "  # noqa: S608 - names of our own
                "order by id desc limit ?",
                (*values, count),
            ).fetchall()
        return [(row[0], Record(**dict(zip(_LOG_FIELDS, row[1:], strict=True)))) for row in rows]

    def stats(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """Return calls, mean duration, failures and bytes for each host, the busiest first.

        `tenant` is as in `records`.
        """
        names = ("host", "calls", "failures", "denied", "cached", "duration_ms", "bytes")
        with self._reading():
            rows = self._db.execute(
                "select host, count(*), sum(outcome = 'failed' or coalesce(status, 0) >= 400), "
                "sum(outcome = 'denied'), sum(outcome = 'cached'), "
                "cast(round(avg(duration_ms)) as integer), sum(response_bytes) "
                "from log where ?1 is null or tenant = ?1 group by host order by 2 desc, 1",
                (tenant,),
            ).fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    @property
    def dropped(self) -> int:
        """How many records never reached the log."""
        return self._counter("log_dropped")

    # --- caches of the processes ---

    def clearings(self) -> int:
        """See `CacheBook`."""
        with self._lock:
            self._refresh()
            if self._clearings is None:
                self._clearings = self._counter("cache_clearings")
            return self._clearings

    def keep_stats(self, process: str, stats: Stats | None) -> None:
        """See `CacheBook`."""
        with self._writing(settings=False):
            if stats is None:
                self._db.execute("delete from caches where process = ?", (process,))
                return
            self._db.execute(
                "insert or replace into caches values (?, ?, ?)",
                (process, time.time_ns(), msgspec.json.encode(stats).decode()),
            )

    def caches(self) -> list[dict[str, Any]]:
        """Return what each living process said last of its cache: `process`, `at_ns`, `Stats`."""
        with self._reading():
            rows = self._db.execute("select * from caches order by process").fetchall()
        return [
            {"process": process, "at_ns": at_ns, **msgspec.json.decode(document)}
            for process, at_ns, document in rows
            if lives(process)
        ]

    def clear_caches(self) -> None:
        """Let every process forget its cache with its next call."""
        with self._writing():
            self._count("cache_clearings", 1)

    def _counter(self, name: str) -> int:
        with self._reading():
            found = self._db.execute(
                "select value from counters where name = ?", (name,)
            ).fetchone()
        return 0 if found is None else int(found[0])

    def _count(self, name: str, count: int) -> None:
        self._db.execute(
            "insert into counters values (?, ?) on conflict (name) "
            "do update set value = value + excluded.value",
            (name, count),
        )

    # --- the file ---

    def _refresh(self) -> None:
        """Forget what was read when somebody wrote since: `data_version` tells of others."""
        with self._told("read the store of outbound HTTP"):
            seen = self._db.execute("pragma data_version").fetchone()[0]
        if seen != self._seen:
            self._seen = seen
            self._forget()

    def _forget(self) -> None:
        self._rules.clear()
        self._opened.clear()
        self._clearings = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, self._told("read the store of outbound HTTP"):
            yield

    @contextlib.contextmanager
    def _writing(self, *, settings: bool = True) -> Iterator[None]:
        """Write in one transaction; `settings` are on the disk afterwards, the log is soon."""
        with self._lock, self._told("write the store of outbound HTTP"):
            self._db.execute(f"pragma synchronous = {'full' if settings else 'normal'}")
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")
            if settings:
                self._forget()

    @contextlib.contextmanager
    def _told(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NetStoreError(action=action, reason=f"{self._path}: {reason}") from error

"""Where shared lists, secrets and the log are kept: one SQLite file.

Owns the file and its tables. Invariants:
- readable by its owner only; the values of secrets are encrypted, with name and bindings under the
  same seal, so that a value cannot be moved to another domain by who can write the file;
- the key is not in the file: it comes from `CLOCHE_SECRET_KEY` (base64, 32 bytes), from the file
  that `CLOCHE_SECRET_KEY_FILE` names, or from a file of its own beside the user's settings;
- a list that another process changes is seen with the next call;
- one entry for a host, method and path in a scope: writing it again replaces it.

Sealed with AES-256-GCM (NIST SP 800-38D), a random nonce of 96 bits for each value.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import platformdirs

from cloche.egress.allowlist import SCOPE, Entry, RuleSet, entry_from_document
from cloche.egress.errors import NetPolicyError, NetStoreError
from cloche.egress.log import Record
from cloche.egress.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloche.limits import Limits

PATH_VARIABLE: Final = "CLOCHE_NET_STORE"
KEY_VARIABLE: Final = "CLOCHE_SECRET_KEY"
KEY_FILE_VARIABLE: Final = "CLOCHE_SECRET_KEY_FILE"

_VERSION: Final = 1
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_OWNER_ONLY: Final = 0o600
_NS_PER_MS: Final = 10**6
# The time of a secret's last use is written once in so long.
_USED_RESOLUTION_NS: Final = 10 * 10**9
# Rows are counted when so many were added, not with each.
_TRIM_EVERY: Final = 1000

_TABLES: Final = """
create table if not exists entries (
    scope text not null, position integer not null, identity text not null, document text not null,
    created_ns integer not null, primary key (scope, identity));
create table if not exists secrets (
    name text primary key, document text not null, sealed blob not null,
    former blob, former_until_ns integer, created_ns integer not null, updated_ns integer not null,
    used_ns integer);
create table if not exists log (
    id integer primary key, at_ns integer not null, run_id text not null, scope text not null,
    outcome text not null, method text not null, host text not null, path text not null,
    status integer, code text, reason text, duration_ms integer not null,
    request_bytes integer not null, response_bytes integer not null);
create index if not exists log_host on log (host, at_ns);
create table if not exists counters (name text primary key, value integer not null);
"""
_LOG_FIELDS: Final = Record.__struct_fields__


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a secret: all but its value."""

    name: str
    inject_as: str
    key: str
    domains: tuple[str, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    created_ns: int
    updated_ns: int
    used_ns: int | None
    rotating: bool


def default_path() -> Path:
    """Return the file that `CLOCHE_NET_STORE` names, else the user's."""
    named = os.environ.get(PATH_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_data_dir("cloche")) / "net.db"


class NetDatabase:
    """The file (an `EntryBook`, a `SecretBook` and a `LogSink`). Usable from any thread.

    Args:
        path: of the file; made with its folder where it is missing.
        limits: the group `egress`.
        key: of the secrets; found as above when None, and then only when a secret is touched.

    Raises:
        NetStoreError: it cannot be opened, or is of a later version.
    """

    def __init__(self, path: Path, limits: Limits, *, key: bytes | None = None) -> None:
        self._path = path
        self._limits = limits.egress
        self._key = key
        self._lock = threading.RLock()
        self._seen = -1
        self._rules: dict[str, RuleSet] = {}
        self._opened: dict[str, Secret | None] = {}
        self._used_ns: dict[str, int] = {}
        self._added = 0
        with self._told("open the store of outbound HTTP"):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, _OWNER_ONLY))
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma busy_timeout = 5000")
            self._db.execute("pragma journal_mode = wal")
            version = self._db.execute("pragma user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(_TABLES)
                self._db.execute(f"pragma user_version = {_VERSION}")
        if version > _VERSION:
            self.close()
            raise NetStoreError(
                action="open the store of outbound HTTP",
                reason=f"{path} was written by a later cloche (version {version})",
            )

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
        """Return the entries of a scope in their order."""
        with self._reading():
            rows = self._db.execute(
                "select document from entries where scope = ? order by position", (scope,)
            ).fetchall()
        return [entry_from_document(msgspec.json.decode(row[0])) for row in rows]

    def scopes(self) -> list[str]:
        """Return the names of all lists that have entries."""
        with self._reading():
            rows = self._db.execute("select distinct scope from entries order by scope")
            return [row[0] for row in rows]

    def put_entry(self, scope: str, entry: Entry) -> bool:
        """Add an entry, or replace that of the same host, methods, ports and paths in its place.

        Returns:
            whether there was one before.

        Raises:
            NetPolicyError: the scope has no valid name, or the list is full.
        """
        if not SCOPE.fullmatch(scope):
            raise NetPolicyError(where="scope", problem=f"must match {SCOPE.pattern}")
        identity = _identity(entry)
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

    def remove_entries(self, scope: str, host: str) -> int:
        """Remove all entries of a scope that name a host (canonical); return how many."""
        with self._writing():
            found = [e for e in self.entries(scope) if e.host == host]
            self._db.executemany(
                "delete from entries where scope = ? and identity = ?",
                [(scope, _identity(entry)) for entry in found],
            )
        return len(found)

    # --- secrets ---

    def secret(self, name: str) -> Secret | None:
        """See `SecretBook`."""
        with self._lock:
            self._refresh()
            if name not in self._opened:
                self._opened[name] = self._open_secret(name)
            return self._opened[name]

    def _open_secret(self, name: str) -> Secret | None:
        with self._reading():
            row = self._db.execute(
                "select document, sealed, former, former_until_ns from secrets where name = ?",
                (name,),
            ).fetchone()
        if row is None:
            return None
        document, sealed, former, until_ns = row
        aad = document.encode()
        value = self._unseal(name, sealed, aad)
        old = ()
        if former is not None and until_ns > time.time_ns():
            old = tuple(msgspec.json.decode(self._unseal(name, former, b"former " + name.encode())))
        bindings = msgspec.json.decode(document)
        return Secret(**{**_tuples(bindings), "value": value, "former": old})

    def used(self, name: str) -> None:
        """See `SecretBook`."""
        now_ns = time.time_ns()
        with self._lock:
            if now_ns - self._used_ns.get(name, 0) < _USED_RESOLUTION_NS:
                return
            self._used_ns[name] = now_ns
        with self._writing(settings=False):
            self._db.execute("update secrets set used_ns = ? where name = ?", (now_ns, name))

    def secrets(self) -> list[SecretRow]:
        """Return all secrets without their values, by name."""
        with self._reading():
            rows = self._db.execute(
                "select document, created_ns, updated_ns, used_ns, former_until_ns "
                "from secrets order by name"
            ).fetchall()
        now_ns = time.time_ns()
        return [
            SecretRow(
                **{
                    key: value
                    for key, value in _tuples(msgspec.json.decode(document)).items()
                    if key != "ports"
                },
                created_ns=created_ns,
                updated_ns=updated_ns,
                used_ns=used_ns,
                rotating=until_ns is not None and until_ns > now_ns,
            )
            for document, created_ns, updated_ns, used_ns, until_ns in rows
        ]

    def put_secret(self, secret: Secret) -> bool:
        """Keep a secret, instead of the one of that name; return whether there was one.

        The value before stays known for `egress.secret_overlap_ms`, so that it is still scrubbed.

        Raises:
            NetPolicyError: too large, or too many. NetStoreError: there is no key, or another.
        """
        size = len(secret.value.encode())
        if size > self._limits.secret_limit_bytes:
            raise NetPolicyError(
                where=f"secret {secret.name}",
                problem=f"has {size} bytes; egress.secret_limit_bytes allows "
                f"{self._limits.secret_limit_bytes}",
            )
        document = _bindings(secret)
        name, now_ns = secret.name, time.time_ns()
        sealed = self._seal(secret.value, document.encode())
        with self._writing():
            before = self._open_secret(name)
            count = self._db.execute("select count(*) from secrets").fetchone()[0]
            if before is None and count >= self._limits.secret_count_max:
                raise NetPolicyError(
                    where=f"secret {name}",
                    problem=f"is one too many: egress.secret_count_max = {count}",
                )
            former: bytes | None = None
            if before is not None:
                values = [v for v in (before.value, *before.former) if v != secret.value][:8]
                text = msgspec.json.encode(values).decode()
                former = self._seal(text, b"former " + name.encode())
            self._db.execute(
                "insert into secrets values (?, ?, ?, ?, ?, ?, ?, null) on conflict (name) do "
                "update set document = excluded.document, sealed = excluded.sealed, "
                "former = excluded.former, former_until_ns = excluded.former_until_ns, "
                "updated_ns = excluded.updated_ns",
                (
                    name,
                    document,
                    sealed,
                    former,
                    now_ns + self._limits.secret_overlap_ms * _NS_PER_MS if former else None,
                    now_ns,
                    now_ns,
                ),
            )
        return before is not None

    def remove_secret(self, name: str) -> bool:
        """Forget a secret; return whether there was one."""
        with self._writing():
            done = self._db.execute("delete from secrets where name = ?", (name,)).rowcount
        return bool(done)

    def _seal(self, value: str, bound_to: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._cipher().encrypt(nonce, value.encode(), bound_to)
        return nonce + sealed

    def _unseal(self, name: str, sealed: bytes, bound_to: bytes) -> Any:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - slow to import

        cipher = self._cipher()
        try:
            text: str = cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to
            ).decode()
        except (InvalidTag, ValueError):
            raise NetStoreError(
                action=f"open the secret {name!r}",
                reason="it was sealed with another key, or changed since",
            ) from None
        return text

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - slow

        if self._key is None:
            self._key = load_key()
        return AESGCM(self._key)

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
                self._db.execute(
                    "insert into counters values ('log_dropped', ?) on conflict (name) "
                    "do update set value = value + excluded.value",
                    (dropped,),
                )
            self._added += len(records)
            if self._added >= _TRIM_EVERY:
                self._added = 0
                self._db.execute(
                    "delete from log where id <= (select max(id) from log) - ?",
                    (self._limits.log_row_count_max,),
                )

    def records(
        self, *, host: str | None = None, scope: str | None = None, errors: bool = False, count: int
    ) -> list[Record]:
        """Return the newest records that fit, the oldest of them first."""
        where, values = ["1"], list[Any]()
        for column, value in (("host", host), ("scope", scope)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if errors:
            where.append("(code is not null or status >= 400)")
        with self._reading():
            rows = self._db.execute(
                f"select {', '.join(_LOG_FIELDS)} from log where {' and '.join(where)} "  # noqa: S608 - names of our own
                "order by id desc limit ?",
                (*values, count),
            ).fetchall()
        return [Record(**dict(zip(_LOG_FIELDS, row, strict=True))) for row in reversed(rows)]

    def stats(self) -> list[dict[str, Any]]:
        """Return calls, mean duration, failures and bytes for each host, the busiest first."""
        names = ("host", "calls", "failures", "denied", "cached", "duration_ms", "bytes")
        with self._reading():
            rows = self._db.execute(
                "select host, count(*), sum(outcome = 'failed' or coalesce(status, 0) >= 400), "
                "sum(outcome = 'denied'), sum(outcome = 'cached'), "
                "cast(round(avg(duration_ms)) as integer), sum(response_bytes) "
                "from log group by host order by 2 desc, 1"
            ).fetchall()
        return [dict(zip(names, row, strict=True)) for row in rows]

    @property
    def dropped(self) -> int:
        """How many records never reached the log."""
        with self._reading():
            row = self._db.execute("select value from counters where name = 'log_dropped'")
            found = row.fetchone()
        return 0 if found is None else int(found[0])

    # --- the file ---

    def _refresh(self) -> None:
        """Forget what was read when somebody wrote since: `data_version` tells of others."""
        with self._told("read the store of outbound HTTP"):
            seen = self._db.execute("pragma data_version").fetchone()[0]
        if seen != self._seen:
            self._seen = seen
            self._rules.clear()
            self._opened.clear()

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
                self._rules.clear()
                self._opened.clear()

    @contextlib.contextmanager
    def _told(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NetStoreError(action=action, reason=f"{self._path}: {reason}") from error


def load_key() -> bytes:
    """Return the key of secrets, making the user's own on first use.

    Raises:
        NetStoreError: what the environment names is no key, or cannot be read.
    """
    text = os.environ.get(KEY_VARIABLE)
    if text:
        return _key_of(text, KEY_VARIABLE)
    named = os.environ.get(KEY_FILE_VARIABLE)
    path = Path(named) if named else Path(platformdirs.user_config_dir("cloche")) / "secret.key"
    try:
        if not named and not path.exists():
            _make_key(path)
        return _key_of(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise NetStoreError(action=f"read the key of secrets {path}", reason=reason) from error


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n"
    # Under another name first: a key that is half written would be a key that is lost.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()


def _key_of(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise NetStoreError(
            action="use the key of secrets",
            reason=f"{where} must hold {_KEY_BYTES} bytes as base64 "
            "(`head -c 32 /dev/urandom | base64`)",
        )
    return key


def _identity(entry: Entry) -> str:
    return msgspec.json.encode(
        [entry.host, sorted(entry.methods), sorted(entry.paths), sorted(entry.ports)]
    ).decode()


def _bindings(secret: Secret) -> str:
    document = msgspec.to_builtins(secret)
    for name in ("value", "former"):
        del document[name]
    return msgspec.json.encode(document, order="sorted").decode()


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}

"""The storage of apps as effects: what the host gives to the runs of one app.

    storage = Storage(tables, databases, streams, limits, now_ns=time.time_ns)
    runner.execute(request, handlers={**others, **storage.handlers("shop", tenant="acme")})

A handler knows its app by what it was made with; nothing that a guest says can name another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.blobs import Blobs
from cloche.apps.storage.calls import NS_PER_MS, Call, Operation, perform
from cloche.apps.storage.docs import Docs
from cloche.apps.storage.errors import AppStorageError, StorageTimeError
from cloche.apps.storage.job_desk import JobDesk
from cloche.apps.storage.jobs import Jobs
from cloche.apps.storage.kv import Kv
from cloche.apps.storage.rows import JobRow, app_name
from cloche.apps.storage.sql import Sql
from cloche.gate.effect import idempotency_key
from cloche.gate.ports import EffectFailure
from cloche.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloche.apps.storage.ports import AppTables, BlobStreams
    from cloche.apps.storage.sql import SqlDatabases
    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits

KINDS: Final = ("kv", "docs", "blobs", "sql", "jobs")
_TOLD: Final = ("spawn", "cancel")


class Storage:
    """The storage of all apps.

    Args:
        tables: where keys, documents, paths and jobs are kept.
        databases: where SQL is.
        streams: blobs that are written and read in parts.
        limits: the groups `apps` and `gate`.
        now_ns: the wall clock.
        monotonic_ns: the clock that runs end by.
    """

    def __init__(
        self,
        tables: AppTables,
        databases: SqlDatabases,
        streams: BlobStreams,
        limits: Limits,
        *,
        now_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._left_min_ms = limits.apps.storage_left_min_ms
        self._tables = tables
        self.databases = databases
        self._streams = streams
        self._now_ns = now_ns
        self.desk = JobDesk(tables, limits)
        self._listeners: list[Callable[[], None]] = []
        self._kinds: dict[str, Mapping[str, Operation]] = {
            "kv": Kv(tables, limits).operations,
            "docs": Docs(tables, limits).operations,
            "blobs": Blobs(tables, streams, limits).operations,
            "sql": Sql(databases, limits).operations,
            "jobs": Jobs(tables, limits).operations,
        }

    def handlers(
        self,
        app_id: str,
        *,
        tenant: str = "",
        job: JobRow | None = None,
        timeout_ms: int | None = None,
    ) -> dict[str, StorageHandler]:
        """Return who performs the effects of one app's run, by kind.

        Args:
            app_id: 1 to 100 bytes.
            tenant: whose app it is; the same id of another tenant is another app.
            job: the claimed job that the run is, if it is one.
            timeout_ms: when the run ends, from now on. Close to it nothing is begun any more, and
                SQL gets half of what is left.

        Raises:
            StorageArgumentsError: the app has no name that can be kept.
        """
        caller = _Caller(
            app=app_name(app_id, tenant),
            job=job,
            now_ns=self._now_ns,
            left_ms=self._clock_to_end(timeout_ms),
            left_min_ms=self._left_min_ms,
        )
        return {
            kind: StorageHandler(kind, operations, caller, self._tell if kind == "jobs" else None)
            for kind, operations in self._kinds.items()
        }

    def _clock_to_end(self, timeout_ms: int | None) -> Callable[[], int] | None:
        if timeout_ms is None:
            return None
        ends_ns = self._monotonic_ns() + timeout_ms * NS_PER_MS
        return lambda: max(0, ends_ns - self._monotonic_ns()) // NS_PER_MS

    def on_job(self, listener: Callable[[], None]) -> None:
        """Call a function, from any thread, after each job that was made or cancelled here."""
        self._listeners.append(listener)

    def _tell(self, target: str) -> None:
        if target in _TOLD:
            for listener in self._listeners:
                listener()

    def remove_app(self, app_id: str, *, tenant: str = "") -> int:
        """Remove everything that an app keeps; return how many rows that were.

        Raises:
            StoreError: what the database cannot do; part may be gone, call it again.
        """
        app = app_name(app_id, tenant)
        count = int(self.databases.remove(app))
        while removed := self._tables.remove_app(app, limit=1000):
            count += removed
        return count

    def close(self) -> None:
        """Let go of what is open; the store is the caller's."""
        self.databases.close()
        self._streams.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    """The run that handlers are for."""

    app: str
    job: JobRow | None
    now_ns: Callable[[], int]
    left_ms: Callable[[], int] | None
    left_min_ms: int

    def time_ms(self) -> int | None:
        """Return what an effect may take: at most half of what is left.

        Raises:
            StorageTimeError: that is too little to begin.
        """
        if self.left_ms is None:
            return None
        left_ms = self.left_ms()
        if left_ms < self.left_min_ms:
            raise StorageTimeError(left_ms=left_ms, needed_ms=self.left_min_ms)
        return max(left_ms // 2, 1)

    def call(self, request: EffectRequest, run_id: str) -> Call:
        """Return an effect of this run."""
        return Call(
            app=self.app,
            key=idempotency_key(run_id, request),
            now_ns=self.now_ns(),
            run_id=run_id,
            job=self.job,
            time_ms=self.time_ms(),
        )


class StorageHandler:
    """The port `EffectHandler`, for one kind and one app."""

    def __init__(
        self,
        kind: str,
        operations: Mapping[str, Operation],
        caller: _Caller,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._kind = kind
        self._operations = operations
        self._caller = caller
        self._tell = tell

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform an effect of this kind; see the module of the kind.

        Raises:
            EffectFailure: the app did something wrong, has used what it may, or the store cannot.
        """
        try:
            call = self._caller.call(request, run_id)
            value = perform(self._kind, self._operations, call, request.target, request.args)
        except AppStorageError as error:
            raise EffectFailure(error.code, error.message, retryable=error.retryable) from error
        except StoreError as error:
            # What a database says of itself is for the people who run it, not for the app.
            message = "the storage cannot do this now"
            raise EffectFailure(
                "STORAGE_UNAVAILABLE", message, retryable=error.retryable
            ) from error
        if self._tell is not None:
            self._tell(request.target)
        return value

"""The storage of apps as effects: what the host gives to the runs of one app.

    storage = Storage(tables, databases, streams, limits, now_ns=time.time_ns)
    runner.execute(request, handlers={**others, **storage.handlers("shop", tenant="acme")})

A handler knows its app by what it was made with; nothing that a guest says can name another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloche.apps.storage.blobs import Blobs
from cloche.apps.storage.calls import Call, Operation, perform
from cloche.apps.storage.docs import Docs
from cloche.apps.storage.errors import AppStorageError
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
    """

    def __init__(
        self,
        tables: AppTables,
        databases: SqlDatabases,
        streams: BlobStreams,
        limits: Limits,
        *,
        now_ns: Callable[[], int],
    ) -> None:
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
        self, app_id: str, *, tenant: str = "", job: JobRow | None = None
    ) -> dict[str, StorageHandler]:
        """Return who performs the effects of one app's run, by kind.

        Args:
            app_id: 1 to 100 bytes.
            tenant: whose app it is; the same id of another tenant is another app.
            job: the claimed job that the run is, if it is one.

        Raises:
            StorageArgumentsError: the app has no name that can be kept.
        """
        app = app_name(app_id, tenant)
        return {
            kind: StorageHandler(
                kind, operations, app, job, self._now_ns, self._tell if kind == "jobs" else None
            )
            for kind, operations in self._kinds.items()
        }

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


class StorageHandler:
    """The port `EffectHandler`, for one kind and one app."""

    def __init__(
        self,
        kind: str,
        operations: Mapping[str, Operation],
        app: str,
        job: JobRow | None,
        now_ns: Callable[[], int],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._kind = kind
        self._tell = tell
        self._operations = operations
        self._app = app
        self._job = job
        self._now_ns = now_ns

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform an effect of this kind; see the module of the kind.

        Raises:
            EffectFailure: the app did something wrong, has used what it may, or the store cannot.
        """
        call = Call(
            app=self._app,
            key=idempotency_key(run_id, request),
            now_ns=self._now_ns(),
            run_id=run_id,
            job=self._job,
        )
        try:
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

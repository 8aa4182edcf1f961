"""Requests of apps that can be run again: what was asked, and the journal of the run.

A recorded request is a run of the store whose id is that of the request, and an entry in a list of
its app. Invariants:
- the journal is kept before the entry that names it;
- of each app the newest `apps.recorded_count_max` are kept, as far as their journals have no more
  than `apps.recorded_limit_bytes`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.apps.errors import RecordingUnknownError
from cloche.exec.adapters.session_store import read_records
from cloche.gate.journal import encode_file
from cloche.store.rows import Document, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.apps.routing import AppName
    from cloche.limits import Limits
    from cloche.store.ports import Store

_KIND: Final = "apps.requests."
_TIME_DIGITS: Final = 20
_PAGE: Final = 1000
NS_PER_MS: Final = 1_000_000


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a recorded request without its journal.

    Args:
        id: of the request, and of its run.
        app: `tenant/name`.
        env: the environment that it ran with: a replay needs the same.
        code: of what went wrong; empty when nothing did.
        kind: `fetch`, or the handler that was called.
        journal_bytes: size of its journal.
    """

    id: str
    app: str
    version: str
    env: dict[str, str]
    created_ms: int
    duration_ms: float
    method: str = ""
    target: str = ""
    status: int = 0
    code: str = ""
    kind: str = "fetch"
    journal_bytes: int = 0


class KeptRecords:
    """The journal of a run, in memory until it is known whether it is kept (a `JournalSink`).

    Args:
        limit_bytes: of all its records; one that grows larger is not held at all.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.records: list[bytes] = []
        self.size_bytes = 0
        self._limit_bytes = limit_bytes

    @property
    def is_too_large(self) -> bool:
        """Whether there was more than is held."""
        return self.size_bytes > self._limit_bytes

    def append(self, records: Sequence[bytes]) -> None:
        """See `JournalSink`."""
        self.size_bytes += sum(map(len, records))
        if self.is_too_large:
            self.records.clear()
        else:
            self.records.extend(records)

    def close(self) -> None:
        """See `JournalSink`."""


class Recordings:
    """The recorded requests of all apps of one store.

    Args:
        store: where they are kept.
        limits: the group `apps`.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits.apps
        self._names: dict[AppName, dict[str, int]] = {}  # with the sizes of their journals
        self._lock = threading.Lock()

    def keep(
        self, app: AppName, request: RecordedRequest, records: Sequence[bytes], *, language: str
    ) -> None:
        """Keep a request with its journal."""
        size_bytes = sum(map(len, records))
        request = msgspec.structs.replace(request, journal_bytes=size_bytes)
        created_ns = request.created_ms * NS_PER_MS
        ended_ns = created_ns + int(request.duration_ms * NS_PER_MS)
        data = msgspec.json.encode(request)
        self._store.runs.create(
            Run(
                id=request.id,
                language=language,
                status="failed" if request.code else "completed",
                created_ns=created_ns,
                started_ns=created_ns,
                ended_ns=ended_ns,
                request=data,
            )
        )
        self._store.journals.append(request.id, records, expected_count=0)
        name = f"{created_ns:0{_TIME_DIGITS}}-{request.id}"
        self._known(app)
        self._store.documents.put(Document(kind=f"{_KIND}{app}", name=name, data=data))
        for old in self._added(app, name, size_bytes):
            self._drop(app, old)

    def _added(self, app: AppName, name: str, size_bytes: int) -> list[str]:
        """Note one more, and return those that have to go for it; never the new one."""
        with self._lock:
            names = self._names.setdefault(app, {})
            names[name] = size_bytes
            total_bytes, gone = sum(names.values()), []
            for old, old_bytes in list(names.items())[:-1]:
                is_full = total_bytes > self._limits.recorded_limit_bytes
                if not is_full and len(names) <= self._limits.recorded_count_max:
                    break
                total_bytes -= old_bytes
                del names[old]
                gone.append(old)
            return gone

    def _known(self, app: AppName) -> list[str]:
        with self._lock:
            names = self._names.get(app)
        if names is None:
            names, after = {}, ""
            while page := self._store.documents.list(f"{_KIND}{app}", after=after, limit=_PAGE):
                for each in page:
                    found = msgspec.json.decode(each.data, type=RecordedRequest)
                    names[each.name] = found.journal_bytes
                after = page[-1].name
            with self._lock:
                names = self._names.setdefault(app, names)
        with self._lock:
            return list(names)

    def _drop(self, app: AppName, name: str) -> None:
        self._store.documents.remove(f"{_KIND}{app}", name)
        self._store.runs.delete(name.rpartition("-")[2])

    def page(self, app: AppName, *, limit: int = 100) -> list[RecordedRequest]:
        """Return recorded requests of an app, newest first."""
        names = self._known(app)[-limit:]
        found = (self._store.documents.get(f"{_KIND}{app}", name) for name in reversed(names))
        return [
            msgspec.json.decode(each.data, type=RecordedRequest)
            for each in found
            if each is not None
        ]

    def ids(self, app: AppName, beginning: str) -> list[str]:
        """Return the ids of recorded requests of an app that begin so."""
        ids = (name.rpartition("-")[2] for name in self._known(app))
        return [each for each in ids if each.startswith(beginning)]

    def find(self, request_id: str) -> RecordedRequest:
        """Return a recorded request of any app.

        Raises:
            RecordingUnknownError: there is none of this id.
        """
        row = self._store.runs.get(request_id)
        try:
            if row is not None:
                return msgspec.json.decode(row.request, type=RecordedRequest)
        except msgspec.ValidationError:
            pass  # a run that is no request of an app
        raise RecordingUnknownError(id=request_id)

    def journal(self, request_id: str) -> bytes:
        """Return the journal of a recorded request, as a file has it.

        Raises:
            RecordingUnknownError: there is none.
        """
        records = read_records(self._store, request_id)
        if not records:
            raise RecordingUnknownError(id=request_id)
        return encode_file(records)

    def remove(self, app: AppName) -> None:
        """Forget all requests of an app."""
        for name in self._known(app):
            self._drop(app, name)
        self._names.pop(app, None)

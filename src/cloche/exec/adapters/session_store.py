"""Journals in a session store: written as a run goes on, read back as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cloche.gate.journal import Record, encode_file, load_journal
from cloche.store.rows import JournalAppend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.store.ports import Store

_FINISHED: Final = "run_finished"
_PAGE: Final = 1000


class _Kind(msgspec.Struct, frozen=True):
    """What an entry is, and nothing else of it."""

    entry: str


_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_kind = msgspec.msgpack.Decoder(_Kind).decode


class StoreSink:
    """Keeps the records of one run (a `JournalSink`).

    Args:
        store: where.
        run_id: whose.
        index: how many records are there already.
    """

    def __init__(self, store: Store, run_id: str, *, index: int = 0) -> None:
        self._store = store
        self._run_id = run_id
        self.count = index

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records; they are durable on return."""
        self.count = self._store.journals.append(self._run_id, records, expected_count=self.count)

    def close(self) -> None:
        """Nothing is held."""


class RunSink:
    """Keeps the records of a run together with its row (a `JournalSink`).

    The first ones are kept when the run is: both are one change. The end of the run is held, and
    handed out to be kept with what the run comes to; until then the run goes on, for the store.

    Args:
        store: where.
        run_id: whose.
        begin: keeps a new run with its first records; None for a run that goes on.
        index: how many records are there already.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        begin: Callable[[Sequence[bytes]], None] | None = None,
        index: int = 0,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._begin = begin
        self._count = index
        self._held: tuple[bytes, ...] = ()

    @property
    def has_begun(self) -> bool:
        """Whether the run is kept."""
        return self._begin is None

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records; they are durable on return, unless they end the run."""
        if self._begin is not None:
            self._begin(records)
            self._begin = None
        elif _decode_kind(_decode_record(records[-1]).body).entry == _FINISHED:
            self._held = tuple(records)
            return
        else:
            self._store.journals.append(self._run_id, records, expected_count=self._count)
        self._count += len(records)

    def end(self) -> JournalAppend | None:
        """Return what is held; the caller keeps it."""
        if not self._held:
            return None
        held, self._held = self._held, ()
        return JournalAppend(run_id=self._run_id, entries=held, expected_count=self._count)

    def close(self) -> None:
        """Nothing is held that its run does not take."""


def read_records(store: Store, run_id: str) -> list[bytes]:
    """Return all encoded records of a run's journal."""
    records: list[bytes] = []
    while page := store.journals.read(run_id, start=len(records), limit=_PAGE):
        records += page
        if len(page) < _PAGE:
            break
    return records


def read_run_journal(store: Store, run_id: str, limits: Limits) -> Journal | None:
    """Return the journal of a run, verified; None where it has not begun.

    Raises:
        JournalError: it was changed.
    """
    records = read_records(store, run_id)
    return load_journal(encode_file(records), limits) if records else None

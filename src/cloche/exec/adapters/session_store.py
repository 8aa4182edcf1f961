"""Journals in a session store: written as a run goes on, read back as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.gate.journal import encode_file, load_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.store.ports import Store


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


def read_records(store: Store, run_id: str) -> list[bytes]:
    """Return all encoded records of a run's journal."""
    records: list[bytes] = []
    while page := store.journals.read(run_id, start=len(records)):
        records += page
    return records


def read_run_journal(store: Store, run_id: str, limits: Limits) -> Journal | None:
    """Return the journal of a run, verified; None where it has not begun.

    Raises:
        JournalError: it was changed.
    """
    records = read_records(store, run_id)
    return load_journal(encode_file(records), limits) if records else None

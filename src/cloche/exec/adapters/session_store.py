"""Journals in a session store: written as a run goes on, read back as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.gate.journal import encode_file, load_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.exec.session_ports import SessionStore
    from cloche.gate.journal import Journal
    from cloche.limits import Limits


class StoreSink:
    """Keeps the records of one run (a `JournalSink`).

    Args:
        store: where.
        run_id: whose.
        index: how many records are there already.
    """

    def __init__(self, store: SessionStore, run_id: str, *, index: int = 0) -> None:
        self._store = store
        self._run_id = run_id
        self.count = index

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records; they are durable on return."""
        self._store.append_journal(self._run_id, self.count, records)
        self.count += len(records)

    def close(self) -> None:
        """Nothing is held."""


def read_run_journal(store: SessionStore, run_id: str, limits: Limits) -> Journal:
    """Return the journal of a run, verified.

    Raises:
        JournalError: it was changed, or is not there.
    """
    return load_journal(encode_file(store.read_journal(run_id)), limits)

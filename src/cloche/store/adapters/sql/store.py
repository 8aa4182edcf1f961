"""A whole store in one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.store.adapters.sql.blobs import SqlBlobs
from cloche.store.adapters.sql.journals import SqlJournals
from cloche.store.adapters.sql.migrate import migrate
from cloche.store.adapters.sql.records import SqlAudit, SqlDocuments
from cloche.store.adapters.sql.runs import SqlRuns
from cloche.store.adapters.sql.sessions import SqlLeases, SqlSessions
from cloche.store.adapters.sql.waits import SqlApprovals, SqlPromises, SqlTimers

if TYPE_CHECKING:
    from cloche.store.adapters.sql.database import Database


class SqlStore:
    """The port `Store`. It owns the database: closing one closes the other.

    Raises (on construction):
        StoreVersionError, StoreForeignError: the database is not one that this cloche can use.
        StoreError: what the database cannot do. It is closed.
    """

    def __init__(self, database: Database) -> None:
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        self.database = database
        self.url = database.name
        self.sessions = SqlSessions(database)
        self.leases = SqlLeases(database)
        self.runs = SqlRuns(database)
        self.journals = SqlJournals(database)
        self.blobs = SqlBlobs(database)
        self.promises = SqlPromises(database)
        self.timers = SqlTimers(database)
        self.approvals = SqlApprovals(database)
        self.audit = SqlAudit(database)
        self.documents = SqlDocuments(database)

    def close(self) -> None:
        """Close all connections; a second call does nothing."""
        self.database.close()
        self.journals.close()

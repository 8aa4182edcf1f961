"""The audit and documents, as rows, and what changes them together with approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, select, update

from cloche.store.adapters.sql.common import Rows
from cloche.store.adapters.sql.schema import audit_entries, documents
from cloche.store.checks import check_document, check_page
from cloche.store.errors import StoreChangedError
from cloche.store.rows import AuditHead, AuditRow, Document, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection


class SqlAudit(Rows):
    """The port `AuditTable`."""

    def head(self) -> AuditHead:
        """Return where the audit ends."""
        return self.database.read(audit_head)

    def read(self, *, start: int = 0, limit: int = 1000) -> Sequence[AuditRow]:
        """Return rows from an index on."""
        check_page(limit, self.limits)
        columns = audit_entries.c
        query = select(columns.run_id, columns.data, columns.hash)
        query = query.where(columns.ordinal >= start).order_by(columns.ordinal).limit(limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [AuditRow(**row._mapping) for row in rows]


class SqlDocuments(Rows):
    """The port `DocumentTable`."""

    def get(self, kind: str, name: str) -> Document | None:
        """Return a document."""
        check_id("kind", kind)
        check_id("name", name)
        query = select(documents).where(_is(kind, name))
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else Document(**row._mapping)

    def put(self, document: Document) -> None:
        """Keep a document."""
        check_document("document.data", document.data, self.limits)
        self.database.write(lambda connection: put_document(connection, document))

    def list(self, kind: str, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """Return the documents of a kind in the order of their names."""
        check_id("kind", kind)
        check_page(limit, self.limits)
        query = select(documents).where(and_(documents.c.kind == kind, documents.c.name > after))
        query = query.order_by(documents.c.name).limit(limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [Document(**row._mapping) for row in rows]

    def remove(self, kind: str, name: str, *, revision: int | None = None) -> bool:
        """Remove a document."""
        check_id("kind", kind)
        check_id("name", name)
        chosen = _is(kind, name)
        if revision is not None:
            chosen = and_(chosen, documents.c.revision == revision)
        statement = delete(documents).where(chosen)
        return self.database.write(lambda connection: connection.execute(statement).rowcount > 0)


def audit_head(connection: Connection) -> AuditHead:
    """Return where the audit ends."""
    columns = audit_entries.c
    query = select(columns.ordinal, columns.hash).order_by(columns.ordinal.desc()).limit(1)
    row: Any = connection.execute(query).first()
    return AuditHead() if row is None else AuditHead(count=row.ordinal + 1, hash=row.hash)


def append_audit(connection: Connection, rows: Sequence[AuditRow], expected_count: int) -> None:
    """Add rows behind so many others.

    Raises:
        StoreChangedError: there are more, or fewer. Two who pass this check at the same time meet
            at the primary key; the later one then runs again, and is told here.
    """
    found = audit_head(connection).count
    if found != expected_count:
        raise StoreChangedError(
            what="audit", id="audit", expected=f"{expected_count} rows", found=f"{found}"
        )
    values = [
        {"ordinal": ordinal, "run_id": row.run_id, "data": row.data, "hash": row.hash}
        for ordinal, row in enumerate(rows, expected_count)
    ]
    connection.execute(insert(audit_entries), values)


def put_document(connection: Connection, document: Document) -> None:
    """Keep a document in the place of the revision before it.

    Raises:
        StoreChangedError: another revision is kept.
    """
    chosen = _is(document.kind, document.name)
    query = select(documents.c.revision).where(chosen).with_for_update()
    found = connection.execute(query).scalar() or 0
    if found != document.revision - 1:
        raise StoreChangedError(
            what="document",
            id=document.name,
            expected=f"revision {document.revision - 1}",
            found=f"{found}",
        )
    values = {"data": document.data, "revision": document.revision}
    if found:
        connection.execute(update(documents).where(chosen).values(values))
    else:
        keys = {"kind": document.kind, "name": document.name}
        connection.execute(insert(documents), {**keys, **values})


def _is(kind: str, name: str) -> Any:
    return and_(documents.c.kind == kind, documents.c.name == name)

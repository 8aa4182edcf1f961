"""The audit and documents, as rows, and what changes them together with approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, insert, select, update

from cloche.store.adapters.sql.common import Rows, by_key, named
from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.schema import audit_entries, documents
from cloche.store.checks import check_document, check_page
from cloche.store.errors import StoreChangedError
from cloche.store.rows import AuditHead, AuditRow, Document, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

_entries = audit_entries.c
_AUDIT_FIELDS: Final = ("run_id", "data", "hash")
_AUDIT_HEAD: Final = Prepared(
    select(_entries.ordinal, _entries.hash).order_by(_entries.ordinal.desc()).limit(1)
)
_AUDIT: Final = Prepared(
    select(_entries.run_id, _entries.data, _entries.hash)
    .where(_entries.ordinal >= bindparam("start"))
    .order_by(_entries.ordinal)
    .limit(bindparam("most"))
)
_ADD_AUDIT: Final = Prepared(insert(audit_entries))
_FIELDS: Final = tuple(column.name for column in documents.columns)
_GET: Final = Prepared(by_key(documents, "kind", "name"))
_ADD: Final = Prepared(insert(documents))
_IS: Final = and_(documents.c.kind == bindparam("of_kind"), documents.c.name == bindparam("named"))
_REVISION: Final = Prepared(select(documents.c.revision).where(_IS).with_for_update())
_REPLACE: Final = Prepared(update(documents).where(_IS))
_REMOVE: Final = Prepared(delete(documents).where(_IS))
_REMOVE_REVISION: Final = Prepared(
    delete(documents).where(and_(_IS, documents.c.revision == bindparam("its_revision")))
)
_PAGE: Final = Prepared(
    select(documents)
    .where(and_(documents.c.kind == bindparam("of_kind"), documents.c.name > bindparam("after")))
    .order_by(documents.c.name)
    .limit(bindparam("most"))
)


class SqlAudit(Rows):
    """The port `AuditTable`."""

    def head(self) -> AuditHead:
        """Return where the audit ends."""
        return _head_of(self.database.first(_AUDIT_HEAD, {}))

    def read(self, *, start: int = 0, limit: int = 1000) -> Sequence[AuditRow]:
        """Return rows from an index on."""
        check_page(limit, self.limits)
        values = {"start": start, "most": limit}
        rows = self.database.rows(_AUDIT, values)
        return [AuditRow(**named(_AUDIT_FIELDS, row)) for row in rows]


class SqlDocuments(Rows):
    """The port `DocumentTable`."""

    def get(self, kind: str, name: str) -> Document | None:
        """Return a document."""
        check_id("kind", kind)
        check_id("name", name)
        values = {"kind": kind, "name": name}
        row = self.database.first(_GET, values)
        return None if row is None else Document(**named(_FIELDS, row))

    def put(self, document: Document) -> None:
        """Keep a document."""
        check_document("document.data", document.data, self.limits)
        self.database.write(lambda connection: put_document(connection, document))

    def list(self, kind: str, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """Return the documents of a kind in the order of their names."""
        check_id("kind", kind)
        check_page(limit, self.limits)
        values = {"of_kind": kind, "after": after, "most": limit}
        rows = self.database.rows(_PAGE, values)
        return [Document(**named(_FIELDS, row)) for row in rows]

    def remove(self, kind: str, name: str, *, revision: int | None = None) -> bool:
        """Remove a document."""
        check_id("kind", kind)
        check_id("name", name)
        values: dict[str, Any] = {"of_kind": kind, "named": name}
        statement = _REMOVE
        if revision is not None:
            statement, values = _REMOVE_REVISION, {**values, "its_revision": revision}
        return self.database.write(lambda connection: statement.change(connection, values) > 0)


def audit_head(connection: Connection) -> AuditHead:
    """Return where the audit ends."""
    return _head_of(_AUDIT_HEAD.first(connection, {}))


def _head_of(last: Sequence[Any] | None) -> AuditHead:
    return AuditHead() if last is None else AuditHead(count=last[0] + 1, hash=last[1])


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
    _ADD_AUDIT.change_all(connection, values)


def put_document(connection: Connection, document: Document) -> None:
    """Keep a document in the place of the revision before it.

    Raises:
        StoreChangedError: another revision is kept.
    """
    key = {"of_kind": document.kind, "named": document.name}
    found = _REVISION.value(connection, key) or 0
    if found != document.revision - 1:
        raise StoreChangedError(
            what="document",
            id=document.name,
            expected=f"revision {document.revision - 1}",
            found=f"{found}",
        )
    values = {"data": document.data, "revision": document.revision}
    if found:
        _REPLACE.change(connection, {**key, **values})
    else:
        _ADD.change(connection, {"kind": document.kind, "name": document.name, **values})

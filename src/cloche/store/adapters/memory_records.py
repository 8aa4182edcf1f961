"""The audit and documents in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.store.adapters.memory_state import Part
from cloche.store.checks import check_document, check_page
from cloche.store.errors import StoreChangedError
from cloche.store.rows import AuditHead, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.store.adapters.memory_state import State
    from cloche.store.rows import AuditRow, Document


class MemoryAudit(Part):
    """The port `AuditTable`."""

    def head(self) -> AuditHead:
        """Return where the audit ends."""
        with self._state() as state:
            if not state.audit:
                return AuditHead()
            return AuditHead(count=len(state.audit), hash=state.audit[-1].hash)

    def read(self, *, start: int = 0, limit: int = 1000) -> Sequence[AuditRow]:
        """Return rows from an index on."""
        check_page(limit, self.limits)
        with self._state() as state:
            return state.audit[start : start + limit]


class MemoryDocuments(Part):
    """The port `DocumentTable`."""

    def get(self, kind: str, name: str) -> Document | None:
        """Return a document."""
        check_id("kind", kind)
        check_id("name", name)
        with self._state() as state:
            return state.documents.get((kind, name))

    def put(self, document: Document) -> None:
        """Keep a document."""
        check_document("document.data", document.data, self.limits)
        with self._state() as state:
            check_revision(state, document)
            state.documents[document.kind, document.name] = document

    def list(self, kind: str, *, after: str = "", limit: int = 100) -> Sequence[Document]:
        """Return the documents of a kind in the order of their names."""
        check_id("kind", kind)
        check_page(limit, self.limits)
        with self._state() as state:
            rows = [row for row in state.documents.values() if row.kind == kind]
            behind = (row for row in rows if row.name.encode() > after.encode())
            return sorted(behind, key=lambda row: row.name.encode())[:limit]

    def remove(self, kind: str, name: str, *, revision: int | None = None) -> bool:
        """Remove a document."""
        check_id("kind", kind)
        check_id("name", name)
        with self._state() as state:
            found = state.documents.get((kind, name))
            if found is None or revision not in (None, found.revision):
                return False
            del state.documents[kind, name]
            return True


def check_audit(state: State, expected_count: int) -> None:
    """Raise unless the audit has so many rows."""
    found = len(state.audit)
    if found != expected_count:
        raise StoreChangedError(
            what="audit", id="audit", expected=f"{expected_count} rows", found=f"{found}"
        )


def check_revision(state: State, document: Document) -> None:
    """Raise unless a document follows the one that is kept."""
    kept = state.documents.get((document.kind, document.name))
    found = 0 if kept is None else kept.revision
    if found != document.revision - 1:
        raise StoreChangedError(
            what="document",
            id=document.name,
            expected=f"revision {document.revision - 1}",
            found=f"{found}",
        )

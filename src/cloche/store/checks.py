"""What every store checks before it keeps anything, and how it cuts contents into chunks.

Pure. The functions raise and return nothing, or yield pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloche.store.errors import StoreInvalidError, StoreTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cloche.limits import Limits
    from cloche.store.rows import (
        Approval,
        ApprovalChange,
        JournalAppend,
        Run,
        Session,
        Snapshot,
        Step,
    )


def check_page(limit: int, limits: Limits) -> None:
    """Raise unless a page may have this many rows.

    Raises:
        StoreInvalidError: out of its range.
    """
    most = limits.store.page_count_max
    if not 1 <= limit <= most:
        raise StoreInvalidError(where="limit", problem=f"is {limit}; it must be 1 to {most}")


def check_document(what: str, document: bytes, limits: Limits) -> None:
    """Raise unless a document may be kept.

    Raises:
        StoreInvalidError: it is not bytes.
        StoreTooLargeError: it is over `store.document_limit_bytes`.
    """
    if not isinstance(document, bytes):
        raise StoreInvalidError(where=what, problem=f"is {type(document).__name__}, not bytes")
    most = limits.store.document_limit_bytes
    if len(document) > most:
        raise StoreTooLargeError(
            what=what,
            limit="store.document_limit_bytes",
            limit_bytes=most,
            size_bytes=len(document),
        )


def check_session(session: Session, limits: Limits) -> None:
    """Raise unless the documents of a session may be kept."""
    check_document("session.settings", session.settings, limits)
    check_document("head.document", session.head.document, limits)


def check_run(run: Run, limits: Limits) -> None:
    """Raise unless the documents of a run may be kept."""
    check_document("run.request", run.request, limits)
    check_document("run.usage", run.usage, limits)
    check_document("run.result", run.result, limits)


def check_history(steps: Sequence[Step], snapshots: Sequence[Snapshot], limits: Limits) -> None:
    """Raise unless steps and snapshots may be added together.

    Raises:
        StoreInvalidError: one ordinal stands there twice.
        StoreTooLargeError: a document is over its limit.
    """
    for step in steps:
        check_document("step.document", step.document, limits)
    _check_ordinals("steps", [step.ordinal for step in steps])
    _check_ordinals("snapshots", [snapshot.ordinal for snapshot in snapshots])


def _check_ordinals(where: str, ordinals: list[int]) -> None:
    if len(set(ordinals)) != len(ordinals):
        raise StoreInvalidError(where=where, problem="hold the same ordinal twice")


def check_entries(entries: Sequence[bytes], head: bytes, limits: Limits) -> None:
    """Raise unless entries may be appended to a journal.

    Raises:
        StoreInvalidError: one of them is not bytes.
        StoreTooLargeError: one of them is over `gate.journal_entry_limit_bytes`.
    """
    most = limits.gate.journal_entry_limit_bytes
    for entry in entries:
        if type(entry) is not bytes:
            raise StoreInvalidError(where="entry", problem=f"is {type(entry).__name__}, not bytes")
        if len(entry) > most:
            raise StoreTooLargeError(
                what="journal entry",
                limit="gate.journal_entry_limit_bytes",
                limit_bytes=most,
                size_bytes=len(entry),
            )
    if type(head) is not bytes:
        raise StoreInvalidError(where="head", problem=f"is {type(head).__name__}, not bytes")


def check_append(append: JournalAppend | None, limits: Limits) -> None:
    """Raise unless entries may be appended to a journal; nothing to append is fine."""
    if append is not None:
        check_entries(append.entries, b"", limits)


def check_approval(approval: Approval, limits: Limits) -> None:
    """Raise unless an approval may be added.

    Raises:
        StoreInvalidError: it is not pending.
        StoreTooLargeError: its document is over the limit.
    """
    check_document("approval.document", approval.document, limits)
    if approval.status != "pending":
        raise StoreInvalidError(
            where="approval.status", problem=f"is {approval.status}; a new one is pending"
        )


def check_change(change: ApprovalChange, limits: Limits) -> None:
    """Raise unless the documents of a change of approvals may be kept.

    Raises:
        StoreTooLargeError: one is over the limit.
    """
    for row in change.audit:
        check_document("audit.data", row.data, limits)
    for approval in change.approvals:
        check_document("approval.document", approval.document, limits)
        check_document("approval.decision", approval.decision, limits)
    for run, _ in change.runs:
        check_run(run, limits)
    for document in change.documents:
        check_document("document.data", document.data, limits)


def chunks_of(content: bytes | Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Yield a content in chunks of `store.blob_chunk_bytes`, the last one smaller.

    Nothing is yielded for an empty content.

    Raises:
        StoreInvalidError: a piece is not bytes.
        StoreTooLargeError: it is over `store.blob_limit_bytes`; chunks before were yielded.
    """
    size = limits.store.blob_chunk_bytes
    most = limits.store.blob_limit_bytes
    total = 0
    pending = bytearray()
    for piece in [content] if isinstance(content, bytes) else content:
        if not isinstance(piece, bytes):
            raise StoreInvalidError(
                where="blob", problem=f"holds {type(piece).__name__}, not bytes"
            )
        total += len(piece)
        if total > most:
            raise StoreTooLargeError(
                what="blob", limit="store.blob_limit_bytes", limit_bytes=most, size_bytes=total
            )
        pending += piece
        while len(pending) >= size:
            yield bytes(pending[:size])
            del pending[:size]
    if pending:
        yield bytes(pending)

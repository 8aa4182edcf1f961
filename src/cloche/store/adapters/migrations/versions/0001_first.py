"""Version 1: sessions, runs, journals, blobs, promises, timers, approvals.

A migration never changes after it was released; later ones add to it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, autoincrement=False)


def _key(name: str, *, counts: bool) -> sa.Column[Any]:
    return sa.Column(name, _KEY, nullable=False, autoincrement=counts)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _foreign(
    table: str, column: str, target: str, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [target], name=f"fk_{table}_{column}", ondelete=ondelete
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    """Make the tables of version 1."""
    _make_blobs()
    _make_blob_chunks()
    _make_pins()
    _make_sessions()
    _make_leases()
    _make_runs()
    _make_snapshots()
    _make_approvals()
    _make_journals()
    _make_promises()
    _make_steps()
    _make_timers()
    _make_journal_entries()


def _make_blobs() -> None:
    op.create_table(
        "blobs",
        _key("id", counts=True),
        _text("sha256", nullable=True),
        _number("size_bytes"),
        _number("stored_bytes"),
        _number("put_ns"),
        _primary("blobs", "id"),
        _unique("blobs", "sha256"),
    )
    _index("blobs", "put_ns")


def _make_blob_chunks() -> None:
    op.create_table(
        "blob_chunks",
        _key("blob_id", counts=False),
        _number("ordinal"),
        _number("size_bytes"),
        _number("codec"),
        _bytes("data"),
        _primary("blob_chunks", "blob_id", "ordinal"),
        _foreign("blob_chunks", "blob_id", "blobs.id", "CASCADE"),
    )


def _make_pins() -> None:
    op.create_table(
        "pins",
        _text("holder"),
        _text("sha256"),
        _primary("pins", "holder", "sha256"),
        _foreign("pins", "sha256", "blobs.sha256"),
    )
    _index("pins", "sha256")


def _make_sessions() -> None:
    op.create_table(
        "sessions",
        _text("id"),
        _text("name", nullable=True),
        _text("language"),
        _text("image_id"),
        _number("created_ns"),
        _number("changed_ns"),
        _text("working_dir"),
        _text("state"),
        _bytes("settings"),
        _number("ordinal"),
        _text("snapshot", nullable=True),
        _number("snapshot_ordinal"),
        _text("files", nullable=True),
        _bytes("document"),
        _number("revision"),
        _primary("sessions", "id"),
        _foreign("sessions", "snapshot", "blobs.sha256"),
        _foreign("sessions", "files", "blobs.sha256"),
        _unique("sessions", "name"),
    )
    _index("sessions", "files")
    _index("sessions", "snapshot")


def _make_leases() -> None:
    op.create_table(
        "leases",
        _text("session_id"),
        _text("owner", nullable=True),
        _number("token"),
        _number("until_ns"),
        _primary("leases", "session_id"),
        _foreign("leases", "session_id", "sessions.id", "CASCADE"),
    )


def _make_runs() -> None:
    op.create_table(
        "runs",
        _text("id"),
        _text("session_id", nullable=True),
        _text("language"),
        _text("status"),
        _number("created_ns"),
        _number("started_ns", nullable=True),
        _number("ended_ns", nullable=True),
        _bytes("request"),
        _bytes("usage"),
        _bytes("result"),
        _primary("runs", "id"),
        _foreign("runs", "session_id", "sessions.id", "SET NULL"),
    )
    _index("runs", "created_ns", "id")
    _index("runs", "ended_ns")
    _index("runs", "session_id", "created_ns", "id")
    _index("runs", "status", "created_ns", "id")


def _make_snapshots() -> None:
    op.create_table(
        "snapshots",
        _text("session_id"),
        _number("ordinal"),
        _text("blob"),
        _number("size_bytes"),
        _number("created_ns"),
        _primary("snapshots", "session_id", "ordinal"),
        _foreign("snapshots", "session_id", "sessions.id", "CASCADE"),
        _foreign("snapshots", "blob", "blobs.sha256"),
    )
    _index("snapshots", "blob")


def _make_approvals() -> None:
    op.create_table(
        "approvals",
        _text("id"),
        _text("run_id"),
        _number("seq"),
        _bytes("document"),
        _number("created_ns"),
        _number("expires_ns"),
        _text("status"),
        _bytes("decision"),
        _number("decided_ns", nullable=True),
        _primary("approvals", "id"),
        _foreign("approvals", "run_id", "runs.id", "CASCADE"),
        _unique("approvals", "run_id", "seq"),
    )
    _index("approvals", "status", "expires_ns")


def _make_journals() -> None:
    op.create_table(
        "journals",
        _text("run_id"),
        _number("count"),
        _number("size_bytes"),
        _bytes("head"),
        _primary("journals", "run_id"),
        _foreign("journals", "run_id", "runs.id", "CASCADE"),
    )


def _make_promises() -> None:
    op.create_table(
        "promises",
        _text("id"),
        _text("run_id", nullable=True),
        _number("created_ns"),
        _bytes("value", nullable=True),
        _number("completed_ns", nullable=True),
        _primary("promises", "id"),
        _foreign("promises", "run_id", "runs.id", "CASCADE"),
    )
    _index("promises", "run_id")


def _make_steps() -> None:
    op.create_table(
        "steps",
        _text("session_id"),
        _number("ordinal"),
        _text("run_id", nullable=True),
        _text("blob", nullable=True),
        _bytes("document"),
        _primary("steps", "session_id", "ordinal"),
        _foreign("steps", "session_id", "sessions.id", "CASCADE"),
        _foreign("steps", "run_id", "runs.id"),
        _foreign("steps", "blob", "blobs.sha256"),
    )
    _index("steps", "blob")
    _index("steps", "run_id")


def _make_timers() -> None:
    op.create_table(
        "timers",
        _text("id"),
        _text("run_id"),
        _number("due_ns"),
        _primary("timers", "id"),
        _foreign("timers", "run_id", "runs.id", "CASCADE"),
    )
    _index("timers", "due_ns", "id")
    _index("timers", "run_id")


def _make_journal_entries() -> None:
    op.create_table(
        "journal_entries",
        _text("run_id"),
        _number("ordinal"),
        _bytes("data"),
        _primary("journal_entries", "run_id", "ordinal"),
        _foreign("journal_entries", "run_id", "journals.run_id", "CASCADE"),
        sqlite_with_rowid=False,
    )

"""The tables of the newest schema, as SQLAlchemy sees them.

What a database really holds is made by `adapters/migrations`; a test compares the two. The tables
of hosted apps stand in `app_schema`.
Invariants that the database itself keeps, by foreign keys:
- a blob that a session, a step, a snapshot or a pin names cannot be removed, nor can a run that a
  step names;
- with a session go its history and lease; with a run go its journal, promises, timers, approvals.

Ids are ordered by their UTF-8 bytes everywhere, so that pages are the same on every database.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from cloche.store.adapters.sql.columns import byte_column as _bytes
from cloche.store.adapters.sql.columns import number_column as _number
from cloche.store.adapters.sql.columns import text_column as _text

SCHEMA_VERSION: Final = "0003"
VERSION_TABLE: Final = "cloche_schema"

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows in INTEGER alone.
_KEY: Final = BigInteger().with_variant(Integer(), "sqlite")

blobs = Table(
    "blobs",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    _text("sha256", nullable=True),  # NULL while it is being put
    _number("size_bytes"),
    _number("stored_bytes"),
    _number("put_ns"),
    UniqueConstraint("sha256"),
    Index(None, "put_ns"),
)

blob_chunks = Table(
    "blob_chunks",
    metadata,
    Column("blob_id", _KEY, ForeignKey("blobs.id", ondelete="CASCADE"), primary_key=True),
    _number("ordinal", primary_key=True),
    _number("size_bytes"),
    _number("codec"),
    _bytes("data"),
)

sessions = Table(
    "sessions",
    metadata,
    _text("id", primary_key=True),
    _text("name", nullable=True),
    _text("language"),
    _text("image_id"),
    _number("created_ns"),
    _number("changed_ns"),
    _text("working_dir"),
    _text("state"),
    _bytes("settings"),
    _number("ordinal"),
    _text("snapshot", ForeignKey("blobs.sha256"), nullable=True),
    _number("snapshot_ordinal"),
    _text("files", ForeignKey("blobs.sha256"), nullable=True),
    _bytes("document"),
    _number("revision"),
    UniqueConstraint("name"),
    Index(None, "snapshot"),
    Index(None, "files"),
)

leases = Table(
    "leases",
    metadata,
    _text("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    _text("owner", nullable=True),  # NULL when it was given back; the token stays
    _number("token"),
    _number("until_ns"),
)

runs = Table(
    "runs",
    metadata,
    _text("id", primary_key=True),
    _text("session_id", ForeignKey("sessions.id", ondelete="SET NULL"), nullable=True),
    _text("language"),
    _text("status"),
    _number("created_ns"),
    _number("started_ns", nullable=True),
    _number("ended_ns", nullable=True),
    _bytes("request"),
    _bytes("usage"),
    _bytes("result"),
    Index(None, "created_ns", "id"),
    Index(None, "session_id", "created_ns", "id"),
    Index(None, "status", "created_ns", "id"),
    Index(None, "ended_ns"),
)

steps = Table(
    "steps",
    metadata,
    _text("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    _number("ordinal", primary_key=True),
    _text("run_id", ForeignKey("runs.id"), nullable=True),
    _text("blob", ForeignKey("blobs.sha256"), nullable=True),
    _bytes("document"),
    Index(None, "run_id"),
    Index(None, "blob"),
)

snapshots = Table(
    "snapshots",
    metadata,
    _text("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    _number("ordinal", primary_key=True),
    _text("blob", ForeignKey("blobs.sha256")),
    _number("size_bytes"),
    _number("created_ns"),
    Index(None, "blob"),
)

pins = Table(
    "pins",
    metadata,
    _text("holder", primary_key=True),
    _text("sha256", ForeignKey("blobs.sha256"), primary_key=True),
    Index(None, "sha256"),
)

# Narrow and apart from `runs`: it is written with every effect, and a run's row may be large.
journals = Table(
    "journals",
    metadata,
    _text("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    _number("count"),
    _number("size_bytes"),
    _bytes("head"),
)

journal_entries = Table(
    "journal_entries",
    metadata,
    _text("run_id", ForeignKey("journals.run_id", ondelete="CASCADE"), primary_key=True),
    _number("ordinal", primary_key=True),
    _bytes("data"),
    sqlite_with_rowid=False,
)

promises = Table(
    "promises",
    metadata,
    _text("id", primary_key=True),
    _text("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=True),
    _number("created_ns"),
    _bytes("value", nullable=True),
    _number("completed_ns", nullable=True),
    Index(None, "run_id"),
)

timers = Table(
    "timers",
    metadata,
    _text("id", primary_key=True),
    _text("run_id", ForeignKey("runs.id", ondelete="CASCADE")),
    _number("due_ns"),
    Index(None, "due_ns", "id"),
    Index(None, "run_id"),
)

approvals = Table(
    "approvals",
    metadata,
    _text("id", primary_key=True),
    _text("run_id", ForeignKey("runs.id", ondelete="CASCADE")),
    _number("seq"),
    _bytes("document"),
    _number("created_ns"),
    _number("expires_ns"),
    _text("status"),
    _bytes("decision"),
    _number("decided_ns", nullable=True),
    UniqueConstraint("run_id", "seq"),
    Index(None, "status", "expires_ns"),
)

# No foreign key: what was decided stays, whatever becomes of the run.
audit_entries = Table(
    "audit_entries",
    metadata,
    _number("ordinal", primary_key=True),
    _text("run_id"),
    _bytes("data"),
    _bytes("hash"),
    Index(None, "run_id"),
)

documents = Table(
    "documents",
    metadata,
    _text("kind", primary_key=True),
    _text("name", primary_key=True),
    _bytes("data"),
    _number("revision"),
)

"""The tables of hosted apps: what they keep, and their jobs.

Each row is of one app: the first column of every primary key. Nothing refers across apps. A path of
a blob is held by a pin, which the adapter writes in the same transaction.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKeyConstraint, Index, Table

from cloche.store.adapters.sql.columns import byte_column as _bytes
from cloche.store.adapters.sql.columns import number_column as _number
from cloche.store.adapters.sql.columns import text_column as _text
from cloche.store.adapters.sql.schema import metadata

# Its row is what writers of one section of an app lock.
app_usage = Table(
    "app_usage",
    metadata,
    _text("app", primary_key=True),
    _text("section", primary_key=True),
    _number("count"),
    _number("size_bytes"),
    _number("sequence"),
)

# What writes did, by their idempotency keys.
app_effects = Table(
    "app_effects",
    metadata,
    _text("app", primary_key=True),
    _text("key", primary_key=True),
    _bytes("value"),
    _number("remembered_ns"),
    Index(None, "remembered_ns"),
)

app_kv = Table(
    "app_kv",
    metadata,
    _text("app", primary_key=True),
    _text("key", primary_key=True),
    _bytes("value"),
    _number("version"),
    _number("expires_ns", nullable=True),
    Index(None, "app", "expires_ns"),
)

app_docs = Table(
    "app_docs",
    metadata,
    _text("app", primary_key=True),
    _text("collection", primary_key=True),
    _text("id", primary_key=True),
    _bytes("data"),
    _number("created_ns"),
    _number("updated_ns"),
    _number("keys_bytes"),
)

app_doc_indexes = Table(
    "app_doc_indexes",
    metadata,
    _text("app", primary_key=True),
    _text("collection", primary_key=True),
    _text("field", primary_key=True),
)

app_doc_entries = Table(
    "app_doc_entries",
    metadata,
    _text("app", primary_key=True),
    _text("collection", primary_key=True),
    _text("id", primary_key=True),
    _text("field", primary_key=True),
    _bytes("key"),
    ForeignKeyConstraint(
        ["app", "collection", "id"],
        ["app_docs.app", "app_docs.collection", "app_docs.id"],
        ondelete="CASCADE",
    ),
    Index(None, "app", "collection", "field", "key", "id"),
)

app_blobs = Table(
    "app_blobs",
    metadata,
    _text("app", primary_key=True),
    _text("path", primary_key=True),
    _text("sha256"),
    _number("size_bytes"),
    _text("mime"),
    _number("updated_ns"),
)

app_jobs = Table(
    "app_jobs",
    metadata,
    _text("app", primary_key=True),
    _text("id", primary_key=True),
    _text("name"),
    _bytes("data"),
    _text("state"),
    Column("schedule", Boolean, nullable=False),
    _number("priority"),
    _number("created_ns"),
    _number("due_ns"),
    _number("ended_ns", nullable=True),
    _number("retry_count"),
    _number("backoff_ms"),
    _number("timeout_ms", nullable=True),
    _number("attempt"),
    _number("lost"),
    _text("lease_owner", nullable=True),
    _number("lease_until_ns", nullable=True),
    _text("unique_key", nullable=True),
    Column("is_cancelled", Boolean, nullable=False),
    Column("progress", Float, nullable=False),
    _bytes("checkpoint", nullable=True),
    _bytes("result", nullable=True),
    _text("error", nullable=True),
    Index(None, "state", "due_ns"),
    Index(None, "state", "lease_until_ns"),
    Index(None, "app", "state", "id"),
    Index(None, "app", "unique_key"),
    Index(None, "app", "ended_ns"),
)

app_schedules = Table(
    "app_schedules",
    metadata,
    _text("app", primary_key=True),
    _text("name", primary_key=True),
    _text("cron"),
    _number("next_ns"),
    Index(None, "next_ns"),
)

APP_TABLES = (
    app_usage,
    app_effects,
    app_kv,
    app_doc_entries,
    app_docs,
    app_doc_indexes,
    app_blobs,
    app_jobs,
    app_schedules,
)

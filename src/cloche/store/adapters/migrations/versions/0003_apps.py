"""Version 3: what hosted apps keep, and their jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables that version 3 adds."""
    op.create_table(
        "app_usage",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("section", _TEXT, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "section", name="pk_app_usage"),
    )
    op.create_table(
        "app_effects",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("remembered_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "key", name="pk_app_effects"),
    )
    op.create_index("ix_app_effects_remembered_ns", "app_effects", ["remembered_ns"])
    op.create_table(
        "app_kv",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("expires_ns", sa.BigInteger, nullable=True, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "key", name="pk_app_kv"),
    )
    op.create_index("ix_app_kv_app_expires_ns", "app_kv", ["app", "expires_ns"])
    op.create_table(
        "app_docs",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("keys_bytes", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "collection", "id", name="pk_app_docs"),
    )
    op.create_table(
        "app_doc_indexes",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("app", "collection", "field", name="pk_app_doc_indexes"),
    )
    op.create_table(
        "app_doc_entries",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("collection", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("app", "collection", "id", "field", name="pk_app_doc_entries"),
        sa.ForeignKeyConstraint(
            ["app", "collection", "id"],
            ["app_docs.app", "app_docs.collection", "app_docs.id"],
            name="fk_app_doc_entries_app_collection_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_app_doc_entries_app_collection_field_key_id",
        "app_doc_entries",
        ["app", "collection", "field", "key", "id"],
    )
    op.create_table(
        "app_blobs",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("sha256", _TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mime", _TEXT, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "path", name="pk_app_blobs"),
    )
    op.create_table(
        "app_jobs",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("schedule", sa.Boolean, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("due_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("ended_ns", sa.BigInteger, nullable=True, autoincrement=False),
        sa.Column("retry_count", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("backoff_ms", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("timeout_ms", sa.BigInteger, nullable=True, autoincrement=False),
        sa.Column("attempt", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("lost", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("lease_owner", _TEXT, nullable=True),
        sa.Column("lease_until_ns", sa.BigInteger, nullable=True, autoincrement=False),
        sa.Column("unique_key", _TEXT, nullable=True),
        sa.Column("is_cancelled", sa.Boolean, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=True),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("app", "id", name="pk_app_jobs"),
    )
    op.create_index("ix_app_jobs_app_ended_ns", "app_jobs", ["app", "ended_ns"])
    op.create_index("ix_app_jobs_app_state_id", "app_jobs", ["app", "state", "id"])
    op.create_index("ix_app_jobs_app_unique_key", "app_jobs", ["app", "unique_key"])
    op.create_index("ix_app_jobs_state_due_ns", "app_jobs", ["state", "due_ns"])
    op.create_index("ix_app_jobs_state_lease_until_ns", "app_jobs", ["state", "lease_until_ns"])
    op.create_table(
        "app_schedules",
        sa.Column("app", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("cron", _TEXT, nullable=False),
        sa.Column("next_ns", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("app", "name", name="pk_app_schedules"),
    )
    op.create_index("ix_app_schedules_next_ns", "app_schedules", ["next_ns"])

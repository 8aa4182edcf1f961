"""Version 2: the audit of approvals, and documents by name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables that version 2 adds."""
    op.create_table(
        "audit_entries",
        sa.Column("ordinal", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_run_id", "audit_entries", ["run_id"])
    op.create_table(
        "documents",
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_documents"),
    )

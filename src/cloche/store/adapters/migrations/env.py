"""What Alembic runs to apply migrations: on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

from cloche.store.adapters.sql.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()

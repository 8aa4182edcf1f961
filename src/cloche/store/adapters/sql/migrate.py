"""Bring a database to the newest schema: forward only, one process at a time, all or nothing.

The migrations themselves stand in `adapters/migrations/versions`, numbered 0001, 0002 and so on.
A database that is newer than this cloche is refused and left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text

from cloche.store.adapters.sql.schema import SCHEMA_VERSION, VERSION_TABLE
from cloche.store.adapters.sql.sqlite import APPLICATION_ID
from cloche.store.errors import StoreCorruptError, StoreForeignError, StoreVersionError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cloche.store.adapters.sql.database import Database

# Whoever migrates a PostgreSQL database holds the advisory lock of this number.
LOCK_KEY: Final = 0x636C6F636865


def migrate(database: Database, version: str = SCHEMA_VERSION) -> None:
    """Bring a database to a version of the schema, unless it is there or beyond.

    Raises:
        StoreVersionError: it is newer than `SCHEMA_VERSION`; it is untouched.
        StoreForeignError: it holds tables of something else; it is untouched.
        StoreError: what the database cannot do; the schema is as before.
    """
    if not _needs(database.read(lambda connection: _found(connection, database)), version):
        return
    database.write(lambda connection: _upgrade(connection, database, version))


def _found(connection: Connection, database: Database) -> str | None:
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        if tables:
            shown = ", ".join(sorted(tables)[:3])
            raise StoreForeignError(store=database.name, found=f"tables of others: {shown}")
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if found is None or not str(found).isdigit():
        raise StoreCorruptError(store=database.name, problem=f"its schema version is {found!r}")
    if int(found) > int(SCHEMA_VERSION):
        raise StoreVersionError(store=database.name, found=str(found), known=SCHEMA_VERSION)
    return str(found)


def _needs(found: str | None, version: str) -> bool:
    return found is None or int(found) < int(version)


def _upgrade(connection: Connection, database: Database, version: str) -> None:
    # Imported here: most openings migrate nothing, and this takes a tenth of a second.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    if not database.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    if not _needs(_found(connection, database), version):
        return  # another process was faster
    config = Config()
    config.set_main_option("script_location", "cloche.store.adapters:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, version)
    if database.is_sqlite:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

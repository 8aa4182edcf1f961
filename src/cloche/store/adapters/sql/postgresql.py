"""A PostgreSQL database: how it is connected to.

All tables live in one schema of their own, `cloche` unless the URL says `?schema=NAME`, so that a
database may be shared with other programs. Version 15 or later.
Invariant: a write that returned is on the disk of the server, with `durability="full"`; with
"normal" the newest may be missing after the server crashed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError

from cloche.store.adapters.sql.database import Database
from cloche.store.errors import StoreUrlError

if TYPE_CHECKING:
    from cloche.limits import Limits

Durability = Literal["full", "normal"]

SERVER_VERSION_MIN: Final = 150_000
_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


def open_postgresql(url: str, limits: Limits, durability: Durability = "full") -> Database:
    """Return the database at a URL; its schema is made if there is none.

    Raises:
        StoreUrlError: the URL cannot be read, the driver is not installed, or the server is old.
        StoreError: what the database cannot do.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreUrlError(url="postgresql:…", problem="it cannot be read") from error
    name = parsed.render_as_string(hide_password=True)
    schema = parsed.query.get("schema", "cloche")
    if not isinstance(schema, str) or not _SCHEMA_NAME.match(schema):
        raise StoreUrlError(url=name, problem=f"schema {schema!r} is no plain name")
    parsed = parsed.set(drivername="postgresql+psycopg").difference_update_query(["schema"])
    try:
        engine = create_engine(
            parsed,
            pool_size=limits.store.connection_count_max,
            max_overflow=0,
            pool_timeout=limits.store.busy_timeout_ms / 1000,
            pool_pre_ping=True,  # a server that was restarted is found by the next call
            connect_args=_connect_args(schema, limits, durability),
        )
    except ImportError as error:
        raise StoreUrlError(
            url=name, problem="psycopg is not installed: pip install 'cloche[postgres]'"
        ) from error
    database = Database(engine, name, limits)
    try:
        database.write(lambda connection: _prepare(connection, name, schema))
    except BaseException:
        database.close()
        raise
    return database


def _connect_args(schema: str, limits: Limits, durability: Durability) -> dict[str, Any]:
    settings = {
        "search_path": schema,
        "lock_timeout": str(limits.store.busy_timeout_ms),
        "synchronous_commit": "on" if durability == "full" else "off",
        "idle_in_transaction_session_timeout": "60000",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "options": options,
        "connect_timeout": max(1, limits.store.connect_timeout_ms // 1000),
        "application_name": "cloche",
    }


def _prepare(connection: Any, name: str, schema: str) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < SERVER_VERSION_MIN:
        raise StoreUrlError(url=name, problem=f"server version {version} is older than 15")
    # Asked first: a user who may not make schemas can use one that is there.
    query = text("SELECT 1 FROM pg_namespace WHERE nspname = :schema")
    if connection.execute(query, {"schema": schema}).first() is None:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))

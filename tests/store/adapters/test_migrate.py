"""Schemas: the newest is what the tables say, older ones are brought to it, newer ones refused."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloche.limits import Limits
from cloche.store.adapters.sql import app_schema
from cloche.store.adapters.sql.schema import SCHEMA_VERSION, VERSION_TABLE, metadata
from cloche.store.errors import StoreCorruptError, StoreForeignError, StoreVersionError
from cloche.store.open import open_store
from store import golden

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "cloche.db")
    return request.getfixturevalue("postgresql_url")


def test_a_new_store_has_the_tables_that_the_code_expects(store):
    """Migrations and tables are written apart; Alembic finds no difference between them."""
    if store.url == "memory:":
        return
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert set(app_schema.APP_TABLES) <= set(metadata.sorted_tables)
        assert compare_metadata(context, metadata) == []


def test_the_store_of_version_1_opens(tmp_path):
    """The golden file is brought to the newest schema, and nothing in it is lost."""
    path = tmp_path / "store.db"
    shutil.copy(golden.FILE, path)
    store = open_store(path)
    golden.check(store)
    store.close()
    assert version_of(path) == SCHEMA_VERSION


def test_a_store_is_opened_again(url):
    """What was kept is there for the next process, and opening migrates nothing."""
    store = open_store(url)
    golden.fill(store)
    store.close()
    store = open_store(url)
    golden.check(store)
    store.close()


def test_a_newer_sqlite_store_is_refused(tmp_path):
    """The file stays as it is, byte for byte."""
    path = tmp_path / "cloche.db"
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersionError) as raised:
        open_store(path)
    assert raised.value.message == (
        f"the store {path} has schema 0999, this cloche knows up to {SCHEMA_VERSION}: "
        "upgrade cloche. The store was not touched"
    )
    assert path.read_bytes() == before


def test_a_newer_postgresql_store_is_refused(server, postgresql_url):
    """The version is read before anything else is asked."""
    open_store(postgresql_url).close()
    schema = postgresql_url.rpartition("=")[2]
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute(f"UPDATE {schema}.{VERSION_TABLE} SET version_num = '0999'")
    with pytest.raises(StoreVersionError):
        open_store(postgresql_url)


def test_a_version_that_is_none_is_damage(tmp_path):
    """A version that is no number was not written by cloche."""
    path = tmp_path / "cloche.db"
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = 'x'")
    connection.close()
    with pytest.raises(StoreCorruptError):
        open_store(path)


def test_a_schema_with_tables_of_others_is_refused(server, postgresql_url):
    """Tables of another program in the same schema are not mixed with ours."""
    schema = postgresql_url.rpartition("=")[2]
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"CREATE TABLE {schema}.theirs (id int)")
    with pytest.raises(StoreForeignError) as raised:
        open_store(postgresql_url)
    assert raised.value.found == "tables of others: theirs"


def open_and_count(url):
    """Open a store in a process of its own; return how many sessions it has."""
    store = open_store(url, limits=Limits())
    count = len(store.sessions.list())
    store.close()
    return count


def test_many_processes_may_open_a_new_store_at_once(url):
    """One of them migrates, the others wait for it."""
    with SPAWN.Pool(4) as pool:
        assert pool.map(open_and_count, [url] * 8) == [0] * 8


def version_of(path):
    """Return the version that a file says it has."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0]
    finally:
        connection.close()

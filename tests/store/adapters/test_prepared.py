"""Tests of statements that are made once."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import bindparam, insert, select, update

from cloche.errors import InternalError
from cloche.limits import Limits
from cloche.store.adapters.sql.prepared import Prepared
from cloche.store.adapters.sql.schema import documents
from cloche.store.adapters.sql.sqlite import open_sqlite
from cloche.store.adapters.sql.store import SqlStore

ADD = Prepared(insert(documents))
NEW = {"kind": "k", "name": "a", "data": b"\x00\xff", "revision": 1}
NAMED = Prepared(
    select(documents.c.revision, documents.c.data)
    .where(documents.c.name >= bindparam("first"))
    .order_by(documents.c.name)
    .limit(2)
)
CHANGE = Prepared(
    update(documents)
    .where(documents.c.name == bindparam("named"))
    .values(revision=documents.c.revision + bindparam("more"))
)


@pytest.fixture
def database(tmp_path):
    """Return the database of a new store."""
    store = SqlStore(open_sqlite(tmp_path / "a.db", Limits()))
    yield store.database
    store.close()


def test_values_find_their_places(database):
    """Whatever the order of the values is; what the statement says itself is there, too."""
    turned = dict(reversed(NEW.items()))
    assert database.write(lambda connection: ADD.change(connection, NEW)) == 1
    database.write(
        lambda connection: ADD.change_all(
            connection, [{**turned, "name": name, "revision": 7} for name in ("c", "b", "d")]
        )
    )
    assert database.rows(NAMED, {"first": "b"}) == [(7, b"\x00\xff"), (7, b"\x00\xff")]
    assert database.first(NAMED, {"first": "a"}) == (1, b"\x00\xff")
    assert database.first(NAMED, {"first": "e"}) is None
    assert database.read(lambda connection: NAMED.value(connection, {"first": "z"})) is None


def test_a_change_says_how_many_rows_there_were(database):
    """Also when there are none."""

    def change(name: str) -> int:
        return database.write(lambda c: CHANGE.change(c, {"named": name, "more": 4}))

    database.write(lambda connection: ADD.change(connection, NEW))
    assert (change("a"), change("b")) == (1, 0)
    assert database.first(NAMED, {"first": "a"})[0] == 5


def test_nothing_to_add_is_nothing(database):
    """A list without rows changes nothing."""
    database.write(lambda connection: ADD.change_all(connection, []))
    assert database.rows(NAMED, {"first": ""}) == []


def test_a_value_that_is_missing_is_a_defect(database):
    """It is not taken for nothing, in the first call or in a later one."""
    with pytest.raises(KeyError, match="first"):
        database.rows(NAMED, {})
    database.rows(NAMED, {"first": ""})
    with pytest.raises(KeyError, match="first"):
        database.rows(NAMED, {"other": ""})


def test_what_a_read_found_is_not_held(database, tmp_path):
    """A connection that read and waits for the next keeps nobody from the file."""
    database.write(lambda connection: ADD.change(connection, NEW))
    database.first(NAMED, {"first": ""})
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()


def test_a_broken_constraint_is_tried_again_and_then_told(database):
    """The driver's own error is one of the store, and the transaction is undone."""
    tries = []

    def work(connection):
        tries.append(1)
        ADD.change(connection, {**NEW, "name": "b"})
        ADD.change(connection, NEW)

    database.write(lambda connection: ADD.change(connection, NEW))
    with pytest.raises(InternalError, match="breaks a constraint"):
        database.write(work)
    assert len(tries) > 1
    assert database.rows(NAMED, {"first": ""}) == [(1, b"\x00\xff")]

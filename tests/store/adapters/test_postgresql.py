"""PostgreSQL: what its server does to a store, as errors of the store."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text

from cloche.errors import InternalError
from cloche.limits import Limits
from cloche.store.adapters.sql.failures import translate
from cloche.store.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreForeignError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from cloche.store.open import open_store
from cloche.store.rows import Change
from cloche.testing.store_support import new_run, new_session

SHORT = Limits().replace({"store": {"busy_timeout_ms": 50}})


@pytest.fixture
def schema(postgresql_url):
    """Return the schema of the store."""
    return postgresql_url.rpartition("=")[2]


def test_a_row_that_somebody_holds_is_waited_for(server, postgresql_url, schema):
    """After the lock timeout it is an error that says so, and nothing was changed."""
    store = open_store(postgresql_url, limits=SHORT)
    session = new_session("s")
    store.sessions.create(session)
    store.runs.create(new_run("r"))
    with psycopg.connect(server.conninfo()) as other:
        other.execute(f"SELECT * FROM {schema}.sessions FOR UPDATE")
        other.execute(f"SELECT * FROM {schema}.journals FOR UPDATE")
        for call in (
            lambda: store.sessions.apply(Change(session=session)),
            lambda: store.journals.append("r", [b"x"], expected_count=0),
        ):
            with pytest.raises(StoreBusyError) as raised:
                call()
            assert raised.value.waited_ms == 50
    assert store.sessions.get("s") == session
    assert store.journals.append("r", [b"x"], expected_count=0) == 1
    store.close()


def test_a_server_that_only_reads_is_read_only(server, postgresql_url, schema):
    """A standby, or a role that may only read, is named as such."""
    store = open_store(postgresql_url)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {schema}_reader")
        connection.execute(f"CREATE ROLE {schema}_reader LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {schema}_reader")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_reader")
    reader = open_store(postgresql_url.replace("cloche@", f"{schema}_reader@"))
    assert reader.runs.list() == []
    with pytest.raises(StoreReadOnlyError) as raised:
        reader.runs.create(new_run("r"))
    assert raised.value.reason == "permission denied for table runs"
    reader.close()
    with pytest.raises(StoreReadOnlyError):
        store.database.write(
            lambda connection: (
                connection.execute(text("SET TRANSACTION READ ONLY")),
                connection.execute(text("DELETE FROM runs")),
            )
        )
    store.close()


def test_a_constraint_that_no_check_foresaw_is_our_defect(postgresql_url):
    """Work that breaks a constraint each time is reported, with what broke."""
    store = open_store(postgresql_url)
    attempts = []

    def work(connection):
        attempts.append(1)
        connection.execute(text("INSERT INTO pins VALUES ('h', 'absent')"))

    with pytest.raises(InternalError, match="breaks a constraint"):
        store.database.write(work)
    assert len(attempts) == 5
    store.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_every_connection_is_set_up(postgresql_url, schema, durability):
    """Schema, durability and lock timeout hold for every connection."""
    store = open_store(postgresql_url, durability=durability)
    expected = {
        "search_path": schema,
        "synchronous_commit": "on" if durability == "full" else "off",
        "lock_timeout": "10s",
    }
    with store.database.engine.connect() as connection:
        for name, value in expected.items():
            assert connection.execute(text(f"SHOW {name}")).scalar() == value
    store.close()


class Refusal(Exception):  # noqa: N818 - stands for an error of the driver
    """An error of the driver with a SQLSTATE."""

    def __init__(self, sqlstate):
        super().__init__("what the server says\nDETAIL: a row's value")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StoreFullError),
        ("55P03", StoreBusyError),
        ("40P01", StoreBusyError),
        ("25006", StoreReadOnlyError),
        ("42501", StoreReadOnlyError),
        ("XX001", StoreCorruptError),
        ("57P01", StoreUnavailableError),
        ("08006", StoreUnavailableError),
        (None, StoreUnavailableError),
    ],
)
def test_states_that_a_test_cannot_cause(state, kind):
    """Each SQLSTATE has its error; details, which hold values of rows, are left out."""
    from sqlalchemy.exc import OperationalError

    error = translate(OperationalError("SELECT", {}, Refusal(state)), "name", 7)
    assert type(error) is kind
    assert "value" not in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (5 | 1 << 8, StoreBusyError),
        (6, StoreBusyError),
        (13, StoreFullError),
        (8 | 4 << 8, StoreReadOnlyError),
        (14, StoreReadOnlyError),
        (11 | 1 << 8, StoreCorruptError),
        (26, StoreForeignError),
        (10 | 12 << 8, StoreUnavailableError),
    ],
)
def test_codes_of_sqlite(code, kind):
    """The primary part of a result code decides; the rest is detail."""
    import sqlite3

    error = sqlite3.OperationalError("reason")
    error.sqlite_errorcode = code
    assert type(translate(error, "name", 7)) is kind

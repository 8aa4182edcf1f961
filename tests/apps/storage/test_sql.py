"""SQL of apps: what it does, what it refuses, and how long and how large it may be."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from cloche.gate.ports import EffectFailure

from .support import NOW_NS, App, fails, opened


@pytest.fixture
def timeout_ms():
    """How long SQL may take: longer than any of it, however busy the machine is."""
    return 60_000


# For what goes on for ever, or waits for what does.
hurried = pytest.mark.parametrize("timeout_ms", [400])


@pytest.fixture
def storage(tmp_path, timeout_ms):
    """Return storage with small limits for SQL."""
    with opened(
        tmp_path, sql_timeout_ms=timeout_ms, sql_row_count_max=50, sql_limit_bytes=1 << 20
    ) as storage:
        yield storage


@pytest.fixture
def app(storage):
    """Return an app with a table."""
    app = App(storage)
    app.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    return app


def test_values_come_back_as_they_were_put(app):
    """Each type of SQLite has its JSON; bytes are base64."""
    values = [None, 5, -(2**63), 2.5, "ü\U0001f600", {"b64": "AP8="}]
    for value in values:
        app.execute("INSERT INTO t (v) VALUES (?)", value)
    assert [row[0] for row in app.sql("SELECT v FROM t ORDER BY id")] == values
    found = app("sql", "query", text="SELECT v AS x FROM t WHERE id = :id", params={"id": 2})
    assert found == {"columns": ["x"], "rows": [[5]]}
    assert app.sql("SELECT ?", True) == [[1]]
    assert app.sql("SELECT 9e999, CAST(x'ff41' AS TEXT)") == [[None, "\ufffdA"]]


def test_what_statements_did(app):
    """Changes, the last id and returned rows."""
    done = app.execute("INSERT INTO t (v) VALUES (1), (2) RETURNING id")
    assert done == {"changes": 2, "last_id": 2, "columns": ["id"], "rows": [[1], [2]]}
    assert app.execute("UPDATE t SET v = 3")["changes"] == 2
    assert app.execute("DELETE FROM t WHERE id = 1")["changes"] == 1


def test_a_batch_is_one_transaction(app):
    """When one of its statements fails, none was made."""
    insert = {"text": "INSERT INTO t (id, v) VALUES (?, ?)", "params": [1, "a"]}
    with fails("SQL_ERROR") as messages:
        app("sql", "batch", statements=[insert, insert])
    assert messages == ["SQL: UNIQUE constraint failed: t.id"]
    assert app.sql("SELECT count(*) FROM t") == [[0]]
    done = app("sql", "batch", statements=[insert, {"text": "SELECT v FROM t"}])
    assert [one["rows"] for one in done] == [[], [["a"]]]


def test_a_repeated_effect_writes_once(app):
    """The same place of the same run gets the first answer, also from another process's memory."""
    for _ in range(2):
        done = app.again(99, "sql", "execute", text="INSERT INTO t (v) VALUES ('x') RETURNING id")
        assert done["rows"] == [[1]]
    assert app.sql("SELECT count(*) FROM t") == [[1]]


def test_what_was_long_ago_is_forgotten(storage, app):
    """What effects did is kept for a day; then its row makes room."""
    app.again(7, "sql", "execute", text="INSERT INTO t (v) VALUES (1)")
    storage.clock.now_ns = NOW_NS + 2 * 86_400 * 10**9
    app.execute("INSERT INTO t (v) VALUES (2)")
    app.again(7, "sql", "execute", text="INSERT INTO t (v) VALUES (1)")
    assert app.sql("SELECT count(*) FROM t") == [[3]]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("ATTACH '/etc/passwd' AS x", "ATTACH or VACUUM"),
        ("ATTACH ':memory:' AS x", "ATTACH or VACUUM"),
        ("DETACH main", "DETACH"),
        ("PRAGMA max_page_count = 1000000000", "PRAGMA"),
        ("PRAGMA writable_schema = ON", "PRAGMA"),
        ("PRAGMA journal_mode = DELETE", "PRAGMA"),
        ("SELECT * FROM pragma_database_list", "PRAGMA"),
        ("BEGIN", "BEGIN, COMMIT or ROLLBACK (use batch)"),
        ("COMMIT", "BEGIN, COMMIT or ROLLBACK (use batch)"),
        ("ROLLBACK", "BEGIN, COMMIT or ROLLBACK (use batch)"),
        ("SAVEPOINT s", "SAVEPOINT (use batch)"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "a virtual table"),
        ("CREATE TEMP TABLE x (y)", "a temporary table"),
        ("CREATE TEMP VIEW x AS SELECT 1", "a temporary view"),
        ("SELECT load_extension('/tmp/x.so')", "the function load_extension"),
        ("SELECT * FROM _cloche_effects", "a name that begins with _cloche"),
        ("SELECT * FROM _CLOCHE_EFFECTS", "a name that begins with _cloche"),
        ("DELETE FROM _cloche_effects", "a name that begins with _cloche"),
        ("DROP TABLE _cloche_effects", "a name that begins with _cloche"),
        ("ALTER TABLE _cloche_effects RENAME TO x", "a name that begins with _cloche"),
        ("CREATE INDEX i ON _cloche_effects (key)", "a name that begins with _cloche"),
        ("ALTER TABLE t RENAME TO _Cloche_t", "a name that begins with _cloche"),
        (
            "CREATE TRIGGER r AFTER INSERT ON _cloche_effects BEGIN SELECT 1; END",
            "a name that begins with _cloche",
        ),
    ],
)
def test_what_apps_may_not_do(app, text, action):
    """It is refused before it runs, by name; the next statement works as before."""
    with fails("SQL_DENIED") as messages:
        app.execute(text)
    assert messages == [f"SQL: {action} is not allowed in apps"]
    assert app.sql("SELECT 1") == [[1]]


@pytest.mark.parametrize("text", ["VACUUM", "VACUUM INTO '{}'"])
def test_a_copy_of_the_database_is_not_written(app, tmp_path, text):
    """VACUUM attaches a file; it is refused in both, and no file is there."""
    target = tmp_path / "stolen.db"
    with fails("SQL_DENIED"):
        app.sql(text.format(target))
    with fails("SQL_ERROR"):
        app.execute(text.format(target))
    assert not target.exists()


def test_views_do_not_lead_around(app):
    """A view or trigger over what is forbidden is made in vain."""
    app.execute("CREATE VIEW w AS SELECT value FROM _cloche_effects")
    with fails("SQL_DENIED"):
        app.sql("SELECT * FROM w")
    app.execute("CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM _cloche_effects; END")
    with fails("SQL_DENIED"):
        app.execute("INSERT INTO t (v) VALUES (1)")


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE sqlite_master SET sql = 'x'",
        "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x (y)')",
        "DELETE FROM sqlite_schema",
        "DROP TABLE sqlite_master",
        "SELECT 1; DROP TABLE t",
        "SELECT",
        "SELECT * FROM absent",
        "SELECT ?",
        "SELECT '\0'",
    ],
)
def test_what_sqlite_refuses(app, text):
    """It is an error of the statement, and the tables are as they were."""
    with fails("SQL_ERROR"):
        app.execute(text)
    assert app.sql("SELECT count(*) FROM sqlite_master WHERE name = 't'") == [[1]]


def test_a_query_does_not_write(app):
    """What writes has to say so: only then is it done once."""
    with fails("SQL_DENIED"):
        app.sql("ANALYZE")
    with fails("SQL_DENIED") as messages:
        app.sql("INSERT INTO t (v) VALUES (1) RETURNING id")
    assert messages == ["SQL: writing in query (use execute) is not allowed in apps"]


def test_tables_can_be_altered(app):
    """What an app does to its own schema works."""
    for text in (
        "ALTER TABLE t ADD COLUMN w TEXT DEFAULT 'x'",
        "ALTER TABLE t RENAME COLUMN w TO u",
        "ALTER TABLE t RENAME TO s",
        "ALTER TABLE s DROP COLUMN u",
        "CREATE UNIQUE INDEX i ON s (v)",
        "CREATE VIEW w AS SELECT v FROM s",
        "ANALYZE",
        "REINDEX",
        "DROP VIEW w",
        "DROP INDEX i",
        "DROP TABLE s",
    ):
        app.execute(text)


@hurried
@pytest.mark.parametrize(
    "text",
    [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x * 2 % 1000003 + 1 FROM c) "
            "SELECT count(*) FROM c a, c b, c d"
        ),
        (
            "WITH RECURSIVE c(x, b) AS (SELECT 1, zeroblob(200000) UNION ALL "
            "SELECT x + 1, zeroblob(200000) FROM c) SELECT x FROM c ORDER BY b, x"
        ),
    ],
)
def test_what_takes_too_long(app, text):
    """It is stopped; the database works on."""
    for ask in (app.sql, app.execute):
        with fails("SQL_TIMEOUT"):
            ask(text)
    assert app.sql("SELECT 1") == [[1]]


@hurried
def test_a_write_that_takes_too_long_is_undone(app):
    """What it had changed when it was stopped is not kept."""
    with fails("SQL_TIMEOUT"):
        app.execute(
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "INSERT INTO t (v) SELECT NULL FROM c WHERE x % 1000 = 0"
        )
    assert app.sql("SELECT count(*) FROM t") == [[0]]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT zeroblob(2000000000)",
        "SELECT hex(zeroblob(900000))",
        "SELECT replace(hex(zeroblob(10000)), '0', hex(zeroblob(1000)))",
        (
            "SELECT group_concat(hex(zeroblob(100000))) FROM sqlite_master a, sqlite_master b, "
            "sqlite_master c, sqlite_master d"
        ),
    ],
)
def test_values_that_are_too_large(app, text):
    """A value is up to a limit, whoever makes it."""
    with fails("STORAGE_TOO_LARGE"):
        app.sql(text)


def test_results_that_are_too_large(app):
    """Rows and bytes are counted while they come."""
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT {}"
    assert len(app.sql(numbers.format(50, "x FROM c"))) == 50
    with fails("STORAGE_TOO_LARGE") as messages:
        app.sql(numbers.format(51, "x FROM c"))
    assert "apps.sql_row_count_max = 50" in messages[0]
    with fails("STORAGE_TOO_LARGE") as messages:
        app.sql(numbers.format(50, "zeroblob(100000) FROM c"))
    assert "apps.sql_result_limit_bytes" in messages[0]


def test_the_size_of_the_database(storage, app):
    """A full database refuses what makes it larger, and takes it when something was removed."""
    with fails("QUOTA_EXCEEDED") as messages:
        for _ in range(20):
            app.execute("INSERT INTO t (v) VALUES (zeroblob(100000))")
    assert "apps.sql_limit_bytes = 1048576" in messages[0]
    kept = app.sql("SELECT count(*) FROM t")[0][0]
    assert 5 < kept < 11
    app.execute("DELETE FROM t")
    app.execute("INSERT INTO t (v) VALUES (zeroblob(100000))")
    assert storage.databases.path("/shop").stat().st_size <= 1 << 20


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([2**63], "STORAGE_ARGUMENTS"),
        ([[1]], "STORAGE_ARGUMENTS"),
        ([{"x": 1}], "STORAGE_ARGUMENTS"),
        ([{"b64": "?"}], "STORAGE_ARGUMENTS"),
        ([], "SQL_ERROR"),
        ([1, 2], "SQL_ERROR"),
        ({"y": 1}, "SQL_ERROR"),
        (5, "STORAGE_ARGUMENTS"),
    ],
)
def test_parameters_that_cannot_be_bound(app, params, code):
    """Each is an answer, never an exception of the host."""
    with fails(code):
        app("sql", "query", text="SELECT :x", params=params)


def test_statements_too_deep_or_long(app):
    """SQLite's own limits are low enough to refuse before its stack or memory is."""
    with pytest.raises(EffectFailure):
        app.sql("SELECT " + "(" * 5000 + "1" + ")" * 5000)
    with pytest.raises(EffectFailure):
        app.sql("SELECT " + "1+" * 5000 + "1")
    with pytest.raises(EffectFailure):
        app.sql(" UNION ALL ".join(["SELECT 1"] * 500))
    with fails("STORAGE_TOO_LARGE"):
        app.sql("SELECT '" + "x" * (1 << 20) + "'")


def test_apps_have_their_own_files(storage, app):
    """One does not see the tables of another, nor of the same name of another tenant."""
    app.execute("INSERT INTO t (v) VALUES ('mine')")
    for other in (App(storage, "other"), App(storage, "shop", tenant="acme")):
        with fails("SQL_ERROR"):
            other.sql("SELECT * FROM t")
    names = {path.name for path in storage.databases.path("/shop").parent.iterdir()}
    assert all(name.partition(".")[0].isalnum() for name in names)
    assert App(storage, "../../etc/x").sql("SELECT 1") == [[1]]
    assert all(path.is_file() for path in storage.databases.path("/shop").parent.iterdir())


def test_many_apps_share_few_open_files(tmp_path):
    """The one used longest ago is closed; it is opened again when it is asked."""
    with opened(tmp_path, sql_open_count_max=2) as storage:
        apps = [App(storage, f"app{index}") for index in range(5)]
        for app in apps:
            app.execute("CREATE TABLE t (v)")
        for app in apps:
            app.execute("INSERT INTO t VALUES (1)")
            assert app.sql("SELECT v FROM t") == [[1]]
        assert len(storage.databases.open_apps) == 2


def test_writers_take_turns(storage, app):
    """Runs of one app that write at once lose nothing."""
    app.execute("INSERT INTO t (id, v) VALUES (1, 0)")
    errors = []

    def count_up(index):
        mine = App(storage, run_id=f"run{index}")
        try:
            for _ in range(10):
                mine.execute("UPDATE t SET v = v + 1 WHERE id = 1")
        except EffectFailure as error:
            errors.append(error)

    threads = [threading.Thread(target=count_up, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert app.sql("SELECT v FROM t") == [[40 - 10 * len(errors)]]
    assert errors == []


@hurried
def test_another_process_that_holds_the_file(storage, app):
    """Whoever waits for it too long is told that trying again helps."""
    holder = sqlite3.connect(storage.databases.path("/shop"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(EffectFailure) as raised:
        app.execute("INSERT INTO t (v) VALUES (1)")
    assert (raised.value.error.code, raised.value.error.retryable) == ("SQL_BUSY", True)
    holder.execute("ROLLBACK")
    holder.close()
    app.execute("INSERT INTO t (v) VALUES (1)")


def test_a_file_that_is_no_database(storage):
    """The app gets an error, the file stays for inspection."""
    path = storage.databases.path("/shop")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    with fails("SQL_UNAVAILABLE"):
        App(storage).sql("SELECT * FROM sqlite_master")
    with fails("SQL_UNAVAILABLE"):
        App(storage).execute("CREATE TABLE t (v)")
    assert path.read_bytes() == b"not a database" * 100


def test_an_app_that_goes_takes_its_file(storage, app):
    """Nothing of it is left, and a new one of the same name is empty."""
    path = storage.databases.path("/shop")
    assert path.exists()
    assert storage.remove_app("shop") >= 1
    assert not list(path.parent.iterdir())
    with fails("SQL_ERROR"):
        app.sql("SELECT * FROM t")

"""Effects of apps: arguments, failures, repeats, and that apps stay apart whatever they say."""

from __future__ import annotations

import pytest

from cloche.apps.storage.errors import StorageArgumentsError
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.testing.app_storage import Asker

from .support import App, fails, opened


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    """Return storage of each kind that needs no server."""
    url = "memory:" if request.param == "memory" else str(tmp_path / "cloche.db")
    with opened(tmp_path, url) as storage:
        yield storage


@pytest.fixture
def app(storage):
    """Return an app."""
    return App(storage)


@pytest.mark.parametrize("kind", ["kv", "docs", "blobs", "sql", "jobs"])
def test_unknown_targets(app, kind):
    """What does not exist is named, with what does."""
    with fails("STORAGE_TARGET") as messages:
        app(kind, "explode")
    assert messages[0].startswith(f"there is no effect {kind}.explode; there are ")


@pytest.mark.parametrize(
    ("kind", "target", "args"),
    [
        ("kv", "get", {}),
        ("kv", "get", {"key": 5}),
        ("kv", "get", {"key": ""}),
        ("kv", "get", {"key": "a\0b"}),
        ("kv", "get", {"key": "x" * 513}),
        ("kv", "get", {"key": "k", "app": "/other"}),
        ("kv", "set", {"key": "k", "value": 1, "ttl_ms": -1}),
        ("kv", "set", {"key": "k", "value": 1, "ttl_ms": 1 << 62}),
        ("kv", "set", {"key": "k", "value": 1, "ttl_ms": "5"}),
        ("kv", "cas", {"key": "k", "value": 1}),
        ("kv", "list", {"limit": 0}),
        ("kv", "list", {"limit": 10**9}),
        ("docs", "insert", {"collection": "c", "doc": []}),
        ("docs", "insert", {"collection": "", "doc": {}}),
        ("docs", "insert", {"collection": "c" * 129, "doc": {}}),
        ("docs", "insert", {"collection": "c", "doc": {"id": 5}}),
        ("docs", "insert", {"collection": "c", "doc": {"id": ""}}),
        ("docs", "insert", {"collection": "c", "doc": {"_created_at_ms": 5}}),
        ("docs", "insert", {"collection": "c", "doc": {"$set": 5}}),
        ("docs", "find", {"collection": "c", "offset": -1}),
        ("docs", "find", {"collection": "c", "order": 5}),
        ("docs", "find", {"collection": "c", "order": ["a"] * 9}),
        ("docs", "update", {"collection": "c", "changes": {"a": 1}}),
        ("docs", "delete", {"collection": "c"}),
        ("jobs", "spawn", {}),
        ("jobs", "spawn", {"name": "j", "retry": -1}),
        ("jobs", "spawn", {"name": "j", "retry": 21}),
        ("jobs", "spawn", {"name": "j", "priority": "urgent"}),
        ("jobs", "spawn", {"name": "j", "priority": 11}),
        ("jobs", "spawn", {"name": "j", "backoff_ms": 0}),
        ("jobs", "spawn", {"name": "j", "timeout_ms": 0}),
        ("jobs", "spawn", {"name": "j", "delay_ms": -1}),
        ("jobs", "spawn", {"name": "j", "unique_key": ""}),
        ("jobs", "list", {"state": "lost"}),
        ("sql", "batch", {"statements": []}),
        ("sql", "batch", {"statements": [{"text": "SELECT 1"}] * 101}),
        ("sql", "query", {"text": 5}),
    ],
)
def test_arguments_that_mean_nothing(app, kind, target, args):
    """They are an answer, never an exception of the host."""
    with fails("STORAGE_ARGUMENTS") as messages:
        app(kind, target, **args)
    assert messages[0]


@pytest.mark.parametrize("args", [None, [], "x", 5])
def test_arguments_that_are_no_object(app, args):
    """Whatever JSON a guest sends is answered."""
    handler = app.handlers["kv"]
    request = App.request(0, "kv", "get", args)
    with fails("STORAGE_ARGUMENTS"):
        handler.perform(request, "run")


@pytest.mark.parametrize(
    ("kind", "target", "args", "code"),
    [
        ("kv", "set", {"key": "k", "value": "x" * (1 << 20)}, "STORAGE_TOO_LARGE"),
        ("docs", "insert", {"collection": "c", "doc": {"v": "x" * (1 << 18)}}, "STORAGE_TOO_LARGE"),
        ("jobs", "spawn", {"name": "j", "data": "x" * (1 << 18)}, "STORAGE_TOO_LARGE"),
        ("docs", "find", {"collection": "c", "query": {"$x": 1}}, "OPERATOR_UNKNOWN"),
        ("docs", "find", {"collection": "c", "query": {"a": {"$gt": []}}}, "QUERY_INVALID"),
        ("docs", "find", {"collection": "c", "order": ""}, "QUERY_INVALID"),
        ("docs", "update", {"collection": "c", "query": {}, "changes": {}}, "CHANGE_INVALID"),
        (
            "docs",
            "update",
            {"collection": "c", "query": {}, "changes": {"$x": {}}},
            "OPERATOR_UNKNOWN",
        ),
        ("docs", "index", {"collection": "c", "field": "a..b"}, "QUERY_INVALID"),
        ("jobs", "progress", {"value": 5}, "JOB_CONTEXT"),
        ("jobs", "checkpoint", {"value": 5}, "JOB_CONTEXT"),
        ("jobs", "last_checkpoint", {}, "JOB_CONTEXT"),
        ("jobs", "cancelled", {}, "JOB_CONTEXT"),
    ],
)
def test_what_is_refused(app, kind, target, args, code):
    """Each refusal has its code, before anything was kept."""
    with fails(code):
        app(kind, target, **args)
    assert app("kv", "list") == app("jobs", "list") == []
    assert app("docs", "count", collection="c") == 0


def test_documents_too_deep(app):
    """A document has so many levels, after a change too."""
    deep = {}
    for _ in range(31):
        deep = {"x": deep}
    app("docs", "insert", collection="c", doc=deep)
    with fails("STORAGE_TOO_LARGE") as messages:
        app("docs", "update", collection="c", query={}, changes={"$set": {"x": deep}})
    assert "apps.doc_depth_max = 32" in messages[0]
    with fails("STORAGE_TOO_LARGE"):
        app("docs", "insert", collection="c", doc={"x": deep})


NAMES = ["k", "' OR 1=1 --", '"; DROP TABLE app_kv; --', "%", "_", "a/../b", "\u202e", "ÄB", "K"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_names(storage, app, name):
    """Whatever stands in a name, it is that name's value that is found, and of this app."""
    other = App(storage, "other")
    for one in NAMES:
        app("kv", "set", key=one, value=["mine", one])
        app("docs", "insert", collection=one, doc={"id": one, one: {one: 1}})
        other("kv", "set", key=one, value="theirs")
    assert app("kv", "get", key=name) == ["mine", name]
    assert {entry["key"] for entry in app("kv", "list", prefix=name)} == {
        one for one in NAMES if one.startswith(name)
    }
    assert app("docs", "get", collection=name, id=name)[name] == {name: 1}
    if "." not in name:
        assert app("docs", "count", collection=name, query={name: {name: 1}}) == 1
        app("docs", "index", collection=name, field=name)
        assert app("docs", "find_one", collection=name, order=name)["id"] == name
    assert app("docs", "delete", collection=name, query=name) == 1
    assert [app("docs", "count", collection=one) for one in NAMES].count(0) == 1
    assert app("kv", "delete", key=name) is True
    assert len(app("kv", "list")) == len(NAMES) - 1
    assert len(other("kv", "list")) == len(NAMES)


@pytest.mark.parametrize("value", ["' OR '1'='1", "'); DELETE FROM app_docs; --", "\0", "%"])
def test_operators_are_no_sql(app, value):
    """Operands are compared, never executed."""
    app("docs", "insert", collection="c", doc={"v": value})
    app("docs", "insert", collection="c", doc={"v": "other"})
    app("docs", "index", collection="c", field="v")
    for query in ({"v": value}, {"v": {"$in": [value]}}, {"v": {"$contains": value}}):
        assert app("docs", "count", collection="c", query=query) == 1
    assert app("docs", "count", collection="c") == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", ""), ("A", "")),
        (("a", "b"), ("a", "c")),
        (("a", ""), ("a", "a")),
        (("b/a", ""), ("a", "b")),
        (("/a", ""), ("a", "")),
    ],
)
def test_names_of_apps_do_not_meet(storage, one, other):
    """Two different pairs of tenant and app never share anything."""
    App(storage, one[0], one[1])("kv", "set", key="k", value=1)
    App(storage, other[0], other[1])("kv", "set", key="k", value=2)
    assert App(storage, one[0], one[1])("kv", "get", key="k") == 1


@pytest.mark.parametrize(
    ("app_id", "tenant"), [("", ""), ("a", "b/c"), ("a\0", ""), ("x" * 101, "")]
)
def test_names_that_apps_cannot_have(storage, app_id, tenant):
    """They are refused where handlers are made, not when they are used."""
    with pytest.raises(StorageArgumentsError):
        storage.handlers(app_id, tenant=tenant)


def test_a_repeat_in_another_run_is_another_effect(storage):
    """The key is of one place of one run: a second request inserts again."""
    for run_id in ("one", "two", "one"):
        App(storage, run_id=run_id)("docs", "insert", collection="c", doc={"n": 1})
    assert App(storage)("docs", "count", collection="c") == 2


def test_a_repeat_after_the_world_went_on(app):
    """An increment that is asked for again does not undo, or redo, what came after."""
    app("docs", "insert", collection="c", doc={"id": "d", "n": 0})
    args = {"collection": "c", "query": "d", "changes": {"$inc": {"n": 1}}}
    assert app.again(50, "docs", "update", **args) == 1
    app("docs", "update", collection="c", query="d", changes={"n": 100})
    assert app.again(50, "docs", "update", **args) == 1
    assert app("docs", "get", collection="c", id="d")["n"] == 100


def test_a_store_that_is_gone(tmp_path):
    """The app is told that storage is not there, and nothing of how it is kept."""
    with opened(tmp_path, str(tmp_path / "cloche.db")) as storage:
        app = App(storage)
        app("kv", "set", key="k", value=1)
        storage.store.close()
        with pytest.raises(EffectFailure) as raised:
            app("kv", "get", key="k")
        assert raised.value.error.code == "STORAGE_UNAVAILABLE"
        assert "cloche.db" not in raised.value.error.message


def test_a_run_that_is_almost_over_begins_nothing(storage):
    """With less than the limit left each kind refuses; until then all go on."""
    app = App(storage, timeout_ms=1000)
    storage.clock.now_ns += 950 * 10**6
    app("kv", "set", key="k", value=1)
    storage.clock.now_ns += 10**6
    for kind, target, args in (
        ("kv", "get", {"key": "k"}),
        ("docs", "count", {"collection": "c"}),
        ("sql", "query", {"text": "SELECT 1"}),
    ):
        with fails("STORAGE_TIME") as messages:
            app(kind, target, **args)
        assert messages == [
            (
                "insufficient time: the run ends in 49 ms, and storage needs "
                "apps.storage_left_min_ms = 50"
            )
        ]


def test_sql_gets_half_of_what_is_left(storage):
    """What would take longer is stopped while the run can still say so."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    with fails("SQL_TIMEOUT") as messages:
        App(storage, timeout_ms=300).sql(endless)
    assert "after 150 ms" in messages[0]


def test_removing_an_app_leaves_the_others(storage, app):
    """Everything of the app is gone, from all kinds."""
    other = App(storage, "other")
    for one in (app, other):
        one("kv", "set", key="k", value=1)
        one("docs", "insert", collection="c", doc={})
        one("docs", "index", collection="c", field="a")
        one("blobs", "put", path="p", data={"text": "x"})
        one("jobs", "spawn", name="j")
        one.execute("CREATE TABLE t (v)")
    assert storage.remove_app("shop") >= 6
    assert storage.remove_app("shop") == 0
    assert app("kv", "list") == app("blobs", "list") == app("jobs", "list") == []
    assert app("docs", "count", collection="c") == 0
    with fails("SQL_ERROR"):
        app.sql("SELECT * FROM t")
    assert (
        len(other("kv", "list")) == len(other("blobs", "list")) == len(other("jobs", "list")) == 1
    )
    assert other.sql("SELECT * FROM t") == []


def test_every_limit_of_storage_has_a_use():
    """Limits of the group that storage declares are read somewhere."""
    from pathlib import Path

    import cloche.apps

    folder = Path(cloche.apps.__file__).parent
    text = "\n".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    prefixes = (
        "kv_",
        "doc_",
        "docs_",
        "query_",
        "blob_",
        "blobs_",
        "upload_",
        "sql_",
        "job_",
        "storage_",
    )
    names = [name for name in Limits().apps.to_dict() if name.startswith(prefixes)]
    assert [name for name in names if f".{name}" not in text] == []


class Interrupted:
    """Tables between whose reads and writes somebody else comes, once."""

    def __init__(self, tables, before):
        self.tables, self.before = tables, before

    def read(self, *args):
        return self.tables.read(*args)

    def write(self, *args):
        before, self.before = self.before, lambda: None
        before()
        return self.tables.write(*args)


@pytest.mark.parametrize("target", ["update", "delete"])
def test_what_changed_meanwhile_is_looked_at_again(storage, target):
    """A document that matched when it was found, and does not any more, is left alone."""
    other = Asker(storage.desk._tables)
    for doc_id in ("one", "two", "gone"):
        other.docs("insert", collection="c", doc={"id": doc_id, "state": "free"})

    def take():
        other.docs("update", collection="c", query="one", changes={"state": "taken"})
        other.docs("delete", collection="c", query="gone")

    ask = Asker(Interrupted(storage.desk._tables, take))
    args = {"changes": {"owner": "me"}} if target == "update" else {}
    assert ask.docs(target, collection="c", query={"state": "free"}, **args) == 1
    assert "owner" not in other.docs("get", collection="c", id="one")

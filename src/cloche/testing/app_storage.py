"""Conformance suite of the port that keeps the storage of apps.

Public: whoever writes tables runs every function of `CHECKS` in a test, each with tables of its own
that are empty. Most checks ask what an app asks, through the rules that stand above the port, so
that what apps see is the same on every store. A check raises AssertionError when a rule is broken.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloche.apps.storage.calls import Call, perform
from cloche.apps.storage.docs import Docs
from cloche.apps.storage.errors import (
    AppStorageError,
    DocExistsError,
    JobLostError,
    QuotaError,
    ScanLimitError,
    StorageTooLargeError,
)
from cloche.apps.storage.job_desk import JobDesk
from cloche.apps.storage.jobs import Jobs
from cloche.apps.storage.kv import Kv
from cloche.apps.storage.rows import BlobRow, KvRow
from cloche.limits import Limits
from cloche.store.errors import StoreUnknownError
from cloche.testing.store_support import ABSENT, NOW_NS, at_once, raises

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.apps.storage.ports import AppRows, AppTables

    Check: TypeAlias = Callable[[AppTables], None]

A: Final = "/a"
B: Final = "/b"
MS: Final = 1_000_000
SECOND_NS: Final = 1000 * MS


class Asker:
    """An app that asks: `ask.kv("get", key="k")`. Each effect has a key of its own."""

    def __init__(self, tables: AppTables, *, app: str = A, **limits: int) -> None:
        self.limits = Limits().replace({"apps": limits})
        self.app = app
        self.now_ns = NOW_NS
        self._count = 0
        self._kinds = {
            "kv": Kv(tables, self.limits).operations,
            "docs": Docs(tables, self.limits).operations,
            "jobs": Jobs(tables, self.limits).operations,
        }

    def kv(self, target: str, **args: Any) -> Any:
        """Return the value of an effect of kind kv."""
        return self.ask("kv", target, args)

    def docs(self, target: str, **args: Any) -> Any:
        """Return the value of an effect of kind docs."""
        return self.ask("docs", target, args)

    def jobs(self, target: str, **args: Any) -> Any:
        """Return the value of an effect of kind jobs."""
        return self.ask("jobs", target, args)

    def ask(self, kind: str, target: str, args: dict[str, Any], key: str = "") -> Any:
        """Return the value of an effect, of a given key or one that is new."""
        self._count += 1
        key = key or hashlib.sha256(f"{self.app} {id(self)} {self._count}".encode()).hexdigest()
        call = Call(app=self.app, key=key, now_ns=self.now_ns)
        return perform(kind, self._kinds[kind], call, target, args)


# --- kv ---


def check_keys(tables: AppTables) -> None:
    """A key has the value that was set last, until it is deleted."""
    ask = Asker(tables)
    assert ask.kv("get", key="k") is None
    assert ask.kv("entry", key="k") is None
    value = {"list": [1, 2.5, None, True, "ü\0\U0001f600"], "empty": {}}
    first = ask.kv("set", key="k", value=value)
    assert ask.kv("get", key="k") == value
    second = ask.kv("set", key="k", value=None)
    assert second > first > 0
    found = ask.kv("entry", key="k")
    assert found == {"key": "k", "value": None, "version": second, "expires_at_ms": None}
    assert ask.kv("delete", key="k") is True
    assert ask.kv("delete", key="k") is False
    assert ask.kv("entry", key="k") is None


def check_expiry(tables: AppTables) -> None:
    """A key with a time to live is gone at its end, for every operation."""
    ask = Asker(tables)
    ask.kv("set", key="k", value=1, ttl_ms=1000)
    ask.kv("set", key="later", value=2, ttl_ms=2000)
    ask.now_ns += SECOND_NS - 1
    assert ask.kv("get", key="k") == 1
    assert ask.kv("entry", key="k")["expires_at_ms"] == NOW_NS // MS + 1000
    ask.now_ns += 1
    assert ask.kv("get", key="k") is None
    assert [entry["key"] for entry in ask.kv("list")] == ["later"]
    assert ask.kv("cas", key="k", expected_version=1, value=3) is None
    assert ask.kv("delete", key="k") is False
    assert ask.kv("cas", key="k", expected_version=0, value=3) is not None


def check_compare_and_set(tables: AppTables) -> None:
    """Only who knows the newest version sets; one that was deleted and made again is another."""
    ask = Asker(tables)
    first = ask.kv("cas", key="k", expected_version=0, value=1)
    assert first == ask.kv("entry", key="k")["version"]
    assert ask.kv("cas", key="k", expected_version=0, value=2) is None
    second = ask.kv("cas", key="k", expected_version=first, value=2)
    assert ask.kv("cas", key="k", expected_version=first, value=3) is None
    ask.kv("delete", key="k")
    third = ask.kv("cas", key="k", expected_version=0, value=4)
    assert third not in (first, second, None)
    assert ask.kv("cas", key="k", expected_version=second, value=5) is None
    assert ask.kv("get", key="k") == 4  # noqa: PLR2004 - set above


def check_concurrent_compare_and_set(tables: AppTables) -> None:
    """Of many who count at once none is lost."""
    askers = [Asker(tables) for _ in range(4)]

    def count(index: int) -> None:
        ask = askers[index]
        done = 0
        while done < 10:  # noqa: PLR2004 - a few
            found = ask.kv("entry", key="n") or {"version": 0, "value": 0}
            changed = found["value"] + 1
            version = ask.kv("cas", key="n", expected_version=found["version"], value=changed)
            done += version is not None

    outcomes = at_once(4, count)
    assert outcomes == [None] * 4, outcomes
    assert Asker(tables).kv("get", key="n") == 4 * 10


def check_prefixes(tables: AppTables) -> None:
    """A list has the keys with a prefix in the order of their bytes, page by page."""
    ask = Asker(tables)
    names = ["a", "a%", "a/1", "a/10", "a/2", "a_", "aé", "a\U0001f600", "b", "B"]
    for name in reversed(names):
        ask.kv("set", key=name, value=name)
    listed = [entry["key"] for entry in ask.kv("list")]
    assert listed == sorted(names, key=str.encode)
    assert [entry["value"] for entry in ask.kv("list", prefix="a/")] == ["a/1", "a/10", "a/2"]
    assert [entry["key"] for entry in ask.kv("list", prefix="a%")] == ["a%"]
    assert [entry["key"] for entry in ask.kv("list", prefix="a_")] == ["a_"]
    assert [entry["key"] for entry in ask.kv("list", prefix="a/", after="a/1", limit=1)] == ["a/10"]
    assert ask.kv("list", prefix="c") == []


def check_quota_of_keys(tables: AppTables) -> None:
    """Counts and bytes are those that are there; what has expired makes room for what is new."""
    ask = Asker(tables, kv_count_max=2, kv_limit_bytes=1024)
    ask.kv("set", key="a", value="x" * 500)
    ask.kv("set", key="b", value="", ttl_ms=1)
    raises(QuotaError, lambda: ask.kv("set", key="c", value=""), limit="apps.kv_count_max", used=2)
    raises(
        QuotaError,
        lambda: ask.kv("set", key="a", value="x" * 1020),
        limit="apps.kv_limit_bytes",
        maximum=1024,
    )
    assert ask.kv("get", key="a") == "x" * 500
    ask.kv("set", key="a", value="y" * 900)
    ask.now_ns += SECOND_NS
    ask.kv("set", key="c", value="")
    raises(QuotaError, lambda: ask.kv("set", key="d", value=""))
    ask.kv("delete", key="a")
    ask.kv("set", key="d", value="x" * 900)


def check_quota_of_an_expired_key(tables: AppTables) -> None:
    """A key that makes room for its own successor is counted once, like any other."""
    ask = Asker(tables, app=B, kv_count_max=2, kv_limit_bytes=1024)
    ask.kv("set", key="a", value="x" * 500, ttl_ms=1)
    ask.kv("set", key="b", value="x" * 100, ttl_ms=1)
    ask.now_ns += SECOND_NS
    ask.kv("set", key="a", value="y" * 950)
    raises(QuotaError, lambda: ask.kv("set", key="c", value="z" * 70), limit="apps.kv_limit_bytes")
    ask.kv("set", key="c", value="")
    raises(QuotaError, lambda: ask.kv("set", key="d", value=""), limit="apps.kv_count_max", used=2)


# --- docs ---


def check_documents_of_apps(tables: AppTables) -> None:
    """Documents are found by what is in them, changed, and removed."""
    ask = Asker(tables)
    made = [
        ask.docs("insert", collection="c", doc={"name": name, "age": age})
        for name, age in (("ann", 30), ("bob", 25), ("cid", 35))
    ]
    first = ask.docs("get", collection="c", id=made[0])
    when_ms = NOW_NS // MS
    assert first == {
        "id": made[0],
        "name": "ann",
        "age": 30,
        "_created_at_ms": when_ms,
        "_updated_at_ms": when_ms,
    }
    older = ask.docs("find", collection="c", query={"age": {"$gt": 26}}, order="-age")
    assert [doc["name"] for doc in older] == ["cid", "ann"]
    assert ask.docs("find_one", collection="c", query={"name": "bob"})["age"] == 25  # noqa: PLR2004
    assert ask.docs("find_one", collection="c", query={"name": "dee"}) is None
    assert ask.docs("count", collection="c") == len(made)
    assert ask.docs("count", collection="c", query={"age": {"$lt": 31}}) == 2  # noqa: PLR2004
    ask.now_ns += SECOND_NS
    changed = ask.docs("update", collection="c", query=made[0], changes={"$inc": {"age": 1}})
    assert changed == 1
    first = ask.docs("get", collection="c", id=made[0])
    assert (first["age"], first["_updated_at_ms"]) == (31, when_ms + 1000)
    assert ask.docs("delete", collection="c", query={"age": {"$gte": 31}}) == 2  # noqa: PLR2004
    assert ask.docs("count", collection="c") == 1
    ask.docs("insert", collection="c", doc={"id": "mine"})
    raises(DocExistsError, lambda: ask.docs("insert", collection="c", doc={"id": "mine"}))
    assert ask.docs("count", collection="other") == 0


def check_pages_of_documents(tables: AppTables) -> None:
    """Offset and limit cut the same list, in the order of ids or of fields."""
    ask = Asker(tables)
    for index in range(450):
        ask.docs("insert", collection="c", doc={"id": f"{index:03}", "n": index % 7})
    ids = [f"{index:03}" for index in range(450)]
    found = ask.docs("find", collection="c", offset=200, limit=30)
    assert [doc["id"] for doc in found] == ids[200:230]
    expected = sorted(ids, key=lambda doc_id: (-(int(doc_id) % 7), doc_id))
    found = ask.docs("find", collection="c", order=["-n", "id"], offset=60, limit=10)
    assert [doc["id"] for doc in found] == expected[60:70]


def check_indexes(tables: AppTables) -> None:
    """An index changes how many documents are looked at, and nothing else."""
    ask = Asker(tables)
    values = [None, True, 0, -1, 2.5, 10**15, "", "a", "ab", "é", "x" * 300, [1], {"k": 1}]
    for index, value in enumerate(values * 3):
        ask.docs("insert", collection="c", doc={"id": f"{index:02}", "v": value})
    ask.docs("insert", collection="c", doc={"id": "none"})
    queries: list[Any] = [{"v": {"$gt": 0}}, {"v": {"$lte": "a"}}, {"v": {"$gt": "x" * 299}}]
    queries += [{"v": value} for value in values]
    queries += [{"v": {"$gte": -1, "$lt": 2.5}}, {"v": None, "id": "00"}, {"v": {"$ne": 0}}]
    before = [ask.docs("find", collection="c", query=query) for query in queries]
    for _ in range(2):
        assert ask.docs("index", collection="c", field="v") is True
    assert [ask.docs("find", collection="c", query=query) for query in queries] == before
    ask.docs("update", collection="c", query={"v": 0}, changes={"v": 7})
    assert ask.docs("count", collection="c", query={"v": 7}) == 3  # noqa: PLR2004
    assert ask.docs("count", collection="c", query={"v": 0}) == 0
    ask.docs("delete", collection="c", query={"v": 7})
    narrow = Asker(tables, query_scan_count_max=3)
    assert narrow.docs("count", collection="c", query={"v": "ab"}) == 3  # noqa: PLR2004
    raises(
        ScanLimitError,
        lambda: narrow.docs("count", collection="c", query={"w": 1}),
        collection="c",
        maximum=3,
    )


def check_quota_of_documents(tables: AppTables) -> None:
    """Documents and their index entries count; what is removed does not."""
    ask = Asker(tables, doc_count_max=3, docs_limit_bytes=2048, doc_index_count_max=1)
    for index in range(3):
        ask.docs("insert", collection="c", doc={"id": str(index), "v": "x" * 100})
    raises(QuotaError, lambda: ask.docs("insert", collection="c", doc={}), used=3)
    raises(
        QuotaError,
        lambda: ask.docs("update", collection="c", query={}, changes={"v": "y" * 1000}),
        limit="apps.docs_limit_bytes",
    )
    assert ask.docs("count", collection="c", query={"v": "x" * 100}) == 3  # noqa: PLR2004
    ask.docs("index", collection="c", field="v")
    raises(QuotaError, lambda: ask.docs("index", collection="c", field="w"), what="indexes")
    assert ask.docs("delete", collection="c", query={"id": {"$in": ["0", "1"]}}) == 2  # noqa: PLR2004
    ask.docs("insert", collection="c", doc={"v": "y" * 1000})
    used = tables.read(A, "docs", lambda rows: rows.usage)
    assert used.count == 2  # noqa: PLR2004
    ask.docs("delete", collection="c", query={})
    used = tables.read(A, "docs", lambda rows: rows.usage)
    assert (used.count, used.size_bytes) == (0, 0)


def check_large_results(tables: AppTables) -> None:
    """An answer over the limit of a value is refused, never cut."""
    ask = Asker(tables)
    ask.limits = ask.limits.replace({"gate": {"value_limit_bytes": 1 << 20}})
    ask = _with_limits(tables, ask.limits)
    for index in range(6):
        ask.kv("set", key=f"k{index}", value="x" * 200_000)
        ask.docs("insert", collection="c", doc={"v": "x" * 200_000})
    raises(StorageTooLargeError, lambda: ask.kv("list"), limit="gate.value_limit_bytes")
    raises(StorageTooLargeError, lambda: ask.docs("find", collection="c"))
    assert len(ask.docs("find", collection="c", limit=5)) == 5  # noqa: PLR2004


def _with_limits(tables: AppTables, limits: Limits) -> Asker:
    ask = Asker(tables)
    ask.limits = limits
    ask._kinds = {
        "kv": Kv(tables, limits).operations,
        "docs": Docs(tables, limits).operations,
    }
    return ask


# --- what holds for all ---


def check_repeated_effects(tables: AppTables) -> None:
    """A write that is asked for again under its key changes nothing, and answers the same."""
    ask = Asker(tables)

    def twice(kind: str, target: str, **args: Any) -> Any:
        key = hashlib.sha256(f"{kind}{target}".encode()).hexdigest()
        first = ask.ask(kind, target, args, key)
        ask.now_ns += SECOND_NS
        assert ask.ask(kind, target, args, key) == first
        return first

    doc_id = twice("docs", "insert", collection="c", doc={"n": 1})
    assert ask.docs("count", collection="c") == 1
    assert twice("docs", "update", collection="c", query={}, changes={"$inc": {"n": 1}}) == 1
    assert ask.docs("get", collection="c", id=doc_id)["n"] == 2  # noqa: PLR2004
    assert twice("kv", "cas", key="k", expected_version=0, value=1) is not None
    assert twice("kv", "delete", key="k") is True
    assert twice("docs", "delete", collection="c", query={}) == 1
    job_id = twice("jobs", "spawn", name="j")
    assert [job["id"] for job in ask.jobs("list")] == [job_id]
    assert twice("jobs", "cancel", id=job_id) is True
    assert tables.prune(remembered_before_ns=NOW_NS + 1, limit=1) == 1
    assert tables.prune(remembered_before_ns=ask.now_ns + 1, limit=100) > 1
    assert tables.prune(remembered_before_ns=ask.now_ns + 1, limit=100) == 0


def check_failed_writes(tables: AppTables) -> None:
    """A transaction that raises has changed nothing, whatever it did before."""
    tables.write(A, "kv", lambda rows: rows.put_key(KvRow(key="k", value=b"1", version=1)))

    def work(rows: AppRows) -> None:
        rows.put_key(KvRow(key="k", value=b"2", version=2))
        rows.put_key(KvRow(key="new", value=b"3", version=3))
        rows.remember("key", b"null", NOW_NS)
        rows.remove_key("k")
        raise DocExistsError(collection="c", id="i")

    raises(AppStorageError, lambda: tables.write(A, "kv", work))

    def look(rows: AppRows) -> tuple[bytes | None, bool, bytes | None]:
        found = rows.get_key("k")
        value = None if found is None else found.value
        return value, rows.get_key("new") is None, rows.recall("key")

    assert tables.read(A, "kv", look) == (b"1", True, None)


def check_apps_are_apart(tables: AppTables) -> None:
    """What one app keeps is not there for another, and going away takes nothing of another."""
    one, other = Asker(tables, app=A), Asker(tables, app=B)
    for ask in (one, other):
        ask.kv("set", key="k", value=ask.app)
        ask.docs("insert", collection="c", doc={"id": "d", "v": ask.app})
        ask.docs("index", collection="c", field="v")
        ask.jobs("spawn", name=ask.app, unique_key="u")
    assert one.kv("get", key="k") == A
    assert [doc["v"] for doc in one.docs("find", collection="c")] == [A]
    assert one.docs("count", collection="c", query={"v": B}) == 0
    assert one.docs("delete", collection="c", query={}) == 1
    assert one.docs("insert", collection="c", doc={"id": "d", "v": A}) == "d"
    assert [job["name"] for job in one.jobs("list")] == [A]
    theirs = other.jobs("list")[0]["id"]
    assert one.jobs("cancel", id=theirs) is False or theirs == one.jobs("list")[0]["id"]
    count = 0
    while removed := tables.remove_app(A, limit=2):
        count += removed
    assert count > 0
    assert one.kv("list") == one.docs("find", collection="c") == one.jobs("list") == []
    assert other.kv("get", key="k") == B
    assert other.docs("count", collection="c", query={"v": B}) == 1


def check_blobs_of_apps(tables: AppTables) -> None:
    """A content is kept as long as a path of some app names it."""
    sha256, size_bytes = tables.put_content(iter([b"abc", b"def"]), NOW_NS)
    assert (sha256, size_bytes) == (hashlib.sha256(b"abcdef").hexdigest(), 6)
    row = BlobRow(path="p/1", sha256=sha256, size_bytes=6, mime="text/plain", updated_ns=NOW_NS)
    for app in (A, B):
        tables.write(app, "blobs", lambda rows: rows.put_blob(row))
    tables.write(A, "blobs", lambda rows: rows.remove_blob("p/1"))
    assert tables.read(A, "blobs", lambda rows: rows.get_blob("p/1")) is None
    assert tables.read(B, "blobs", lambda rows: rows.get_blob("p/1")) == row
    assert b"".join(tables.read_content(sha256)) == b"abcdef"
    lost = BlobRow(path="p/2", sha256=ABSENT, size_bytes=1, mime="", updated_ns=NOW_NS)
    raises(StoreUnknownError, lambda: tables.write(B, "blobs", lambda rows: rows.put_blob(lost)))
    listed = tables.read(B, "blobs", lambda rows: rows.blobs(start="p", after="", limit=10))
    assert list(listed) == [row]


# --- jobs ---


def check_jobs(tables: AppTables) -> None:
    """Jobs go by priority, then by time; each is given to one worker, with a lease."""
    ask, desk = Asker(tables), JobDesk(tables, Limits())
    low = ask.jobs("spawn", name="low", priority="low")
    first = ask.jobs("spawn", name="first", data={"x": 1})
    ask.jobs("spawn", name="later", delay_ms=1000)
    high = ask.jobs("spawn", name="high", priority="high")
    assert ask.jobs("list")[0]["id"] == max(job["id"] for job in ask.jobs("list"))
    assert list(desk.due_apps(NOW_NS)) == [A]
    assert desk.next_due_ns() == NOW_NS
    begun, _ = desk.claim(A, owner="w1", now_ns=NOW_NS, limit=2)
    assert [job.id for job in begun] == [high, first]
    rest, running = desk.claim(A, owner="w2", now_ns=NOW_NS, limit=5)
    assert ([job.id for job in rest], running) == ([low], 2)
    assert list(desk.due_apps(NOW_NS)) == []
    assert desk.next_due_ns() == NOW_NS + SECOND_NS
    desk.finish(A, begun[1], {"y": 2}, NOW_NS + 5)
    found = ask.jobs("get", id=first)
    assert (found["state"], found["result"], found["data"]) == ("done", {"y": 2}, {"x": 1})
    raises(JobLostError, lambda: desk.finish(A, begun[1], None, NOW_NS))
    assert [job["id"] for job in ask.jobs("list", state="running")] == sorted([low, high])[::-1]


def check_retries(tables: AppTables) -> None:
    """A job that fails waits twice as long each time, and is over after its attempts."""
    ask, desk = Asker(tables), JobDesk(tables, Limits())
    job_id = ask.jobs("spawn", name="j", retry=2, backoff_ms=40_000)
    now_ns, waits = NOW_NS, []
    for attempt in (1, 2, 3):
        begun, _ = desk.claim(A, owner="w", now_ns=now_ns, limit=1)
        assert [(job.id, job.attempt) for job in begun] == [(job_id, attempt)]
        after = desk.fail(A, begun[0], f"error {attempt}", now_ns)
        if after.state == "pending":
            waits.append((after.due_ns - now_ns) // MS)
            assert desk.claim(A, owner="w", now_ns=after.due_ns - 1, limit=1)[0] == ()
            now_ns = after.due_ns
    assert waits == [40_000, 60_000]
    found = ask.jobs("get", id=job_id)
    assert (found["state"], found["error"], found["attempt"]) == ("failed", "error 3", 3)


def check_lost_jobs(tables: AppTables) -> None:
    """A job whose worker is silent for longer than its lease is given to another, not for ever."""
    limits = Limits().replace({"apps": {"job_lease_ms": 1000, "job_lost_count_max": 1}})
    ask, desk = Asker(tables), JobDesk(tables, limits)
    job_id = ask.jobs("spawn", name="j")
    ((lost,), _) = desk.claim(A, owner="w1", now_ns=NOW_NS, limit=1)
    lost = desk.renew(A, lost, NOW_NS + SECOND_NS // 2)
    end_ns = NOW_NS + SECOND_NS // 2 + SECOND_NS
    assert desk.claim(A, owner="w2", now_ns=end_ns - 1, limit=1)[0] == ()
    assert list(desk.due_apps(end_ns)) == [A]
    ((again,), _) = desk.claim(A, owner="w2", now_ns=end_ns, limit=1)
    assert (again.id, again.attempt, again.lost) == (job_id, 2, 1)
    raises(JobLostError, lambda: desk.renew(A, lost, end_ns))
    raises(JobLostError, lambda: desk.finish(A, lost, None, end_ns))
    assert desk.claim(A, owner="w3", now_ns=end_ns + SECOND_NS, limit=1)[0] == ()
    assert ask.jobs("get", id=job_id)["state"] == "failed"
    assert desk.next_due_ns() is None


def check_cancelled_jobs(tables: AppTables) -> None:
    """A job that waits is over at once; one that runs is told, and over when its attempt ends."""
    ask, desk = Asker(tables), JobDesk(tables, Limits())
    waiting = ask.jobs("spawn", name="w", delay_ms=1000)
    running = ask.jobs("spawn", name="r", retry=5)
    ((job,), _) = desk.claim(A, owner="w", now_ns=NOW_NS, limit=5)
    assert ask.jobs("cancel", id=waiting) is True
    assert ask.jobs("cancel", id=running) is True
    assert ask.jobs("cancel", id="absent") is False
    assert ask.jobs("get", id=waiting)["state"] == "cancelled"
    assert desk.renew(A, job, NOW_NS).is_cancelled
    assert desk.fail(A, job, "stopped", NOW_NS).state == "cancelled"
    assert ask.jobs("cancel", id=running) is False
    later_ns = NOW_NS + 8 * 86_400 * SECOND_NS
    assert desk.prune(A, NOW_NS) == 0
    assert desk.prune(A, later_ns) == 2  # noqa: PLR2004
    assert ask.jobs("list") == []


def check_kept_jobs(tables: AppTables) -> None:
    """Of the jobs that ended the newest are kept; those that did not end stay, however old."""
    ask = Asker(tables)
    desk = JobDesk(tables, Limits().replace({"apps": {"job_kept_count_max": 2}}))
    waiting = ask.jobs("spawn", name="waiting", priority="low")
    ended = [ask.jobs("spawn", name="j") for _ in range(4)]
    begun, _ = desk.claim(A, owner="w", now_ns=NOW_NS, limit=4)
    assert sorted(job.id for job in begun) == sorted(ended)
    for index, job in enumerate(begun):
        desk.finish(A, job, None, NOW_NS + index)
    assert desk.prune(A, NOW_NS + SECOND_NS) == 2  # noqa: PLR2004
    kept = {begun[2].id, begun[3].id, waiting}
    assert {job["id"] for job in ask.jobs("list")} == kept
    assert desk.prune(A, NOW_NS + SECOND_NS) == 0


def check_unique_jobs(tables: AppTables) -> None:
    """Of a unique key there is one job that has not ended; the queue has its limit."""
    ask, desk = Asker(tables, job_queue_length_max=2), JobDesk(tables, Limits())
    first = ask.jobs("spawn", name="j", unique_key="u", priority="high")
    assert ask.jobs("spawn", name="other", unique_key="u") == first
    ask.jobs("spawn", name="j")
    raises(QuotaError, lambda: ask.jobs("spawn", name="j"), limit="apps.job_queue_length_max")
    assert ask.jobs("spawn", name="j", unique_key="u") == first
    begun, _ = desk.claim(A, owner="w", now_ns=NOW_NS, limit=1)
    assert ask.jobs("spawn", name="j", unique_key="u") == begun[0].id == first
    desk.finish(A, begun[0], None, NOW_NS)
    assert ask.jobs("spawn", name="j", unique_key="u") != first


def check_concurrent_claims(tables: AppTables) -> None:
    """Of many workers who look at once each job goes to one, and no app runs more than it may."""
    ask = Asker(tables)
    desk = JobDesk(tables, Limits().replace({"apps": {"job_concurrency_max": 12}}))
    spawned = {ask.jobs("spawn", name="j") for _ in range(16)}
    outcomes = at_once(4, lambda index: desk.claim(A, owner=f"w{index}", now_ns=NOW_NS, limit=8)[0])
    claimed = [job.id for jobs in outcomes for job in jobs]
    assert len(claimed) == len(set(claimed)) == 12, outcomes  # noqa: PLR2004
    assert set(claimed) <= spawned


def check_schedules(tables: AppTables) -> None:
    """Each time of a schedule fires once, late ones too; what is taken away fires no more."""
    ask, desk = Asker(tables), JobDesk(tables, Limits())
    minute_ns = 60 * SECOND_NS
    start_ns = NOW_NS // minute_ns * minute_ns
    desk.set_schedules(A, {"tick": "* * * * *", "never": "0 0 29 2 *"}, start_ns)
    assert desk.next_due_ns() == start_ns + minute_ns
    assert desk.claim(A, owner="w", now_ns=start_ns + minute_ns - 1, limit=5)[0] == ()
    now_ns = start_ns + 3 * minute_ns
    begun, _ = desk.claim(A, owner="w", now_ns=now_ns, limit=5)
    times = [job.due_ns for job in begun]
    assert len(times) == 3  # noqa: PLR2004
    assert all(job.schedule and job.name == "tick" for job in begun)
    assert desk.claim(A, owner="w", now_ns=now_ns, limit=5)[0] == ()
    desk.set_schedules(A, {"tick": "* * * * *"}, now_ns)
    assert desk.next_due_ns() == min(start_ns + 4 * minute_ns, now_ns + 30 * SECOND_NS)
    desk.set_schedules(A, {}, now_ns)
    raises(
        QuotaError,
        lambda: desk.set_schedules(A, {str(index): "* * * * *" for index in range(33)}, now_ns),
    )
    for job in begun:
        desk.finish(A, job, None, now_ns)
    assert desk.next_due_ns() is None
    assert len(ask.jobs("list", state="done")) == 3  # noqa: PLR2004


CHECKS: Final[tuple[Check, ...]] = (
    check_keys,
    check_expiry,
    check_compare_and_set,
    check_concurrent_compare_and_set,
    check_prefixes,
    check_quota_of_keys,
    check_quota_of_an_expired_key,
    check_documents_of_apps,
    check_pages_of_documents,
    check_indexes,
    check_quota_of_documents,
    check_large_results,
    check_repeated_effects,
    check_failed_writes,
    check_apps_are_apart,
    check_blobs_of_apps,
    check_jobs,
    check_retries,
    check_lost_jobs,
    check_cancelled_jobs,
    check_kept_jobs,
    check_unique_jobs,
    check_concurrent_claims,
    check_schedules,
)

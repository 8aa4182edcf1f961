"""What apps say: told at once, kept for a while, bounded, and never forged."""

from __future__ import annotations

import threading

import pytest

from cloche.apps.logs import AppLogs, LogLine, RequestLog
from cloche.apps.routing import AppName
from cloche.limits import Limits
from cloche.store.errors import StoreUnavailableError
from cloche.store.open import open_store

SHOP, BLOG = (AppName(tenant="default", name=name) for name in ("shop", "blog"))
LIMITS = Limits().replace({"apps": {"log_line_count_max": 500, "log_line_limit_bytes": 1024}})


class Clock:
    """Moves by a millisecond each time it is asked."""

    def __init__(self):
        self.now_ns = 10**18

    def __call__(self):
        """Return the time."""
        self.now_ns += 10**6
        return self.now_ns


@pytest.fixture
def store(tmp_path):
    """A store in a file."""
    found = open_store(str(tmp_path / "s.db"))
    yield found
    found.close()


@pytest.fixture
def clock():
    """A clock."""
    return Clock()


@pytest.fixture
def logs(store, clock):
    """Empty logs."""
    return AppLogs(store, LIMITS, now_ns=clock)


def line(number, level="info", request=""):
    """Return a line."""
    return LogLine(at_ms=number, level=level, message=f"m{number}", request=request)


def messages(logs, app=SHOP, **options):
    """Return what the newest lines say."""
    return [each.message for each in logs.read(app, **options)]


def test_lines_are_seen_before_and_after_they_are_kept(logs, store, clock):
    """In order, by everybody who reads this store afterwards."""
    logs.write(SHOP, line(1))
    logs.flush()
    logs.write(SHOP, line(2))
    assert messages(logs) == ["m1", "m2"]
    assert messages(AppLogs(store, LIMITS, now_ns=clock)) == ["m1"]
    logs.flush()
    assert messages(AppLogs(store, LIMITS, now_ns=clock)) == ["m1", "m2"]
    assert messages(logs, BLOG) == []


def test_reading_some(logs):
    """By level, by request, behind a time, the newest so many."""
    for number in range(1, 9):
        level = "error" if number % 4 == 0 else "debug" if number % 2 else "info"
        logs.write(SHOP, line(number, level, request="r1" if number < 3 else "r2"))
    logs.flush()
    assert messages(logs, level="info") == ["m2", "m4", "m6", "m8"]
    assert messages(logs, level="error") == ["m4", "m8"]
    assert messages(logs, request="r1") == ["m1", "m2"]
    assert messages(logs, request="r", limit=100) == [f"m{number}" for number in range(1, 9)]
    assert messages(logs, after_ms=6) == ["m7", "m8"]
    assert messages(logs, limit=2) == ["m7", "m8"]


def test_the_oldest_go(logs, store):
    """However the lines come, the newest are kept, in few blocks."""
    for number in range(3000):
        logs.write(SHOP, line(number))
        if number % 7 == 0:
            logs.flush()
    logs.flush()
    kept = messages(logs, limit=10_000)
    assert 500 <= len(kept) <= 700
    assert kept == [f"m{number}" for number in range(3000 - len(kept), 3000)]
    assert len(store.documents.list("apps.logs.default/shop", limit=100)) <= 5


def test_no_log_has_more_rows_than_the_store_allows(store, clock):
    """`storage.max_log_rows` is above what an app's log may have."""
    limits = Limits().replace(
        {"apps": {"log_line_count_max": 50_000}, "storage": {"max_log_rows": 10_000}}
    )
    logs = AppLogs(store, limits, now_ns=clock)
    for number in range(12_000):
        logs.write(SHOP, line(number))
        if number % 1000 == 0:
            logs.flush()
    logs.flush()
    kept = messages(logs, limit=50_000)
    assert 10_000 <= len(kept) <= 10_200  # a block more at most
    assert kept[-1] == "m11999"


def test_many_restarts(store, clock):
    """Each begins a block of its own; nothing is lost between them."""
    for number in range(20):
        logs = AppLogs(store, LIMITS, now_ns=clock)
        logs.write(SHOP, line(number))
        logs.flush()
    assert messages(logs) == [f"m{number}" for number in range(20)]


def test_a_store_that_is_away(logs, monkeypatch):
    """What could not be kept is kept later, in order; it was seen all the time."""
    logs.write(SHOP, line(1))
    logs.write(BLOG, line(5))

    def away(_document):
        raise StoreUnavailableError(store="s.db", reason="gone")

    with monkeypatch.context() as patch:
        patch.setattr(logs._documents, "put", away, raising=False)
        with pytest.raises(StoreUnavailableError):
            logs.flush()
    logs.write(SHOP, line(2))
    assert messages(logs) == ["m1", "m2"]
    logs.flush()
    assert (messages(logs), messages(logs, BLOG)) == (["m1", "m2"], ["m5"])


def test_listening(logs):
    """Who listens is told of new lines of that app, until it stops."""
    heard = []
    stop = logs.listen(SHOP, lambda each: heard.append(each.message))
    logs.write(SHOP, line(1))
    logs.write(BLOG, line(2))
    stop()
    stop()
    logs.write(SHOP, line(3))
    assert heard == ["m1"]


def test_removing(logs):
    """Nothing of an app stays, and what comes after begins anew."""
    logs.write(SHOP, line(1))
    logs.flush()
    logs.write(SHOP, line(2))
    logs.remove(SHOP)
    assert messages(logs) == []
    logs.write(SHOP, line(3))
    logs.flush()
    assert messages(logs) == ["m3"]


@pytest.mark.parametrize("way", ["remove", "end"])
def test_what_an_app_says_after_its_end(logs, clock, way):
    """It is dropped; what has the name by then writes into the same log."""
    old = RequestLog(logs, SHOP, request="r1", version="v", now_ns=clock)
    other = RequestLog(logs, BLOG, request="r2", version="v", now_ns=clock)
    old.log("info", "before", {})
    old.printed("stdout", b"half a li")
    getattr(logs, way)(SHOP)
    old.log("info", "after", {})
    old.close()
    new = RequestLog(logs, SHOP, request="r3", version="v", now_ns=clock)
    new.log("info", "mine", {})
    other.log("info", "other", {})
    assert (old.is_over, new.is_over, other.is_over) == (True, False, False)
    logs.flush()
    assert messages(logs) == ["mine"]
    assert messages(logs, BLOG) == ["other"]


def test_removing_while_lines_are_kept(logs, monkeypatch):
    """Lines that are on their way to the store are not there when the app has been removed."""
    put, removing = logs._documents.put, threading.Thread(target=lambda: logs.remove(SHOP))

    def slow(document):
        removing.start()
        removing.join(0.05)  # it waits, else it would be done by now
        put(document)

    monkeypatch.setattr(logs._documents, "put", slow)
    logs.write(SHOP, line(1))
    logs.flush()
    removing.join()
    assert messages(logs) == []


def test_what_a_request_prints(logs, clock):
    """Lines become records with the request's id, cut to the limit; an open line is kept, too."""
    log = RequestLog(logs, SHOP, request="r1", version="v", now_ns=clock)
    log.printed("stdout", b"one\ntw")
    log.printed("stderr", b"oops\n")
    log.printed("stdout", b"o\n" + b"x" * 5000)
    log.log("warn", "careful", {"code": 7})
    log.log("loud", "what", {})
    log.close()
    log.close()
    found = logs.read(SHOP)
    assert [(each.level, each.message[:7]) for each in found] == [
        ("info", "one"),
        ("error", "oops"),
        ("info", "two"),
        ("warn", "careful"),
        ("info", "what"),
        ("info", "xxxxxxx"),
    ]
    assert len(found[-1].message) == 1024
    assert {(each.request, each.version) for each in found} == {("r1", "v")}
    assert found[3].fields == {"code": 7}


def test_no_forged_lines(logs, clock):
    """What looks like a record is the text of one."""
    log = RequestLog(logs, SHOP, request="r1", version="v", now_ns=clock)
    log.printed("stdout", b'{"level":"error","request":"r2"}\r\n\xff\n')
    first, second = logs.read(SHOP)
    assert (first.level, first.request) == ("info", "r1")
    assert second.message == "\ufffd"

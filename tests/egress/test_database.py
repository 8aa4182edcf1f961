"""The file of lists, secrets and the log."""

from __future__ import annotations

import base64
import os
import sqlite3
import stat
import time

import pytest

from cloche.egress.adapters.database import NetDatabase
from cloche.egress.adapters.keys import (
    KEY_FILE_VARIABLE,
    KEY_VARIABLE,
    PATH_VARIABLE,
    STORE_VARIABLE,
    default_path,
    load_key,
)
from cloche.egress.allowlist import Entry, decide
from cloche.egress.cache import Cache
from cloche.egress.errors import NetPolicyError, NetStoreError
from cloche.egress.log import Record
from cloche.egress.secrets import Secret
from cloche.egress.url import parse_url
from cloche.limits import Limits

LIMITS = Limits()
KEY = b"k" * 32
VALUE = "sk-live-0123456789"


@pytest.fixture
def path(tmp_path):
    """Return where the file is."""
    return tmp_path / "below" / "net.db"


@pytest.fixture
def database(path):
    """Return an open file."""
    opened = NetDatabase(path, LIMITS, key=KEY)
    yield opened
    opened.close()


def secret(name="KEY", value=VALUE, **more):
    """Return a secret."""
    return Secret(name=name, value=value, domains=("a.example.com",), **more)


def all_bytes(path):
    """Return every byte of the file and of what lies beside it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def test_the_file_is_its_owners(path, database):
    """Nobody else may read the file or what lies beside it."""
    database.put_entry("global", Entry(host="a.example.com"))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_entries_keep_their_order(database):
    """Entries come back in the order in which they were added, each list by itself."""
    hosts = ["b.example.com", "*.example.org", "a.example.com"]
    for host in hosts:
        assert not database.put_entry("global", Entry(host=host))
    database.put_entry("app:shop", Entry(host="shop.example.com"))
    assert [entry.host for entry in database.entries("global")] == hosts
    assert {row.scope for row in database.entry_rows()} == {"app:shop", "global"}
    assert database.entries("app:blog") == []


def test_08_the_same_entry_is_kept_once(database):
    """A second entry for the same host replaces the first, in the global list too."""
    database.put_entry("global", Entry(host="a.example.com", rate_limit=5, http=True))
    database.put_entry("global", Entry(host="b.example.com"))
    assert database.put_entry("global", Entry(host="A.Example.COM."))
    assert database.entries("global") == [Entry(host="a.example.com"), Entry(host="b.example.com")]


def test_09_flags_survive_spelling_and_can_be_reset(database):
    """An upper-case host keeps its values, and a 0 sets a value back."""
    database.put_entry("global", Entry(host="API.example.com", rate_limit=7, timeout_ms=100))
    (entry,) = database.entries("global")
    assert (entry.host, entry.rate_limit, entry.timeout_ms) == ("api.example.com", 7, 100)
    database.put_entry("global", Entry(host="api.example.com", rate_limit=0, timeout_ms=100))
    assert database.entries("global")[0].rate_limit == 0


def test_entries_of_one_host_with_other_paths_stay_apart(database):
    """Host, methods, ports and paths together are what an entry is of."""
    database.put_entry("global", Entry(host="a.example.com", paths=("/admin",), action="deny"))
    database.put_entry("global", Entry(host="a.example.com"))
    assert len(database.entries("global")) == 2
    assert database.remove_entries("global", Entry(host="a.example.com")) == 2
    assert database.remove_entries("global", Entry(host="a.example.com")) == 0


def test_a_change_by_another_process_is_seen(path, database):
    """Lists and secrets are those of now, whoever wrote them."""
    other = NetDatabase(path, LIMITS, key=KEY)
    assert database.rules("global").candidates("a.example.com") == []
    other.put_entry("global", Entry(host="a.example.com"))
    other.put_secret(secret())
    assert len(database.rules("global").candidates("a.example.com")) == 1
    assert database.secret("KEY").value == VALUE
    other.put_secret(secret(value="another-value"))
    assert database.secret("KEY").value == "another-value"
    other.remove_secret("KEY")
    assert database.secret("KEY") is None
    other.close()


def test_lists_and_secrets_are_bounded(path):
    """One more than the limit is refused and changes nothing; replacing is no more."""
    limits = Limits().replace(
        {"egress": {"entry_count_max": 1, "secret_count_max": 1, "secret_limit_bytes": 20}}
    )
    database = NetDatabase(path, limits, key=KEY)
    database.put_entry("global", Entry(host="a.example.com"))
    database.put_entry("global", Entry(host="a.example.com", http=True))
    with pytest.raises(NetPolicyError, match=r"egress\.entry_count_max"):
        database.put_entry("global", Entry(host="b.example.com"))
    database.put_secret(secret())
    with pytest.raises(NetPolicyError, match=r"egress\.secret_count_max"):
        database.put_secret(secret(name="B"))
    with pytest.raises(NetPolicyError, match=r"egress\.secret_limit_bytes"):
        database.put_secret(secret(value="x" * 21))
    with pytest.raises(NetPolicyError, match="scope"):
        database.put_entry("", Entry(host="b.example.com"))
    database.close()


def test_a_secret_is_sealed(path, database):
    """A secret comes back whole, and no byte of the files has its value."""
    full = secret(inject_as="header", key="X-Key", methods=("GET",), paths=("/v1",), ports=(8443,))
    assert not database.put_secret(full)
    assert database.secret("KEY") == full
    assert database.secret("OTHER") is None
    found = all_bytes(path)
    for form in (
        VALUE.encode(),
        base64.b64encode(VALUE.encode())[:16],
        VALUE.encode().hex().encode(),
    ):
        assert form not in found


def test_rotation(path, database):
    """The value before is still known for a time, then forgotten."""
    database.put_secret(secret())
    assert database.put_secret(secret(value="second-value"))
    assert database.secret("KEY").former == (VALUE,)
    database.put_secret(secret(value="third-value"))
    assert database.secret("KEY").former == ("second-value", VALUE)
    assert database.secrets()[0].rotating
    assert VALUE.encode() not in all_bytes(path)
    short = Limits().replace({"egress": {"secret_overlap_ms": 0}})
    other = NetDatabase(path, short, key=KEY)
    other.put_secret(secret(value="fourth-value"))
    assert other.secret("KEY").former == ()
    assert not other.secrets()[0].rotating
    other.close()


def test_how_long_a_value_overlaps(database, monkeypatch):
    """Who rotates may say how long the old value is looked for; then it is forgotten, live too."""
    database.put_secret(secret())
    database.put_secret(secret(value="second-value"), overlap_ms=60_000)
    assert database.secret("KEY").former == (VALUE,)
    later_ns = time.time_ns() + 61 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    assert database.secret("KEY").former == ()
    assert not database.secrets()[0].rotating
    database.put_secret(secret(value="third-value"), overlap_ms=0)
    assert database.secret("KEY").former == ()


def test_secrets_have_scopes(database):
    """A run gets the secret of the first of its lists that has one."""
    database.put_secret(secret(value="global-value"))
    database.put_secret(secret(value="value-of-the-app", scope="app:a"))
    assert database.secret("KEY").value == "global-value"
    assert database.secret("KEY", ("app:b", "global")).value == "global-value"
    assert database.secret("KEY", ("app:b",)) is None
    assert database.secret("KEY", ("app:b", "app:a")).value == "value-of-the-app"
    assert [row.scope for row in database.secrets()] == ["app:a", "global"]
    assert [row.scope for row in database.secrets("global")] == ["global"]
    assert database.remove_secret("KEY")
    assert not database.remove_secret("KEY")
    assert database.secret("KEY") is None
    assert database.secret("KEY", ("app:a",)) is not None
    assert database.remove_secret("KEY", "app:a")


def test_records_of_tenants(database):
    """Records say whose run it was: a tenant is shown, and counted, its own alone."""
    database.store(
        [
            Record(at_ns=n, run_id=f"r{n}", scope="global", outcome="allowed", method="GET",
                   host="a.example", path="/", tenant=tenant)
            for n, tenant in enumerate(["", "one", "one", "two"])
        ],
        0,
    )  # fmt: skip
    found = {
        tenant: [record.run_id for record in database.records(tenant=tenant, count=9)]
        for tenant in ("", "one", "two", "three", None)
    }
    assert found == {
        "": ["r0"],
        "one": ["r1", "r2"],
        "two": ["r3"],
        "three": [],
        None: ["r0", "r1", "r2", "r3"],
    }
    assert [row["calls"] for row in database.stats("one")] == [2]
    assert database.stats("three") == []
    assert [row["calls"] for row in database.stats()] == [4]


def test_a_file_of_the_first_version(path):
    """It is brought to this version; what was in it stays."""
    NetDatabase(path, LIMITS, key=KEY).close()
    with sqlite3.connect(path) as raw:
        raw.execute("alter table log drop column tenant")
        raw.execute(
            "insert into log (at_ns, run_id, scope, outcome, method, host, path, "
            "duration_ms, request_bytes, response_bytes) "
            "values (1, 'r', 'global', 'allowed', 'GET', 'a.example', '/', 1, 2, 3)"
        )
        raw.execute("pragma user_version = 1")
    raw.close()
    for _ in range(2):
        database = NetDatabase(path, LIMITS, key=KEY)
        assert [record.run_id for record in database.records(tenant="", count=9)] == ["r"]
        database.close()


def test_caches_are_seen_and_cleared_from_outside(path, database):
    """What a process says of its cache is shown while it lives; all hear of a clearing."""
    stats = Cache(LIMITS).stats
    database.keep_stats(str(os.getpid()), stats)
    database.keep_stats(str(2**22 + 1), stats)  # no process has this number
    other = NetDatabase(path, LIMITS, key=KEY)
    (row,) = other.caches()
    assert (row["process"], row["items"], row["hits"]) == (str(os.getpid()), 0, 0)
    assert database.clearings() == 0
    other.clear_caches()
    assert database.clearings() == 1
    database.keep_stats(str(os.getpid()), None)
    assert other.caches() == []
    other.close()


def test_what_is_shown_of_a_secret(database):
    """All but the value, and when it was sent last."""
    database.put_secret(secret())
    (row,) = database.secrets()
    assert (row.name, row.inject_as, row.domains) == ("KEY", "bearer", ("a.example.com",))
    assert row.used_ns is None
    database.used(secret())
    assert database.secrets()[0].used_ns >= row.created_ns
    assert VALUE not in repr(row)


@pytest.mark.parametrize(
    "change",
    [
        "update secrets set document = replace(document, 'a.example.com', 'evil.example')",
        "update secrets set sealed = zeroblob(60)",
        "update secrets set sealed = x''",
        "update secrets set sealed = (select sealed from secrets where name = 'B')",
        "update secrets set scope = 'app:a' where name = 'KEY'",
    ],
)
def test_a_file_that_was_changed_is_noticed(path, database, change):
    """Neither value nor bindings can be changed without the key."""
    database.put_secret(secret())
    database.put_secret(secret(name="B", value="value-of-b"))
    with sqlite3.connect(path) as raw:
        raw.execute(change)
    raw.close()
    with pytest.raises(NetStoreError, match=r"another key, or changed|for another place"):
        database.secret("KEY", ("app:a", "global"))


def test_another_key(path, database):
    """With another key a secret is an error, and the message does not show it."""
    database.put_secret(secret())
    other = NetDatabase(path, LIMITS, key=b"x" * 32)
    with pytest.raises(NetStoreError, match="sealed with another key"):
        other.secret("KEY")
    other.close()


def record(number=0, **more):
    """Return a record."""
    return Record(
        **{
            "at_ns": number,
            "run_id": "r",
            "scope": "run",
            "outcome": "allowed",
            "method": "GET",
            "host": "a.example.com",
            "path": "/",
            "status": 200,
            **more,
        }
    )


def test_the_log(database):
    """Records come back as they were, by host, by list, or errors alone."""
    records = [
        record(1, duration_ms=10, response_bytes=5),
        record(2, host="b.example.com", outcome="denied", status=None, code="NET_BLOCKED"),
        record(3, status=404, duration_ms=20),
        record(4, outcome="cached", scope="global"),
    ]
    database.store(records, 0)
    assert database.records(count=10) == records
    assert database.records(count=2) == records[2:]
    assert database.records(count=10, host="b.example.com") == records[1:2]
    assert database.records(count=10, scope="global") == records[3:]
    assert database.records(count=10, errors=True) == records[1:3]
    assert database.stats()[0] == {
        "host": "a.example.com",
        "calls": 3,
        "failures": 1,
        "denied": 0,
        "cached": 1,
        "duration_ms": 10,
        "bytes": 5,
    }
    database.store([], 3)
    database.store([], 4)
    assert database.dropped == 7


def test_the_log_keeps_the_newest(path):
    """Older records give way when the log is full."""
    limits = Limits().replace({"egress": {"log_row_count_max": 1000}})
    database = NetDatabase(path, limits, key=KEY)
    for start in range(0, 3000, 500):
        database.store([record(number) for number in range(start, start + 500)], 0)
    kept = [entry.at_ns for entry in database.records(count=5000)]
    assert kept == list(range(2000, 3000))
    database.close()


def test_the_log_is_within_the_storage(path):
    """`storage.max_log_rows` is above what the log may have."""
    limits = Limits().replace({"storage": {"max_log_rows": 10_000}})
    database = NetDatabase(path, limits, key=KEY)
    for start in range(0, 12_000, 500):
        database.store([record(number) for number in range(start, start + 500)], 0)
    kept = [entry.at_ns for entry in database.records(count=20_000)]
    assert kept == list(range(2000, 12_000))
    database.close()


def test_a_file_of_a_later_version(path, database):
    """What a later cloche wrote is not touched."""
    database.close()
    with sqlite3.connect(path) as raw:
        raw.execute("pragma user_version = 99")
    raw.close()
    with pytest.raises(NetStoreError, match="later cloche"):
        NetDatabase(path, LIMITS, key=KEY)


def test_what_is_no_database(tmp_path):
    """A file of something else is an error that names it."""
    path = tmp_path / "net.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(NetStoreError, match=r"net\.db: file is not a database"):
        NetDatabase(path, LIMITS, key=KEY)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("/data/cloche.db", "/data/cloche-net.db"),
        ("sqlite:////data/my%20runs.db", "/data/my runs-net.db"),
        ("postgresql://host/db", "HOME/cloche/cloche-net.db"),
        ("memory:", "HOME/cloche/cloche-net.db"),
        (None, "HOME/cloche/cloche-net.db"),
    ],
)
def test_where_the_file_is(monkeypatch, tmp_path, store, expected):
    """It lies beside the store it belongs to; with a store that is no file it is the user's."""
    for name in (PATH_VARIABLE, STORE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    expected = expected.replace("HOME", str(tmp_path))
    assert str(default_path(store)) == expected
    monkeypatch.setenv(STORE_VARIABLE, store or "")
    assert str(default_path()) == expected
    monkeypatch.setenv(PATH_VARIABLE, "/named/net.db")
    assert str(default_path(store)) == "/named/net.db"


def test_what_denies_comes_first(database):
    """A host below an allowed wildcard can be denied afterwards."""
    database.put_entry("global", Entry(host="*.example.com"))
    database.put_entry("global", Entry(host="b.example.com"))
    database.put_entry("global", Entry(host="a.example.com", action="deny"))
    hosts = [entry.host for entry in database.entries("global")]
    assert hosts == ["a.example.com", "*.example.com", "b.example.com"]
    url = parse_url("https://a.example.com/", limit_bytes=100)
    assert decide(url, "GET", [database.rules("global")]).reason == "denied"


def test_one_entry_of_a_host_is_removed(database):
    """Who names methods, ports or paths means the entry that says the same."""
    wide, narrow = Entry(host="a.example.com"), Entry(host="a.example.com", methods=("GET",))
    for entry in (wide, narrow):
        database.put_entry("global", entry)
    assert database.remove_entries("global", Entry(host="a.example.com", paths=("/x",))) == 0
    assert database.remove_entries("global", narrow) == 1
    assert database.entries("global") == [wide]


def test_rotating_keeps_what_a_secret_is_bound_to(database):
    """Only the value changes; what does not exist cannot be rotated."""
    database.put_secret(secret(inject_as="header", key="X-Key", paths=("/v1",)))
    database.rotate_secret("KEY", "second-value")
    after = database.secret("KEY")
    assert (after.value, after.key, after.paths) == ("second-value", "X-Key", ("/v1",))
    assert after.former == (VALUE,)
    with pytest.raises(NetPolicyError, match="secret NONE does not exist in global"):
        database.rotate_secret("NONE", "second-value")
    with pytest.raises(NetPolicyError, match="less than 8 bytes"):
        database.rotate_secret("KEY", "short")
    assert database.secret("KEY").value == "second-value"


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    """Let no key be named, and the user's settings be elsewhere."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "cloche" / "secret.key"


def test_keys(monkeypatch, tmp_path, no_key):
    """The environment comes first, then the file that it names, then the user's own."""
    own = load_key()
    assert load_key() == own
    assert stat.S_IMODE(no_key.stat().st_mode) == 0o600
    assert [file.name for file in no_key.parent.iterdir()] == ["secret.key"]
    file = tmp_path / "key"
    file.write_bytes(base64.b64encode(b"f" * 32) + b"\n")
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(file))
    assert load_key() == b"f" * 32
    monkeypatch.setenv(KEY_VARIABLE, base64.b64encode(b"e" * 32).decode())
    assert load_key() == b"e" * 32


@pytest.mark.parametrize("text", ["x", "a" * 44, base64.b64encode(b"short").decode()])
def test_what_is_no_key(monkeypatch, no_key, text):
    """A key of another length is refused, and the message does not repeat it."""
    monkeypatch.setenv(KEY_VARIABLE, text)
    with pytest.raises(NetStoreError, match="must hold 32 bytes as base64") as caught:
        load_key()
    assert text not in caught.value.message.replace("base64", "")


def test_a_key_file_that_is_missing(monkeypatch, tmp_path, no_key):
    """A file that is named is not made: a lost key must not become a new one."""
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(NetStoreError, match="No such file"):
        load_key()

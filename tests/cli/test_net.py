"""`cloche net` as people use it: each command, each wrong input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.support import cloche

from cloche.cli.net import app as net_app
from cloche.cli.net import cache_app
from cloche.egress.adapters.database import NetDatabase
from cloche.egress.allowlist import Entry
from cloche.egress.cache import Cache
from cloche.egress.log import Record
from cloche.egress.secrets import Secret
from cloche.limits import Limits

KEY = b"k" * 32


class Desk:
    """A folder with a store, and the command line working on it."""

    def __init__(self, folder):
        self.folder = folder
        self.store = folder / "cloche.db"

    def say(self, *arguments, env=None, **options):
        """Run a command."""
        settings = {"CLOCHE_STORE": str(self.store), "XDG_CONFIG_HOME": str(self.folder / "config")}
        return cloche(*arguments, cwd=self.folder, env={**settings, **(env or {})}, **options)

    def told(self, *arguments, **options):
        """Run a command that must end well; return what it printed."""
        done = self.say(*arguments, **options)
        assert (done.exit_code, done.stderr) == (0, ""), arguments
        return done.stdout

    def document(self, *arguments, **options):
        """The same with --json; return the object."""
        return json.loads(self.told(*arguments, "--json", **options))

    def open(self):
        """Open the file of lists as a running process does."""
        return NetDatabase(self.folder / "cloche-net.db", Limits(), key=KEY)

    def hosts(self, *options):
        """Return the hosts that are listed."""
        return [row["host"] for row in self.document("net", "list", *options)["entries"]]


@pytest.fixture
def desk(tmp_path):
    """An empty store."""
    return Desk(tmp_path)


# --- lists ---


def test_allow(desk):
    """A host is allowed; the same again changes its settings."""
    assert (
        desk.told("net", "allow", "API.Example.com.") == "Allowed api.example.com (HTTPS, global)\n"
    )
    again = desk.told("net", "allow", "api.example.com", "--http", "--rate", "60")
    assert again == ("Allowed api.example.com (HTTP+HTTPS, global), instead of the entry before\n")
    (row,) = desk.document("net", "list")["entries"]
    assert (row["http"], row["rate_limit"]) == (True, 60)


@pytest.mark.parametrize("first", [True, False], ids=["flags first", "flags behind"])
def test_flags_stand_anywhere(desk, first):
    """Flags before and after the host mean the same: none is lost."""
    flags = ["--app", "shop", "--rate", "30", "--burst", "5", "--timeout", "2s"]
    flags += ["--max-response", "64KiB", "--cache-ttl", "5min", "--http", "--json"]
    flags += ["--method", "GET", "--method", "post", "--path", "/v1", "--port", "8443"]
    words = [*flags, "api.example.com"] if first else ["api.example.com", *flags]
    said = json.loads(desk.told("net", "allow", *words))
    expected = Entry(
        host="api.example.com",
        http=True,
        ports=(8443,),
        methods=("GET", "POST"),
        paths=("/v1",),
        rate_limit=30,
        rate_burst=5,
        timeout_ms=2000,
        max_response=65_536,
        cache_ttl_s=300,
    )
    assert said == {
        "scope": "app:shop",
        "replaced": False,
        "entry": json.loads(json.dumps(expected.to_document())),
    }
    with_file = desk.open()
    assert with_file.entries("app:shop") == [expected]
    with_file.close()


def test_one_line_says_it_too(desk):
    """Methods, port and path may stand in the entry itself."""
    said = desk.document("net", "allow", "GET https://api.example.com:8443/v1")["entry"]
    assert said == {
        "host": "api.example.com",
        "methods": ["GET"],
        "ports": [8443],
        "paths": ["/v1"],
    }


@pytest.mark.parametrize("flags", [(), ("--http",)])
def test_a_scheme_in_the_line_says_it_too(desk, flags):
    """http:// in the line is --http; both together say it twice."""
    assert desk.document("net", "allow", "http://old.example.com", *flags)["entry"] == {
        "host": "old.example.com",
        "http": True,
    }


def test_deny(desk):
    """What is denied comes before what is allowed, whenever it was added."""
    desk.told("net", "allow", "*.example.com")
    assert desk.told("net", "deny", "x.example.com") == "Denied x.example.com (all, global)\n"
    assert desk.hosts() == ["x.example.com", "*.example.com"]
    assert desk.say("net", "test", "https://x.example.com/").exit_code == 1
    assert desk.say("net", "test", "https://y.example.com/").exit_code == 0


def test_list(desk):
    """All lists are shown, or the one that is asked for, with all settings."""
    assert desk.told("net", "list") == "No entries: nothing is allowed.\n"
    desk.told("net", "allow", "a.example.com", "--rate", "30", "--cache-ttl", "60")
    desk.told("net", "allow", "b.example.com", "--session", "box", "--max-response", "64KiB")
    desk.told("net", "allow", "c.example.com", "--scope", "team/red", "--timeout", "500")
    assert desk.hosts() == ["a.example.com", "b.example.com", "c.example.com"]
    assert desk.hosts("--session", "box") == ["b.example.com"]
    assert desk.hosts("--scope", "team/red") == ["c.example.com"]
    assert desk.hosts("--app", "none") == []
    shown = desk.told("net", "list")
    for words in (
        "session:box",
        "a.example.com",
        "rate 30/min, cache 1 min",
        "response 64 KiB",
        "timeout 500 ms",
        "HTTPS",
    ):
        assert words in shown


def test_remove(desk):
    """All entries of a host go, or the one that is named; an unknown one is an error."""
    for entry in ("a.example.com", "GET a.example.com", "a.example.com/v1", "b.example.com"):
        desk.told("net", "allow", entry)
    one = desk.document("net", "remove", "a.example.com", "--method", "GET")
    assert one == {"scope": "global", "host": "a.example.com", "removed": 1}
    told = desk.told("net", "remove", "A.example.com")
    assert told == "Removed a.example.com from global (2 entries)\n"
    assert desk.hosts() == ["b.example.com"]
    done = desk.say("net", "remove", "b.example.com", "--app", "shop")
    assert (done.exit_code, done.stderr) == (
        2,
        "cloche: list app:shop has no such entry for b.example.com\n",
    )


def test_the_store_is_named(desk, tmp_path):
    """--store and CLOCHE_STORE name the store whose lists these are, and they are its own."""
    other = tmp_path / "other.db"
    desk.told("net", "allow", "a.example.com", "--store", str(other))
    assert desk.hosts() == []
    assert desk.hosts("--store", str(other)) == ["a.example.com"]
    assert desk.document("net", "list", env={"CLOCHE_STORE": str(other)})["entries"]
    assert (tmp_path / "other-net.db").exists()


# --- net test ---


def verdict(desk, *arguments):
    """Return what `net test --json` says, and check the exit code."""
    done = desk.say("net", "test", *arguments, "--json")
    document = done.document
    assert done.exit_code == (0 if document["allowed"] else 1), done
    return document


def test_test(desk):
    """The rule that decides is named, with what it says."""
    desk.told("net", "allow", "api.example.com/v1", "--rate", "7", "--app", "shop")
    found = verdict(desk, "https://API.example.com./v1/x?key=1#y", "--app", "shop")
    assert (found["url"], found["scope"]) == ("https://api.example.com/v1/x?key=1", "app:shop")
    assert found["entry"] == {"host": "api.example.com", "paths": ["/v1"], "rate_limit": 7}
    assert found["limits"]["rate_limit"] == 7
    assert found["steps"][-1] == {
        "rule": "lists",
        "says": "entry api.example.com of app:shop allows api.example.com "
        "(every method; https; below /v1)",
    }
    shown = desk.told("net", "test", "https://api.example.com/v1", "--app", "shop")
    assert "GET https://api.example.com/v1: allowed" in shown
    assert "addresses" not in found


@pytest.mark.parametrize(
    ("arguments", "reason", "words"),
    [
        (["https://none.example.com/"], "unlisted", "no entry names none.example.com"),
        (["http://api.example.com/"], "scheme", "but not plain http"),
        (["https://api.example.com:8443/"], "port", "but not this port"),
        (["https://api.example.com/", "-X", "delete"], "method", "but not this method"),
        (["https://paths.example.com/v2"], "path", "but not this path"),
        (["https://bad.example.com/"], "denied", "denies bad.example.com"),
        (["https://127.1/"], "literal", "127.0.0.1 is an address"),
        (["ftp://api.example.com/"], "scheme", "ftp"),
        (["https://me@api.example.com/"], "userinfo", "user"),
        (["words"], None, ""),
        (["https://api.example.com/", "--secret", "NONE"], "secret", "'NONE' not found"),
        (["https://api.example.com/", "--deny", "api.example.com"], "denied", "of run denies"),
        (["https://api.example.com/", "--scope", "empty"], "unlisted", "no entry names"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(desk, arguments, reason, words):
    """Each refusal has its code and its reason; nothing is looked up or sent."""
    desk.told("net", "allow", "GET api.example.com")
    desk.told("net", "allow", "paths.example.com/v1")
    desk.told("net", "deny", "bad.example.com")
    found = verdict(desk, *arguments)
    assert found["code"] == ("NET_AUTH" if reason == "secret" else "NET_BLOCKED")
    assert reason is None or found["reason"] == reason
    assert words in found["steps"][-1]["says"]


def test_entries_of_a_run_are_tried_without_a_list(desk):
    """What `cloche run --allow` would say can be tried before."""
    assert verdict(desk, "https://api.example.com/", "--allow", "*.example.com")["scope"] == "run"


def test_a_secret_is_tried_without_its_value(desk):
    """Whether a secret may be used is told without its key, and its value is not shown."""
    desk.told("net", "allow", "*.example.com")
    database = desk.open()
    database.put_secret(
        Secret(name="KEY", value="value-of-key", domains=("a.example.com",), methods=("GET",))
    )
    database.close()
    found = verdict(desk, "https://a.example.com/", "--secret", "KEY")
    assert found["steps"][-1]["says"] == "KEY of global goes to a.example.com"
    for arguments in (["https://b.example.com/"], ["https://a.example.com/", "-X", "PUT"]):
        found = verdict(desk, *arguments, "--secret", "KEY")
        assert found["code"] == "NET_AUTH"
        assert "value-of-key" not in json.dumps(found)


def test_addresses_are_looked_up_only_when_asked(desk):
    """With --resolve a host's addresses are checked, as they are before a connection."""
    found = verdict(desk, "https://localhost/", "--allow", "localhost")
    assert "addresses" not in found
    found = verdict(desk, "https://localhost/", "--allow", "localhost", "--resolve")
    assert (found["code"], found["reason"]) == ("NET_BLOCKED", "address")
    assert found["addresses"][0]["allowed"] is False
    found = verdict(desk, "https://none.invalid/", "--allow", "none.invalid", "--resolve")
    assert (found["code"], found["reason"]) == ("NET_ERROR", "dns")


# --- what happened ---


@pytest.fixture
def busy(desk):
    """A store with a log."""
    database = desk.open()
    shown = {"scope": "global", "method": "GET", "path": "/v1", "duration_ms": 10}
    database.store(
        [
            Record(
                at_ns=10**18,
                run_id="r1",
                outcome="allowed",
                host="a.example.com",
                status=200,
                request_bytes=1,
                response_bytes=100,
                **shown,
            ),
            Record(
                at_ns=10**18,
                run_id="r1",
                outcome="allowed",
                host="a.example.com",
                status=500,
                **shown,
            ),
            Record(
                at_ns=10**18,
                run_id="r2",
                outcome="denied",
                host="b.example.com",
                code="NET_BLOCKED",
                reason="unlisted",
                **{**shown, "scope": "app:shop"},
            ),
            Record(
                at_ns=10**18,
                run_id="r2",
                outcome="cached",
                host="a.example.com",
                status=200,
                **{**shown, "duration_ms": 0},
            ),
        ],
        dropped=3,
    )
    database.close()
    return desk


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ([], ["r1", "r1", "r2", "r2"]),
        (["--errors"], ["r1", "r2"]),
        (["--host", "A.example.com"], ["r1", "r1", "r2"]),
        (["--domain", "b.example.com"], ["r2"]),
        (["--app", "shop"], ["r2"]),
        (["--scope", "global"], ["r1", "r1", "r2"]),
        (["--run", "r1", "--errors"], ["r1"]),
        (["--limit", "1"], ["r2"]),
    ],
    ids=lambda value: "-".join(value) or "all",
)
def test_logs(busy, arguments, runs):
    """The newest decisions are listed, the newest last, of a host, a list, a run, or errors."""
    document = busy.document("net", "logs", *arguments)
    assert [record["run_id"] for record in document["records"]] == runs
    assert document["dropped"] == 3


def test_logs_for_people(busy, desk, tmp_path):
    """A table, and how many records are missing."""
    shown = busy.told("net", "logs")
    for words in ("GET a.example.com/v1", "NET_BLOCKED", "cached", "3 records were dropped"):
        assert words in shown
    assert Desk(tmp_path / "none").folder != desk.folder
    assert busy.told("net", "logs", "--store", str(tmp_path / "x.db")) == "No calls.\n"


def test_stats(busy, tmp_path):
    """Calls, mean time and share of errors of each host."""
    assert busy.document("net", "stats") == {
        "hosts": [
            {
                "host": "a.example.com",
                "calls": 3,
                "failures": 1,
                "denied": 0,
                "cached": 1,
                "duration_ms": 7,
                "bytes": 100,
                "error_share": 0.3333,
            },
            {
                "host": "b.example.com",
                "calls": 1,
                "failures": 0,
                "denied": 1,
                "cached": 0,
                "duration_ms": 10,
                "bytes": 0,
                "error_share": 1.0,
            },
        ],
        "dropped": 3,
    }
    shown = busy.told("net", "stats")
    assert "33.3%" in shown
    assert "7 ms" in shown
    assert busy.told("net", "stats", "--store", str(tmp_path / "x.db")) == "No calls.\n"


def test_cache(desk):
    """What the caches of living processes hold is shown; all of them can be cleared."""
    assert desk.told("net", "cache") == "No running process has a cache.\n"
    database = desk.open()
    limits = Limits().replace({"net": {"cache_max_items": 10, "cache_max_bytes": 1000}})
    cache = Cache(limits)
    cache.find(("run", "GET", "https://a.example.com/"), (), 0)
    database.keep_stats(str(os.getpid()), cache.stats)
    (row,) = desk.document("net", "cache")["caches"]
    assert (row["process"], row["misses"], row["max_items"]) == (str(os.getpid()), 1, 10)
    assert row["hit_share"] == 0
    assert "0 of 10" in desk.told("net", "cache")
    assert desk.told("net", "cache", "clear") == "All caches are cleared.\n"
    assert desk.document("net", "cache", "clear") == {"cleared": True}
    assert database.clearings() == 2
    database.close()


# --- wrong input ---


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["allow", "*"], "NET_POLICY_INVALID", "would allow everything: name the hosts"),
        (["allow", "*.com"], "NET_POLICY_INVALID", "is too broad"),
        (["allow", "ftp://x.example.com"], "NET_POLICY_INVALID", "it is https or http"),
        (["allow", "https://a@x.example.com"], "NET_POLICY_INVALID", "is no entry"),
        (["allow", "x.example.com", "--rate", "-1"], "NET_POLICY_INVALID", "it is 0 or more"),
        (["allow", "x.example.com", "--timeout", "soon"], "LIMIT_MALFORMED", "--timeout is 'soon'"),
        (["allow", "x.example.com", "--cache-ttl", "1ms"], "NET_POLICY_INVALID", "whole number"),
        (["allow", "x.example.com", "--max-response", "x"], "LIMIT_MALFORMED", "--max-response"),
        (["allow", "x.example.com", "--port", "0"], "NET_POLICY_INVALID", "has the port 0"),
        (["allow", "x.example.com", "--path", "v1"], "NET_POLICY_INVALID", "starts with /"),
        (["allow", "x.example.com", "--method", "TRACE"], "NET_POLICY_INVALID", "never allowed"),
        (["allow", "x.example.com", "--app", "a b"], "NET_POLICY_INVALID", "must match"),
        (
            ["allow", "x.example.com", "--app", "a", "--session", "b"],
            "NET_POLICY_INVALID",
            "--app and --session name two lists",
        ),
        (["deny", ""], "NET_POLICY_INVALID", "name the hosts"),
        (["remove", "x.example.com"], "NET_POLICY_INVALID", "has no such entry"),
        (["test", "https://x.example.com", "--allow", "*"], "NET_POLICY_INVALID", "everything"),
        (["list", "--scope", ""], "NET_POLICY_INVALID", "must match"),
        (["logs", "--host", "a/b"], "NET_POLICY_INVALID", "is no host"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(desk, arguments, code, words):
    """One message that says what is wrong, exit code 2, and nothing is changed."""
    done = desk.say("net", *arguments, "--json")
    assert done.exit_code == 2, done
    assert words in done.document["error"]["message"]
    assert done.document["error"]["code"] == code
    assert desk.hosts() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["allow"],
        ["allow", "a.example.com", "b.example.com"],
        ["logs", "--limit", "0"],
        ["cache", "x"],
    ],
    ids="-".join,
)
def test_wrong_usage(desk, arguments):
    """What is missing or too much is said, with exit code 2."""
    done = desk.say("net", *arguments)
    assert done.exit_code == 2
    assert done.stderr


def test_unreadable_files(desk, tmp_path):
    """What is no file of lists is not touched; the error says which file it is."""
    (tmp_path / "words-net.db").write_text("words " * 1000, encoding="utf-8")
    (tmp_path / "folder-net.db").mkdir()
    for name in ("words", "folder"):
        done = desk.say("net", "list", "--store", str(tmp_path / f"{name}.db"), "--json")
        assert (done.exit_code, done.document["error"]["code"]) == (1, "NET_STORE")
        assert f"{name}-net.db" in done.document["error"]["message"]
    assert (tmp_path / "words-net.db").read_text(encoding="utf-8") == "words " * 1000


def test_every_command_is_tried():
    """The tests of this file name each command of the group."""
    source = Path(__file__).read_text(encoding="utf-8")
    for command in net_app.registered_commands:
        assert f'"net", "{command.name}"' in source, command.name
    for command in cache_app.registered_commands:
        assert f'"net", "cache", "{command.name}"' in source, command.name

"""`cloche secret` as people use it: each command, each wrong input; no value is ever shown."""

from __future__ import annotations

import base64
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest
from tests.cli.support import START, environment
from tests.cli.test_net import KEY, Desk

from cloche.cli.secret import app as secret_app

VALUE = "sk-live-0123456789"
SECOND = "second-value-0123"
KEY_SETTING = {"CLOCHE_SECRET_KEY": base64.b64encode(KEY).decode()}


class Safe(Desk):
    """A desk with a key for its secrets."""

    def say(self, *arguments, env=None, **options):
        """Run a command; whatever it is, it shows no value."""
        done = super().say(*arguments, env={**KEY_SETTING, **(env or {})}, **options)
        for value in (VALUE, SECOND):
            assert value not in done.stdout + done.stderr
        return done

    def set(self, name="KEY", *options, value=VALUE, domain="a.example.com"):
        """Keep a secret."""
        words = ["secret", "set", name, "--domain", domain, *options]
        return self.told(*words, stdin=value.encode())

    def rows(self, *options):
        """Return what is listed."""
        return self.document("secret", "list", *options)["secrets"]


@pytest.fixture
def safe(tmp_path):
    """An empty store."""
    return Safe(tmp_path)


def opened(safe, name="KEY", *scopes):
    """Return a secret as a running process gets it."""
    database = safe.open()
    try:
        return database.secret(name, scopes or ("global",))
    finally:
        database.close()


def test_set(safe):
    """The value is what standard input holds, without the end of the line."""
    assert safe.set(value=VALUE + "\n") == "Secret KEY set (bearer, global)\n"
    assert opened(safe).value == VALUE
    again = safe.set(value=SECOND + "\r\n")
    assert again == "Secret KEY set (bearer, global), instead of the one before\n"
    assert opened(safe).value == SECOND


@pytest.mark.parametrize("first", [True, False], ids=["flags first", "flags behind"])
def test_flags_stand_anywhere(safe, first):
    """Flags before and after the name mean the same: no binding is lost."""
    flags = ["--as", "header", "--key", "X-Key", "--domain", "a.example.com"]
    flags += ["--domain", "*.example.org", "--method", "get", "--path", "/v1", "--port", "8443"]
    flags += ["--app", "shop"]
    words = [*flags, "KEY"] if first else ["KEY", *flags]
    said = safe.document("secret", "set", *words, stdin=VALUE.encode())
    assert said == {"name": "KEY", "scope": "app:shop", "replaced": False}
    assert opened(safe) is None
    found = opened(safe, "KEY", "app:shop")
    assert (found.inject_as, found.key) == ("header", "X-Key")
    assert found.domains == ("a.example.com", "*.example.org")
    assert (found.methods, found.paths, found.ports) == (("GET",), ("/v1",), (8443,))


def test_list(safe):
    """What a secret is bound to is shown, with when it changed and was sent; a mask for values."""
    assert safe.told("secret", "list") == "No secrets.\n"
    safe.set()
    safe.set("OTHER", "--as", "query", "--key", "token", "--app", "shop", "--path", "/v1")
    rows = safe.rows()
    assert [(row["scope"], row["name"]) for row in rows] == [
        ("app:shop", "OTHER"),
        ("global", "KEY"),
    ]
    assert [row["name"] for row in safe.rows("--app", "shop")] == ["OTHER"]
    assert rows[1] == {
        "scope": "global",
        "name": "KEY",
        "inject_as": "bearer",
        "key": "",
        "domains": ["a.example.com"],
        "methods": [],
        "paths": [],
        "ports": [],
        "created_ns": rows[1]["created_ns"],
        "updated_ns": rows[1]["updated_ns"],
        "used_ns": None,
        "rotating": False,
    }
    shown = safe.told("secret", "list")
    for words in ("KEY", "********", "query token", "/v1", "never"):
        assert words in shown
    database = safe.open()
    database.used(database.secret("KEY"))
    database.close()
    assert safe.rows()[1]["used_ns"] >= rows[1]["created_ns"]


def test_rotate(safe):
    """The value changes, the bindings stay, and the old value is looked for for a time."""
    safe.set("KEY", "--as", "header", "--key", "X-Key")
    told = safe.told("secret", "rotate", "KEY", "--overlap", "1h", stdin=SECOND.encode())
    assert told == "Secret KEY has a new value (global)\n"
    found = opened(safe)
    assert (found.value, found.former, found.key) == (SECOND, (VALUE,), "X-Key")
    assert safe.rows()[0]["rotating"]
    assert "(rotating)" in safe.told("secret", "list").replace("\n", " ")
    said = safe.document("secret", "rotate", "--overlap", "0", "KEY", stdin=b"third-value-01")
    assert said == {"name": "KEY", "scope": "global", "rotated": True}
    assert opened(safe).former == ()


def test_remove(safe):
    """A secret is forgotten in its scope; an unknown one is an error."""
    safe.set()
    safe.set("KEY", "--app", "shop")
    assert safe.told("secret", "remove", "KEY") == "Secret KEY removed from global\n"
    assert [row["scope"] for row in safe.rows()] == ["app:shop"]
    done = safe.say("secret", "remove", "KEY", "--json")
    assert done.exit_code == 2
    assert done.document["error"]["message"] == "secret KEY does not exist in global"
    said = safe.document("secret", "remove", "KEY", "--app", "shop")
    assert said == {"name": "KEY", "scope": "app:shop", "removed": True}


def test_settings_that_look_like_secrets(safe):
    """Who gives a program a key as a setting is warned, and told how to keep it out."""
    run = ["run", "-l", "python", "-c", "import os; print(len(os.environ['API_KEY']))"]
    done = safe.say(*run, "--env", f"API_KEY={VALUE}", "--env", "PLAIN=words")
    assert (done.exit_code, done.stdout) == (0, f"{len(VALUE)}\n")
    assert done.stderr == (
        "cloche: warning: --env API_KEY looks like a secret, which the program and the journal "
        "then hold; `cloche secret set API_KEY --domain HOST --from-env API_KEY` keeps it out\n"
    )
    words = ["secret", "set", "API_KEY", "--domain", "a.example.com", "--from-env", "API_KEY"]
    safe.told(*words, env={"API_KEY": VALUE})
    assert opened(safe, "API_KEY").value == VALUE
    done = safe.say(*words, "--json")
    assert (done.exit_code, done.document["error"]["message"]) == (
        2,
        "--from-env API_KEY is not set, or empty",
    )


def test_the_file_holds_no_value(safe):
    """No byte beside the key's own place tells a value."""
    safe.set()
    for file in safe.folder.rglob("*"):
        if file.is_file():
            assert VALUE.encode() not in file.read_bytes()


def test_the_key_is_made_on_first_use(safe):
    """Without a key in the environment the user gets one, for the owner alone."""
    nobody = {"CLOCHE_SECRET_KEY": ""}
    words = ["secret", "set", "KEY", "--domain", "a.example.com"]
    safe.told(*words, stdin=VALUE.encode(), env=nobody)
    key = safe.folder / "config" / "cloche" / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert safe.told("secret", "rotate", "KEY", stdin=SECOND.encode(), env=nobody)
    done = safe.say("secret", "rotate", "KEY", "--json", stdin=VALUE.encode())
    assert (done.exit_code, done.document["error"]["code"]) == (1, "NET_STORE")
    assert "sealed with another key" in done.document["error"]["message"]


def test_a_value_is_asked_for(safe):
    """On a terminal the value is typed twice and not echoed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*START, "secret", "set", "KEY", "--domain", "a.example.com"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(CLOCHE_STORE=str(safe.store), **KEY_SETTING),
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        for question in (b"Value of KEY: ", b"Repeat for confirmation: "):
            shown += read_until(ours, question)
            os.write(ours, VALUE.encode() + b"\n")
        shown += read_until(ours, b"global)")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert VALUE.encode() not in shown
    assert opened(safe).value == VALUE


def read_until(file, words):
    """Return what a terminal shows up to some words."""
    shown, end_s = b"", time.monotonic() + 60
    while words not in shown and time.monotonic() < end_s:
        if select.select([file], [], [], 1)[0]:
            shown += os.read(file, 1000)
    assert words in shown, shown
    return shown


# --- wrong input ---


def test_a_value_is_never_an_argument(safe):
    """What people add out of habit is refused and not repeated."""
    for command in ("set", "rotate"):
        done = safe.say("secret", command, "KEY", VALUE, stdin=b"")
        assert done.exit_code == 2
        assert "a secret's value is never an argument" in done.stderr
    assert safe.rows() == []


@pytest.mark.parametrize(
    ("options", "value", "words"),
    [
        ([], VALUE, "needs at least one domain it may go to"),
        (["--domain", "*.com"], VALUE, "is too broad"),
        (["--domain", "a.example.com"], "", "has no value"),
        (["--domain", "a.example.com"], "\n", "has no value"),
        (["--domain", "a.example.com"], "short", "less than 8 bytes"),
        (["--domain", "a.example.com"], "line one\nline two", "control characters"),
        (["--domain", "a.example.com"], "x" * 8193, "egress.secret_limit_bytes allows 8192"),
        (["--domain", "a.example.com"], b"\xff" * 9, "is not UTF-8"),
        (["--domain", "a.example.com", "--as", "cookie"], VALUE, "is injected as bearer, header"),
        (["--domain", "a.example.com", "--as", "header"], VALUE, "needs a key to be a header"),
        (["--domain", "a.example.com", "--as", "query"], VALUE, "needs a key to be a query"),
        (
            ["--domain", "a.example.com", "--as", "header", "--key", "Host"],
            VALUE,
            "cannot be the header 'Host'",
        ),
        (["--domain", "a.example.com", "--as", "basic"], VALUE, "needs user:password, or a key"),
        (["--domain", "a.example.com", "--path", "v1"], VALUE, "starts with /"),
        (["--domain", "a.example.com", "--scope", "a b"], VALUE, "must match"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(safe, options, value, words):
    """One message that says what is wrong, exit code 2, nothing is kept, the value not named."""
    data = value if isinstance(value, bytes) else value.encode()
    done = safe.say("secret", "set", "KEY", *options, "--json", stdin=data)
    assert done.exit_code == 2, done
    assert words in done.document["error"]["message"]
    assert not value.strip() or str(value)[:9] not in done.stdout.replace("'", "")
    assert safe.rows() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rotate", "NONE"], "secret NONE does not exist in global"),
        (["rotate", "KEY", "--overlap", "soon"], "--overlap is 'soon'"),
        (["rotate", "KEY", "--overlap", "-1"], "is a time, 0 or more"),
        (["rotate", "KEY"], "has no value"),
        (["rotate", "KEY", "--app", "shop"], "does not exist in app:shop"),
        (["set", "a b", "--domain", "a.example.com"], "a secret's name must match"),
        (["list", "--app", "a", "--scope", "b"], "name two lists"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_commands(safe, arguments, words):
    """One message that says what is wrong, and the secret stays as it was."""
    safe.set()
    done = safe.say("secret", *arguments, "--json")
    assert done.exit_code == 2, done
    assert words in done.document["error"]["message"]
    assert opened(safe).value == VALUE


@pytest.mark.parametrize("key", ["x", base64.b64encode(b"short").decode()])
def test_what_is_no_key(safe, key):
    """A wrong key is an error that says how to make one, and does not show it."""
    words = ["secret", "set", "KEY", "--domain", "a.example.com", "--json"]
    done = safe.say(*words, stdin=VALUE.encode(), env={"CLOCHE_SECRET_KEY": key})
    assert (done.exit_code, done.document["error"]["code"]) == (1, "NET_STORE")
    assert "must hold 32 bytes as base64" in done.document["error"]["message"]


def test_every_command_is_tried():
    """The tests of this file name each command of the group."""
    source = Path(__file__).read_text(encoding="utf-8")
    for command in secret_app.registered_commands:
        assert f'"secret", "{command.name}"' in source, command.name

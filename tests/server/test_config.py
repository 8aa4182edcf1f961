"""How a server is configured: which place says what, and what is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.server.config import PREFIX, SETTINGS, configure
from cloche.server.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "server.md"


def test_nothing_is_said():
    """Then everything is at its default, and says so."""
    found = configure(environ={})
    assert found.values == {each.name: each.default for each in SETTINGS}
    assert set(found.origins.values()) == {"default"}


def test_the_order_of_places():
    """A flag beats the environment, which beats the file, which beats the default."""
    table = {
        "bind": "127.0.0.1:1",
        "durability": "normal",
        "log": True,
        "cors": ["https://a.example"],
    }
    environ = {"CLOCHE_SERVE_BIND": "127.0.0.1:2", "CLOCHE_SERVE_LOG": "no"}
    flags = {"bind": "127.0.0.1:3", "log": None, "cors": []}
    found = configure(table=table, path="c.toml", environ=environ, flags=flags)
    shown = {n: (found.values[n], found.origins[n]) for n in ("bind", "durability", "log", "cors")}
    assert shown == {
        "bind": ("127.0.0.1:3", "--bind"),
        "durability": ("normal", "c.toml"),
        "log": (False, "environment CLOCHE_SERVE_LOG"),
        "cors": (("https://a.example",), "c.toml"),
    }


def test_the_store():
    """The variable of every command is weaker than that of the server alone."""
    environ = {"CLOCHE_STORE": "all.db"}
    assert configure(environ=environ).origins["store"] == "environment CLOCHE_STORE"
    both = configure(environ={**environ, "CLOCHE_SERVE_STORE": "own.db"})
    assert both.values["store"] == "own.db"
    table = {"store": "file.db"}
    assert configure(table=table, environ=environ).values["store"] == "all.db"
    assert configure(table=table, environ={"CLOCHE_STORE": ""}).values["store"] == "file.db"


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("Yes", True), ("ON", True), ("0", False), ("false", False)]
)
def test_flags_of_the_environment(text, value):
    """Whether something is so can be said in several ways."""
    assert configure(environ={"CLOCHE_SERVE_ALLOW_NET": text}).values["allow_net"] is value


def test_counts_and_lists_of_the_environment():
    """A list is separated by commas; a count is digits."""
    environ = {"CLOCHE_SERVE_TOOLS": "a=m:o, b=n", "CLOCHE_SERVE_WORKERS": "3"}
    values = configure(environ=environ).values
    assert (values["tools"], values["workers"]) == (("a=m:o", "b=n"), 3)


def test_certificates():
    """One table says the certificate of several names; elsewhere each name says its own."""
    said = [{"hosts": ["a.test", "*.b.test"], "cert": "/c.pem", "key": "/k.pem"}, "c.test=c:k"]
    found = configure(table={"certificates": said}, path="c.toml", environ={})
    assert found.values["certificates"] == (
        "a.test=/c.pem:/k.pem",
        "*.b.test=/c.pem:/k.pem",
        "c.test=c:k",
    )
    environ = {"CLOCHE_SERVE_CERTIFICATES": "a.test=c:k,b.test=d:l"}
    assert configure(environ=environ).values["certificates"] == ("a.test=c:k", "b.test=d:l")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (
            {"table": {"bnd": "x"}},
            "serve.bnd is no setting; did you mean serve.bind? (from c.toml)",
        ),
        ({"table": {"zzz": 1}}, f"there are: {', '.join(each.name for each in SETTINGS)}"),
        ({"table": []}, "serve it must be a table (from c.toml)"),
        ({"table": {"bind": 1}}, "serve.bind is 1; it is a text (from c.toml)"),
        ({"table": {"log": "yes"}}, "serve.log is 'yes'; it is true or false"),
        ({"table": {"cors": "*"}}, "serve.cors is '*'; it is a list of texts"),
        ({"table": {"workers": True}}, "it is a whole number from 0 to 256"),
        ({"table": {"workers": 257}}, "it is a whole number from 0 to 256"),
        ({"table": {"durability": "some"}}, "it is full or normal"),
        (
            {"environ": {"CLOCHE_SERVE_BNID": "x"}},
            "bnid is no setting; did you mean bind? (from environment CLOCHE_SERVE_BNID)",
        ),
        ({"environ": {"CLOCHE_SERVE_LOG": "maybe"}}, "serve.log is 'maybe'; it is true or false"),
        ({"environ": {"CLOCHE_SERVE_WORKERS": "-1"}}, "serve.workers is '-1'"),
        ({"flags": {"durability": "some"}}, "it is full or normal (from --durability)"),
        (
            {"table": {"certificates": [{"hosts": ["a.test"], "cert": "c.pem"}]}},
            "it is a list of NAME=CERT:KEY, or of tables with hosts, cert and key",
        ),
        ({"table": {"certificates": [{"hosts": ["a.test"], "cert": "c", "key": "a:b"}]}}, "colon"),
        ({"table": {"certificates": "a.test=c:k"}}, "serve.certificates is 'a.test=c:k'"),
        ({"flags": {"certificates": ["a.test=c.pem"]}}, "(from --certificates)"),
        # A stronger place does not hide what is wrong in a weaker one.
        ({"table": {"bind": 1}, "flags": {"bind": "a:1"}}, "serve.bind is 1"),
    ],
)
def test_what_is_wrong(given_, says):
    """It is an error that names the place."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        configure(**{"path": "c.toml", "environ": {}, **given_})


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5))
def test_whatever_the_environment_has(environ):
    """It is taken or refused, and other variables are nobody's business."""
    found = configure(environ={k: v for k, v in environ.items() if not k.startswith(PREFIX)})
    assert set(found.values) == {each.name for each in SETTINGS}
    with suppress(ConfigError):
        configure(environ={PREFIX + name: value for name, value in environ.items()})


def test_every_setting_is_on_the_page():
    """The table of settings has each with its flag."""
    text = PAGE.read_text(encoding="utf-8").partition("## Configuration")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    flags = {flag for row in rows for flag in re.findall(r"`(--[a-z-]+)`", row.split("|")[2])}
    assert named == {each.name for each in SETTINGS}
    assert flags == {each.flag for each in SETTINGS}

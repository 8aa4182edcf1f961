"""`cloche serve` and `cloche keys`: what is refused, and keys that a server then takes."""

from __future__ import annotations

import secrets
import time

import pytest
from tests.server.process import serving

from cloche.client.errors import ServerAnswerError
from cloche.limits import Limits
from cloche.server.audit import Audit
from cloche.server.pages import PageRequest
from cloche.store.open import open_store

from .support import cloche

PUBLIC = "0.0.0.0:0 can be reached from other machines, and without TLS keys would cross the"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bind", "0.0.0.0:0"], PUBLIC),
        (["--tls-cert", "c.pem"], "--tls-cert and --tls-key belong together; give both"),
        (
            ["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls-self-signed"],
            "give either --tls-cert or --tls-self-signed, not both",
        ),
        (["--bind", "localhost"], "localhost"),
    ],
)
def test_what_is_not_served(tmp_path, options, message):
    """It is refused before a store is made or a port is opened."""
    done = cloche("serve", "--store", str(tmp_path / "s.db"), *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_public_address_on_purpose(tmp_path):
    """With TLS, or when it is insisted on, it is served."""
    for option in ("--insecure", "--tls-self-signed"):
        with serving(tmp_path, "--bind", "0.0.0.0:0", option) as server:
            assert "0.0.0.0" in server.url
            assert server.stop() == 0


def test_an_address_that_is_taken(tmp_path):
    """It says so, with exit code 1 or 2 and no trace."""
    with serving(tmp_path) as server:
        address = server.url.removeprefix("http://")
        done = cloche("serve", "--bind", address, "--store", str(tmp_path / "t.db"))
    assert done.exit_code in {1, 2}
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_keys(tmp_path):
    """A key made here is taken by the server that runs; a revoked one is not, at once."""
    store = ["--store", str(tmp_path / "s.db")]
    with serving(tmp_path) as server:
        made = cloche("keys", "new", "--scope", "run", "--name", "ci", *store, "--json").document
        with server.client(made["key"]) as client:
            assert client.run("print(1)", language="python").run.stdout == "1\n"
            listed = cloche("keys", "list", *store, "--json").document["keys"]
            assert {key["name"] for key in listed} == {"first", "ci"}
            assert all("key" not in key and "digest" not in key for key in listed)
            new = cloche("keys", "rotate", made["id"], *store, "--json").document
            assert new["scopes"] == ["run"]
            with pytest.raises(ServerAnswerError):
                client.run("1")
        assert cloche("keys", "revoke", new["id"], *store).exit_code == 0
        with server.client(new["key"]) as client, pytest.raises(ServerAnswerError):
            client.run("1")


def test_keys_in_words(tmp_path):
    """A new key is one line on stdout; the list tells which are good."""
    store = ["--store", str(tmp_path / "s.db")]
    made = cloche("keys", "new", "--expires", "12h", *store)
    assert made.exit_code == 0
    assert made.stdout.startswith("clk_")
    assert made.stdout.count("\n") == 1
    listed = cloche("keys", "list", *store)
    assert "run session" in listed.stdout
    assert "good" in listed.stdout
    assert made.stdout.split("_")[2].strip() not in listed.stdout
    # What is copied into the next command is in one piece.
    assert made.stdout.split("_")[1] in listed.stdout


def test_keys_are_noted(tmp_path):
    """What a command does with keys is in the audit of their tenant, as made by no key."""
    store = str(tmp_path / "s.db")
    of_acme = ("--tenant", "acme", "--store", store)
    made = cloche("keys", "new", "--name", "ci", *of_acme, "--json").document
    new = cloche("keys", "rotate", made["id"], *of_acme, "--json").document
    cloche("keys", "revoke", new["id"], "--store", store)
    cloche("keys", "new", "--scope", "root", *of_acme)
    opened = open_store(store)
    audit = Audit(opened, Limits(), now_ns=time.time_ns, random_bytes=secrets.token_bytes)
    noted = [(each.action, each.target) for each in audit.page("acme", PageRequest(limit=9))]
    opened.close()
    assert noted == [("key.revoke", new["id"]), ("key.rotate", made["id"]), ("key.make", "ci")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["new", "--scope", "root"],
        ["new", "--tenant", "Not a tenant"],
        ["new", "--expires", "soon"],
        ["new", "--expires", "100000000h"],
        ["revoke", "nothing"],
        ["rotate", "../x"],
    ],
)
def test_wrong_input(tmp_path, arguments):
    """It is told in one line, with exit code 2."""
    done = cloche("keys", *arguments, "--store", str(tmp_path / "s.db"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("cloche: ")
    assert done.stderr.count("\n") == 1

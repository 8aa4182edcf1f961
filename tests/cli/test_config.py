"""`cloche config show` and what `cloche serve` makes of file, environment and flags."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.server.process import serving

from cloche.server.config import SETTINGS

from .support import cloche, environment

PAGE = Path(__file__).parents[2] / "docs" / "server.md"
EXAMPLE = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]


def lines_of(done):
    """Return what was printed, without the lines of tables, one space between cells."""
    return [" ".join(re.sub(r"[│┃]", " ", line).split()) for line in done.stdout.splitlines()]


def test_the_example_of_the_page(tmp_path):
    """It is a configuration; each value says that it came from the file."""
    (tmp_path / "cloche.toml").write_text(EXAMPLE)
    document = cloche("config", "show", "--json", cwd=tmp_path).document
    assert document["file"] == "cloche.toml"
    assert document["serve"]["store"] == {
        "value": "/var/lib/cloche/cloche.db",
        "from": "cloche.toml",
    }
    assert document["serve"]["cors"]["value"] == ["https://app.example.org"]
    assert document["serve"]["log"] == {"value": False, "from": "default"}
    rate = document["limits"]["server"]["tenant_run_rate_limit"]
    assert rate == {"value": 600, "from": "cloche.toml"}
    assert document["limits"]["server"]["drain_ms"] == {"value": 10_000, "from": "default"}


def test_without_a_file(tmp_path):
    """There is none, and everything else is there."""
    document = cloche("config", "show", "--json", cwd=tmp_path).document
    assert document["file"] is None
    assert set(document["serve"]) == {each.name for each in SETTINGS}


def test_the_store_that_nobody_named(tmp_path):
    """It is the user's own, and the place is said; one that is named is shown as it was."""
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share")}
    own = str(own_store(env))
    document = cloche("config", "show", "--json", cwd=tmp_path, env=env).document
    assert document["serve"]["store"] == {"value": own, "from": "default"}
    shown = cloche("serve", "--show-config", cwd=tmp_path, env={**env, "COLUMNS": "400"})
    assert f"serve.store {own} default" in lines_of(shown)
    named = cloche("config", "show", "--json", cwd=tmp_path, env={**env, "CLOCHE_STORE": "x.db"})
    assert named.document["serve"]["store"]["value"] == "x.db"


def own_store(env):
    """Return where a process with this environment has its store when nobody names one."""
    code = "from cloche.store.open import default_path; print(default_path())"
    asked = [sys.executable, "-c", code]
    found = subprocess.run(asked, env=environment(**env), capture_output=True, check=True)
    return found.stdout.decode().strip()


def test_in_words(tmp_path):
    """Settings, and the limits that were set; all of them when asked."""
    path = tmp_path / "other.toml"
    path.write_text('[serve]\nbind = "127.0.0.1:1"\n')
    env = {"CLOCHE_SERVE_LOG": "true", "CLOCHE_SERVER_DRAIN_MS": "1s"}
    done = cloche("config", "show", "--config", str(path), cwd=tmp_path, env=env)
    assert done.exit_code == 0, done.stderr
    lines = lines_of(done)
    assert f"file: {path}" in lines
    assert f"serve.bind 127.0.0.1:1 {path}" in lines
    assert "serve.log true environment CLOCHE_SERVE_LOG" in lines
    assert "server.drain_ms 1 s environment CLOCHE_SERVER_DRAIN_MS" in lines
    assert "server.worker_count" not in done.stdout
    every = cloche("config", "show", "--all", cwd=tmp_path)
    assert "server.worker_count" in every.stdout


@pytest.mark.parametrize("command", [("config", "show"), ("serve",)])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[serve]\nbnd = "x"\n', "serve.bnd is no setting; did you mean serve.bind?"),
        ('[server]\nbind = "x"\n', "did you mean limits.server?"),
        ("[serv]\n", "did you mean serve?"),
        ("[limits.server]\ndrain = 1\n", "did you mean server.drain_ms?"),
        ("serve = 1\n", "serve it must be a table"),
        ("[serve\n", "is not valid TOML"),
    ],
)
def test_what_is_wrong(tmp_path, command, text, says):
    """It is said with exit code 2; nothing is served."""
    (tmp_path / "cloche.toml").write_text(text)
    done = cloche(*command, cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_flags_of_serve(tmp_path):
    """They are strongest; a flag can be taken back."""
    (tmp_path / "cloche.toml").write_text("[serve]\nallow_net = true\nlog = true\n")
    done = cloche(
        "serve", "--bind", "127.0.0.1:7", "--no-log", "--cors", "*", "--show-config", cwd=tmp_path
    )
    assert done.exit_code == 0, done.stderr
    lines = lines_of(done)
    assert "serve.bind 127.0.0.1:7 --bind" in lines
    assert "serve.log false --log" in lines
    assert "serve.allow_net true cloche.toml" in lines
    assert "serve.cors * --cors" in lines
    assert list(tmp_path.iterdir()) == [tmp_path / "cloche.toml"]


def test_keys_and_tenants_of_the_store_that_is_served(tmp_path):
    """They are kept in the store that the configuration names, unless an option names another."""
    (tmp_path / "cloche.toml").write_text('[serve]\nstore = "named.db"\n')
    cloche("keys", "new", "--tenant", "acme", cwd=tmp_path)
    assert (tmp_path / "named.db").exists()
    found = cloche("tenants", "list", "--json", cwd=tmp_path).document["tenants"]
    assert [each["id"] for each in found] == ["acme"]
    other = cloche("tenants", "list", "--store", "other.db", "--json", cwd=tmp_path)
    assert other.document == {"tenants": []}


def test_a_file_that_is_served(tmp_path):
    """A server listens where the file says, on the store that it names, within its limits."""
    path, store = tmp_path / "served.toml", tmp_path / "named.db"
    path.write_text(
        f'[serve]\nbind = "127.0.0.1:0"\nstore = "{store}"\n'
        "[limits.server]\nsession_count_max = 1\n"
    )
    with serving(tmp_path, "--config", str(path), is_placed=False) as server:
        assert store.exists()
        with server.client() as client:
            assert client.limits()["server"]["session_count_max"] == 1

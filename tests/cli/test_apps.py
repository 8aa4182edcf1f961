"""`cloche app`: written, deployed, looked at, changed, replayed, removed; and served meanwhile."""

from __future__ import annotations

import functools
import json
import time

import httpx
import pytest
from tests.server.process import serving

from cloche.apps.logs import LogLine
from cloche.cli.apps import new_lines

from .support import cloche, environment

get = functools.partial(httpx.get, timeout=60)


class World:
    """A folder with a store, and the command on it."""

    def __init__(self, folder):
        self.folder = folder
        self.env = environment(
            CLOCHE_STORE=str(folder / "s.db"), CLOCHE_KEY_FILE=str(folder / "key")
        )

    def run(self, *arguments, exit_code=0, stdin=b""):
        """Return what `cloche app` did."""
        done = cloche("app", *arguments, cwd=self.folder, env=self.env, stdin=stdin)
        assert done.exit_code == exit_code, done.stderr
        return done

    def json(self, *arguments):
        """Return what it printed as JSON."""
        return self.run(*arguments, "--json").document


@pytest.fixture
def world(tmp_path):
    """An empty folder."""
    return World(tmp_path)


@pytest.mark.parametrize("language", ["js", "ts", "python"])
def test_a_new_app(world, language):
    """What is written can be deployed as it is, and answers its page and its counter."""
    written = world.json("new", "hello", "--language", language)["written"]
    assert "cloche.app.json" in written
    deployed = world.json("deploy", "hello")
    assert (deployed["app"], deployed["number"], deployed["state"]) == ("hello", 1, "live")
    with serving(world.folder) as server:
        asked = {"host": "hello.localhost"}
        page = get(f"{server.url}/", headers=asked)
        assert (page.status_code, "<h1>hello</h1>" in page.text) == (200, True)
        counts = [get(f"{server.url}/api/visits", headers=asked).json() for _ in range(2)]
        assert counts == [{"visits": 1}, {"visits": 2}]


def test_the_life_of_an_app(world):
    """Versions, rollback, canary, environment, history; a server sees each change by itself."""
    world.run("new", "hello")
    main = world.folder / "hello" / "main.js"
    text = "export default { fetch(r, env) { return new Response('VERSION ' + env.COLOR) } }"
    manifest = {"name": "hello", "main": "main.js", "env": {"COLOR": "red"}}
    (world.folder / "hello" / "cloche.app.json").write_text(json.dumps(manifest))
    main.write_text(text.replace("VERSION", "one"))
    world.run("deploy", "hello")
    with serving(world.folder) as server:

        def answers(expected):
            end = time.monotonic() + 60
            while time.monotonic() < end:
                found = get(f"{server.url}/", headers={"host": "hello.localhost"}).text
                if expected in found:
                    return True
                time.sleep(0.05)
            return found

        assert answers("one red") is True
        main.write_text(text.replace("VERSION", "two"))
        assert "v2" in world.run("deploy", "hello").stdout
        assert answers("two red") is True
        world.run("rollback", "hello")
        assert answers("one red") is True
        assert world.json("env", "hello", "COLOR=blue")["env"] == {"COLOR": "blue"}
        assert answers("one blue") is True
        world.run("deploy", "hello", "--canary", "99")
        world.run("promote", "hello")
        assert answers("two blue") is True
        world.run("stop", "hello")
        assert answers("APP_STOPPED") is True
        world.run("start", "hello")
        assert answers("two blue") is True
    states = [
        (each["number"], each["state"]) for each in world.json("versions", "hello")["versions"]
    ]
    assert states == [(2, "live"), (1, "")]
    actions = [each["action"] for each in world.json("history", "hello")["actions"]]
    expected = ["start", "stop", "promote", "canary", "env", "rollback", "deploy", "deploy"]
    assert actions == expected
    world.run("rm", "hello", stdin=b"n\n", exit_code=1)
    world.run("rm", "hello", "--yes")
    assert world.json("list") == {"apps": []}


def test_logs_and_replay(world):
    """What an app says is shown; a request that failed is run again to the same bytes."""
    world.run("new", "hello")
    main = world.folder / "hello" / "main.js"
    main.write_text(
        "export default { fetch(r) { console.log('asked');"
        " if (r.url.endsWith('y=1')) throw new Error('no');"
        " return new Response('teapot', { status: 418 }) } }"
    )
    manifest = {"name": "hello", "main": "main.js", "record": {"sample": 1}}
    (world.folder / "hello" / "cloche.app.json").write_text(json.dumps(manifest))
    world.run("deploy", "hello")
    with serving(world.folder) as server:
        asked = {"host": "hello.localhost"}
        assert get(f"{server.url}/x?y=1", headers=asked).status_code == 500
        assert get(f"{server.url}/tea", headers=asked).status_code == 418
        assert server.stop() == 0
    assert "asked" in world.run("logs", "hello").stdout
    assert "asked" not in world.run("logs", "hello", "--level", "error").stdout
    found = {each["target"]: each for each in world.json("requests", "hello")["requests"]}
    assert {path: each["status"] for path, each in found.items()} == {"/x?y=1": 500, "/tea": 418}
    again = world.json("replay", found["/x?y=1"]["id"])
    assert (again["same"], again["status"]) == (True, 500)
    assert world.run("replay", found["/tea"]["id"], "--body").stdout == "teapot"
    # A log shows how ids begin, and that is enough.
    beginning = found["/tea"]["id"][:8]
    assert "asked" in world.run("logs", "hello", "--request", beginning).stdout
    assert world.json("replay", beginning)["request"] == found["/tea"]["id"]


def test_following_lines_of_one_moment():
    """Lines are shown once each, also equal ones, and those that come late with an older time."""

    def line(at_ms, message):
        return LogLine(at_ms=at_ms, level="info", message=message)

    known = [line(5, "a"), line(7, "b"), line(7, "b")]
    found = [line(5, "a"), line(6, "late"), *known[1:], line(7, "b"), line(8, "c")]
    assert [each.message for each in new_lines(found, known)] == ["late", "b", "c"]


def test_wrong_use(world):
    """Each says what is wrong and changes nothing."""
    assert "lowercase" in world.run("new", "My_App", exit_code=2).stderr
    world.run("new", "hello")
    assert "not empty" in world.run("new", "hello", exit_code=2).stderr
    assert "'nothing' is not there" in world.run("deploy", "nothing", exit_code=2).stderr
    (world.folder / "bad.zip").write_bytes(b"PK, or so it says")
    assert "'bad.zip' is no archive" in world.run("deploy", "bad.zip", exit_code=2).stderr
    assert "NAME=VALUE" in world.run("deploy", "hello", "--env", "x", exit_code=2).stderr
    (world.folder / "hello" / "main.js").write_text("console.log('before'); boom()")
    failed = world.run("deploy", "hello", exit_code=1).stderr
    assert "boom" in failed
    assert "before" in failed
    for command in (
        "versions",
        "logs",
        "history",
        "requests",
        "rollback",
        "promote",
        "env",
        "open",
    ):
        assert "cloche app list" in world.run(command, "hello", exit_code=2).stderr, command
    assert "cloche app requests" in world.run("replay", "x", exit_code=2).stderr

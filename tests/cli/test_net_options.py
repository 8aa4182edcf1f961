"""`--allow`, `--net` and `--secret` of runs."""

from __future__ import annotations

import json

import pytest
from tests.cli.test_net import Desk
from tests.cli.test_secret import KEY_SETTING, VALUE
from tests.exec.net_support import net_world

from cloche.cli import main
from cloche.egress.allowlist import Entry
from cloche.egress.secrets import Secret

CALL = """
from _cloche import host
try:
    arguments = {{"url": "{origin}{path}"{more}}}
    value = host.effect("http.fetch", "{method} {origin}", arguments)
    print(value["status"], value["body"])
except host.EffectError as error:
    print(error.code)
"""


def call(origin, path="/x", method="GET", more=""):
    """Return a program that makes one call and prints what became of it."""
    return CALL.format(origin=origin, path=path, method=method, more=more)


@pytest.fixture
def net():
    """Return the world of the process's service."""
    with net_world() as world:
        yield world


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty store, also for commands that run in this process."""
    desk = Desk(tmp_path)
    monkeypatch.setenv("CLOCHE_STORE", str(desk.store))
    monkeypatch.setenv("CLOCHE_SECRET_KEY", KEY_SETTING["CLOCHE_SECRET_KEY"])
    return desk


def here(capfd, *arguments):
    """Run a command in this process, whose service has the world of the test."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    shown = capfd.readouterr()
    return ended.value.code, shown.out, shown.err


RUN = ("run", "-l", "python", "--stdin", "")


def test_allow(net, desk, capfd):
    """A run may call the hosts that it was given, with what the entry says, and no others."""
    server = net.server("a.example.com", "b.example.com")
    origin = f"https://a.example.com:{server.port}"
    allowed = [*RUN, "--allow", f"GET a.example.com:{server.port}/v1"]
    assert here(capfd, *allowed, "-c", call(origin, "/v1/x")) == (0, "200 ok\n", "")
    assert here(capfd, *allowed, "-c", call(origin, "/v2")) == (0, "NET_BLOCKED\n", "")
    other = f"https://b.example.com:{server.port}"
    assert here(capfd, *allowed, "-c", call(other, "/v1/x")) == (0, "NET_BLOCKED\n", "")
    assert here(capfd, *RUN, "-c", call(origin)) == (0, "POLICY_DENIED\n", "")
    assert [request.target for request in server.requests] == ["/v1/x"]


def test_lists(net, desk, capfd):
    """A run asks the lists of `cloche net` that it names, and none by itself."""
    server = net.server("a.example.com")
    origin = f"https://a.example.com:{server.port}"
    net.world.lists["global"] = [Entry(host="a.example.com", ports=(server.port,))]
    assert here(capfd, *RUN, "--net", "global", "-c", call(origin)) == (0, "200 ok\n", "")
    assert here(capfd, *RUN, "--net", "other", "-c", call(origin))[1] == "NET_BLOCKED\n"
    assert here(capfd, *RUN, "-c", call(origin))[1] == "POLICY_DENIED\n"


def test_secret(net, desk, capfd):
    """A run uses the secrets that it was given, and sees none of them."""
    server = net.server("a.example.com")
    origin = f"https://a.example.com:{server.port}"
    desk.told(
        *("secret", "set", "KEY", "--domain", "a.example.com", "--port", str(server.port)),
        stdin=VALUE.encode(),
        env=KEY_SETTING,
    )
    net.world.secrets["KEY"] = Secret(
        name="KEY", value=VALUE, domains=("a.example.com",), ports=(server.port,)
    )
    allowed = [*RUN, "--allow", f"a.example.com:{server.port}"]
    program = call(origin, more=', "auth": "KEY"')
    assert here(capfd, *allowed, "--secret", "KEY", "-c", program) == (0, "200 ok\n", "")
    assert server.requests[0].header("authorization") == [f"Bearer {VALUE}"]
    assert here(capfd, *allowed, "-c", program) == (0, "NET_AUTH\n", "")
    assert len(server.requests) == 1


def test_a_recorded_run_is_replayed_without_a_network(net, desk, capfd):
    """What a run with calls printed is printed again from its journal."""
    server = net.server("a.example.com")
    program = desk.folder / "main.py"
    program.write_text(call(f"https://a.example.com:{server.port}"), encoding="utf-8")
    journal = str(desk.folder / "run.journal")
    allow = ["--allow", f"a.example.com:{server.port}", "--record", journal]
    assert here(capfd, "run", str(program), "--stdin", "", *allow) == (0, "200 ok\n", "")
    again = desk.say("replay", journal)
    assert (again.exit_code, again.stdout) == (0, "200 ok\n")
    assert "replayed to the same bytes" in again.stderr
    assert len(server.requests) == 1


def test_sessions(net, desk, capfd):
    """A session's runs may do what it was made with; a run may be given something else."""
    server = net.server("a.example.com", "b.example.com")
    a, b = (f"https://{name}.example.com:{server.port}" for name in "ab")
    allow = ["--allow", f"a.example.com:{server.port}"]
    assert here(capfd, "session", "new", "-l", "py", "--name", "box", *allow)[0] == 0
    box = ["session", "run", "box", "--stdin", ""]
    assert here(capfd, *box, "-c", call(a)) == (0, "200 ok\n", "")
    assert here(capfd, *box, "-c", call(b)) == (0, "NET_BLOCKED\n", "")
    other = ["--allow", f"b.example.com:{server.port}"]
    assert here(capfd, *box, "-c", call(b), *other) == (0, "200 ok\n", "")
    assert here(capfd, *box, "-c", call(b)) == (0, "NET_BLOCKED\n", "")


def test_refusals_are_in_the_log_of_the_store(desk):
    """What a process's run was refused can be read afterwards, of the store that was named."""
    program = call("https://b.example.com")
    other = str(desk.folder / "other.db")
    done = desk.say("run", "-l", "python", "--allow", "a.example.com", "-c", program)
    assert (done.exit_code, done.stdout) == (0, "NET_BLOCKED\n")
    desk.told("session", "new", "-l", "py", "--name", "box", "--store", other)
    run = ["session", "run", "box", "-c", program, "--allow", "a.example.com", "--store", other]
    assert desk.told(*run) == "NET_BLOCKED\n"
    for store in (str(desk.store), other):
        (record,) = desk.document("net", "logs", "--store", store)["records"]
        assert (record["host"], record["code"], record["reason"]) == (
            "b.example.com",
            "NET_BLOCKED",
            "unlisted",
        )


def test_lists_may_change_while_a_session_lives(desk):
    """An entry that is added, or denied, holds from the next call on."""
    desk.told("session", "new", "-l", "py", "--name", "box", "--net", "session:box")
    run = ["session", "run", "box", "-c", call("https://none.invalid")]
    assert desk.told(*run) == "NET_BLOCKED\n"
    desk.told("net", "allow", "none.invalid", "--session", "box")
    assert desk.told(*run) == "NET_ERROR\n"  # now it is looked for
    desk.told("net", "deny", "none.invalid", "--session", "box")
    assert desk.told(*run) == "NET_BLOCKED\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--allow", "*"], "would allow everything"),
        (["--allow", "*.co.uk"], "is too broad"),
        (["--allow", "10.0.0.1"], "is an address: only names"),
        (["--net", "a b"], "must match"),
        (["--secret", "KEY"], "--secret needs --allow or --net"),
        (["--allow", "a.example.com", "--secret", "KEY"], "there is no secret KEY"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("command", ["run", "session new", "session run"])
def test_wrong_input(desk, command, options, words):
    """Nothing runs: one message that says what is wrong, and exit code 2."""
    behind = {
        "run": ["run", "-l", "python", "-c", "print(1)"],
        "session new": ["session", "new", "-l", "py"],
        "session run": ["session", "run", "box", "-c", "print(1)"],
    }[command]
    if command == "session run":
        desk.told("session", "new", "-l", "py", "--name", "box")
    done = desk.say(*behind, *options, "--json")
    assert done.exit_code == 2, done
    assert words in json.loads(done.stdout)["error"]["message"]

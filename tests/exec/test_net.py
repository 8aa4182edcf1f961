"""Runs that make outbound calls: who gets an egress, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote, quote_plus

import pytest

import cloche
from cloche.egress.allowlist import Entry
from cloche.egress.errors import NetStoreError
from cloche.egress.open import default_service, open_database, use_service
from cloche.egress.secrets import Secret
from cloche.gate.policy import Policy
from cloche.store.open import open_store

from .net_support import allowing, net_world

CALL = """
from _cloche import host
try:
    value = host.effect("http.fetch", "GET {origin}", {{"url": "{origin}/x"}})
    print(value["status"], value["body"])
except host.EffectError as error:
    print(error.code)
"""


@pytest.fixture
def net():
    """Return the world of the process's service."""
    with net_world() as world:
        yield world


def program(server):
    """Return a program that calls a server, without any library of the guest."""
    return CALL.format(origin=f"https://a.example.com:{server.port}")


def test_run_with_a_policy(net):
    """A run whose policy allows a host can call it."""
    server = net.server()
    result = cloche.run(program(server), policy=allowing(server))
    assert result.run.stdout == "200 ok\n"
    assert [request.target for request in server.requests] == ["/x"]


def test_run_without_a_policy(net):
    """A run without rules of outbound HTTP reaches nobody, and makes no service."""
    server = net.server()
    assert cloche.run(program(server)).run.stdout == "POLICY_DENIED\n"
    assert cloche.run(program(server), policy=Policy(net=cloche.NetPolicy())).run.stdout == (
        "NET_BLOCKED\n"
    )
    assert server.requests == []


def test_streaming(net):
    """A run whose output is streamed makes calls as any other."""
    server = net.server()

    async def collect():
        events = cloche.run_streaming(program(server), policy=allowing(server))
        return [event async for event in events]

    *chunks, last = asyncio.run(collect())
    assert b"".join(chunk.data for chunk in chunks) == b"200 ok\n"
    assert isinstance(last, cloche.Finished)


def test_session(net, tmp_path, monkeypatch):
    """Each run of a session calls by its own policy."""
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "cloche.db"))
    server = net.server()
    with cloche.Session.create("python") as session:
        assert session.run(program(server), policy=allowing(server)).run.stdout == "200 ok\n"
        assert session.run(program(server)).run.stdout == "POLICY_DENIED\n"
    assert len(server.requests) == 1


SECRET = "s3cret/value+of=the key"


def known(net, **options):
    """Give the world a secret that goes to a.example.com, and return it."""
    secret = Secret(name="KEY", value=SECRET, domains=("a.example.com",), **options)
    net.world.secrets["KEY"] = secret
    return secret


def test_output_is_scrubbed(net):
    """What a program prints holds no secret, also where it came from elsewhere, in any form."""
    known(net)
    code = (
        "import base64, os, sys, urllib.parse\n"
        "key = os.environ['LEAK']\n"
        "print('<', key, urllib.parse.quote(key), base64.b64encode(b'x' + key.encode()).decode())\n"
        "print(key, file=sys.stderr)\n"
        "raise ValueError(key)\n"
    )
    policy = Policy(net=cloche.NetPolicy(allow=["a.example.com"], secrets=("KEY",)))
    events = list(cloche.events(code, policy=policy, env={"LEAK": SECRET}))
    last = events.pop()
    assert isinstance(last, cloche.Failed)
    assert last.error.message == "ValueError: [secret:KEY]"
    printed = {
        stream: b"".join(event.data for event in events if isinstance(event, stream)).decode()
        for stream in (cloche.StdoutChunk, cloche.StderrChunk)
    }
    assert printed[cloche.StdoutChunk] == last.error.result.run.stdout
    assert printed[cloche.StdoutChunk].startswith("< [secret:KEY] [secret:KEY] ")
    assert printed[cloche.StderrChunk] == last.error.result.run.stderr
    assert not forms_in(repr(printed))


def test_output_in_pieces(net):
    """A secret that is printed letter by letter does not get through either."""
    known(net)
    code = "import os, sys\nfor c in os.environ['LEAK']:\n  sys.stdout.write(c); sys.stdout.flush()"
    policy = Policy(net=cloche.NetPolicy(allow=["a.example.com"], secrets=("KEY",)))
    events = list(cloche.events(code, policy=policy, env={"LEAK": SECRET}))
    assert [event.data for event in events[:-1]] == [b"[secret:KEY]"]


def test_replay_without_the_secret(net, tmp_path):
    """What a run printed of a secret does not matter to its replay."""
    known(net)
    policy = Policy(net=cloche.NetPolicy(allow=["a.example.com"], secrets=("KEY",)))
    path = tmp_path / "journal"
    code = "import os; print(os.environ['LEAK'])"
    cloche.run(code, policy=policy, env={"LEAK": SECRET}, record=path)
    net.world.secrets.clear()
    assert cloche.replay(path).error is None


def forms_in(text):
    """Return the forms of the secret that a text holds."""
    encoded = base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-1]
    forms = [SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), encoded]
    return [form for form in forms if form in text]


def test_broken_store(monkeypatch, tmp_path):
    """A run whose secrets cannot be read does not begin."""
    use_service(None)
    place = tmp_path / "net.db"
    place.write_bytes(b"no database" * 100)
    monkeypatch.setenv("CLOCHE_SECRET_STORE", str(place))
    policy = Policy(net=cloche.NetPolicy(secrets=("KEY",)))
    try:
        with pytest.raises(NetStoreError):
            cloche.run("print(1)", policy=policy)
        assert cloche.run("print(1)").run.stdout == "1\n"
    finally:
        default_service().close()
        use_service(None)


def test_the_lists_are_those_of_the_session_s_store(tmp_path, monkeypatch):
    """A session obeys what was allowed beside its store, whatever store is the process's."""
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "another.db"))
    monkeypatch.delenv("CLOCHE_SECRET_STORE", raising=False)
    path = tmp_path / "a store.db"
    lists = open_database(str(path))
    lists.put_entry("global", Entry(host="a.example.com", methods=("GET",)))
    policy = Policy(net=cloche.NetPolicy(scopes=("global",)))
    code = "import net\nnet.fetch('https://a.example.com/x', method='PUT')"
    store = open_store(path)
    with cloche.Session.create("python", store=store) as session:
        with pytest.raises(cloche.RuntimeFailedError, match="not this method"):
            session.run(code, policy=policy)
        default_service(store.url).close()
    assert [record.host for record in lists.records(count=10)] == ["a.example.com"]
    lists.close()
    store.close()
    with pytest.raises(cloche.RuntimeFailedError, match="not in allowlist"):
        cloche.run(code, policy=policy)
    default_service().close()
    use_service(None)
    assert (tmp_path / "another-net.db").exists()


def test_a_run_that_is_almost_over_makes_no_calls(net):
    """The time of calls is part of the run's own: those that come too late in it are refused."""
    server = net.server()
    code = (
        "import net\n"
        "try: net.fetch(ORIGIN)\n"
        "except net.NetError as error: print(error.code, error)\n"
    ).replace("ORIGIN", repr(f"https://a.example.com:{server.port}"))
    limits = {"guests": {"timeout_ms": 50_000}, "egress": {"run_left_min_ms": 50_001}}
    result = cloche.run(code, policy=allowing(server), limits=cloche.load_limits(limits))
    assert result.run.stdout.startswith("NET_BUDGET ")
    assert "insufficient time: the run ends in " in result.run.stdout
    assert server.requests == []

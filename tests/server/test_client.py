"""The Python clients, on the real server: results, events, sessions and errors as at home."""

from __future__ import annotations

import asyncio
import io
import shutil
import zipfile
from pathlib import Path

import pytest

import cloche
from cloche.client.archive_calls import upload_archive
from cloche.client.asynchronous import AsyncClient
from cloche.client.errors import ServerAnswerError, ServerUnreachableError
from cloche.client.synchronous import Client
from cloche.client.wire import KeyMalformedError
from cloche.exec.errors import (
    CompilationFailedError,
    FileAccessError,
    InvalidRunError,
    RunNotFoundError,
    RunSuspendedError,
    RuntimeFailedError,
    SessionExistsError,
    SessionNotFoundError,
    TimeoutExceededError,
    UnsupportedLanguageError,
)
from cloche.exec.session import complete_promise
from cloche.exec.types import Failed, File, Finished, StderrChunk, StdoutChunk
from cloche.exec.types import Limits as RunLimits
from cloche.limits.errors import LimitRangeError
from cloche.store.errors import StoreUnknownError
from cloche.store.open import open_store

from .process import GUEST_MS, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def client(server):
    """A client with the admin key."""
    with server.client() as found:
        yield found


def comparable(result):
    """Return a result without what differs between two runs of one program."""
    return (result.compile, result.run)


PROGRAMS = [
    ("print(6 * 7)", {"language": "python"}),
    ("console.log('é'); console.error('b')", {"language": "javascript"}),
    ("const n: number = 1; console.log(n)", {"language": "typescript"}),
    ("import sys; print(sys.argv, sys.stdin.read())", {"args": ["a"], "stdin": b"\x00x"}),
    ("print(open('d/a').read())", {"files": [File(name="d/a", content=b"hi")]}),
    ("import os; print(os.environ['A'])", {"env": {"A": "1"}}),
    ("import sys; sys.exit(3)", {}),
    ("import random; print(random.random())", {"seed": 5, "now_ns": 10**18}),
]


@pytest.mark.parametrize(("code", "options"), PROGRAMS)
def test_the_same_as_at_home(client, code, options):
    """A run on the server is the run that this process would have made."""
    options = {"language": "python", **options}
    assert comparable(client.run(code, **options)) == comparable(cloche.run(code, **options))


@pytest.mark.parametrize(
    ("code", "options", "kind"),
    [
        ("print('a')\nraise ValueError('b')", {}, RuntimeFailedError),
        ("print(", {}, CompilationFailedError),
        ("while True: pass", {"limits": RunLimits(time_ms=50)}, TimeoutExceededError),
    ],
)
def test_failures_are_the_same(client, code, options, kind):
    """It raises what the local call raises, with the output so far."""
    with pytest.raises(kind) as remote:
        client.run(code, language="python", **options)
    with pytest.raises(kind) as local:
        cloche.run(code, language="python", **options)
    assert remote.value.message == local.value.message
    assert comparable(remote.value.result) == comparable(local.value.result)


def test_refusals(client, server):
    """What cannot be is the local error; what only a server says is one of its own."""
    with pytest.raises(InvalidRunError):
        client.run("1", language="python", files=[File(name="../..", content=b"")])
    with pytest.raises(TypeError, match="takes no tools"):
        client.run("1", tools={})
    with server.client("clk_" + "a" * 12 + "_" + "A" * 43) as stranger:
        with pytest.raises(ServerAnswerError) as caught:
            stranger.run("1")
        assert (caught.value.status, caught.value.server_code) == (401, "WEB_UNAUTHORIZED")
    with pytest.raises(RunNotFoundError):
        client.get_run("nothing")


def test_nobody_answers():
    """It says where, after it tried so often."""
    client = Client("http://127.0.0.1:1", "x", attempt_count=2)
    with client, pytest.raises(ServerUnreachableError) as caught:
        client.run("1")
    assert caught.value.url == "http://127.0.0.1:1"


def test_events(client):
    """Output comes in order as bytes, and the last event says how it ended."""
    code = "console.log('a\\u2028\\u0085b'); console.error('c'); console.log('d')"
    found = list(client.events(code, language="javascript"))
    assert found[:-1] == [
        StdoutChunk(data="a\u2028\u0085b\n".encode()),
        StderrChunk(data=b"c\n"),
        StdoutChunk(data=b"d\n"),
    ]
    assert isinstance(found[-1], Finished)
    failed = list(client.events("throw new Error('x')", language="javascript"))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.code == "RUNTIME_FAILED"


def test_output_comes_while_the_program_runs(client):
    """The first piece is here before the end; closing the iterator stops the run."""
    events = client.events(
        "print('a', flush=True)\nwhile True: pass",
        language="python",
        limits=RunLimits(time_ms=300_000),
    )
    assert next(events) == StdoutChunk(data=b"a\n")
    run_id = client.list_runs(limit=1).items[0].id
    assert client.get_run(run_id).status == "running"
    events.close()
    assert isinstance(list(client.follow(run_id))[-1], Failed)
    assert client.get_run(run_id).status == "cancelled"


def test_started_and_followed(client):
    """A run that was started can be followed by whoever knows its id, as often as they like."""
    run = client.start("print(1)", language="python")
    for _ in range(2):
        first, last = client.follow(run.id)
        assert (first, type(last)) == (StdoutChunk(data=b"1\n"), Finished)
    assert client.get_run(run.id).stdout == "1\n"
    assert client.replay_run(run.id).same
    assert '"entry":"run_finished"' in client.run_journal(run.id)[-1]
    assert client.cancel_run(run.id).status == "completed"


def test_a_session(client):
    """Every verb of a session."""
    with client.Session.create("python", name="notes", seed=1) as session:
        session.run("x = 40")
        assert session.run("print(x + 2)").run.stdout == "42\n"
        session.upload(File(name="d/a é.txt", content=b"hi"))
        session.write_file("/b", b"b")
        assert session.download("d/a é.txt") == b"hi"
        listed = session.list_files("/", recursive=True)
        assert [(entry.path, entry.read_only) for entry in listed] == [
            ("/b", False),
            ("/d", False),
            ("/d/a é.txt", False),
        ]
        session.set_working_dir("d")
        assert session.working_dir == "/d"
        snapshot = session.snapshot()
        fork = session.fork("other")
        session.run("x = 0")
        session.restore(snapshot)
        assert [type(event) for event in session.run_streaming("print(x)")] == [
            StdoutChunk,
            Finished,
        ]
        session.revert(last=1)
        session.remove("/b")
        assert [step.operation for step in session.history()][-2:] == ["cwd", "remove"]
        copy = client.Session.import_(fork.export(), name="copy")
        assert copy.run("print(x)").run.stdout == "40\n"
        assert {item.name for item in client.Session.list().items} == {"notes", "other", "copy"}
        for each in (session, fork, copy):
            each.delete()
        with pytest.raises(SessionNotFoundError):
            client.Session.open("notes")


def test_errors_of_sessions(client):
    """They are those of the local API."""
    session = client.Session.create("javascript", name="taken")
    with pytest.raises(SessionExistsError):
        client.Session.create("javascript", name="taken")
    with pytest.raises(FileAccessError) as caught:
        session.download("nothing")
    assert caught.value.reason == "NOENT"
    with pytest.raises(RunSuspendedError):
        session.run("await cloche.sleep(3600)")
    session.delete()


def test_a_run_that_was_put_away(client):
    """It goes on by its id, until it waits again; one that is over does not."""
    session = client.Session.create("javascript")
    with pytest.raises(RunSuspendedError) as first:
        session.run("console.log('a'); await cloche.sleep(3600)")
    (run,) = client.list_runs(session=session.id).items
    with pytest.raises(RunSuspendedError) as again:
        client.resume_run(run.id)
    assert again.value.message == first.value.message
    client.cancel_run(run.id)
    with pytest.raises(ServerAnswerError) as over:
        client.resume_run(run.id)
    assert (over.value.status, over.value.server_code) == (409, "SERVER_STATE")
    session.delete()


def test_a_promise_of_a_program(client):
    """It gets its value once; a program that waits for it reads that."""
    session = client.Session.create("javascript")
    promise = session.run("console.log(await cloche.promise.create())").run.stdout.strip()
    assert client.complete_promise(promise, {"paid": [True, None]}) is True
    assert client.complete_promise(promise, "late") is False
    code = f"console.log(JSON.stringify(await cloche.promise.get('{promise}')))"
    assert session.run(code).run.stdout == '{"paid":[true,null]}\n'
    session.delete()


def test_a_promise_that_there_is_not(client):
    """One that is unknown, or of another tenant, gives the error of the local API."""
    session = client.Session.create("javascript")
    promise = session.run("console.log(await cloche.promise.create())").run.stdout.strip()
    key = client.create_key(["session"], tenant="acme").key
    with Client(client._url, key) as other, pytest.raises(StoreUnknownError) as foreign:
        other.complete_promise(promise, "stolen")
    assert foreign.value.fields == {"what": "promise", "id": promise}
    assert client.complete_promise(promise, None) is True
    with pytest.raises(StoreUnknownError) as remote:
        client.complete_promise("nothing", 1)
    with pytest.raises(StoreUnknownError) as local:
        complete_promise("nothing", 1, store=open_store("memory:"))
    assert remote.value.message == local.value.message
    assert remote.value.fields == local.value.fields
    session.delete()


def test_paths_of_files(client):
    """They lead from the working directory, as at home, and never out of the session's files."""
    for made in (client.Session.create("python"), cloche.Session.create("python")):
        with made as session:
            session.write_file("/there/a.txt", b"there")
            session.set_working_dir("/there")
            session.write_file("b ü?#%.txt", b"b")
            session.write_file("../../../keys", b"no key")
            paths = [entry.path for entry in session.list_files("/", recursive=True)]
            assert paths == ["/keys", "/there", "/there/a.txt", "/there/b ü?#%.txt"]
            assert session.download("./a.txt") == b"there"
            assert session.download("../keys") == b"no key"
            session.remove("b ü?#%.txt")
            with pytest.raises(InvalidRunError):
                session.download("")
            session.delete()
    for name in (".", ".."):
        with pytest.raises(InvalidRunError):
            client.Session.open(name)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_archives_of_files(client, tmp_path, kind):
    """Their files go up below a directory, read-only where that is said, and come down as a ZIP."""
    with client.Session.create("python") as session:
        session.write_file("/in/old", b"old")
        session.set_working_dir("/in")
        put = session.upload_archive(archive(tmp_path, kind), "there", read_only=True)
        assert [(each.path, each.size_bytes, each.read_only) for each in put] == [
            ("/in/there/a.txt", 2, True),
            ("/in/there/d/é.txt", 3, True),
        ]
        assert session.download("there/d/é.txt") == b"yes"
        assert contents(session.download_archive("there/d")) == {"é.txt": b"yes"}
        session.upload_archive(archive(tmp_path, kind))
        assert {"old", "a.txt", "d/é.txt"} < contents(session.download_archive()).keys()
        with pytest.raises(ServerAnswerError) as caught:
            session.upload_archive(b"no archive")
        assert (caught.value.status, caught.value.server_code) == (422, "SERVER_INVALID")
        session.delete()


def test_what_an_archive_is_sent_as(tmp_path):
    """What it begins with says what it is."""
    kinds = [
        upload_archive("s", archive(tmp_path, kind), ".", read_only=False).payload()[1]
        for kind in ("zip", "tar", "gztar")
    ]
    assert kinds == ["application/zip", "application/x-tar", "application/gzip"]


def archive(tmp_path, kind):
    """Return an archive of two files."""
    folder = tmp_path / "files"
    (folder / "d").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_bytes(b"hi")
    (folder / "d" / "é.txt").write_bytes(b"yes")
    return Path(shutil.make_archive(str(tmp_path / "packed"), kind, folder)).read_bytes()


def contents(data):
    """Return the files of a ZIP by path."""
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        return {name: found.read(name) for name in found.namelist() if not name.endswith("/")}


@pytest.mark.parametrize(
    ("code", "options", "kind"),
    [
        ("puts 1", {"language": "ruby"}, UnsupportedLanguageError),
        ("print('\ud800')", {"language": "python"}, InvalidRunError),
        ("1", {"language": "python", "limits": RunLimits(time_ms=0)}, LimitRangeError),
    ],
)
def test_what_cannot_run_is_the_same(client, code, options, kind):
    """It raises what the local call raises."""
    for run in (cloche.run, client.run):
        with pytest.raises(kind) as raised:
            run(code, **options)
        assert type(raised.value) is kind


def test_what_is_no_key(server):
    """White space around a key is left out; what cannot be one is refused, and never repeated."""
    with cloche.Client(server.url, f" {server.key}\n") as client:
        assert client.run("print(1)", language="python").run.stdout == "1\n"
    for key in ("", "clk_secret\nx", "clk_secr\u00e9t", None):
        with pytest.raises(KeyMalformedError) as raised:
            cloche.Client(server.url, key)
        assert "secr" not in str(raised.value)


def test_keys(client, server):
    """A key that was made does what it may, until it is revoked."""
    made = client.create_key(["run"], name="ci")
    with server.client(made.key) as other:
        assert other.run("print(1)", language="python").run.stdout == "1\n"
        with pytest.raises(ServerAnswerError) as caught:
            other.list_keys()
        assert caught.value.status == 403
        assert client.revoke_key(made.id).revoked_ms is not None
        with pytest.raises(ServerAnswerError) as caught:
            other.run("1")
        assert caught.value.status == 401


def test_outbound_http_and_tenants(client):
    """Lists, secrets, what was called, and limits of tenants are there for an admin key."""
    entry = client.net.allow("GET https://api.example.com/v1", rate_limit=7)
    assert (entry.methods, entry.rate_limit) == (["GET"], 7)
    refused = client.net.deny("internal.example.com", scope="app:shop")
    assert [each.id for each in client.net.entries().items] == [refused.id, entry.id]
    assert [each.id for each in client.net.entries(scope="global").items] == [entry.id]
    assert client.net.test("https://api.example.com/v1/x").allowed
    assert not client.net.test("https://api.example.com/v1", method="POST").allowed
    secret = client.net.put_secret("KEY", "a-long-value", ["api.example.com"], inject_as="bearer")
    assert secret.domains == ["api.example.com"]
    assert client.net.rotate_secret("KEY", "another-value", overlap_ms=60_000).rotating
    assert [each.name for each in client.net.secrets().items] == ["KEY"]
    with pytest.raises(ServerAnswerError) as caught:
        client.net.remove_secret("KEY", scope="app:shop")
    assert caught.value.status == 404
    client.net.remove_secret("KEY")
    client.net.remove(entry.id)
    client.net.remove(refused.id)
    assert client.net.entries().items == []
    assert client.net.logs(errors=True).items == []
    assert client.net.stats().hosts == []
    assert client.net.cache().processes == []
    client.net.clear_cache()
    assert client.tenants.set("acme", session_count_max=5).own == {"session_count_max": 5}
    assert client.tenants.get("acme").limits["session_count_max"] == 5
    assert [each.id for each in client.tenants.list().items] == ["acme", "default"]
    assert [each.action for each in client.audit(limit=2).items] == ["tenant.set", "cache.clear"]


def test_the_limits_of_the_server(client):
    """They are readable, with what a form needs."""
    found, schema = client.limits(), client.limits_schema()
    assert found["guests"]["timeout_ms"] == GUEST_MS
    assert schema["guests"]["timeout_ms"]["unit"] == "ms"
    assert {name: set(group) for name, group in found.items()} == {
        name: set(group) for name, group in schema.items()
    }


def test_on_an_event_loop(server, tmp_path):
    """The same verbs, awaited; many at once."""

    async def main():
        async with AsyncClient(server.url, server.key) as client:
            results = await asyncio.gather(
                *(client.run(f"print({n})", language="python") for n in range(8))
            )
            assert [result.run.stdout for result in results] == [f"{n}\n" for n in range(8)]
            events = [event async for event in client.events("print(1)", language="python")]
            assert [type(event) for event in events] == [StdoutChunk, Finished]
            session = await client.Session.create("python")
            async with session:
                await session.run("x = 1")
                await session.upload(File(name="a", content=b"a"))
                assert await session.download("a") == b"a"
                put = await session.upload_archive(archive(tmp_path, "gztar"), "/b", read_only=True)
                assert [each.read_only for each in put] == [True, True]
                packed = await session.download_archive("/b")
                assert contents(packed) == {"a.txt": b"hi", "d/é.txt": b"yes"}
                assert await session.working_dir() == "/"
                events = [event async for event in session.run_streaming("print(x)")]
                assert events[0] == StdoutChunk(data=b"1\n")
            endless = client.events("print('a', flush=True)\nwhile True: pass", language="python")
            assert await anext(endless) == StdoutChunk(data=b"a\n")
            await endless.aclose()
            entry = await client.net.allow("a.example")
            assert [each.host for each in (await client.net.entries()).items] == ["a.example"]
            await client.net.remove(entry.id)
            assert (await client.tenants.get("default")).own == {}
            assert (await client.audit(limit=1)).items[0].action == "entry.remove"
            run = (await client.list_runs(limit=1)).items[0]
            last = [event async for event in client.follow(run.id)][-1]
            assert isinstance(last, Failed)
            with pytest.raises(RuntimeFailedError):
                await client.run("raise ValueError", language="python")
            with pytest.raises(RunSuspendedError):
                await session.run("import cloche; cloche.sleep(3600)")
            with pytest.raises(RunSuspendedError):
                await client.resume_run((await client.list_runs(session=session.id)).items[0].id)
            async with await client.Session.create("javascript") as other:
                made = await other.run("console.log(await cloche.promise.create())")
                promise = made.run.stdout.strip()
                given = [await client.complete_promise(promise, n) for n in range(2)]
                assert given == [True, False]
                await other.delete()
            with pytest.raises(StoreUnknownError):
                await client.complete_promise("nothing", 1)
            await session.delete()

    asyncio.run(main())

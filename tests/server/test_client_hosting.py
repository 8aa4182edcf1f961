"""Scripts, approvals, apps and webhooks through the Python clients, on the real server."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import httpx
import pytest

from cloche.apps.adapters.archives import read_archive, read_folder
from cloche.apps.errors import BundleError
from cloche.client.app_calls import LogReader, packed
from cloche.client.asynchronous import AsyncClient
from cloche.client.errors import ServerAnswerError, ServerUnreachableError
from cloche.limits import Limits
from cloche.script.stubs import prompt

from .faults import WAIT_S, settled
from .process import serving
from .tools import TOOLS

ASKING = "const to = await tools.send({to: 'ann'}); return to + '!'"
MAIN = """
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/fail") throw new Error("told to");
    console.log("asked");
    return new Response(`VERSION ${env.COLOR ?? ""}`);
  },
};
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with tools that the tests of this module share."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--tools", "mail=tests.server.tools:TOOLS") as found:
        yield found


@pytest.fixture
def client(server):
    """A client with the admin key."""
    with server.client() as found:
        yield found
        for each in found.apps.list():
            found.apps.remove(each.name)


def folder_of(tmp_path, version="one"):
    """Return a folder with an app, and what is in folders besides."""
    for name in (".git", "node_modules"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "left.js").write_text("left at home")
    (tmp_path / "main.js").write_text(MAIN.replace("VERSION", version))
    return tmp_path


def ask(server, path="/", name="shop"):
    """Return what an app answers."""
    return httpx.get(server.url + path, headers={"host": f"{name}.localhost"}, timeout=WAIT_S)


@contextmanager
def asking(server):
    """Ask the app again and again."""
    is_over = threading.Event()

    def keep_asking():
        while not is_over.wait(0.05):
            ask(server)

    asker = threading.Thread(target=keep_asking)
    asker.start()
    try:
        yield
    finally:
        is_over.set()
        asker.join()


def test_scripts(client):
    """One that ends is there with its value, its journal and its calls; it can be undone."""
    source = "await tools.place({name: 'a'}); return context.params.n * 2"
    done = client.scripts.run(source, tools="mail", params={"n": 21})
    assert (done.status, done.value, done.error) == ("completed", 42, None)
    assert client.scripts.get(done.id).value == 42
    assert '"entry":"run_finished"' in client.scripts.journal(done.id)[-1]
    effects = client.scripts.timeline(done.id).effects
    assert ("place", "completed") in [(each.target, each.outcome) for each in effects]
    assert client.scripts.rollback(done.id).status == "rolled_back"
    assert done.id in [each.id for each in client.scripts.list().items]
    begun = client.scripts.start("return 1", tools="mail")
    settled(lambda: client.scripts.get(begun.id).status == "completed")
    assert client.scripts.cancel(begun.id).status == "completed"
    with pytest.raises(TypeError, match="takes no files"):
        client.scripts.run("1", files=[])


def test_tools(client):
    """They are listed in pages, of all sets or of one; a model is told of them in a language."""
    first = client.scripts.tools(limit=1)
    rest = client.scripts.tools("mail", after=first.next)
    found = [*first.items, *rest.items]
    assert found == client.scripts.tools().items
    assert [(each.tools, each.name, each.asks) for each in found] == [
        ("mail", "double", "no"),
        ("mail", "place", "no"),
        ("mail", "send", "yes"),
    ]
    assert client.scripts.prompt("mail") == prompt(TOOLS)
    assert client.scripts.prompt("mail", language="python") == prompt(TOOLS, language="python")
    for ask in (client.scripts.tools, client.scripts.prompt):
        with pytest.raises(ServerAnswerError) as caught:
            ask("none")
        assert (caught.value.status, caught.value.server_code) == (404, "SERVER_NOT_FOUND")


def test_a_message(client):
    """The scripts of a model's message are run in their order."""
    text = "<tool-calls>return 1</tool-calls> then <tool-calls>return 2</tool-calls>"
    message = {"role": "assistant", "content": text}
    found = client.scripts.message(message, api="openai.chat", tools="mail")
    assert [(each.script_id, each.value) for each in found] == [("script_1", 1), ("script_2", 2)]


def test_approvals(client):
    """What waits is listed; approved with other arguments or rejected, its script goes on."""
    waiting = client.scripts.run(ASKING, tools="mail")
    assert waiting.status == "suspended"
    (one,) = client.approvals.list(run=waiting.id).items
    assert (one.tool, one.args) == ("send", {"to": "ann"})
    decided = client.approvals.approve(one.id, {"to": "bob"}, reason="he is there")
    assert (decided.status, decided.decision.args) == ("approved", {"to": "bob"})
    assert client.approvals.get(one.id) == decided
    done = settled(
        lambda: found if (found := client.scripts.get(waiting.id)).status == "completed" else None
    )
    assert done.value == "sent to bob!"
    other = client.scripts.run(ASKING, tools="mail")
    (one,) = client.approvals.list(run=other.id).items
    assert client.approvals.reject(one.id, "not now", run=True).status == "rejected"
    settled(lambda: client.scripts.get(other.id).status == "rejected")
    third = client.scripts.run(ASKING, tools="mail")
    assert client.scripts.resume(third.id).status == "suspended"
    assert client.scripts.cancel(third.id).status == "cancelled"


def test_an_app_from_a_folder(client, server, tmp_path):
    """Deployed with its environment, it answers; what is no part of an app stays at home."""
    done = client.apps.deploy("shop", folder_of(tmp_path), env={"COLOR": "red"})
    assert (done.version.number, done.version.file_count, done.app.env) == (1, 1, ["COLOR"])
    assert ask(server).text == "one red"
    client.apps.deploy("shop", folder_of(tmp_path, "two"))
    assert ask(server).text == "two red"
    assert [each.state for each in client.apps.versions("shop")] == ["live", "kept"]
    client.apps.rollback("shop")
    assert ask(server).text == "one red"
    client.apps.rollback("shop", to="v2")
    assert ask(server).text == "two red"
    assert client.apps.set_env("shop", {"SIZE": "9"}, remove=["COLOR"]).env == ["SIZE"]
    assert client.apps.stop("shop").stopped
    assert ask(server).status_code == 503
    assert not client.apps.start("shop").stopped
    assert [each.action for each in client.apps.actions("shop")][:2] == ["start", "stop"]
    assert [each.name for each in client.apps.list()] == ["shop"]
    client.apps.remove("shop")
    with pytest.raises(ServerAnswerError) as caught:
        client.apps.get("shop")
    assert caught.value.status == 404


def test_a_canary(client, server, tmp_path):
    """It answers a share until it is promoted; an archive is bytes, or the path of a file."""
    data = packed(folder_of(tmp_path))
    client.apps.deploy("shop", data)
    (tmp_path / "app.zip").write_bytes(packed(folder_of(tmp_path, "two")))
    assert client.apps.deploy("shop", tmp_path / "app.zip", canary=1).app.share == 1
    assert client.apps.promote("shop").canary == ""
    assert ask(server).text == "two "


@pytest.mark.parametrize("target", ["main.js", "site"])
def test_packed_is_the_same(tmp_path, target):
    """The same files give the same bytes, those of the server's own reading; links are refused."""
    folder = folder_of(tmp_path)
    (folder / "site").mkdir()
    (folder / "site" / "a.txt").write_text("a file")
    assert packed(folder) == packed(str(folder))
    assert read_archive(packed(folder), Limits()) == read_folder(folder, Limits())
    (folder / "site" / "link").symlink_to(folder / target)
    with pytest.raises(BundleError, match="site/link"):
        packed(folder)


def test_logs_and_requests(client, server, tmp_path):
    """What an app says is read and followed; a request that failed runs again."""
    client.apps.deploy("shop", folder_of(tmp_path))
    assert ask(server, "/fail").status_code == 500
    lines = settled(lambda: client.apps.logs("shop", level="error", limit=9))
    assert "told to" in lines[-1].message
    (failed,) = settled(lambda: client.apps.requests("shop", limit=5))
    assert client.apps.replay("shop", failed.id).same
    assert len(client.apps.request_journal("shop", failed.id)) > 3
    lines = client.apps.follow_logs("shop")
    with asking(server):
        assert next(lines).message == "asked"
    lines.close()
    with pytest.raises(ServerAnswerError) as caught:
        next(client.apps.follow_logs("nothing"))
    assert caught.value.status == 404


def test_a_log_in_pieces():
    """Lines are found wherever the bytes are cut."""
    line = b'{"at_ms":1,"level":"info","message":"\\n","fields":{},"request":"","version":"v1"}'
    text = b": still here\n\nevent: line\ndata: " + line + b"\n\n"
    for size in range(1, len(text)):
        reader = LogReader()
        found = [
            one
            for start in range(0, len(text), size)
            for one in reader.feed(text[start : start + size])
        ]
        assert [one.message for one in found] == ["\n"]


def test_following_ends_with_the_server(tmp_path):
    """A log whose server is gone is an error, not an end."""
    with serving(tmp_path) as server, server.client() as client:
        (tmp_path / "app").mkdir()
        client.apps.deploy("shop", folder_of(tmp_path / "app"))
        lines = client.apps.follow_logs("shop")
        with asking(server):
            assert next(lines).message == "asked"
        server.kill()
        with pytest.raises(ServerUnreachableError):
            list(lines)


def test_webhooks(client):
    """They are made, looked at, given another secret, tried and removed."""
    made = client.webhooks.create("https://hooks.example.com/x", ["run.ended"])
    assert made.secret
    assert [each.id for each in client.webhooks.list()] == [made.id]
    assert client.webhooks.get(made.id).secret is None
    assert client.webhooks.rotate(made.id).secret not in (None, made.secret)
    sent = client.webhooks.ping(made.id)
    assert sent.id in [each.id for each in client.webhooks.deliveries(made.id)]
    client.webhooks.ping(made.id)
    first, second = (each.id for each in client.webhooks.deliveries(made.id))
    assert [each.id for each in client.webhooks.deliveries(made.id, limit=1)] == [first]
    assert [each.id for each in client.webhooks.deliveries(made.id, after=first)] == [second]
    client.webhooks.remove(made.id)
    assert client.webhooks.list() == []


def test_the_rest(client):
    """A key is rotated, a run's effects are seen, one entry and one secret are looked at."""
    made = client.create_key(["run"], name="ci")
    rotated = client.rotate_key(made.id)
    assert rotated.scopes == ["run"]
    assert rotated.key not in (None, made.key)
    run = client.start("print(1)", language="python")
    list(client.follow(run.id))
    assert client.run_timeline(run.id).run_id == run.id
    entry = client.net.allow("a.example")
    assert client.net.entry(entry.id) == entry
    client.net.remove(entry.id)
    client.net.put_secret("KEY", "a-long-value", ["a.example"])
    assert client.net.secret("KEY").domains == ["a.example"]
    client.net.remove_secret("KEY")


def test_on_an_event_loop(server, tmp_path):
    """The same verbs, awaited."""

    async def main():
        async with AsyncClient(server.url, server.key) as client:
            assert [each.name for each in (await client.scripts.tools(limit=1)).items] == ["double"]
            assert await client.scripts.prompt("mail") == prompt(TOOLS)
            waiting = await client.scripts.run(ASKING, tools="mail")
            (one,) = (await client.approvals.list(run=waiting.id)).items
            assert (await client.approvals.approve(one.id)).status == "approved"
            assert (await client.scripts.get(waiting.id)).id == waiting.id
            done = await client.apps.deploy("shop", folder_of(tmp_path), env={"COLOR": "red"})
            assert done.app.env == ["COLOR"]
            lines = client.apps.follow_logs("shop")
            heard = asyncio.ensure_future(anext(lines))
            while not heard.done():
                await asyncio.to_thread(ask, server)
            assert (await heard).message == "asked"
            await lines.aclose()
            assert [each.state for each in await client.apps.versions("shop")] == ["live"]
            await client.apps.remove("shop")
            hook = await client.webhooks.create("https://hooks.example.com/x")
            assert [each.id for each in await client.webhooks.list()] == [hook.id]
            sent = [(await client.webhooks.ping(hook.id)).id for _ in range(2)]
            found = await client.webhooks.deliveries(hook.id, limit=1)
            found += await client.webhooks.deliveries(hook.id, after=found[0].id)
            assert sorted(each.id for each in found) == sorted(sent)
            await client.webhooks.remove(hook.id)
            made = await client.create_key(["run"])
            assert (await client.rotate_key(made.id)).key

    asyncio.run(main())


def test_both_clients_have_the_same_verbs():
    """What one has, the other has; each with the same parameters."""
    import inspect

    from cloche.client import admin, apps, asynchronous, scripts, synchronous

    pairs = [
        (synchronous.Client, asynchronous.AsyncClient),
        (synchronous.Sessions, asynchronous.AsyncSessions),
        (synchronous.RemoteSession, asynchronous.AsyncRemoteSession),
        *(
            (getattr(module, name), getattr(module, f"Async{name}"))
            for module, names in (
                (admin, ("Net", "Tenants", "Webhooks")),
                (apps, ("Apps",)),
                (scripts, ("Scripts", "Approvals")),
            )
            for name in names
        ),
    ]
    for one, other in pairs:
        verbs = {name for name in vars(one) if not name.startswith("_")}
        assert verbs == {name for name in vars(other) if not name.startswith("_")}
        for name in verbs - {"working_dir"}:  # a property, which cannot be awaited
            ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (one, other))
            assert list(ours.parameters) == list(theirs.parameters), name

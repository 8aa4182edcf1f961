"""Apps of a real server: deployed, asked by name and path, changed, watched, replayed, removed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zipfile

import httpx
import pytest
from tests.cli.support import cloche
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .faults import WAIT_S, settled
from .process import serving

MAIN = """
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname === "/fail") throw new Error("told to");
    if (url.pathname === "/spawn") return Response.json(await env.jobs.spawn("double", 21));
    const id = url.searchParams.get("id");
    if (url.pathname === "/job") return Response.json(await env.jobs.get(id));
    const count = ((await env.kv.get("count")) ?? 0) + 1;
    await env.kv.set("count", count);
    console.log("asked", count);
    return new Response(`VERSION ${count} ${env.COLOR ?? ""}`);
  },
  async job(job, env) { return job.data * 2; },
  async scheduled(event, env) { await env.kv.set("tick", event.name); },
};
"""
MANIFEST = {"name": "shop", "main": "main.js", "storage": ["kv", "jobs"], "static": "site"}


def archive(version="one", **manifest):
    """Return a ZIP of an app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps({**MANIFEST, **manifest}))
        files.writestr("main.js", MAIN.replace("VERSION", version))
        files.writestr("site/a.txt", "a file")
    return out.getvalue()


class Api:
    """The routes of one server."""

    def __init__(self, server, key=None):
        self.url = server.url
        headers = {"authorization": f"Bearer {key or server.key}"}
        self.http = httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=WAIT_S)

    def call(self, method, path, expected=200, **options):
        """Return the document of an answer."""
        answer = self.http.request(method, path, **options)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    def deploy(self, name="shop", data=None, expected=201, **query):
        """Deploy an archive."""
        data = archive(name=name) if data is None else data
        headers = {"content-type": "application/zip"}
        path = f"/apps/{name}/versions"
        return self.call("POST", path, expected, content=data, headers=headers, params=query)

    def ask(self, path, host="shop.localhost"):
        """Return what an app answers."""
        return httpx.get(f"{self.url}{path}", headers={"host": host}, timeout=WAIT_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def api(server):
    """Its routes."""
    found = Api(server)
    yield found
    for each in found.call("GET", "/apps")["items"]:
        found.call("DELETE", f"/apps/{each['name']}", 204)
    found.http.close()


def test_an_app(api):
    """Deployed in one request, it answers by its name and by its path, with files and storage."""
    done = api.deploy()
    assert done["version"]["state"] == "live"
    assert done["app"]["url"].startswith("http://shop.localhost:")
    assert api.ask("/").text == "one 1 "
    assert api.ask("/apps/shop/", host="localhost").text == "one 2 "
    assert api.ask("/a.txt").text == "a file"
    sandboxed = api.ask("/apps/shop/a.txt", host="localhost")
    assert "sandbox" in sandboxed.headers["content-security-policy"]
    assert api.ask("/v1/apps").status_code == 200  # the app's own path, by its own name
    assert settled(lambda: api.call("GET", "/apps/shop")["requests"] == 3)


def test_versions(api):
    """A new version answers at once, the one before after a rollback, and the storage stays."""
    api.deploy()
    api.ask("/")
    two = api.deploy(data=archive("two"))
    assert (two["version"]["number"], api.ask("/").text) == (2, "two 2 ")
    api.call("POST", "/apps/shop/rollback", json={})
    assert api.ask("/").text == "one 3 "
    api.call("POST", "/apps/shop/rollback", json={"to": "v2"})
    assert api.ask("/").text == "two 4 "
    states = [each["state"] for each in api.call("GET", "/apps/shop/versions")["items"]]
    assert states == ["live", "kept"]
    actions = [each["action"] for each in api.call("GET", "/apps/shop/actions")["items"]]
    assert actions == ["rollback", "rollback", "deploy", "deploy"]


def test_statuses_without_a_body(api):
    """204, 205 and 304 of an app arrive as they are, whole or streamed."""
    code = """
from cloche_app import Response


def handle(request):
    status = int(request.query["status"])
    return Response((piece for piece in ()) if request.path == "/stream" else None, status)
"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.py", code)
    api.deploy("bare", out.getvalue())
    for path in ("/", "/stream"):
        for status in (204, 205, 304):
            answer = api.ask(f"{path}?status={status}", host="bare.localhost")
            assert (answer.status_code, answer.content) == (status, b"")


def test_bodies_that_are_too_large(api):
    """413, whether the length is said or found out while the app reads."""
    code = "export default async (request) => new Response((await request.bytes()).length);"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.js", code)
    api.deploy("large", out.getvalue())
    piece = bytes(1 << 20)
    headers = {"host": "large.localhost"}
    for body in (piece * 17, (piece for _ in range(17))):
        answer = httpx.post(api.url, headers=headers, content=body, timeout=WAIT_S)
        assert (answer.status_code, "APP_REQUEST_TOO_LARGE" in answer.text) == (413, True)
    answer = httpx.post(api.url, headers=headers, content=(piece for _ in range(3)), timeout=WAIT_S)
    assert answer.text == str(3 << 20)


def test_a_canary(api):
    """It answers a share until it is promoted."""
    api.deploy()
    api.deploy(data=archive("two"), canary=99)
    assert api.call("GET", "/apps/shop")["share"] == 99
    api.call("POST", "/apps/shop/promote")
    assert api.ask("/").text.startswith("two")
    assert api.call("POST", "/apps/shop/promote", 409)["code"] == "APP_NO_CANARY"
    assert api.deploy(data=archive("three"), expected=422, canary=100)


def test_the_environment(api):
    """Given with the archive or later; its values are not shown."""
    form = {"archive": ("a.zip", archive(env={"COLOR": None}), "application/zip")}
    refused = api.call("POST", "/apps/shop/versions", 422, files=form)
    assert "COLOR" in refused["message"]
    env = {"env": (None, json.dumps({"COLOR": "red"}))}
    api.call("POST", "/apps/shop/versions", 201, files={**form, **env})
    assert api.ask("/").text == "one 1 red"
    shown = api.call("POST", "/apps/shop/env", json={"set": {"COLOR": "blue"}})
    assert shown["env"] == ["COLOR"]
    assert "blue" not in json.dumps(shown)
    assert api.ask("/").text == "one 2 blue"


def test_logs_and_replay(api):
    """What an app says is read and heard; a request that failed runs again to the same bytes."""
    api.deploy()
    api.ask("/")
    assert api.ask("/fail").status_code == 500

    def said(text, level="debug"):
        found = api.call("GET", "/apps/shop/logs", params={"level": level})["items"]
        return any(text in each["message"] for each in found)

    settled(lambda: said("told to", "error"))
    settled(lambda: said("asked 1"))  # what is heard below is the next one
    (failed,) = settled(lambda: api.call("GET", "/apps/shop/requests")["items"])
    assert (failed["target"], failed["status"]) == ("/fail", 500)
    path = f"/apps/shop/requests/{failed['id']}"
    assert api.call("POST", f"{path}/replay")["same"] is True
    journal = api.http.get(f"{path}/journal").text.splitlines()
    assert len([json.loads(line) for line in journal]) > 3
    heard = []
    headers = {"accept": "text/event-stream"}
    with api.http.stream("GET", "/apps/shop/logs", headers=headers) as events:
        api.ask("/")
        for line in events.iter_lines():
            if line.startswith("data:"):
                heard.append(json.loads(line.removeprefix("data:"))["message"])
                break
    assert heard == ["asked 2"]


def test_jobs_and_schedules(api):
    """A job runs behind its request; a schedule is known and asks for its handler."""
    api.deploy(data=archive(schedules=[{"cron": "* * * * *", "name": "tick"}]))
    job = api.ask("/spawn").json()
    done = settled(
        lambda: found if (found := api.ask(f"/job?id={job}").json())["state"] == "done" else None
    )
    assert done["result"] == 42


SOCKETS = """
export default {
  fetch: () => new Response("say something"),
  async websocket(socket) {
    if (socket.request.url.endsWith("/no")) return;
    if (socket.request.url.endsWith("/fail")) throw new Error("no");
    socket.accept({ protocol: "chat" });
    for await (const message of socket) {
      if (message === "bye") { socket.close(4000, "bye"); break; }
      socket.send(message instanceof Uint8Array ? message : `you said ${message}`);
    }
    console.log("over");
  },
};
"""


def talk(api, path, *messages, name="shop.localhost", **options):
    """Return what an app says to messages, and the code that it closed with."""
    port = int(api.url.rpartition(":")[2])

    async def main():
        url = f"ws://{name}:{port}{path}"
        async with connect(
            url, host="127.0.0.1", port=port, open_timeout=WAIT_S, **options
        ) as socket:
            answers = [socket.subprotocol]
            for message in messages:
                await socket.send(message)
                with contextlib.suppress(ConnectionClosed):
                    answers.append(await asyncio.wait_for(socket.recv(), WAIT_S))
            return answers, socket.close_code

    return asyncio.run(main())


def test_websockets(api):
    """An app accepts, talks, and closes; a client that leaves ends it; others are refused."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.js", SOCKETS)
    api.deploy(data=out.getvalue())
    chat = {"subprotocols": ["chat"]}
    answers, code = talk(api, "/", "a", b"\x00b", "bye", **chat)
    assert answers == ["chat", "you said a", b"\x00b"]
    assert code == 4000
    assert talk(api, "/", "x", **chat)[0] == ["chat", "you said x"]
    settled(
        lambda: (
            sum(line["message"] == "over" for line in api.call("GET", "/apps/shop/logs")["items"])
            == 2
        )
    )
    below = talk(api, "/apps/shop/", "x", name="localhost", **chat)
    assert below[0] == ["chat", "you said x"]
    for path, status in (("/no", 403), ("/fail", 500)):
        with pytest.raises(InvalidStatus) as caught:
            talk(api, path)
        assert caught.value.response.status_code == status


def test_stopping(api):
    """A stopped app is 503 until it is started."""
    api.deploy()
    api.call("POST", "/apps/shop/stop")
    assert (api.ask("/").status_code, api.ask("/a.txt").status_code) == (503, 503)
    api.call("POST", "/apps/shop/start")
    assert api.ask("/").status_code == 200


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no archive", "APP_FILES"),
        (archive(color="red"), "APP_MANIFEST"),
        (archive(paths=["/v1"]), "APP_ROUTE"),
        (archive(main="nothing.js"), "APP_MANIFEST"),
    ],
)
def test_what_is_not_deployed(api, data, code):
    """It is refused with what is wrong, and there is no app."""
    refused = api.deploy(data=data, expected=409 if code == "APP_ROUTE" else 422)
    assert refused["code"] == code
    assert api.call("GET", "/apps")["items"] == []


def test_a_top_level_that_fails(api):
    """What it printed is told to who deploys."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("main.js", "console.log('before'); boom()")
    refused = api.deploy(data=out.getvalue(), expected=422)
    assert refused["code"] == "APP_BUILD"
    assert "before" in refused["fields"]["printed"]


def test_tenants(server, api):
    """Two tenants have an app of one name; each sees its own, at a name of its own."""
    with server.client() as client:
        keys = [
            client.create_key(["app"], tenant="acme").key,
            client.create_key(["run"]).key,
        ]
    other, nobody = (Api(server, key) for key in keys)
    api.deploy()
    other.deploy(data=archive("theirs"))
    assert api.ask("/").text == "one 1 "
    assert api.ask("/", host="shop.acme.localhost").text == "theirs 1 "
    assert other.call("GET", "/apps/shop")["hosts"] == ["shop.acme.localhost"]
    other.call("POST", "/apps/shop/versions", 409, content=archive(hosts=["shop.localhost"]))
    nobody.call("GET", "/apps", 403)
    other.call("DELETE", "/apps/shop", 204)
    assert api.ask("/").status_code == 200
    other.http.close()
    nobody.http.close()


def test_names(tmp_path):
    """An app gets names that the server lists, and no other, by configuration and over HTTP."""
    config = tmp_path / "cloche.toml"
    config.write_text('[serve]\npublic_names = ["cloche.example"]\napp_domain = "apps.test"\n')
    options = ["--config", str(config), "--app-hostnames", "*.shop.example"]
    with serving(tmp_path, *options) as server:
        asked = Api(server)
        done = asked.deploy(data=archive(hosts=["www.shop.example"]))
        assert done["app"]["hosts"] == ["shop.apps.test", "www.shop.example"]
        for host in done["app"]["hosts"]:
            assert asked.ask("/a.txt", host=host).text == "a file"
        for host, says in (
            ("cloche.example", "is a name of the server itself"),
            ("other.example", "does not list it"),
            ("www.shop.apps.test", "an app shop has shop.apps.test alone"),
        ):
            refused = asked.deploy("evil", archive(name="evil", hosts=[host]), 409)
            assert says in refused["message"]
        key = asked.call("POST", "/keys", 201, json={"scopes": ["admin"], "tenant": "shop"})["key"]
        other = Api(server, key)
        other.deploy("www", archive("tenant", name="www"))
        assert other.ask("/", host="www.shop.apps.test").text == "tenant 1 "
        other.http.close()
        asked.http.close()
    wrong = cloche("serve", "--app-hostnames", "x.localhost", "--store", str(tmp_path / "o.db"))
    assert (wrong.exit_code, "names follow from tenants" in wrong.stderr) == (2, True)
    assert not (tmp_path / "o.db").exists()


def test_a_restart(tmp_path):
    """SIGKILL loses nothing that was deployed or kept; the next start answers."""
    with serving(tmp_path) as server:
        first = Api(server)
        first.deploy()
        assert first.ask("/").text == "one 1 "
        key = server.key
        first.http.close()
        server.kill()
    with serving(tmp_path) as server:
        again = Api(server, key)
        assert again.ask("/").text == "one 2 "
        again.http.close()

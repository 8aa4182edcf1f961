"""Keys for some apps alone: what they may do, and what is not there for them."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import pytest

from cloche.server.keyring import KIND

from .console_support import Person
from .support import Asker

MAIN = "export default { fetch: () => new Response('hello') };"


def archive(name):
    """Return a ZIP of an app."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as files:
        files.writestr("cloche.app.json", json.dumps({"name": name, "main": "main.js"}))
        files.writestr("main.js", MAIN)
    return out.getvalue()


def deploy(asker, name, key=None):
    """Return the answer to a deployment."""
    return asker.ask("POST", f"/v1/apps/{name}/versions", content=archive(name), key=key)


@pytest.fixture(scope="module")
def asker():
    """A server with two apps."""
    found = Asker()
    for name in ("blog", "shop"):
        assert deploy(found, name).status == 201
    return found


@pytest.fixture(scope="module")
def key(asker):
    """A key for one of them, rotated once, and for one that is not there yet."""
    made = asker.post("/v1/keys", {"scopes": ["app"], "apps": ["shop", "new", "shop"]})
    assert made.document["apps"] == ["new", "shop"]
    rotated = asker.post(f"/v1/keys/{made.document['id']}/rotate", {}).document
    assert rotated["apps"] == ["new", "shop"]
    return rotated["key"]


def test_its_own(asker, key):
    """It lists, changes and deploys the apps that it names."""
    listed = asker.get("/v1/apps", key=key).document["items"]
    assert [app["name"] for app in listed] == ["shop"]
    assert deploy(asker, "shop", key).status == 201
    assert asker.get("/v1/apps/shop/versions", key=key).status == 200
    assert asker.post("/v1/apps/shop/stop", key=key).status == 200
    assert deploy(asker, "new", key).status == 201
    assert asker.ask("DELETE", "/v1/apps/new", key=key).status == 204


def test_another_app(asker, key):
    """On every route it is 404, word for word what is said of an app that is not there."""
    routes = [each for each in asker.server.operations if "/v1/apps/:name" in each.template]
    assert len(routes) > 10
    bodies = {"rollback": {}, "env": {"set": {"A": "b"}}}
    for route in routes:
        path = route.template.replace(":id", "aa" * 16)
        body = bodies.get(path.rsplit("/", 1)[1])
        found = []
        for name in ("blog", "nowhere"):
            target = path.replace(":name", name)
            answer = asker.ask(route.method, target, body=body, key=key)
            found.append((answer.status, answer.body.replace(name.encode(), b"NAME")))
        assert found[0] == found[1], route.template
        assert found[0][0] == 404, route.template
    assert deploy(asker, "blog", key).status == 404
    assert asker.get("/v1/apps/blog").document["live"] is not None


def test_pages_are_of_all_apps(asker, key):
    """So nobody is signed in with such a key."""
    person = Person(asker)
    assert person.submit("/console/sign-in", key=key).status == 401
    assert person.send("GET", "/console/apps").status == 303
    assert Person(asker, asker.new_key("app")).send("GET", "/console/apps").status == 200


def test_a_sign_in_with_such_a_key_is_none():
    """Also where it is signed: what the store says of the key is what counts."""
    asker = Asker()
    text = asker.new_key("app")
    person = Person(asker, text)
    assert person.send("GET", "/console/apps").status == 200
    kept = asker.store.documents.get(KIND, text.split("_")[1])
    data = json.dumps({**json.loads(kept.data), "apps": ["shop"]}).encode()
    asker.store.documents.put(replace(kept, data=data, revision=kept.revision + 1))
    answer = person.send("GET", "/console/apps")
    assert answer.status == 303
    assert answer.fields["location"].startswith("/console/sign-in")


def test_the_apps_of_a_key_are_in_the_audit():
    """Who reads it sees how much the key may do; of one for all apps it says nothing of apps."""
    asker = Asker()
    asker.post("/v1/keys", {"scopes": ["app"], "name": "some", "apps": ["shop", "blog"]})
    asker.post("/v1/keys", {"scopes": ["app"], "name": "all"})
    found = {each["target"]: each["details"] for each in asker.get("/v1/audit").document["items"]}
    assert found == {
        "some": {"tenant": "default", "scopes": ["app"], "apps": ["shop", "blog"]},
        "all": {"tenant": "default", "scopes": ["app"]},
    }

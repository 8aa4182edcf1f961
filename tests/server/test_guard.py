"""Who may do what: every route, with no key, wrong keys, and keys of others."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cloche.apps.recordings import RecordedRequest
from cloche.apps.routing import AppName
from cloche.server.keys import SCOPES

from .support import Asker
from .tools import TOOLS

OPERATIONS = [
    pytest.param(each, id=f"{each.method} {each.template}") for each in Asker().server.operations
]
GUARDED = [each for each in OPERATIONS if each.values[0].access == "key"]
SCOPED = [each for each in GUARDED if each.values[0].scope is not None]
# Whoever puts a secret makes one of the own tenant, whatever others call theirs.
MAKING = ("PUT", "/v1/net/secrets/:id")
WITH_OBJECT = [
    each
    for each in GUARDED
    if ":id" in each.values[0].template
    and (each.values[0].method, each.values[0].template) != MAKING
]
PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}


def target(operation, identity="x"):
    """Return a path for a route."""
    path = operation.template.replace(":name", "x").replace("*path", "a.txt")
    return path.replace(":id", identity)


@pytest.fixture(scope="module", autouse=True)
def own_lists(tmp_path_factory):
    """Lists and secrets of these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOCHE_SECRET_STORE", str(tmp_path_factory.mktemp("net") / "net.db"))
        patch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())
        yield


@pytest.fixture(scope="module")
def asker(own_lists):
    """A server with a key of each scope, and a second tenant."""
    found = Asker(tools={"default": TOOLS})
    found.keys = {scope: found.new_key(scope) for scope in SCOPES}
    found.other = found.new_key("admin", tenant="other")
    return found


def test_only_these_are_for_anybody():
    """A route that is not on this list has a guard."""
    unguarded = {
        (each.values[0].method, each.values[0].template)
        for each in OPERATIONS
        if each.values[0].access == "anybody"
    }
    assert unguarded == PUBLIC


# What a key needs for the routes below each part of a path.
SCOPE_OF = {
    **dict.fromkeys(("run", "runs", "scripts", "messages", "tools"), "run"),
    **dict.fromkeys(("sessions", "promises"), "session"),
    "approvals": "approve",
    "apps": "app",
    **dict.fromkeys(("keys", "tenants", "webhooks", "net", "audit"), "admin"),
    **dict.fromkeys(("system", "metrics"), "admin"),
}


@pytest.mark.parametrize("operation", GUARDED)
def test_the_scope_of_a_route(operation):
    """Routes of a kind need the same scope, to read as to change."""
    parts = operation.template.strip("/").split("/")
    part = parts[0] if len(parts) == 1 else parts[1]
    assert operation.scope == SCOPE_OF[part]


# Beside the tables: pages and files for whoever signs in, and what is no JSON over HTTP.
FOR_ANYBODY = {
    ("GET", "/"),
    ("GET", "/console/sign-in"),
    ("POST", "/console/sign-in"),
    ("POST", "/console/sign-out"),
    ("GET", "/console/static/*rest"),
    ("GET", "/console/static/"),
}
PROTOCOLS = {
    ("GET", "/v1/sessions/:id/attach"),
    ("GET", "/mcp"),
    ("POST", "/mcp"),
    ("DELETE", "/mcp"),
}


def test_every_route_is_known(asker):
    """What the application answers is in a table whose routes are asked here, or on these lists."""
    server = asker.server
    routes = {(route.method, route.template) for route in server.app.router.routes}
    tables = {(each.method, each.template) for each in server.operations}
    console = {(each.method, f"/console{each.path}") for each in server.console.routes}
    assert routes == tables | console | FOR_ANYBODY | PROTOCOLS


@pytest.mark.parametrize(("method", "template"), sorted(PROTOCOLS))
def test_protocols_need_a_key(asker, method, template):
    """Without a key, or with a wrong or expired one, it is 401 before anything else."""
    expired = asker.new_key("admin", expires_ns=asker.host.now_ns() + 1_000_000)
    asker.host.time_ns += 1_000_000
    for key in ("", "nonsense", "clk_aaaaaaaaaaaa_" + "A" * 43, expired):
        answer = asker.ask(method, template.replace(":id", "mine"), key=key)
        assert (answer.status, answer.document["code"]) == (401, "WEB_UNAUTHORIZED")


def test_pages_need_a_sign_in(asker):
    """Every page and form of the console leads who is not signed in to the page of signing in."""
    for route in asker.server.console.routes:
        path = f"/console{route.path}".replace(":id", "x").replace("*path", "x")
        answer = asker.ask(route.method, path, key="")
        assert (answer.status, answer.fields["location"][:16]) == (303, "/console/sign-in")


@pytest.mark.parametrize("operation", GUARDED)
def test_no_key_or_a_wrong_one(asker, operation):
    """Without a key, or with one that is malformed or unknown, it is 401 with a challenge."""
    good = asker.key
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    for key in ("", "nonsense", wrong, "clk_aaaaaaaaaaaa_" + "A" * 43):
        answer = asker.ask(operation.method, target(operation), key=key)
        assert (answer.status, answer.document["code"]) == (401, "WEB_UNAUTHORIZED")
        assert answer.fields["www-authenticate"] == 'Bearer realm="cloche"'


@pytest.mark.parametrize("operation", GUARDED)
def test_a_key_that_has_ended(asker, operation):
    """A revoked and an expired key are as good as none."""
    now_ns = asker.host.now_ns()
    expired = asker.new_key("admin", expires_ns=now_ns + 1_000_000)
    revoked = asker.new_key("admin")
    asker.server.keyring.revoke("default", revoked.split("_")[1])
    asker.host.time_ns += 1_000_000
    for key in (expired, revoked):
        assert asker.ask(operation.method, target(operation), key=key).status == 401


@pytest.mark.parametrize("operation", GUARDED)
def test_two_keys_are_none(asker, operation):
    """Two credentials are refused: a proxy and the server could believe different ones."""
    fields = [("authorization", f"Bearer {asker.key}".encode())]
    answer = asker.ask(operation.method, target(operation), fields=fields)
    assert answer.status == 401


@pytest.mark.parametrize("operation", SCOPED)
def test_a_key_without_the_scope(asker, operation):
    """It is 403, and the scope is named."""
    for scope, key in asker.keys.items():
        if scope in (operation.scope, "admin"):
            continue
        answer = asker.ask(operation.method, target(operation), key=key)
        assert (answer.status, answer.document["code"]) == (403, "SERVER_SCOPE")
        assert answer.document["fields"] == {"needed": operation.scope}


@pytest.fixture(scope="module")
def objects(asker):
    """Objects of the tenant default, by the name of their route."""
    session = asker.post("/v1/sessions", {"language": "javascript", "name": "mine"}).document
    asker.ask("PUT", "/v1/sessions/mine/files/a.txt", content=b"mine")
    asker.post("/v1/scripts", {"source": "await tools.send({to: 'ann'})"})
    approval = asker.get("/v1/approvals").document["items"][0]
    entry = asker.post("/v1/net/allowlist", {"host": "a.example"}).document
    secret = {"value": "a-long-value", "domains": ["a.example"]}
    asker.ask("PUT", "/v1/net/secrets/KEY", body=secret)
    recorded = RecordedRequest(
        id="aa" * 16, app="default/x", version="v", env={}, created_ms=1, duration_ms=1
    )
    app = AppName(tenant="default", name="x")
    asker.server.apps.apps.recordings.keep(app, recorded, [b"x"], language="python")
    hook = asker.post("/v1/webhooks", {"url": "https://a.example/"}).document
    code = "console.log(await cloche.promise.create())"
    promised = asker.post("/v1/sessions/mine/run", {"code": code}).document
    return {
        "promises": [promised["stdout"].strip()],
        "requests": [recorded.id],
        "webhooks": [hook["id"]],
        "tenants": ["default"],
        "allowlist": [entry["id"]],
        "secrets": ["KEY"],
        "runs": [asker.run("1", "javascript")["id"]],
        "sessions": [session["id"], "mine"],
        "scripts": [approval["run_id"]],
        "approvals": [approval["id"]],
        "keys": [asker.new_key("run").split("_")[1]],
    }


@pytest.mark.parametrize("operation", WITH_OBJECT)
def test_an_object_of_another_tenant(asker, objects, operation):
    """It is 404, word for word what is said of an object that does not exist."""
    kind = operation.template.partition("/:id")[0].rpartition("/")[2]
    body = {
        "value": {"value": "another-value"},
        "restore": {"snapshot": "0:x"},
        "cwd": {"path": "/"},
        "revert": {"last": 1},
        "run": {"code": "1"},
        "runs": {"code": "1"},
        ":id": {"limits": {}} if kind == "tenants" else {},
    }.get(operation.template.rsplit("/", 1)[1], {})
    for identity in objects[kind]:
        found = []
        for asked in (identity, "nothing"):
            options = {"content": _FORM, "fields": _FORM_FIELDS} if _is_form(operation) else {}
            if operation.body is not None:
                options = {"body": body}
            found.append(
                asker.ask(operation.method, target(operation, asked), key=asker.other, **options)
            )
        assert [answer.status for answer in found] == [404, 404]
        mine, nothing = (answer.document for answer in found)
        assert mine == {
            **nothing,
            "message": nothing["message"].replace("nothing", identity),
            "fields": {**nothing["fields"], "id": identity},
        }


def test_a_body_where_none_is_read(asker):
    """What it asks for would not be done, so it is refused; nothing, or an empty object, is not."""
    template = "/v1/sessions/:id/snapshot"
    session = asker.post("/v1/sessions", {"language": "python"}).document["id"]
    path = f"/v1/sessions/{session}/snapshot"
    before = asker.get(f"/v1/sessions/{session}").document
    for content in (b'{"name":"x"}', b"[]", b"null", b"name=x"):
        answer = asker.post(path, content=content, fields=[("idempotency-key", b"one")])
        assert (answer.status, answer.document["code"]) == (422, "SERVER_INVALID")
        assert answer.document["message"] == f"body: POST {template} takes none; leave it out"
    assert asker.get(f"/v1/sessions/{session}").document == before
    assert asker.post(path, content=b'{"name":"x"}', key="").status == 401
    for content in (b"", b"{}", b" {}\n"):
        assert asker.post(path, content=content).status == 201


def test_every_route_without_a_body(asker):
    """The rule is that of the table: no route that is described without a body takes one."""
    paths = [
        each.template.replace(":", "")
        for each in asker.server.operations
        if (each.method, each.body, each.request_type) == ("POST", None, None)
    ]
    assert "/v1/apps/name/promote" in paths
    for path in paths:
        assert asker.post(path, {"name": "x"}).document["code"] == "SERVER_INVALID", path


_FORM = b'--b\r\ncontent-disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--b--\r\n'
_FORM_FIELDS = [("content-type", b"multipart/form-data; boundary=b")]


def _is_form(operation):
    return operation.request_type == "multipart/form-data"


def test_lists_of_another_tenant(asker, objects):
    """A tenant sees nothing of another one in any list."""
    for path in (
        "/v1/runs",
        "/v1/sessions",
        "/v1/scripts",
        "/v1/approvals",
        "/v1/net/allowlist",
        "/v1/net/secrets",
        "/v1/net/logs",
        "/v1/audit",
    ):
        assert asker.get(path, key=asker.other).document == {"items": [], "next": None}
    keys = asker.get("/v1/keys", key=asker.other).document["items"]
    assert {key["tenant"] for key in keys} == {"other"}
    assert asker.get(f"/v1/runs?session={objects['sessions'][0]}", key=asker.other).status == 404


def test_a_path_that_does_not_exist(asker):
    """It is 404 for everybody."""
    answer = asker.get("/v1/nothing", key="")
    assert (answer.status, answer.document["code"]) == (404, "WEB_NOT_FOUND")

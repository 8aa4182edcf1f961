"""Outbound HTTP over the API: lists, secrets, log; each tenant alone with its own."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cloche.egress.log import Record
from cloche.egress.open import open_database
from cloche.exec.session import sessions_of
from cloche.limits import Limits
from cloche.server.audit import Audit
from cloche.server.requests import NET_EFFECTS, policy_of
from cloche.store.open import open_store
from cloche.store.rows import Document

from .support import Asker

VALUE = "a-value-that-nobody-sees"
LISTS, SECRETS = "/v1/net/allowlist", "/v1/net/secrets"
BOUND = {"value": VALUE, "domains": ["api.example.com"]}


@pytest.fixture(autouse=True)
def own_key(monkeypatch):
    """A key of secrets, and nothing that says where lists are."""
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())
    monkeypatch.delenv("CLOCHE_SECRET_STORE", raising=False)


@pytest.fixture
def store(tmp_path):
    """A store with a file, beside which the lists are."""
    found = open_store(str(tmp_path / "served.db"), limits=Limits())
    yield found
    sessions_of(found).close()
    found.close()


@pytest.fixture
def asker(store):
    """A server with two tenants."""
    found = Asker(store=store, allow_net=True)
    found.other = found.new_key("admin", tenant="other")
    return found


def names(answer):
    """Return the hosts, or names, of a list."""
    assert answer.status == 200, answer.body
    return [each.get("host") or each["name"] for each in answer.document["items"]]


def test_an_entry(asker):
    """It is added from a line or its parts, changed, explained, and removed."""
    made = asker.post(LISTS, {"entry": "GET https://api.example.com/v1"})
    assert made.status == 201, made.body
    entry = made.document
    assert {k: entry[k] for k in ("scope", "entry", "action", "methods", "paths", "http")} == {
        "scope": "global",
        "entry": "GET https://api.example.com/v1",
        "action": "allow",
        "methods": ["GET"],
        "paths": ["/v1"],
        "http": False,
    }
    parts = {"host": "api.example.com", "methods": ["GET"], "paths": ["/v1"], "rate_limit": 7}
    changed = asker.post(LISTS, parts).document
    assert (changed["id"], changed["rate_limit"]) == (entry["id"], 7)
    assert asker.get(f"{LISTS}/{entry['id']}").document == changed
    assert asker.get(LISTS).document == {"items": [changed], "next": None}
    call = {"url": "https://api.example.com/v1/x"}
    verdict = asker.post("/v1/net/test", call).document
    assert (verdict["allowed"], verdict["scope"]) == (True, "global")
    assert verdict["limits"]["rate_limit"] == 7
    verdict = asker.post("/v1/net/test", {**call, "method": "POST"}).document
    assert (verdict["allowed"], verdict["code"]) == (False, "NET_BLOCKED")
    assert asker.ask("DELETE", f"{LISTS}/{entry['id']}").status == 204
    assert asker.ask("DELETE", f"{LISTS}/{entry['id']}").status == 404
    assert names(asker.get(LISTS)) == []


def test_removing_one_of_a_host(asker):
    """An entry that names no method is removed alone: the others of its host stay."""
    whole = asker.post(LISTS, {"host": "a.example"}).document
    asker.post(LISTS, {"host": "a.example", "methods": ["GET"]})
    assert asker.ask("DELETE", f"{LISTS}/{whole['id']}").status == 204
    assert [each["methods"] for each in asker.get(LISTS).document["items"]] == [["GET"]]


def test_the_same_in_several_lists(asker):
    """What is removed from one list stays in the others, and in those of other tenants."""
    entry = {"host": "same.example"}
    first = asker.post(LISTS, entry).document
    second = asker.post(LISTS, {**entry, "scope": "team"}).document
    theirs = asker.post(LISTS, entry, key=asker.other).document
    asker.ask("DELETE", f"{LISTS}/{first['id']}")
    assert asker.get(f"{LISTS}/{first['id']}").status == 404
    assert asker.get(f"{LISTS}/{second['id']}").document == second
    assert asker.get(f"{LISTS}/{theirs['id']}", key=asker.other).document == theirs
    secret = {"value": "first-value", "domains": ["same.example"], "inject_as": "bearer"}
    path = f"{SECRETS}/SAME"
    for where, key in (("", None), ("?scope=team", None), ("", asker.other)):
        answer = asker.ask("PUT", f"{path}{where}", body=secret, key=key)
        assert answer.status == 200, answer.body
    assert asker.ask("DELETE", path).status == 204
    assert asker.get(path).status == 404
    assert asker.get(f"{path}?scope=team").status == 200
    assert asker.get(path, key=asker.other).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"entry": "a.example", "host": "a.example"},
        {"entry": "*"},
        {"host": "a.example", "action": "maybe"},
        {"host": "a.example", "ports": [0]},
        {"host": "a.example", "rate_limit": -1},
        {"host": "a.example", "scope": "no list"},
        {"host": "a.example", "scope": "tenant:other/global"},
        {"host": "a.example", "scope": "a" * 201},
        {"host": "a.example", "nothing": 1},
    ],
)
def test_an_entry_that_is_wrong(asker, body):
    """It is 422 with the error document, and nothing was added."""
    answer = asker.post(LISTS, body)
    assert answer.status == 422, answer.body
    assert names(asker.get(LISTS)) == []


def test_pages_of_entries(asker):
    """A page begins behind the entry that is named, in the order of lists."""
    for n in range(5):
        asker.post(LISTS, {"host": f"h{n}.example", "scope": f"list-{n % 2}"})
    found, after = [], ""
    while after is not None:
        page = asker.get(f"{LISTS}?limit=2&after={after}")
        found += names(page)
        after = page.document["next"]
    assert found == [f"h{n}.example" for n in (0, 2, 4, 1, 3)]
    assert names(asker.get(f"{LISTS}?scope=list-1")) == ["h1.example", "h3.example"]
    assert asker.get(f"{LISTS}?after=nothing").status == 404


def test_as_many_as_a_tenant_may(store):
    """One entry or secret more is refused; changing one that is there is not."""
    asker = Asker(store=store, tenant_entry_count_max=1, tenant_secret_count_max=1)
    asker.post(LISTS, {"host": "a.example"})
    assert asker.post(LISTS, {"host": "a.example", "rate_limit": 1}).status == 201
    answer = asker.post(LISTS, {"host": "b.example"})
    assert (answer.status, answer.document["code"]) == (409, "SERVER_QUOTA")
    asker.ask("PUT", f"{SECRETS}/A", body=BOUND)
    assert asker.ask("PUT", f"{SECRETS}/A", body=BOUND).status == 200
    assert asker.ask("PUT", f"{SECRETS}/B", body=BOUND).status == 409
    other = asker.new_key("admin", tenant="other")
    assert asker.post(LISTS, {"host": "b.example"}, key=other).status == 201
    assert asker.ask("PUT", f"{SECRETS}/B", body=BOUND, key=other).status == 200


def test_a_secret(asker, store):
    """A value is written, replaced and forgotten; no answer has it."""
    made = asker.ask("PUT", f"{SECRETS}/API_KEY", body=BOUND)
    assert made.status == 200, made.body
    assert made.document["domains"] == ["api.example.com"]
    answers = [
        made,
        asker.ask("PUT", f"{SECRETS}/API_KEY/value", body={"value": VALUE + "2"}),
        asker.get(f"{SECRETS}/API_KEY"),
        asker.get(SECRETS),
        asker.get("/v1/audit"),
    ]
    assert all(answer.status == 200 and VALUE not in str(answer.body) for answer in answers)
    assert asker.get(f"{SECRETS}/API_KEY").document["rotating"]
    database = open_database(store.url)
    assert database.secret("API_KEY").value == VALUE + "2"
    database.close()
    assert asker.ask("DELETE", f"{SECRETS}/API_KEY").status == 204
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "/value", {"value": VALUE}),
        ("DELETE", "", None),
    ):
        answer = asker.ask(method, f"{SECRETS}/API_KEY{path}", body=body)
        assert (answer.status, answer.document["code"]) == (404, "SERVER_NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("A", {**BOUND, "value": "short"}),
        ("A", {**BOUND, "domains": []}),
        ("A", {**BOUND, "inject_as": "smoke"}),
        ("A", {**BOUND, "inject_as": "header"}),
        ("no name", BOUND),
        ("A?scope=tenant:other/global", BOUND),
    ],
)
def test_a_secret_that_is_wrong(asker, name, body):
    """What is wrong is said without the value."""
    answer = asker.ask("PUT", f"{SECRETS}/{name.replace(' ', '%20')}", body=body)
    assert answer.status == 422, answer.body
    assert VALUE not in answer.body.decode()
    assert names(asker.get(SECRETS)) == []


def test_tenants_have_their_own(asker, store):
    """The same names are other lists and other secrets, and nobody sees those of another."""
    for key, host in ((asker.key, "mine.example"), (asker.other, "theirs.example")):
        asker.post(LISTS, {"host": host}, key=key)
        asker.ask("PUT", f"{SECRETS}/KEY", body={**BOUND, "domains": [host]}, key=key)
    mine = asker.get(LISTS).document["items"][0]["id"]
    assert names(asker.get(LISTS, key=asker.other)) == ["theirs.example"]
    assert asker.get(SECRETS, key=asker.other).document["items"][0]["domains"] == ["theirs.example"]
    assert asker.get(f"{LISTS}/{mine}", key=asker.other).status == 404
    assert asker.ask("DELETE", f"{LISTS}/{mine}", key=asker.other).status == 404
    allowed = {
        key: [
            asker.post("/v1/net/test", {"url": f"https://{host}/"}, key=key).document["allowed"]
            for host in ("mine.example", "theirs.example")
        ]
        for key in (asker.key, asker.other)
    }
    assert allowed == {asker.key: [True, False], asker.other: [False, True]}
    asker.ask("DELETE", f"{SECRETS}/KEY", key=asker.other)
    assert names(asker.get(SECRETS)) == ["KEY"]
    database = open_database(store.url)
    assert [row.scope for row in database.entry_rows()] == ["global", "tenant:other/global"]
    database.close()


@pytest.mark.parametrize("way", ["run", "session", "session_run"])
def test_a_policy_of_a_tenant(asker, way):
    """What a program may call is what the lists of its own tenant allow."""
    code = (
        "try { await fetch('https://mine.example/') } catch (error) { console.log(error.message) }"
    )
    asker.post(LISTS, {"host": "mine.example"})
    policy = {"net": {"scopes": ["global"]}}
    run = {"code": code, "language": "javascript"}
    if way == "run":
        path, run = "/v1/run", {**run, "policy": policy}
    else:
        settings = {"language": "javascript", "name": "s"}
        made = asker.post(
            "/v1/sessions",
            {**settings, "policy": policy} if way == "session" else settings,
            key=asker.other,
        )
        assert made.status == 201, made.body
        path = "/v1/sessions/s/run"
        run = {"code": code, **({"policy": policy} if way == "session_run" else {})}
    answer = asker.post(path, run, key=asker.other)
    assert answer.status == 200, answer.body
    assert "no entry" in answer.document["stdout"] or "not allowed" in answer.document["stdout"]
    calls = asker.get("/v1/net/logs", key=asker.other).document["items"]
    assert [(call["host"], call["outcome"]) for call in calls] == [("mine.example", "denied")]
    assert calls[0]["run_id"] == answer.document["id"]
    assert asker.get("/v1/net/logs").document["items"] == []


@pytest.mark.parametrize(
    "net",
    [
        {"scopes": ["tenant:default/global"]},
        {"scopes": ["tenant:second/global"]},
        {"tenant": "second"},
        {"scopes": ["global"], "tenant": "second"},
    ],
)
@pytest.mark.parametrize("tenant", ["default", "other"])
def test_a_policy_that_names_lists_of_others(asker, net, tenant):
    """It is 403, wherever a policy can be given; nothing ran and nothing was made."""
    key = asker.key if tenant == "default" else asker.other
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"}, key=key)
    body = {"code": "1", "policy": {"net": net}}
    session = {"language": "javascript", "policy": {"net": net}}
    for path, sent in (
        ("/v1/run", {**body, "language": "javascript"}),
        ("/v1/runs", {**body, "language": "javascript"}),
        ("/v1/sessions", session),
        ("/v1/sessions/s/run", body),
    ):
        answer = asker.post(path, sent, key=key)
        assert (answer.status, answer.document["code"]) == (403, "SERVER_FOREIGN_LIST")
    assert asker.get("/v1/runs", key=key).document["items"] == []
    assert len(asker.get("/v1/sessions", key=key).document["items"]) == 1


def test_the_tenant_is_put_into_a_policy():
    """It is there once, is taken again, and a policy of the first tenant stays as it was sent."""
    document = {"net": {"scopes": ["global"], "allow": ["a.example"]}}
    bound = policy_of(document, NET_EFFECTS, "other")
    assert bound.net == {**document["net"], "tenant": "other"}
    assert policy_of(bound.to_document(), NET_EFFECTS, "other") == bound
    assert policy_of(document, NET_EFFECTS, "default").net == document["net"]


def test_a_session_of_another_tenant_is_no_way_in(asker):
    """An archive whose policy means the lists of one tenant is no session of another."""
    policy = {"net": {"scopes": ["global"]}}
    for key, to in ((asker.key, asker.other), (asker.other, asker.key)):
        asker.post(
            "/v1/sessions", {"language": "javascript", "name": "s", "policy": policy}, key=key
        )
        archive = asker.get("/v1/sessions/s/export", key=key).body
        count = len(asker.get("/v1/sessions", key=to).document["items"])
        answer = asker.post("/v1/sessions/import", key=to, content=archive)
        assert (answer.status, answer.document["code"]) == (403, "SERVER_FOREIGN_LIST")
        assert len(asker.get("/v1/sessions", key=to).document["items"]) == count
        assert asker.post("/v1/sessions/import", key=key, content=archive).status == 201


def test_the_log(asker, store):
    """A tenant sees its own calls, newest first, in pages, and what came of them in sum."""
    database = open_database(store.url)
    database.store(
        [
            Record(at_ns=n * 1_000_000, run_id=f"r{n % 2}", scope=scope, outcome=outcome,
                   method="GET", host="a.example", path="/", code=code, tenant=tenant)
            for n, (tenant, scope, outcome, code) in enumerate([
                ("", "global", "allowed", None),
                ("", "global", "denied", "NET_BLOCKED"),
                ("", "", "denied", "NET_BLOCKED"),
                ("other", "tenant:other/global", "allowed", None),
            ])
        ],
        0,
    )  # fmt: skip
    database.close()
    page = asker.get("/v1/net/logs?limit=2").document
    assert [call["at_ms"] for call in page["items"]] == [2, 1]
    page = asker.get(f"/v1/net/logs?limit=2&after={page['next']}").document
    assert ([call["at_ms"] for call in page["items"]], page["next"]) == ([0], None)
    assert [c["at_ms"] for c in asker.get("/v1/net/logs?errors=1").document["items"]] == [2, 1]
    assert [c["at_ms"] for c in asker.get("/v1/net/logs?scope=global").document["items"]] == [1, 0]
    assert [c["at_ms"] for c in asker.get("/v1/net/logs?run=r1").document["items"]] == [1]
    assert asker.get("/v1/net/logs?host=b.example").document["items"] == []
    assert len(asker.get("/v1/net/logs?host=A.EXAMPLE").document["items"]) == 3
    assert asker.get("/v1/net/logs?host=a%20b").status == 422
    assert asker.get("/v1/net/logs?after=x").status == 422
    theirs = asker.get("/v1/net/logs", key=asker.other).document["items"]
    assert [(call["at_ms"], call["scope"]) for call in theirs] == [(3, "global")]
    hosts = asker.get("/v1/net/stats").document["hosts"]
    assert [(host["host"], host["calls"], host["denied"]) for host in hosts] == [
        ("a.example", 3, 2)
    ]
    assert asker.get("/v1/net/stats", key=asker.other).document["hosts"][0]["calls"] == 1


def test_the_cache_is_the_operators(asker, store):
    """All tenants share the processes: who clears their cache is the first tenant."""
    assert asker.get("/v1/net/cache").document == {"processes": []}
    assert asker.ask("DELETE", "/v1/net/cache").status == 204
    database = open_database(store.url)
    assert database.clearings() == 1
    database.close()
    for method in ("GET", "DELETE"):
        answer = asker.ask(method, "/v1/net/cache", key=asker.other)
        assert (answer.status, answer.document["code"]) == (403, "SERVER_OPERATOR")


def test_every_change_is_in_the_audit(asker):
    """It says who changed what, newest first, and nothing of what was refused."""
    key_id = asker.key.split("_")[1]
    entry = asker.post(LISTS, {"entry": "a.example"}).document["id"]
    asker.post(LISTS, {"entry": "*"})
    asker.ask("DELETE", f"{LISTS}/{entry}")
    asker.ask("PUT", f"{SECRETS}/KEY", body=BOUND)
    asker.ask("PUT", f"{SECRETS}/KEY/value", body={"value": "short"})
    asker.ask("PUT", f"{SECRETS}/KEY/value", body={"value": VALUE + "2"})
    asker.ask("DELETE", f"{SECRETS}/KEY")
    asker.ask("DELETE", "/v1/net/cache")
    page = asker.get("/v1/audit?limit=4").document
    rest = asker.get(f"/v1/audit?limit=4&after={page['next']}").document
    found = [*page["items"], *rest["items"]]
    assert [(each["action"], each["target"]) for each in found] == [
        ("cache.clear", "all"),
        ("secret.remove", "KEY"),
        ("secret.rotate", "KEY"),
        ("secret.put", "KEY"),
        ("entry.remove", "https://a.example"),
        ("entry.allow", "https://a.example"),
    ]
    assert {each["key_id"] for each in found} == {key_id}
    assert asker.get("/v1/audit", key=asker.other).document["items"] == []
    assert asker.get("/v1/audit?after=nothing").status == 404


def test_keys_are_in_the_audit(asker):
    """Who made, rotated and revoked a key; what was refused is not there, and no key is."""
    made = asker.post("/v1/keys", {"scopes": ["run"], "name": "ci", "tenant": "other"}).document
    asker.post("/v1/keys", {"scopes": ["run"], "name": "ci", "tenant": "Other"})
    asker.ask("DELETE", "/v1/keys/nothing")
    own = asker.post("/v1/keys", {"scopes": ["run"]}).document
    asker.post(f"/v1/keys/{own['id']}/rotate", {})
    asker.ask("DELETE", f"/v1/keys/{own['id']}")
    answer = asker.get("/v1/audit")
    found = [(each["action"], each["target"]) for each in answer.document["items"]]
    assert found == [
        ("key.revoke", own["id"]),
        ("key.rotate", own["id"]),
        ("key.make", ""),
        ("key.make", "ci"),
    ]
    assert answer.document["items"][3]["details"] == {"tenant": "other", "scopes": ["run"]}
    assert made["key"] not in answer.body.decode()


def test_the_audit_has_an_end(store):
    """Maintenance leaves the newest records."""
    asker = Asker(store=store, audit_count_max=2)
    for n in range(4):
        asker.post(LISTS, {"host": f"h{n}.example"})
    assert asker.server.context.audit.sweep("default") == 2
    found = asker.get("/v1/audit").document["items"]
    assert [each["details"]["entry"]["host"] for each in found] == ["h3.example", "h2.example"]


def test_the_audit_is_within_the_storage():
    """`storage.max_log_rows` is above what the audit of a tenant may have."""
    store = open_store("memory:")
    limits = Limits().replace(
        {"server": {"audit_count_max": 50_000}, "storage": {"max_log_rows": 10_000}}
    )
    audit = Audit(store, limits, now_ns=lambda: 1, random_bytes=bytes)
    for number in range(10_003):
        store.documents.put(Document(kind="server.audit.default", name=f"{number:08}", data=b"{}"))
    assert audit.sweep("default") == 3
    assert store.documents.get("server.audit.default", "00009999") is not None
    assert store.documents.get("server.audit.default", "00010000") is None


def test_the_lists_are_those_of_the_store(asker, store, tmp_path, monkeypatch):
    """Where they are follows from the store that is served, whatever the environment names."""
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "another.db"))
    asker.post(LISTS, {"host": "a.example"})
    assert (tmp_path / "served-net.db").exists()
    assert not (tmp_path / "another-net.db").exists()
    assert names(asker.get(LISTS)) == ["a.example"]

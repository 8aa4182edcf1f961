"""Idempotency-Key: the same answer again, refusals, streams, servers that died."""

from __future__ import annotations

from base64 import b64encode

import pytest

from cloche.store.open import open_store
from cloche.store.rows import Document

from .support import EVENTS, Asker

RUN = {"code": "import random\nprint(random.random())"}


def keyed(key=b"k1"):
    """Return the field."""
    return [("idempotency-key", key)]


def runs(asker):
    """Return how many runs there are."""
    return len(asker.get("/v1/runs").document["items"])


def test_the_same_answer_again():
    """A second request gets the first answer, and starts nothing."""
    asker = Asker()
    first = asker.post("/v1/run", RUN, fields=keyed())
    second = asker.post("/v1/run", RUN, fields=keyed())
    assert (second.status, second.body) == (200, first.body)
    assert second.fields["idempotency-replayed"] == "true"
    assert second.fields["cloche-run"] == first.fields["cloche-run"]
    assert "idempotency-replayed" not in first.fields
    assert runs(asker) == 1


def test_every_post_has_it():
    """Creating a session twice with one key creates it once."""
    asker = Asker()
    body = {"language": "javascript", "name": "a"}
    answers = [asker.post("/v1/sessions", body, fields=keyed()) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert answers[0].body == answers[1].body
    assert answers[0].fields["location"] == answers[1].fields["location"]
    assert asker.post("/v1/sessions", body, fields=keyed(b"k2")).status == 409


@pytest.mark.parametrize(
    ("target", "body", "fields"),
    [
        ("/v1/run", {"code": "1"}, []),
        ("/v1/runs", RUN, []),
        ("/v1/run", RUN, EVENTS),
    ],
)
def test_another_request_with_the_key(target, body, fields):
    """Another body, path or form of answer is refused."""
    asker = Asker()
    asker.post("/v1/run", RUN, fields=keyed())
    answer = asker.post(target, body, fields=[*keyed(), *fields])
    assert (answer.status, answer.document["code"]) == (422, "SERVER_IDEMPOTENCY_REUSED")


def test_keys_belong_to_tenants():
    """Two tenants may have the same key."""
    asker = Asker()
    other = asker.new_key("run", tenant="other")
    first = asker.post("/v1/run", RUN, fields=keyed()).document
    second = asker.post("/v1/run", RUN, fields=keyed(), key=other).document
    assert first["id"] != second["id"]


def test_while_the_first_is_answered():
    """The second is told to come back."""
    asker = Asker()
    # The second comes while the first one's program runs.
    found = []
    execute = asker.server.runs._execution.execute

    def execute_and_ask(live):
        if not found:
            found.append(asker.post("/v1/run", RUN, fields=keyed()))
        return execute(live)

    asker.server.runs._execution.execute = execute_and_ask
    assert asker.post("/v1/run", RUN, fields=keyed()).status == 200
    assert (found[0].status, found[0].document["code"]) == (409, "SERVER_IDEMPOTENCY_PENDING")
    assert found[0].fields["retry-after"] == "1"


def test_a_refusal_is_not_kept():
    """After a refusal the same key is free: nothing had happened."""
    asker = Asker()
    body = {"language": "javascript", "name": "a"}
    made = asker.post("/v1/sessions", body).document
    assert asker.post("/v1/sessions", body, fields=keyed()).status == 409
    asker.ask("DELETE", f"/v1/sessions/{made['id']}")
    answer = asker.post("/v1/sessions", body, fields=keyed())
    assert answer.status == 201
    assert "idempotency-replayed" not in answer.fields


def test_a_failure_of_ours_frees_the_key():
    """Who asks again after a failure that nobody expected is not told to wait for its answer."""
    asker = Asker()
    create = asker.server.context.sessions.create

    def broken(*_args, **_options):
        raise RuntimeError("broken")

    asker.server.context.sessions.create = broken
    body = {"language": "javascript"}
    assert asker.post("/v1/sessions", body, fields=keyed()).status == 500
    asker.server.context.sessions.create = create
    answer = asker.post("/v1/sessions", body, fields=keyed())
    assert answer.status == 201
    assert "idempotency-replayed" not in answer.fields


def test_events_again():
    """Where the answer was events, it is the events of that run."""
    asker = Asker()
    first = asker.post("/v1/run", RUN, fields=[*keyed(), *EVENTS])
    second = asker.post("/v1/run", RUN, fields=[*keyed(), *EVENTS])
    assert first.events == second.events
    assert runs(asker) == 1


def test_a_server_that_died_in_between():
    """Another server on the store finds the run that the first one started, and its answer."""
    store = open_store("memory:")
    first = Asker(store=store)
    tenant, key = "default", "k1"
    context = first.server.context
    # As far as the run's end, and no answer kept.
    keep, context.answers.keep = context.answers.keep, lambda *_a, **_o: None
    run = first.post("/v1/run", RUN, fields=keyed()).document
    context.answers.keep = keep
    second = Asker(store=store, seed=1)
    again = second.post("/v1/run", RUN, fields=keyed())
    assert again.document == run
    assert runs(second) == 1
    assert context.answers._documents.get(f"server.answers.{tenant}", key).revision == 3


def test_an_answer_that_is_too_old():
    """After its time the key is free again; for runs the run itself is still the answer."""
    asker = Asker(idempotency_ms=1000)
    body = {"language": "javascript"}
    first = asker.post("/v1/sessions", body, fields=keyed()).document
    run = asker.post("/v1/run", RUN, fields=keyed(b"k2")).document
    asker.host.time_ns += 1_000_000_000
    assert asker.post("/v1/sessions", body, fields=keyed()).document["id"] != first["id"]
    assert asker.post("/v1/run", RUN, fields=keyed(b"k2")).document == run
    asker.host.time_ns += 1_000_000_000
    other = asker.post("/v1/run", {"code": "1"}, fields=keyed(b"k2"))
    assert (other.status, other.document["code"]) == (422, "SERVER_IDEMPOTENCY_REUSED")
    assert asker.server.context.answers.sweep("default") == 1


@pytest.mark.parametrize("key", [b"", b"a b", b"a" * 201, "é".encode("latin-1")])
def test_what_is_no_key(key):
    """It is refused, so that nobody relies on what is not there."""
    answer = Asker().post("/v1/run", RUN, fields=keyed(key))
    assert (answer.status, answer.document["code"]) == (422, "SERVER_INVALID")


SECRETS = [
    ("/v1/keys", {"scopes": ["run"]}, "key"),
    ("/v1/keys/{id}/rotate", {}, "key"),
    ("/v1/webhooks", {"url": "https://example.org/in"}, "secret"),
    ("/v1/webhooks/{id}/rotate", None, "secret"),
]


@pytest.mark.parametrize(("target", "body", "name"), SECRETS)
def test_a_secret_that_is_told_once(monkeypatch, target, body, name):
    """It is in the answer that is given again, and cannot be read from the store."""
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())
    asker = Asker()
    if "{id}" in target:
        made = SECRETS[0] if name == "key" else SECRETS[2]
        target = target.format(id=asker.post(made[0], made[1]).document["id"])
    first = asker.post(target, body, fields=keyed())
    secret = first.document[name]
    assert asker.post(target, body, fields=keyed()).body == first.body
    kept = asker.store.documents.get("server.answers.default", "k1")
    assert secret.encode() not in kept.data
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes([1] * 32)).decode())
    other = Asker(store=asker.store, seed=1).post(target, body, fields=keyed())
    assert (other.status, other.document["code"]) == (409, "SERVER_STATE")
    assert secret not in other.body.decode()


def test_a_sealed_answer_opens_nowhere_else(monkeypatch):
    """Who writes to the store cannot move it below a tenant or a key that may ask for it."""
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())
    asker = Asker()
    documents, body = asker.store.documents, {"scopes": ["run"]}
    secret = asker.post("/v1/keys", body, fields=keyed()).document["key"]
    kept = documents.get("server.answers.default", "k1")
    other = asker.new_key("admin", tenant="other")
    for kind, name, key in (
        ("server.answers.default", "k2", None),
        ("server.answers.other", "k1", other),
    ):
        documents.put(Document(kind=kind, name=name, data=kept.data))
        answer = asker.post("/v1/keys", body, fields=keyed(name.encode()), key=key)
        assert (answer.status, answer.document["code"]) == (409, "SERVER_STATE")
        assert secret not in answer.body.decode()


def test_no_key_to_seal_with(monkeypatch):
    """It is a failure of the server, and the next request is not told to wait for an answer."""
    monkeypatch.setenv("CLOCHE_SECRET_KEY", "not a key")
    asker = Asker()
    for _ in range(2):
        answer = asker.post("/v1/keys", {"scopes": ["run"]}, fields=keyed())
        assert (answer.status, answer.document["code"]) == (500, "INTERNAL")

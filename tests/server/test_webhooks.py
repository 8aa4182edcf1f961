"""Webhooks: who is told what, signed how, and what becomes of a message that nobody takes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from concurrent.futures import Future

import pytest

from cloche.server.deliveries import Webhooks
from cloche.server.webhooks import Delivery, Webhook, after_attempt, check_url, secret_of

from .support import Asker
from .tools import TOOLS

URL = "https://hooks.example.org/in"
KEY = bytes(range(32))
MS = 1_000_000


class Receiver:
    """Takes messages, or does not.

    Args:
        answers: statuses, or errors, one for each message; then 200.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.messages = []

    def __call__(self, hook, headers, body):
        """Answer a message."""
        self.messages.append((hook, headers, json.loads(body)))
        future = Future()
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    @property
    def told(self):
        """What was told: events."""
        return [body["type"] for _, _, body in self.messages]


@pytest.fixture
def receiver():
    """Takes everything."""
    return Receiver()


@pytest.fixture
def asker(receiver):
    """A server whose messages a receiver gets."""
    found = Asker(tools={"default": TOOLS})
    found.server.webhooks._send = receiver
    found.server.webhooks._key = lambda: KEY
    return found


def created(asker, **body):
    """Return the document of a new webhook."""
    answer = asker.post("/v1/webhooks", {"url": URL, **body})
    assert answer.status == 201, answer.body
    return answer.document


def test_the_end_of_a_run_is_told(asker, receiver):
    """A kept run that ended is told once, without what it printed; an unkept one is not."""
    created(asker)
    done = asker.run("print('secret words')")
    asker.run("print(1)", keep=False)
    assert asker.server.webhooks.deliver_due() == 1
    assert asker.server.webhooks.deliver_due() == 0
    ((_, _, body),) = receiver.messages
    assert body["type"] == "run.ended"
    assert (body["data"]["id"], body["data"]["status"]) == (done["id"], "completed")
    assert "secret words" not in json.dumps(body)


def put_away(asker):
    """Return a run that waits for a promise, and the promise."""
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"})
    asker.server.runs._execution.sessions.limits = asker.limits.replace(
        {"sessions": {"suspend_after_ms": 0}}
    )
    code = (
        "const made = await cloche.promise.create(); console.log(made);"
        "await cloche.promise.get(made)"
    )
    waits = asker.post("/v1/sessions/s/run", {"code": code}).document
    assert asker.get(f"/v1/runs/{waits['id']}").document["status"] == "suspended"
    return waits["id"], waits["stdout"].strip()


def told_end(asker, receiver):
    """Return id and status of the one run whose end is told now."""
    assert asker.server.webhooks.deliver_due() == 1
    ((_, _, body),) = receiver.messages
    return body["data"]["id"], body["data"]["status"]


def test_a_run_that_is_put_away_has_not_ended(asker, receiver):
    """Its end is told when it comes, not when the run begins to wait for something."""
    created(asker)
    run_id, promise = put_away(asker)
    assert asker.server.webhooks.deliver_due() == 0
    asker.post(f"/v1/promises/{promise}/complete", {"value": 1})
    asker.server.maintain()
    assert told_end(asker, receiver) == (run_id, "completed")


def test_a_run_that_is_cancelled_while_it_is_away(asker, receiver):
    """Giving it up is its end."""
    created(asker)
    run_id, _ = put_away(asker)
    for _ in range(2):
        assert asker.post(f"/v1/runs/{run_id}/cancel").document["status"] == "cancelled"
    assert told_end(asker, receiver) == (run_id, "cancelled")


def test_a_run_that_is_cancelled_before_it_began(asker, receiver):
    """It has ended, and is told like any other."""
    created(asker)
    asker.host.workers.is_held = True
    run_id = asker.post("/v1/runs", {"code": "print(1)"}).document["id"]
    for _ in range(2):
        assert asker.post(f"/v1/runs/{run_id}/cancel").document["status"] == "cancelled"
    assert told_end(asker, receiver) == (run_id, "cancelled")


def test_a_signature(asker, receiver):
    """It is that of Standard Webhooks, with the secret that was shown once."""
    hook = created(asker)
    asker.post(f"/v1/webhooks/{hook['id']}/ping")
    asker.server.webhooks.deliver_due()
    ((sent_to, headers, body),) = receiver.messages
    assert (sent_to.url, body["type"]) == (URL, "ping")
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    raw = json.dumps(body, separators=(",", ":")).encode()
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    digest = hmac.new(key, text + raw, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert "secret" not in asker.get("/v1/webhooks").document["items"][0] or (
        asker.get("/v1/webhooks").document["items"][0]["secret"] is None
    )


def test_secrets_differ():
    """Each tenant, webhook and generation has its own."""
    hook = Webhook(id="a", tenant="t", url=URL, events=(), created_ms=0)
    others = [
        Webhook(id="b", tenant="t", url=URL, events=(), created_ms=0),
        Webhook(id="a", tenant="u", url=URL, events=(), created_ms=0),
        Webhook(id="a", tenant="t", url=URL, events=(), created_ms=0, generation=2),
    ]
    assert len({secret_of(KEY, each) for each in (hook, *others)}) == 4
    assert secret_of(KEY, hook) != secret_of(bytes(32), hook)


def test_an_approval_is_told(asker, receiver):
    """What a script asks is told, then its end, to those who want to know that."""
    created(asker, events=["approval.requested", "script.ended"])
    waiting = asker.post(
        "/v1/scripts", {"source": "return await tools.send({ to: 'ann' })"}
    ).document
    asker.server.webhooks.deliver_due()
    data = receiver.messages[0][2]["data"]
    assert receiver.told == ["approval.requested"]
    assert (data["tool"], data["args"], data["run_id"]) == ("send", {"to": "ann"}, waiting["id"])
    asker.post(f"/v1/approvals/{data['id']}/approve")
    asker.server.webhooks.deliver_due()
    assert receiver.told == ["approval.requested", "script.ended"]
    ended = receiver.messages[1][2]["data"]
    assert (ended["id"], ended["status"]) == (waiting["id"], "completed")


def test_tenants_are_told_of_their_own(asker, receiver):
    """Another tenant's runs and webhooks are nobody else's business."""
    created(asker)
    other = asker.new_key("admin", tenant="other")
    hook = asker.get("/v1/webhooks").document["items"][0]["id"]
    assert asker.get("/v1/webhooks", key=other).document["items"] == []
    for method, target in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/ping"),
        ("GET", "/deliveries"),
    ):
        answer = asker.ask(method, f"/v1/webhooks/{hook}{target}", key=other)
        assert answer.status == 404, (method, target)
    asker.post("/v1/run", {"code": "1", "language": "python"}, key=other)
    assert asker.server.webhooks.deliver_due() == 0


def test_trying_again(asker, receiver):
    """What is not taken waits longer and longer, with one id, and goes on after a restart."""
    receiver.answers = [500, OSError("no route"), 302]
    hook = created(asker)
    asker.run("print(1)")
    webhooks = asker.server.webhooks
    assert webhooks.deliver_due() == 0
    (waiting,) = asker.get(f"/v1/webhooks/{hook['id']}/deliveries").document["items"]
    assert (waiting["state"], waiting["attempt_count"]) == ("pending", 1)
    assert waiting["problem"] == "it answered 500"
    assert webhooks.deliver_due() == 0
    assert len(receiver.messages) == 1
    asker.host.time_ns += 5000 * MS
    webhooks.deliver_due()
    asker.host.time_ns += 19_990 * MS
    webhooks.deliver_due()
    assert len(receiver.messages) == 2

    again = Webhooks(
        asker.store,
        asker.limits,
        host=asker.host,
        key=lambda: KEY,
        send=receiver,
        log=asker.records.append,
    )
    assert again.load() == 1
    asker.host.time_ns += 20 * MS
    assert again.deliver_due() == 0
    asker.host.time_ns += 80_000 * MS
    assert again.deliver_due() == 1
    assert len({headers["webhook-id"] for _, headers, _ in receiver.messages}) == 1
    assert len(receiver.messages) == 4
    assert again.deliveries("default", hook["id"]) == []


def test_giving_up(asker, receiver):
    """After the last attempt a message has failed, can be looked at for a while, and is gone."""
    receiver.answers = [503] * 100
    hook = created(asker)
    asker.run("print(1)")
    for _ in range(20):
        asker.server.webhooks.deliver_due()
        asker.host.time_ns += 21_600_000 * MS
    assert len(receiver.messages) == asker.limits.server.webhook_attempt_count_max
    (failed,) = asker.get(f"/v1/webhooks/{hook['id']}/deliveries").document["items"]
    assert (failed["state"], failed.get("next_ms")) == ("failed", None)
    asker.host.time_ns += 7 * 86_400_000 * MS
    asker.server.webhooks.deliver_due()
    assert asker.get(f"/v1/webhooks/{hook['id']}/deliveries").document["items"] == []


def test_gone(asker, receiver):
    """A receiver that answers 410 is told nothing more until its secret is rotated."""
    receiver.answers = [410]
    hook = created(asker)
    asker.run("print(1)")
    asker.server.webhooks.deliver_due()
    assert "410" in asker.get(f"/v1/webhooks/{hook['id']}").document["disabled"]
    asker.run("print(2)")
    asker.server.webhooks.deliver_due()
    assert len(receiver.messages) == 1
    rotated = asker.post(f"/v1/webhooks/{hook['id']}/rotate").document
    assert rotated["secret"] != hook["secret"]
    asker.run("print(3)")
    asker.server.webhooks.deliver_due()
    assert len(receiver.messages) == 2


def test_what_waits_when_it_is_gone(asker, receiver):
    """What was to be told before the 410 waits for another secret, too."""
    receiver.answers = [500, 500, 410]
    hook = created(asker)
    asker.run("print(1)")
    asker.run("print(2)")
    deliver = asker.server.webhooks.deliver_due
    deliver()
    asker.host.time_ns += 5000 * MS
    asker.server.webhooks._limits = asker.limits.replace(
        {"server": {"webhook_concurrency_max": 1}}
    ).server
    deliver()
    asker.host.time_ns += 86_400_000 * MS
    assert deliver() == 0
    assert len(receiver.messages) == 3
    asker.post(f"/v1/webhooks/{hook['id']}/rotate")
    assert deliver() == 1


def test_what_waits_for_ever(asker, receiver):
    """What waits for another secret is forgotten like what has failed."""
    receiver.answers = [410, 500]
    hook = created(asker)
    asker.run("print(1)")
    asker.run("print(2)")
    asker.server.webhooks.deliver_due()
    assert len(asker.server.webhooks.deliveries("default", hook["id"])) == 2
    asker.host.time_ns += 8 * 86_400_000 * MS
    asker.server.webhooks.deliver_due()
    assert asker.server.webhooks.deliveries("default", hook["id"]) == []


def test_a_dead_receiver_holds_up_nobody(receiver):
    """However much waits for it, each round has a message of everybody else."""
    asker = Asker(webhook_concurrency_max=2)
    asker.server.webhooks._send = receiver
    dead, alive = created(asker), created(asker, url="https://alive.example.org/")
    for _ in range(5):
        asker.server.webhooks.ping("default", dead["id"])
    asker.host.time_ns += MS
    asker.server.webhooks.ping("default", alive["id"])
    receiver.answers = [500, 200]
    assert asker.server.webhooks.deliver_due() == 1
    assert [hook.id for hook, _, _ in receiver.messages] == [dead["id"], alive["id"]]
    listed = asker.get(f"/v1/webhooks/{dead['id']}/deliveries").document
    assert (len(listed["items"]), listed["next"]) == (5, None)
    page = asker.get(f"/v1/webhooks/{dead['id']}/deliveries?limit=4").document
    rest = asker.get(f"/v1/webhooks/{dead['id']}/deliveries?limit=4&after={page['next']}").document
    assert page["items"] + rest["items"] == listed["items"]


def test_the_outbox_is_shared(receiver):
    """A tenant fills half of it while others have webhooks, so that theirs are kept."""
    asker = Asker(webhook_delivery_count_max=4)
    asker.server.webhooks._send = receiver
    one, other = created(asker)["id"], asker.server.webhooks.create("other", URL, [])[0].id
    for _ in range(5):
        asker.server.webhooks.ping("default", one)
        asker.server.webhooks.ping("other", other)
    assert len(asker.server.webhooks.deliveries("default", one)) == 2
    assert len(asker.server.webhooks.deliveries("other", other)) == 2


def test_removing(asker, receiver):
    """A webhook that is removed is told nothing, not even what waited."""
    hook = created(asker)
    asker.run("print(1)")
    assert asker.ask("DELETE", f"/v1/webhooks/{hook['id']}").status == 204
    assert asker.server.webhooks.deliver_due() == 0
    assert receiver.messages == []
    assert list(asker.store.documents.list("server.deliveries")) == []


def test_bounds(receiver):
    """A tenant has so many webhooks, and the outbox so many messages; what is dropped is logged."""
    asker = Asker(webhook_count_max=1, webhook_delivery_count_max=2)
    asker.server.webhooks._send = receiver
    created(asker)
    refused = asker.post("/v1/webhooks", {"url": URL})
    assert (refused.status, refused.document["code"]) == (409, "SERVER_QUOTA")
    for _ in range(3):
        asker.run("print(1)")
    assert asker.server.webhooks.deliver_due() == 2
    assert "the outbox is full" in [record.get("message") for record in asker.records]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/",
        "https://",
        "https://user:pass@example.org/",
        "https://example.org:99999/",
        "ftp://example.org",
        "https://example.org/\n",
        "https://" + "a" * 2000,
        "https://[::1",
    ],
)
def test_wrong_urls(asker, url):
    """A URL is https, with a host and without a user."""
    answer = asker.post("/v1/webhooks", {"url": url})
    assert (answer.status, answer.document["fields"]["field"]) == (422, "url")


def test_good_urls():
    """Ports, paths and queries are as they are."""
    for url in (URL, "https://a.example:8443/x?y=1", "https://xn--bcher-kva.example"):
        assert check_url(url) == url


def test_waiting_is_bounded():
    """However often it was tried, the next attempt is not later than the bound."""
    delivery = Delivery(
        id="m", webhook="w", tenant="t", event="ping", body="{}", created_ns=0, next_ns=0
    )
    waits = []
    for count in (0, 1, 5, 10_000):
        after = after_attempt(
            Delivery(**{**_fields(delivery), "attempt_count": count}),
            status=500,
            problem="",
            now_ns=0,
            backoff_ms=10,
            backoff_ms_max=1000,
            attempt_count_max=20_000,
        )
        waits.append(after.next_ns // 1_000_000)
    assert waits == [10, 40, 1000, 1000]


def _fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}

"""Attack: a webhook's secret is read, guessed, or outlives its rotation."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from tests.server.support import Asker
from tests.server.test_webhooks import Receiver, created

from cloche.egress.errors import NetError


@pytest.fixture
def asker():
    """A server whose messages are taken, or not."""
    found = Asker()
    found.receiver = Receiver()
    found.server.webhooks._send = found.receiver
    found.server.webhooks._key = lambda: bytes(range(32))
    return found


def signed(secret, fields, body):
    """Return the signature that a receiver expects."""
    text = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def sent(asker, hook_id):
    """Return fields and body of one message."""
    seen = []
    asker.server.webhooks._send = lambda hook, fields, body: (
        seen.append((fields, body)), Receiver()(hook, fields, body)
    )[1]  # fmt: skip
    assert asker.post(f"/v1/webhooks/{hook_id}/ping").status in (200, 202, 204)
    asker.server.webhooks.deliver_due()
    return seen[-1]


def test_told_once(asker):
    """The secret is in the answer that made it, and in nothing else: answers, store, log."""
    made = created(asker)
    secret = made["secret"]
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    asker.post(f"/v1/webhooks/{made['id']}/ping")
    told = [
        asker.get("/v1/webhooks").body,
        asker.get(f"/v1/webhooks/{made['id']}").body,
        asker.get(f"/v1/webhooks/{made['id']}/deliveries").body,
        asker.get("/v1/audit").body,
        repr(asker.records).encode(),
    ]
    told += [each.data for each in asker.store.documents.list("server.webhooks")]
    for text in told:
        assert secret.encode() not in text
        assert raw not in text
        assert raw.hex().encode() not in text


def test_a_forged_message(asker):
    """Another body, time, id or secret has another signature."""
    made = created(asker)
    fields, body = sent(asker, made["id"])
    good = fields["webhook-signature"]
    assert signed(made["secret"], fields, body) == good
    for change in (
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(int(fields["webhook-timestamp"]) + 1)},
    ):
        assert signed(made["secret"], {**fields, **change}, body) != good
    assert signed(made["secret"], fields, body + b" ") != good
    assert signed(created(asker)["secret"], fields, body) != good


def test_a_rotated_secret(asker):
    """After a rotation nothing is signed with the secret before."""
    made = created(asker)
    again = asker.post(f"/v1/webhooks/{made['id']}/rotate").document
    fields, body = sent(asker, made["id"])
    assert signed(again["secret"], fields, body) == fields["webhook-signature"]
    assert signed(made["secret"], fields, body) != fields["webhook-signature"]


def test_other_tenants(asker):
    """A webhook of another tenant is none, for every route."""
    made = created(asker)
    other = asker.new_key("admin", tenant="acme")
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/ping"), ("GET", "/deliveries"),
    ):  # fmt: skip
        answer = asker.ask(method, f"/v1/webhooks/{made['id']}{path}", key=other)
        assert answer.status == 404
    assert asker.get("/v1/webhooks", key=other).document["items"] == []


def test_errors_tell_nothing(asker):
    """Why a message was not taken is told without the secret or the signature."""
    made = created(asker)
    asker.receiver.answers[:] = [NetError("refused", reason="blocked")] * 3
    asker.post(f"/v1/webhooks/{made['id']}/ping")
    asker.server.webhooks.deliver_due()
    shown = asker.get(f"/v1/webhooks/{made['id']}/deliveries").body.decode()
    assert made["secret"] not in shown
    assert "v1," not in shown

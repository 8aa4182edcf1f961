"""Messages of webhooks on real sockets: TLS, the address check, redirects that nobody follows."""

from __future__ import annotations

import json

import pytest
from tests.egress.support import redirect, response
from tests.exec.net_support import net_world

from cloche.egress.errors import NetError, NetPolicyError
from cloche.limits import Limits
from cloche.server.webhook_sender import EgressSender
from cloche.server.webhooks import Webhook

from .faults import WAIT_S


def hook_for(url):
    """Return a webhook."""
    return Webhook(id="whk-1", tenant="default", url=url, events=(), created_ms=0)


@pytest.fixture
def sender():
    """Sends through the egress of the process."""
    return EgressSender("memory:", Limits())


def test_a_message_arrives(sender):
    """Method, path, fields and body are as they were given; the status comes back."""
    seen = []

    def answer(request):
        seen.append(request)
        return response("202 Accepted")

    with net_world() as net:
        server = net.server("hooks.example.com", answer=answer)
        hook = hook_for(f"https://hooks.example.com:{server.port}/in?x=1")
        fields = {"content-type": "application/json", "webhook-id": "msg_1"}
        status = sender(hook, fields, b'{"a":"\xc3\xa9"}').result(WAIT_S)
    assert status == 202
    (request,) = seen
    assert (request.method, request.target) == ("POST", "/in?x=1")
    assert request.header("webhook-id") == ["msg_1"]
    assert json.loads(request.body) == {"a": "é"}


def test_no_redirects(sender):
    """A redirect is an answer like another: what is signed for one host goes to no other."""
    with net_world() as net:
        server = net.server("hooks.example.com", answer=redirect("https://evil.example.com/"))
        hook = hook_for(f"https://hooks.example.com:{server.port}/")
        assert sender(hook, {}, b"{}").result(WAIT_S) == 302
        assert net.world.lookups == ["hooks.example.com"]


def test_addresses_of_this_machine(sender):
    """An address that is not public is refused, by name and by number."""
    for url in ("https://localhost/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
        answer = sender(hook_for(url), {}, b"{}")
        with pytest.raises((NetError, NetPolicyError)):
            answer.result(WAIT_S)

"""Attack: a webhook that leads the server to itself, or into the network that it stands in."""

from __future__ import annotations

import pytest
from tests.egress.support import redirect
from tests.exec.net_support import net_world
from tests.server.support import Asker

from cloche.egress.errors import NetError, NetPolicyError
from cloche.limits import Limits
from cloche.server.webhook_sender import EgressSender
from cloche.server.webhooks import Webhook

INNER = [
    "https://2130706433/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://127.1/",
    "https://0/",
    "https://127.0.0.1./",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://10.0.0.1/",
    "https://192.168.0.1:8787/v1/keys",
    "https://169.254.169.254/latest/meta-data",
    "https://metadata.google.internal/",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://localhost:8787/",
    "https://localhost./",
    "https://x.localhost/",
    "https://\u0661\u0662\u0667.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://127\u30020\u30020\u30021/",
    "https://%31%32%37.0.0.1/",
    "https://example.org@127.0.0.1/",
    "https://127.0.0.1#@example.org/",
    "https://127.0.0.1\\@example.org/",
    "https://example.org:443@127.0.0.1:8787/",
]


@pytest.fixture
def sender():
    """Sends through the egress of the process."""
    return EgressSender("memory:", Limits())


def hook_for(url):
    """Return a webhook that was let through."""
    return Webhook(id="whk-1", tenant="default", url=url, events=(), created_ms=0)


@pytest.mark.parametrize("url", INNER)
def test_inner_addresses(sender, url):
    """No spelling of an address that is not reachable from everywhere is called."""
    with net_world() as net:
        server = net.server("hooks.example.com")
        with pytest.raises((NetError, NetPolicyError, ValueError)):
            sender(hook_for(url), {}, b"{}").result(20)
        assert server.requests == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "::1", "::ffff:10.0.0.1", "169.254.169.254", "0.0.0.0"]
)
def test_names_that_lead_inside(sender, address):
    """A public name whose server of names says an inner address is not called either."""
    with net_world() as net:
        net.world.names["rebind.example.com"] = [address]
        with pytest.raises((NetError, NetPolicyError)):
            sender(hook_for("https://rebind.example.com/"), {}, b"{}").result(20)


@pytest.mark.parametrize(
    "place", ["https://127.0.0.1/", "http://hooks.example.com/", "//evil.example.com/", "/again"]
)
def test_redirects(sender, place):
    """A redirect leads nowhere: it is the answer."""
    with net_world() as net:
        server = net.server("hooks.example.com", answer=redirect(place))
        status = sender(hook_for(f"https://hooks.example.com:{server.port}/"), {}, b"{}").result(20)
        assert status == 302
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "HTTP://example.org/", "file:///etc/passwd", "https:x",
        "gopher://x/",
        "https://a@example.org/", "https://:b@example.org/", "https://example.org:0/",
        "https://example.org:-1/", "https://example.org:1e3/", "https://exa mple.org/",
        "https://example.org/\r\nX: 1", "https://example.org/\t", "javascript:alert(1)", "//x/",
    ],
)  # fmt: skip
def test_urls_that_are_refused_at_once(url):
    """What is no https URL with a host alone is no webhook."""
    asker = Asker()
    answer = asker.post("/v1/webhooks", {"url": url})
    assert answer.status == 422, answer.body
    assert asker.get("/v1/webhooks").document["items"] == []

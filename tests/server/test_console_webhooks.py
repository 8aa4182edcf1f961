"""The console's webhooks: added, with a secret that is shown once; pinged, rotated, removed."""

from __future__ import annotations

import re

import pytest

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker
from .test_webhooks import KEY, URL, Receiver

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def receiver():
    """Takes no message."""
    return Receiver(*[503] * 100)


@pytest.fixture
def asker(receiver):
    """A server whose messages a receiver gets."""
    found = Asker()
    found.server.webhooks._send = receiver
    found.server.webhooks._key = lambda: KEY
    return found


@pytest.fixture
def person(asker):
    """The operator."""
    return Person(asker, asker.key)


def add(person, **values):
    """Add a webhook; return its page, and its secret."""
    answer = person.submit("/console/webhooks", url=URL, **values)
    assert answer.status == 201, text_of(answer)
    check_page(answer)
    page = answer.body.decode()
    place = re.search(r'action="(/console/webhooks/whk-[0-9a-f]+)/ping"', page)[1]
    return place, SECRET.search(page)[0]


def test_a_webhook(asker, person):
    """It is told what was ticked; its secret is on one page and no other."""
    assert "<summary>Add a webhook</summary>" in person.see("/console/webhooks")
    place, secret = add(person, event=["run.ended"])
    (hook,) = asker.server.webhooks.all("default")
    assert (hook.url, hook.events) == (URL, ("run.ended",))
    for page in (person.see(place), person.see("/console/webhooks"), person.see("/console/audit")):
        assert secret not in page
    answer = person.submit(f"{place}/rotate")
    check_page(answer)
    other = SECRET.search(answer.body.decode())[0]
    assert other != secret
    assert other not in person.see(place)
    assert person.do(f"{place}/delete") == "/console/webhooks"
    assert asker.server.webhooks.all("default") == []
    assert person.send("GET", place).status == 404
    page = person.see("/console/audit")
    found = re.findall(r'<th scope="row">(webhook\.\w+)</th>', page)
    assert found == ["webhook.delete", "webhook.rotate", "webhook.create"]
    assert "/in" not in page[page.index("<tbody>") :]


def test_what_was_not_taken(asker, person):
    """Messages that wait, and those that failed, are listed with why."""
    place, _ = add(person)
    assert "It has taken all that it was told." in person.see(place)
    assert person.do(f"{place}/ping") == place
    asker.server.webhooks.deliver_due()
    page = person.see(place)
    assert "it answered 503" in page
    assert '<span class="status pending">pending</span>' in page
    assert "1 wait" in person.see("/console/webhooks")
    for _ in range(asker.limits.server.webhook_attempt_count_max):
        asker.host.time_ns += asker.limits.server.webhook_backoff_ms_max * 1_000_000
        asker.server.webhooks.deliver_due()
    assert '<span class="status failed">failed</span>' in person.see(place)
    assert "1 failed" in person.see("/console/webhooks")
    for _ in range(60):
        person.do(f"{place}/ping")
    assert "The oldest 30 of 61." in person.see(place)


@pytest.mark.parametrize(
    "values",
    [{"url": ""}, {"url": "http://hooks.example.org"}, {"url": SCRIPT}, {"event": SCRIPT}],
)
def test_a_webhook_that_cannot_be(asker, person, values):
    """What is wrong is said, as text, and there is none."""
    answer = person.submit("/console/webhooks", **{"url": URL, **values})
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert asker.server.webhooks.all("default") == []
    assert "Nobody has changed anything yet." in person.see("/console/audit")


def test_nobody_sees_the_webhooks_of_others(asker, person):
    """For another tenant a webhook does not exist, on any page or form."""
    place, _ = add(person)
    other = Person(asker, asker.new_key("admin", tenant="other"))
    assert place not in other.see("/console/webhooks")
    assert other.send("GET", place).status == 404
    for form in ("ping", "rotate", "delete"):
        assert other.submit(f"{place}/{form}").status == 404
    person.see(place)


def test_long_urls(person):
    """A page of webhooks stays small."""
    for number in range(10):
        person.submit("/console/webhooks", url=f"{URL}/{number}/{'&' * 1900}")
    person.see("/console/webhooks")

"""The console's outbound HTTP: log, lists, what they say of a call, secrets that are not shown."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

from cloche.egress.log import Record
from cloche.egress.open import open_database

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker

VALUE = "a-value-that-nobody-sees"


@pytest.fixture(autouse=True)
def own_lists(tmp_path, monkeypatch):
    """Lists and secrets of this test alone."""
    monkeypatch.setenv("CLOCHE_SECRET_STORE", str(tmp_path / "net.db"))
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())


@pytest.fixture(scope="module")
def asker():
    """A server."""
    return Asker()


@pytest.fixture
def person(asker):
    """The operator."""
    return Person(asker, asker.key)


@pytest.fixture
def other(asker):
    """An administrator of another tenant."""
    return Person(asker, asker.new_key("admin", tenant="other"))


def test_entries(asker, person):
    """An entry is added, explained and removed."""
    assert "No entries" in person.see("/console/egress")
    person.do("/console/egress/entries", action="allow", entry="GET https://api.example.com/v1")
    page = person.see("/console/egress?url=https://api.example.com/v1/x")
    assert "GET https://api.example.com/v1</code>" in page
    assert 'class="status allowed"' in page
    assert "allows api.example.com (GET; https; below /v1)</dd>" in page
    page = person.see("/console/egress?url=https://api.example.com/v1&method=POST")
    assert 'class="status refused"' in page
    assert "but not this method" in page
    page = person.see(f"/console/egress?url=https://{SCRIPT}&method={SCRIPT}")
    assert SCRIPT not in page
    entry = asker.get("/v1/net/allowlist").document["items"][0]["id"]
    person.do("/console/egress/entries/remove", id=entry)
    assert "No entries" in person.see("/console/egress")
    answer = person.submit("/console/egress/entries/remove", id=entry)
    assert answer.status == 404


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("entries", {"action": "allow", "entry": "*"}),
        ("entries", {"action": "allow", "entry": SCRIPT}),
        ("entries", {"action": "maybe", "entry": "a.example"}),
        ("entries", {"action": "deny", "entry": "a.example", "scope": "no scope"}),
        ("entries", {"action": "deny", "entry": "a.example", "scope": "tenant:other/global"}),
    ],
)
def test_an_entry_that_is_wrong(person, path, values):
    """What is wrong is said, as text, and nothing was added."""
    answer = person.submit(f"/console/egress/{path}", **values)
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert "No entries" in person.see("/console/egress")


def test_the_log(asker, person, other):
    """Each tenant sees the calls of its own runs, the newest first; paths are text."""
    records = [
        Record(at_ns=n, run_id="r", scope="global", outcome="denied", method="GET",
               host=f"h{n}.example", path=f"/{SCRIPT}", code="NET_BLOCKED", reason="unlisted",
               tenant=tenant)
        for n, tenant in enumerate(["", "", "third"])
    ]  # fmt: skip
    database = open_database()
    database.store(records, 0)
    database.close()
    page = person.see("/console/egress")
    assert page.index("h1.example") < page.index("h0.example")
    assert "h2.example" not in page
    assert SCRIPT not in page
    assert "Nothing was called." in other.see("/console/egress?errors=1")


def test_what_made_a_call(asker, person):
    """A call leads to the run or the webhook that made it, and nowhere where there is neither."""
    run = asker.post("/v1/run", {"code": "1", "language": "python"}).document["id"]
    database = open_database()
    database.store(
        [
            Record(at_ns=n, run_id=caller, scope="global", outcome="denied", method="GET",
                   host="h.example", path="/", code="NET_BLOCKED", reason="unlisted", tenant="")
            for n, caller in enumerate([run, "whk-0123456789", "gone"])
        ],
        0,
    )  # fmt: skip
    database.close()
    page = person.see("/console/egress")
    assert f'href="/console/runs/{run}"' in page
    assert 'href="/console/webhooks/whk-0123456789"' in page
    assert "<td><code>gone</code></td>" in page


def test_a_secret(person):
    """A value is written, replaced and forgotten; no page shows it."""
    form = {"name": "API_KEY", "domains": "api.example.com, b.example", "inject_as": "bearer"}
    person.do("/console/secrets", value=VALUE, **form)
    page = person.see("/console/secrets")
    assert "api.example.com, b.example" in page
    assert VALUE not in page
    person.do("/console/secrets/rotate", name="API_KEY", scope="global", value=VALUE + "2")
    assert VALUE not in person.see("/console/secrets")
    database = open_database()
    assert database.secret("API_KEY").value == VALUE + "2"
    database.close()
    person.do("/console/secrets/remove", name="API_KEY", scope="global")
    assert "There are no secrets." in person.see("/console/secrets")


def test_lists_that_cannot_be_read(person, tmp_path, monkeypatch):
    """What the server meets is logged, and its page tells nothing of places."""
    monkeypatch.setenv("CLOCHE_SECRET_STORE", str(tmp_path))
    answer = person.send("GET", "/console/egress")
    assert answer.status == 500
    check_page(answer)
    assert str(tmp_path) not in answer.body.decode()
    assert person.services.records[-1]["code"] == "NET_STORE"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("", {"name": SCRIPT, "value": VALUE, "domains": "a.example", "inject_as": "bearer"}),
        ("", {"name": "A", "value": "short", "domains": "a.example", "inject_as": "bearer"}),
        ("", {"name": "A", "value": VALUE, "domains": "", "inject_as": "bearer"}),
        ("", {"name": "A", "value": VALUE, "domains": "a.example", "inject_as": "smoke"}),
        ("", {"name": "A", "value": VALUE, "domains": "a.example", "inject_as": "bearer",
              "scope": "tenant:other/global"}),
    ],
)  # fmt: skip
def test_a_secret_that_is_wrong(person, path, values):
    """What is wrong is said without the value."""
    answer = person.submit(f"/console/secrets{path}", **values)
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert VALUE not in answer.body.decode()


@pytest.mark.parametrize("path", ["rotate", "remove"])
def test_a_secret_that_is_not_there(person, path):
    """It is 404, and what was asked for is text."""
    answer = person.submit(f"/console/secrets/{path}", name=SCRIPT, value=VALUE, scope="global")
    assert answer.status == 404
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert VALUE not in answer.body.decode()


def test_lists_and_secrets_are_the_tenants(asker, person, other):
    """Each administrator sees and changes what is the own tenant's, as over the API."""
    form = {"name": "KEY", "domains": "a.example", "inject_as": "bearer", "value": VALUE}
    for who, host in ((person, "mine.example"), (other, "theirs.example")):
        who.do("/console/egress/entries", action="allow", entry=host)
        who.do("/console/secrets", **{**form, "domains": host})
    page = other.see("/console/egress?url=https://mine.example")
    assert "theirs.example" in page
    assert 'class="status refused"' in page
    assert "https://mine.example</code></th>" not in page
    assert "mine.example" not in other.see("/console/secrets")
    own = asker.get("/v1/net/allowlist").document["items"]
    assert [entry["host"] for entry in own] == ["mine.example"]
    answer = other.submit("/console/egress/entries/remove", id=own[0]["id"])
    assert answer.status == 404
    other.do("/console/secrets/remove", name="KEY", scope="global")
    assert "There are no secrets." in other.see("/console/secrets")
    assert "mine.example" in person.see("/console/secrets")


def test_long_lists_and_secrets(asker, person):
    """Pages stay under 100 KB whatever is kept, and say how much they show."""
    for number in range(40):
        entry = f"GET https://h{number}.example.com/{'&' * 1900}"
        assert asker.post("/v1/net/allowlist", {"entry": entry}).status == 201
        domains = [f"{'a' * 60}.{'b' * 60}.d{each}.example.com" for each in range(40)]
        body = {"value": VALUE, "domains": domains}
        place = f"/v1/net/secrets/{'N' * 190}_{number}?scope={'s' * 200}"
        assert asker.ask("PUT", place, body=body).status == 200
    database = open_database()
    database.store(
        [
            Record(at_ns=n, run_id="r", scope="global", outcome="denied", method="GET",
                   host="h.example", path="/" + "&" * 1900, code="NET_BLOCKED", reason="unlisted",
                   tenant="")
            for n in range(40)
        ],
        0,
    )  # fmt: skip
    database.close()
    page = person.see(f"/console/egress?url=https://h1.example.com/{'%26' * 2000}")
    assert re.search(r"The first \d+ of 40;", page)
    assert "more characters</code>" in page
    assert re.search(r"The first \d+ of 40;", person.see("/console/secrets"))

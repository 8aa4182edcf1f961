"""The console's tenants and audit: who may have what, and who changed it."""

from __future__ import annotations

import re

import pytest

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker


@pytest.fixture
def asker():
    """A server with two tenants."""
    found = Asker()
    found.new_key("run", tenant="shop")
    return found


@pytest.fixture
def person(asker):
    """The operator."""
    return Person(asker, asker.new_key("admin", name="Ann"))


def own(asker, tenant="shop"):
    """Return the limits of its own that a tenant has."""
    settings = asker.server.tenants.settings(tenant)
    return {} if settings is None else settings.limits


def test_limits_of_a_tenant(asker, person):
    """The operator sees what holds, and gives a tenant limits; an empty field is the server's."""
    page = person.see("/console/tenants")
    assert 'href="/console/tenants/shop"' in page
    place = "/console/tenants/shop"
    assert person.do(place, session_count_max="7", tenant_run_rate_limit="60") == place
    assert own(asker) == {"session_count_max": 7, "tenant_run_rate_limit": 60}
    page = person.see(place)
    assert '<strong class="status pending">7</strong>' in page
    assert page.count('class="status pending"') == 2
    assert 'name="session_count_max" value="7"' in page
    assert "session_count_max" in person.see("/console/tenants")
    person.do(place, session_count_max="")
    assert own(asker) == {}


@pytest.mark.parametrize("value", ["x", "-1", "0", SCRIPT, "9" * 30])
def test_a_limit_that_cannot_be(asker, person, value):
    """What is wrong is said, as text, and nothing holds of it."""
    answer = person.submit("/console/tenants/shop", session_count_max=value)
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert own(asker) == {}


def test_a_tenant_sees_itself(asker, person):
    """An administrator of another tenant sees its own limits and changes none."""
    other = Person(asker, asker.new_key("admin", tenant="shop"))
    page = other.see("/console/tenants")
    assert re.findall(r'href="/console/tenants/([^"]+)"', page) == ["shop"]
    page = other.see("/console/tenants/shop")
    assert "Who runs the server decides." in page
    assert other.submit("/console/tenants/shop", session_count_max="7").status == 403
    assert own(asker) == {}
    for tenant in ("default", "none"):
        assert other.send("GET", f"/console/tenants/{tenant}").status == 404
        assert other.submit(f"/console/tenants/{tenant}").status == 404
    assert person.send("GET", "/console/tenants/none").status == 404


def test_many_tenants(asker, person):
    """A page stays small, and the rest is behind a link."""
    for number in range(40):
        asker.new_key("run", tenant=f"t{number:02}")
    page = person.see("/console/tenants?limit=200")
    assert page.count('<tr><th scope="row"') == 25
    older = re.search(r'href="(/console/tenants\?after=[^"]+)"', page)[1]
    assert page.count(">Older</a>") == 1
    assert person.see(older).count('<tr><th scope="row"') == 17


def test_the_audit(asker, person):
    """Whatever is changed in the console is noted with who did it, newest first, as text."""
    assert "Nobody has changed anything yet." in person.see("/console/audit")
    assert person.submit("/console/keys", name=SCRIPT, scope="run").status == 201
    made = re.search(
        r"clk_([a-z2-7]{12})_", person.submit("/console/keys", scope="run").body.decode()
    )[1]
    person.submit(f"/console/keys/{made}/rotate", minutes="0")
    person.do(f"/console/keys/{made}/revoke")
    assert person.submit("/console/keys", scope="root").status == 422
    person.do("/console/egress/entries", entry="api.example.com", action="allow", scope="global")
    person.do("/console/tenants/shop", session_count_max="7")
    page = person.see("/console/audit")
    assert SCRIPT not in page
    found = re.findall(r'<th scope="row">([\w.]+)</th>', page)
    assert found == [
        "tenant.set",
        "entry.allow",
        "key.revoke",
        "key.rotate",
        "key.make",
        "key.make",
    ]
    assert page.count("Ann (") == 6
    other = Person(asker, asker.new_key("admin", tenant="shop"))
    assert "Nobody has changed anything yet." in other.see("/console/audit")


def test_a_long_audit(person):
    """A page of it stays small, whatever names are in it."""
    for _ in range(30):
        assert person.submit("/console/keys", name="<" * 100, scope="run").status == 201
    assert ">Older</a>" in person.see("/console/audit")

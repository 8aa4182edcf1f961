"""The console's limits and keys."""

from __future__ import annotations

import re

import pytest

from cloche.limits import Limits
from cloche.limits.schema import to_schema

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker


@pytest.fixture
def asker():
    """A server with one limit that is not the default."""
    return Asker(worker_count=3)


@pytest.fixture
def person(asker):
    """The operator."""
    return Person(asker, asker.key)


def test_limits(person):
    """Every limit of the schema is there, with its value; what was changed is marked."""
    page = person.see("/console/limits")
    for group, leaves in to_schema().items():
        assert f"<summary>{group}</summary>" in page
        assert all(f"<code>{name}</code>" in page for name in leaves)
    assert page.count('class="status pending"') == 1
    assert '<strong class="status pending">3</strong>' in page
    assert Limits().server.worker_count != 3


def test_a_key_is_made_and_shown_once(asker, person):
    """A new key may what was ticked; only the page that made it shows it."""
    answer = person.submit("/console/keys", name=SCRIPT, scope=["run", "session"], days="7")
    assert answer.status == 201
    check_page(answer)
    text = re.search(r"clk_[a-z2-7]{12}_[\w-]{43}", answer.body.decode())[0]
    found = asker.server.keyring.owner_of(text)
    assert (found.scopes, found.tenant, found.name) == (("run", "session"), "default", SCRIPT)
    assert found.expires_ns - found.created_ns >= 6 * 86_400 * 10**9
    page = person.see("/console/keys")
    assert text not in page
    assert SCRIPT not in page
    assert found.id in page


def test_a_key_is_replaced_and_ended(asker, person):
    """Rotating shows the new key and ends the old one; revoking ends it."""
    old = asker.new_key("run")
    answer = person.submit(f"/console/keys/{old.split('_')[1]}/rotate", minutes="0")
    check_page(answer)
    new = re.search(r"clk_[a-z2-7]{12}_[\w-]{43}", answer.body.decode())[0]
    assert asker.server.keyring.owner_of(old) is None
    assert asker.server.keyring.owner_of(new).scopes == ("run",)
    person.do(f"/console/keys/{new.split('_')[1]}/revoke")
    assert asker.server.keyring.owner_of(new) is None
    records = asker.get("/v1/audit").document["items"]
    assert [(each["action"], each["target"]) for each in records[:2]] == [
        ("key.revoke", new.split("_")[1]),
        ("key.rotate", old.split("_")[1]),
    ]
    page = person.see("/console/keys")
    assert page.count(">revoked<") == 2


@pytest.mark.parametrize(
    "values",
    [{}, {"scope": "root"}, {"scope": "run", "days": "x"}, {"scope": "run", "days": "0"},
     {"scope": "run", "tenant": SCRIPT}],
)  # fmt: skip
def test_a_key_that_cannot_be(person, values):
    """What is wrong is said, as text."""
    answer = person.submit("/console/keys", **values)
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()


def test_keys_of_other_tenants(asker, person):
    """An administrator makes keys for its own tenant alone, and sees and ends no others."""
    other = Person(asker, asker.new_key("admin", tenant="other"))
    mine = asker.new_key("run").split("_")[1]
    assert mine not in other.see("/console/keys")
    assert other.submit("/console/keys", scope="run", tenant="default").status == 403
    for form in ("rotate", "revoke"):
        assert other.submit(f"/console/keys/{mine}/{form}", minutes="0").status == 404
    assert person.submit("/console/keys", scope="run", tenant="third").status == 201
    record = asker.get("/v1/audit").document["items"][0]
    assert (record["action"], record["details"]) == (
        "key.make",
        {"tenant": "third", "scopes": ["run"]},
    )
    assert "third" in asker.server.keyring.tenants()


def test_many_keys(asker, person):
    """A page of keys stays small, however long their names are."""
    for _ in range(30):
        asker.new_key("run", name="<" * 100)
    page = person.see("/console/keys?limit=200")
    assert page.count("<tbody>") == 1
    assert ">Older</a>" in page

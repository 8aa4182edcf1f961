"""Keys: what they look like, when they are good, what is kept."""

from __future__ import annotations

import hashlib

import pytest

from cloche.server.errors import InvalidFieldError
from cloche.server.keys import RANDOM_BYTES, digest_of, id_in, is_proof, make

NOW_NS = 1_700_000_000_000_000_000


def made(randomness=bytes(range(RANDOM_BYTES)), **options):
    """Return a key and its text."""
    given = {"tenant": "acme", "name": "ci", "scopes": ("run",), "now_ns": NOW_NS}
    return make(randomness, **{**given, **options})


def test_the_text_of_a_key():
    """It begins with what it is, has its id in it, and all of its randomness."""
    key, text = made()
    assert text == f"clk_{key.id}_CAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJic"
    assert id_in(text) == key.id == "aaaqeayeauda"


def test_only_a_digest_is_kept():
    """What is kept is the SHA-256 of the text, and nothing of its secret part."""
    key, text = made()
    assert key.digest == hashlib.sha256(text.encode()).digest() == digest_of(text)
    assert text.split("_", 2)[2] not in repr(key)


@pytest.mark.parametrize("text", ["", "clk_", "clk_aaaqeayeaudq_", "Bearer x", "clk_" + "a" * 60])
def test_what_is_no_key(text):
    """A text of another shape has no id, so nothing is looked up for it."""
    assert id_in(text) is None


def test_a_good_key():
    """Its own text proves it; any other text, and none at all, does not."""
    key, text = made()
    assert is_proof(key, text, NOW_NS)
    assert not is_proof(key, text[:-1] + "A", NOW_NS)
    assert not is_proof(None, text, NOW_NS)


@pytest.mark.parametrize("field", ["expires_ns", "revoked_ns"])
def test_a_key_ends(field):
    """It is good until the end, the end not included."""
    import dataclasses

    key, text = made()
    ended = dataclasses.replace(key, **{field: NOW_NS + 10})
    assert is_proof(ended, text, NOW_NS + 9)
    assert not is_proof(ended, text, NOW_NS + 10)


def test_scopes():
    """A key may do what its scopes say; admin may do all."""
    key, _ = made(scopes=("session", "run", "run"))
    assert key.scopes == ("run", "session")
    assert [key.may(scope) for scope in ("run", "session", "approve", "admin")] == [
        True,
        True,
        False,
        False,
    ]
    admin, _ = made(scopes=("admin",))
    assert all(admin.may(scope) for scope in ("run", "session", "approve", "admin"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scopes": ()}, "scopes: at least one of run, session, approve, app, admin"),
        ({"scopes": ("root",)}, "scopes: at least one of run, session, approve, app, admin"),
        ({"name": "a\nb"}, "name: it has up to 100 characters, all printable"),
        ({"name": "a" * 101}, "name: it has up to 100 characters, all printable"),
        ({"expires_ns": NOW_NS}, "expires: it is not in the future"),
        (
            {"expires_ns": 253_402_300_800 * 10**9},
            "expires: it is behind the year 9999; leave it out for a key that does not end",
        ),
        (
            {"tenant": "Acme"},
            "tenant: it has 1 to 63 of a-z, 0-9 and -, and no - at its ends",
        ),
        ({"tenant": "-a"}, "tenant: it has 1 to 63 of a-z, 0-9 and -, and no - at its ends"),
        ({"apps": ("shop",)}, "apps: such a key has the scope app alone"),
        (
            {"apps": ("shop",), "scopes": ("app", "admin")},
            "apps: such a key has the scope app alone",
        ),
        ({"apps": ("Shop",), "scopes": ("app",)}, "apps: up to 100 names of apps"),
        ({"tenant": ""}, "tenant: it has 1 to 63 of a-z, 0-9 and -, and no - at its ends"),
    ],
)
def test_what_no_key_can_be(options, message):
    """What is wrong is said before there is a key."""
    with pytest.raises(InvalidFieldError) as caught:
        made(**options)
    assert caught.value.message == message


def test_a_key_for_some_apps():
    """It is for these alone, each once; one for none is for all of the tenant."""
    key, _ = made(scopes=("app",), apps=("shop", "blog", "shop"))
    assert key.apps == ("blog", "shop")
    assert [key.may_use(name) for name in ("blog", "shop", "other")] == [True, True, False]
    assert made()[0].may_use("other")
    assert len(made(scopes=("app",), apps=tuple(f"a{n}" for n in range(100)))[0].apps) == 100


@pytest.mark.parametrize(
    ("scopes", "apps"),
    [
        (("run",), ("shop",)),
        (("app", "run"), ("shop",)),
        (("admin", "app"), ("shop",)),
        (("app",), ("Shop",)),
        (("app",), ("shop", "")),
        (("app",), tuple(f"a{n}" for n in range(101))),
    ],
)
def test_a_key_that_cannot_be_for_some_apps(scopes, apps):
    """What opens more than apps is no key for some of them, nor is one for names that are none."""
    with pytest.raises(InvalidFieldError) as caught:
        made(scopes=scopes, apps=apps)
    assert caught.value.fields["field"] == "apps"

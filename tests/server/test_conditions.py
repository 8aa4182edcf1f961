"""Conditions of requests: 304 for what is known, 412 for what is another by now."""

from __future__ import annotations

from base64 import b64encode

import pytest

from .support import Asker

FILE = "/v1/sessions/s/files/a.txt"


@pytest.fixture(autouse=True)
def own_lists(tmp_path, monkeypatch):
    """Lists and secrets of this test alone."""
    monkeypatch.setenv("CLOCHE_SECRET_STORE", str(tmp_path / "net.db"))
    monkeypatch.setenv("CLOCHE_SECRET_KEY", b64encode(bytes(32)).decode())


@pytest.fixture
def asker():
    """A server with a session that has a file, a secret and an entry."""
    found = Asker()
    found.post("/v1/sessions", {"language": "javascript", "name": "s"})
    found.ask("PUT", FILE, content=b"one")
    found.ask("PUT", "/v1/net/secrets/KEY", body={"value": "a-value", "domains": ["a.example"]})
    found.ask(
        "PUT", "/v1/net/secrets/KEY", body={"value": "a-long-value", "domains": ["a.example"]}
    )
    return found


def when(name, value):
    """Return the fields of a condition."""
    return [(name, value.encode())]


def tag(asker, path):
    """Return the ETag of what is at a path."""
    answer = asker.get(path)
    assert answer.status == 200, answer.body
    found = answer.fields["etag"]
    assert found.startswith('"')
    return found


def refused(answer):
    """Whether a condition did not hold, said in the one shape."""
    return (answer.status, answer.document["code"]) == (412, "SERVER_PRECONDITION")


@pytest.mark.parametrize(
    "path",
    ["/v1/sessions/s", FILE, "/v1/sessions/s/files", "/v1/sessions", "/v1/keys",
     "/v1/tenants/default", "/v1/net/secrets/KEY", "/api/system/limits", "/openapi.json",
     "/v1/sessions/s/cwd"],
)  # fmt: skip
def test_what_is_known_is_not_sent_again(asker, path):
    """The tag of an answer brings 304 without a body; another one brings the answer."""
    first = asker.get(path)
    for known in (first.fields["etag"], f'"other", W/{first.fields["etag"]}', "*"):
        again = asker.get(path, fields=when("if-none-match", known))
        assert (again.status, again.body) == (304, b"")
        assert again.fields["etag"] == first.fields["etag"]
    again = asker.get(path, fields=when("if-none-match", '"other"'))
    assert (again.status, again.body) == (200, first.body)
    assert first.fields["cache-control"] == "private, no-cache"


def test_a_tag_changes_with_what_it_is_of(asker):
    """After a change the old tag is worth nothing, and the same content has the same tag."""
    first = tag(asker, FILE)
    asker.ask("PUT", FILE, content=b"two")
    assert tag(asker, FILE) != first
    assert asker.get(FILE, fields=when("if-none-match", first)).body == b"two"
    asker.ask("PUT", FILE, content=b"one")
    assert tag(asker, FILE) == first


def test_who_may_not_read_learns_no_tag(asker):
    """A condition does not come before the key: no tag, and no 304, for others."""
    other = asker.new_key("admin", tenant="other")
    known = when("if-none-match", tag(asker, FILE))
    assert asker.get(FILE, key=other, fields=known).status == 404
    assert asker.get(FILE, key="", fields=known).status == 401
    answer = asker.ask("PUT", FILE, key=other, content=b"x", fields=when("if-match", "*"))
    assert answer.status in (404, 412)
    assert asker.get(FILE).body == b"one"


def test_changes_of_a_file(asker):
    """A file is written and removed only while it is what was read."""
    first = tag(asker, FILE)
    assert asker.ask("PUT", FILE, content=b"two", fields=when("if-match", first)).status == 204
    assert refused(asker.ask("PUT", FILE, content=b"three", fields=when("if-match", first)))
    assert refused(asker.ask("DELETE", FILE, fields=when("if-match", first)))
    assert asker.get(FILE).body == b"two"
    assert refused(asker.ask("PUT", FILE, content=b"x", fields=when("if-none-match", "*")))
    assert asker.ask("DELETE", FILE, fields=when("if-match", tag(asker, FILE))).status == 204
    assert refused(asker.ask("PUT", FILE, content=b"x", fields=when("if-match", "*")))
    assert asker.ask("PUT", FILE, content=b"x", fields=when("if-none-match", "*")).status == 204


@pytest.mark.parametrize(
    ("path", "change", "body"),
    [
        ("/v1/tenants/default", ("PUT", ""), {"limits": {"session_count_max": 9}}),
        ("/v1/net/secrets/KEY", ("PUT", ""), {"value": "a-long-value", "domains": ["b.example"]}),
        ("/v1/net/secrets/KEY", ("PUT", "/value"), {"value": "another-value"}),
        ("/v1/sessions/s/cwd", ("PUT", ""), {"path": "/tmp"}),
        ("/v1/net/secrets/KEY", ("DELETE", ""), None),
        ("/v1/sessions/s", ("DELETE", ""), None),
    ],
)
def test_changes(asker, path, change, body):
    """What can be read at a path is changed only while it is what was read."""
    asker.post("/v1/sessions/s/run", {"code": "require('fs').mkdirSync('/tmp', {recursive: true})"})
    method, more = change
    first = tag(asker, path)
    assert refused(asker.ask(method, path + more, body=body, fields=when("if-match", '"other"')))
    assert tag(asker, path) == first
    answer = asker.ask(method, path + more, body=body, fields=when("if-match", first))
    assert answer.status in (200, 204), answer.body
    if answer.status == 200:
        # The answer is what a GET has now, and so is its tag.
        assert answer.fields["etag"] == tag(asker, path) != first
    assert refused(asker.ask(method, path + more, body=body, fields=when("if-match", first)))


def test_a_session_that_went_on_is_not_removed(asker):
    """A run in between is a change."""
    first = tag(asker, "/v1/sessions/s")
    asker.post("/v1/sessions/s/run", {"code": "1"})
    assert refused(asker.ask("DELETE", "/v1/sessions/s", fields=when("if-match", first)))


def test_a_condition_that_does_not_hold_is_a_document_for_reading_too(asker):
    """`If-Match` on a GET is answered in the one shape."""
    assert refused(asker.get(FILE, fields=when("if-match", '"other"')))


def test_parts_of_a_file(asker):
    """A range is answered with its bytes, and only of the version that is meant."""
    answer = asker.get(FILE, fields=when("range", "bytes=1-"))
    assert (answer.status, answer.body) == (206, b"ne")
    fields = [*when("range", "bytes=1-"), *when("if-range", '"other"')]
    assert asker.get(FILE, fields=fields).body == b"one"


def test_the_description_names_conditions(asker):
    """It says where a condition is taken."""
    paths = asker.get("/openapi.json").document["paths"]
    file = paths["/v1/sessions/{id}/files/{path}"]
    names = {
        method: {each["name"] for each in found["parameters"]} for method, found in file.items()
    }
    assert "If-None-Match" in names["get"]
    assert "If-Match" in names["put"] & names["delete"]
    assert "304" in file["get"]["responses"]
    assert "412" in file["put"]["responses"]
    assert "412" not in paths["/v1/run"]["post"]["responses"]

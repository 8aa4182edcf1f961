"""The console's doors: signing in and out, who sees what, forms without a token, static files."""

from __future__ import annotations

import pytest

from cloche.server.console.pages import HOME, SECTIONS
from cloche.store.rows import Document

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker


@pytest.fixture
def asker():
    """A server."""
    return Asker()


@pytest.fixture
def admin(asker):
    """Somebody signed in with the first key."""
    return Person(asker, asker.key)


def test_nobody_sees_a_page_without_a_key(asker):
    """Every page leads to the one that asks for a key, which remembers where to go on."""
    person = Person(asker)
    for route in asker.server.console.routes:
        path = "/console" + route.path.replace(":", "x")
        answer = person.send(route.method, path)
        assert answer.status == 303, path
        assert answer.fields["location"].startswith("/console/sign-in?next=/console")
    page = person.see("/console/sign-in?next=/console/runs")
    assert 'name="next" value="/console/runs"' in page


FIREFOX = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_at_the_root(asker, method):
    """It is led to the console; a program is told that nothing is there, as ever."""
    answer = asker.ask(method, "/", key="", fields=[("accept", FIREFOX)])
    assert (answer.status, answer.fields["location"]) == (303, "/console")
    for accepted in ([], [("accept", b"*/*")], [("accept", b"application/json")]):
        answer = asker.ask(method, "/", key="", fields=accepted)
        assert (answer.status, answer.document["code"]) == (404, "WEB_NOT_FOUND")
    assert asker.get("/other", key="", fields=[("accept", FIREFOX)]).status == 404


@pytest.mark.parametrize(("host", "status"), [("shop.localhost:1", 404), ("localhost:1", 303)])
def test_a_browser_at_a_name_of_apps(asker, host, status):
    """Where an app could answer and none does, nobody is led to a page that asks for a key."""
    fields = [("accept", FIREFOX), ("host", host.encode())]
    assert asker.get("/", key="", fields=fields).status == status


def test_sign_in(asker):
    """A good key leads to where one wanted to go; the cookie names it and is the host's own."""
    person = Person(asker)
    answer = person.submit("/console/sign-in", key=f" {asker.key} ", next="/console/runs?after=a")
    assert (answer.status, answer.fields["location"]) == (303, "/console/runs?after=a")
    cookie = next(text for text in person.set_cookies if text.startswith("__Host-cloche="))
    assert "; Secure; HttpOnly; SameSite=Lax" in cookie
    assert all(asker.key.rsplit("_", 1)[1] not in text for text in person.set_cookies)
    assert "Sign out" in person.see("/console")
    assert person.send("GET", "/console/sign-in").fields["location"] == "/console"


@pytest.mark.parametrize("wrong", ["", "nonsense", "clk_aaaaaaaaaaaa_" + "A" * 43, SCRIPT])
def test_a_wrong_key(asker, wrong):
    """A wrong key is asked for again, and is not repeated on the page."""
    person = Person(asker)
    answer = person.submit("/console/sign-in", key=wrong)
    assert answer.status == 401
    check_page(answer)
    assert "This is no key that is good now." in answer.body.decode()
    assert not wrong or wrong.encode() not in answer.body
    assert person.send("GET", "/console").status == 303


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example",
        "/console//evil.example",
        "/consoleevil",
        "/v1/runs",
        "/console\\evil",
        f"/console/{SCRIPT}",
    ],
)
def test_signing_in_leads_nowhere_else(asker, place):
    """Whatever a link says, signing in stays on the console."""
    answer = Person(asker).submit("/console/sign-in", key=asker.key, next=place)
    assert answer.fields["location"] == "/console"


def test_sign_out(admin):
    """Signing out forgets the key."""
    assert admin.do("/console/sign-out") == "/console/sign-in"
    assert "__Host-cloche" not in admin.cookies
    assert admin.send("GET", "/console").status == 303


def test_a_copy_of_a_cookie_ends_with_the_sign_in(asker, admin):
    """What was signed out stays out, whoever kept the cookie; other sign-ins of the key go on."""
    other, kept = Person(asker, asker.key), dict(admin.cookies)
    admin.do("/console/sign-out")
    thief = Person(asker)
    thief.cookies = kept
    for method, path in (("GET", "/console"), ("GET", "/console/keys"), ("POST", "/console/runs")):
        answer = thief.send(method, path)
        assert (answer.status, answer.fields["location"][:16]) == (303, "/console/sign-in")
    thief.cookies = kept
    assert thief.send("GET", "/console/sign-in").status == 200
    other.see("/console")


def test_signing_in_again_ends_the_sign_in_before(asker, admin):
    """A browser has one sign-in: the one before is over when another key is given."""
    kept = dict(admin.cookies)
    assert admin.submit("/console/sign-in", key=asker.new_key("run")).status == 303
    admin.see("/console")
    thief = Person(asker)
    thief.cookies = kept
    assert thief.send("GET", "/console").status == 303


def test_what_was_signed_out_is_forgotten_when_its_cookie_has_ended(asker):
    """Nothing of a sign-in is kept longer than its cookie holds."""
    person = Person(asker, asker.key)
    kind = "server.signed-out"
    before = len(asker.store.documents.list(kind))
    person.do("/console/sign-out")
    assert len(asker.store.documents.list(kind)) == before + 1
    assert asker.server.context.signed_out.sweep() == 0
    asker.host.time_ns += 43_200 * 1_000_000_000
    assert asker.server.context.signed_out.sweep() == before + 1
    assert not asker.store.documents.list(kind)


def test_a_key_that_ended_ends_what_it_signed_in(asker):
    """A revoked key is out with the next request."""
    key = asker.new_key("run")
    person = Person(asker, key)
    person.see("/console")
    asker.server.keyring.revoke(None, key.split("_")[1])
    assert person.send("GET", "/console").status == 303


def test_a_cookie_that_was_changed(asker, admin):
    """A cookie of another signature, or of another process, is none."""
    good = admin.cookies["__Host-cloche"]
    admin.cookies["__Host-cloche"] = good[:-2] + ("AA" if good[-2:] != "AA" else "BB")
    assert admin.send("GET", "/console").status == 303
    other = Person(Asker(seed=1))
    other.cookies["__Host-cloche"] = good
    assert other.send("GET", "/console").status == 303


def test_every_form_needs_its_token(asker, admin):
    """Without the token, or with a wrong one, or from another site, nothing is changed."""
    forms = [route for route in asker.server.console.routes if route.method == "POST"]
    for path in [
        "/console/sign-out",
        *("/console" + form.path.replace(":", "x") for form in forms),
    ]:
        for token in ("", "0" * 64):
            answer = admin.submit(path, token=token)
            assert answer.status == 403, path
            assert "the CSRF token is missing, too old or wrong" in text_of(answer)
        answer = admin.submit(path, fields=[(b"origin", b"https://evil.example")])
        assert answer.status == 403
        check_page(answer)
    assert "Sign out" in admin.see("/console")


SCOPE_OF = {
    "": None,
    "runs": "run",
    "scripts": "run",
    "sessions": "session",
    "apps": "app",
    "approvals": "approve",
    "*rest": None,
    **dict.fromkeys(("egress", "secrets", "limits", "keys", "tenants", "audit"), "admin"),
    "webhooks": "admin",
}


def test_the_scope_of_a_section(asker):
    """All that a section shows and does needs one scope, that of the API for the same."""
    for route in asker.server.console.routes:
        assert route.scope == SCOPE_OF[route.path.strip("/").partition("/")[0]], route.path
    for _, place, scope in SECTIONS:
        assert scope == SCOPE_OF[place.removeprefix(HOME).strip("/")]


def test_each_key_sees_its_sections(asker):
    """What a key may not see is not linked, and is refused with a page."""
    for route in asker.server.console.routes:
        if route.scope is None:
            continue
        others = {"run", "session", "approve", "app"} - {route.scope}
        person = Person(asker, asker.new_key(*others))
        path = "/console" + route.path.replace(":", "x")
        answer = person.send("GET", path) if route.method == "GET" else person.submit(path)
        assert answer.status == 403, path
        check_page(answer)
        assert f"this key does not have the scope {route.scope}" in text_of(answer)


def test_static_files(asker):
    """Style and script are served to anybody, with the careful fields."""
    person = Person(asker)
    for name, kind in (
        ("console.css", "text/css"),
        ("console.js", "javascript"),
        ("icon.svg", "svg"),
    ):
        answer = person.send("GET", f"/console/static/{name}")
        assert "frame-ancestors 'none'" in answer.fields["content-security-policy"]
        assert answer.status == 200
        assert kind in answer.fields["content-type"]
        assert answer.fields["x-content-type-options"] == "nosniff"
        assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")
    assert person.send("GET", "/console/static/none.css").status == 404
    assert person.send("GET", "/console/static/../site.py").status in (400, 404)


def test_the_overview_counts_the_last_hour(asker, admin):
    """Runs, failures and times of the last hour are drawn; markup in names is shown as text."""
    assert "Nothing has run yet." in admin.see("/console")
    asker.run("print(1)")
    asker.run("raise SystemExit(3)")
    page = admin.see("/console")
    assert "2 runs, at most 2 a minute" in page
    assert page.count('<rect class="good"') == 1
    assert 'class="middle"' in page
    other = Person(asker, asker.new_key("admin", tenant="other"))
    assert "Nothing has run yet." in other.see("/console")


def test_the_overview_of_a_key_without_runs(asker):
    """A key that may not see runs sees none here either."""
    asker.run("print(1)")
    page = Person(asker, asker.new_key("approve")).see("/console")
    assert "This key may not see runs." in page
    assert "/console/runs" not in page


def test_a_name_is_shown_as_text(asker):
    """The name of a key is no markup."""
    page = Person(asker, asker.new_key("run", name=SCRIPT)).see("/console")
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_a_failure_of_the_server_is_a_page(asker, admin):
    """Who meets a defect of the server reads that it failed; what it was is in the log alone."""
    broken = Document(kind="server.scripts.default", name="broken", data=b"{")
    asker.store.documents.put(broken)
    answer = admin.send("GET", "/console/scripts/broken")
    assert answer.status == 500
    check_page(answer)
    assert b"the server failed; the failure was logged" in answer.body
    assert b"<code>INTERNAL</code>" in answer.body
    assert "DecodeError" in str(admin.services.records)


@pytest.mark.parametrize("path", ["/console/session", "/console/a/b"])
def test_a_path_that_is_no_page(asker, admin, path):
    """Who mistypes an address reads so on a page; who is not signed in is asked for a key."""
    answer = admin.send("GET", path)
    assert answer.status == 404
    check_page(answer)
    assert f"nothing is at {path}" in text_of(answer)
    answer = Person(asker).send("GET", path)
    assert answer.status == 303
    assert answer.fields["location"].startswith("/console/sign-in")


def test_a_slash_at_the_end(admin):
    """The address of the console with a slash leads to its first page."""
    answer = admin.send("GET", "/console/")
    assert (answer.status, answer.fields["location"]) == (303, "/console")

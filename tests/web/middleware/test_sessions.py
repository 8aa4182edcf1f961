"""Sessions, CSRF, and who asks."""

from __future__ import annotations

import base64
import re

import pytest

from cloche.web.adapters.fixture import FixtureServices
from cloche.web.errors import SettingError
from cloche.web.middleware.auth import api_key, basic, bearer
from cloche.web.middleware.sessions import csrf, sessions
from cloche.web.multipart import MultipartCaps
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import empty, text
from cloche.web.signing import KeyRing

from .support import ask, wrapped

KEYS = KeyRing((b"k" * 32,))
DAY_NS = 86_400 * 10**9


def count(request):
    """Count in the session."""
    session = request.context["session"]
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


def cookie_of(response):
    """Return the pair of the cookie that a response sets, as a request sends it."""
    written = response.get(b"set-cookie")
    return (b"cookie", written.partition(b";")[0])


def test_a_session():
    """What a handler keeps comes back with the next request."""
    app = wrapped(count, sessions(KEYS))
    first = ask(app)
    second = ask(app, fields=[cookie_of(first)])
    assert (first.body, second.body) == (b"1", b"2")
    written = first.get(b"set-cookie")
    assert written.startswith(b"__Host-session=")
    assert written.endswith(b"; Path=/; Max-Age=1209600; Secure; HttpOnly; SameSite=Lax")
    assert first.get(b"cache-control") == b"private, no-cache"
    assert first.get(b"vary") == b"cookie"


def test_sessions_that_are_not_believed():
    """A changed, foreign or old cookie is an empty session."""
    app = wrapped(count, sessions(KEYS, max_age_s=86_400))
    name, value = cookie_of(ask(app))
    changed = (name, value[:-1] + (b"A" if value[-1:] != b"A" else b"B"))
    foreign = cookie_of(ask(wrapped(count, sessions(KeyRing((b"x" * 32,))))))
    for cookie in (changed, foreign, (name, b"__Host-session=x")):
        assert ask(app, fields=[cookie]).body == b"1"
    late = FixtureServices()
    late.time_ns += DAY_NS + 10**9
    assert ask(app, fields=[(name, value)], services=late).body == b"1"


def test_when_a_cookie_is_written():
    """Only where the session changed, or half of its life is over."""
    app = wrapped(lambda request: str(request.context["session"]), sessions(KEYS, max_age_s=86_400))
    assert ask(app).get(b"set-cookie") is None
    cookie = cookie_of(ask(wrapped(count, sessions(KEYS))))
    assert ask(app, fields=[cookie]).get(b"set-cookie") is None
    later = FixtureServices()
    later.time_ns += DAY_NS // 2 + 10**9
    assert ask(app, fields=[cookie], services=later).get(b"set-cookie") is not None


@pytest.mark.parametrize(
    ("said", "kept"),
    [(None, b"private, no-cache"), (b"no-store", b"no-store"), (b"public", b"public")],
)
def test_who_may_keep_a_response(said, kept):
    """What was answered to a session is its owner's, unless the handler says otherwise."""

    def read(request):
        response = text(str(request.context["session"]))
        return response if said is None else response.with_field(b"cache-control", said)

    cookie = cookie_of(ask(wrapped(count, sessions(KEYS))))
    response = ask(wrapped(read, sessions(KEYS)), fields=[cookie])
    assert response.get(b"cache-control") == kept
    assert response.get(b"vary") == b"cookie"


def test_a_cookie_is_for_one_alone():
    """A response that anyone may keep is not one that sets a session, and gets no token."""

    def keep(request):
        return text(count(request)).with_field(b"cache-control", b"public, max-age=60")

    assert ask(wrapped(keep, sessions(KEYS))).get(b"cache-control") == b"private, no-cache"
    anyone = wrapped(lambda: text("").with_field(b"cache-control", b"public"), csrf(KEYS))
    assert ask(anyone).get(b"set-cookie") is None
    page = ask(wrapped(lambda: "", csrf(KEYS)))
    assert page.get(b"cache-control") == b"private, no-cache"


def test_a_session_that_is_emptied():
    """Its cookie is deleted."""
    app = wrapped(lambda request: request.context["session"].clear(), sessions(KEYS))
    cookie = cookie_of(ask(wrapped(count, sessions(KEYS))))
    written = ask(app, fields=[cookie]).get(b"set-cookie")
    assert written.startswith(b"__Host-session=; Path=/; Max-Age=0")


def form():
    """Return an application with a form, and a token with its cookie."""
    app = wrapped(lambda request: request.context["csrf_token"], csrf(KEYS))
    response = ask(app)
    return app, response.body, cookie_of(response)


HOST = (b"host", b"a")
TYPE = (b"content-type", b"application/x-www-form-urlencoded")


def test_csrf_tokens():
    """A request with the token of its cookie passes, in a header or in a form."""
    app, token, cookie = form()
    assert re.fullmatch(rb"[0-9a-f]{64}", token)
    sent = (b"x-csrf-token", token)
    assert ask(app, "POST", fields=[HOST, cookie, sent]).status == 200
    body = b"a=1&csrf_token=" + token
    response = ask(app, "POST", fields=[HOST, cookie, TYPE], body=body)
    assert (response.status, response.body) == (200, token)
    assert ask(app, fields=[cookie]).get(b"set-cookie") is None


def parts(*fields):
    """Return a form with files, as a browser sends it."""
    found = b""
    for name, more, content in fields:
        head = b'--b\r\ncontent-disposition: form-data; name="%b"%b\r\n\r\n' % (name, more)
        found += head + content + b"\r\n"
    return found + b"--b--\r\n"


FILE = (b"f", b'; filename="f.txt"', b"content")
PARTS = (b"content-type", b"multipart/form-data; boundary=b")


def test_csrf_of_a_form_with_files():
    """The token of a page is a part of the form; what follows reads the form again."""
    _, token, cookie = form()

    async def upload(request: Request):
        return [[part.name, len(part.content)] for part in await request.multipart()]

    app = wrapped(upload, csrf(KEYS))
    fields = [HOST, cookie, PARTS]
    own = (b"csrf_token", b"", token)
    found = ask(app, "POST", fields=fields, body=parts(own, FILE))
    assert (found.status, found.body) == (200, b'[["csrf_token",64],["f",7]]')
    assert ask(app, "POST", fields=fields, body=parts(FILE, own)).status == 200
    as_file = (b"csrf_token", b'; filename="x"', token)
    for body in (parts(FILE), parts(as_file), parts((b"csrf_token", b"", b"0" * 64)), parts()):
        assert ask(app, "POST", fields=fields, body=body).status == 403
    assert ask(app, "POST", fields=fields, body=parts(own)[:-4]).status == 400
    small = wrapped(upload, csrf(KEYS, caps=MultipartCaps(total_limit_bytes=100)))
    assert ask(small, "POST", fields=fields, body=parts(own, FILE)).status == 413
    other = [HOST, cookie, (b"content-type", b"text/plain")]
    assert ask(app, "POST", fields=other, body=b"csrf_token=" + token).status == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ((b"origin", b"https://a"), 200),
        ((b"origin", b"http://a"), 403),
        ((b"origin", b"https://b"), 403),
        ((b"origin", b"null"), 403),
        ((b"sec-fetch-site", b"same-origin"), 200),
        ((b"sec-fetch-site", b"none"), 200),
        ((b"sec-fetch-site", b"same-site"), 403),
        ((b"sec-fetch-site", b"cross-site"), 403),
    ],
)
def test_csrf_origins(origin, status):
    """With the right token, a request from another site is still refused."""
    app, token, cookie = form()
    fields = [HOST, cookie, (b"x-csrf-token", token), origin]
    assert ask(app, "POST", fields=fields).status == status


def test_csrf_of_a_form_without_a_referrer():
    """Under no-referrer browsers hide the origin of our own forms, and say that it is ours."""
    app, token, cookie = form()
    fields = [HOST, cookie, (b"x-csrf-token", token), (b"origin", b"null")]
    for site, status in ((b"same-origin", 200), (b"none", 403), (b"cross-site", 403)):
        found = ask(app, "POST", fields=[*fields, (b"sec-fetch-site", site)])
        assert found.status == status


def test_csrf_without_a_token():
    """No cookie, no token, another token, or the token of another cookie: refused."""
    app, token, cookie = form()
    sent = (b"x-csrf-token", token)
    other = (b"x-csrf-token", b"0" * 64)
    forged = (b"cookie", b"__Host-csrf=" + token)
    late = FixtureServices()
    late.time_ns += 2 * DAY_NS
    for fields in (
        [],
        [sent],
        [cookie],
        [cookie, other],
        [forged, sent],
        [cookie, (sent[0], b"\xe4")],
    ):
        assert ask(app, "POST", fields=[HOST, *fields]).status == 403
    assert ask(app, "POST", fields=[HOST, cookie, sent], services=late).status == 403


def test_names_of_cookies():
    """Only a name that nobody else can set."""
    for make in (sessions, csrf):
        with pytest.raises(SettingError):
            make(KEYS, name="session")


async def known(*credentials):
    """Know one user."""
    return "ann" if credentials in {("token",), ("ann", "pä:ss")} else None


def encoded(text):
    """Return basic credentials."""
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("middleware", "field", "status"),
    [
        (bearer, (b"authorization", b"Bearer token"), 200),
        (bearer, (b"authorization", b"bearer  token"), 200),
        (bearer, (b"authorization", b"Bearer other"), 401),
        (bearer, (b"authorization", b"token"), 401),
        (bearer, (b"authorization", b"Bearer tok en"), 401),
        (bearer, (b"x", b""), 401),
        (basic, (b"authorization", encoded("ann:pä:ss")), 200),
        (basic, (b"authorization", encoded("ann:")), 401),
        (basic, (b"authorization", encoded("ann")), 401),
        (basic, (b"authorization", b"Basic !"), 401),
        (basic, (b"authorization", b"Basic YQ"), 401),
        (basic, (b"authorization", b"Basic /w=="), 401),
        (api_key, (b"x-api-key", b"token"), 200),
        (api_key, (b"x-api-key", b""), 401),
        (api_key, (b"x-api-key", b"other"), 401),
    ],
)
def test_credentials(middleware, field, status):
    """Who is known passes, with a name; all others are told how to ask."""
    app = wrapped(lambda request: request.context["user"], middleware(known))
    response = ask(app, fields=[field])
    assert response.status == status
    if status == 401:
        assert response.get(b"www-authenticate").startswith((b"Bearer ", b"Basic ", b"ApiKey "))
    else:
        assert response.body == b"ann"


def test_two_credentials_are_none():
    """Two values could be read differently by a proxy."""
    app = wrapped(empty, bearer(known))
    assert ask(app, fields=[(b"authorization", b"Bearer token")] * 2).status == 401


def test_realms():
    """A realm that would end its quotes is refused."""
    with pytest.raises(SettingError):
        bearer(known, realm='a"b')

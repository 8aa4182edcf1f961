"""Security fields, content security policies, and CORS."""

from __future__ import annotations

import pytest

from cloche.web.app import App
from cloche.web.errors import ForbiddenError, SettingError
from cloche.web.middleware.security import build_policy, cors, security_headers
from cloche.web.response import text

from .support import ask, wrapped

ORIGIN = (b"origin", b"https://a.example")


def test_default_fields():
    """Every response has the careful fields; HSTS over TLS alone."""
    app = wrapped(lambda: "", security_headers())
    secure, plain = ask(app), ask(app, scheme="http")
    assert secure.get(b"x-content-type-options") == b"nosniff"
    assert secure.get(b"x-frame-options") == b"DENY"
    assert secure.get(b"strict-transport-security") == b"max-age=63072000; includeSubDomains"
    assert plain.get(b"strict-transport-security") is None
    assert plain.get(b"referrer-policy") == b"no-referrer"
    assert ask(app, target="/none").get(b"x-frame-options") == b"DENY"


def test_fields_of_the_handler_stay():
    """A handler that knows better is not overruled, and settings change the defaults."""
    app = wrapped(
        lambda: text("").with_field(b"x-frame-options", b"SAMEORIGIN"),
        security_headers(policy=None, hsts=False, changes={"Referrer-Policy": None, "X-New": "1"}),
    )
    response = ask(app)
    assert [value for name, value in response.fields if name == b"x-frame-options"] == [
        b"SAMEORIGIN"
    ]
    assert response.get(b"referrer-policy") is None
    assert response.get(b"x-new") == b"1"
    assert response.get(b"content-security-policy") is None
    assert response.get(b"strict-transport-security") is None


def test_nonces():
    """Each response has another nonce, the one that its handler saw."""
    app = wrapped(lambda request: request.context["csp_nonce"], security_headers())
    services = None
    response = ask(app, services=services)
    policy = response.get(b"content-security-policy")
    assert b"script-src 'self' 'nonce-" + response.body + b"'" in policy
    assert b"{nonce}" not in policy
    assert len(response.body) == 32


@pytest.mark.parametrize(
    "directives",
    [
        {"default-src": ("'self'; script-src *",)},
        {"default-src": ("a b",)},
        {"default-src": ("a,b",)},
        {"default src": ()},
        {"script-src": ("x\r\ny",)},
        {"script-src": ("",)},
    ],
)
def test_policies_that_are_refused(directives):
    """No source can begin another directive."""
    with pytest.raises(SettingError):
        build_policy(directives)


def test_a_policy():
    """Directives in their order."""
    policy = build_policy({"default-src": ("'none'",), "upgrade-insecure-requests": ()})
    assert policy == "default-src 'none'; upgrade-insecure-requests"


def shared(**options):
    """Return an application that other origins may read."""
    return wrapped(lambda: "x", cors(**{"origins": ("https://a.example",)} | options))


def test_cors():
    """An origin of the list reads the response; caches know that it depends on the origin."""
    response = ask(shared(exposed=("X-A",)), fields=[ORIGIN])
    assert response.get(b"access-control-allow-origin") == b"https://a.example"
    assert response.get(b"access-control-expose-headers") == b"X-A"
    assert response.get(b"access-control-allow-credentials") is None
    assert response.get(b"vary") == b"origin"


@pytest.mark.parametrize(
    "origin",
    [b"https://b.example", b"http://a.example", b"https://a.example.evil", b"null", b""],
)
def test_other_origins(origin):
    """Any other origin gets the response without permission, and so does no origin."""
    for fields in ([(b"origin", origin)], []):
        response = ask(shared(credentials=True), fields=fields)
        assert not [name for name, _ in response.fields if name.startswith(b"access-control")]
        assert response.get(b"vary") == b"origin"


def test_everyone():
    """`*` is told as such, and never with credentials."""
    response = ask(shared(origins=("*",)), fields=[ORIGIN])
    assert response.get(b"access-control-allow-origin") == b"*"
    assert response.get(b"vary") is None
    with pytest.raises(SettingError):
        cors(origins=("*",), credentials=True)


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/", "https://A.example", "*."])
def test_origins_that_are_none(origin):
    """An origin has a scheme and a host, and no path."""
    with pytest.raises(SettingError):
        cors(origins=(origin,))


def preflight(app, method=b"PUT", headers=b"", origin=ORIGIN):
    """Return the answer to a preflight."""
    fields = [origin, (b"access-control-request-method", method)]
    if headers:
        fields.append((b"access-control-request-headers", headers))
    return ask(app, "OPTIONS", fields=fields)


def test_preflight():
    """What is allowed is said, with how long it may be remembered."""
    app = shared(methods=("GET", "PUT"), headers=("X-A", "X-B"), credentials=True)
    response = preflight(app, headers=b"x-a, X-B")
    assert response.status == 204
    assert response.fields == (
        (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
        (b"access-control-allow-origin", b"https://a.example"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", b"GET, PUT"),
        (b"access-control-allow-headers", b"x-a, x-b"),
        (b"access-control-max-age", b"600"),
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"method": b"DELETE"},
        {"headers": b"x-c"},
        {"headers": b"x-a, x-c"},
        {"origin": (b"origin", b"https://b.example")},
    ],
)
def test_preflight_that_is_not_granted(asked):
    """Another method, field or origin gets no permission at all."""
    app = shared(methods=("PUT",), headers=("x-a",))
    response = preflight(app, **asked)
    assert response.status == 204
    assert [name for name, _ in response.fields] == [b"vary"]


def test_plain_options():
    """OPTIONS that is no preflight is answered by the application."""
    assert ask(shared(), "OPTIONS", fields=[ORIGIN]).get(b"allow") == b"GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_preflights_of_a_sub_application(method):
    """It may share what the application around it does not, by route and as a whole."""
    own, inner, app = App(), App(), App()
    inner.use(cors(origins=("https://a.example",), methods=("GET", "PUT")))
    inner.add("GET", "/items/:number", numbered)
    inner.add("PUT", "/items/:number", numbered)
    app.mount("/shared", inner)
    app.add("GET", "/own", lambda: "mine")
    asked = [ORIGIN, (b"access-control-request-method", method.encode())]
    response = ask(app, "OPTIONS", target="/shared/items/7", fields=asked)
    assert response.status == 204
    assert response.get(b"access-control-allow-origin") == b"https://a.example"
    assert response.get(b"access-control-allow-methods") == b"GET, PUT"
    assert (
        ask(app, "OPTIONS", target="/own", fields=asked).get(b"access-control-allow-origin") is None
    )
    plain = ask(app, "OPTIONS", target="/shared/items/7")
    assert plain.get(b"allow") == b"GET, HEAD, OPTIONS, PUT"
    own.add("POST", "/", lambda: "x", middleware=(refusing,))
    assert ask(own, "OPTIONS", target="/").status == 403


def numbered(number: int) -> int:
    """Return a number."""
    return number


async def refusing(request, following):
    """Refuse everything."""
    raise ForbiddenError(problem="no")

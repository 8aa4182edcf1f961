"""What follows a redirect."""

from __future__ import annotations

import pytest

from cloche.egress.errors import NetBlockedError, NetError
from cloche.egress.redirects import Hop, next_hop
from cloche.egress.url import parse_url
from cloche.limits import Limits

LIMITS = Limits()
HEADERS = (
    ("Authorization", "Bearer x"),
    ("Cookie", "a=1"),
    ("Content-Type", "text/plain"),
    ("X-Custom", "1"),
)


def hop(url="https://a.example.com/x/y?q", method="GET", **more):
    """Return a request."""
    return Hop(method=method, url=parse_url(url, limit_bytes=8192), **more)


@pytest.mark.parametrize(
    ("status", "method", "after", "keeps_body"),
    [
        (301, "GET", "GET", True),
        (301, "POST", "GET", False),
        (301, "PUT", "PUT", True),
        (301, "DELETE", "DELETE", True),
        (302, "POST", "GET", False),
        (302, "PATCH", "PATCH", True),
        (302, "HEAD", "HEAD", True),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "DELETE", "GET", False),
        (303, "HEAD", "HEAD", True),
        (307, "POST", "POST", True),
        (308, "POST", "POST", True),
        (308, "PUT", "PUT", True),
    ],
)
def test_method_and_body(status, method, after, keeps_body):
    """Method and body follow RFC 9110, and fields of a dropped body go with it."""
    found = next_hop(hop(method=method, headers=HEADERS, body=b"data"), status, "/z", LIMITS)
    assert found.method == after
    assert (found.body == b"data") is keeps_body
    assert ("Content-Type" in dict(found.headers)) is keeps_body


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 306, 309, 400, 500])
def test_other_statuses_are_responses(status):
    """Only the five redirects are followed."""
    assert next_hop(hop(), status, "/z", LIMITS) is None


def test_no_location_is_a_response():
    """A redirect without Location is handed to the guest."""
    assert next_hop(hop(), 302, None, LIMITS) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/z", "https://a.example.com/z"),
        ("z", "https://a.example.com/x/z"),
        ("../z", "https://a.example.com/z"),
        ("?p", "https://a.example.com/x/y?p"),
        ("//b.example.com/z", "https://b.example.com/z"),
        ("https://B.example.com", "https://b.example.com/"),
        ("https://a.example.com:8443/", "https://a.example.com:8443/"),
        ("/caf\xc3\xa9", "https://a.example.com/caf%C3%A9"),
        (" /z ", "https://a.example.com/z"),
        ("/z#part", "https://a.example.com/z"),
        ("", "https://a.example.com/x/y?q"),
    ],
)
def test_targets_are_resolved(location, url):
    """Location is a reference against the URL of the request."""
    assert next_hop(hop(), 302, location, LIMITS).url.text == url


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://a.example.com/", "downgrade"),
        ("ftp://a.example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("data:text/plain,x", "scheme"),
        ("https://u:p@a.example.com/", "userinfo"),
        ("\\\\evil.com/", "url"),
        ("https://a b/", "url"),
        ("https://[::1", "url"),
        ("https://" + "a" * 9000 + ".com/", "url"),
        ("/" + "a" * 9000, "url"),
    ],
)
def test_targets_that_are_refused(location, reason):
    """A target passes the same parser as any URL, and https is never left."""
    with pytest.raises(NetBlockedError) as caught:
        next_hop(hop(), 302, location, LIMITS)
    assert caught.value.reason == reason


def test_a_target_that_is_no_text():
    """Bytes that are no UTF-8 are an error of the server."""
    with pytest.raises(NetError) as caught:
        next_hop(hop(), 302, "/\xff", LIMITS)
    assert caught.value.code == "NET_ERROR"


@pytest.mark.parametrize("limit", [0, 1, 3, 10])
def test_redirects_are_counted_right(limit):
    """A limit of three follows three and refuses the fourth; zero follows none."""
    limits = Limits().replace({"net": {"max_redirects": limit}})
    at = hop()
    for count in range(limit):
        at = next_hop(at, 302, f"/{count}", limits)
        assert at.count == count + 1
    with pytest.raises(NetBlockedError) as caught:
        next_hop(at, 302, "/last", limits)
    assert caught.value.message == (
        f"too many redirects: {limit} were followed, net.max_redirects = {limit}"
    )


def test_http_may_lead_to_https():
    """An upgrade is followed; it is another origin."""
    found = next_hop(
        hop("http://a.example.com/", headers=HEADERS), 301, "https://a.example.com/", LIMITS
    )
    assert found.url.scheme == "https"
    assert not found.trusted
    assert dict(found.headers) == {"Content-Type": "text/plain", "X-Custom": "1"}


@pytest.mark.parametrize(
    ("location", "same"),
    [
        ("/z", True),
        ("https://a.example.com/", True),
        ("https://A.EXAMPLE.COM.:443/", True),
        ("https://b.example.com/", False),
        ("https://a.example.com:8443/", False),
        ("https://example.com/", False),
    ],
)
def test_credentials_never_cross_an_origin(location, same):
    """Authorization and Cookie go only where scheme, host and port are equal."""
    found = next_hop(hop(headers=HEADERS), 307, location, LIMITS)
    assert ("Authorization" in dict(found.headers)) is same
    assert ("Cookie" in dict(found.headers)) is same
    assert dict(found.headers)["X-Custom"] == "1"
    assert found.trusted is same


def test_trust_does_not_come_back():
    """A chain that left the origin and returns is not trusted with a secret again."""
    away = next_hop(hop(headers=HEADERS), 307, "https://b.example.com/", LIMITS)
    back = next_hop(away, 307, "https://a.example.com/", LIMITS)
    assert not back.trusted
    assert "Authorization" not in dict(back.headers)

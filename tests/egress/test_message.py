"""Requests and responses as effects."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.egress.errors import NetBlockedError, NetSizeError
from cloche.egress.message import NetRequest, NetResponse, request_of, target_of
from cloche.egress.url import parse_url
from cloche.limits import Limits

LIMITS = Limits().replace({"net": {"max_req_body": 1024}})
URL = "https://api.example.com/x"


def test_a_whole_request():
    """Every part is read."""
    args = {
        "url": URL,
        "method": "post",
        "headers": {"A": "1"},
        "body": "é",
        "timeout_ms": 1500.9,
        "auth": "KEY",
        "redirect": "manual",
    }
    assert request_of(args, LIMITS) == NetRequest(
        method="POST",
        url=parse_url(URL, limit_bytes=100),
        headers=(("A", "1"),),
        body=b"\xc3\xa9",
        timeout_ms=1500,
        auth="KEY",
        redirect="manual",
    )


def test_defaults():
    """A URL alone is a GET."""
    found = request_of({"url": URL}, LIMITS)
    assert found == NetRequest(method="GET", url=parse_url(URL, limit_bytes=100))
    nothing = dict.fromkeys(("method", "headers", "body", "timeout_ms", "auth", "redirect"))
    assert request_of({"url": URL, **nothing}, LIMITS) == found


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        "https://api.example.com/",
        {},
        {"url": None},
        {"url": 3},
        {"url": URL, "method": 3},
        {"url": URL, "method": "G T"},
        {"url": URL, "method": "GET\r\nX: y"},
        {"url": URL, "method": "CONNECT"},
        {"url": URL, "method": "trace"},
        {"url": URL, "headers": 3},
        {"url": URL, "method": "POST", "body": 3},
        {"url": URL, "method": "POST", "body": {"base64": 3}},
        {"url": URL, "method": "POST", "body": {"base64": "!"}},
        {"url": URL, "method": "POST", "body": {"text": "x"}},
        {"url": URL, "body": "x"},
        {"url": URL, "method": "HEAD", "body": "x"},
        {"url": URL, "timeout_ms": 0},
        {"url": URL, "timeout_ms": -1},
        {"url": URL, "timeout_ms": True},
        {"url": URL, "timeout_ms": "1"},
        {"url": URL, "auth": 3},
        {"url": URL, "redirect": "x"},
        {"url": URL, "redirect": []},
        {"url": URL, "proxy": "http://evil"},
    ],
)
def test_malformed_requests(args):
    """What has another form is refused, not guessed."""
    with pytest.raises(NetBlockedError):
        request_of(args, LIMITS)


def test_a_large_body_is_refused_before_anything_is_sent():
    """One byte more than net.max_req_body is too much, as text and as base64."""
    args = {"url": URL, "method": "POST"}
    assert len(request_of({**args, "body": "x" * 1024}, LIMITS).body) == 1024
    for body in ("x" * 1025, "é" * 513, _base64(b"x" * 1025), _base64(b"x" * 9999)):
        with pytest.raises(NetSizeError, match="request body too large"):
            request_of({**args, "body": body}, LIMITS)


def _base64(data):
    return {"base64": base64.b64encode(data).decode()}


@given(st.binary(max_size=60))
def test_a_body_survives(data):
    """Whatever bytes come, the guest can read exactly these."""
    response = NetResponse(status=200, reason="", headers=(), body=data, url=URL)
    shown = json.loads(json.dumps(response.to_value(limit_bytes=1000)))["body"]
    if isinstance(shown, str):
        assert shown.encode() == data
    else:
        assert base64.b64decode(shown["base64"]) == data
    args = {"url": URL, "method": "PUT", "body": shown}
    assert request_of(args, LIMITS).body == data


def test_a_body_too_large_for_a_value():
    """A body that does not fit into an effect's value is an error, not cut."""
    response = NetResponse(status=200, reason="", headers=(), body=b"x" * 100, url=URL)
    assert response.to_value(limit_bytes=102)["body"] == "x" * 100
    with pytest.raises(NetSizeError, match="too large for a value"):
        response.to_value(limit_bytes=101)


def test_the_target_is_method_and_origin():
    """Rules of the gate see which method goes where, in canonical form."""
    url = parse_url("HTTPS://API.Example.COM:443/a?b", limit_bytes=100)
    assert target_of("GET", url) == "GET https://api.example.com"

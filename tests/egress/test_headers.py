"""Which header fields cross."""

from __future__ import annotations

import pytest

from cloche.egress.errors import NetBlockedError, NetSizeError
from cloche.egress.headers import DROPPED, get_header, request_headers, response_headers, traced
from cloche.limits import Limits

LIMITS = Limits()
SMALL = Limits().replace({"egress": {"header_count_max": 2, "header_limit_bytes": 1024}})


@pytest.mark.parametrize("name", [*DROPPED, "Proxy-Foo", "Sec-Fetch-Mode", "metadata-flavor"])
def test_fields_of_the_connection_are_dropped(name):
    """Whatever the case of its name, what frames or routes a message is left out."""
    for spelling in (name, name.upper(), name.title()):
        assert request_headers({spelling: "x", "X-Kept": "1"}, LIMITS) == (("X-Kept", "1"),)


@pytest.mark.parametrize(
    "name", ["X-aws-ec2-metadata-token", "X-AWS-EC2-Metadata-Token-TTL-Seconds", "Metadata"]
)
def test_fields_for_metadata_services_are_dropped(name):
    """What only a metadata service wants never leaves."""
    assert request_headers({name: "true"}, LIMITS) == ()


def test_cookies_pass_by_policy():
    """Cookie and Set-Cookie pass only where the policy says so."""
    assert request_headers({"Cookie": "a=1"}, LIMITS) == ()
    assert request_headers({"Cookie": "a=1"}, LIMITS, cookies=True) == (("Cookie", "a=1"),)
    pairs = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X", "y")]
    assert response_headers(pairs, LIMITS) == (("x", "y"),)
    assert response_headers(pairs, LIMITS, cookies=True) == (
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x", "y"),
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ()),
        ({}, ()),
        ([], ()),
        ({"A": "1", "B": 2, "C": 1.5}, (("A", "1"), ("B", "2"), ("C", "1.5"))),
        ([["A", "1"], ("a", "2")], (("A", "1"), ("a", "2"))),
        ({"A": ["1", "2"]}, (("A", "1"), ("A", "2"))),
        ({"A": " \tx "}, (("A", "x"),)),
        ({"A": "caf\xe9"}, (("A", "caf\xe9"),)),
        ({"A": ""}, (("A", ""),)),
    ],
)
def test_shapes_of_headers(given, kept):
    """An object, lists of pairs and several values of one name are all taken."""
    assert request_headers(given, LIMITS) == kept


@pytest.mark.parametrize(
    "given",
    [
        {"A": "1\r\nB: 2"},
        {"A": "1\nB: 2"},
        {"A": "1\r"},
        {"A": "a\0b"},
        {"A": "\x7f"},
        {"A": "€"},
        {"A\r\nB": "1"},
        {"A B": "1"},
        {"A:": "1"},
        {"": "1"},
        {"Ä": "1"},
        {"A": None},
        {"A": True},
        {"A": {}},
        {"A": [["x"]]},
        {3: "x"},
        "A: 1",
        3,
        [["A"]],
        [["A", "1", "2"]],
        ["AB"],
        {"Host\r\nX": "1"},
        {"Host": "a\r\nX: 1"},
    ],
)
def test_malformed_headers_are_refused(given):
    """CR, LF, NUL and what is no header are refused, in dropped fields too."""
    with pytest.raises(NetBlockedError) as caught:
        request_headers(given, LIMITS)
    assert caught.value.reason == "header"


def test_a_refusal_does_not_repeat_the_value():
    """A value may be a secret, so the message does not hold it."""
    with pytest.raises(NetBlockedError) as caught:
        request_headers({"Authorization": "hunter2\n"}, LIMITS)
    assert "hunter2" not in str(caught.value.to_document())


def test_the_number_and_the_size_of_headers_are_bounded():
    """One more than the limit is refused, in both directions."""
    assert len(request_headers({"A": "1", "B": "2"}, SMALL)) == 2
    for given in ({"A": "1", "B": "2", "C": "3"}, {"A": "x" * 1020}):
        with pytest.raises(NetSizeError):
            request_headers(given, SMALL)
        with pytest.raises(NetSizeError):
            response_headers(given.items(), SMALL)
    assert response_headers([("A", "x" * 1019)], SMALL)


def test_fields_of_the_connection_are_not_in_a_response():
    """What speaks of the connection, and what Connection names, is left out."""
    pairs = [
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Type", "text/plain"),
    ]
    assert response_headers(pairs, LIMITS) == (("content-type", "text/plain"),)


def test_values_of_one_name_are_joined_for_reading():
    """Several lines of one field read as one list."""
    pairs = (("vary", "a"), ("VARY", "b"), ("x", ""))
    assert get_header(pairs, "vary") == "a, b"
    assert get_header(pairs, "x") == ""
    assert get_header(pairs, "y") is None


KEY = "0123456789abcdef" * 4


def test_fields_that_say_whose_a_call_is():
    """A run is a trace and a call a span; only what may change something has the effect's key."""
    headers = traced((("accept", "*/*"),), "POST", run_id="r1", key=KEY)
    assert headers[0] == ("accept", "*/*")
    added = dict(headers[1:])
    version, trace, span, flags = added["traceparent"].split("-")
    assert (version, len(trace), span, flags) == ("00", 32, KEY[:16], "01")
    assert added["idempotency-key"] == KEY
    assert set(trace + span) <= set("0123456789abcdef")
    other = dict(traced((), "POST", run_id="r2", key=KEY))
    assert other["traceparent"].split("-")[1] != trace
    for method in ("GET", "HEAD", "OPTIONS"):
        assert [name for name, _ in traced((), method, run_id="r1", key=KEY)] == ["traceparent"]


def test_fields_of_the_program_stay():
    """What a program says of its call is not said twice."""
    own = (("TraceParent", "00-a"), ("Idempotency-Key", "mine"))
    assert traced(own, "POST", run_id="r1", key=KEY) == own

"""Requests as input, effects as responses: the words themselves, without a guest."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.apps.errors import AppMethodError, AppRequestError
from cloche.apps.messages import (
    DROPPED,
    Answer,
    AppRequest,
    Collected,
    data_of,
    head_of,
    input_of,
    question_of,
)
from cloche.apps.ports import ClientGoneError
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.web.encodings.messages import decode_request

LIMITS = Limits()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
LINE = st.tuples(
    st.sampled_from([b"a", b"x-b", b"set-cookie", b"host"]),
    st.binary(max_size=8).filter(lambda v: re.fullmatch(rb"[!-~\x80-\xff]*", v) is not None),
)


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
    st.from_regex(r"/[!\"$-~]*", fullmatch=True),
    st.lists(LINE, max_size=5),
    st.binary(max_size=40),
)
def test_the_input_holds_the_request(method, target, lines, body):
    """Nothing of a request is lost on its way into a run."""
    request = AppRequest(method=method, target=target, lines=tuple(lines), body=body)
    found = decode_request(input_of(request))
    assert (found.method.value, found.target.decode()) == (method, target)
    assert (found.headers.lines, found.body) == (tuple(lines), body)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"method": "TRACE"}, AppMethodError),
        ({"method": "get"}, AppMethodError),
        ({"method": "GET\r\n"}, AppMethodError),
        ({"target": "http://a/"}, AppRequestError),
        ({"target": "/ä"}, AppRequestError),
        ({"target": "/a b"}, AppRequestError),
        ({"target": "*"}, AppRequestError),
        ({"lines": ((b"A", b""),)}, AppRequestError),
        ({"lines": ((b"a", b"b\r\nc: d"),)}, AppRequestError),
    ],
)
def test_requests_that_have_no_form(request_, error):
    """They are refused before anything runs."""
    with pytest.raises(error):
        input_of(AppRequest(**{"method": "GET", "target": "/", **request_}))


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "A.example", "http://a.example"),
        ("http", "a.example:80", "http://a.example"),
        ("https", "a.example:443", "https://a.example"),
        ("https", "a.example:80", "https://a.example:80"),
        ("http", "127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("http", "[::1]:8787", "http://[::1]:8787"),
        ("http", "a b", None),
        ("http", "a/b", None),
        ("http", "", None),
        ("http", "u@a", None),
        ("http", "a:b", None),
        ("ftp", "a", None),
    ],
)
def test_the_origin(scheme, host, origin):
    """It is as a URL has it: in lowercase, without the usual port."""
    request = AppRequest(method="GET", target="/", scheme=scheme, host=host)
    if origin is None:
        with pytest.raises(AppRequestError, match="is no host"):
            question_of(request)
    else:
        assert json.loads(question_of(request))["origin"] == origin


class Watched(Collected):
    """Fails the test when calls come in another order than the port allows."""

    def __init__(self, gone_after: int = 10**9) -> None:
        super().__init__()
        self.calls = 0
        self.gone_after = gone_after
        self.is_open = self.is_over = False

    def _call(self, *, starts: bool = False, ends: bool = False) -> None:
        assert not self.is_over
        assert self.is_open != starts
        self.calls += 1
        self.is_open, self.is_over = True, ends
        if self.calls > self.gone_after:
            self.is_over = True
            raise ClientGoneError

    def start(self, status, lines, length_bytes):
        self._call(starts=True)
        assert 200 <= status <= 599
        for name, value in lines:
            assert re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9a-z]+", name)
            assert re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", value)
            assert name not in DROPPED
        super().start(status, lines, length_bytes)

    def write(self, data):
        self._call()
        assert data
        super().write(data)

    def end(self):
        self._call(ends=True)
        super().end()

    def abort(self):
        self._call(ends=True)
        super().abort()


HEAD = st.fixed_dictionaries(
    {"status": st.sampled_from([200, 204, 304, 500, 99, 600, "200", True])},
    optional={
        "headers": st.lists(
            st.lists(st.sampled_from(["a", "x-b", "set-cookie", "b\n", "", "ä", 1, "te", "c: d"]),
                     min_size=1, max_size=3), max_size=2) | JSON,
        "body": st.sampled_from(["", "text", {"b64": "YQ=="}, {"b64": "?"}, 1, None]),
    },
)  # fmt: skip
STEP = st.one_of(
    st.tuples(st.just("respond"), HEAD | JSON),
    st.tuples(st.just("start"), HEAD | JSON),
    st.tuples(st.just("write"), st.builds(dict, data=st.sampled_from(["", "a", 1])) | JSON),
    st.tuples(st.just("end"), st.none()),
)  # fmt: skip


@given(st.lists(STEP, max_size=8), st.integers(0, 6), st.booleans())
def test_whatever_an_app_says_the_reply_is_one_response(steps, gone_after, is_head):
    """In any order of any effects: one start at most, checked lines, one end, nothing behind it."""
    reply = Watched(gone_after)
    answer = Answer(reply, LIMITS, is_head=is_head)
    for name, args in steps:
        try:
            getattr(answer, name)(*(() if name == "end" else (args,)))
        except EffectFailure as failure:
            assert failure.error.code in ("BAD_RESPONSE", "ALREADY_ANSWERED", "CLIENT_GONE")  # noqa: PT017
    answer.fail(500, ((b"content-type", b"text/plain"),), b"failed")
    assert reply.is_over
    assert answer.is_ended or answer.client_gone
    if is_head or reply.status in (204, 304):
        assert reply.body == b""


@given(JSON)
def test_a_head_is_one_or_refused(args):
    """Arguments of any shape give nothing else."""
    try:
        head_of(args, LIMITS)
    except EffectFailure as failure:
        assert failure.error.code == "BAD_RESPONSE"  # noqa: PT017


def test_limits_of_a_head():
    """As many lines and as many bytes as the limits say are taken, one more is not."""
    limits = LIMITS.replace(
        {"apps": {"response_header_count_max": 3, "response_header_limit_bytes": 1024}}
    )
    three = [["a", "b"]] * 3
    assert len(head_of({"status": 200, "headers": three}, limits).lines) == 3
    with pytest.raises(EffectFailure, match="more than 3 header lines"):
        head_of({"status": 200, "headers": [*three, ["a", "b"]]}, limits)
    fitting = "v" * (1024 - len("a") - 4)
    head_of({"status": 200, "headers": [["a", fitting]]}, limits)
    with pytest.raises(EffectFailure, match="more than 1024 bytes"):
        head_of({"status": 200, "headers": [["a", fitting + "v"]]}, limits)


def test_the_length_is_said_where_it_is_known():
    """A whole body has one, a stream has none; of a status without body it is 0 for either."""
    told = []

    class Reply(Collected):
        def start(self, status, lines, length_bytes):
            told.append(length_bytes)

    for args in ({"status": 200, "body": "äb"}, {"status": 200}, {"status": 204, "body": "x"}):
        Answer(Reply(), LIMITS).respond(args)
    for status in (200, 204, 205, 304):
        Answer(Reply(), LIMITS).start({"status": status})
    assert told == [3, 0, 0, None, 0, 0, 0]


def test_a_client_that_left_gets_nothing_more():
    """The app is told each time, and the sink is left alone."""
    reply = Watched(gone_after=1)
    answer = Answer(reply, LIMITS)
    answer.start({"status": 200})
    for _ in range(2):
        with pytest.raises(EffectFailure) as caught:
            answer.write({"data": "x"})
        assert caught.value.error.code == "CLIENT_GONE"
    answer.fail(500, (), b"")
    assert reply.calls == 2
    assert answer.client_gone


def test_bytes_of_a_body():
    """Texts are UTF-8; bytes come as base64."""
    assert data_of("ä") == b"\xc3\xa4"
    assert data_of({"b64": "AP8="}) == b"\x00\xff"
    for wrong in (None, 1, {}, {"b64": 1}, {"b64": "A"}, {"b64": "AP8=\n"}, ["a"]):
        with pytest.raises(EffectFailure):
            data_of(wrong)

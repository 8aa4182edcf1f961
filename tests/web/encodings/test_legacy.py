"""Blobs with older magics become those that the documents describe."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.encodings.cassette import WebCassette, decode_cassette, encode_cassette
from cloche.web.encodings.errors import DecodeError
from cloche.web.encodings.headers import NO_HEADERS
from cloche.web.encodings.legacy import MAGICS, modernize
from cloche.web.encodings.messages import HttpRequest, HttpResponse, Method

from .formats import REQUESTS, RESPONSES

PAIRS = st.builds(WebCassette, request=REQUESTS, response=RESPONSES)


def aged(blob):
    """Return a blob with older magics."""
    for old, new in MAGICS.items():
        blob = blob.replace(new, old)
    return blob


@settings(deadline=None)
@given(PAIRS)
def test_what_is_ours_stays(pair):
    """A blob in the form of its document is not changed."""
    blob = encode_cassette(pair)
    assert modernize(blob) == blob


def test_the_older_form_of_the_hello_cassette():
    """Old magics at every depth, and the empty table of twelve bytes."""
    request = HttpRequest(method=Method.GET, target=b"/hello")
    response = HttpResponse(status=200, body=b"hello\n")
    new = encode_cassette(WebCassette(request=request, response=response))
    table = b"EVHT\x01\x00\x00\x00\x00\x00\x00\x00"
    asked = b"EVRQ\x01\x01\x00\x00\x06\x00\x00\x00/hello\x0c\x00\x00\x00" + table + b"\x00" * 4
    answered = (
        b"EVRS\x01\x01\x00\x00\xc8\x00\x00\x00\x0c\x00\x00\x00" + table + b"\x06\x00\x00\x00hello\n"
    )
    old = b"EVWC\x01\x00\x00\x00" + b"".join(
        len(part).to_bytes(4, "little") + part for part in (asked, answered)
    )
    assert len(old) == 92
    assert modernize(old) == new
    assert decode_cassette(modernize(old)).request.headers == NO_HEADERS
    with pytest.raises(DecodeError):
        decode_cassette(old)


def test_failures_and_single_blobs():
    """A failure has no table inside; other magics are exchanged alone."""
    failure = b"EVRS\x01\x00\x00\x00\x07\x00\x00\x00\x02\x00\x00\x00no"
    assert modernize(failure) == b"X7RS" + failure[4:]
    assert modernize(b"EVTL\x01") == b"X7TL\x01"
    assert modernize(b"") == b""
    assert aged(b"X7SL") == b"EVSL"


@settings(deadline=None)
@given(PAIRS, st.binary(max_size=4), st.integers(0, 60))
def test_noise(pair, noise, at):
    """It is refused with a typed error, here or by the strict decoder."""
    blob = bytearray(aged(encode_cassette(pair)))
    blob[at : at + 2] = noise
    try:
        decode_cassette(modernize(bytes(blob)))
    except DecodeError as refused:
        assert refused.fields["encoding"]  # noqa: PT017 - the law is that it is typed

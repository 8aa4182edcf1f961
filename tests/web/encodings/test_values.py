"""Rules of single values: what cannot be built, and what does not leak."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from cloche.web.encodings import data_model as dm
from cloche.web.encodings.errors import DecodeError, EncodeError
from cloche.web.encodings.messages import (
    HttpFailure,
    HttpRequest,
    HttpResponse,
    Method,
    WebRequestDocument,
    encode_document,
    encode_request,
)
from cloche.web.encodings.settings import (
    Http1ParserCaps,
    Http1ServerCaps,
    TlsServerConfig,
    decode_tls_config,
)
from cloche.web.encodings.slices import SliceList

from .formats import DATA


@pytest.mark.parametrize(
    "make",
    [
        lambda: HttpRequest(method=Method.GET, target=b""),
        lambda: HttpRequest(method=Method.GET, target=b"*"),
        lambda: HttpRequest(method=Method.GET, target=b"http://a/"),
        lambda: HttpRequest(method=Method.GET, target=b"/a b"),
        lambda: HttpRequest(method=Method.GET, target=b"/a#b"),
        lambda: WebRequestDocument(method=Method.GET, target=b"/\xff"),
        lambda: HttpResponse(status=99),
        lambda: HttpResponse(status=600),
        lambda: HttpFailure(number=0),
        lambda: HttpFailure(number=1 << 32),
        lambda: HttpFailure(number=1, message="\ud800"),
        lambda: TlsServerConfig(certificates=b"", key=b"k"),
        lambda: Http1ParserCaps(header_count_max=65_536),
        lambda: Http1ParserCaps(header_limit_bytes=True),
        lambda: SliceList(((2, 0), (1, 0))),
        lambda: SliceList(((-1, 0),)),
        lambda: dm.Number("01"),
        lambda: dm.Number("1\n"),
        lambda: dm.Failure(number=-1),
    ],
)
def test_what_cannot_be_built(make):
    """A value outside of its range does not exist, so it can never be written."""
    with pytest.raises(EncodeError):
        make()


def test_method_numbers():
    """PATCH, HEAD and OPTIONS have other numbers in EWHR than in X7RQ."""
    requests = [HttpRequest(method=method, target=b"/") for method in Method]
    numbers = {r.method.name: encode_request(r)[5] for r in requests}
    assert numbers == {
        "GET": 1,
        "POST": 2,
        "PUT": 3,
        "DELETE": 4,
        "PATCH": 5,
        "HEAD": 6,
        "OPTIONS": 7,
    }
    documents = [WebRequestDocument(method=method, target=b"/") for method in Method]
    others = {d.method.name: encode_document(d)[6] for d in documents}
    assert others == numbers | {"HEAD": 5, "OPTIONS": 6, "PATCH": 7}


def test_the_key_is_never_shown():
    """Neither the value nor an error says a word of the private key."""
    config = TlsServerConfig(certificates=b"CERT", key=b"very-secret")
    assert "very-secret" not in repr(config)
    with pytest.raises(DecodeError) as caught:
        decode_tls_config(b"X7TL\x01\0\0\0\x01\0\0\0C\x20\0\0\0very-secret")
    assert "very-secret" not in str(caught.value.to_document())


def test_parser_caps_follow_from_server_caps():
    """The parser gets the server's sizes and 64 field lines."""
    caps = Http1ServerCaps(
        header_limit_bytes=1, body_limit_bytes=2, read_timeout_ms=3, write_timeout_ms=4
    )
    expected = Http1ParserCaps(header_limit_bytes=1, header_count_max=64, body_limit_bytes=2)
    assert caps.parser_caps() == expected


@settings(deadline=None)
@given(DATA)
def test_json_and_back(value):
    """A value survives its JSON text, and the text is canonical."""
    text = dm.to_json(value)
    assert dm.from_json(text) == value
    assert dm.to_json(dm.from_json(text)) == text


def test_json_is_canonical():
    """Keys are sorted, white space goes, numbers keep their text."""
    assert dm.to_json(dm.from_json(' {"b": 1.0, "a": ["ö", null, true]} ')) == (
        '{"a":["ö",null,true],"b":1.0}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1,]",
        "NaN",
        "-Infinity",
        '{"a":1,"a":2}',
        '"\\ud800"',
        '{"\\ud800":1}',
        "[" * 65 + "]" * 65,
        "[" * 100_000,
        '["[", {"a": 01}]',
    ],
)
def test_json_that_is_refused(text):
    """What is no JSON, ambiguous or too deep is an error, never half a value."""
    with pytest.raises(DecodeError):
        dm.from_json(text)


def test_nesting_ends_at_64():
    """Sixty-four levels pass both ways, sixty-five do not."""
    value = ()
    for _ in range(63):
        value = (value,)
    assert dm.decode_value(dm.encode_value(value)) == value
    assert dm.from_json("[" * 64 + "]" * 64) == value
    with pytest.raises(EncodeError):
        dm.encode_value((value,))


@pytest.mark.parametrize("value", [1, 1.0, b"", [], {1: None}, object()])
def test_what_is_no_value(value):
    """Python numbers, lists and bytes are no values: nothing is converted silently."""
    with pytest.raises(EncodeError):
        dm.encode_value(value)

"""All formats in one table, for tests that hold for each of them: page, values, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from cloche.web.encodings import cassette, headers, messages, settings, slices
from cloche.web.encodings import data_model as dm

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.text("abcxyz-_!09", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=12).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or (byte >= 32 and byte != 127)).strip(
        b" \t"
    )
)
TABLES = st.lists(
    st.tuples(st.sampled_from([b"set-cookie", b"accept", b"a"]) | NAMES, VALUES), max_size=8
).map(lambda lines: headers.HeaderTable(tuple(lines)))
TARGETS = st.text("/abc?=&%20:", max_size=12).map(lambda text: b"/" + text.encode())
BODIES = st.binary(max_size=40)
METHODS = st.sampled_from(messages.Method)
U32 = st.integers(0, 2**32 - 1)
POSITIVE = st.integers(1, 2**32 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)

REQUESTS = st.builds(
    messages.HttpRequest, method=METHODS, target=TARGETS, headers=TABLES, body=BODIES
) | st.just(messages.HttpRequest(method=messages.Method.OPTIONS, target=b"*"))
RESPONSES = st.builds(
    messages.HttpResponse, status=st.integers(100, 599), headers=TABLES, body=BODIES
) | st.builds(messages.HttpFailure, number=POSITIVE, message=TEXTS)

NUMBERS = st.integers().map(lambda number: dm.Number(str(number))) | st.sampled_from(
    ["-0", "1.50", "1e400", "0.1E-7"]
).map(dm.Number)
DATA = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One format."""

    name: str
    page: str
    values: st.SearchStrategy
    encode: Callable
    decode: Callable


CASES = [
    Case(
        name="X7HT",
        page="headers-table-v1",
        values=TABLES,
        encode=headers.encode_headers,
        decode=headers.decode_headers,
    ),
    Case(
        name="X7SL",
        page="slice-list-v1",
        values=st.lists(st.tuples(U32, U32), max_size=6).map(
            lambda pairs: slices.SliceList(tuple(sorted(pairs)))
        ),
        encode=slices.encode_slices,
        decode=slices.decode_slices,
    ),
    Case(
        name="X7RQ",
        page="http-req-v1",
        values=REQUESTS,
        encode=messages.encode_request,
        decode=messages.decode_request,
    ),
    Case(
        name="X7RS",
        page="http-resp-v1",
        values=RESPONSES,
        encode=messages.encode_response,
        decode=messages.decode_response,
    ),
    Case(
        name="X7WC",
        page="web-cassette-v1",
        values=st.builds(cassette.WebCassette, request=REQUESTS, response=RESPONSES),
        encode=cassette.encode_cassette,
        decode=cassette.decode_cassette,
    ),
    Case(
        name="EWHR",
        page="web-req-doc-v1",
        values=st.builds(
            messages.WebRequestDocument,
            method=METHODS,
            target=TARGETS | st.just(b"http://a/b"),
            headers=TABLES,
            body=BODIES,
        ),
        encode=messages.encode_document,
        decode=messages.decode_document,
    ),
    Case(
        name="EWHC",
        page="http1-caps-v1",
        values=st.builds(
            settings.Http1ParserCaps,
            header_limit_bytes=POSITIVE,
            header_count_max=st.integers(0, 65_535),
            body_limit_bytes=U32,
        ),
        encode=settings.encode_parser_caps,
        decode=settings.decode_parser_caps,
    ),
    Case(
        name="X7HC",
        page="http1-server-caps-v1",
        values=st.builds(
            settings.Http1ServerCaps,
            header_limit_bytes=POSITIVE,
            body_limit_bytes=U32,
            read_timeout_ms=POSITIVE,
            write_timeout_ms=POSITIVE,
        ),
        encode=settings.encode_server_caps,
        decode=settings.decode_server_caps,
    ),
    Case(
        name="X7TL",
        page="tls-server-config-v1",
        values=st.builds(
            settings.TlsServerConfig,
            certificates=st.binary(min_size=1, max_size=40),
            key=st.binary(min_size=1, max_size=40),
        ),
        encode=settings.encode_tls_config,
        decode=settings.decode_tls_config,
    ),
    Case(
        name="DataModel value",
        page="data-model-v1",
        values=DATA,
        encode=dm.encode_value,
        decode=dm.decode_value,
    ),
    Case(
        name="DataModel document",
        page="data-model-v1",
        values=st.builds(dm.Success, value=DATA) | st.builds(dm.Failure, number=U32, message=TEXTS),
        encode=dm.encode_document,
        decode=dm.decode_document,
    ),
]
IDS = [case.name for case in CASES]


def describe(value):
    """Return a value as the JSON that the pages show."""
    if isinstance(value, headers.HeaderTable):
        value = value.lines
    elif isinstance(value, slices.SliceList):
        value = value.slices
    if isinstance(value, bytes):
        shown = value.decode("latin-1")
    elif isinstance(value, tuple):
        shown = [describe(item) for item in value]
    elif isinstance(value, dict):
        shown = {key: describe(item) for key, item in value.items()}
    elif hasattr(value, "__dataclass_fields__"):
        shown = {name: describe(getattr(value, name)) for name in value.__dataclass_fields__}
    else:
        shown = value.value if isinstance(value, messages.Method) else value
    return shown

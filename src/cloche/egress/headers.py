"""Which header fields cross in each direction.

Owns the table of names and the checks of names and values.
Invariants:
- no name or value that leaves holds CR, LF or NUL, so that a request cannot be split;
- what frames a message or speaks of its connection is set by the connector alone;
- a response has no field that belongs to one connection.

It does not add secrets: see `secrets`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloche.egress.errors import NetBlockedError, NetSizeError

if TYPE_CHECKING:
    from cloche.limits import Limits

Headers: TypeAlias = tuple[tuple[str, str], ...]

# name -> why the connector and not the guest decides about it. A guest may send these to no
# effect: libraries set them by habit, and refusing would break programs that mean no harm.
DROPPED: Final[Mapping[str, str]] = {
    "host": "named by the URL that was checked: RFC 9110 7.2",
    "content-length": "counted from the body: RFC 9112 6.2",
    "transfer-encoding": "frames the message: RFC 9112 6.1",
    "accept-encoding": "identity, so that size limits count real bytes: RFC 9110 12.5.3",
    "connection": "of one connection: RFC 9110 7.6.1",
    "keep-alive": "of one connection: RFC 9110 7.6.1",
    "proxy-connection": "of one connection: RFC 9112 C.2.2",
    "te": "of one connection: RFC 9110 10.1.4",
    "trailer": "of one connection: RFC 9110 6.6.2",
    "upgrade": "of one connection: RFC 9110 7.8",
    "http2-settings": "of one connection: RFC 7540 3.2.1",
    "expect": "asks for a response that is no response: RFC 9110 10.1.1",
    "proxy-authorization": "for a proxy, and there is none: RFC 9110 11.7.2",
    "proxy-authenticate": "from a proxy, and there is none: RFC 9110 11.7.1",
    "via": "written by intermediaries: RFC 9110 7.6.3",
    "forwarded": "written by intermediaries: RFC 7239",
    "x-forwarded-for": "written by intermediaries: RFC 7239",
    "x-forwarded-host": "written by intermediaries: RFC 7239",
    "x-forwarded-port": "written by intermediaries: RFC 7239",
    "x-forwarded-proto": "written by intermediaries: RFC 7239",
    "x-real-ip": "written by intermediaries: RFC 7239",
    "x-http-method-override": "another method than the one that was checked",
    "x-http-method": "another method than the one that was checked",
    "x-method-override": "another method than the one that was checked",
    "x-original-url": "another path than the one that was checked",
    "x-rewrite-url": "another path than the one that was checked",
    "referer": "would carry a URL's query to others: RFC 9110 10.1.3",
}
DROPPED_PREFIXES: Final = ("proxy-", "sec-", "x-aws-ec2-metadata-")

# Fields of a response that speak of its connection: RFC 9110 7.6.1.
_OF_CONNECTION: Final = frozenset(
    "connection keep-alive proxy-connection te trailer transfer-encoding upgrade "
    "proxy-authenticate proxy-authentication-info alt-svc".split()
)

# What passes only where the policy says cookies.
SET_COOKIES: Final = frozenset({"set-cookie", "set-cookie2"})
_COOKIES: Final = frozenset({"cookie", "cookie2", *SET_COOKIES})

# They change nothing, so that it is no matter how often they are sent: RFC 9110 9.2.1.
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

CREDENTIALS: Final = frozenset({"authorization", "cookie", "cookie2"})

# Metadata services of Google Cloud and Azure want these, and nothing that may be called does.
_METADATA: Final = frozenset({"metadata-flavor", "x-google-metadata-request", "metadata"})

# Programs use few names; one that is longer than names are is not kept.
_NAME_CACHE_COUNT: Final = 512

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Visible characters, spaces and tabs; above ASCII only what Latin-1 can say: RFC 9110 5.5.
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def request_headers(given: Any, limits: Limits, *, cookies: bool = False) -> Headers:
    """Return the fields of a request that a guest may set, in the order given.

    Args:
        given: a mapping of names to values, or a list of pairs; nothing is trusted.
        limits: `egress.header_count_max` and `egress.header_limit_bytes` bound them.
        cookies: whether Cookie passes.

    Raises:
        NetBlockedError: a name or value is malformed.
        NetSizeError: too many, or too large.
    """
    # A mapping of names to single values is what nearly all requests have.
    simple = type(given) is dict and not any(type(v) in (list, tuple) for v in given.values())
    pairs = list(given.items() if simple else _pairs(given))
    if len(pairs) > limits.egress.header_count_max:
        raise NetSizeError(
            f"the request has {len(pairs)} headers; egress.header_count_max allows "
            f"{limits.egress.header_count_max}",
            reason="headers",
        )
    size = 0
    kept: list[tuple[str, str]] = []
    for name, value in pairs:
        checked = check_header(name, value)
        size += len(checked[0]) + len(checked[1]) + 4
        if not _is_dropped(checked[0], cookies):
            kept.append(checked)
    if size > limits.egress.header_limit_bytes:
        raise NetSizeError(
            f"the headers of the request have {size} bytes; egress.header_limit_bytes allows "
            f"{limits.egress.header_limit_bytes}",
            reason="headers",
        )
    return tuple(kept)


def traced(headers: Headers, method: str, *, run_id: str, key: str) -> Headers:
    """Return the fields of a call with those that say whose it is; what is there already stays.

    All calls of a run have one trace, each a span of its own: W3C Trace Context, level 1. Both are
    digests, so that they are the same when the run is executed again and tell nothing of it.

    Args:
        headers: of the call.
        method: in upper case.
        run_id: whose call it is.
        key: the idempotency key of the effect, hexadecimal.
    """
    names = {name.lower() for name, _ in headers}
    added = []
    if "traceparent" not in names:
        trace_id = hashlib.sha256(b"cloche trace 1" + run_id.encode()).hexdigest()[:32]
        added.append(("traceparent", f"00-{trace_id}-{key[:16]}-01"))
    if method not in _SAFE_METHODS and "idempotency-key" not in names:
        added.append(("idempotency-key", key))
    return (*headers, *added)


def is_dropped(name: str, *, cookies: bool) -> bool:
    """Return whether a request's field, by its name in lower case, is left out."""
    return (
        name in DROPPED
        or name.startswith(DROPPED_PREFIXES)
        or name in _METADATA
        or (not cookies and name in _COOKIES)
    )


@functools.lru_cache(maxsize=_NAME_CACHE_COUNT)
def _is_dropped(name: str, cookies: bool) -> bool:
    return is_dropped(name.lower(), cookies=cookies)


def check_header(name: object, value: object) -> tuple[str, str]:
    """Return a field as it may be sent, without space around its value.

    Raises:
        NetBlockedError: CR, LF, NUL, another character that is not allowed, or no text.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refused("a header's value is a text")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refused("a header's name is a token of RFC 9110: letters, digits, hyphens")
    text = str(value).strip(" \t")
    # The short way for what nearly all values are: visible ASCII.
    if not (text.isascii() and text.isprintable()) and not _VALUE.fullmatch(text):
        raise _refused(
            f"the value of {name[:64]} holds CR, LF, NUL or a character that headers cannot carry"
        )
    return name, text


def response_headers(
    pairs: Iterable[tuple[str, str]], limits: Limits, *, cookies: bool = False
) -> Headers:
    """Return the fields of a response that a guest may see: lower-case names, each value kept.

    Raises:
        NetSizeError: too many, or too large.
    """
    kept: list[tuple[str, str]] = []
    size = count = 0
    named: set[str] = set()
    for name, value in pairs:
        count += 1
        size += len(name) + len(value) + 4
        lower = name.lower()
        if lower == "connection":
            named.update(part.strip().lower() for part in value.split(","))
        kept.append((lower, value))
    if count > limits.egress.header_count_max or size > limits.egress.header_limit_bytes:
        raise NetSizeError(
            f"the response has {count} headers with {size} bytes; egress.header_count_max allows "
            f"{limits.egress.header_count_max}, egress.header_limit_bytes "
            f"{limits.egress.header_limit_bytes}",
            reason="headers",
        )
    return tuple(
        pair
        for pair in kept
        if pair[0] not in _OF_CONNECTION
        and pair[0] not in named
        and (cookies or pair[0] not in _COOKIES)
    )


def get_header(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the values of a field joined as RFC 9110 5.3 says, None where it is missing."""
    values = [value for key, value in headers if key.lower() == name]
    return ", ".join(values) if values else None


def _pairs(given: Any) -> Iterable[tuple[Any, Any]]:
    if given is None:
        return
    items = given.items() if isinstance(given, Mapping) else given
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        raise _refused("headers are an object of names and values, or a list of pairs")
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2:  # noqa: PLR2004 - name and value
            raise _refused("headers are an object of names and values, or a list of pairs")
        name, value = item
        if isinstance(value, list | tuple):
            for each in value:
                yield name, each
        else:
            yield name, value


def _refused(problem: str) -> NetBlockedError:
    return NetBlockedError(f"this request is refused: {problem}", reason="header")

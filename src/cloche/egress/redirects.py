"""What follows a redirect.

Owns the next request of a call: method, URL, headers and body after each 3xx response.
Invariants:
- `net.max_redirects` = 3 follows three redirects and refuses the fourth;
- a new hop is a new request: whoever calls this checks its URL by every rule again;
- credentials and what a secret injected never cross an origin, and never come back;
- https is never left for http.

| rule | source |
|---|---|
| 301, 302: a POST becomes a GET | RFC 9110 15.4.2, 15.4.3 |
| 303: everything but HEAD becomes a GET | RFC 9110 15.4.4 |
| 307, 308: method and body stay | RFC 9110 15.4.8, 15.4.9 |
| a body that is left out takes its fields along | RFC 9110 15.4, Fetch 4.4 |
| Location is resolved against the URL of the request | RFC 9110 10.2.2 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import msgspec

from cloche.egress.errors import NetBlockedError, NetError
from cloche.egress.headers import CREDENTIALS, Headers
from cloche.egress.url import Url, parse_url

if TYPE_CHECKING:
    from cloche.limits import Limits

STATUSES: Final = frozenset({301, 302, 303, 307, 308})

# Fields that describe a body: Fetch 4.4, request-body-header name.
_OF_BODY: Final = frozenset(
    "content-encoding content-language content-location content-type content-md5 digest".split()
)


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a call. `count` is how many redirects led to it.

    `trusted` says whether every hop so far had the origin of the first: only then may a secret
    be injected.
    """

    method: str
    url: Url
    headers: Headers = ()
    body: bytes = b""
    count: int = 0
    trusted: bool = True


def next_hop(hop: Hop, status: int, location: str | None, limits: Limits) -> Hop | None:
    """Return the request that a response asks for, None where it asks for none.

    Raises:
        NetBlockedError: too many redirects, https to http, or a URL that is refused.
        NetError: a redirect without a target that can be read.
    """
    if status not in STATUSES or location is None:
        return None
    limit = limits.net.max_redirects
    if hop.count >= limit:
        raise NetBlockedError(
            f"too many redirects: {hop.count} were followed, net.max_redirects = {limit}",
            reason="redirects",
        )
    url = _resolve(hop.url, location, limits)
    if hop.url.scheme == "https" and url.scheme == "http":
        raise NetBlockedError(
            f"redirect from https to http ({url.host}) is refused", reason="downgrade"
        )
    same_origin = url.origin == hop.url.origin
    method, body, dropped = hop.method, hop.body, frozenset[str]()
    if (status in (301, 302) and method == "POST") or (status == 303 and method != "HEAD"):  # noqa: PLR2004 - named in the table above
        method, body, dropped = "GET", b"", _OF_BODY
    if not same_origin:
        dropped |= CREDENTIALS
    return Hop(
        method=method,
        url=url,
        headers=tuple(pair for pair in hop.headers if pair[0].lower() not in dropped),
        body=body,
        count=hop.count + 1,
        trusted=hop.trusted and same_origin,
    )


def _resolve(base: Url, location: str, limits: Limits) -> Url:
    # Servers send bytes above ASCII; they arrive as Latin-1 and mean UTF-8.
    try:
        location = location.encode("latin-1").decode()
    except UnicodeError:
        raise NetError("a redirect names a target that is no URL", reason="redirect") from None
    reference = location.strip(" \t")
    try:
        joined = urljoin(base.text, reference)
    except ValueError:
        raise NetBlockedError("a redirect names a target that is no URL", reason="url") from None
    # `urljoin` only joins: what it made is parsed by the one parser, as any URL.
    return parse_url(joined, limit_bytes=limits.egress.url_limit_bytes)

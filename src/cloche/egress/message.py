"""What goes into an outbound call and what comes out of it.

Owns `NetRequest`, `NetResponse` and their forms as arguments and value of an `http.fetch` effect.
Invariants:
- nothing that a guest says is trusted to have a type;
- the value of an effect holds no secret: it is what the guest sees and the journal keeps.

| part of the args | form |
|---|---|
| `url` | text |
| `method` | text, GET if missing |
| `headers` | object of names and values, or list of pairs |
| `body` | missing, a text, or `{"base64": text}` |
| `timeout_ms` | number above 0 |
| `auth` | name of a secret |
| `redirect` | `follow`, `manual` or `error` |
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.egress.allowlist import canonical_method
from cloche.egress.errors import NetBlockedError, NetPolicyError, NetSizeError
from cloche.egress.headers import Headers, request_headers
from cloche.egress.url import Url, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Limits

KIND: Final = "http.fetch"
REDIRECTS: Final = ("follow", "manual", "error")
RedirectMode = Literal["follow", "manual", "error"]

_NAMES: Final = frozenset({"url", "method", "headers", "body", "timeout_ms", "auth", "redirect"})
_TIMEOUT_MAX_MS: Final = 86_400_000


class NetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call that a guest asks for. `timeout_ms` is None for the limit, `auth` for no secret."""

    method: str
    url: Url
    headers: Headers = ()
    body: bytes = b""
    timeout_ms: int | None = None
    auth: str | None = None
    redirect: RedirectMode = "follow"


class NetResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response that ended a call. `url` is that of the last request."""

    status: int
    reason: str
    headers: Headers
    body: bytes
    url: str
    redirected: bool = False
    cached: bool = False

    def to_value(self, *, limit_bytes: int) -> dict[str, Any]:
        """Return the response as the value of an effect.

        Raises:
            NetSizeError: as JSON the body is larger than a value may be.
        """
        return {
            "status": self.status,
            "reason": self.reason,
            "url": self.url,
            "redirected": self.redirected,
            "headers": [list(pair) for pair in self.headers],
            "body": _shown_body(self.body, limit_bytes),
        }


def target_of(method: str, url: Url) -> str:
    """Return what the gate calls an effect: method and origin, for rules that ask or deny."""
    return f"{method} {url.origin}"


def request_of(args: Any, limits: Limits, *, cookies: bool = False) -> NetRequest:
    """Return the request that the arguments of an effect stand for.

    Args:
        args: as the guest gave them.
        limits: bound URL, headers and body.
        cookies: whether Cookie passes.

    Raises:
        NetBlockedError: something has another form. NetSizeError: something is too large.
    """
    if not isinstance(args, dict):
        raise _refused("its arguments are an object")
    if not args.keys() <= _NAMES:
        unknown = sorted(map(str, set(args) - _NAMES))
        raise _refused(f"its arguments have unknown names: {', '.join(unknown)[:80]}")
    try:
        method = canonical_method(args.get("method") or "GET")
    except NetPolicyError as error:
        raise _refused(f"its method {error.fields['problem']}") from None
    body = _body(args.get("body"), limits.net.max_req_body)
    if body and method in ("GET", "HEAD"):
        raise _refused(f"a {method} has no body")
    return NetRequest(
        method=method,
        url=parse_url(args.get("url"), limit_bytes=limits.egress.url_limit_bytes),
        headers=request_headers(args.get("headers"), limits, cookies=cookies),
        body=body,
        timeout_ms=_timeout_ms(args),
        auth=_text(args, "auth"),
        redirect=_redirect(args),
    )


def _body(given: object, limit_bytes: int) -> bytes:
    if given is None:
        return b""
    if isinstance(given, str):
        data = given.encode("utf-8", "replace")
    else:
        data = _from_base64(given, limit_bytes)
    if len(data) > limit_bytes:
        raise NetSizeError(
            f"request body too large: {len(data)} bytes; net.max_req_body allows {limit_bytes}",
            reason="request",
        )
    return data


def _from_base64(given: object, limit_bytes: int) -> bytes:
    text = given.get("base64") if isinstance(given, dict) and len(given) == 1 else None
    if not isinstance(text, str):
        raise _refused('its body is a text or {"base64": text}')
    if len(text) > limit_bytes * 2:
        raise NetSizeError(
            f"request body too large; net.max_req_body allows {limit_bytes} bytes",
            reason="request",
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused("its body is not base64") from None


def _timeout_ms(args: Mapping[str, Any]) -> int | None:
    value = args.get("timeout_ms")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _refused("its timeout_ms is a number above 0")
    return max(1, int(min(value, _TIMEOUT_MAX_MS)))


def _text(args: Mapping[str, Any], name: str) -> str | None:
    value = args.get(name)
    if value is not None and not isinstance(value, str):
        raise _refused(f"its {name} is a text")
    return value


def _redirect(args: Mapping[str, Any]) -> RedirectMode:
    value = args.get("redirect")
    if value is None:
        return "follow"
    if value not in REDIRECTS:
        raise _refused(f"its redirect is one of {', '.join(REDIRECTS)}")
    mode: RedirectMode = value
    return mode


def _shown_body(body: bytes, limit_bytes: int) -> str | dict[str, str]:
    """Return a body as JSON: a text where that is no larger than base64."""
    shown: str | dict[str, str]
    base64_size = -(-len(body) // 3) * 4
    size = base64_size
    try:
        shown = body.decode()
        size = len(msgspec.json.encode(shown))
    except UnicodeDecodeError:
        shown = ""
    if (not shown and body) or size > base64_size + 2:
        shown, size = {"base64": base64.b64encode(body).decode()}, base64_size
    if size > limit_bytes:
        raise NetSizeError(
            f"response body too large for a value: {size} bytes as JSON; gate.value_limit_bytes "
            "bounds it",
            reason="response",
        )
    return shown


def _refused(problem: str) -> NetBlockedError:
    return NetBlockedError(f"this request is refused: {problem}", reason="request")

"""Fields that tell browsers to be careful, and who may ask from elsewhere (CORS).

Invariants:
- a field that a handler set itself stays as it is;
- Strict-Transport-Security is written over TLS alone (RFC 6797 section 7.2);
- credentials are never allowed to every origin.

Source of the defaults: the OWASP secure headers project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.web.errors import SettingError
from cloche.web.response import empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.web.app import Middleware, Next
    from cloche.web.http1.events import Field
    from cloche.web.request import Request
    from cloche.web.response import Response

NONCE: Final = "{nonce}"  # in a source of a policy: a value that is new for each response
HSTS_MAX_AGE_S: Final = 63_072_000  # two years, what preload lists ask for

_ORIGIN: Final = re.compile(
    r"https?://[a-z0-9.\-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](?::\d+)?"
)
_DIRECTIVE: Final = re.compile(r"[a-z\-]+")
_SOURCE: Final = re.compile(r"[!-+\--:<-~]+")

STRICT_POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "default-src": ("'self'",),
    "script-src": ("'self'", "'nonce-{nonce}'"),
    "object-src": ("'none'",),
    "base-uri": ("'none'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
}


def build_policy(directives: Mapping[str, tuple[str, ...]]) -> str:
    """Return a Content-Security-Policy with `{nonce}` where a nonce goes.

    Raises:
        SettingError: a directive or source that would begin another one.
    """
    for name, sources in directives.items():
        if _DIRECTIVE.fullmatch(name) is None or not all(map(_SOURCE.fullmatch, sources)):
            raise SettingError(setting=f"policy {name}", problem="it has a character of its own")
    return "; ".join(" ".join((name, *sources)) for name, sources in directives.items())


def default_headers(*, tls: bool) -> tuple[Field, ...]:
    """Return the fields that every response should have."""
    fields: tuple[Field, ...] = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )
    if tls:
        hsts = b"max-age=%d; includeSubDomains" % HSTS_MAX_AGE_S
        fields += ((b"strict-transport-security", hsts),)
    return fields


def security_headers(
    *,
    policy: Mapping[str, tuple[str, ...]] | None = STRICT_POLICY,
    hsts: bool = True,
    changes: Mapping[str, str | None] | None = None,
) -> Middleware:
    """Add the default fields, and a content security policy with a nonce for each request.

    A template finds the nonce in `context["csp_nonce"]`. `changes` replaces a field by its name, or
    takes it away with None.

    Raises:
        SettingError: the policy is malformed.
    """
    template = None if policy is None else build_policy(policy)
    has_nonce = template is not None and NONCE in template
    pieces = () if template is None else template.encode("ascii").split(NONCE.encode())
    plain, secure = (_changed(default_headers(tls=tls and hsts), changes) for tls in (False, True))
    names = frozenset((*(name for name, _ in secure), b"content-security-policy"))

    async def middleware(request: Request, following: Next) -> Response:
        nonce = ""
        if has_nonce:
            nonce = request.services.random_bytes(16).hex()
            request.context["csp_nonce"] = nonce
        response = await following(request)
        fields = secure if request.scheme == "https" else plain
        if template is not None:
            fields = (*fields, (b"content-security-policy", nonce.encode().join(pieces)))
        for name, _ in response.fields:
            if name in names:
                return response.with_fields(_missing(response, fields))
        return response.with_fields(fields)

    return middleware


def _missing(response: Response, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Return those of the fields that a response does not have."""
    present = {name for name, _ in response.fields}
    return tuple(field for field in fields if field[0] not in present)


def cors(
    *,
    origins: tuple[str, ...],
    methods: tuple[str, ...] = ("GET", "HEAD", "POST"),
    headers: tuple[str, ...] = (),
    exposed: tuple[str, ...] = (),
    credentials: bool = False,
    max_age_s: int = 600,
) -> Middleware:
    """Let pages of other origins read responses (the fetch standard, section 3.2).

    `origins` are `https://host:port`, or `*` alone for all. A preflight is answered here; one that
    asks for what is not allowed gets no permission, and the browser tells the page so.

    Raises:
        SettingError: an origin is none, or credentials would go to everyone.
    """
    rules = _Cors(
        everyone=origins == ("*",),
        origins=frozenset(origins),
        methods=methods,
        headers=frozenset(name.lower() for name in headers),
        exposed=", ".join(exposed).encode("ascii"),
        credentials=credentials,
        max_age_s=max_age_s,
    )
    if rules.everyone and credentials:
        raise SettingError(setting="cors", problem="`*` with credentials gives them to everyone")
    for origin in () if rules.everyone else origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise SettingError(setting="cors", problem=f"{origin} is no origin in lowercase")

    async def middleware(request: Request, following: Next) -> Response:
        method = request.header("access-control-request-method")
        if request.method == "OPTIONS" and method is not None and request.header("origin"):
            return rules.preflight(request, method)
        response = await following(request)
        if not rules.everyone:
            response = response.with_field(b"vary", b"origin")
        granted = rules.permission(request)
        if granted and rules.exposed:
            granted += ((b"access-control-expose-headers", rules.exposed),)
        return response.with_fields(granted)

    return middleware


_VARY_PREFLIGHT: Final = b"origin, access-control-request-method, access-control-request-headers"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cors:
    """Who may do what."""

    everyone: bool
    origins: frozenset[str]
    methods: tuple[str, ...]
    headers: frozenset[str]
    exposed: bytes
    credentials: bool
    max_age_s: int

    def permission(self, request: Request) -> tuple[Field, ...]:
        """Return the fields that let the origin of a request read the response."""
        origin = request.header("origin")
        if origin is None or not (self.everyone or origin in self.origins):
            return ()
        allowed = (b"access-control-allow-origin", b"*" if self.everyone else origin.encode())
        if self.credentials:
            return (allowed, (b"access-control-allow-credentials", b"true"))
        return (allowed,)

    def preflight(self, request: Request, method: str) -> Response:
        """Return what a browser asks before it sends the real request."""
        wanted = request.header("access-control-request-headers") or ""
        names = [name.strip().lower() for name in wanted.split(",") if name.strip()]
        response = empty().with_field(b"vary", _VARY_PREFLIGHT)
        granted = self.permission(request)
        if not granted or method not in self.methods or not self.headers.issuperset(names):
            return response
        return response.with_fields(
            (
                *granted,
                (b"access-control-allow-methods", ", ".join(self.methods).encode("ascii")),
                (b"access-control-allow-headers", ", ".join(names).encode("ascii")),
                (b"access-control-max-age", b"%d" % self.max_age_s),
            )
        )


def _changed(
    fields: tuple[Field, ...], changes: Mapping[str, str | None] | None
) -> tuple[Field, ...]:
    found: dict[bytes, bytes] = dict(fields)
    for name, value in (changes or {}).items():
        key = name.lower().encode("ascii")
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value.encode("latin-1")
    return tuple(found.items())

"""Sessions in a signed cookie, and protection against requests that other sites make (CSRF).

A session is small and readable by its owner: put an id there, not a secret.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.web.cookies import write_cookie
from cloche.web.errors import ForbiddenError, SettingError
from cloche.web.multipart import MULTIPART_TYPE, MultipartCaps, MultipartReader, boundary_of
from cloche.web.request import FORM_TYPE

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response
    from cloche.web.signing import KeyRing

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_NS_PER_S: Final = 1_000_000_000
_TOKEN_SIZE: Final = 32
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def sessions(
    keys: KeyRing, *, name: str = "__Host-session", max_age_s: int = 1_209_600
) -> Middleware:
    """Give each request `context["session"]`, a dict of JSON values that is kept in a cookie.

    A cookie is written when the session changed, or is older than half of its life; one that was
    emptied is deleted. What was tampered with, or is too old, is an empty session.
    """
    _check_name(name)

    async def middleware(request: Request, following: Next) -> Response:
        now_s = request.services.now_ns() // _NS_PER_S
        text = request.cookies.get(name)
        payload, is_fresh = b"{}", True
        if text is not None:
            opened = keys.open("session", text, now_s=now_s, max_age_s=max_age_s)
            payload = opened or b"{}"
            young = keys.open("session", text, now_s=now_s, max_age_s=max_age_s // 2)
            is_fresh = opened is None or young is not None
        session = _decode(payload)
        request.context["session"] = session
        response = await following(request)
        written = _encode(session)
        if not session:
            if text is None:
                return response
            gone = write_cookie(name, "", max_age_s=0)
            return _with_cookie(response, gone)
        if written == payload and is_fresh:
            return _private(response)
        signed = keys.sign("session", written, now_s=now_s)
        cookie = write_cookie(name, signed, max_age_s=max_age_s)
        return _with_cookie(response, cookie)

    return middleware


def csrf(
    keys: KeyRing,
    *,
    name: str = "__Host-csrf",
    header: str = "x-csrf-token",
    field: str = "csrf_token",
    trusted_origins: tuple[str, ...] = (),
    max_age_s: int = 86_400,
    caps: MultipartCaps | None = None,
) -> Middleware:
    """Refuse requests that change something and were not made by a page of this site.

    Two walls. A browser says where a request comes from (`Sec-Fetch-Site`, `Origin`), and elsewhere
    is refused. And each such request brings the token of its cookie, `context["csrf_token"]`, in a
    header or a form. The cookie is signed, so that another site of the same domain cannot set it.

    A form with files that has no header is read whole here, within `caps`; the handler can read it
    again. What is sent by scripts has the header, and stays a stream. A response that anyone may
    keep gets no cookie.
    """
    _check_name(name)

    async def middleware(request: Request, following: Next) -> Response:
        now_s = request.services.now_ns() // _NS_PER_S
        cookie = request.cookies.get(name)
        token = None
        if cookie is not None:
            token = keys.open("csrf", cookie, now_s=now_s, max_age_s=max_age_s)
        if request.method not in SAFE_METHODS:
            if not _is_own_origin(request, trusted_origins):
                raise ForbiddenError(problem="the request comes from another site")
            sent = request.header(header)
            if sent is None and token is not None:
                sent = await _sent_in_form(request, field, caps or MultipartCaps())
            if token is None or sent is None or not _is_equal(sent, token.hex()):
                raise ForbiddenError(problem="the CSRF token is missing, too old or wrong")
        is_new = token is None
        token = request.services.random_bytes(_TOKEN_SIZE) if token is None else token
        request.context["csrf_token"] = token.hex()
        response = await following(request)
        if not is_new or b"public" in (response.get(b"cache-control") or b""):
            return response
        written = write_cookie(name, keys.sign("csrf", token, now_s=now_s), same_site="Strict")
        return _with_cookie(response, written)

    return middleware


async def _sent_in_form(request: Request, field: str, caps: MultipartCaps) -> str | None:
    """Return the value of a field of either kind of form. The body can be read again."""
    if request.media_type == FORM_TYPE:
        return (await request.form()).get(field)
    if request.media_type != MULTIPART_TYPE:
        return None
    reader = MultipartReader(boundary_of(request.header("content-type") or ""), caps)
    parts = reader.feed(await request.read_all(caps.total_limit_bytes))
    reader.finish()
    found = [part for part in parts if part.name == field and part.filename is None]
    return found[0].text() if found else None


def _is_own_origin(request: Request, trusted: tuple[str, ...]) -> bool:
    origin = request.header("origin")
    if origin in trusted:
        return True
    site = request.header("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    if site == "same-origin" and origin == "null":
        return True  # of our own forms under `Referrer-Policy: no-referrer`
    # A client that is no browser sends neither, and cannot be made to send a cookie.
    return origin is None or origin == f"{request.scheme}://{request.host}"


def _is_equal(sent: str, token: str) -> bool:
    return hmac.compare_digest(sent.encode(), token.encode())


def _with_cookie(response: Response, cookie: bytes) -> Response:
    # A cookie is for one client alone, whatever the handler thought of the rest.
    if b"public" in (response.get(b"cache-control") or b""):
        response = response.replacing(b"cache-control", b"private, no-cache")
    return _private(response.with_field(b"set-cookie", cookie))


def _private(response: Response) -> Response:
    # A response that depends on a session must not be kept for someone else.
    if response.get(b"cache-control") is None:
        response = response.with_field(b"cache-control", b"private, no-cache")
    return response.with_field(b"vary", b"cookie")


def _check_name(name: str) -> None:
    if not name.startswith("__Host-"):
        raise SettingError(setting="name", problem="it begins with __Host-, or others can set it")

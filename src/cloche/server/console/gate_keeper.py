"""What every page stands behind: who is signed in, whether they may, and errors as pages.

Owns signing in and out. Invariants:
- the cookie names a key by its id and is signed; the key itself is read once and kept nowhere;
- a key that ended ends what was signed in with it, with the next request;
- the signing secret lives as long as the process: a restart ends every sign-in, and nobody who
  reads the store can make a cookie;
- a sign-in that was ended is no sign-in, whoever has kept a copy of its cookie;
- every form brings the token of its page, or changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.server.console.pages import HOME, go
from cloche.server.errors import ScopeError, status_of, unavailable
from cloche.web.adapters.templates import TemplateError
from cloche.web.app import INTERNAL_DOCUMENT, answer_failure
from cloche.web.errors import HttpError
from cloche.web.middleware.security import security_headers
from cloche.web.middleware.sessions import csrf, sessions
from cloche.web.multipart import MultipartCaps
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, redirect
from cloche.web.signing import KeyRing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.limits import Limits
    from cloche.server.console.pages import Pages
    from cloche.server.context import Context
    from cloche.server.keys import Key, Scope
    from cloche.web.app import Middleware, Next

SIGN_IN: Final = f"{HOME}/sign-in"
SIGN_OUT: Final = f"{HOME}/sign-out"
SESSION_COOKIE: Final = "__Host-cloche"
CSRF_COOKIE: Final = "__Host-cloche-csrf"
SIGNED_IN_S: Final = 43_200  # a working day
_PART_COUNT_MAX: Final = 1000
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 16
_NS_PER_S: Final = 1_000_000_000
_PLACE: Final = re.compile(r"/console(?:[/?][A-Za-z0-9/._~%?=&:+-]*)?")
_POLICY: Final = {
    "default-src": ("'none'",),
    "script-src": ("'nonce-{nonce}'",),
    "style-src": ("'nonce-{nonce}'",),
    "connect-src": ("'self'",),
    "img-src": ("'self'",),
    "form-action": ("'self'",),
    "base-uri": ("'none'",),
    "frame-ancestors": ("'none'",),
}


class GateKeeper:
    """Makes the middleware of pages, and signs people in and out."""

    def __init__(self, context: Context, pages: Pages) -> None:
        self._context = context
        self._pages = pages
        keys = KeyRing((context.host.random_bytes(_SECRET_BYTES),))
        # With no-referrer browsers say `Origin: null` of our own forms.
        changes = {"referrer-policy": "same-origin"}
        self.headers = security_headers(policy=_POLICY, hsts=False, changes=changes)
        self._sessions = sessions(keys, name=SESSION_COOKIE, max_age_s=SIGNED_IN_S)
        self._csrf = csrf(keys, name=CSRF_COOKIE)
        caps = upload_caps(context.limits)
        self._csrf_of_files = csrf(keys, name=CSRF_COOKIE, caps=caps)

    def for_anybody(self) -> tuple[Middleware, ...]:
        """Return what stands before the page of signing in."""
        return (self.headers, self._sessions, self._errors(), self._csrf)

    def for_key(self, scope: Scope | None, *, takes_files: bool = False) -> tuple[Middleware, ...]:
        """Return what stands before every other page; who it is is known before files are read."""
        token = self._csrf_of_files if takes_files else self._csrf
        return (self.headers, self._sessions, self._errors(), self._known(scope), token)

    def _known(self, scope: Scope | None) -> Middleware:
        """Let pass who is signed in; who is not is asked for a key."""

        async def middleware(request: Request, following: Next) -> Response:
            session = request.context["session"]
            key = await self._key_of(session)
            if key is None:
                session.clear()
                place = request.target if request.method == "GET" else HOME
                return redirect(f"{SIGN_IN}?next={_quoted(place)}")
            request.context["user"] = key
            if scope is not None and not key.may(scope):
                raise ScopeError(needed=scope)
            return await following(request)

        return middleware

    async def _key_of(self, session: Mapping[str, Any]) -> Key | None:
        """Return the key that somebody is signed in with, None when nobody is."""
        key_id, sign_in = session.get("key"), session.get("id")
        if not isinstance(key_id, str) or not isinstance(sign_in, str):
            return None

        def found() -> Key | None:
            is_ended = self._context.signed_out.has(sign_in)
            key = None if is_ended else self._context.keyring.good(key_id)
            return None if key is None or key.apps else key

        return await self._context.call(found)

    def _errors(self) -> Middleware:
        """Answer what the rooms raise with a page."""

        async def middleware(request: Request, following: Next) -> Response:
            try:
                return await following(request)
            except HttpError as raised:
                return self._failure(request, raised, raised.status)
            except ClocheError as raised:
                retry_after_ms = self._context.limits.server.retry_after_ms
                away = unavailable(raised, retry_after_ms=retry_after_ms)
                if away is not None:
                    return self._failure(request, away, away.status)
                status = status_of(raised)
                if status is None or isinstance(raised, TemplateError):
                    return self._own_failure(request, raised)
                return self._failure(request, raised, status)
            except Exception as raised:  # noqa: BLE001 - it is logged; a person gets a page of it
                return self._own_failure(request, raised)

        return middleware

    def _own_failure(self, request: Request, raised: Exception) -> Response:
        """Answer what is the server's own; what it was stays in the log."""
        status = answer_failure(request, raised).status
        message = INTERNAL_DOCUMENT["message"]
        return self._pages.page(request, "error", status=status, code="INTERNAL", message=message)

    def _failure(self, request: Request, error: ClocheError, status: int) -> Response:
        return self._pages.page(
            request, "error", status=status, code=error.code, message=error.message
        )

    # --- signing in and out ---

    async def show_sign_in(self, request: Request) -> Response:
        """Ask for a key."""
        if await self._key_of(request.context["session"]) is not None:
            return go(request, HOME)
        return self._pages.page(request, "sign_in", next=_place(request), failed=False)

    async def sign_in(self, request: Request) -> Response:
        """Let the cookie name the key that a form brings."""
        form = await request.form()
        text = (form.get("key") or "").strip()
        key = await self._context.call(lambda: self._context.keyring.owner_of(text))
        place = form.get("next") or HOME
        # Pages show all apps of a tenant: a key for some of them is none for pages.
        if key is None or key.apps:
            return self._pages.page(
                request, "sign_in", status=401, next=_checked(place), failed=True
            )
        session = request.context["session"]
        await self._end(session)
        session.clear()
        session["key"] = key.id
        session["id"] = self._context.host.random_bytes(_ID_BYTES).hex()
        return go(request, _checked(place))

    async def sign_out(self, request: Request) -> Response:
        """Forget who it was, and take the cookie from nobody any more."""
        session = request.context["session"]
        await self._end(session)
        session.clear()
        return redirect(SIGN_IN)

    async def _end(self, session: Mapping[str, Any]) -> None:
        sign_in = session.get("id")
        if isinstance(sign_in, str):
            until_ns = self._context.host.now_ns() + SIGNED_IN_S * _NS_PER_S
            await self._context.call(
                lambda: self._context.signed_out.end(sign_in, until_ns=until_ns)
            )


def upload_caps(limits: Limits) -> MultipartCaps:
    """Return what a form with files may have."""
    most = limits.storage.max_upload
    return MultipartCaps(
        part_count_max=_PART_COUNT_MAX, part_limit_bytes=most, total_limit_bytes=most
    )


def _place(request: Request) -> str:
    return _checked(request.query.get("next") or HOME)


def _checked(place: str) -> str:
    """Return a place in the console: a form must not lead people to another site."""
    return place if _PLACE.fullmatch(place) and "//" not in place else HOME


def _quoted(target: str) -> str:
    return _checked(target).replace("%", "%25").replace("&", "%26").replace("+", "%2B")

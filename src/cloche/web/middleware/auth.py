"""Who asks: bearer tokens, basic credentials, API keys.

Each hook takes a function that knows the credentials and returns the user, or None. The user is in
`context["user"]`. Comparing in constant time is that function's duty: `hmac.compare_digest`.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

from cloche.web.errors import SettingError, UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

# RFC 6750 section 2.1, and a length that no token has.
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9\-._~+/]{1,8192}=*)", re.IGNORECASE)
_BASIC: Final = re.compile(r"basic +([A-Za-z0-9+/]{1,8192}={0,2})", re.IGNORECASE)
_REALM: Final = re.compile(r"[ !#-\[\]-~]*")


def bearer(check: Callable[[str], Awaitable[Any]], *, realm: str = "app") -> Middleware:
    """Ask for `Authorization: Bearer token`."""
    challenge = f'Bearer realm="{_checked(realm)}"'

    async def identify(request: Request) -> Any:
        match = _BEARER.fullmatch(_single(request, "authorization"))
        return None if match is None else await check(match[1])

    return _guard(identify, challenge)


def basic(check: Callable[[str, str], Awaitable[Any]], *, realm: str = "app") -> Middleware:
    """Ask for a name and a password (RFC 7617, UTF-8)."""
    challenge = f'Basic realm="{_checked(realm)}", charset="UTF-8"'

    async def identify(request: Request) -> Any:
        match = _BASIC.fullmatch(_single(request, "authorization"))
        if match is None:
            return None
        try:
            name, colon, password = base64.b64decode(match[1]).decode().partition(":")
        except ValueError:
            return None
        return await check(name, password) if colon else None

    return _guard(identify, challenge)


def api_key(check: Callable[[str], Awaitable[Any]], *, header: str = "x-api-key") -> Middleware:
    """Ask for a key in a field of its own."""
    challenge = f'ApiKey header="{_checked(header)}"'

    async def identify(request: Request) -> Any:
        key = _single(request, header)
        return await check(key) if key else None

    return _guard(identify, challenge)


def _guard(identify: Callable[[Request], Awaitable[Any]], challenge: str) -> Middleware:
    async def middleware(request: Request, following: Next) -> Response:
        user = await identify(request)
        if user is None:
            raise UnauthorizedError(challenge=challenge)
        request.context["user"] = user
        return await following(request)

    return middleware


def _single(request: Request, header: str) -> str:
    values = request.headers(header)
    # Two credentials are none: a proxy and the application could believe different ones.
    return values[0] if len(values) == 1 else ""


def _checked(text: str) -> str:
    if _REALM.fullmatch(text) is None:
        raise SettingError(setting="realm", problem="it is visible ASCII without quotes")
    return text

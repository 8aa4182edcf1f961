"""Cookies: read from a request, written to a response (RFC 6265).

Invariants:
- reading never fails: what is no pair is passed over, as browsers and proxies add what they like;
- writing never makes a field that means something else: names, values, attributes are checked;
- a name with `__Host-` or `__Secure-` has the attributes that it promises.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from cloche.web.errors import ResponseError

SameSite = Literal["Strict", "Lax", "None"]

COUNT_MAX: Final = 100  # of one request; what is behind is not looked at
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]{0,4096}")
_ATTRIBUTE: Final = re.compile(r"[ -:<-~]{0,1024}")


def parse_cookies(fields: list[str]) -> dict[str, str]:
    """Return the cookies of all Cookie fields; of a name that stands there twice the first."""
    found: dict[str, str] = {}
    parts = [part for field in fields for part in field.split(";", COUNT_MAX)[:COUNT_MAX]]
    for part in parts[:COUNT_MAX]:
        name, equals, value = part.strip(" \t").partition("=")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if equals and _NAME.fullmatch(name) and name not in found:
            found[name] = value
    return found


def write_cookie(
    name: str,
    value: str,
    *,
    path: str = "/",
    domain: str | None = None,
    max_age_s: int | None = None,
    secure: bool = True,
    http_only: bool = True,
    same_site: SameSite = "Lax",
) -> bytes:
    """Return the value of a Set-Cookie field.

    Raises:
        ResponseError: characters that a cookie cannot have, or attributes that contradict.
    """
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise ResponseError(problem=f"cookie {name!r} has a name or value that no cookie can have")
    if any(_ATTRIBUTE.fullmatch(text) is None for text in (path, domain or "")):
        raise ResponseError(problem=f"cookie {name} has a path or domain that would end it")
    if not secure and (same_site == "None" or name.startswith(("__Host-", "__Secure-"))):
        raise ResponseError(problem=f"cookie {name} has to be secure")
    if name.startswith("__Host-") and (path != "/" or domain is not None):
        raise ResponseError(problem=f"cookie {name} has the path / and no domain")
    parts = [f"{name}={value}", f"Path={path}"]
    if domain is not None:
        parts.append(f"Domain={domain}")
    if max_age_s is not None:
        parts.append(f"Max-Age={max_age_s}")
    parts += ["Secure"] * secure + ["HttpOnly"] * http_only
    parts.append(f"SameSite={same_site}")
    return "; ".join(parts).encode()

"""What an app hears and says on a host name that is not its own alone.

Pure. Invariants:
- the server's cookies never reach an app, and none of an app reaches the server or another
  app: below a prefix they get a path below it, and on a host name no domain beyond the app's own;
- below a prefix a page has an origin of its own, and no field says anything about the whole origin;
- an app sees its request as if nobody stood before it: one host, the path below its prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.apps.routing import host_name
from cloche.web.response import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.web.http1.events import Field
    from cloche.web.request import Request

OWN_COOKIE: Final = b"__host-cloche"  # how the names of the server's own cookies begin
SANDBOX: Final = (
    b"content-security-policy",
    b"sandbox allow-scripts allow-forms allow-popups allow-downloads",
)
PREFIX_LINE: Final = b"x-forwarded-prefix"
# Fields that a browser keeps for everything of an origin, or obeys for all of it.
_OF_ORIGIN: Final = frozenset(
    {
        b"accept-ch",
        b"alt-svc",
        b"clear-site-data",
        b"critical-ch",
        b"expect-ct",
        b"nel",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"report-to",
        b"reporting-endpoints",
        b"service-worker-allowed",
        b"set-login",
        b"strict-transport-security",
    }
)
_COOKIE: Final = b"set-cookie"
_WILDCARD: Final = b"*."


def heard_target(request: Request, prefix: str) -> str:
    """Return path and query of a request as its app sees them."""
    path = request.path[len(prefix) :]
    _, mark, query = request.target.partition("?")
    return f"{path if path.startswith('/') else f'/{path}'}{mark}{query}"


def heard_lines(request: Request, prefix: str) -> tuple[Field, ...]:
    """Return the header lines of a request as its app sees them."""
    lines = []
    is_absolute = not request.target.startswith("/")
    for line in request.fields:
        kept: Field | None = line
        if line[0] == b"cookie":
            kept = _without_own_cookies(line)
        elif line[0] == PREFIX_LINE:
            kept = None  # whoever sends it is not whom it is about
        elif line[0] == b"host" and is_absolute:
            kept = (b"host", request.host.encode("latin-1"))  # RFC 9112 section 3.2.2
        if kept is not None:
            lines.append(kept)
    if prefix:
        lines.append((PREFIX_LINE, prefix.encode()))
    return tuple(lines)


def _without_own_cookies(line: Field) -> Field | None:
    if OWN_COOKIE not in line[1].lower():
        return line
    kept = [part for part in line[1].split(b";") if not part.strip().lower().startswith(OWN_COOKIE)]
    return (line[0], b";".join(kept).strip()) if kept else None


def secluded(response: Response, prefix: str) -> Response:
    """Return what an app says below a prefix, on a host that is the server's own."""
    kept = []
    for line in response.fields:
        if line[0] in _OF_ORIGIN:
            continue
        if line[0] == _COOKIE:
            value = _below(line[1], prefix.encode())
            if value is None:
                continue
            kept.append((_COOKIE, value))
        else:
            kept.append(line)
    return Response(response.status, (*kept, SANDBOX), response.body, response.length)


def at_home(response: Response, hosts: Sequence[str]) -> Response:
    """Return what an app says on a host name of its own, with cookies for its own hosts alone."""
    if not any(line[0] == _COOKIE for line in response.fields):
        return response
    own = {host.encode().removeprefix(_WILDCARD) for host in hosts}
    kept = tuple(
        (_COOKIE, _within(line[1], own)) if line[0] == _COOKIE else line for line in response.fields
    )
    return Response(response.status, kept, response.body, response.length)


def _below(cookie: bytes, prefix: bytes) -> bytes | None:
    """Return a cookie that goes to nothing but the paths below a prefix, None for one that cannot.

    Without a path a browser takes the folder of the request's (RFC 6265 section 5.1.4), which is
    above the prefix; of two paths it takes the last one.
    """
    pair, *attributes = cookie.split(b";")
    name, equals, _ = pair.partition(b"=")
    name = name.strip().lower()
    # A cookie without a name is sent as its value, which may look like any pair.
    if not equals or not name or name.startswith(OWN_COOKIE):
        return None
    path, kept = prefix, [pair]
    for attribute in attributes:
        word, _, text = attribute.partition(b"=")
        word, text = word.strip().lower(), text.strip()
        if word == b"path":
            is_below = text == prefix or text.startswith(prefix + b"/")
            whole = text if is_below else prefix + text
            path = (whole.rstrip(b"/") or prefix) if text.startswith(b"/") else prefix
        elif word != b"domain":
            kept.append(attribute)
    return b";".join([*kept, b" Path=" + path])


def _within(cookie: bytes, own: set[bytes]) -> bytes:
    """Return a cookie without a domain that is not one of these."""
    pair, *attributes = cookie.split(b";")
    kept = [pair]
    for attribute in attributes:
        word, _, text = attribute.partition(b"=")
        domain = host_name(text.strip().lstrip(b".").decode("latin-1")).encode("latin-1")
        if word.strip().lower() != b"domain" or domain in own:
            kept.append(attribute)
    return b";".join(kept)

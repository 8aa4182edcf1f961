"""The one parser of URLs for outbound HTTP.

Owns what a URL means: scheme, host, port, path and query, each in one canonical form. Every rule
looks at this value, and the request is sent from it, so that no second parser can disagree.
Invariants:
- `parse_url(url.text) == url`: the canonical form is a fixed point;
- a host is either an address (`address` is set) or an ASCII name in lower case without a final
  dot; what a system library would take for an address is one here too;
- the path has no dot segment, whether written plainly or percent-encoded;
- no canonical part holds a control character, a space, a backslash or anything beyond ASCII.

It does not decide whether a URL may be called.

| rule | source |
|---|---|
| parts and their delimiters | RFC 3986 section 3 |
| unreserved characters are not left encoded, dot segments are removed | RFC 3986 6.2.2 |
| names: NFKC, then UTS 46 mapping, then A-labels | RFC 5891, UTS 46 section 4 |
| a name that ends in a number is an IPv4 address in one of its old forms, or nothing | WHATWG URL |
| labels of 1 to 63, names of at most 253 characters | RFC 1035 2.3.4 |
| a zone id belongs to one machine and is refused | RFC 6874 section 4 |
| userinfo is refused | RFC 9110 4.2.4 |
"""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata
from typing import Final, Literal, TypeAlias

import idna
import msgspec

from cloche.egress.errors import NetBlockedError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Scheme: TypeAlias = Literal["http", "https"]

DEFAULT_PORTS: Final[dict[str, int]] = {"http": 80, "https": 443}

# A name has at most this many characters, without its final dot.
NAME_LENGTH_MAX: Final = 253

# Names are asked for again and again; more different ones than this pay for their check again.
_HOST_CACHE_COUNT: Final = 1024

_SAFE: Final = r"A-Za-z0-9\-._~!$&'()*+,;=:@/"
# Most URLs are canonical but for the case of their host: one match takes them apart.
_PLAIN: Final = re.compile(
    rf"(https?)://([A-Za-z0-9._-]+)(?::([0-9]{{1,5}}))?(/[{_SAFE}]*)?(?:\?([{_SAFE}?]*))?"
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_REFUSED: Final = re.compile("[\x00-\x20\x7f\\\\\x80-\xa0\u2028\u2029\ud800-\udfff]")
_NOT_IN_HOST: Final = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# What was parsed is kept for so many URLs of at most so many characters.
_URL_CACHE_COUNT: Final = 512
_KEPT_LENGTH_MAX: Final = 512

_TO_ENCODE: Final = re.compile(rf"[^{_SAFE}?%]|%(?![0-9A-Fa-f]{{2}})")
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
# A path without these is read by everybody as it stands.
_NOT_PLAIN: Final = re.compile(r"[%\\]|//|/\.|^[^/]|^$")
_MANIFOLD: Final = re.compile(r"%(?:25)+")
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)


class Url(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that was parsed. `host` has no brackets; `query` is None where there is no `?`."""

    scheme: Scheme
    host: str
    port: int
    path: str
    query: str | None = None
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host and port as a request names them: brackets for IPv6, no port where it is usual."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what two URLs share when credentials may go to both."""
        return f"{self.scheme}://{self.authority}"

    @property
    def target(self) -> str:
        """Path and query, as a request line has them."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def text(self) -> str:
        """The whole URL in canonical form."""
        return self.origin + self.target


def parse_url(text: object, *, limit_bytes: int) -> Url:
    """Return the URL that a text stands for; a fragment is dropped.

    Raises:
        NetBlockedError: it is none, it is not http or https, it holds userinfo, or it is longer
            than `limit_bytes` (in UTF-8).
    """
    if not isinstance(text, str):
        raise _refused("a URL is a text")
    if len(text) > limit_bytes:
        raise _too_long(limit_bytes)
    if len(text) <= _KEPT_LENGTH_MAX:
        return _parse_kept(text, limit_bytes)
    return _parse(text, limit_bytes)


def _parse(text: str, limit_bytes: int) -> Url:
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        scheme, host, port, path, query = plain.groups()
        if path is None:
            path = "/"
        elif "/." in path:
            path = _without_dots(path)
        return _url(scheme, canonical_host(host), port, path, query)
    return _parse_any(text, limit_bytes)


# Programs ask for the same again and again.
_parse_kept = functools.lru_cache(maxsize=_URL_CACHE_COUNT)(_parse)


def _parse_any(text: str, limit_bytes: int) -> Url:
    if _REFUSED.search(text):
        raise _refused("a URL holds no spaces, control characters or backslashes; encode them")
    if len(text.encode()) > limit_bytes:
        raise _too_long(limit_bytes)
    found = _SCHEME.match(text)
    if found is None:
        raise _refused("a URL starts with https://")
    scheme = found[1].lower()
    if scheme not in DEFAULT_PORTS:
        raise NetBlockedError(
            f"scheme {scheme[:32]!r} is not supported: only https and http are", reason="scheme"
        )
    if not text.startswith("//", found.end()):
        raise _refused(f"a URL has // behind {scheme}:")
    rest = text[found.end() + 2 :].partition("#")[0]
    end = _AUTHORITY_END.search(rest)
    authority, tail = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if "@" in authority:
        raise NetBlockedError(
            "a URL must not hold a user name or password: use a secret, or the header "
            "Authorization",
            reason="userinfo",
        )
    host, port = _split_authority(authority)
    path, mark, query = tail.partition("?")
    return _url(scheme, host, port, canonical_path(path or "/"), _encoded(query) if mark else None)


def _url(
    scheme: str, host: tuple[str, Address | None], port: str | None, path: str, query: str | None
) -> Url:
    name, address = host
    return Url(
        scheme="https" if scheme == "https" else "http",
        host=name,
        port=_port(port) if port else DEFAULT_PORTS[scheme],
        path=path,
        query=query,
        address=address,
    )


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0  # noqa: PLR2004 - 65535 has 5
    if not 1 <= number <= 65_535:  # noqa: PLR2004 - the largest port
        raise _refused("a port is a number from 1 to 65535")
    return number


def _split_authority(authority: str) -> tuple[tuple[str, Address | None], str | None]:
    if authority.startswith("["):
        inside, bracket, behind = authority[1:].partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise _refused("an IPv6 address stands in brackets: https://[2001:db8::1]/")
        return _ipv6(inside), behind[1:] or None
    host, _, port = authority.partition(":")
    return canonical_host(host), port or None


def _ipv6(text: str) -> tuple[str, Address]:
    if "%" in text:
        raise _refused("an address with a zone id belongs to one machine")
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise _refused("what stands in the brackets is no IPv6 address") from None
    return address.compressed, address


# --- hosts ---


@functools.lru_cache(maxsize=_HOST_CACHE_COUNT)
def canonical_host(text: str) -> tuple[str, Address | None]:
    """Return a host's canonical name, and the address if it is one. Without port or brackets.

    Raises:
        NetBlockedError: it is neither a name nor an IPv4 address.
    """
    name = text if text.isascii() else unicodedata.normalize("NFKC", text).replace("。", ".")
    name = name.lower()
    name = name.removesuffix(".")
    if not name or _NOT_IN_HOST.search(name):
        raise _refused("its host is empty or holds characters that a name cannot have")
    address = _ipv4(name)
    if address is None and (not name.isascii() or "xn--" in name):
        name = _a_labels(name)
        address = _ipv4(name)
    if address is not None:
        return str(address), address
    if len(name) > NAME_LENGTH_MAX or not all(map(_LABEL.fullmatch, name.split("."))):
        raise _refused("its host is not a name of labels with 1 to 63 letters, digits and hyphens")
    return name, None


def _a_labels(name: str) -> str:
    try:
        ascii_name = idna.encode(name, uts46=True, std3_rules=True).decode()
        idna.decode(ascii_name)  # what is no valid A-label is refused, not passed on
    except (idna.IDNAError, UnicodeError):
        raise _refused("its host is no valid internationalised name") from None
    return ascii_name


def _ipv4(name: str) -> Address | None:
    """Return the address that `inet_aton` or a browser would see in a name, None for a name.

    Raises:
        NetBlockedError: it ends in a number and is no address: nobody agrees what that means.
    """
    parts = name.split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    numbers = [_part(part) for part in parts]
    last = numbers.pop()
    if len(parts) > 4 or None in numbers or last is None:  # noqa: PLR2004 - an address has 4 bytes
        raise _refused("its host ends in a number but is no IPv4 address")
    value = 0
    for number in numbers:
        if number is None or number > 255:  # noqa: PLR2004 - one byte
            raise _refused("its host ends in a number but is no IPv4 address")
        value = value << 8 | number
    width = 8 * (5 - len(parts))  # the last part fills what the others left
    if last >> width:
        raise _refused("its host ends in a number but is no IPv4 address")
    return ipaddress.IPv4Address(value << width | last)


def _part(text: str) -> int | None:
    if not _NUMBER.fullmatch(text) or len(text) > 32:  # noqa: PLR2004 - longer is no 32-bit number
        return None
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    if len(text) > 1 and text.startswith("0"):
        return int(text, 8) if not set(text) & {"8", "9"} else None
    return int(text)


# --- paths ---


def canonical_path(path: str) -> str:
    """Return a path without dot segments, with everything encoded that has to be and no more."""
    encoded = _ENCODED.sub(_unreserved, _encoded(path).replace("?", "%3F"))
    return _without_dots(encoded) if "/." in encoded else encoded


def decoded_path(path: str) -> str:
    """Return what the most eager server would make of a path.

    Encoded slashes, backslashes and dots are decoded until nothing changes, then dot segments are
    removed. A rule for a part of a site must hold for this reading too.
    """
    if not _NOT_PLAIN.search(path):
        return path
    before = ""
    while path != before:
        before = path
        # A percent sign encoded many times over is decoded at once, or the work would be quadratic.
        path = _MANIFOLD.sub("%", path)
        path = _ENCODED.sub(lambda found: chr(int(found[1], 16)), path)
    return _without_dots(re.sub(r"[/\\]+", "/", path))


def _encoded(text: str) -> str:
    return _TO_ENCODE.sub(_percent, text)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _unreserved(found: re.Match[str]) -> str:
    byte = int(found[1], 16)
    return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"


def _without_dots(path: str) -> str:
    segments: list[str] = []
    parts = path.split("/")[1:]
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == "..":
            if segments:
                segments.pop()
        elif part != ".":
            segments.append(part)
            continue
        if is_last:
            segments.append("")
    return "/" + "/".join(segments)


def _refused(problem: str) -> NetBlockedError:
    return NetBlockedError(f"this URL is refused: {problem}", reason="url")


def _too_long(limit_bytes: int) -> NetBlockedError:
    return NetBlockedError(
        f"this URL is longer than egress.url_limit_bytes = {limit_bytes}", reason="url"
    )

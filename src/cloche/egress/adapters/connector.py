"""Connections that go to the address that was checked.

Owns resolving, checking, pinning, and the HTTP client beneath.
Invariants:
- a name is resolved once for a connection; if any of its addresses is refused there is none, and
  the connection is opened to one of these very addresses, never to the name again;
- SNI and the certificate check use the name;
- several addresses are tried one after the other, the next beside the last (RFC 8305);
- no proxy, no cookies of the client's own, no transparent decompression;
- what the client raises is translated here; its messages may hold a URL and go nowhere.

It knows no allowlist: whoever calls it has asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from cloche.egress.addresses import blocked
from cloche.egress.errors import (
    NetBlockedError,
    NetError,
    NetSizeError,
    NetTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.egress.headers import Headers
    from cloche.egress.ports import AddressCheck, Resolver
    from cloche.egress.url import Address, Url
    from cloche.limits import Limits

# What the client would add by itself; a guest's own values stay.
_SKIPPED_HEADERS: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
# A guest's own come instead of these, but for Accept-Encoding, which it cannot set.
_HEADERS: Final = {"User-Agent": "cloche", "Accept": "*/*", "Accept-Encoding": "identity"}
_SWITCHING_PROTOCOLS: Final = 101


class SystemResolver:
    """Asks the operating system (a `Resolver`)."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """See `Resolver`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        unique = dict.fromkeys(str(info[4][0]) for info in found)
        return [ipaddress.ip_address(text) for text in unique]


class PinnedResolver(AbstractResolver):
    """Gives the client only addresses that were checked."""

    def __init__(self, resolver: Resolver, check: AddressCheck, limits: Limits) -> None:
        self._resolver = resolver
        self._check = check
        self._limits = limits.egress

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. `family` is what the client asks for: any.

        Raises:
            NetBlockedError: one of them is refused. NetTimeoutError, NetError: there is no answer.
        """
        del family
        addresses = await self._addresses(host, port)
        for address in addresses:
            self.check_address(host, address)
        return [_result(host, port, address) for address in addresses]

    def check_address(self, host: str, address: Address) -> None:
        """Refuse an address that may not be connected to.

        Raises:
            NetBlockedError: it may not.
        """
        found = self._check(address)
        if found is not None:
            # Not the address itself: what a name inside a network points to is not a guest's.
            raise NetBlockedError(
                f"blocked address for {host}: {found.reason} ({found.source})",
                reason="address",
                host=host,
            )

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        limit_ms = self._limits.resolve_timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1000):
                found = await self._resolver.resolve(host, port)
        except TimeoutError:
            raise NetTimeoutError(
                f"no addresses of {host} within egress.resolve_timeout_ms = {limit_ms}",
                reason="resolve",
                retryable=True,
                host=host,
            ) from None
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise NetError(
                f"DNS resolution failed: {host} has no addresses", reason="dns", host=host
            )
        # All are checked, so that a long answer cannot hide what is refused; some are tried.
        for address in found[self._limits.address_count_max :]:
            self.check_address(host, address)
        return found[: self._limits.address_count_max]

    async def close(self) -> None:
        """There is nothing to close."""


def _result(host: str, port: int, address: Address) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004 - IPv4
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


class Reply:
    """A response whose body has not been read. `read` or `close` must follow."""

    __slots__ = ("_host", "_limits", "_response")

    def __init__(self, response: aiohttp.ClientResponse, host: str, limits: Limits) -> None:
        self._response = response
        self._host = host
        self._limits = limits

    @property
    def status(self) -> int:
        """The status code."""
        return self._response.status

    @property
    def reason(self) -> str:
        """The words behind the status, perhaps none."""
        return self._response.reason or ""

    @property
    def headers(self) -> Headers:
        """The header fields as they came."""
        return tuple(
            [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in self._response.raw_headers
            ]
        )

    async def read(self, limit_bytes: int) -> bytes:
        """Return the body, giving up at the first byte over the limit.

        Raises:
            NetSizeError: it is longer. NetError: it ended too early, or the connection broke.
        """
        response = self._response
        try:
            said = response.content_length
            if said is not None and said > limit_bytes and response.method != "HEAD":
                raise _too_large(self._host, limit_bytes)
            body = await self._body(limit_bytes)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = translated(error, self._host, self._limits)
        else:
            response.release()
            return body
        raise failure

    async def _body(self, limit_bytes: int) -> bytes:
        content = self._response.content
        if content.is_eof():
            # All of it is here, as with most small responses; it fits what a reader holds.
            body = content.read_nowait(-1)
            if len(body) > limit_bytes:
                raise _too_large(self._host, limit_bytes)
            return body
        chunks: list[bytes] = []
        size = 0
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > limit_bytes:
                raise _too_large(self._host, limit_bytes)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """End the connection unless the body was read to its end."""
        self._response.close()


class Client:
    """Sends requests. Lives on one event loop; `close` ends every connection.

    Args:
        limits: for connections, headers and idle time.
        resolver: finds addresses.
        check: judges them.
        tls: certificates that are trusted; those of the system when None.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        resolver: Resolver | None = None,
        check: AddressCheck = blocked,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        egress = limits.egress
        self._limit_s = (egress.connect_timeout_ms + egress.header_timeout_ms) / 1000
        self._resolver = PinnedResolver(resolver or SystemResolver(), check, limits)
        self._tls = tls or default_tls()
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        egress = self._limits.egress
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            ssl=self._tls,
            limit=0,  # our own slots decide
            keepalive_timeout=egress.idle_ms / 1000,
            happy_eyeballs_delay=egress.attempt_delay_ms / 1000,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_SKIPPED_HEADERS,
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None, connect=egress.connect_timeout_ms / 1000),
            # A line longer than all headers may be is refused by the parser, not kept.
            max_line_size=egress.header_limit_bytes,
            max_field_size=egress.header_limit_bytes,
            max_headers=egress.header_count_max,
        )

    async def send(
        self, method: str, url: Url, headers: Headers, body: bytes, *, left_s: float = float("inf")
    ) -> Reply:
        """Send one request and return what comes back.

        Args:
            method: as it is sent.
            url: where to.
            headers: of the request.
            body: of the request.
            left_s: after which time the caller cancels, whatever the limits here say.

        Raises:
            NetError: and its subclasses; no connection is left behind.
        """
        if url.address is not None:
            self._resolver.check_address(url.host, url.address)
        fields = CIMultiDict(headers)
        try:
            if left_s <= self._limit_s:
                # The caller's deadline comes first: a second one would cost and do nothing.
                response = await self._request(method, url, fields, body)
            else:
                async with asyncio.timeout(self._limit_s):
                    response = await self._request(method, url, fields, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            failure = translated(error, url.host, self._limits)
        else:
            return self._checked(response, url.host)
        raise failure

    async def _request(
        self, method: str, url: Url, fields: CIMultiDict[str], body: bytes
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = self._open()
        return await self._session.request(
            method,
            URL(url.text, encoded=True),
            headers=fields,
            data=body or None,
            allow_redirects=False,
        )

    def _checked(self, response: aiohttp.ClientResponse, host: str) -> Reply:
        if response.status == _SWITCHING_PROTOCOLS:
            response.close()
            raise NetError(
                f"{host} changed to another protocol unasked", reason="protocol", host=host
            )
        return Reply(response, host, self._limits)

    async def close(self) -> None:
        """End every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def default_tls() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, TLS 1.2 and later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


# Which error of the client is which of ours: (class, reason, retryable, what is said). The first
# that fits counts.
_TRANSLATIONS: Final[tuple[tuple[type[BaseException], str, bool, str], ...]] = (
    (
        aiohttp.ClientConnectorCertificateError,
        "certificate",
        False,
        "the certificate of {host} is not valid for it",
    ),
    (aiohttp.ClientSSLError, "tls", False, "no TLS connection to {host}"),
    (aiohttp.ClientConnectorDNSError, "dns", False, "DNS resolution failed: {host}"),
    (aiohttp.ClientConnectorError, "connect", True, "no connection to {host}"),
    (aiohttp.ServerDisconnectedError, "closed", True, "{host} closed the connection"),
    (aiohttp.ClientPayloadError, "body", True, "the response of {host} ended too early"),
    (aiohttp.ClientResponseError, "protocol", False, "the response of {host} is no HTTP"),
    (aiohttp.InvalidURL, "url", False, "the URL cannot be sent"),
    (OSError, "connection", True, "the connection to {host} broke"),
)


def translated(error: BaseException, host: str, limits: Limits) -> NetError:
    """Return what an error of the client means, to be raised outside of its `except` clause.

    Its own text may hold the URL with a secret: it is left out, and must not stay the context.
    """
    egress = limits.egress
    if isinstance(error, TimeoutError):
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            name, limit_ms = "egress.connect_timeout_ms", egress.connect_timeout_ms
            what, reason = f"no connection to {host}", "connect"
        else:
            name, limit_ms = "egress.header_timeout_ms", egress.header_timeout_ms
            what, reason = f"no response headers from {host}", "response"
        return NetTimeoutError(f"{what} within {name} = {limit_ms}", reason=reason, host=host)
    if isinstance(error, aiohttp.ClientResponseError) and _is_too_large(error):
        return NetSizeError(
            f"the headers of {host} are too large: egress.header_count_max = "
            f"{egress.header_count_max}, egress.header_limit_bytes = {egress.header_limit_bytes}",
            reason="headers",
            host=host,
        )
    for kind, reason, retryable, words in _TRANSLATIONS:
        if isinstance(error, kind):
            return NetError(words.format(host=host), reason=reason, retryable=retryable, host=host)
    return NetError(f"the call to {host} failed", reason="other", host=host)


def _is_too_large(error: aiohttp.ClientResponseError) -> bool:
    return error.message.startswith(("Got more than", "Too many headers"))


def _too_large(host: str, limit_bytes: int) -> NetSizeError:
    return NetSizeError(
        f"response body too large: {host} sends more than {limit_bytes} bytes; net.max_response "
        "and the entry bound it",
        reason="response",
        host=host,
    )

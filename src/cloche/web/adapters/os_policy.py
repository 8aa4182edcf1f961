"""The section `web` of a policy: where an application may listen, and how much it may take.

    {"enabled": true, "listen_allow": ["127.0.0.0/8:8000-8999", "unix:/run/app.sock"],
     "max_conns": 100, "max_header_bytes": 16384, "max_body_bytes": 1048576,
     "tls": {"min_version": "TLS1.3", "cipher_allowlist": []}}

Invariants:
- nothing is allowed that is not written there: no section, `enabled` false and an empty list all
  mean that nothing listens;
- a policy only narrows limits, it never widens them;
- an unknown name in the document is an error, as it may be a misspelled ceiling.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec

from cloche.errors import ClocheError
from cloche.web.adapters.listen import Bind, parse_bind
from cloche.web.adapters.server_errors import BindError
from cloche.web.encodings.codes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.limits import Limits
    from cloche.limits.web_groups import WebLimits
    from cloche.web.adapters.tls import MinVersion, TlsSettings

_PORT_MAX: Final = 65_535
_VERSIONS: Final = ("TLS1.2", "TLS1.3")
POLICY_DENIED: Final = BY_NAME["NET_ERR_POLICY_DENIED"]


class WebPolicyError(ClocheError):
    """A section `web` makes no sense. State: nothing was read from it."""

    code = "WEB_POLICY_INVALID"
    blame = "caller"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"the policy of web, {where}: {problem}", where=where, problem=problem)


class ListenDeniedError(ClocheError):
    """The policy does not allow it. State: nothing listens. `number` is NET_ERR_POLICY_DENIED."""

    code = "WEB_LISTEN_DENIED"
    blame = "caller"

    def __init__(self, *, subject: str, problem: str) -> None:
        super().__init__(
            f"the policy denies {subject}: {problem}",
            subject=subject,
            problem=problem,
            number=POLICY_DENIED.number,
        )


class _TlsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min_version: Literal["TLS1.2", "TLS1.3"] = "TLS1.3"
    cipher_allowlist: tuple[str, ...] = ()


class WebPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frozen data. `WebPolicy()` allows nothing. None means the limit of the system.

    Raises:
        WebPolicyError: on construction; an entry of the list is none, a number is negative.
    """

    enabled: bool = False
    listen_allow: tuple[str, ...] = ()
    max_conns: int | None = None
    max_header_bytes: int | None = None
    max_body_bytes: int | None = None
    tls: _TlsSection = _TlsSection()

    def __post_init__(self) -> None:
        for index, entry in enumerate(self.listen_allow):
            _Allowed.parse(entry, f"listen_allow[{index}]")
        for name in ("max_conns", "max_header_bytes", "max_body_bytes"):
            value = getattr(self, name)
            if value is not None and value < (0 if name == "max_body_bytes" else 1):
                raise WebPolicyError(where=name, problem=f"{value} is too small")

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the policy of a document of JSON.

        Raises:
            WebPolicyError: it is none.
        """
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise WebPolicyError(where="$", problem=str(error)) from error

    def check_listen(self, binds: Sequence[Bind]) -> None:
        """Raise ListenDeniedError unless all of these addresses are allowed."""
        allowed = [_Allowed.parse(entry, "listen_allow") for entry in self.listen_allow]
        for bind in binds:
            if not self.enabled:
                raise ListenDeniedError(subject=str(bind), problem="web is not enabled")
            if not any(each.allows(bind) for each in allowed):
                problem = "no entry of listen_allow has it"
                raise ListenDeniedError(subject=str(bind), problem=problem)

    def check_tls(self, tls: TlsSettings) -> TlsSettings:
        """Return settings whose ciphers are those that the policy allows.

        Raises:
            ListenDeniedError: they ask for a version below the policy's, or another cipher.
        """
        asked: MinVersion = tls.min_version
        if _VERSIONS.index(asked) < _VERSIONS.index(self.tls.min_version):
            raise ListenDeniedError(subject=asked, problem=f"at least {self.tls.min_version}")
        names = self.tls.cipher_allowlist
        wrong = [cipher for cipher in tls.ciphers if names and cipher not in names]
        if wrong:
            raise ListenDeniedError(subject=wrong[0], problem="no entry of cipher_allowlist")
        return dataclasses.replace(tls, ciphers=tls.ciphers or names)

    def narrow(self, limits: Limits) -> Limits:
        """Return limits that are no wider than the policy."""
        web = limits.web
        changes: dict[str, int] = {}
        _narrow(changes, web, "connection_count_max", self.max_conns)
        _narrow(changes, web, "head_limit_bytes", self.max_header_bytes)
        _narrow(changes, web, "body_limit_bytes", self.max_body_bytes)
        return dataclasses.replace(limits, web=type(web)(**{**web.to_dict(), **changes}))


class _Allowed(msgspec.Struct, frozen=True):
    """An entry: networks and ports, or the path of a socket."""

    network: Any
    first: int
    last: int
    path: str = ""

    @classmethod
    def parse(cls, entry: str, where: str) -> Self:
        """Return what an entry means: `ADDRESS[/BITS]:PORT[-PORT]`, or `unix:PATH`."""
        if entry.startswith("unix:"):
            if not entry.removeprefix("unix:").startswith("/"):
                raise WebPolicyError(where=where, problem=f"{entry!r} is no absolute path")
            return cls(None, 0, 0, entry.removeprefix("unix:"))
        host, _, ports = entry.rpartition(":")
        first, _, last = ports.partition("-")
        bare = host.replace("[", "").replace("]", "")
        try:
            network = ipaddress.ip_network(bare)
            numbers = int(first), int(last or first)
        except ValueError:
            problem = f"{entry!r} is not ADDRESS[/BITS]:PORT[-PORT] or unix:PATH"
            raise WebPolicyError(where=where, problem=problem) from None
        if not 0 <= numbers[0] <= numbers[1] <= _PORT_MAX:
            raise WebPolicyError(where=where, problem=f"{entry!r} has no such ports")
        return cls(network, *numbers)

    def allows(self, bind: Bind) -> bool:
        """Return whether this entry has an address. What was handed over is no address."""
        if bind.kind == "unix":
            return bool(self.path) and bind.host == self.path
        if bind.kind != "tcp" or self.network is None:
            return False
        address = ipaddress.ip_address(bind.host)
        # Any port is asked for with 0; the kernel may give one that no entry has.
        return address in self.network and self.first <= bind.port <= self.last


def parse_binds(texts: Sequence[str]) -> list[Bind]:
    """Return addresses as a policy is asked about them.

    Raises:
        BindError: one is none.
    """
    if not texts:
        raise BindError(address="", problem="give at least one address")
    return [parse_bind(text) for text in texts]


def _narrow(changes: dict[str, int], web: WebLimits, name: str, ceiling: int | None) -> None:
    if ceiling is not None and ceiling < getattr(web, name):
        changes[name] = ceiling

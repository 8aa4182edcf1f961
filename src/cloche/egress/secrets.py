"""Secrets that guests use and never see.

Owns what a secret is bound to, how it is put into a request, and how known values are taken out of
what comes back.
Invariants:
- a secret goes only to hosts it is bound to, over https, on the first origin of a call;
- its value is in no `repr`, error, record, cache key or argument of an effect: only its name is;
- a value is long enough to be looked for: below `VALUE_LENGTH_MIN` bytes it would be found by
  chance, and taking it out would spoil responses;
- what is scrubbed are the forms that a server can echo without knowing it: raw, base64 at each of
  its three alignments, percent-encoded, JSON-escaped, hexadecimal, and the same of the form in
  which the secret was sent (a query percent-encoded, a user and password in base64). A server
  that encrypts or splits what it got can still hand it to a guest: bind secrets to servers you
  trust.

It does not store anything.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import msgspec

from cloche.egress.allowlist import (
    GLOBAL_SCOPE,
    SCOPE,
    Entry,
    RuleSet,
    canonical_method,
    canonical_pattern,
    decide,
)
from cloche.egress.errors import NetAuthError, NetPolicyError
from cloche.egress.headers import DROPPED, Headers, check_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.egress.url import Url

InjectAs = Literal["bearer", "header", "query", "basic", "placeholder"]
INJECT_AS: Final = ("bearer", "header", "query", "basic", "placeholder")
VALUE_LENGTH_MIN: Final = 8

PLACEHOLDER: Final = re.compile(r"\{\{secret:([A-Za-z0-9][A-Za-z0-9._:/@-]{0,199})\}\}")
_PLACEHOLDER_BYTES: Final = re.compile(PLACEHOLDER.pattern.encode())
_NOT_IN_VALUES: Final = re.compile("[\x00-\x1f\x7f]")
_LATIN_1_MAX: Final = 0xFF


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret with its bindings.

    Args:
        name: what guests and policies call it.
        value: what is sent; for basic it is `user:password`, or the password where `key` is the
            user.
        domains: hosts it may go to, exact or `*.name`; at least one.
        inject_as: `bearer` and `basic` set Authorization, `header` and `query` set `key`,
            `placeholder` replaces `{{secret:NAME}}` in headers and body.
        key: name of the header or of the query's field; the user of basic.
        methods: methods it may be used with; empty for all.
        paths: prefixes of paths; empty for all.
        ports: as those of an entry.
        former: values that were replaced lately and are still scrubbed.
        scope: which runs may have it: those whose policy asks the list of that name, or all.

    Raises:
        NetPolicyError: on construction, when one of them breaks its form. The value is not named.
    """

    name: str
    value: str
    domains: tuple[str, ...]
    inject_as: InjectAs = "bearer"
    key: str = ""
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    former: tuple[str, ...] = ()
    scope: str = GLOBAL_SCOPE

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not SCOPE.fullmatch(self.name):
            raise NetPolicyError(where="a secret's name", problem=f"must match {SCOPE.pattern}")
        where = f"secret {self.name}"
        if not isinstance(self.scope, str) or not SCOPE.fullmatch(self.scope):
            raise NetPolicyError(
                where=where, problem=f"has a scope that must match {SCOPE.pattern}"
            )
        _check_value(where, self.value)
        if self.inject_as not in INJECT_AS:
            raise NetPolicyError(where=where, problem=f"is injected as {', '.join(INJECT_AS)}")
        if isinstance(self.domains, str) or not self.domains:
            raise NetPolicyError(where=where, problem="needs at least one domain it may go to")
        fix = functools.partial(msgspec.structs.force_setattr, self)
        fix("domains", tuple(map(canonical_pattern, self.domains)))
        fix("methods", tuple(map(canonical_method, self.methods)))
        fix("former", tuple(self.former))
        self._check_key(where)
        fix("paths", Entry(host=self.domains[0], paths=self.paths, ports=self.ports).paths)

    def _check_key(self, where: str) -> None:
        if self.inject_as in ("header", "query") and not self.key:
            raise NetPolicyError(where=where, problem=f"needs a key to be a {self.inject_as}")
        if self.inject_as == "header" and (
            self.key.lower() in DROPPED
            or not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", self.key)
        ):
            raise NetPolicyError(where=where, problem=f"cannot be the header {self.key!r}")
        if self.inject_as == "basic" and ":" not in self.value and not self.key:
            raise NetPolicyError(where=where, problem="needs user:password, or a key as the user")
        if self.inject_as == "basic" and ":" in self.key:
            raise NetPolicyError(where=where, problem="has a user with a colon (RFC 7617 2)")

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r})"

    @property
    def rules(self) -> RuleSet:
        """Where it may go, as entries of an allowlist."""
        return RuleSet(
            f"secret {self.name}",
            [
                Entry(host=host, methods=self.methods, paths=self.paths, ports=self.ports)
                for host in self.domains
            ],
        )


def _check_value(where: str, value: object) -> None:
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) < VALUE_LENGTH_MIN:
        raise NetPolicyError(
            where=where, problem=f"has a value of less than {VALUE_LENGTH_MIN} bytes"
        )
    if _NOT_IN_VALUES.search(value) or any(ord(char) > _LATIN_1_MAX for char in value):
        raise NetPolicyError(
            where=where, problem="has a value with control characters or beyond Latin-1"
        )
    if value != value.strip():
        raise NetPolicyError(where=where, problem="has a value with space around it")


# How keys of well-known services begin, and what is only ever a credential.
_KEY_FORM: Final = re.compile(
    r"(sk|pk|rk)[_-][A-Za-z0-9_-]{12,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
    r"|xox[abpr]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|glpat-[\w-]{16,}"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*|(Bearer|Basic) [\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"
)


def looks_like_secret(value: str) -> bool:
    """Return whether a setting has the form of a key that a program should not see."""
    return _KEY_FORM.fullmatch(value.strip()) is not None


def check_use(secret: Secret, url: Url, method: str) -> None:
    """Refuse a secret for a call that it is not bound to.

    Raises:
        NetAuthError: plain http, or another host, port, method or path.
    """
    if url.scheme != "https":
        raise NetAuthError(
            f"secret {secret.name!r} is used over https only", reason="secret", secret=secret.name
        )
    decision = decide(url, method, [secret.rules], allow_literals=True)
    if not decision.allowed:
        raise NetAuthError(
            f"secret {secret.name!r} is restricted to {', '.join(secret.domains)}: "
            + {
                "port": "not this port",
                "method": "not this method",
                "path": "not this path",
            }.get(decision.reason, f"not {url.host}"),
            reason="secret",
            secret=secret.name,
        )


def inject(secret: Secret, url: Url, headers: Headers) -> tuple[Url, Headers]:
    """Return URL and headers with a secret that `check_use` let pass.

    What the guest set under the same name is replaced. A placeholder changes nothing here.
    """
    value = secret.value
    match secret.inject_as:
        case "bearer":
            return url, _set(headers, "Authorization", f"Bearer {value}")
        case "basic":
            return url, _set(headers, "Authorization", f"Basic {_basic(secret, value)}")
        case "header":
            return url, _set(headers, secret.key, value)
        case "query":
            return _with_query(url, secret.key, value), headers
        case "placeholder":
            return url, headers


def placeholders(headers: Headers, body: bytes) -> frozenset[str]:
    """Return the names of the secrets that headers and body ask for."""
    names: set[str] = set()
    for _, value in headers:
        if "{{secret:" in value:
            names.update(PLACEHOLDER.findall(value))
    if b"{{secret:" in body:
        names.update(name.decode() for name in _PLACEHOLDER_BYTES.findall(body))
    return frozenset(names)


def substitute(
    secrets: Mapping[str, Secret], headers: Headers, body: bytes
) -> tuple[Headers, bytes]:
    """Return headers and body with each placeholder replaced by its secret's value.

    Raises:
        NetBlockedError: a value cannot stand in a header.
    """
    replaced = tuple(
        check_header(name, PLACEHOLDER.sub(lambda found: secrets[found[1]].value, value))
        for name, value in headers
    )
    if b"{{secret:" in body:
        body = _PLACEHOLDER_BYTES.sub(lambda found: secrets[found[1].decode()].value.encode(), body)
    return replaced, body


def _set(headers: Headers, name: str, value: str) -> Headers:
    kept = tuple(pair for pair in headers if pair[0].lower() != name.lower())
    return (*kept, (name, value))


def _with_query(url: Url, key: str, value: str) -> Url:
    name = quote(key, safe="")
    parts = [part for part in (url.query or "").split("&") if part]
    kept = [part for part in parts if part.partition("=")[0] != name]
    query = "&".join([*kept, f"{name}={quote(value, safe='')}"])
    return msgspec.structs.replace(url, query=query)


# --- scrubbing ---


class Scrubber:
    """Takes known values out of text and bytes; each becomes `[secret:NAME]`."""

    __slots__ = ("_forms", "_lengths", "_patterns")

    def __init__(self, secrets: Iterable[Secret]) -> None:
        forms: dict[bytes, bytes] = {}
        self._patterns: list[tuple[re.Pattern[bytes], bytes]] = []
        for secret in secrets:
            mark = f"[secret:{secret.name}]".encode()
            for value in _values(secret):
                for form in _forms(value):
                    forms.setdefault(form, mark)
                self._patterns.append((_escaped(value), mark))
        # The longest first: a short form inside a long one would leave the rest of it.
        self._forms = sorted(forms.items(), key=lambda pair: (-len(pair[0]), pair[0]))
        self._lengths = [len(form) for form in forms]

    def __bool__(self) -> bool:
        return bool(self._forms)

    @property
    def overlap_bytes(self) -> int:
        """How much of a stream has to be held back so that no form is cut in two."""
        return max(self._lengths, default=1) * 6 - 1

    def bytes(self, data: bytes) -> bytes:
        """Return data without the known values."""
        for form, mark in self._forms:
            if form in data:
                data = data.replace(form, mark)
        if b"%" in data or b"\\" in data or b"+" in data:
            for pattern, mark in self._patterns:
                data = pattern.sub(mark.replace(b"\\", b"\\\\"), data)
        return data

    def text(self, text: str) -> str:
        """Return text without the known values."""
        if not self._forms:
            return text
        return self.bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def document(self, value: Any) -> Any:
        """Return JSON-ready data with all texts scrubbed, names of objects too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.document(item) for key, item in value.items()}
        return value


class StreamScrubber:
    """Scrubs a stream that comes in pieces."""

    __slots__ = ("_held", "_scrubber")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what can be passed on by now."""
        if not self._scrubber:
            return data
        held = self._scrubber.bytes(self._held + data)
        # A line end is in no value: all before the last one is complete.
        cut = max(held.rfind(b"\n") + 1, len(held) - self._scrubber.overlap_bytes)
        self._held = held[cut:]
        return held[:cut]

    def end(self) -> bytes:
        """Return the rest."""
        held, self._held = self._scrubber.bytes(self._held), b""
        return held


def _values(secret: Secret) -> list[bytes]:
    values = [secret.value, *secret.former]
    if secret.inject_as == "basic":
        # The password alone is as good as the pair.
        values += [value.partition(":")[2] for value in values if ":" in value]
    # As they are sent: a server may encode once more what it got.
    values += [sent for value in values for sent in _sent_forms(secret, value)]
    encoded = {value.encode(encoding) for value in values for encoding in ("utf-8", "latin-1")}
    return sorted(value for value in encoded if len(value) >= VALUE_LENGTH_MIN)


def _sent_forms(secret: Secret, value: str) -> list[str]:
    if secret.inject_as == "query":
        return [quote(value, safe="")]
    if secret.inject_as == "basic":
        return [_basic(secret, value)]
    return []


def _basic(secret: Secret, value: str) -> str:
    pair = f"{secret.key}:{value}" if secret.key else value
    return base64.b64encode(pair.encode()).decode()


def _forms(value: bytes) -> set[bytes]:
    forms = {value, value.hex().encode(), value.hex().upper().encode()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + value)
        # Letters that also depend on what stands before or behind are left out.
        start = (0, 2, 3)[offset]
        end = len(encoded) - (0, 3, 2)[(offset + len(value)) % 3]
        core = encoded[start:end]
        forms |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


def _escaped(value: bytes) -> re.Pattern[bytes]:
    """Return a pattern for a value in which any bytes are percent-encoded or JSON-escaped."""
    return re.compile(b"".join(map(_escaped_byte, value)))


def _escaped_byte(byte: int) -> bytes:
    digits = f"{byte:02x}"
    hexadecimal = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)
    plain = re.escape(bytes([byte]))
    forms = [plain, b"%" + hexadecimal.encode(), rb"\\u00" + hexadecimal.encode()]
    if byte in b'"/\\':
        forms.insert(0, rb"\\" + plain)
    if byte == ord(" "):
        forms.append(rb"\+")
    return b"(?:" + b"|".join(forms) + b")"

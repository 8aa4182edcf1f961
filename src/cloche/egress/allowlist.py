"""Which hosts a run may call: entries in lists, the first that fits decides, deny by default.

Owns `Entry`, `NetPolicy` and the decision with its explanation.
Invariants:
- what no entry names is refused; an empty list lets nothing pass;
- a host pattern is one name, or `*.` before a name that is not a public suffix: every name below
  it at any depth, and not that name itself;
- within a list the first entry that fits decides; the lists of a run are asked in the order run,
  then the policy's `scopes` as it names them, usually session, app, global;
- a path rule holds for every reading of the path, also for a server that decodes slashes.

It neither resolves names nor keeps lists; the answer for a URL depends on its arguments alone.

| rule | source |
|---|---|
| a label `*` stands for whole labels at the left only | RFC 4592 2.1.1, RFC 9525 6.3 |
| no wildcard over names of different owners | Public Suffix List, publicsuffix.org |
| methods are tokens and case-sensitive; the usual ones are in upper case | RFC 9110 9.1 |
| 443 and 80 unless an entry names others | RFC 9110 4.2.1, 4.2.2 |
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.egress.errors import NetBlockedError, NetPolicyError
from cloche.egress.url import DEFAULT_PORTS, canonical_host, canonical_path, decoded_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.egress.url import Url

METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
GLOBAL_SCOPE: Final = "global"
TENANT_PREFIX: Final = "tenant:"
RUN_SCOPE: Final = "run"
TENANT: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Methods whose lower-case form is a slip and not another method.
USUAL_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

# Methods that open a tunnel or echo what was sent.
REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})

_PORT_MAX: Final = 65_535
_NUMBER_MAX: Final = (1 << 53) - 1
_NUMBERS: Final = ("rate_limit", "rate_burst", "max_response", "timeout_ms", "cache_ttl_s")


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule of a list. Numbers that are 0 inherit what the limits say.

    Args:
        host: a name, `*.name`, or an address (which needs a policy with `allow_literals`).
        action: what happens to a call that fits.
        http: whether plain http is allowed too.
        ports: instead of 443 (and 80 for http).
        methods: which ones; empty for all.
        paths: prefixes of the path, each starting with `/`; empty for all.
        rate_limit: calls per minute.
        rate_burst: calls above the rate at once.
        max_response: bytes of a response body.
        timeout_ms: of one call.
        cache_ttl_s: how long a response without a lifetime of its own is fresh; above 0 also
            switches the cache on for what the entry names.

    Raises:
        NetPolicyError: on construction, when one of them breaks its form.
    """

    host: str
    action: Literal["allow", "deny"] = "allow"
    http: bool = False
    ports: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    rate_limit: int = 0
    rate_burst: int = 0
    max_response: int = 0
    timeout_ms: int = 0
    cache_ttl_s: int = 0

    def __post_init__(self) -> None:
        fix = functools.partial(msgspec.structs.force_setattr, self)
        fix("host", canonical_pattern(self.host))
        fix("methods", tuple(canonical_method(method) for method in self.methods))
        fix("paths", tuple(_canonical_prefix(self.host, path) for path in self.paths))
        fix("ports", tuple(self.ports))
        if self.action not in ("allow", "deny"):
            raise _invalid(self.host, f"has the action {self.action!r}: it is allow or deny")
        for port in self.ports:
            if type(port) is not int or not 1 <= port <= _PORT_MAX:
                raise _invalid(self.host, f"has the port {port!r}: a port is 1 to {_PORT_MAX}")
        for name in _NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
                raise _invalid(self.host, f"has {name} = {value!r}: it is 0 or more")

    @property
    def is_literal(self) -> bool:
        """Whether the entry names an address."""
        return ":" in self.host or canonical_host_or_none(self.host) is not None

    def to_document(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data, without what is at its default."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class NetPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run may do with outbound HTTP. `NetPolicy()` allows nothing.

    Args:
        allow: hosts or entries, in order; an entry may be its document, `{"host": …, …}`.
        deny: hosts or entries that come before them.
        scopes: lists of the host that are asked after these, by name: `session:…`, `app:…`,
            `global`, or a name of your own. They may change while a run goes on.
        allow_literals: whether entries may name addresses.
        cookies: whether the headers Cookie and Set-Cookie pass.
        secrets: names of the secrets that the run may use.
        tenant: whose lists and secrets these names mean; those of the store itself when empty.
        trace: whether calls say of which run they are (`traceparent`), and those that change
            something which of its effects they are (`idempotency-key`).

    Raises:
        NetPolicyError: on construction, when one of them breaks its form.
    """

    allow: Sequence[Entry | str | Mapping[str, Any]] = ()
    deny: Sequence[Entry | str | Mapping[str, Any]] = ()
    scopes: tuple[str, ...] = ()
    allow_literals: bool = False
    cookies: bool = False
    secrets: tuple[str, ...] = ()
    tenant: str = ""
    trace: bool = False

    def __post_init__(self) -> None:
        fix = functools.partial(msgspec.structs.force_setattr, self)
        for name, values in (("scopes", self.scopes), ("secrets", self.secrets)):
            if isinstance(values, str) or not all(
                isinstance(value, str) and SCOPE.fullmatch(value) for value in values
            ):
                raise _invalid(name, f"must match {SCOPE.pattern}")
            fix(name, tuple(values))
        if self.tenant and not TENANT.fullmatch(self.tenant):
            raise _invalid("tenant", f"must match {TENANT.pattern}")
        fix("deny", _entries(self.deny, "deny"))
        fix("allow", _entries(self.allow, "allow"))
        for entry in (*self.deny, *self.allow):
            assert isinstance(entry, Entry)
            if entry.is_literal and not self.allow_literals:
                raise _invalid(entry.host, "is an address: only names, or allow_literals=True")

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The policy's own entries: what is denied, then what is allowed."""
        return (*self.deny, *self.allow)  # type: ignore[arg-type]  # see __post_init__

    @property
    def lists(self) -> tuple[str, ...]:
        """The names in the store of the lists that `scopes` names."""
        return tuple(scope_in(self.tenant, scope) for scope in self.scopes)

    @property
    def secret_lists(self) -> tuple[str, ...]:
        """Where a secret is looked for, by names in the store: the lists, then the global one."""
        return (*self.lists, scope_in(self.tenant, GLOBAL_SCOPE))

    def to_document(self) -> dict[str, Any]:
        """Return the policy as JSON-ready data, without what is at its default."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    @classmethod
    def from_document(cls, document: object) -> NetPolicy:
        """Return the policy of a document made by hand or by `to_document`.

        Raises:
            NetPolicyError: an unknown name, a wrong type, or what construction refuses.
        """
        try:
            known = msgspec.convert(document, type=_PolicyDocument)
        except msgspec.ValidationError as error:
            raise _invalid("net", f"is no policy: {error}") from None
        return cls(
            allow=known.allow,
            deny=known.deny,
            scopes=tuple(known.scopes),
            allow_literals=known.allow_literals,
            cookies=known.cookies,
            secrets=tuple(known.secrets),
            tenant=known.tenant,
        )


class _PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    allow: list[str | dict[str, Any]] = []
    deny: list[str | dict[str, Any]] = []
    scopes: list[str] = []
    allow_literals: bool = False
    cookies: bool = False
    secrets: list[str] = []
    tenant: str = ""


def scope_in(tenant: str, scope: str) -> str:
    """Return the name in the store of a list that a tenant calls `scope`."""
    return f"{TENANT_PREFIX}{tenant}/{scope}" if tenant else scope


def scope_of_tenant(tenant: str, name: str) -> str | None:
    """Return what a tenant calls the list of this name in the store; None when it has it not."""
    if not tenant:
        return None if name.startswith(TENANT_PREFIX) else name
    prefix = scope_in(tenant, "")
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def entry_from_document(document: Mapping[str, Any]) -> Entry:
    """Return the entry of a document.

    Raises:
        NetPolicyError: it is none.
    """
    unknown = sorted(set(map(str, document)) - set(Entry.__struct_fields__))
    if unknown:
        raise _invalid("entry", f"has unknown names: {', '.join(unknown)}")
    try:
        return msgspec.convert(document, type=Entry)
    except msgspec.ValidationError as error:
        raise _invalid("entry", f"is none: {error}") from None


def _entries(
    values: Sequence[Entry | str | Mapping[str, Any]], action: Literal["allow", "deny"]
) -> tuple[Entry, ...]:
    if isinstance(values, str | Mapping):
        raise _invalid(action, "is a list of hosts, not one text")
    return tuple(_entry(value, action) for value in values)


def _entry(value: Entry | str | Mapping[str, Any], action: Literal["allow", "deny"]) -> Entry:
    if isinstance(value, str):
        return Entry(host=value, action=action)
    entry = value if isinstance(value, Entry) else entry_from_document(value)
    return msgspec.structs.replace(entry, action=action)


# --- patterns ---


def canonical_pattern(text: object) -> str:
    """Return a host pattern in canonical form.

    Raises:
        NetPolicyError: it is no name, a URL, a bare `*`, or a wildcard over a public suffix.
    """
    if not isinstance(text, str):
        raise _invalid(ascii(text), "is no host: a host is a text")
    stripped = text.strip()
    wildcard = stripped.startswith("*.")
    name = stripped[2:] if wildcard else stripped
    if name in ("*", ""):
        raise _invalid(repr(text), "would allow everything: name the hosts")
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare and bare.count(":") > 1 and not wildcard:
        return _ipv6_pattern(text, bare)
    if re.search(r"[/:@?#*\[\]]", name):
        raise _invalid(
            repr(text), "is no host: give a name such as api.example.com or *.example.com"
        )
    try:
        host, address = canonical_host(name)
    except NetBlockedError as error:
        raise _invalid(repr(text), f"is no host: {error.message}") from None
    if not wildcard:
        return host
    if address is not None:
        raise _invalid(repr(text), "is no host: an address has no names below it")
    if _is_public_suffix(host):
        raise _invalid(repr(text), f"is too broad: names below {host} belong to different owners")
    return f"*.{host}"


def _ipv6_pattern(text: str, bare: str) -> str:
    from ipaddress import IPv6Address  # noqa: PLC0415 - rare

    try:
        return IPv6Address(bare).compressed
    except ValueError:
        raise _invalid(repr(text), "is no host and no address") from None


def canonical_host_or_none(host: str) -> str | None:
    """Return the address that a canonical host is, None for a name."""
    if host.startswith("*."):
        return None
    address = canonical_host(host)[1]
    return None if address is None else str(address)


@functools.lru_cache(maxsize=1)
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - 30 ms, for wildcards only

    return PublicSuffixList()


def _is_public_suffix(host: str) -> bool:
    return bool(_suffixes().publicsuffix(host) == host)


def canonical_method(method: object) -> str:
    """Return a method as it is sent: the usual ones in upper case, others as they are.

    Raises:
        NetPolicyError: it is no token, or one that is never allowed.
    """
    if not isinstance(method, str) or not METHOD.fullmatch(method):
        raise _invalid(ascii(method)[:40], "is no method")
    upper = method.upper()
    if upper in REFUSED_METHODS:
        raise _invalid(upper, "is a method that is never allowed")
    return upper if upper in USUAL_METHODS else method


def _canonical_prefix(host: str, path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise _invalid(host, f"has the path {path!r}: a prefix starts with /")
    return canonical_path(path)


# --- the decision ---


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the lists say. `entry` is the one that decided, None where none fits.

    `reason` is one word (allowed, denied, unlisted, scheme, port, method, path, literal);
    `explanation` a sentence without the URL's query.
    """

    allowed: bool
    reason: str
    explanation: str
    scope: str = ""
    entry: Entry | None = None


class RuleSet:
    """The entries of one list, found by host in a few steps however long the list is."""

    __slots__ = ("_exact", "_verdicts", "_wild", "scope")

    def __init__(self, scope: str, entries: Iterable[Entry]) -> None:
        self.scope = scope
        self._verdicts: dict[int, Decision] = {}
        self._exact: dict[str, list[tuple[int, Entry]]] = {}
        self._wild: dict[str, list[tuple[int, Entry]]] = {}
        for position, entry in enumerate(entries):
            if entry.host.startswith("*."):
                self._wild.setdefault(entry.host[2:], []).append((position, entry))
            else:
                self._exact.setdefault(entry.host, []).append((position, entry))

    def verdict(self, entry: Entry) -> Decision:
        """Return what an entry of this list says where it fits."""
        found = self._verdicts.get(id(entry))  # an entry lives as long as its list
        if found is None:
            denies = entry.action == "deny"
            found = _decision(
                not denies,
                "denied" if denies else "allowed",
                f"{'denies' if denies else 'allows'} {_what(entry)}",
                self.scope,
                entry,
            )
            self._verdicts[id(entry)] = found
        return found

    def candidates(self, host: str) -> list[tuple[int, Entry]]:
        """Return the entries that name a host, in the order of the list."""
        found = self._exact.get(host, [])
        if self._wild:
            found = list(found)
            _, _, parent = host.partition(".")
            while parent:
                found += self._wild.get(parent, ())
                _, _, parent = parent.partition(".")
            found.sort(key=lambda pair: pair[0])
        return found


def decide(
    url: Url, method: str, rule_sets: Iterable[RuleSet], *, allow_literals: bool = False
) -> Decision:
    """Return whether a call may be made, and which entry says so."""
    if url.address is not None and not allow_literals:
        return Decision(
            allowed=False,
            reason="literal",
            explanation=f"{url.host} is an address: allowlists speak of names",
        )
    misses: list[tuple[str, str, Entry]] = []
    for rules in rule_sets:
        for _, entry in rules.candidates(url.host):
            miss = _miss(entry, url, method)
            if miss:
                misses.append((miss, rules.scope, entry))
                continue
            return rules.verdict(entry)
    # Nothing fits: the entry that came closest is what people want to know of.
    for miss, scope, entry in misses:
        if entry.action == "allow":
            return _decision(False, miss, f"names the host, {_MISSES[miss]}", scope, entry)
    return Decision(
        allowed=False, reason="unlisted", explanation=f"no entry names {url.host}: not in allowlist"
    )


_MISSES: Final = {
    "scheme": "but not plain http",
    "port": "but not this port",
    "method": "but not this method",
    "path": "but not this path",
}


def _miss(entry: Entry, url: Url, method: str) -> str:
    """Return which part of an entry a call does not fit, nothing if it fits.

    What denies must catch each spelling, what allows must hold for each.
    """
    denies = entry.action == "deny"
    if url.scheme == "http" and not entry.http and not denies:
        return "scheme"
    if entry.ports:
        if url.port not in entry.ports:
            return "port"
    elif url.port != DEFAULT_PORTS[url.scheme] and not denies:
        return "port"
    if entry.methods and method not in entry.methods:
        return "method"
    if entry.paths:
        fits = [
            _has_prefix(url.path, entry.paths),
            _has_prefix(decoded_path(url.path), _decoded(entry.paths)),
        ]
        if not (any(fits) if denies else all(fits)):
            return "path"
    return ""


@functools.lru_cache(maxsize=1024)
def _decoded(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(decoded_path, paths))


def _has_prefix(path: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a path is below one of the prefixes: /v1 holds /v1 and /v1/x, not /v10."""
    return any(
        path.startswith(prefix) and (prefix.endswith("/") or path[len(prefix) :][:1] in ("", "/"))
        for prefix in prefixes
    )


def _what(entry: Entry) -> str:
    parts = [
        ",".join(entry.methods) if entry.methods else "every method",
        "http and https" if entry.http or entry.action == "deny" else "https",
    ]
    if entry.ports:
        parts.append("port " + ",".join(map(str, entry.ports)))
    if entry.paths:
        parts.append("below " + ", ".join(entry.paths))
    return f"{entry.host} ({'; '.join(parts)})"


def _decision(allowed: bool, reason: str, says: str, scope: str, entry: Entry) -> Decision:
    return Decision(
        allowed=allowed,
        reason=reason,
        explanation=f"entry {entry.host} of {scope} {says}",
        scope=scope,
        entry=entry,
    )


def _invalid(where: str, problem: str) -> NetPolicyError:
    return NetPolicyError(where=where, problem=problem)

"""What a run may do: rules per kind of effect, deny by default.

Owns the policy data, its document form and the decision.
Invariants:
- an effect that no rule names is denied;
- `deny` beats `ask`, `ask` beats `allow`; among several `ask` rules the first that matches wins;
- a pattern is an exact target, or a prefix followed by one `*` at its end; there is no other
  wildcard, so a rule cannot mean more than it says;
- a decision depends on nothing but the policy, the kind and the target, so it can be cached.

It does not know what a target means. A prefix of a URL is not a check of its host: rules for
addresses belong to the room that connects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import msgspec

from cloche.gate.errors import PolicyInvalidError

KIND_PATTERN: re.Pattern[str] = re.compile(r"[a-z][a-z0-9_.]{0,31}")

# Calls that `Policy.net` decides about: the room that connects knows what a host is.
NET_KIND = "http.fetch"
_NET = "net"

# A policy is written by people or their tools; more rules than this is a mistake.
RULE_COUNT_MAX = 10_000

# Longest time that an approval may stay open: 30 days.
EXPIRES_MS_MAX = 30 * 86_400_000

# A person who was asked today may answer tomorrow.
EXPIRES_MS_DEFAULT = 86_400_000


class AskRule(msgspec.Struct, frozen=True, kw_only=True):
    """Ask `who` before a matching effect; no answer within `expires_ms` is a denial."""

    target: str
    who: str = "operator"
    expires_ms: int = EXPIRES_MS_DEFAULT


class Allow(msgspec.Struct, frozen=True):
    """The effect may happen."""


class Deny(msgspec.Struct, frozen=True):
    """The effect must not happen; `reason` is for the one who reads the error."""

    reason: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The effect may happen if `who` agrees within `expires_ms`."""

    who: str
    expires_ms: int


Decision: TypeAlias = Allow | Deny | Ask

_ALLOW = Allow()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for one kind of effect. `calls_max` is None for no ceiling of its own."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    ask: tuple[AskRule, ...] = ()
    calls_max: int | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may do. `Policy()` allows nothing.

    `kinds` holds (kind, rules) sorted by kind, each kind once. `net` holds the rules of outbound
    HTTP: something with `to_document()`, or such a document, which it becomes. With it the gate
    lets `http.fetch` pass, but for what rules of that kind deny or ask, and whoever connects
    decides by `net`.

    Raises:
        PolicyInvalidError: on construction, when a rule breaks the form of this module.
    """

    kinds: tuple[tuple[str, Rules], ...] = ()
    net: Any = None

    def __post_init__(self) -> None:
        to_document = getattr(self.net, "to_document", None)
        if to_document is not None:
            msgspec.structs.force_setattr(self, "net", to_document())
        if self.net is not None and not isinstance(self.net, dict):
            raise PolicyInvalidError(where=_NET, problem="expected a NetPolicy or its document")
        _check_policy(self)

    @classmethod
    def allow(cls, **targets: Iterable[str]) -> Policy:
        """Return a policy that allows these targets: `Policy.allow(tool=["add", "fs.*"])`."""
        return cls().and_allow(**targets)

    def and_allow(self, **targets: Iterable[str]) -> Policy:
        """Return this policy with more allowed targets per kind."""
        policy = self
        for kind, patterns in targets.items():
            rules = policy.rules(kind)
            added = (*rules.allow, *_patterns(patterns, f"{kind}.allow"))
            policy = policy._with(kind, msgspec.structs.replace(rules, allow=added))
        return policy

    def and_deny(self, **targets: Iterable[str]) -> Policy:
        """Return this policy with more denied targets per kind; they beat every other rule."""
        policy = self
        for kind, patterns in targets.items():
            rules = policy.rules(kind)
            added = (*rules.deny, *_patterns(patterns, f"{kind}.deny"))
            policy = policy._with(kind, msgspec.structs.replace(rules, deny=added))
        return policy

    def and_ask(
        self,
        *,
        who: str = "operator",
        expires_ms: int = EXPIRES_MS_DEFAULT,
        **targets: Iterable[str],
    ) -> Policy:
        """Return this policy with more targets per kind that need a person's decision."""
        policy = self
        for kind, patterns in targets.items():
            rules = policy.rules(kind)
            added = tuple(
                AskRule(target=target, who=who, expires_ms=expires_ms)
                for target in _patterns(patterns, f"{kind}.ask")
            )
            policy = policy._with(kind, msgspec.structs.replace(rules, ask=rules.ask + added))
        return policy

    def and_calls_max(self, **counts: int) -> Policy:
        """Return this policy with a ceiling of performed effects per kind."""
        policy = self
        for kind, count in counts.items():
            rules = msgspec.structs.replace(policy.rules(kind), calls_max=count)
            policy = policy._with(kind, rules)
        return policy

    def rules(self, kind: str) -> Rules:
        """Return the rules for a kind; empty rules where there are none."""
        for name, rules in self.kinds:
            if name == kind:
                return rules
        return Rules()

    def to_document(self) -> dict[str, Any]:
        """Return the policy as JSON- and TOML-ready data: `{kind: {allow: […], …}, net: {…}}`."""
        document = {kind: _rules_document(rules) for kind, rules in self.kinds}
        return document if self.net is None else {**document, _NET: self.net}

    @classmethod
    def from_document(cls, document: object) -> Policy:
        """Return the policy of a document made by hand or by `to_document`.

        Raises:
            PolicyInvalidError: an unknown name, a wrong type, or a rule that breaks the form.
        """
        if not isinstance(document, Mapping):
            raise PolicyInvalidError(where="$", problem="expected a table of kinds")
        net = document.get(_NET)
        rest = {name: rules for name, rules in document.items() if name != _NET}
        try:
            kinds = msgspec.convert(rest, type=dict[str, _RulesDocument])
        except msgspec.ValidationError as error:
            raise PolicyInvalidError(where="$", problem=str(error)) from error
        return cls(kinds=tuple(sorted((kind, _rules(kinds[kind])) for kind in kinds)), net=net)

    def _with(self, kind: str, rules: Rules) -> Policy:
        kinds = {**dict(self.kinds), kind: rules}
        return Policy(kinds=tuple((name, kinds[name]) for name in sorted(kinds)), net=self.net)


def decide(policy: Policy, kind: str, target: str) -> Decision:
    """Return what the policy says about one effect."""
    rules = policy.rules(kind)
    for pattern in rules.deny:
        if _matches(pattern, target):
            return Deny(f"rule deny '{pattern}' forbids it")
    for rule in rules.ask:
        if _matches(rule.target, target):
            return Ask(who=rule.who, expires_ms=rule.expires_ms)
    for pattern in rules.allow:
        if _matches(pattern, target):
            return _ALLOW
    if kind == NET_KIND and policy.net is not None:
        return _ALLOW
    return Deny("no rule allows it")


class _RulesDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    allow: list[str] = []
    deny: list[str] = []
    ask: list[str | _AskDocument] = []
    calls_max: int | None = None


class _AskDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target: str
    who: str = "operator"
    expires_ms: int = EXPIRES_MS_DEFAULT


def _rules(document: _RulesDocument) -> Rules:
    return Rules(
        allow=tuple(document.allow),
        deny=tuple(document.deny),
        ask=tuple(
            AskRule(target=rule)
            if isinstance(rule, str)
            else AskRule(target=rule.target, who=rule.who, expires_ms=rule.expires_ms)
            for rule in document.ask
        ),
        calls_max=document.calls_max,
    )


def _rules_document(rules: Rules) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if rules.allow:
        document["allow"] = list(rules.allow)
    if rules.deny:
        document["deny"] = list(rules.deny)
    if rules.ask:
        document["ask"] = [
            {"target": rule.target, "who": rule.who, "expires_ms": rule.expires_ms}
            for rule in rules.ask
        ]
    if rules.calls_max is not None:
        document["calls_max"] = rules.calls_max
    return document


def _matches(pattern: str, target: str) -> bool:
    if pattern.endswith("*"):
        return target.startswith(pattern[:-1])
    return target == pattern


def _patterns(patterns: Iterable[str], where: str) -> tuple[str, ...]:
    if isinstance(patterns, str):
        # A lone string would be read as a list of its letters.
        problem = f"expected a list of patterns, found the string {patterns!r}"
        raise PolicyInvalidError(where=where, problem=problem)
    return tuple(patterns)


def _check_policy(policy: Policy) -> None:
    names = [kind for kind, _ in policy.kinds]
    if names != sorted(set(names)):
        raise PolicyInvalidError(where="kinds", problem="kinds must be sorted, each once")
    rule_count = 0
    for kind, rules in policy.kinds:
        if kind == _NET or not KIND_PATTERN.fullmatch(kind):
            raise PolicyInvalidError(
                where=repr(kind), problem=f"kind must match {KIND_PATTERN.pattern}"
            )
        rule_count += len(rules.allow) + len(rules.deny) + len(rules.ask)
        _check_rules(kind, rules)
    if rule_count > RULE_COUNT_MAX:
        problem = f"{rule_count} rules, at most {RULE_COUNT_MAX} are read"
        raise PolicyInvalidError(where="kinds", problem=problem)


def _check_rules(kind: str, rules: Rules) -> None:
    for verdict in ("allow", "deny"):
        for pattern in cast("tuple[str, ...]", getattr(rules, verdict)):
            _check_pattern(f"{kind}.{verdict}", pattern)
    for rule in rules.ask:
        _check_pattern(f"{kind}.ask", rule.target)
        if not rule.who:
            raise PolicyInvalidError(where=f"{kind}.ask", problem="`who` is empty")
        if not 1 <= rule.expires_ms <= EXPIRES_MS_MAX:
            problem = f"expires_ms is {rule.expires_ms}, expected 1 to {EXPIRES_MS_MAX}"
            raise PolicyInvalidError(where=f"{kind}.ask", problem=problem)
    if rules.calls_max is not None and rules.calls_max < 0:
        problem = f"calls_max is {rules.calls_max}, expected 0 or more"
        raise PolicyInvalidError(where=kind, problem=problem)


def _check_pattern(where: str, pattern: object) -> None:
    if not isinstance(pattern, str) or not pattern:
        raise PolicyInvalidError(where=where, problem=f"{pattern!r} is not a pattern")
    if "*" in pattern[:-1]:
        problem = f"{pattern!r} has a `*` that is not at its end"
        raise PolicyInvalidError(where=where, problem=problem)

"""Which tool calls happen at once, which wait for a person, and which never happen.

Owns the rules of an operator: per tool and per argument, first match.
Invariants:
- a call that no rule names is decided by the tool itself: what it declares, else `read_only`;
- a rule whose conditions cannot be judged, because an argument is missing or of another type, does
  not match;
- a rule of the host that fails denies: nothing runs because something broke;
- the decision depends on the rules, the tool and its checked arguments alone.

It does not ask anybody; `approvals` does. A path is compared as text: whoever opens it must still
keep links from leading out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.gate.canonical import encode_canonical
from cloche.gate.policy import Allow, Ask, Decision, Deny
from cloche.script.errors import ToolDeclarationError

if TYPE_CHECKING:
    from cloche.limits import Limits
    from cloche.script.tools import Tool

Verdict = Literal["allow", "ask", "deny"]

OPERATOR: Final = "operator"
SPAWN: Final = "spawn."  # before the name of a tool: the same call, detached
SPAWN_CONTROLS: Final = frozenset({"spawn.status", "spawn.list", "spawn.cancel"})
_RULE_FORM: Final = (
    '{"tool": NAME, "when": {ARGUMENT: CONDITION}, "verdict": "allow", "ask" or "deny", '
    '"reason": TEXT}, all but tool and verdict optional'
)
_CONDITION_COUNT_MAX: Final = 64  # of one rule; more is a mistake


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one argument must be; all that is given must hold.

    Args:
        equals: this value; numbers are compared as numbers.
        one_of: one of these values.
        matches: text of this form; `*` stands for any characters, `/` among them.
        under: a path in this folder, or the folder itself, after `.` and `..` are resolved.
        at_least: a number from here up.
        at_most: a number up to here.
        present: whether the argument is there at all.
    """

    equals: Any = msgspec.UNSET
    one_of: tuple[Any, ...] | msgspec.UnsetType = msgspec.UNSET
    matches: str | msgspec.UnsetType = msgspec.UNSET
    under: str | msgspec.UnsetType = msgspec.UNSET
    at_least: float | msgspec.UnsetType = msgspec.UNSET
    at_most: float | msgspec.UnsetType = msgspec.UNSET
    present: bool | msgspec.UnsetType = msgspec.UNSET

    def holds(self, value: Any) -> bool:
        """Whether an argument is so; `msgspec.UNSET` stands for one that is missing."""
        there = value is not msgspec.UNSET
        if self.present is not msgspec.UNSET and self.present is not there:
            return False
        if not there:
            return self.present is False and self == Condition(present=False)
        if self.equals is not msgspec.UNSET and not _equal(self.equals, value):
            return False
        if self.one_of is not msgspec.UNSET and not any(_equal(one, value) for one in self.one_of):
            return False
        return self._text_holds(value) and self._number_holds(value)

    def _text_holds(self, value: Any) -> bool:
        if self.matches is not msgspec.UNSET and not (
            isinstance(value, str) and match_glob(self.matches, value)
        ):
            return False
        return self.under is msgspec.UNSET or (
            isinstance(value, str) and is_under(value, self.under)
        )

    def _number_holds(self, value: Any) -> bool:
        if self.at_least is msgspec.UNSET and self.at_most is msgspec.UNSET:
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = self.at_least is msgspec.UNSET or value >= self.at_least
        return above and (self.at_most is msgspec.UNSET or value <= self.at_most)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    Args:
        tool: a name, or the start of names with `*` at the end.
        when: conditions by argument; `a.b` is `b` in the object `a`.
        verdict: what happens to a call that fits.
        reason: what the model and people read.
        who: is asked.
        expires_ms: time to decide, None for `scripts.approval_expires_ms`.
    """

    tool: str
    when: tuple[tuple[str, Condition], ...] = ()
    verdict: Verdict
    reason: str = ""
    who: str = OPERATOR
    expires_ms: int | None = None

    def matches(self, tool: str, args: Mapping[str, Any]) -> bool:
        """Whether a call is one of those that the rule is about."""
        return self.concerns(tool) and all(
            condition.holds(_find(args, path)) for path, condition in self.when
        )

    def concerns(self, tool: str) -> bool:
        """Whether the rule is about calls of this tool."""
        prefix = self.tool.removesuffix("*")
        return tool == prefix or (prefix != self.tool and tool.startswith(prefix))


class ToolPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules in order; the first that matches decides.

    Raises:
        ToolDeclarationError: on construction, a rule has not the form of this module.
    """

    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        for index, rule in enumerate(self.rules):
            if problem := _problem(rule):
                raise ToolDeclarationError(where=f"rule {index + 1}", problem=problem)

    @classmethod
    def from_document(cls, document: object, *, limits: Limits) -> ToolPolicy:
        """Return the policy of a list of rules, as people write them in JSON or TOML.

        A condition that is a text means `matches`, one that is another value means `equals`.

        Raises:
            ToolDeclarationError: a rule has not the form of this module, or there are too many.
        """
        try:
            entries = msgspec.convert(document, list[_RuleDocument])
            if len(entries) > limits.scripts.rule_count_max:
                problem = f"{len(entries)} rules; scripts.rule_count_max allows fewer"
                raise ToolDeclarationError(where="the policy", problem=problem)
            return cls(rules=tuple(entry.rule() for entry in entries))
        except msgspec.ValidationError as error:
            problem = f"{error}. Write a list of {_RULE_FORM}"
            raise ToolDeclarationError(where="the policy", problem=problem) from None

    def decide(self, tool: Tool, args: Mapping[str, Any], *, limits: Limits) -> Decision:
        """Return what happens to a call of a tool with checked arguments.

        What a rule says of a tool holds for its detached calls, too.
        """
        plain = tool.name.removeprefix(SPAWN)
        for rule in self.rules:
            if rule.matches(tool.name, args) or rule.matches(plain, args):
                return _decision(rule, limits)
        try:
            own = _own_verdict(tool, args)
        except Exception as error:  # noqa: BLE001 - the rule is the host's; it breaks closed
            reason = f"the rule of the tool failed: {type(error).__name__}"
            return _decision(Rule(tool=tool.name, verdict="deny", reason=reason), limits)
        return _decision(Rule(tool=tool.name, verdict=own), limits)

    def outlook(self, tool: Tool) -> frozenset[Verdict]:
        """Return what can happen to calls of a tool, whatever their arguments are."""
        found: set[Verdict] = set()
        plain = tool.name.removeprefix(SPAWN)
        for rule in self.rules:
            if rule.concerns(tool.name) or rule.concerns(plain):
                found.add(rule.verdict)
                if not rule.when:
                    return frozenset(found)
        return frozenset(found | _own_verdicts(tool))


class _RuleDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tool: str
    when: dict[str, Any] = {}
    verdict: Verdict
    reason: str = ""
    who: str = OPERATOR
    expires_ms: int | None = None

    def rule(self) -> Rule:
        return Rule(
            tool=self.tool,
            when=tuple((path, _condition(value)) for path, value in self.when.items()),
            verdict=self.verdict,
            reason=self.reason,
            who=self.who,
            expires_ms=self.expires_ms,
        )


def match_glob(pattern: str, text: str) -> bool:
    """Whether a text has a form in which `*` stands for any characters; takes linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in rest:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def is_under(path: str, folder: str) -> bool:
    """Whether a path is in a folder or is it; a relative one is in no absolute one."""
    if "\0" in path or "\\" in path or path.startswith("/") != folder.startswith("/"):
        return False
    parts, root = _parts(path), _parts(folder)
    return parts is not None and root is not None and parts[: len(root)] == root


def _parts(path: str) -> list[str] | None:
    """Return the parts of a path without `.` and `..`; None if it leads out of where it begins."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return parts


def _condition(value: Any) -> Condition:
    if isinstance(value, str):
        return Condition(matches=value)
    if isinstance(value, dict):
        return msgspec.convert(value, Condition)
    return Condition(equals=value)


def _find(args: Mapping[str, Any], path: str) -> Any:
    value: Any = args
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return msgspec.UNSET
        value = value[name]
    return value


def _equal(expected: Any, value: Any) -> bool:
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, dict | list) or isinstance(value, dict | list):
        return type(expected) is type(value) and encode_canonical(expected) == encode_canonical(
            value
        )
    return bool(expected == value)


def _own_verdict(tool: Tool, args: Mapping[str, Any]) -> Verdict:
    approval: Any = tool.requires_approval
    if approval is None:
        return "allow" if tool.read_only else "ask"
    if callable(approval):
        approval = approval(dict(args))
    if isinstance(approval, bool):
        return "ask" if approval else "allow"
    if approval in ("allow", "ask", "deny"):
        verdict: Verdict = approval
        return verdict
    return "deny"


def _own_verdicts(tool: Tool) -> frozenset[Verdict]:
    if callable(tool.requires_approval):
        return frozenset({"allow", "ask", "deny"})
    return frozenset({_own_verdict(tool, {})})


def _decision(rule: Rule, limits: Limits) -> Decision:
    if rule.verdict == "allow":
        return Allow()
    if rule.verdict == "deny":
        return Deny(rule.reason or "a rule forbids it")
    expires_ms = rule.expires_ms or limits.scripts.approval_expires_ms
    return Ask(who=rule.who, expires_ms=expires_ms)


def _problem(rule: Rule) -> str:
    if not rule.tool or "*" in rule.tool[:-1]:
        return f"tool is {rule.tool!r}; it is a name, or the start of names with `*` at the end"
    if len(rule.when) > _CONDITION_COUNT_MAX:
        return f"{len(rule.when)} conditions, at most {_CONDITION_COUNT_MAX} are read"
    if rule.expires_ms is not None and rule.expires_ms < 1:
        return f"expires_ms is {rule.expires_ms}; it must be 1 or more"
    if not rule.who:
        return "`who` is empty"
    if any(condition == Condition() for _, condition in rule.when):
        return "a condition asks for nothing"
    return ""

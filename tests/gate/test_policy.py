"""Tests of the policy: decisions, builders, documents."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.errors import PolicyInvalidError
from cloche.gate.policy import Allow, Ask, AskRule, Deny, Policy, Rules, decide

kinds = st.from_regex(r"[a-z][a-z0-9_.]{0,31}", fullmatch=True).filter(lambda k: k != "net")
targets = st.text("ab.*", min_size=1, max_size=4)
patterns = st.builds(
    lambda stem, star: stem + star,
    st.text("ab.", min_size=1, max_size=3),
    st.sampled_from(["", "*"]),
)
rules = st.builds(
    Rules,
    allow=st.lists(patterns, max_size=3).map(tuple),
    deny=st.lists(patterns, max_size=3).map(tuple),
    ask=st.lists(
        st.builds(
            AskRule,
            target=patterns,
            who=st.sampled_from(["ann", "bob"]),
            expires_ms=st.integers(1, 1000),
        ),
        max_size=3,
    ).map(tuple),
    calls_max=st.none() | st.integers(0, 5),
)
policies = st.dictionaries(kinds, rules, max_size=4).map(
    lambda by_kind: Policy(kinds=tuple((kind, by_kind[kind]) for kind in sorted(by_kind)))
)


def test_nothing_is_allowed_by_default():
    """An empty policy denies, and so does a policy for another kind."""
    assert decide(Policy(), "tool", "add") == Deny("no rule allows it")
    assert decide(Policy.allow(http=["*"]), "tool", "add") == Deny("no rule allows it")


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("add", True),
        ("add2", False),
        ("Add", False),
        ("fs.read", True),
        ("fs.", True),
        ("fs", False),
        ("xfs.read", False),
    ],
)
def test_patterns_are_exact_or_a_prefix(target, allowed):
    """A pattern is the whole target, or a prefix of it where it ends with a star."""
    decision = decide(Policy.allow(tool=["add", "fs.*"]), "tool", target)
    assert (decision == Allow()) is allowed


def test_deny_beats_ask_beats_allow():
    """The order of verdicts does not depend on the order of rules."""
    policy = (
        Policy.allow(tool=["*"])
        .and_ask(tool=["mail.*"], who="ann", expires_ms=5)
        .and_ask(tool=["mail.send"], who="bob")
        .and_deny(tool=["mail.delete"])
    )
    assert decide(policy, "tool", "add") == Allow()
    assert decide(policy, "tool", "mail.send") == Ask(who="ann", expires_ms=5)
    assert decide(policy, "tool", "mail.delete") == Deny("rule deny 'mail.delete' forbids it")


def reference(policy, kind, target):
    """Decide as the documentation says, in the most literal way."""

    def hit(pattern):
        if pattern[-1] == "*":
            return target[: len(pattern) - 1] == pattern[:-1]
        return target == pattern

    mine = dict(policy.kinds).get(kind, Rules())
    if any(map(hit, mine.deny)):
        return "deny"
    asked = [rule.who for rule in mine.ask if hit(rule.target)]
    if asked:
        return asked[0]
    return "allow" if any(map(hit, mine.allow)) else "deny"


@given(policies, st.data(), targets)
def test_decision_is_the_documented_one(policy, data, target):
    """Every decision is the one of a literal model."""
    kind = data.draw(st.sampled_from([*dict(policy.kinds), "other"]))
    decision = decide(policy, kind, target)
    shown = {Allow: "allow", Deny: "deny"}.get(type(decision)) or decision.who
    assert shown == reference(policy, kind, target)


@given(policies)
def test_document_round_trip(policy):
    """A document gives the policy back."""
    assert Policy.from_document(policy.to_document()) == policy


def test_document_of_toml():
    """A policy can be written by hand, with short and long ask rules."""
    document = tomllib.loads(
        """
        [tool]
        allow = ["add", "fs.*"]
        ask = ["mail.*", {target = "pay", who = "ann", expires_ms = 60000}]
        deny = ["fs.delete"]
        calls_max = 5
        """
    )
    assert Policy.from_document(document) == (
        Policy.allow(tool=["add", "fs.*"])
        .and_ask(tool=["mail.*"])
        .and_ask(tool=["pay"], who="ann", expires_ms=60_000)
        .and_deny(tool=["fs.delete"])
        .and_calls_max(tool=5)
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "policy is invalid at $: expected a table of kinds"),
        (
            {"tool": {"alow": ["x"]}},
            "policy is invalid at $: Object contains unknown field `alow` - at `$[...]`",
        ),
        (
            {"tool": {"allow": "x"}},
            "policy is invalid at $: Expected `array`, got `str` - at `$[...].allow`",
        ),
        (
            {"tool": {"calls_max": 1.5}},
            "policy is invalid at $: Expected `int | null`, got `float` - at `$[...].calls_max`",
        ),
        (
            {"tool": {"allow": ["a*b"]}},
            "policy is invalid at tool.allow: 'a*b' has a `*` that is not at its end",
        ),
        ({"tool": {"deny": [""]}}, "policy is invalid at tool.deny: '' is not a pattern"),
        (
            {"Tool": {}},
            "policy is invalid at 'Tool': kind must match [a-z][a-z0-9_.]{0,31}",
        ),
        ({"tool\n": {}}, "policy is invalid at 'tool\\n': kind must match [a-z][a-z0-9_.]{0,31}"),
        (
            {"tool": {"ask": [{"target": "x", "who": ""}]}},
            "policy is invalid at tool.ask: `who` is empty",
        ),
        (
            {"tool": {"ask": [{"target": "x", "expires_ms": 0}]}},
            "policy is invalid at tool.ask: expires_ms is 0, expected 1 to 2592000000",
        ),
        (
            {"tool": {"calls_max": -1}},
            "policy is invalid at tool: calls_max is -1, expected 0 or more",
        ),
    ],
)
def test_bad_documents(document, message):
    """A document is read strictly: anything unknown or out of form is an error that says where."""
    with pytest.raises(PolicyInvalidError) as caught:
        Policy.from_document(document)
    assert caught.value.message == message


def test_a_lone_string_is_no_list():
    """A string where a list of patterns belongs is refused, not read letter by letter."""
    with pytest.raises(PolicyInvalidError) as caught:
        Policy.allow(tool="add")
    assert caught.value.message == (
        "policy is invalid at tool.allow: expected a list of patterns, found the string 'add'"
    )


def test_kinds_are_sorted_and_unique():
    """A policy cannot hold a kind twice or out of order."""
    for names in (["tool", "http"], ["tool", "tool"]):
        with pytest.raises(PolicyInvalidError):
            Policy(kinds=tuple((name, Rules()) for name in names))


def test_too_many_rules():
    """The number of rules is bounded."""
    with pytest.raises(PolicyInvalidError) as caught:
        Policy.allow(tool=[f"t{number}" for number in range(10_001)])
    assert caught.value.message == (
        "policy is invalid at kinds: 10001 rules, at most 10000 are read"
    )


class Net:
    """Rules of outbound HTTP, as the gate sees them."""

    def to_document(self):
        return {"allow": ["api.example.com"]}


def test_rules_of_outbound_http():
    """They become their document, let http.fetch pass, and stay with every change."""
    policy = Policy(net=Net()).and_allow(tool=["add"]).and_calls_max(tool=3)
    assert policy.net == {"allow": ["api.example.com"]}
    assert Policy.from_document(policy.to_document()) == policy
    assert decide(policy, "http.fetch", "GET https://any.example.com") == Allow()
    assert decide(Policy(), "http.fetch", "GET https://a") == Deny("no rule allows it")
    assert decide(policy, "http.fetch2", "x") == Deny("no rule allows it")


def test_rules_of_the_gate_come_before_those_of_outbound_http():
    """What the gate denies or asks for is not overruled by the lists of hosts."""
    policy = Policy(net=Net()).and_deny(**{"http.fetch": ["DELETE *"]})
    policy = policy.and_ask(**{"http.fetch": ["POST *"]})
    assert isinstance(decide(policy, "http.fetch", "DELETE https://a"), Deny)
    assert isinstance(decide(policy, "http.fetch", "POST https://a"), Ask)
    assert decide(policy, "http.fetch", "GET https://a") == Allow()


@pytest.mark.parametrize("net", [3, "x", ["api.example.com"]])
def test_what_is_no_policy_for_outbound_http(net):
    """Anything but a policy or a document is refused, and `net` is no kind of effect."""
    with pytest.raises(PolicyInvalidError):
        Policy(net=net)
    with pytest.raises(PolicyInvalidError):
        Policy(kinds=(("net", Rules()),))

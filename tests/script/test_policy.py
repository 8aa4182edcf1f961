"""Tests of the rules about tool calls: which one decides, and what fits it."""

from __future__ import annotations

import fnmatch
import posixpath
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.policy import Allow, Ask, Deny
from cloche.limits import Limits
from cloche.script.errors import ToolDeclarationError
from cloche.script.policy import ToolPolicy, is_under, match_glob
from cloche.script.tools import tool

LIMITS = Limits()
DAY_MS = 86_400_000
ASK = Ask(who="operator", expires_ms=DAY_MS)


def policy(*rules):
    """Return the policy of these rules."""
    return ToolPolicy.from_document(list(rules), limits=LIMITS)


def named(name, **options):
    """Return a tool of this name."""

    def function(path: str = "", count: int = 0, deep: dict[str, int] | None = None) -> None:
        """Do nothing."""

    return tool(name=name, **options)(function)


def decide(rules, name="fs.write", **args):
    """Return what a policy says of a call."""
    return policy(*rules).decide(named(name), args, limits=LIMITS)


RULES = [
    {"tool": "fs.write", "when": {"path": {"under": "/work/tmp"}}, "verdict": "allow"},
    {"tool": "fs.write", "when": {"path": "*.key"}, "verdict": "deny", "reason": "keys"},
    {"tool": "fs.*", "when": {"count": {"at_most": 2}}, "verdict": "ask", "who": "ann"},
    {"tool": "fs.*", "verdict": "deny"},
    {"tool": "*", "verdict": "ask", "expires_ms": 5},
]


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("fs.write", {"path": "/work/tmp/a.key"}, Allow()),
        ("fs.write", {"path": "/work/tmp/../a.key"}, Deny("keys")),
        ("fs.write", {"path": "/a", "count": 2}, Ask(who="ann", expires_ms=DAY_MS)),
        ("fs.write", {"path": "/a", "count": 3}, Deny("a rule forbids it")),
        ("fs.read", {}, Deny("a rule forbids it")),
        ("other", {}, Ask(who="operator", expires_ms=5)),
    ],
)
def test_the_first_rule_that_fits_decides(name, args, expected):
    """By tool and by arguments, in order."""
    assert decide(RULES, name, **args) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ASK),
        ({"read_only": True}, Allow()),
        ({"read_only": True, "requires_approval": True}, ASK),
        ({"requires_approval": False}, Allow()),
        ({"requires_approval": lambda args: args["count"] > 1}, ASK),
        ({"requires_approval": lambda args: args["count"] > 2}, Allow()),
        ({"requires_approval": lambda _: "deny"}, Deny("a rule forbids it")),
        ({"requires_approval": lambda _: "allow"}, Allow()),
        ({"requires_approval": lambda _: "ask"}, ASK),
        ({"requires_approval": lambda _: None}, Deny("a rule forbids it")),
        (
            {"requires_approval": lambda args: args["nothing"]},
            Deny("the rule of the tool failed: KeyError"),
        ),
    ],
)
def test_without_a_rule_the_tool_decides(options, expected):
    """What it declares; else reading is free and the rest asks; a rule that breaks denies."""
    assert ToolPolicy().decide(named("t", **options), {"count": 2}, limits=LIMITS) == expected


def test_a_tool_s_rule_cannot_change_the_arguments():
    """It gets a copy."""
    args = {"count": 2}
    rule = lambda args: bool(args.pop("count"))  # noqa: E731
    ToolPolicy().decide(named("t", requires_approval=rule), args, limits=LIMITS)
    assert args == {"count": 2}


@pytest.mark.parametrize(
    ("condition", "value", "fits"),
    [
        ({"equals": 1}, 1, True),
        ({"equals": 1}, 1.0, True),
        ({"equals": 1}, True, False),
        ({"equals": 0}, False, False),
        ({"equals": True}, True, True),
        ({"equals": None}, None, True),
        ({"equals": None}, 0, False),
        ({"equals": {"a": 1, "b": [2]}}, {"b": [2], "a": 1}, True),
        ({"equals": {"a": 1}}, {"a": True}, False),
        ({"equals": [1]}, "1", False),
        ({"one_of": ["a", "b"]}, "b", True),
        ({"one_of": ["a", "b"]}, "c", False),
        ({"one_of": []}, "c", False),
        ({"matches": "a*"}, "abc", True),
        ({"matches": "a*"}, ["a"], False),
        ({"under": "/a"}, "/a/b", True),
        ({"under": "/a"}, 5, False),
        ({"at_least": 1, "at_most": 3}, 3, True),
        ({"at_least": 1, "at_most": 3}, 3.1, False),
        ({"at_least": 1, "at_most": 3}, 0, False),
        ({"at_least": 1}, True, False),
        ({"at_most": 1}, "0", False),
        ({"present": True}, None, True),
        ({"present": False}, None, False),
        ({"present": True, "equals": 1}, 1, True),
        ("a*c", "abc", True),
        (5, 5, True),
        (None, None, True),
    ],
)
def test_conditions(condition, value, fits):
    """Each is about one argument, and a value of another type fits none."""
    rules = [{"tool": "t", "when": {"x": condition}, "verdict": "deny", "reason": "fits"}]
    assert (decide(rules, "t", x=value) == Deny("fits")) is fits


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"equals": None}, False),
        ({"matches": "*"}, False),
        ({"present": True}, False),
        ({"present": False}, True),
        ({"present": False, "equals": 1}, False),
    ],
)
def test_a_missing_argument_fits_nothing(condition, fits):
    """Unless the rule asks for just that."""
    rules = [{"tool": "t", "when": {"x.y": condition}, "verdict": "deny", "reason": "fits"}]
    for args in ({}, {"x": 1}, {"x": {}}, {"x": [{"y": 1}]}):
        assert (decide(rules, "t", **args) == Deny("fits")) is fits


def test_a_condition_may_look_into_an_object():
    """Names with points between lead there."""
    rules = [{"tool": "t", "when": {"x.y": 1}, "verdict": "deny", "reason": "fits"}]
    assert decide(rules, "t", x={"y": 1}) == Deny("fits")
    assert decide(rules, "t", x={"y": 2}) == ASK


GLOB = st.text(st.sampled_from("ab*/."), max_size=8)


@given(GLOB, GLOB.map(lambda text: text.replace("*", "a")))
def test_globs_match_as_they_do_elsewhere(pattern, text):
    """The standard library's slower way agrees."""
    assert match_glob(pattern, text) is fnmatch.fnmatchcase(text, pattern)


def test_globs_take_linear_time():
    """A pattern made to be slow is not."""
    started = time.process_time()
    assert not match_glob("*a" * 5000 + "b", "a" * 200_000)
    assert not match_glob("*" + "ab*" * 5000, "a" * 200_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a/b", "/a", True),
        ("/a", "/a/", True),
        ("/ab", "/a", False),
        ("/a/../b", "/a", False),
        ("/a/b/../c", "/a", True),
        ("/../a/b", "/a", False),
        ("a/b", "/a", False),
        ("a/b", "a", True),
        ("./a//b", "a", True),
        ("../a/b", "a", False),
        ("/a/b", "a", False),
        ("/x", "/", True),
        ("x", "", True),
        ("../x", "", False),
        ("/a/b\0", "/a", False),
        ("/a/..\\..\\b", "/a", False),
        ("/a/b", "/a/../..", False),
    ],
)
def test_paths_in_a_folder(path, folder, expected):
    """Dots are resolved first; what leads out, or may, is not in it."""
    assert is_under(path, folder) is expected


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), max_size=6).map("/".join))
def test_a_path_that_is_under_is_so_after_it_was_resolved(path):
    """Nothing is in a folder that the system would find elsewhere."""
    if is_under(f"/{path}", "/a"):
        real = posixpath.normpath(f"/{path}")
        assert real.lstrip("/") == "a" or real.lstrip("/").startswith("a/")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "the policy: Expected `array`, got `object`"),
        ([{"tool": "a"}], "the policy: Object missing required field `verdict` - at `$[0]`"),
        ([{"tool": "a", "verdict": "maybe"}], "the policy: Invalid enum value 'maybe'"),
        ([{"tool": "a", "verdict": "ask", "x": 1}], "the policy: Object contains unknown field"),
        ([{"tool": "a*b", "verdict": "ask"}], "rule 1: tool is 'a*b'; it is a name, or the start"),
        ([{"tool": "", "verdict": "ask"}], "rule 1: tool is ''"),
        ([{"tool": "a", "verdict": "ask", "who": ""}], "rule 1: `who` is empty"),
        ([{"tool": "a", "verdict": "ask", "expires_ms": 0}], "rule 1: expires_ms is 0"),
        ([{"tool": "a", "verdict": "ask", "when": {"x": {}}}], "rule 1: a condition asks for noth"),
        (
            [{"tool": "a", "verdict": "ask", "when": {"x": {"like": 1}}}],
            "the policy: Object contains unknown field `like`",
        ),
        (
            [{"tool": "a", "verdict": "ask", "when": {str(n): 1 for n in range(65)}}],
            "rule 1: 65 conditions, at most 64 are read",
        ),
    ],
)
def test_rules_that_are_none(document, problem):
    """The error says which and why."""
    with pytest.raises(ToolDeclarationError) as caught:
        ToolPolicy.from_document(document, limits=LIMITS)
    assert caught.value.message.startswith(problem)


def test_a_policy_has_so_many_rules():
    """One more is refused."""
    limits = LIMITS.replace({"scripts": {"rule_count_max": 2}})
    rule = {"tool": "a", "verdict": "ask"}
    assert len(ToolPolicy.from_document([rule] * 2, limits=limits).rules) == 2
    with pytest.raises(ToolDeclarationError, match="3 rules"):
        ToolPolicy.from_document([rule] * 3, limits=limits)


def test_a_rule_holds_for_detached_calls():
    """What is forbidden is forbidden detached, too; a rule may be of detached calls alone."""
    spawned = replace(named("fs.write"), name="spawn.fs.write")
    for pattern in ("fs.write", "fs.*", "spawn.fs.write", "spawn.*"):
        rules = policy({"tool": pattern, "verdict": "deny"})
        assert isinstance(rules.decide(spawned, {}, limits=LIMITS), Deny), pattern
    assert decide([{"tool": "spawn.*", "verdict": "deny"}]) == ASK


def test_the_outlook_of_a_tool():
    """It is what rules can say of its calls, up to the first that asks for nothing more."""
    when = {"tool": "fs.*", "when": {"path": "/tmp/*"}, "verdict": "allow"}
    always = {"tool": "fs.write", "verdict": "deny"}
    write = named("fs.write")
    assert policy().outlook(write) == {"ask"}
    assert policy(when).outlook(write) == {"allow", "ask"}
    assert policy(when, always).outlook(write) == {"allow", "deny"}
    assert policy(always, when).outlook(write) == {"deny"}
    assert policy(always).outlook(replace(write, name="spawn.fs.write")) == {"deny"}
    assert policy(always).outlook(named("fs.read")) == {"ask"}

"""The console's approvals: what waits, who sees it, decisions with and without other arguments."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gate.canonical import digest, encode_canonical
from cloche.script.tools import ToolSet, tool
from cloche.server.console.arguments import changed_args, fields_of
from cloche.server.errors import InvalidFieldError
from cloche.web.target import Pairs

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker

SENT = []


@tool(requires_approval=True)
def send(to: str, text: str = "", urgent: bool = False, count: int = 1) -> str:
    """Send a letter.

    Args:
        to: who gets it.
        text: what it says.
        urgent: whether it flies.
        count: how many.
    """
    SENT.append((to, text, urgent, count))
    return "sent"


CALL = (
    "const a = 1;\nreturn await tools.send({to: 'ann', text: 'a\\nb <b>', urgent: false, count: 2})"
)


@pytest.fixture
def asker():
    """A server whose tool has done nothing."""
    SENT.clear()
    return Asker(tools={"default": ToolSet(send)})


@pytest.fixture
def person(asker):
    """Somebody who may decide, and no more."""
    return Person(asker, asker.new_key("approve", name="Ann"))


def ask(asker, source=CALL, **options):
    """Begin a script that waits; return its id."""
    answer = asker.post("/v1/scripts", {"source": source, **options})
    assert answer.document["status"] == "suspended", answer.document
    return answer.document["id"]


def place_of(person):
    """Return the page of what waits."""
    return re.search(r'href="(/console/approvals/[^"]+)"', person.see("/console/approvals"))[1]


def form_of(page):
    """Return what the form of a page would send as it is."""
    values = dict(re.findall(r'name="(arg\.\w+)" value="([^"]*)"', page))
    values |= dict(
        re.findall(r'<textarea[^>]*name="(arg\.\w+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    )
    for name, options in re.findall(r'<select[^>]*name="(arg\.\w+)">(.*?)</select>', page):
        values[name] = re.search(r"selected>(\w+)<", options)[1]
    return {
        name: text.replace("&lt;", "<").replace("&gt;", ">").replace("\n", "\r\n")
        for name, text in values.items()
    }


def test_a_call_is_approved_as_it_is(asker, person):
    """The call is shown with its line; a form that nobody touched changes nothing."""
    assert "Nothing waits for a person." in person.see("/console/approvals")
    run_id = ask(asker)
    place = place_of(person)
    assert '"urgent": false' in text_of(person.send("GET", "/console/approvals"))
    link = f'href="/console/scripts/{run_id}"'
    assert link in Person(asker, asker.key).see("/console/approvals")
    assert link not in person.see("/console/approvals")  # it may not see scripts
    page = person.see(place)
    assert "<dt>Session</dt><dd>none</dd>" in page
    assert "The script, line 2</h2>" in page
    assert "<mark>&gt;   2 return await tools.send(" in page
    assert person.do(f"{place}/approve", verdict="approve", **form_of(page)) == "/console/approvals"
    assert f"send of run {run_id[:12]} is approved." in person.see("/console/approvals")
    assert SENT == [("ann", "a\nb <b>", False, 2)]
    assert asker.get(f"/v1/scripts/{run_id}").document["status"] == "completed"
    page = person.see(place)
    assert "approve by Ann (" in page
    assert '<form method="post" action="/console/approvals' not in page


def test_a_call_is_approved_with_other_arguments(asker, person):
    """What is edited is what the tool gets."""
    ask(asker)
    place = place_of(person)
    form = form_of(person.see(place)) | {"arg.to": "bob", "arg.urgent": "true", "arg.count": "3"}
    person.do(f"{place}/approve", verdict="approve", reason="bob knows", **form)
    assert SENT == [("bob", "a\nb <b>", True, 3)]
    page = person.see(place)
    assert "bob knows" in page
    assert "with changed arguments." in page or "&#34;bob&#34;" in page


@pytest.mark.parametrize("verdict", ["reject", "never", "reject_run"])
def test_a_call_is_rejected(asker, person, verdict):
    """Nothing is sent; the reason is kept, as text."""
    run_id = ask(asker)
    place = place_of(person)
    person.do(f"{place}/reject", verdict=verdict, reason=SCRIPT)
    assert SENT == []
    page = person.see(place)
    assert 'class="status rejected"' in page
    assert SCRIPT not in page
    assert asker.get(f"/v1/scripts/{run_id}").document["status"] in ("failed", "rejected")


def test_markup_in_a_call(asker, person):
    """Arguments, names of arguments and the script are shown as text."""
    ask(asker, f"return await tools.send({{to: '{SCRIPT}', text: '</textarea>\\n{SCRIPT}'}})")
    page = person.see(place_of(person))
    assert SCRIPT not in page
    assert page.count("</textarea>") == page.count("<textarea")
    assert SCRIPT not in person.see("/console/approvals")


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("approve", {}),
        ("approve", {"verdict": "maybe"}),
        ("approve", {"verdict": "reject"}),
        ("approve", {"verdict": "approve", "arg.count": "x"}),
        ("approve", {"verdict": "approve", "arg.count": '"x"'}),
        ("approve", {"verdict": "always", "arg.to": "bob"}),
        ("reject", {"verdict": "approve"}),
    ],
)
def test_a_decision_that_is_wrong(asker, person, form, values):
    """What is wrong is said, and the call still waits."""
    ask(asker)
    place = place_of(person)
    page = person.see(place)
    sent = form_of(page) if form == "approve" else {}
    answer = person.submit(f"{place}/{form}", **{**sent, **values})
    assert answer.status == 422, text_of(answer)
    check_page(answer)
    assert place_of(person) == place
    assert SENT == []


def test_a_decision_that_comes_late(asker, person):
    """What was decided otherwise stays so."""
    ask(asker)
    place = place_of(person)
    form = form_of(person.see(place))
    person.do(f"{place}/reject", verdict="reject")
    assert person.submit(f"{place}/approve", verdict="approve", **form).status == 409
    assert SENT == []


def test_what_is_cut_or_hidden_is_not_sent_back(asker, person):
    """Arguments that are not shown whole are left, or given anew as JSON."""
    ask(asker, "return await tools.send({to: 'ann', text: 'x'.repeat(100_000)})")
    place = place_of(person)
    page = person.see(place)
    assert "What is shown is cut" in page
    assert 'name="arg.' not in page
    assert person.submit(f"{place}/approve", verdict="approve", arguments="[]").status == 422
    person.do(f"{place}/approve", verdict="approve", arguments='{"to": "bob"}')
    assert SENT == [("bob", "", False, 1)]


def test_nobody_sees_the_approvals_of_others(asker, person):
    """For another tenant a question does not exist."""
    ask(asker)
    place = place_of(person)
    other = Person(asker, asker.new_key("admin", tenant="other"))
    assert "Nothing waits for a person." in other.see("/console/approvals")
    assert other.send("GET", place).status == 404
    for form in ("approve", "reject"):
        assert other.submit(f"{place}/{form}", verdict=form).status == 404
    assert SENT == []


# --- arguments ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each),
    max_leaves=5,
)


def typed(field):
    """Return what a browser sends of a field that nobody touched."""
    return field.text.replace("\r", "\n").replace("\n", "\r\n")


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_a_form_that_nobody_touched_changes_nothing(args):
    """For all arguments: what a browser sends back unedited is no change."""
    fields = fields_of(args, digest(encode_canonical(args)))
    form = Pairs(tuple(("arg." + field.name, typed(field)) for field in fields))
    assert changed_args(args, fields, form) is None


def test_truth_is_no_number():
    """Changing true to 1 is a change; a field that is missing is an error."""
    args = {"a": True}
    fields = fields_of(args, digest(encode_canonical(args)))
    found = changed_args(args, fields, Pairs((("arg.a", "1"),)))
    assert found == {"a": 1}
    assert type(found["a"]) is int
    with pytest.raises(InvalidFieldError, match="a: is missing from the form"):
        changed_args(args, fields, Pairs())
    assert fields_of(args, "0" * 64) is None
    assert fields_of([1], digest(encode_canonical([1]))) is None

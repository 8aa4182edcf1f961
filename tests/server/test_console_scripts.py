"""The console's scripts: lines and calls, questions, going on, stopping, undoing."""

from __future__ import annotations

import re

import pytest

from cloche.script.programs import call_places
from cloche.script.tools import ToolSet, tool
from cloche.server.console.effects import Effect
from cloche.server.console.script_lines import LINE_SHOWN, lines_of, with_calls

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker
from .tools import double, place, placed, send, sent

SOURCE = """const x = await tools.double({number: 2});
console.log('<b>', x);
await tools.place({name: 'p'});
return await tools.send({to: 'ann'})"""


@tool(requires_approval=False, secret_args=["password"])
def log_in(user: str, password: str) -> str:
    """Log in.

    Args:
        user: who.
        password: that nobody is shown.
    """
    return f"welcome {user}"


@pytest.fixture
def asker():
    """A server with tools, whose tools have done nothing."""
    sent.clear()
    placed.clear()
    return Asker(tools={"default": ToolSet(send, double, place, log_in)})


@pytest.fixture
def person(asker):
    """Somebody who may run scripts and decide."""
    return Person(asker, asker.new_key("run", "approve", name="Ann"))


def start(asker, source=SOURCE, **options):
    """Return the page of a script that was answered."""
    answer = asker.post("/v1/scripts", {"source": source, **options})
    assert answer.status in (200, 202), answer.body
    return f"/console/scripts/{answer.document['id']}"


def test_a_script_that_waits(asker, person):
    """Its page has the lines with their calls, the timeline, the question, and what may be done."""
    found = start(asker, session="notes")
    assert f'href="{found}"' in person.see("/console/scripts")
    page = person.see(found)
    assert "<b>" not in page
    calls = re.findall(r'<li class="call"><code>(.*?)</code> <span class="status (\w+)">', page)
    assert [status for _, status in calls] == ["completed", "completed", "pending"]
    assert "tools.double" in calls[0][0]
    assert page.count('<rect class="bar completed"') == 2
    assert page.count('<rect class="bar pending"') == 1
    assert "It waits for 1 decision." in page
    assert ">Roll back</button>" in page
    assert ">Resume</button>" not in page
    assert 'aria-label="Output">&lt;b&gt; 4' in page
    effect = person.see(f"{found}/effects/0")
    assert "&#34;number&#34;: 2" in effect
    assert person.send("GET", f"{found}/effects/9").status == 404
    journal = person.send("GET", f"{found}/journal")
    assert (journal.status, journal.fields["content-disposition"]) == (200, "attachment")
    without = Person(asker, asker.new_key("run")).see(found)
    assert "This key may not decide." in without
    assert "/console/approvals/" not in without


def test_a_decision_is_shown(asker, person):
    """Who decided, and why, stands beside the question; the value is shown when it is there."""
    found = start(asker)
    question = re.search(r'href="(/console/approvals/[^"]+)"', person.see(found))[1]
    person.do(f"{question}/approve", verdict="approve", reason="so be it", **{"arg.to": "bob"})
    page = person.see(found)
    assert '<span class="status completed">completed</span>' in page
    assert "sent to bob" in page
    assert "so be it" in page
    assert "with other arguments" in page
    assert ">Stop</button>" not in page


def test_stopping_and_undoing(asker, person):
    """A script is stopped, and what it did is undone."""
    found = start(asker)
    assert person.do(f"{found}/cancel") == found
    assert '<span class="status cancelled">cancelled</span>' in person.see(found)
    assert placed == ["p"]
    assert person.do(f"{found}/rollback") == found
    page = person.see(found)
    assert placed == []
    assert "place reverted" in page
    assert sent == []


def test_going_on(asker, person):
    """A script that has not begun is shown; going on with one that is over changes nothing."""
    asker.host.workers.is_held = True
    found = start(asker, "return await tools.double({number: 21})", wait=False)
    page = person.see(found)
    assert 'data-poll="queued"' in page
    assert "tools.double" in page
    asker.host.workers.release()
    page = person.see(found)
    assert "data-poll" not in page
    assert 'aria-label="Value">42</pre>' in page
    assert person.do(f"{found}/resume") == found
    assert 'aria-label="Value">42</pre>' in person.see(found)


def test_a_script_that_failed(asker, person):
    """Why it failed is shown as text."""
    found = start(asker, f"throw new Error('{SCRIPT}')")
    page = person.see(found)
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    broken = start(asker, "eval('1')", wait=False)
    page = person.see(broken)
    assert "SCRIPT_BANNED_IDENTIFIER" in page
    assert "eval(&#39;1&#39;)" in page
    answer = person.submit(f"{broken}/rollback")
    assert answer.status == 409, text_of(answer)
    check_page(answer)


def test_secrets_stay_hidden(asker, person):
    """What a tool keeps secret is on no page, though the journal has it."""
    found = start(asker, "return await tools.log_in({user: 'ann', password: 'a' + 'bc' + 'def'})")
    assert "abcdef" in asker.get(f"/v1/{found.removeprefix('/console/')}/journal").body.decode()
    for page in (person.see(found), person.see(f"{found}/effects/0")):
        assert "abcdef" not in page
    assert "welcome ann" in person.see(f"{found}/effects/0")


def test_nobody_sees_the_scripts_of_others(asker, person):
    """For another tenant a script does not exist, on any page or form."""
    found = start(asker)
    other = Person(asker, asker.new_key("admin", tenant="other"))
    assert found not in other.see("/console/scripts")
    for path in ("", "/effects/0", "/journal"):
        assert other.send("GET", found + path).status == 404
    for form in ("resume", "cancel", "rollback"):
        assert other.submit(f"{found}/{form}").status == 404
    assert "suspended" in person.see(found)


def test_scripts_are_listed_by_time(asker, person):
    """The newest is the first one, and a page has the rest behind a link."""
    places = []
    for _ in range(30):
        asker.host.time_ns += 10**9
        places.append(start(asker, "return 1", session="<" * 100))
    page = person.see("/console/scripts")
    shown = re.findall(r'href="(/console/scripts/[0-9a-f]+)"', page)
    assert shown == places[:4:-1]
    older = re.search(r'href="(/console/scripts\?after=[^"]+)"', page)[1]
    assert re.findall(r'href="(/console/scripts/[0-9a-f]+)"', person.see(older)) == places[4::-1]


def test_a_long_script_is_a_small_page(asker, person):
    """Lines and arguments that are long are cut, and that is said."""
    calls = "\n".join(f"await tools.place({{name: '{'<' * 500}{n}'}});" for n in range(30))
    many = f"{calls}\nconsole.log('<'.repeat(9000));\nthrow new Error('<'.repeat(9000))"
    page = person.see(start(asker, many))
    assert re.search(r"The first \d+ of 32 lines\.", page)
    assert "30 calls" in page
    assert page.count("more characters") >= 1


def test_lines():
    """Each line says what it calls; a call whose line cannot be told is on none."""
    source = "a = await tools.f()\nb = 2\n" + "x" * 1000
    calls = [
        {"tool": "f", "status": "completed", "line": 1},
        {"tool": "g", "status": "failed", "line": None},
    ]
    assert list(call_places(source, "python")) == [("f", 1)]
    lines, count = lines_of(source, "python", calls)
    assert count == len(lines) == 3
    assert (lines[0].tools, lines[0].calls) == (("f",), (("f", "completed"),))
    assert (lines[1].tools, lines[1].calls) == ((), ())
    assert len(lines[2].text) == LINE_SHOWN


def test_effects_show_what_the_result_shows():
    """Each effect has the arguments of its call in the result; one without a call has none."""

    def effect(sequence, target):
        return Effect(
            sequence=sequence, kind="tool", target=target, start_ns=0, args="raw", value="raw"
        )

    calls = [
        {"tool": "f", "args": 1, "value": 2, "error": None},
        {"tool": "f", "args": 3, "value": None, "error": 4},
    ]
    found = with_calls([effect(0, "f"), effect(1, "g"), effect(2, "f"), effect(3, "f")], calls)
    assert [each.sequence for each in found] == [0, 1, 2, 3]
    shown = [(each.args, each.value, each.error) for each in found]
    assert shown == [(1, 2, None), (None, None, None), (3, None, 4), (None, None, None)]

"""The console's sessions: made, run in, looked into, forked, taken back, removed."""

from __future__ import annotations

import re

import pytest

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker


@pytest.fixture(scope="module")
def asker():
    """A server."""
    return Asker()


@pytest.fixture
def person(asker):
    """Somebody who may use sessions, and no more."""
    return Person(asker, asker.new_key("session"))


@pytest.fixture
def place(person):
    """The page of a session."""
    return person.do("/console/sessions", language="python")


def run(person, place, code):
    """Run a snippet and return the page that it leads to."""
    found = person.do(f"{place}/run", code=code)
    assert found.startswith(f"{place}?run=")
    return person.see(found)


def test_a_session(person, place):
    """What a snippet defines is there for the next one; both are in the history."""
    assert "The session was created." in person.see(place)
    assert place in person.see("/console/sessions")
    run(person, place, "a = 6\r\nprint(a)")
    page = run(person, place, "print(a * 7)")
    assert ">42\n</pre>" in page
    assert page.count('<th scope="row" class="number">') == 2
    assert page.index(">2</th>") < page.index(">1</th>")
    assert "/console/runs/" not in page


def test_files(person, place):
    """Files are listed and shown as text; names and content that are markup are harmless."""
    name = "<img src=x onerror=alert(1)> & 100%"
    code = f"import os\nos.mkdir('d')\nopen('d/' + {name!r}, 'w').write('{SCRIPT}')"
    code += "\nopen('b', 'wb').write(bytes([0, 255]))"
    page = run(person, place, code)
    folder = re.search(r'href="([^"]*\?path=[^"]*d)"', page)[1]
    page = person.see(folder)
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; 100%" in page
    link = re.search(r'href="([^"]*/file\?path=[^"]*)"', page)[1]
    page = person.see(link)
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</pre>" in page
    whole = person.send("GET", link + "&whole=1")
    assert (whole.status, whole.body) == (200, SCRIPT.encode())
    assert whole.fields["content-type"] == "application/octet-stream"
    assert whole.fields["content-disposition"] == "attachment"
    assert "This is no text." in person.see(f"{place}/file?path=b")
    answer = person.send("GET", f"{place}/file?path=none")
    assert answer.status == 404
    check_page(answer)
    assert person.send("GET", f"{place}?path=/none").status == 404


def test_time_travel(person, place):
    """A fork goes its own way; a snapshot and an operation can be gone back to."""
    run(person, place, "a = 1")
    assert person.do(f"{place}/snapshot") == place
    name = re.search(r"The state is kept as (\S+)</p>", person.see(place))[1]
    fork = person.do(f"{place}/fork", name="a <b>fork")
    assert fork != place
    assert "Session a &lt;b&gt;fork</h1>" in person.see(fork)
    run(person, place, "a = 2")
    run(person, place, "a = 3")
    assert person.do(f"{place}/revert", to="2") == place
    assert ">2\n</pre>" in run(person, place, "print(a)")
    assert person.do(f"{place}/restore", snapshot=name) == place
    assert ">1\n</pre>" in run(person, place, "print(a)")
    assert ">1\n</pre>" in run(person, fork, "print(a)")


@pytest.mark.parametrize(
    ("form", "values", "status"),
    [
        ("run", {"code": ""}, 422),
        ("revert", {"to": "x"}, 422),
        ("revert", {"to": "99"}, 409),
        ("restore", {"snapshot": SCRIPT}, 409),
        ("fork", {"name": "a/b"}, 422),
        ("fork", {"name": "ses-x"}, 422),
    ],
)
def test_a_form_that_is_wrong(person, place, form, values, status):
    """What is wrong is said on a page, as text, and nothing has changed."""
    answer = person.submit(f"{place}/{form}", **values)
    assert answer.status == status, text_of(answer)
    check_page(answer)
    assert SCRIPT not in answer.body.decode()
    assert "Nothing has happened in it yet." in person.see(place)


def test_a_session_that_is_removed(person, place):
    """It is gone."""
    assert person.do(f"{place}/delete") == "/console/sessions"
    assert person.send("GET", place).status == 404


def test_a_run_that_goes_on(asker, person, place):
    """While a run goes on the page shows it live, and does not wait for the session."""
    asker.host.workers.is_held = True
    found = person.do(f"{place}/run", code="print(1)")
    page = person.see(found)
    events = re.search(r'data-events="([^"]*)"', page)[1]
    assert "They are listed when the run has ended." in page
    asker.host.workers.release()
    assert [event[0] for event in person.send("GET", events).events] == ["start", "stdout", "end"]
    assert person.send("GET", events.replace("/events", "/output")).body == b"1\n"


def test_nobody_sees_the_sessions_of_others(asker, person, place):
    """For another tenant a session does not exist, by id or name, on any page or form."""
    run(person, place, "print('mine')")
    other = Person(asker, asker.new_key("admin", tenant="other"))
    assert place not in other.see("/console/sessions")
    for path in ("", "/file?path=a"):
        assert other.send("GET", place + path).status == 404
    for form in ("run", "fork", "snapshot", "restore", "revert", "delete"):
        answer = other.submit(f"{place}/{form}", code="1", to="0", snapshot="0:")
        assert answer.status == 404, form
    person.see(place)


def test_many_files(person, place):
    """A folder of thousands of files is a small page."""
    page = run(person, place, "for n in range(400): open('<' * 150 + str(n), 'w').close()")
    assert re.search(r"The first 5[0-9] of 400\.", page)

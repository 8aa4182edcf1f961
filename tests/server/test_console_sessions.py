"""The console's sessions: made, run in, looked into, forked, taken back, removed."""

from __future__ import annotations

import re

import pytest

from cloche.server.console.lineage import Member, tree_of

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
    assert re.search(r"The first [12][0-9] of 400\.", page)


def multipart(*parts):
    """Return a form with files: (name, file name or None, content)."""
    lines = []
    for name, filename, content in parts:
        ending = "" if filename is None else f'; filename="{filename}"'
        lines.append(f'--cut\r\ncontent-disposition: form-data; name="{name}"{ending}\r\n\r\n')
        lines.append(f"{content}\r\n")
    return "".join([*lines, "--cut--\r\n"]).encode()


def upload(person, place, *parts, token=None):
    """Return what a form with files answers."""
    fields = [(b"content-type", b"multipart/form-data; boundary=cut")]
    token = person.token() if token is None else token
    content = multipart(("csrf_token", None, token), *parts)
    return person.send("POST", f"{place}/upload", content=content, fields=fields)


def test_uploads(person, place):
    """Files are put into the folder that was shown, by their last name; programs find them."""
    run(person, place, "import os\nos.mkdir('/d')")
    answer = upload(
        person,
        place,
        ("path", None, "/d"),
        ("files", "a.txt", "hello"),
        ("files", "../b<i>", SCRIPT),
    )
    assert (answer.status, answer.fields["location"]) == (303, f"{place}?path=%2Fd")
    page = person.see(answer.fields["location"])
    assert "2 files, 30 B, are in /d." in page
    assert "<code>b&lt;i&gt;</code>" in page
    assert ">hello\n</pre>" in run(person, place, "print(open('/d/a.txt').read())")
    answer = upload(person, place, ("read_only", None, "1"), ("files", "c.txt", "mine"))
    assert "1 file, 4 B, are in /." in person.see(answer.fields["location"])
    assert "file, read only" in person.see(place)
    assert upload(person, place, ("files", "large", "a" * 10_000_000)).status == 303


def test_an_upload_that_is_wrong(asker, person, place):
    """Without a token, a file, or room for it nothing is put in place."""
    assert upload(person, place, ("files", "a.txt", "a"), token="0" * 64).status == 403
    answer = upload(person, place, ("files", "", ""))
    assert (answer.status, "no file was chosen" in text_of(answer)) == (422, True)
    assert upload(person, place, ("files", "..", "a")).status in (409, 422)
    small = Asker(storage={"max_upload": 1 << 20})
    other = Person(small, small.new_key("session"))
    own = other.do("/console/sessions", language="python")
    answer = upload(other, own, ("files", "a.txt", "a" * (1 << 20)))
    assert answer.status == 413
    check_page(answer)
    assert "Nothing is here." in other.see(own)
    assert upload(other, own, ("files", "a.txt", "a" * 1000)).status == 303
    foreign = Person(asker, asker.new_key("session", tenant="other"))
    assert upload(foreign, place, ("files", "a.txt", "a")).status == 404


def test_the_tree(person, place):
    """Forks stand below the session that they left, where they left it, with what is kept."""
    assert "Snapshots and forks" not in person.see(place)
    run(person, place, "a = 1")
    person.do(f"{place}/snapshot")
    early = person.do(f"{place}/fork", name="early")
    run(person, place, "a = 2")
    late = person.do(f"{place}/fork", name="late <b>")
    run(person, late, "a = 3")
    later = person.do(f"{late}/fork", name="later")
    for each in (place, early, late, later):
        page = person.see(each)
        tree = page[page.index('<ul class="tree">') : page.index('aria-labelledby="history"')]
        names = re.findall(r">([^<>\n]+)</(?:a|strong)>", tree)
        assert names == [place.rpartition("/")[2][:12], "early", "late &lt;b&gt;", "later"]
        assert re.findall(r"shares (\d) of (\d)", tree) == [("1", "1"), ("2", "3"), ("3", "3")]
        assert tree.count("<ul>") == tree.count("</ul>") - 1
        assert tree.count("(this one)") == 1
    page = person.see(place)
    assert page.count("Restore the snapshot after operation 1") == 1
    other = person.do("/console/sessions", language="python")
    run(person, other, "a = 1")
    assert "early" not in person.see(other)


def test_a_large_family_is_a_small_page():
    """Many files, long names, a long output and many forks fit on one page."""
    asker = Asker()
    person = Person(asker, asker.new_key("session"))
    place = person.do("/console/sessions", language="python")
    code = "for n in range(200): open('<' * 150 + str(n), 'w').close()\nprint('<' * 9000)"
    for number in range(45):
        run(person, place, f"a = {number}")
    found = person.do(f"{place}/run", code=f"{code}\nraise ValueError('<' * 9000)")
    for number in range(35):
        person.do(f"{place}/fork", name="<" * 150 + f"{number}")
    page = person.see(found)
    assert page.count("shares 46 of 46") == 29
    assert "some forks may be missing" in page


def test_the_tree_of_histories():
    """A session stands below the oldest one of those with which it shares most."""

    def member(name, created_ms, steps):
        return Member(id=name, name=None, created_ms=created_ms, steps=steps)

    root, two, three = member("r", 1, "abc"), member("s", 2, "abd"), member("t", 3, "ab")
    tree = tree_of([three, member("u", 4, "abde"), two, root])
    assert (tree.member, tree.shared) == (root, 0)
    assert [(each.member.id, each.shared) for each in tree.forks] == [("s", 2), ("t", 2)]
    assert [(each.member.id, each.shared) for each in tree.forks[0].forks] == [("u", 3)]
    assert tree_of([]) is None

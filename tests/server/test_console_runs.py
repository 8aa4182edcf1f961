"""The console's runs: the list, a run, its output as it comes, its effects, stopping, replaying."""

from __future__ import annotations

import re

import pytest

from cloche.gate.canonical import encode_canonical
from cloche.gate.entries import Delivered, EffectCompleted, EffectRefused, EffectStarted
from cloche.server.console.effects import bars_of, effects_in

from .console_support import SCRIPT, Person, check_page, text_of
from .support import Asker


@pytest.fixture(scope="module")
def asker():
    """A server."""
    return Asker()


@pytest.fixture
def person(asker):
    """Somebody who may run."""
    return Person(asker, asker.new_key("run"))


@pytest.fixture
def other(asker):
    """Somebody of another tenant who may do everything."""
    return Person(asker, asker.new_key("admin", tenant="other"))


def test_a_program_from_a_form(person):
    """A form runs a program, and leads to its page, which shows what it printed."""
    place = person.do("/console/runs", language="python", code="print(6 * 7)\r\nprint('b')")
    page = person.see(place)
    assert 'class="status completed"' in page
    assert ">42\nb\n</pre>" in page
    assert "print(6 * 7)\nprint(&#39;b&#39;)</pre>" in page
    assert "data-events" not in page
    assert place in person.see("/console/runs")


def test_a_program_that_fails(person):
    """What a program failed with is on its page."""
    place = person.do("/console/runs", language="javascript", code="throw new Error('no')")
    page = person.see(place)
    assert 'class="status failed"' in page
    assert "Error: no" in page


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"language": "python", "code": " \r\n"}, "code: is empty"),
        ({"language": "cobol", "code": "1"}, "cobol"),
        ({"language": SCRIPT, "code": "1"}, SCRIPT),
    ],
)
def test_a_form_that_is_wrong(person, values, says):
    """What is wrong is said on a page, as text."""
    answer = person.submit("/console/runs", **values)
    assert answer.status == 422
    check_page(answer)
    assert says in text_of(answer)
    assert SCRIPT not in answer.body.decode()


def test_output_is_text(asker, person):
    """Markup that a program prints, on either stream and in its error, is shown as text."""
    code = (
        f"import sys\nprint('''{SCRIPT}''')\nsys.stderr.write('''</pre>{SCRIPT}''')\n"
        f"raise ValueError('{SCRIPT}')"
    )
    run = asker.run(code)
    page = person.see(f"/console/runs/{run['id']}")
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    answer = person.send("GET", f"/console/runs/{run['id']}/output")
    assert answer.fields["content-type"].startswith("text/plain")
    assert answer.fields["content-disposition"] == "attachment"
    assert answer.fields["x-content-type-options"] == "nosniff"


def test_much_output(asker, person):
    """A page stays small; the rest is a link away."""
    run = asker.run("print('<' * 300_000)")
    page = person.see(f"/console/runs/{run['id']}")
    assert "297001 more characters" in page
    link = f"/console/runs/{run['id']}/output?stream=stdout"
    assert link in page
    assert len(person.send("GET", link).body) == 300_001


def test_a_run_that_waits_is_live(asker, person):
    """While a run has not ended, its page listens to its events, and can stop it."""
    asker.host.workers.is_held = True
    place = person.do("/console/runs", language="python", code="print('soon')")
    page = person.see(place)
    assert f'data-events="{place}/events"' in page
    assert 'class="status queued"' in page
    assert person.do(f"{place}/cancel") == place
    page = person.see(place)
    assert 'class="status cancelled"' in page
    assert "It was stopped before its end." in page
    assert "INTERNAL" not in page
    assert "The run was asked to stop." in page
    assert "The run was asked to stop." not in person.see(place)
    asker.host.workers.release()


def test_events(asker, person):
    """The console's own events are those of the API, from where one stopped."""
    run = asker.run("print('one')")
    answer = person.send("GET", f"/console/runs/{run['id']}/events")
    assert [event[0] for event in answer.events] == ["start", "stdout", "end"]
    position = answer.events[1][1].encode()
    again = person.send(
        "GET", f"/console/runs/{run['id']}/events", fields=[(b"last-event-id", position)]
    )
    assert [event[0] for event in again.events] == ["start", "end"]


def test_replay(asker, person):
    """A run is executed again from its journal, which can be taken away."""
    run = asker.run("import random; print(random.random())")
    place = f"/console/runs/{run['id']}"
    assert person.do(f"{place}/replay") == place
    assert "Replayed from its journal: the same bytes." in person.see(place)
    journal = person.send("GET", f"{place}/journal")
    assert b"run_started" in journal.body


def test_nobody_sees_the_runs_of_others(asker, other):
    """For another tenant a run does not exist, on any page or form."""
    run = asker.run("print('mine')")
    place = f"/console/runs/{run['id']}"
    for path in ("", "/events", "/output", "/journal", "/effects/1"):
        answer = other.send("GET", place + path)
        assert answer.status == 404, path
        check_page(answer)
        assert "mine" not in text_of(answer)
    for path in ("/cancel", "/replay"):
        assert other.submit(place + path).status == 404
    assert run["id"] not in other.see("/console/runs")


def test_a_page_of_runs(asker):
    """A long list has pages."""
    asker = Asker(page_count_default=2)
    person = Person(asker, asker.key)
    for number in range(3):
        asker.run(f"print({number})")
    page = person.see("/console/runs")
    assert page.count('<th scope="row">') == 2
    link = page.split('class="button" href="')[1].split('"')[0]
    assert person.see(link).count('<th scope="row">') == 1


# --- effects ---

ASKING = "import cloche\ntry:\n    cloche.idempotency_key()\nexcept Exception:\n    pass"


def test_an_effect_in_full(asker, person, other):
    """An effect is a bar that leads to what was asked and answered; nobody else sees it."""
    run = asker.run(ASKING, policy={"durable": {"allow": ["*"]}})
    page = person.see(f"/console/runs/{run['id']}")
    link = re.search(r'<li><a href="([^"]*/effects/[0-9]+)"', page)[1]
    page = person.see(link)
    assert page.count("data-effect") == 1
    assert "<h2>Request</h2>" in page
    assert "<h2>Completion</h2>" in page
    assert person.send("GET", link + "9").status == 404
    assert other.send("GET", link).status == 404


def test_an_effect_that_was_refused(asker, person):
    """What the policy refused is a bar too, with its reason."""
    run = asker.run(ASKING)
    page = person.see(f"/console/runs/{run['id']}")
    assert 'class="bar refused"' in page
    link = re.search(r'<li><a href="([^"]*/effects/[0-9]+)"', page)[1]
    assert "It was refused before it was kept." in person.see(link)


def started(sequence, target="t", args=None):
    """An effect that began."""
    return EffectStarted(
        sequence=sequence, task="main", ordinal=sequence, kind="tool", target=target,
        args=encode_canonical(args),
    )  # fmt: skip


def completed(sequence, duration_ms, value=None):
    """An effect that was answered."""
    return EffectCompleted(
        sequence=sequence,
        value=encode_canonical(value),
        error=None,
        duration_ns=duration_ms * 10**6,
    )


def delivered(*sequences, advance_ms):
    """Answers that reached the program."""
    return Delivered(sequences=sequences, clock_advance_ns=advance_ms * 10**6)


def test_effects_on_a_time_axis():
    """Two at the same time, then one: bars begin where the clock was, and waits are their own."""
    error = encode_canonical({"code": "X", "message": "no"})
    effects = effects_in(
        [
            started(1), started(2),
            completed(1, 10), completed(2, 30),
            delivered(2, advance_ms=30), delivered(1, advance_ms=10),
            started(3), completed(3, 40), delivered(3, advance_ms=40),
            EffectRefused(sequence=4, task="main", ordinal=4, kind="net", target="u",
                          args_sha256="", error=error),
            started(5),
        ]
    )  # fmt: skip
    assert [(each.start_ns // 10**6, each.duration_ms, each.wait_ms) for each in effects] == [
        (0, 10, 30), (0, 30, 0), (40, 40, 0), (80, 0, 0), (80, 0, 0),
    ]  # fmt: skip
    assert [each.outcome for each in effects[2:]] == ["completed", "refused", "pending"]
    assert [(bar.start, bar.length, bar.wait) for bar in bars_of(effects)] == [
        (0, 125, 375), (0, 375, 0), (500, 500, 0), (996, 4, 0), (996, 4, 0),
    ]  # fmt: skip


def test_no_effects():
    """Nothing has no bars."""
    assert bars_of(effects_in([])) == []

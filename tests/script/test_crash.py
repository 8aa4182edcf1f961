"""Tests of being killed: at every change of the store and around every call of a tool."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace

import msgspec
import pytest

from cloche.gate.effect import idempotency_key
from cloche.gate.entries import EffectCompleted, EffectStarted
from cloche.script.adapters.calls import request_of_entry
from cloche.script.errors import ScriptRunBusyError
from script import dying

PHASES = ["suspend", "decide", "resume"]


@pytest.fixture(scope="module", params=["typescript", "python"])
def language(request):
    """Return the language of the script."""
    return request.param


@pytest.fixture(scope="module")
def before(language, tmp_path_factory):
    """Return a folder for each phase, as the phase finds it, and the names of its points."""
    folder = tmp_path_factory.mktemp(language)
    found = {}
    for phase in PHASES:
        kept = folder / phase
        live = folder / "live"
        live.mkdir(exist_ok=True)
        shutil.copytree(live, kept)
        place = dying.Place(live)
        dying.work(place, phase, language)
        found[phase] = (kept, place.points.names)
        place.close()
    return found


def completed_keys(place):
    """Return the keys of the calls that the journal says are done."""
    keys = set()
    for row in place.runs():
        journal = place.harness._runs.shelf.journal(row.id)
        started = {}
        for entry in journal.entries if journal is not None else ():
            if isinstance(entry, EffectStarted) and entry.target[0] != "$":
                started[entry.sequence] = idempotency_key(row.id, request_of_entry(entry))
            elif isinstance(entry, EffectCompleted) and entry.sequence in started:
                keys.add(started[entry.sequence])
    return keys


def counts(place):
    """Return how often each call happened."""
    keys = [line.split()[0] for line in place.log()]
    return {key: keys.count(key) for key in keys}


def go_on(place, language):
    """Do what is left, in this process, after the claims of the dead one are over."""
    if not place.runs():
        # Nothing was acknowledged, so it is the caller's to run it again.
        dying.work(place, "suspend", language)
    (row,) = place.runs()
    result = place.harness.resume(row.id)
    if result.status == "suspended":
        dying.work(place, "decide", language)
        result = place.harness.resume(row.id)
    return result


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_survives_being_killed_anywhere(phase, before, language, tmp_path):
    """It ends as it would have, and no call that was done is done again."""
    kept, names = before[phase]
    alive = 0
    for die_at, name in enumerate(names):
        folder = tmp_path / str(die_at)
        shutil.copytree(kept, folder)
        # Calls that end at the same moment are kept with one change or with two.
        exit_code = dying.died(folder, phase, language, die_at)
        alive += exit_code == 0
        assert exit_code in {-signal.SIGKILL, 0}, name
        place = dying.Place(folder, later_ms=60_000)
        if not place.runs():
            # Nothing was changed yet, so nothing had to be kept.
            assert all(" note " in line for line in place.log()), name
            (folder / "log").unlink(missing_ok=True)
        done, happened = completed_keys(place), counts(place)
        result = go_on(place, language)
        assert (result.status, result.value) == ("completed", dying.VALUE), name
        again = counts(place)
        assert {key: again[key] for key in done} == dict.fromkeys(done, 1), name
        in_flight = {key for key, count in again.items() if count > 1}
        assert in_flight <= happened.keys() - done, name
        assert sorted(line.split(" ", 1)[1] for line in set(place.log())) == [
            "note 1",
            "note 4",
            "write 2",
            "write 3",
        ], name
        assert len(place.harness.audit) == 4, name
        place.close()
        shutil.rmtree(folder)
    assert alive <= 4, "most points are reached every time"


def test_the_points_are_those_that_matter(before):
    """Each phase passes what its name says."""
    suspend, decide, resume = (set(before[phase][1]) for phase in PHASES)
    assert {"after runs.create", "before approvals.apply", "after note", "before runs.update"} <= (
        suspend
    )
    assert decide == {"before approvals.apply", "after approvals.apply"}
    assert {"before write", "after write", "after journals.append", "after runs.update"} <= resume


def test_what_a_dead_process_left_is_taken_up_at_once(before, language, tmp_path):
    """It ran on this machine, and is certainly gone: nobody waits for its claim."""
    kept, names = before["resume"]
    folder = tmp_path / "f"
    shutil.copytree(kept, folder)
    dying.died(folder, "resume", language, names.index("before write"))
    place = dying.Place(folder, later_ms=1)
    (row,) = place.runs()
    result = place.harness.resume(row.id)
    assert (result.status, result.value) == ("completed", dying.VALUE)
    place.close()


def test_a_run_that_somebody_works_on_is_left_alone(before, language, tmp_path):
    """Until the claim of a process is over that may live, because it is on another machine."""
    kept, names = before["resume"]
    folder = tmp_path / "f"
    shutil.copytree(kept, folder)
    dying.died(folder, "resume", language, names.index("before write"))
    place = dying.Place(folder, later_ms=5000)
    (row,) = place.runs()
    used = msgspec.json.decode(row.usage)
    used["owner"] = f"elsewhere.{used['owner'].partition('.')[2]}"
    place.store.runs.update(replace(row, usage=msgspec.json.encode(used)), expected="running")
    with pytest.raises(ScriptRunBusyError) as raised:
        place.harness.resume(row.id)
    assert raised.value.fields["until_ms"] == dying.NOW_MS + 15_001
    assert len(place.log()) == 1
    place.close()

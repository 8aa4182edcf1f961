"""Tests with sessions that version 1 wrote: they open, verify and replay for ever.

A failure here means that people's sessions are lost: the code is wrong, never these files.
"""

from __future__ import annotations

import hashlib
import shutil

import pytest

from cloche.exec.adapters.session_travel import SessionTravel
from cloche.exec.errors import SessionImageError
from cloche.exec.session import Session, sessions_of
from cloche.exec.session_log import ChangeDirectory, Ran, Remove, Upload
from cloche.store.open import open_store

from . import sessions as golden

DIGESTS = {
    "sessions-v1.db": "a18931fdbd04bf8bf4cb43d60848c1b4e38675b9ad49c7f2ee74271c123ff255",
    "session-javascript-v1.clsa": "aa619889bd4e77b0e96d7cfa1bad230b16171ba1b358436628d29270b2558466",  # noqa: E501
    "session-python-v1.clsa": "d3f0caaf5730ba13fd28c2b25774de4b2c30685ae909dca892df37aa9220d61b",
}
STATES = {
    "javascript": "58181ff5b153a414c90b7dee8af6788ee2ca862bbfbde95b9c64e0ca9bf2729f",
    "python": "cc3499131b016a3095b8857598a4ebcccddf243cf4ada72f26780fe7a803f35b",
}
OPERATIONS = [Upload, Upload, Upload, Remove, *[Ran] * 7, ChangeDirectory]
LOOKS = {
    "javascript": "42 5 [ 0.482362806790138, '0c53bcec-4e7a-4556-a444-5bdb9e97e32e' ] é42\n",
    "python": "42 5 [0.7199489901344812, UUID('a3dded82-fbd8-48e4-95e0-9be001ee1ad2')] é42 é42\n",
}

both = pytest.mark.parametrize("language", golden.LANGUAGES)


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    """The key of the machine that wrote them."""
    path = tmp_path / "key"
    path.write_bytes(golden.KEY)
    path.chmod(0o600)
    monkeypatch.setenv("CLOCHE_KEY_FILE", str(path))


@pytest.fixture
def store(tmp_path):
    """A copy of the store, opened and brought to today's schema."""
    path = tmp_path / "cloche.db"
    shutil.copyfile(golden.STORE, path)
    opened = open_store(path)
    yield opened
    sessions_of(opened).close()
    opened.close()


@pytest.fixture
def empty(tmp_path):
    """An empty store for what archives hold."""
    opened = open_store(tmp_path / "empty.db")
    yield opened
    sessions_of(opened).close()
    opened.close()


def test_the_files_are_those_of_then():
    """They are never made again."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [golden.STORE, *map(golden.archive, golden.LANGUAGES)]
    }
    assert found == DIGESTS


@both
def test_history_and_journals_are_there(store, language):
    """Without waking it: every operation, every journal with its chain, every output."""
    with Session.open(f"golden-{language}", store=store) as session:
        steps = session.history()
        assert [type(step.operation) for step in steps] == OPERATIONS
        assert steps[-1].state == STATES[language]
        assert session.working_dir == "/d"
        runs = [step.operation for step in steps if isinstance(step.operation, Ran)]
        for ran in runs:
            journal = sessions_of(store).journal(ran.run_id)
            assert journal.hash == ran.journal_hash
            assert journal.finish is not None


@both
def test_the_store_replays(store, language):
    """All of it is repeated on today's image, and goes on from there."""
    with Session.open(f"golden-{language}", store=store) as session:
        check(session)


@both
def test_the_archive_replays(empty, language):
    """The same of a file that was carried here."""
    archive = golden.archive(language).read_bytes()
    with Session.import_(archive, key=golden.KEY, store=empty) as session:
        assert session.history()[-1].state == STATES[language]
        check(session)


def check(session):
    """Bring a session to today's image, and look at its state and at each of its runs."""
    try:
        session.run("1")
        session.revert(last=1)
    except SessionImageError:
        pass  # made with another version of the guest: that is what update is for
    session.update()
    sessions = sessions_of(session._sessions.store)
    runs = [step.operation for step in session.history() if isinstance(step.operation, Ran)]
    printed = [SessionTravel(sessions).replay(ran.run_id).result.run.stdout for ran in runs]
    assert tuple(printed) == golden.OUTPUTS[session.language]
    assert session.run(golden.LOOK[session.language]).run.stdout == LOOKS[session.language]
    assert session.download("/ro.txt") == b"theirs"

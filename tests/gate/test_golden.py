"""Journals that were written once must be read for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloche.gate.adapters.file import read_chunks, read_journal
from cloche.gate.entries import ENTRY_NAMES
from cloche.gate.journal import verify
from gate import golden

REPLAY = Path(__file__).parents[1] / "replay"

# Golden files and their hashes. Lines are added, never changed.
HASHES = {
    "journal-v1.cloche": "65fc58e3899d8a8b5a5aebe13fc18446632c3f74510ce15277e4a7be96e9cb5d",
}


def test_every_golden_file_is_listed():
    """No golden file is without a pinned hash, none is missing."""
    assert {path.name for path in REPLAY.glob("journal-*.cloche")} == set(HASHES)


@pytest.mark.parametrize("name", HASHES)
def test_golden_file_opens(name):
    """A golden file verifies, is finished, and has the hash it always had."""
    found = verify(read_chunks(REPLAY / name), golden.LIMITS)
    assert (found.hash, found.finished) == (HASHES[name], True)


def test_golden_file_has_every_kind_of_entry():
    """The first golden file leaves no kind of entry out."""
    journal = read_journal(REPLAY / "journal-v1.cloche")
    assert {type(entry) for entry in journal.entries} == set(ENTRY_NAMES)


def test_golden_file_replays():
    """The golden run replays to the same bytes, though messages of refusals may have changed."""
    path = REPLAY / "journal-v1.cloche"
    assert golden.replay(read_journal(path)) == path.read_bytes()


def test_generator_is_deterministic():
    """The program behind the golden file writes the same bytes each time, and they replay."""
    data = golden.record()
    assert golden.record() == data

"""Sessions whose kept state is gone from the store: an error that says so, never empty files."""

from __future__ import annotations

import sqlite3

import pytest

from cloche.exec.session import Session, sessions_of
from cloche.store.errors import StoreUnknownError
from cloche.store.open import open_store


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_files_that_the_store_has_lost(language, tmp_path):
    """Neither bytes nor a list are given, and the error names what is missing."""
    path = tmp_path / "cloche.db"
    store = open_store(path, durability="normal")
    session = Session.create(language, store=store)
    session.write_file("/kept.txt", b"kept" * 1000)
    session.run("x = 1")
    sessions_of(store).close()
    store.close()
    with sqlite3.connect(path) as raw:
        lost = {sha256 for (sha256,) in raw.execute("select sha256 from blobs")}
        for table in ("pins", "blob_chunks", "blobs"):
            raw.execute(f"delete from {table}")
    raw.close()
    assert lost
    store = open_store(path, durability="normal")
    again = Session.open(session.id, store=store)
    for ask in (lambda: again.download("/kept.txt"), lambda: again.list_files("/")):
        with pytest.raises(StoreUnknownError) as caught:
            ask()
        assert caught.value.fields["what"] == "blob"
        assert caught.value.fields["id"] in lost
    assert len(again.history()) == 2
    sessions_of(store).close()
    store.close()

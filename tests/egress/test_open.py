"""The process's service."""

from __future__ import annotations

import os
import subprocess
import sys

from cloche.egress.adapters.database import NetDatabase
from cloche.egress.open import default_service, use_store
from cloche.limits import Limits

PROGRAM = """
import cloche.egress.open as egress_open
from cloche.egress.log import Record

record = Record(at_ns=1, run_id="r", scope="", outcome="allowed", method="GET", host="a", path="/")
service = egress_open.default_service()
service.call(lambda egress: egress.record(record))
service.call(lambda egress: print(len(egress.log)))
"""


def test_calls_that_name_no_store(tmp_path, monkeypatch):
    """They are those of the store that is served, whatever the environment names."""
    monkeypatch.delenv("CLOCHE_SECRET_STORE", raising=False)
    monkeypatch.setenv("CLOCHE_STORE", str(tmp_path / "another.db"))
    url = f"sqlite:///{tmp_path / 'served.db'}"
    use_store(url)
    try:
        assert default_service() is default_service(url)
    finally:
        use_store(None)
    assert default_service() is default_service(str(tmp_path / "another.db"))
    assert default_service() is not default_service(url)


def test_the_log_is_kept_when_the_process_ends(tmp_path):
    """What waits for its turn to be stored is stored at the end, without anybody's doing."""
    path = tmp_path / "cloche-net.db"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "CLOCHE_STORE": str(tmp_path / "cloche.db")},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")
    database = NetDatabase(path, Limits())
    assert [record.run_id for record in database.records(count=10)] == ["r"]
    database.close()

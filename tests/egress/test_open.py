"""The process's service."""

from __future__ import annotations

import os
import subprocess
import sys

from cloche.egress.adapters.database import NetDatabase
from cloche.limits import Limits

PROGRAM = """
import cloche.egress.open as egress_open
from cloche.egress.log import Record

record = Record(at_ns=1, run_id="r", scope="", outcome="allowed", method="GET", host="a", path="/")
service = egress_open.default_service()
service.call(lambda egress: egress.record(record))
service.call(lambda egress: print(len(egress.log)))
"""


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

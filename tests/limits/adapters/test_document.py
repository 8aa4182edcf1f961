"""The page is written by a command."""

from __future__ import annotations

import subprocess
import sys

from cloche.limits.document import WRITE_COMMAND, to_document


def test_the_command_writes_the_page(tmp_path):
    """It writes what `to_document` returns, where it is told."""
    path = tmp_path / "limits.md"
    module = WRITE_COMMAND.split()[-1]
    subprocess.run([sys.executable, "-m", module, str(path)], check=True)
    assert path.read_text(encoding="utf-8") == to_document()

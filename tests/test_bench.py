"""The measurements can be made: what docs/performance.md names starts and has its options."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"(bench/\w+\.py[^`\n)]*)", PAGE)))
SCRIPTS = sorted({command.split()[0] for command in COMMANDS})
TIMEOUT_S = 110
PEERS = ("uvicorn", "granian", "aiohttp", "Starlette", "FastAPI")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_measurement_starts(script):
    """It imports what it measures, and knows every option that the page gives it."""
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        name, *words = command.split()
        if name == script:
            options = [word for word in words if word.startswith("--")]
            assert [option for option in options if option not in done.stdout] == []


def test_the_page_names_what_is_measured():
    """Every measurement of the folder is on the page, but for those that are parts of others."""
    parts = {"apps_http", "web_servers", "web_fuzz", "http1_mutants"}
    found = {f"bench/{path.name}" for path in (ROOT / "bench").glob("*.py")}
    assert found - {f"bench/{name}.py" for name in parts} == set(SCRIPTS)


@pytest.mark.parametrize("peer", PEERS)
def test_servers_are_compared_with_their_peers(peer):
    """Seed 003: in the same run, with what people use."""
    assert peer in PAGE
    assert peer.lower() in (ROOT / "bench" / "web_servers.py").read_text(encoding="utf-8").lower()

"""What the sources are written in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
GUEST = PurePosixPath("src/cloche/guests/javascript")
# Text and data beside the code; what else there is has to have its place.
DATA = {".css", ".html", ".json", ".md", ".npmrc", ".svg", ".txt", ".typed"}
PLACES = {
    ".c": [GUEST],
    ".h": [GUEST],
    ".js": [GUEST, PurePosixPath("src/cloche/server/console/static")],
    ".mjs": [GUEST],
}


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no clone"
)
def test_the_host_is_python_alone():
    """C and JavaScript are inside the JavaScript guest; the console has the browser's script."""
    listed = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = [PurePosixPath(line) for line in listed.splitlines()]
    strangers = [
        str(path)
        for path in paths
        if (path.suffix or path.name) not in DATA | {".py"}
        and not any(path.is_relative_to(place) for place in PLACES.get(path.suffix, []))
    ]
    assert strangers == []
    assert len([path for path in paths if path.suffix == ".py"]) > len(paths) / 2

"""Attack: trees that are too deep, that lead into themselves, that vanish below one's feet."""

from __future__ import annotations

import pytest

from abuse.support import completes, fails, times_out
from cloche import Limits

DEPTH_MAX = Limits().guests.path_depth_max


def test_python_cannot_nest_deeper_than_allowed():
    """Descending step by step ends at the depth limit, with an error that can be caught."""
    code = """
import os
depth = 0
try:
    while True: os.mkdir("d"); depth += 1; os.chdir("d")
except OSError as error: print(depth, error.strerror)
"""
    assert completes(code, "python") == f"{DEPTH_MAX - 1} Filename too long\n"


def test_javascript_cannot_nest_deeper_than_allowed():
    """Descending step by step ends at the depth limit, with an error that can be caught."""
    code = """
const fs = require("fs"); let depth = 0;
try {
  for (;;) { fs.mkdirSync("d"); depth++; process.chdir("d"); }
} catch (error) { console.log(depth, error.code) }
"""
    assert completes(code, "javascript") == f"{DEPTH_MAX - 1} ENAMETOOLONG\n"


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import os\nos.makedirs('d/' * 500)", "python"),
        ("require('fs').mkdirSync('/d'.repeat(500), { recursive: true })", "javascript"),
    ],
)
def test_not_all_at_once_either(code, language):
    """Making parents on the way stops at the same depth."""
    fails("OSError" if language == "python" else "Error", code, language)


def test_moving_a_deep_tree_below_another():
    """Joining two trees that are fine by themselves is held against the limit too."""
    code = """
import os
os.makedirs("/a" + "/d" * 40); os.makedirs("/b" + "/d" * 40)
os.rename("/a", "/b" + "/d" * 40 + "/a")
"""
    fails("OSError", code, "python")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import os\nos.makedirs('/a/b'); os.rename('/a', '/a/b/c')", "python"),
        (
            (
                "const fs = require('fs'); fs.mkdirSync('/a/b', { recursive: true });"
                "fs.renameSync('/a', '/a/b/c')"
            ),
            "javascript",
        ),
    ],
)
def test_a_directory_cannot_be_moved_into_itself(code, language):
    """A tree has no cycles."""
    fails("OSError" if language == "python" else "Error", code, language)


def test_walking_through_a_link_to_the_root():
    """A link that leads up is not followed for ever by what walks trees."""
    python = "import glob, os\nos.symlink('/', '/loop')\nglob.glob('/**', recursive=True)"
    completes(python, "python")
    javascript = (
        "const fs = require('fs'); fs.symlinkSync('/', '/loop');"
        "fs.readdirSync('/', { recursive: true })"
    )
    completes(javascript, "javascript")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import os\nos.mkdir('/a'); os.chdir('/a'); os.rmdir('/a'); open('x', 'w')", "python"),
        (
            (
                "const fs = require('fs'); fs.mkdirSync('/a'); process.chdir('/a');"
                "fs.rmdirSync('/a'); fs.writeFileSync('x', '')"
            ),
            "javascript",
        ),
    ],
)
def test_working_where_nothing_is(code, language):
    """A working directory that was removed is an error where it is used."""
    fails("FileNotFoundError" if language == "python" else "Error", code, language)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import shutil\nshutil.rmtree('/')", "python"),
        ("require('fs').rmSync('/', { recursive: true, force: true })", "javascript"),
    ],
)
def test_the_root_cannot_be_removed(code, language):
    """Its content can."""
    fails("FileExistsError" if language == "python" else "Error", code, language)


def test_looking_up_long_paths_for_ever():
    """Host calls take time, and the time limit holds."""
    code = """
import os
os.makedirs("/" + "d/" * 50)
while True: os.stat("/" + "d/../d/" * 25)
"""
    times_out(code, "python")

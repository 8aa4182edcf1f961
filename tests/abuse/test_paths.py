"""Attack: paths with `..`, links, NUL, bytes that are no text, and no end."""

from __future__ import annotations

import pytest

from abuse.support import completes, exceeds, fails

PYTHON = {
    "NUL": ("ValueError", "open('/a\\0b', 'w')"),
    "no UTF-8": ("OSError", "open(b'/\\xff\\xfe', 'w')"),
    "a name that is too long": ("OSError", "open('/' + 'x' * 256, 'w')"),
    "a path that is too long": ("OSError", "open('/x/' * 5000, 'w')"),
    "a link to itself": ("OSError", "import os; os.symlink('/a', '/a'); open('/a')"),
    "two links to each other": (
        "OSError",
        "import os; os.symlink('/b', '/a'); os.symlink('/a', '/b'); os.stat('/a')",
    ),
    "a link target that is too long": ("OSError", "import os; os.symlink('x/' * 4000, '/a')"),
    "a file as a directory": ("NotADirectoryError", "open('/a', 'w'); open('/a/b')"),
}

JAVASCRIPT = {
    "NUL": "fs.writeFileSync('/a\\0b', '')",
    "a name that is too long": "fs.writeFileSync('/' + 'x'.repeat(256), '')",
    "a path that is too long": "fs.writeFileSync('/x/'.repeat(5000), '')",
    "a link to itself": "fs.symlinkSync('/a', '/a'); fs.readFileSync('/a')",
    "a link target that is too long": "fs.symlinkSync('x/'.repeat(4000), '/a')",
    "an empty path": "fs.readFileSync('')",
    "a file as a directory": "fs.writeFileSync('/a', ''); fs.readFileSync('/a/b')",
    "no path at all": "fs.readFileSync({ toString() { return '/etc/passwd' } })",
}
ROOM = {"limits": {"output_limit_bytes": 1 << 20}}


@pytest.mark.parametrize(("name", "code"), PYTHON.values(), ids=PYTHON.keys())
def test_python_refuses_it(name, code):
    """An error of the operating system that is not there."""
    fails(name, code, "python", **ROOM)


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_refuses_it(code):
    """An error of the operating system that is not there."""
    code = f"const fs = require('fs');\ntry {{ {code} }} catch {{ console.log('refused') }}"
    assert completes(code, "javascript", **ROOM) == "refused\n"


def test_dots_end_at_the_root():
    """However many there are, directly, through a link, or from a working directory."""
    code = """
import os
open("/mine", "w").write("mine")
os.makedirs("/a/b"); os.symlink("../../../../../..", "/a/b/up")
os.chdir("/a/b")
for path in ("../" * 60 + "mine", "/.." * 60 + "/mine", "/a/b/up/mine", "up/a/b/up/mine"):
    print(open(path).read())
"""
    assert completes(code, "python") == "mine\n" * 4


def test_links_cannot_multiply_the_work():
    """Links whose targets hold links are followed a small number of times in all."""
    code = """
import os
os.symlink(".", "/a"); os.symlink("/a/" * 1000, "/b")
print(os.path.exists("/" + "a/" * 40), os.path.exists("/" + "a/" * 41), os.path.exists("/b"))
"""
    assert completes(code, "python") == "True False False\n"


def test_link_targets_count_against_the_files():
    """A link is a file: there are only so many, and each is only so long."""
    code = """
import os
for i in range(10**6): os.symlink("x/" * 2000, f"/s{i}")
"""
    exceeds("files", code, "python", limits={"file_count_max": 100, "output_limit_bytes": 1 << 20})

"""Attack: a million files, directories, links; and more bytes than there is room for."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds

COUNT_MAX = 500
BYTES_MAX = 8 << 20
LIMITS = {"file_count_max": COUNT_MAX, "files_limit_bytes": BYTES_MAX, "file_limit_bytes": 4 << 20}

PYTHON = {
    "files": "for i in range(10**6): open(f'/f{i}', 'w').close()",
    "hidden files": "for i in range(10**6): open(f'/tmp/f{i}', 'w').close()",
    "directories": "import os\nfor i in range(10**6): os.mkdir(f'/d{i}')",
    "symbolic links": "import os\nfor i in range(10**6): os.symlink('/a', f'/s{i}')",
    "temporary files": "import tempfile\nk = [tempfile.mkdtemp() for _ in range(10**6)]",
    "one large file": "f = open('/a', 'wb')\nwhile True: f.write(b'x' * 65536)",
    "many large files": "for i in range(10**4): open(f'/f{i}', 'wb').write(b'x' * (1 << 20))",
    "removed files that stay open": (
        "import os\nk = []\nfor i in range(200):\n    f = open('/a', 'wb'); k.append(f)\n"
        "    f.write(b'x' * (1 << 20)); f.flush(); os.unlink('/a')"
    ),
    "renamed over each other": (
        "import os\nfor i in range(10**4):\n    f = open(f'/f{i}', 'wb')\n"
        "    f.write(b'x' * (1 << 20)); f.close(); os.rename(f'/f{i}', f'/g{i}')"
    ),
}

JAVASCRIPT = {
    "files": "for (let i = 0; i < 1e6; i++) fs.writeFileSync('/f' + i, '')",
    "directories": "for (let i = 0; i < 1e6; i++) fs.mkdirSync('/d' + i)",
    "symbolic links": "for (let i = 0; i < 1e6; i++) fs.symlinkSync('/a', '/s' + i)",
    "one large file": "for (;;) fs.appendFileSync('/a', 'x'.repeat(65536))",
    "many large files": "for (let i = 0; ; i++) fs.writeFileSync('/f' + i, 'x'.repeat(1 << 20))",
    "copies": (
        "fs.writeFileSync('/f', 'x'.repeat(1 << 20));\n"
        "for (let i = 0; ; i++) fs.copyFileSync('/f', '/f' + i)"
    ),
    "promises": (
        "for (let i = 0; ; i++) await fs.promises.writeFile('/f' + i, 'x'.repeat(1 << 20))"
    ),
}


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_ends_at_the_quota(code):
    """An error that nothing catches ends the run as the files limit."""
    exceeds("files", code, "python", limits=LIMITS)


@pytest.mark.parametrize("code", JAVASCRIPT.values(), ids=JAVASCRIPT.keys())
def test_javascript_ends_at_the_quota(code):
    """An error that nothing catches ends the run as the files limit."""
    exceeds("files", f"const fs = require('fs');\n{code}", "javascript", limits=LIMITS)


def test_python_that_catches_the_error_gets_no_more():
    """The quota can be hit again and again, never crossed; removing makes room."""
    code = """
import os
count = 0
for i in range(2000):
    try: open(f"/f{i}", "w").close(); count += 1
    except OSError: pass
os.remove("/f0"); open("/again", "w").close()
print(len(os.listdir("/")) == count < 2000)
"""
    assert completes(code, "python", limits=LIMITS) == "True\n"


def test_javascript_that_catches_the_error_gets_no_more():
    """The quota can be hit again and again, never crossed; removing makes room."""
    code = """
const fs = require("fs"); let count = 0;
for (let i = 0; i < 2000; i++) try { fs.writeFileSync("/f" + i, ""); count++ } catch {}
fs.rmSync("/f0"); fs.writeFileSync("/again", "");
console.log(fs.readdirSync("/").length === count && count < 2000);
"""
    assert completes(code, "javascript", limits=LIMITS) == "true\n"


@pytest.mark.parametrize(
    ("code", "language", "said"),
    [
        (
            "import os\nk = []\nwhile True: k.append(os.open('/a', os.O_CREAT | os.O_RDWR))",
            "python",
            "[Errno 33] No file descriptors available",
        ),
        (
            "const k = []; for (;;) k.push(require('fs').openSync('/a', 'w'))",
            "javascript",
            "EMFILE: too many open files",
        ),
    ],
)
def test_open_files_have_a_number(code, language, said):
    """More open files than allowed are refused, as by every operating system."""
    _, error = attack(code, language)
    assert error is not None
    assert error.case == "runtime-failed", error
    assert error.message.partition(": ")[2].startswith(said), error

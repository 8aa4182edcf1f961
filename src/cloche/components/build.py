"""Builds `exec-python.wasm`: CPython and our program for it in one WASI component.

The work is done by `componentize-py` (the extra `components`) in a process of its own: it takes
over signals and standard streams. The file appears under its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cloche.errors import ClocheError

PYTHON_FILE_NAME: Final = "exec-python.wasm"
BUILD_TIMEOUT_S: Final = 600  # 11 s on two cores
WORLD: Final = "exec-library"

_ROOM: Final = Path(__file__).parent
_SOURCES: Final = _ROOM / "python"
_MODULE: Final = "cloche_component"
_WIT_NAME: Final = "golem-exec.wit"
_TOOL: Final = "import sys; from componentize_py import script; sys.exit(script())"
_OUTPUT_LENGTH_MAX: Final = 2000


class ComponentToolError(ClocheError):
    """What builds components is not installed."""

    code = "COMPONENT_TOOL_MISSING"
    blame = "environment"

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"{tool} is needed to build components and is not installed; "
            "install it with: pip install 'cloche[components]'",
            tool=tool,
        )


class ComponentBuildError(ClocheError):
    """A component could not be built; there is no new file, and an old one is as it was."""

    code = "COMPONENT_BUILD_FAILED"
    blame = "environment"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} could not be built: {reason}", name=name, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component that was built.

    Args:
        path: its file.
        size_bytes: of the file.
        sha256: of the file, in hexadecimal digits.
    """

    path: Path
    size_bytes: int
    sha256: str


def wit_path() -> Path:
    """Return the file of the interface: in the package, or beside it in a checkout."""
    packaged = _ROOM / _WIT_NAME
    return packaged if packaged.exists() else _ROOM.parents[2] / "wit" / _WIT_NAME


def python_inputs() -> str:
    """Return the digest of all that a build reads, to keep a file until one of them changes.

    Raises:
        ComponentToolError: `componentize-py` is not installed.
    """
    from importlib.metadata import version  # noqa: PLC0415 - slow to import

    _check_tool()
    digest = hashlib.sha256(version("componentize-py").encode())
    for path in (wit_path(), *sorted(_SOURCES.rglob("*.py"))):
        name = path.name if path.parent == wit_path().parent else path.relative_to(_SOURCES)
        content = path.read_bytes()
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def build_python(out: Path, *, timeout_s: float = BUILD_TIMEOUT_S) -> Component:
    """Build `exec-python.wasm` as the file `out`; takes about 11 s.

    Raises:
        ComponentToolError: `componentize-py` is not installed.
        ComponentBuildError: the tool failed or took too long, or `out` cannot be written.
    """
    _check_tool()
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".component-") as folder:
            made = Path(folder) / out.name
            _run_tool(made, timeout_s)
            with made.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = made.stat().st_size
            made.replace(out)
    except OSError as error:
        raise ComponentBuildError(PYTHON_FILE_NAME, f"{out}: {error.strerror}") from error
    return Component(path=out, size_bytes=size_bytes, sha256=sha256)


def _check_tool() -> None:
    if find_spec("componentize_py") is None:
        raise ComponentToolError("componentize-py")


def _run_tool(made: Path, timeout_s: float) -> None:
    command = [sys.executable, "-c", _TOOL, "--wit-path", str(wit_path()), "--world", WORLD]
    command += ["componentize", "--python-path", str(_SOURCES), _MODULE, "--output", str(made)]
    try:
        done = subprocess.run(  # noqa: S603 - no part comes from outside
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            # The tool also searches PYTHONPATH, where anything may shadow a module of ours.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
    except subprocess.TimeoutExpired:
        raise ComponentBuildError(PYTHON_FILE_NAME, f"not done after {timeout_s} s") from None
    if done.returncode or not made.exists():
        said = done.stdout.decode(errors="replace").strip()[:_OUTPUT_LENGTH_MAX]
        raise ComponentBuildError(PYTHON_FILE_NAME, said or f"exit code {done.returncode}")

"""`cloche.web` for apps in Python: its core, put into the guest where an app imports it.

The room of the web is pure but for its adapters, so the same code that answers on a server answers
in a guest. What it needs of the world is in `guests/python/web`: a stand-in for msgspec, which is a
C extension, and the seam between an application and the words of the host.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloche.apps.bundle import Bundle

ROOT: Final = "/web"
_IMPORT: Final = re.compile(rb"^[ \t]*(?:import|from)[ \t]+cloche\.web\b", re.MULTILINE)
_ADAPTERS: Final = "adapters"


def wants_web(bundle: Bundle) -> bool:
    """Whether the Python of an app imports `cloche.web`: a pure function of its files."""
    return any(path.endswith(".py") and _IMPORT.search(content) for path, content in bundle.files)


@cache
def web_files() -> dict[str, bytes]:
    """Return the sources, by the path that they have in the guest."""
    package = Path(__file__).parents[2]
    files = {f"{ROOT}/cloche/errors.py": (package / "errors.py").read_bytes()}
    for path in sorted((package / "web").rglob("*.py")):
        name = path.relative_to(package)
        if _ADAPTERS not in name.parts:
            files[f"{ROOT}/cloche/{name.as_posix()}"] = path.read_bytes()
    for path in sorted((package / "guests" / "python" / "web").glob("*.py")):
        files[f"{ROOT}/{path.name}"] = path.read_bytes()
    return files

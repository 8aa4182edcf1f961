"""Writes the page of all limits: `python -m cloche.limits.adapters.document [PATH]`."""

from __future__ import annotations

import sys
from pathlib import Path

from cloche.limits.document import DOCUMENT_PATH, to_document

if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else DOCUMENT_PATH).write_text(
        to_document(), encoding="utf-8"
    )

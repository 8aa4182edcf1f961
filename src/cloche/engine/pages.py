"""The size of a page: the unit in which memory is shared, copied and kept."""

from __future__ import annotations

from typing import Final

PAGE_BYTES: Final = 4096

"""Values that the room reads from outside besides the limits: which guest modules to use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestModules:
    """Guest modules to use instead of the packaged ones (seed 004). None is the packaged one."""

    javascript_path: str | None = None
    python_path: str | None = None

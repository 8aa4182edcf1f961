"""What the room reads from outside, as seen by those who ask: settings and guest modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from cloche.limits.layers import Resolved
    from cloche.limits.limits import Limits

    Overrides = Mapping[str, Mapping[str, int | str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestModules:
    """Guest modules to use instead of the packaged ones (seed 004). None is the packaged one."""

    javascript_path: str | None = None
    python_path: str | None = None


class LoadLimits(Protocol):
    """Returns the limits in force."""

    def __call__(
        self,
        overrides: Overrides | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        config_path: str | PathLike[str] | None = None,
    ) -> Limits:
        """See `cloche.limits.adapters.settings.load_limits`."""
        ...


class ResolveLimits(Protocol):
    """Returns the limits in force and where each value came from."""

    def __call__(
        self,
        overrides: Overrides | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        config_path: str | PathLike[str] | None = None,
    ) -> Resolved:
        """See `cloche.limits.adapters.settings.resolve_limits`."""
        ...


class ReadGuestModules(Protocol):
    """Returns which guest modules to use."""

    def __call__(self, environ: Mapping[str, str] | None = None) -> GuestModules:
        """See `cloche.limits.adapters.settings.guest_modules`."""
        ...

"""Errors of the engine: what the host did wrong or lacks. Guest faults are data, not exceptions."""

from __future__ import annotations

from cloche.errors import ClocheError


class ImageError(ClocheError):
    """A guest image is unknown, unreadable or cannot be made."""

    code = "IMAGE_UNAVAILABLE"
    blame = "environment"


class UnknownImageError(ClocheError):
    """No image has this name."""

    code = "IMAGE_UNKNOWN"
    blame = "caller"

    def __init__(self, *, name: str, known: list[str]) -> None:
        super().__init__(
            f"there is no image {name!r}; the images are: {', '.join(known)}",
            name=name,
            known=known,
        )


class CacheError(ClocheError):
    """The cache folder cannot be trusted or written."""

    code = "CACHE_UNUSABLE"
    blame = "environment"


class CompileLockError(ClocheError):
    """Another process has been compiling the same module for too long."""

    code = "COMPILE_BUSY"
    blame = "environment"
    retryable = True


class SnapshotError(ClocheError):
    """A snapshot is malformed, tampered with, of another image, or too large."""

    code = "SNAPSHOT_REFUSED"
    blame = "caller"


class InstanceClosedError(ClocheError):
    """The instance is gone: it was closed, or its guest was stopped."""

    code = "INSTANCE_CLOSED"
    blame = "caller"

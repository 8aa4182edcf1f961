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


class KeyFileError(ClocheError):
    """The file of the key that signs snapshots cannot be trusted, read or made."""

    code = "KEY_UNUSABLE"
    blame = "environment"

    def __init__(self, message: str, path: object) -> None:
        super().__init__(message, path=str(path))


class SnapshotError(ClocheError):
    """A snapshot is malformed, tampered with, of another image, or too large."""

    code = "SNAPSHOT_REFUSED"
    blame = "caller"


class InstanceClosedError(ClocheError):
    """The instance is gone: it was closed, or its guest was stopped."""

    code = "INSTANCE_CLOSED"
    blame = "caller"


class TypeScriptError(ClocheError):
    """The program is not valid TypeScript, or too much for the transformer.

    Attributes:
        reason: what the transformer said.
        line: from 1, 0 if unknown.
    """

    code = "TYPESCRIPT_INVALID"
    blame = "guest"

    reason: str
    line: int
    filename: str

    def __init__(self, *, filename: str, reason: str, line: int, text: str = "") -> None:
        place = f"{filename}:{line}" if line else filename
        super().__init__(
            f"{place}: {reason}", filename=filename, reason=reason, line=line, text=text
        )

    def display(self) -> str:
        """Return what a compiler would print."""
        place = f"{self.filename}:{self.line}" if self.line else self.filename
        text = self.fields["text"]
        shown = f"{text}\n" if text else ""
        return f"{place}\n{shown}SyntaxError: {self.reason}"

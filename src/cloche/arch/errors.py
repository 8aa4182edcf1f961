"""Why an architecture check could not give an answer.

Owns the errors that stop a check or an init; what a check *finds* is data (`findings.py`), never an
exception. Each class knows the exit code of the command line.
"""

from __future__ import annotations

from typing import ClassVar

from cloche.errors import Blame, ClocheError


class ArchError(ClocheError):
    """The check could not be made. Nothing was written."""

    code: ClassVar[str] = "ARCH_ERROR"
    blame: ClassVar[Blame] = "caller"
    exit_code: ClassVar[int] = 3


class ProjectInvalidError(ArchError):
    """The path is not a project that can be checked or started."""

    code = "ARCH_PROJECT_INVALID"

    def __init__(self, *, path: str, reason: str, advice: str) -> None:
        super().__init__(f"{path}: {reason}. {advice}.", path=path, reason=reason)


class DocumentInvalidError(ArchError):
    """A document of the contract cannot be read or does not fit its schema."""

    code = "ARCH_DOCUMENT_INVALID"

    def __init__(self, *, document: str, pointer: str, reason: str) -> None:
        place = f"{document}#{pointer}" if pointer else document
        super().__init__(
            f"{place}: {reason}. Correct the document; its shape is in schemas/.",
            document=document,
            pointer=pointer,
            reason=reason,
        )


class FileAccessError(ArchError):
    """The machine refused to read or write a file of the project."""

    code = "ARCH_FILE_ACCESS"
    blame: ClassVar[Blame] = "environment"

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}. Check the file and its rights.", path=path, reason=reason
        )


class PatchFailedError(ArchError):
    """An RFC 6902 operation does not fit the document. The document is unchanged."""

    code = "ARCH_PATCH_FAILED"

    def __init__(self, *, operation: str, pointer: str, reason: str) -> None:
        super().__init__(
            f"JSON patch {operation} at {pointer!r}: {reason}. Run the check again.",
            operation=operation,
            pointer=pointer,
            reason=reason,
        )


class ToolBudgetExceededError(ArchError):
    """The project is larger than the checker may read or report."""

    code = "ARCH_TOOL_BUDGET_EXCEEDED"
    blame: ClassVar[Blame] = "limit"
    exit_code: ClassVar[int] = 4

    def __init__(self, *, limit: str, limit_value: int, found: int, subject: str) -> None:
        super().__init__(
            f"{subject}: {found} is over the limit arch.{limit} = {limit_value}. "
            f"Raise arch.{limit} or check a smaller project.",
            limit=limit,
            limit_value=limit_value,
            found=found,
            subject=subject,
        )

"""How a run can fail: one exception per case of `golem:exec`'s error variant.

Each carries the result so far: output before a failure is never lost. `case` is the name in the
WIT; `code` is the same in the project's spelling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cloche.errors import Blame, ClocheError, ErrorDocument

if TYPE_CHECKING:
    from cloche.exec.types import ExecResult


class ExecError(ClocheError):
    """A run that did not end by itself.

    Args:
        message: one line for people.
        result: output, time and memory so far; None if nothing ran.
        fields: JSON-ready detail.
    """

    case: ClassVar[str]
    blame: ClassVar[Blame] = "guest"

    def __init__(self, message: str, *, result: ExecResult | None = None, **fields: Any) -> None:
        super().__init__(message, result=result, **fields)
        self.result = result

    def to_document(self) -> ErrorDocument:
        """Return the error as JSON-ready data; the result stands beside it, not in it."""
        document = super().to_document()
        document["fields"].pop("result", None)
        return document


class UnsupportedLanguageError(ExecError):
    """The language is not one that cloche runs."""

    case = "unsupported-language"
    code = "UNSUPPORTED_LANGUAGE"
    blame = "caller"


class CompilationFailedError(ExecError):
    """The program is not valid: nothing of it ran."""

    case = "compilation-failed"
    code = "COMPILATION_FAILED"


class RuntimeFailedError(ExecError):
    """The program ended with an error that it did not catch."""

    case = "runtime-failed"
    code = "RUNTIME_FAILED"


class TimeoutExceededError(ExecError):
    """The program ran longer than its time limit."""

    case = "timeout"
    code = "TIMEOUT"
    blame = "limit"


class ResourceExceededError(ExecError):
    """The program used more than a limit allows: `resource` says which."""

    case = "resource-exceeded"
    code = "RESOURCE_EXCEEDED"
    blame = "limit"


class InternalExecError(ExecError):
    """The guest broke down, or the host refused to go on."""

    case = "internal"
    code = "INTERNAL"
    blame = "cloche"


class InvalidRunError(ClocheError):
    """A run that was asked for cannot be: an argument is wrong. Nothing ran."""

    code = "INVALID_RUN"
    blame = "caller"


class InvalidFileError(InvalidRunError):
    """A file's content does not match its encoding."""

    code = "INVALID_FILE"

    def __init__(self, *, name: str, encoding: str, reason: str) -> None:
        super().__init__(
            f"the file {name!r} is not valid {encoding}: {reason}", name=name, encoding=encoding
        )

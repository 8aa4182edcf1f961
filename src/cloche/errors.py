"""The one root of every error that cloche raises.

Owns the shape: a stable `code`, who is to blame, whether a retry can help, domain fields as data.
Invariants:
- an error pickles and turns into a JSON-ready dict without losing a field;
- `code` and `blame` are class data: the same failure has the same code for ever;
- messages are composed here or in the subclass, never by a caller that only has a string.

It does not log, and it never holds a secret: whoever reads the error may see every field.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypedDict

Blame = Literal["caller", "guest", "remote", "environment", "limit", "cloche"]


class ErrorDocument(TypedDict):
    """The wire form of an error: what `--json` prints and an API returns."""

    code: str
    message: str
    blame: Blame
    retryable: bool
    fields: dict[str, Any]


class ClocheError(Exception):
    """Something cloche could not or would not do.

    Args:
        message: what happened, what was expected and found, what to do.
        fields: JSON-ready domain data; each becomes an attribute.
    """

    code: ClassVar[str] = "CLOCHE_ERROR"
    blame: ClassVar[Blame] = "cloche"
    retryable: bool = False

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        self.__dict__.update(fields)

    def to_document(self) -> ErrorDocument:
        """Return the error as JSON-ready data."""
        return ErrorDocument(
            code=self.code,
            message=self.message,
            blame=self.blame,
            retryable=self.retryable,
            fields=dict(self.fields),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have their own keyword-only constructors; pickling goes around them.
        return (_rebuild, (type(self), self.message, self.fields))


def _rebuild(cls: type[ClocheError], message: str, fields: dict[str, Any]) -> ClocheError:
    error = cls.__new__(cls)
    ClocheError.__init__(error, message, **fields)
    return error


class InternalError(ClocheError):
    """A rule of cloche itself was broken. Please report it with the message."""

    code = "INTERNAL"

"""What can go wrong with a server, and which local error an answer stands for.

Pure. Invariant: an error that the local API has is raised as that class, with its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from cloche.errors import Blame, ClocheError
from cloche.exec import errors as exec_errors
from cloche.exec.errors import ExecError, RunNotFoundError, SessionExistsError, SessionNotFoundError
from cloche.limits import errors as limits_errors
from cloche.store.errors import StoreUnknownError

if TYPE_CHECKING:
    from cloche.exec.types import ExecResult


class ClientError(ClocheError):
    """Something between this program and a server."""

    code = "CLIENT_ERROR"
    blame: ClassVar[Blame] = "environment"


class ServerUnreachableError(ClientError):
    """No server answers there. Whether it did something is not known; trying again is safe."""

    code = "CLIENT_UNREACHABLE"
    retryable = True

    def __init__(self, *, url: str, problem: str) -> None:
        super().__init__(f"no answer from {url}: {problem}", url=url, problem=problem)


class ServerAnswerError(ClientError):
    """The server refused. `status` and `server_code` say what it said."""

    code = "CLIENT_REFUSED"

    def __init__(self, *, status: int, document: dict[str, Any]) -> None:
        super().__init__(
            str(document.get("message") or f"the server answers {status}"),
            status=status,
            server_code=str(document.get("code", "")),
            server_fields=document.get("fields") or {},
        )
        self.retryable = document.get("retryable") is True


_BY_CODE: Final[dict[str, type[ClocheError]]] = {
    kind.code: kind
    for kind in (*vars(exec_errors).values(), *vars(limits_errors).values())
    if isinstance(kind, type) and issubclass(kind, ClocheError) and "code" in vars(kind)
}
_MISSING: Final[dict[str, type[ClocheError]]] = {
    "run": RunNotFoundError,
    "session": SessionNotFoundError,
}


def error_of(status: int, document: dict[str, Any]) -> ClocheError:
    """Return the error that an answer stands for."""
    code, fields = document.get("code"), document.get("fields") or {}
    if code == "SERVER_NOT_FOUND" and fields.get("kind") in _MISSING:
        return _MISSING[fields["kind"]](str(fields["id"]))
    if code == "SERVER_NOT_FOUND" and fields.get("kind") == "promise":
        return StoreUnknownError(what="promise", id=str(fields["id"]))
    if code == "SERVER_NAME_TAKEN":
        return SessionExistsError(str(fields.get("name", "")))
    kind = _BY_CODE.get(str(code))
    # Those that a guest is to blame for come with a run.
    if kind is None or (issubclass(kind, ExecError) and kind.blame == "guest"):
        return ServerAnswerError(status=status, document=document)
    return _rebuilt(kind, document)


def run_error(document: dict[str, Any], result: ExecResult) -> ClocheError:
    """Return how a run failed, with all that it printed."""
    kind = _BY_CODE.get(str(document.get("code")))
    if kind is None or not issubclass(kind, ExecError):
        return error_of(200, document)
    error = _rebuilt(kind, document)
    error.__dict__["result"] = result
    error.fields["result"] = result
    return error


def _rebuilt(kind: type[ClocheError], document: dict[str, Any]) -> ClocheError:
    # Each class has a constructor of its own; all of them come down to a message and fields.
    error = kind.__new__(kind)
    ClocheError.__init__(error, str(document.get("message", "")), **(document.get("fields") or {}))
    error.retryable = document.get("retryable") is True
    if isinstance(error, ExecError):
        error.__dict__["result"] = None  # where nothing ran
    return error

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
    blame: ClassVar[Blame] = "cloche"


class RunCancelledError(InternalExecError):
    """Whoever may stop the run did; `golem:exec` has no case of its own for that."""

    case = "internal"
    code = "CANCELLED"
    blame = "caller"


class InvalidRunError(ClocheError):
    """A run that was asked for cannot be: an argument is wrong. Nothing ran."""

    code = "INVALID_RUN"
    blame = "caller"


class WorkerLostError(ClocheError):
    """The process that executed a run ended, or did not answer. The run itself is not to blame.

    What a run that is not kept did is not known; it can be asked for again.
    """

    code = "WORKER_LOST"
    blame = "environment"
    retryable = True

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the process that executed the run was lost: {problem}; try again", problem=problem
        )


class WorkersStoppedError(WorkerLostError):
    """The server ends its workers: a run that is kept is taken up by the next one."""

    def __init__(self) -> None:
        super().__init__("the server stops")


class InvalidFileError(InvalidRunError):
    """A file's content does not match its encoding."""

    code = "INVALID_FILE"

    def __init__(self, *, name: str, encoding: str, reason: str) -> None:
        super().__init__(
            f"the file {name!r} is not valid {encoding}: {reason}", name=name, encoding=encoding
        )


class FileAccessError(ClocheError):
    """A file of a session cannot be read, written or removed; `reason` is the POSIX name."""

    code = "FILE_ACCESS"
    blame = "caller"

    def __init__(self, path: str, reason: str) -> None:
        advice = _FILE_REASONS.get(reason, f"the file system answers {reason}")
        super().__init__(f"{path}: {advice}", path=path, reason=reason)


_FILE_REASONS = {
    "EXIST": "there is something already; a folder is mounted where nothing is",
    "NOENT": "there is no such file or directory; list_files shows what there is",
    "ISDIR": "this is a directory, expected a file",
    "NOTDIR": "a part of the path is a file, expected a directory",
    "NOTEMPTY": "the directory is not empty; remove what is in it first",
    "PERM": "the file is read-only",
    "FBIG": "the file is larger than guests.file_limit_bytes",
    "NOSPC": "the files of the session would exceed guests.files_limit_bytes or file_count_max",
    "LOOP": "too many symbolic links lead to one another",
    "NAMETOOLONG": "the path is longer or deeper than guests.path_limit_bytes, path_depth_max",
}


class SessionError(ClocheError):
    """A session cannot do what was asked. Its state is unchanged."""

    code = "SESSION_ERROR"
    blame = "caller"


class SessionNotFoundError(SessionError):
    """No session has this id or name."""

    code = "SESSION_NOT_FOUND"

    def __init__(self, session: str) -> None:
        super().__init__(
            f"there is no session {session!r}; `cloche session list` shows all", session=session
        )


class SessionExistsError(SessionError):
    """Another session has this name."""

    code = "SESSION_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a session named {name!r} already; open it, or choose another name", name=name
        )


class SessionClosedError(SessionError):
    """This handle was closed; the session itself is kept."""

    code = "SESSION_CLOSED"

    def __init__(self, session: str) -> None:
        super().__init__(
            f"this handle of session {session} is closed; open the session again", session=session
        )


class SessionBusyError(SessionError):
    """Another run is going on in the session, here or in another process. Trying later helps."""

    code = "SESSION_BUSY"
    retryable = True

    def __init__(self, session: str, reason: str) -> None:
        super().__init__(f"session {session} is busy: {reason}; try again later", session=session)


class SessionImageError(SessionError):
    """The session was made with another version of its image than this machine has."""

    code = "SESSION_IMAGE"

    def __init__(self, image: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"the session stands on image {image} {expected[:12]}, this machine has {found[:12]}; "
            "use the version of cloche that made it, or `session.update()` to move it by replay",
            image=image,
            expected=expected,
            found=found,
        )


class ArchiveError(SessionError):
    """A file is no exported session that can be taken in. Nothing was imported."""

    code = "SESSION_ARCHIVE"


class RunSuspendedError(ClocheError):
    """The run waits for something and was put away: it has not failed, and is resumed later."""

    code = "RUN_SUSPENDED"
    blame = "caller"
    retryable = True

    def __init__(self, run_id: str, *, due_ns: int | None, stdout: str = "") -> None:
        when = "until something answers" if due_ns is None else f"until {due_ns} ns"
        super().__init__(
            f"run {run_id} waits {when} and was put away; `session.resume()` goes on with it",
            run_id=run_id,
            due_ns=due_ns,
            stdout=stdout,
        )


class RunNotFoundError(ClocheError):
    """No run has this id."""

    code = "RUN_NOT_FOUND"
    blame = "caller"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}; `cloche runs list` shows all", run_id=run_id)

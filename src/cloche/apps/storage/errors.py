"""Errors of the storage of apps, as the app sees them.

Owns every stable code that `cloche.apps.storage` raises. Effects turn them into data: an app that
does something wrong gets an `EffectError` with the same code, and goes on.
Invariant: unless its class says otherwise, nothing was changed.

It does not decide anything.
"""

from __future__ import annotations

from typing import ClassVar

from cloche.errors import Blame, ClocheError


class AppStorageError(ClocheError):
    """Base of every error of the storage of an app."""

    code = "STORAGE_ERROR"
    blame: ClassVar[Blame] = "guest"


class StorageArgumentsError(AppStorageError):
    """An effect was asked for with arguments that it does not take."""

    code = "STORAGE_ARGUMENTS"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}", where=where, problem=problem)


class StorageTargetError(AppStorageError):
    """There is no such effect of this kind."""

    code = "STORAGE_TARGET"

    def __init__(self, *, kind: str, target: str, known: str) -> None:
        super().__init__(
            f"there is no effect {kind}.{target}; there are {known}",
            kind=kind,
            target=target,
            known=known,
        )


class StorageTooLargeError(AppStorageError):
    """One thing is over its limit. Nothing is truncated."""

    code = "STORAGE_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, what: str, size: int, limit: str, maximum: int) -> None:
        super().__init__(
            f"{what} has {size}, over {limit} = {maximum}. Make it smaller or raise the limit",
            what=what,
            size=size,
            limit=limit,
            maximum=maximum,
        )


class QuotaError(AppStorageError):
    """The app has used all that it may keep. A retry helps once something was removed."""

    code = "QUOTA_EXCEEDED"
    blame = "limit"

    def __init__(self, *, what: str, used: int, asked: int, limit: str, maximum: int) -> None:
        super().__init__(
            f"{what}: {used} are used and {asked} more were asked for, over {limit} = {maximum}. "
            "Remove something or raise the limit",
            what=what,
            used=used,
            asked=asked,
            limit=limit,
            maximum=maximum,
        )


class StorageTimeError(AppStorageError):
    """The run ends too soon for what it asks of the storage. A later run has its own time."""

    code = "STORAGE_TIME"
    blame = "limit"
    retryable = True

    def __init__(self, *, left_ms: int, needed_ms: int) -> None:
        super().__init__(
            f"insufficient time: the run ends in {left_ms} ms, and storage needs "
            f"apps.storage_left_min_ms = {needed_ms}",
            left_ms=left_ms,
            needed_ms=needed_ms,
        )


# --- docs ---


class QueryError(AppStorageError):
    """A query means nothing; `where` is the path to the part that is wrong."""

    code = "QUERY_INVALID"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"query at {where}: {problem}", where=where, problem=problem)


class OperatorUnknownError(AppStorageError):
    """A query or a change names an operator that does not exist."""

    code = "OPERATOR_UNKNOWN"

    def __init__(self, *, where: str, operator: str, known: str) -> None:
        super().__init__(
            f"there is no operator {operator} (at {where}); there are {known}",
            where=where,
            operator=operator,
            known=known,
        )


class ChangeError(AppStorageError):
    """Changes cannot be made to a document; `where` is the field."""

    code = "CHANGE_INVALID"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"change at {where}: {problem}", where=where, problem=problem)


class ScanLimitError(AppStorageError):
    """A query would have to look at too many documents."""

    code = "QUERY_SCAN_LIMIT"
    blame = "limit"

    def __init__(self, *, collection: str, maximum: int) -> None:
        super().__init__(
            f"the query looks at more than {maximum} documents of '{collection}' "
            "(apps.query_scan_count_max). Make an index on a field that it compares, "
            "or ask for fewer",
            collection=collection,
            maximum=maximum,
        )


class DocExistsError(AppStorageError):
    """A document of this id is there already."""

    code = "DOC_EXISTS"

    def __init__(self, *, collection: str, id: str) -> None:  # noqa: A002 - the field's name
        super().__init__(
            f"collection '{collection}' has a document '{id}' already", collection=collection, id=id
        )


# --- blobs ---


class UploadUnknownError(AppStorageError):
    """A blob is not being written: it was finished, was left too long, or is another run's."""

    code = "BLOB_UPLOAD_UNKNOWN"
    retryable = True

    def __init__(self, *, upload: str) -> None:
        super().__init__(
            f"no blob is being written as '{upload}': begin again with the first part",
            upload=upload,
        )


class BlobChangedError(AppStorageError):
    """A blob was replaced while it was read in parts."""

    code = "BLOB_CHANGED"
    retryable = True

    def __init__(self, *, path: str) -> None:
        super().__init__(f"blob '{path}' was replaced while it was read: read it again", path=path)


# --- sql ---


class SqlError(AppStorageError):
    """SQLite refused a statement; the message is SQLite's. A batch was rolled back."""

    code = "SQL_ERROR"

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"SQL: {reason}", reason=reason)


class SqlDeniedError(AppStorageError):
    """A statement does what apps may not do."""

    code = "SQL_DENIED"

    def __init__(self, *, action: str) -> None:
        super().__init__(f"SQL: {action} is not allowed in apps", action=action)


class SqlTimeoutError(AppStorageError):
    """Statements took too long and were stopped; what they changed was rolled back."""

    code = "SQL_TIMEOUT"
    blame = "limit"

    def __init__(self, *, timeout_ms: int) -> None:
        super().__init__(
            f"SQL was stopped after {timeout_ms} ms (apps.sql_timeout_ms, or half of what the run "
            "had left); nothing was changed. Make an index, or ask for less",
            timeout_ms=timeout_ms,
        )


class SqlBusyError(AppStorageError):
    """Another writer of this app's database holds it too long."""

    code = "SQL_BUSY"
    blame = "environment"
    retryable = True

    def __init__(self, *, timeout_ms: int) -> None:
        super().__init__(
            f"SQL: the database was locked for {timeout_ms} ms; try again", timeout_ms=timeout_ms
        )


class SqlFileError(AppStorageError):
    """The file of an app's database cannot be used: its disk, its folder, or what is in it."""

    code = "SQL_UNAVAILABLE"
    blame = "environment"

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"SQL: the database cannot be used: {reason}", reason=reason)


# --- jobs and schedules ---


class JobContextError(AppStorageError):
    """Something of a running job was asked for outside of one."""

    code = "JOB_CONTEXT"

    def __init__(self, *, target: str) -> None:
        super().__init__(f"jobs.{target} can be asked for inside of a job only", target=target)


class JobLostError(AppStorageError):
    """The job went to another worker, or is over. Stop: nothing is kept from here any more."""

    code = "JOB_LOST"
    blame = "environment"

    def __init__(self, *, id: str, attempt: int) -> None:  # noqa: A002 - the field's name
        super().__init__(
            f"attempt {attempt} of job '{id}' is not the running one any more: its lease ended",
            id=id,
            attempt=attempt,
        )


class CronError(AppStorageError):
    """A cron expression means nothing, or no time at all."""

    code = "CRON_INVALID"
    blame = "caller"

    def __init__(self, *, expression: str, problem: str) -> None:
        super().__init__(
            f"cron expression {expression!r}: {problem}", expression=expression, problem=problem
        )

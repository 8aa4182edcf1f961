"""What the server refuses, with the status that answers it, and what foreign errors mean here.

Invariants:
- one shape for every error: that of `cloche.errors.ErrorDocument`;
- a message says nothing of another tenant, of the store's place, or of a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cloche.apps.errors import (
    AppError,
    AppRouteError,
    AppUnknownError,
    AppVersionError,
    BundleTooLargeError,
    NoCanaryError,
    RecordingUnknownError,
    TooManyAppsError,
)
from cloche.errors import Blame, ClocheError
from cloche.exec.errors import (
    ArchiveError,
    FileAccessError,
    InvalidRunError,
    RunNotFoundError,
    RunSuspendedError,
    SessionBusyError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedLanguageError,
    WorkerLostError,
)
from cloche.gate.errors import DivergenceError
from cloche.limits import LimitError
from cloche.script.errors import (
    ScriptRunBusyError,
    ScriptRunStateError,
    ToolNotFoundError,
    ToolValidationError,
)
from cloche.store.errors import (
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreInvalidError,
    StoreTooLargeError,
    StoreUnavailableError,
)
from cloche.web.errors import HttpError, UnavailableError

if TYPE_CHECKING:
    from cloche.web.http1.events import Field

MS_PER_S: Final = 1000


class ServerError(HttpError):
    """The server does not do what was asked for."""

    code = "SERVER_ERROR"
    blame: ClassVar[Blame] = "caller"


class ScopeError(ServerError):
    """The key may not do this."""

    code = "SERVER_SCOPE"
    status = 403

    def __init__(self, *, needed: str) -> None:
        super().__init__(f"this key does not have the scope {needed}", needed=needed)


class TenantError(ServerError):
    """The key may not act for another tenant."""

    code = "SERVER_TENANT"
    status = 403

    def __init__(self) -> None:
        super().__init__("only an admin key of the tenant default makes keys for other tenants")


class OperatorError(ServerError):
    """What concerns all tenants is for the first one."""

    code = "SERVER_OPERATOR"
    status = 403

    def __init__(self) -> None:
        super().__init__("this concerns all tenants: it is for admin keys of the tenant default")


class UnknownObjectError(ServerError):
    """The tenant has no such object; another tenant may."""

    code = "SERVER_NOT_FOUND"
    status = 404

    def __init__(self, *, kind: str, id: str) -> None:  # noqa: A002 - as the field is named
        super().__init__(f"there is no {kind} {id!r}", kind=kind, id=id)


class NameTakenError(ServerError):
    """The tenant has an object of this name."""

    code = "SERVER_NAME_TAKEN"
    status = 409

    def __init__(self, *, kind: str, name: str) -> None:
        super().__init__(
            f"there is a {kind} named {name!r} already; choose another name", kind=kind, name=name
        )


class StateError(ServerError):
    """The object is in a state in which this cannot be done. Nothing changed."""

    code = "SERVER_STATE"
    status = 409

    def __init__(self, *, kind: str, id: str, state: str, problem: str) -> None:  # noqa: A002
        super().__init__(f"{kind} {id} is {state}: {problem}", kind=kind, id=id, state=state)


class ReusedKeyError(ServerError):
    """An Idempotency-Key came again with another request."""

    code = "SERVER_IDEMPOTENCY_REUSED"
    status = 422

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key came before with another path, type or body; use a new one"
        )


class PendingKeyError(ServerError):
    """The first request with this Idempotency-Key is still being answered."""

    code = "SERVER_IDEMPOTENCY_PENDING"
    status = 409
    retryable = True

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            "the first request with this Idempotency-Key is still being answered; "
            f"try again in {retry_after_s} s",
            retry_after_s=retry_after_s,
        )

    def response_fields(self) -> tuple[Field, ...]:
        """Return when to come back."""
        return ((b"retry-after", b"%d" % self.fields["retry_after_s"]),)


class InvalidFieldError(ServerError):
    """A value of the request is not one that it can have."""

    code = "SERVER_INVALID"
    status = 422

    def __init__(self, *, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", field=field, problem=problem)


class PreconditionError(ServerError):
    """What a condition of the request names is not what is there now. Nothing was done."""

    code = "SERVER_PRECONDITION"
    status = 412

    def __init__(self) -> None:
        super().__init__("this has changed since you read it; read it again, then decide")


class QuotaError(ServerError):
    """The tenant has as much of something as it may have."""

    code = "SERVER_QUOTA"
    status = 409
    blame = "limit"

    def __init__(self, *, what: str, limit: str, count: int) -> None:
        super().__init__(
            f"there are {count} {what} already, as many as {limit} allows; remove some",
            what=what,
            limit=limit,
            count=count,
        )


class PolicyRefusedError(ServerError):
    """The policy names effects that this server performs for nobody."""

    code = "SERVER_POLICY"
    status = 403

    def __init__(self, *, kinds: list[str], known: list[str]) -> None:
        super().__init__(
            f"this server performs no effects of kind {', '.join(kinds)}; a policy here names "
            f"{', '.join(known)}, and with --allow-net http and net",
            kinds=kinds,
            known=known,
        )


class ForeignListError(ServerError):
    """The policy names lists of another tenant."""

    code = "SERVER_FOREIGN_LIST"
    status = 403

    def __init__(self, *, names: list[str]) -> None:
        super().__init__(
            f"the lists {', '.join(names)} are another tenant's; a policy names lists as their "
            "tenant does, such as global",
            names=names,
        )


class QueueFullError(ServerError):
    """Too many runs of this tenant wait. Nothing was started."""

    code = "SERVER_QUEUE_FULL"
    status = 429
    blame = "limit"
    retryable = True

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many runs of this tenant wait; try again in {retry_after_s} s",
            retry_after_s=retry_after_s,
        )

    def response_fields(self) -> tuple[Field, ...]:
        """Return when to come back."""
        return ((b"retry-after", b"%d" % self.fields["retry_after_s"]),)


class RateLimitedError(ServerError):
    """The tenant began too many runs lately. Nothing was started."""

    code = "SERVER_RATE"
    status = 429
    blame = "limit"
    retryable = True

    def __init__(self, *, per_minute: int, retry_after_s: int) -> None:
        super().__init__(
            f"this tenant may begin {per_minute} runs a minute; try again in {retry_after_s} s",
            per_minute=per_minute,
            retry_after_s=retry_after_s,
        )

    def response_fields(self) -> tuple[Field, ...]:
        """Return when to come back."""
        return ((b"retry-after", b"%d" % self.fields["retry_after_s"]),)


class HostError(ClocheError):
    """The server could not execute a run; what happened is in its log."""

    code = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("the server could not execute the run; the failure was logged")


class ServeError(ClocheError):
    """The server cannot be started like this. Nothing was opened."""

    code = "SERVER_START"
    blame = "caller"

    def __init__(self, problem: str) -> None:
        super().__init__(problem, problem=problem)


class ConfigError(ClocheError):
    """A setting that does not exist, or cannot be what it was said to be. Nothing was opened."""

    code = "SERVER_CONFIG"
    blame = "caller"

    def __init__(self, *, where: str, problem: str, origin: str) -> None:
        super().__init__(
            f"{where} {problem} (from {origin})", where=where, problem=problem, origin=origin
        )


# The first class that fits says the status.
_STATUSES: Final[tuple[tuple[type[ClocheError], int], ...]] = (
    (SessionNotFoundError, 404),
    (RunNotFoundError, 404),
    (SessionExistsError, 409),
    (SessionBusyError, 409),
    (RunSuspendedError, 409),
    (ArchiveError, 422),
    (SessionError, 409),
    (DivergenceError, 409),
    (ScriptRunBusyError, 409),
    (ScriptRunStateError, 409),
    (ToolNotFoundError, 409),
    (ToolValidationError, 422),
    (UnsupportedLanguageError, 422),
    (InvalidRunError, 422),
    (LimitError, 422),
    (StoreInvalidError, 422),
    (StoreTooLargeError, 413),
    (WorkerLostError, 503),
    (AppUnknownError, 404),
    (AppVersionError, 404),
    (RecordingUnknownError, 404),
    (AppRouteError, 409),
    (NoCanaryError, 409),
    (TooManyAppsError, 409),
    (BundleTooLargeError, 413),
    (AppError, 422),
)
# What a file operation can meet; anything else is the state of the session's files.
_FILE_STATUSES: Final = {"NOENT": 404, "FBIG": 413, "NOSPC": 413, "NAMETOOLONG": 422, "INVAL": 422}
_STORE_AWAY: Final = (StoreBusyError, StoreFullError, StoreUnavailableError)


def status_of(error: ClocheError) -> int | None:
    """Return the status for an error of another room; None when it is the server's own failure."""
    if isinstance(error, FileAccessError):
        return _FILE_STATUSES.get(str(error.fields.get("reason")), 409)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    if isinstance(error, StoreError):
        return None
    return 422 if error.blame == "caller" else None


def unavailable(error: ClocheError, *, retry_after_ms: int) -> UnavailableError | None:
    """Return what to answer when the store cannot be used now; None for other errors."""
    if not isinstance(error, _STORE_AWAY):
        return None
    return UnavailableError(
        problem="what is kept cannot be read or written now",
        retry_after_s=seconds(retry_after_ms),
    )


def seconds(duration_ms: int) -> int:
    """Return a duration in whole seconds, rounded up: what Retry-After can say."""
    return max(1, -(-duration_ms // MS_PER_S))

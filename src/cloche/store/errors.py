"""Errors of the store.

Owns every stable code that the room raises. Adapters translate what their database raises into
these, at one place each, with the original as the cause.
Invariants:
- an error says what is kept: unless its class says otherwise, nothing was changed;
- no message holds a password: a store is named by its URL without one.

It does not decide anything.
"""

from __future__ import annotations

from typing import ClassVar

from cloche.errors import Blame, ClocheError


class StoreError(ClocheError):
    """Base of every error of a store."""

    code = "STORE_ERROR"
    blame: ClassVar[Blame] = "environment"


# --- what the caller asked for ---


class StoreUrlError(StoreError):
    """A URL names no store that this cloche can open. State: nothing was opened."""

    code = "STORE_URL"
    blame = "caller"

    def __init__(self, *, url: str, problem: str) -> None:
        super().__init__(
            f"cannot open the store {url}: {problem}. Write a path, sqlite:///PATH, "
            "postgresql://USER@HOST/DATABASE, or memory:",
            url=url,
            problem=problem,
        )


class StoreInvalidError(StoreError):
    """A value cannot be kept: it breaks a rule of its row. State: nothing was changed."""

    code = "STORE_INVALID"
    blame = "caller"

    def __init__(self, *, where: str, problem: str) -> None:
        super().__init__(f"{where} {problem}", where=where, problem=problem)


class StoreUnknownError(StoreError):
    """The store holds nothing by this id. `what` is the kind of thing."""

    code = "STORE_UNKNOWN"
    blame = "caller"

    def __init__(self, *, what: str, id: str) -> None:  # noqa: A002 - the field's name
        super().__init__(f"the store has no {what} '{id}'", what=what, id=id)


class StoreExistsError(StoreError):
    """The id or the name is taken. State: what exists is untouched."""

    code = "STORE_EXISTS"
    blame = "caller"

    def __init__(self, *, what: str, id: str) -> None:  # noqa: A002 - the field's name
        super().__init__(
            f"{what} '{id}' exists already: choose another id or name", what=what, id=id
        )


class StoreChangedError(StoreError):
    """It is not as the caller thinks, often because somebody else was first. State: unchanged."""

    code = "STORE_CHANGED"
    blame = "caller"
    retryable = True

    def __init__(self, *, what: str, id: str, expected: str, found: str) -> None:  # noqa: A002
        super().__init__(
            f"{what} '{id}' is not as expected: expected {expected}, found {found}. "
            "Read it again, then decide",
            what=what,
            id=id,
            expected=expected,
            found=found,
        )


class LeaseHeldError(StoreError):
    """Another owner works on the session. A retry helps after `until_ns`, or when it is done."""

    code = "LEASE_HELD"
    blame = "caller"
    retryable = True

    def __init__(self, *, session_id: str, owner: str, until_ns: int) -> None:
        super().__init__(
            f"session '{session_id}' is in use by '{owner}' until {until_ns} ns",
            session_id=session_id,
            owner=owner,
            until_ns=until_ns,
        )


class LeaseLostError(StoreError):
    """The lease expired and went to another owner, or was given back. State: nothing changed."""

    code = "LEASE_LOST"
    blame = "environment"

    def __init__(self, *, session_id: str, token: int) -> None:
        super().__init__(
            f"lease {token} of session '{session_id}' is no longer valid: another process may "
            "have gone on with it. Drop what is in memory and open the session again",
            session_id=session_id,
            token=token,
        )


class StoreTooLargeError(StoreError):
    """Something is over its limit. Nothing is truncated. State: nothing was kept."""

    code = "STORE_TOO_LARGE"
    blame = "limit"

    def __init__(self, *, what: str, limit: str, limit_bytes: int, size_bytes: int) -> None:
        super().__init__(
            f"{what} has {size_bytes} bytes or more, over {limit} = {limit_bytes}. "
            "Make it smaller or raise the limit",
            what=what,
            limit=limit,
            limit_bytes=limit_bytes,
            size_bytes=size_bytes,
        )


class StoreClosedError(StoreError):
    """The store was closed. State: absorbing; open it again."""

    code = "STORE_CLOSED"
    blame = "caller"

    def __init__(self, *, store: str) -> None:
        super().__init__(f"the store {store} is closed", store=store)


# --- what the database cannot do ---


class StoreUnavailableError(StoreError):
    """The database cannot be reached, or broke off. State: the change was made or was not.

    What was acknowledged before is kept. Read before writing again.
    """

    code = "STORE_UNAVAILABLE"
    retryable = True

    def __init__(self, *, store: str, reason: str) -> None:
        super().__init__(f"the store {store} is unavailable: {reason}", store=store, reason=reason)


class StoreBusyError(StoreError):
    """Another process holds the database longer than `store.busy_timeout_ms`."""

    code = "STORE_BUSY"
    retryable = True

    def __init__(self, *, store: str, waited_ms: int) -> None:
        super().__init__(
            f"the store {store} is locked by somebody else for more than {waited_ms} ms",
            store=store,
            waited_ms=waited_ms,
        )


class StoreFullError(StoreError):
    """No space is left for the database. State: nothing was changed, all else is kept."""

    code = "STORE_FULL"
    retryable = True

    def __init__(self, *, store: str, reason: str) -> None:
        super().__init__(
            f"the store {store} has no space left ({reason}). Free some; nothing was lost",
            store=store,
            reason=reason,
        )


class StoreReadOnlyError(StoreError):
    """The database cannot be written: its file, its folder, or its server says so."""

    code = "STORE_READ_ONLY"

    def __init__(self, *, store: str, reason: str) -> None:
        super().__init__(
            f"the store {store} cannot be written: {reason}. Check the permissions of the file "
            "and of its folder",
            store=store,
            reason=reason,
        )


class StoreForeignError(StoreError):
    """The database is not one of cloche. State: it is untouched."""

    code = "STORE_FOREIGN"
    blame = "caller"

    def __init__(self, *, store: str, found: str) -> None:
        super().__init__(
            f"{store} is no store of cloche: {found}. It was not touched; choose another place",
            store=store,
            found=found,
        )


class StoreVersionError(StoreError):
    """The database was written by a newer cloche. State: it is untouched."""

    code = "STORE_VERSION"
    blame = "caller"

    def __init__(self, *, store: str, found: str, known: str) -> None:
        super().__init__(
            f"the store {store} has schema {found}, this cloche knows up to {known}: "
            "upgrade cloche. The store was not touched",
            store=store,
            found=found,
            known=known,
        )


class StoreCorruptError(StoreError):
    """What is kept is not what was put there. State: it is left as it is, for inspection."""

    code = "STORE_CORRUPT"

    def __init__(self, *, store: str, problem: str) -> None:
        super().__init__(
            f"the store {store} is damaged: {problem}. Restore it from a backup",
            store=store,
            problem=problem,
        )

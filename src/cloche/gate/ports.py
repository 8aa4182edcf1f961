"""What the gate needs from the world, as protocols.

Owns the two ports and the exception by which a handler says that its effect failed.
It implements nothing: adapters do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cloche.gate.effect import EffectError, EffectRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


class EffectFailure(Exception):  # noqa: N818 - a failure is an answer, not an error of the host
    """Raised by a handler: the effect failed, and the guest shall see this error as data."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.error = EffectError(
            code=code, message=message, retryable=retryable, retry_after_ms=retry_after_ms
        )


class EffectSuspended(Exception):  # noqa: N818 - neither a failure nor an error: not yet
    """Raised by a handler: there is no answer yet, and nothing has to stay alive to wait for it.

    The run is put away with the effect begun and not answered; when it is resumed the effect is
    asked for again, under the same identity.

    Args:
        due_ns: wall clock, nanoseconds of the Unix epoch, from when asking again makes sense; None
            where something else than time decides.
    """

    def __init__(self, *, due_ns: int | None = None) -> None:
        super().__init__(f"no answer before {due_ns}")
        self.due_ns = due_ns


class EffectHandler(Protocol):
    """Performs effects of one kind."""

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform the effect and return its value, plain JSON.

        `effect.idempotency_key(run_id, request)` is equal when the run is executed again; a handler
        that passes it on makes at-least-once into once.

        Raises:
            EffectFailure: the effect failed; the guest sees the error.
            EffectSuspended: there is no answer yet; the run is put away. Anything else that is
                raised is a fault of the handler, and ends the run.
        """


@runtime_checkable
class Cancels(Protocol):
    """A handler that can stop what it performs. Others go on, and nobody gets their value."""

    def cancel(self, request: EffectRequest) -> None:
        """Stop performing a request: nobody wants its value any more.

        Called from another thread than `perform`, perhaps before it begins or after it returned.
        """


class JournalSink(Protocol):
    """Keeps the records of one journal."""

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records; when this returns they are as durable as the sink makes them.

        Raises:
            JournalStorageError: nothing, or a prefix that may end inside a record, was appended;
                the sink takes no more.
            GateMisuseError: the sink is closed.
        """

    def close(self) -> None:
        """Release what the sink holds; a second call does nothing."""

"""What the engine needs of whoever runs it: a way to have effects answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cloche.engine.abi import Submission


class EffectPort(Protocol):
    """Answers what a guest asks of the world. Every method may raise `GuestStopped`.

    `size_bytes` is the size of the request as the guest sent it.
    """

    def call(self, submission: Submission, size_bytes: int) -> bytes:
        """Answer at once, as JSON: `{"value": …}` or `{"error": {code, message, retryable}}`."""

    def submit(self, submission: Submission, size_bytes: int) -> None:
        """Start an effect whose completion comes later, named by `submission.id`."""

    def wait(self, timeout_ns: int | None) -> list[bytes]:
        """Block until a submitted effect completes or `timeout_ns` of virtual time have passed.

        Returns:
            JSON of each completion, `{"id": …, "value": …}` or `{"id": …, "error": …}`, in the
            order in which the guest shall see them; empty on timeout.
        """

    def abandon(self, submission_id: int) -> None:
        """Give up a submitted effect: no completion of it will come.

        A number that names nothing pending changes nothing: its completion was on its way.
        """

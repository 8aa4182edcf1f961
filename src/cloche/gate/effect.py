"""What crosses the gate: a request, its identity, and how it ended.

Owns the value types that guests, hosts and journals share.
Invariants:
- frozen data; two equal requests have equal identities on every machine;
- an error is data: a guest's effect never fails by an exception of the host;
- `EffectCompletion` holds the exact JSON text of its value, so a guest sees the same bytes live
  and in a replay.

It does not decide whether an effect may happen, and it does no I/O.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cloche.gate.canonical import decode, digest, encode_canonical, encode_plain

if TYPE_CHECKING:
    from cloche.errors import ClocheError


class EffectIdentity(NamedTuple):
    """What must be equal for a recorded completion to answer a request."""

    task: str
    ordinal: int
    kind: str
    target: str
    args_digest: str


class EffectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a guest asks of the world.

    `sequence` counts the requests of the run from 0; `ordinal` those of the task from 0.
    `args` is plain JSON. `args_text` is its canonical text where the gate records, else None.
    """

    sequence: int
    task: str
    ordinal: int
    kind: str
    target: str
    args: Any
    args_text: bytes | None = None

    @property
    def args_digest(self) -> str:
        """SHA-256 of the canonical JSON of the args, 64 hexadecimal digits."""
        text = self.args_text
        return digest(encode_canonical(self.args) if text is None else text)

    @property
    def identity(self) -> EffectIdentity:
        """Where the request stands in the run and what it asks."""
        return EffectIdentity(self.task, self.ordinal, self.kind, self.target, self.args_digest)


def idempotency_key(run_id: str, request: EffectRequest) -> str:
    """Return the key of a request: equal when the same run is executed again, 64 hex digits."""
    hasher = hashlib.sha256(b"cloche effect 1")
    for part in (run_id, *map(str, request.identity)):
        data = part.encode()
        # With its length before each part, no two different lists of parts give the same bytes.
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


class EffectError(msgspec.Struct, frozen=True, kw_only=True):
    """How an effect failed, as a guest sees it. `retry_after_ms` is None when unknown.

    Raises:
        ValueError: on construction, when a field has another type or is below zero.
    """

    code: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None

    def __post_init__(self) -> None:
        # Handlers are written by others; what they say here is recorded and must be readable.
        after_ms = self.retry_after_ms
        if not (
            type(self.code) is str
            and type(self.message) is str
            and type(self.retryable) is bool
            and (after_ms is None or (type(after_ms) is int and 0 <= after_ms < 1 << 63))
        ):
            raise ValueError(
                "an error has a code and a message (text), retryable (bool) and retry_after_ms "
                "(None, or 0 or more)"
            )

    @classmethod
    def from_error(cls, error: ClocheError) -> EffectError:
        """Return the guest's view of a cloche error."""
        return cls(code=error.code, message=error.message, retryable=error.retryable)

    def to_document(self) -> dict[str, Any]:
        """Return the error as JSON-ready data; `retry_after_ms` only where it is known."""
        document: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.retry_after_ms is not None:
            document["retry_after_ms"] = self.retry_after_ms
        return document


class EffectCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """How an effect ended: exactly one of `value_text` (JSON) and `error` is not None.

    `duration_ns` is real time where the effect was performed, 0 where it was refused.
    """

    sequence: int
    value_text: bytes | None = None
    error: EffectError | None = None
    duration_ns: int = 0

    def __post_init__(self) -> None:
        if (self.value_text is None) == (self.error is None):
            raise ValueError("a completion has either a value or an error")

    @property
    def value(self) -> Any:
        """The value, decoded; None when the effect failed."""
        return None if self.value_text is None else decode(self.value_text)

    def to_guest(self, *, id_text: bytes | None = None) -> bytes:
        """Return the reply for the guest: `{"value":…}` or `{"error":{…}}`, as JSON text.

        With `id_text` (JSON text of the guest's own number) the object begins with `"id"`.
        """
        start = b"{" if id_text is None else b'{"id":' + id_text + b","
        if self.error is not None:
            return start + b'"error":' + encode_plain(self.error.to_document()) + b"}"
        return start + b'"value":' + (self.value_text or b"null") + b"}"

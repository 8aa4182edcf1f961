"""Effects of kind `durable`: waiting for days, promises, keys that stay the same.

Owns what a durable program can ask of its session's store. Invariants:
- asking twice is asking once: everything is named by the effect's idempotency key;
- who waits longer than `sessions.suspend_after_ms` holds nothing: the run is put away.

| target | args | value |
|---|---|---|
| `sleep` | `{"until_ns": N}` wall clock | null, not before |
| `promise.create` | `{}` | id |
| `promise.complete` | `{"id", "value"}` | true, or false if it has a value already |
| `promise.get` | `{"id"}` | the value, once there is one |
| `promise.poll` | `{"id"}` | `{"value"}`, or null while there is none |
| `idempotency_key` | `{}` | 64 hex digits, equal when the run is executed again |
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.gate.effect import idempotency_key
from cloche.gate.ports import EffectFailure, EffectSuspended
from cloche.store.errors import StoreExistsError, StoreUnknownError
from cloche.store.rows import Promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits
    from cloche.store.ports import Store

DURABLE_KIND: Final = "durable"
POLL_S: Final = 0.02
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
ID_DIGITS: Final = 32


class DurableHandler:
    """Performs `durable` effects of one run.

    Args:
        store: of the session.
        limits: the group `sessions`.
        now_ns: the wall clock.
        pause: waits for some seconds.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        now_ns: Callable[[], int],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._patience_ns = limits.sessions.suspend_after_ms * NS_PER_MS
        self._now_ns = now_ns
        self._pause = pause

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform one of the effects above; see `EffectHandler`."""
        args = request.args if isinstance(request.args, dict) else {}
        key = idempotency_key(run_id, request)
        match request.target:
            case "sleep":
                return self._sleep(_field(args, "until_ns", int))
            case "promise.create":
                return self._create(key, run_id)
            case "promise.complete":
                return self._complete(_field(args, "id", str), args.get("value"))
            case "promise.get":
                return self._wait(_field(args, "id", str))
            case "promise.poll":
                value = self._value(_field(args, "id", str))
                return None if value is None else {"value": msgspec.json.decode(value)}
            case "idempotency_key":
                return key
        raise EffectFailure(
            "DURABLE_UNKNOWN",
            f"there is no durable effect {request.target!r}; see docs/durability.md",
        )

    def _sleep(self, until_ns: int) -> None:
        left_ns = until_ns - self._now_ns()
        if left_ns > self._patience_ns:
            raise EffectSuspended(due_ns=until_ns)
        if left_ns > 0:
            self._pause(left_ns / NS_PER_S)

    def _create(self, key: str, run_id: str) -> str:
        promise_id = f"prm-{key[:ID_DIGITS]}"
        promise = Promise(id=promise_id, run_id=run_id, created_ns=self._now_ns())
        try:
            self._store.promises.create(promise)
        except StoreExistsError:
            return promise_id  # the run is executed again
        return promise_id

    def _complete(self, promise_id: str, value: Any) -> bool:
        try:
            return self._store.promises.complete(
                promise_id, msgspec.json.encode(value), now_ns=self._now_ns()
            )
        except StoreUnknownError:
            raise _unknown(promise_id) from None

    def _wait(self, promise_id: str) -> Any:
        until_ns = self._now_ns() + self._patience_ns
        while (value := self._value(promise_id)) is None:
            if self._now_ns() >= until_ns:
                raise EffectSuspended
            self._pause(POLL_S)
        return msgspec.json.decode(value)

    def _value(self, promise_id: str) -> bytes | None:
        promise = self._store.promises.get(promise_id)
        if promise is None:
            raise _unknown(promise_id)
        return promise.value


def _field(args: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = args.get(name)
    if type(value) is not kind:
        raise EffectFailure(
            "DURABLE_ARGUMENTS", f"{name} is {value!r}; it must be a {kind.__name__}"
        )
    return value


def _unknown(promise_id: str) -> EffectFailure:
    return EffectFailure("PROMISE_UNKNOWN", f"there is no promise {promise_id!r}")

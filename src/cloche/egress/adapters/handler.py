"""Effects of kind `http.fetch`.

Owns the way from an effect's arguments to a call and back. Invariants: a call that fails is an
answer with its code; a value holds no secret; when a run is over, its calls are cancelled, and one
that its guest gives up at once.
"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from cloche.egress.adapters.egress import NetRun
from cloche.egress.budget import RunBudget
from cloche.egress.errors import NetBlockedError, NetError
from cloche.egress.headers import traced
from cloche.egress.message import request_of, target_of
from cloche.gate.effect import idempotency_key
from cloche.gate.ports import EffectFailure

if TYPE_CHECKING:
    from cloche.egress.adapters.egress import Egress
    from cloche.egress.adapters.service import NetService
    from cloche.egress.allowlist import NetPolicy
    from cloche.egress.message import NetResponse
    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits


class HttpHandler:
    """Performs the `http.fetch` effects of one run (an `EffectHandler`).

    Args:
        service: where calls are made.
        policy: of the run.
        limits: of the run.
        app: whose slots, rate and cache it uses; its own when empty.
        run_ends_ns: when the run is stopped, on the clock of `time.monotonic_ns`; None for never.
    """

    def __init__(
        self,
        service: NetService,
        policy: NetPolicy,
        limits: Limits,
        *,
        app: str = "",
        run_ends_ns: int | None = None,
    ) -> None:
        self._service = service
        self._policy = policy
        self._limits = limits
        self._app = app
        self._run_ends_ns = run_ends_ns
        self._run: NetRun | None = None
        self._lock = threading.Lock()
        self._calls: dict[int, concurrent.futures.Future[NetResponse]] = {}  # by sequence
        self._given_up: set[int] = set()
        self._closed = False

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Make the call and return the response as a value; see `EffectHandler`."""
        run = self._net_run(run_id)
        limit_bytes = self._limits.gate.value_limit_bytes
        # What is beside the body in a value: the URL, the headers, names and punctuation.
        limit_bytes -= self._limits.egress.url_limit_bytes * 2
        limit_bytes -= self._limits.egress.header_limit_bytes * 2

        async def work(egress: Egress) -> NetResponse:
            asked = request_of(request.args, self._limits, cookies=self._policy.cookies)
            if request.target != target_of(asked.method, asked.url):
                # The gate decided about the target: it must be what is called.
                raise NetBlockedError(
                    f"the effect is aimed at {request.target!r}, and its URL is another",
                    reason="target",
                )
            if self._policy.trace:
                key = idempotency_key(run_id, request)
                headers = traced(asked.headers, asked.method, run_id=run_id, key=key)
                asked = msgspec.structs.replace(asked, headers=headers)
            return await egress.fetch(asked, run)

        try:
            response = self._start(request.sequence, work).result()
            return response.to_value(limit_bytes=max(0, limit_bytes))
        except NetError as error:
            _fail(error)
        except concurrent.futures.CancelledError:
            why = "the run is over" if self._closed else "the call was given up"
            raise EffectFailure("NET_ERROR", why) from None
        finally:
            with self._lock:
                self._calls.pop(request.sequence, None)

    def cancel(self, request: EffectRequest) -> None:
        """End a call: its connection is closed and its slot given back; see `Cancels`."""
        with self._lock:
            self._given_up.add(request.sequence)
            call = self._calls.get(request.sequence)
        if call is not None:
            call.cancel()

    def _start(self, sequence: int, work: Any) -> concurrent.futures.Future[NetResponse]:
        with self._lock:
            if self._closed or sequence in self._given_up:
                raise concurrent.futures.CancelledError
            call: concurrent.futures.Future[NetResponse] = self._service.submit(work)
            self._calls[sequence] = call
        return call

    def _net_run(self, run_id: str) -> NetRun:
        with self._lock:
            if self._run is None:
                self._run = NetRun(
                    run_id=run_id,
                    policy=self._policy,
                    budget=RunBudget(self._limits, run_ends_ns=self._run_ends_ns),
                    app=self._app,
                )
            return self._run

    def close(self) -> None:
        """Cancel what is on its way; later calls fail."""
        with self._lock:
            self._closed = True
            calls = list(self._calls.values())
        for call in calls:
            call.cancel()


def _fail(error: NetError) -> NoReturn:
    raise EffectFailure(
        error.code,
        error.message,
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
    ) from None

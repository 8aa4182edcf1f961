"""One request and its answer, while an app has it: what its run is, and what its end means.

Invariants: a client gets exactly one response: the app's, or one of the host's that says by its
code what went wrong; a response that broke off is never taken for whole.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.adapters.effects import AppEffects
from cloche.apps.errors import AppRequestTooLargeError, HandlerFailedError, NoResponseError
from cloche.apps.messages import Answer, input_of, question_of
from cloche.exec.adapters.runner import Execution
from cloche.exec.errors import (
    InternalExecError,
    ResourceExceededError,
    RunCancelledError,
    RuntimeFailedError,
    TimeoutExceededError,
    WorkerLostError,
)

if TYPE_CHECKING:
    from cloche.apps.adapters.builder import BuiltApp
    from cloche.apps.messages import AppRequest
    from cloche.apps.ports import Line, LogSink, ReplySink
    from cloche.errors import ClocheError

FAILURE_LINES: Final[tuple[Line, ...]] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
)
STATUS_TOO_LARGE: Final = 413
STATUS_FAILED: Final = 500
STATUS_UNAVAILABLE: Final = 503
STATUS_TIMEOUT: Final = 504
SEED_BITS: Final = 64
LOST_RETRY_S: Final = 1  # another worker is there, or will be


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AppExecution(Execution):
    """A request or event that is over.

    Args:
        status: of the response; 0 for an event, and where the client was gone before.
        failure: what went wrong, for the app's log; None when all went well. `error` is that of
            the run alone.
        body_bytes: of the response.
        client_gone: whether the client left before the end.
        value: what the handler of an event returned.
    """

    status: int = 0
    failure: ClocheError | None = None
    body_bytes: int = 0
    client_gone: bool = False
    value: Any = None


class Exchange:
    """A request that an app is to answer.

    Args:
        built: the version.
        request: what was asked.
        reply: gets the response.
        log: gets the lines of the log.

    Raises:
        AppRequestError: the request cannot be given to an app.
    """

    def __init__(
        self, built: BuiltApp, request: AppRequest, reply: ReplySink, log: LogSink | None
    ) -> None:
        stdin, question = input_of(request), question_of(request)
        self._answer = Answer(reply, built.limits, is_head=request.method == "HEAD")
        body = None if isinstance(request.body, bytes) else request.body
        self.effects = AppEffects(self._answer, built.limits, body=body, log=log)
        self.run = built.request(
            question, seed=secrets.randbits(SEED_BITS), now_ns=time.time_ns(), stdin=stdin
        )

    @property
    def is_ended(self) -> bool:
        """Whether the app has answered as a whole."""
        return self._answer.is_ended

    def finish(self, execution: Execution) -> AppExecution:
        """Answer what the app left unanswered, now that its run is over."""
        answer = self._answer
        failure: ClocheError | None = execution.error
        if not answer.is_ended and not answer.client_gone:
            failure = failure or NoResponseError("the handler ended and answered nothing")
            self._fail(*self._told(failure))
        if answer.client_gone:  # that is nobody's fault, nor is what its run was stopped with
            failure = None
        return AppExecution(
            **fields_of(execution),
            status=answer.status,
            failure=failure,
            body_bytes=answer.body_bytes,
            client_gone=answer.client_gone,
        )

    def _told(self, failure: ClocheError) -> tuple[int, str, int | None]:
        """Return status, code and seconds to wait that a client is told of a failure."""
        if isinstance(failure, TimeoutExceededError):
            return STATUS_TIMEOUT, failure.code, None
        if self.effects.is_body_too_large:
            return STATUS_TOO_LARGE, AppRequestTooLargeError.code, None
        if self.effects.retry_after_s is not None:
            return STATUS_UNAVAILABLE, failure.code, self.effects.retry_after_s
        return STATUS_FAILED, failure.code, None

    def break_off(self, error: BaseException) -> None:
        """Answer where the host failed, or break off what was begun."""
        if isinstance(error, WorkerLostError):
            self._fail(STATUS_UNAVAILABLE, error.code, LOST_RETRY_S)
        else:
            self._fail(STATUS_FAILED, "APP_HOST_FAILED", None)

    def _fail(self, status: int, code: str, after_s: int | None) -> None:
        lines = FAILURE_LINES
        if after_s is not None:
            lines = (*lines, (b"retry-after", b"%d" % after_s))
        self._answer.fail(status, lines, _failure_body(code))


_FIELDS: Final = tuple(entry.name for entry in dataclasses.fields(Execution))


def fields_of(execution: Execution) -> dict[str, Any]:
    """Return the fields of an execution, for one that has more."""
    return {name: getattr(execution, name) for name in _FIELDS}


def _failure_body(code: str) -> bytes:
    document = {"error": {"code": _PUBLIC.get(code, code), "message": _TOLD}}
    return json.dumps(document).encode()


_PUBLIC: Final = {
    TimeoutExceededError.code: "APP_TIMEOUT",
    ResourceExceededError.code: "APP_LIMIT",
    RuntimeFailedError.code: HandlerFailedError.code,
    InternalExecError.code: HandlerFailedError.code,
    RunCancelledError.code: HandlerFailedError.code,
}
_TOLD: Final = "the app did not answer this request; its log says why"

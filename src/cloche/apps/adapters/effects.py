"""Effects of kind `app`: what the code of an app asks of the host that serves it.

Invariants: nothing of a response goes on that `messages` has not checked; effects of one run come
from its own thread and from those of its pool, and are answered one at a time.
"""

from __future__ import annotations

import base64
import math
import threading
from typing import TYPE_CHECKING, Any, Final

from cloche.apps.errors import AppRequestTooLargeError
from cloche.apps.messages import CLIENT_GONE, Answer, Conversation
from cloche.apps.ports import BodyReader, ClientGoneError
from cloche.gate.canonical import encode_plain
from cloche.gate.ports import EffectFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.apps.ports import LogSink
    from cloche.gate.effect import EffectRequest
    from cloche.limits import Limits

    _Targets = dict[str, Callable[["AppEffects", Any], Any]]

MS_PER_S: Final = 1000
RETRY_AFTER_MS_MAX: Final = 3_600_000  # nobody is told to wait for longer than an hour
LEVELS: Final = ("debug", "info", "warn", "error")
_RECEIVE: Final = "socket.receive"
_TOLD_BY_REQUESTS: Final = frozenset({"respond", "log"})
_TOLD_BY_OTHERS: Final = frozenset({"log"})
_UNKNOWN: Final = "APP_TARGET"
_ARGUMENTS: Final = "APP_ARGUMENTS"


class AppEffects:
    """Answers the effects of one request or event (an `EffectHandler`).

    Args:
        answer: of the request; None for what has none: an event, a WebSocket.
        body: of the request, where it was too large to be given at once.
        log: gets the lines of the app's log; None where nobody does.
        limits: group `apps`.
        conversation: of a WebSocket.
    """

    def __init__(
        self,
        answer: Answer | None,
        limits: Limits,
        *,
        body: BodyReader | None = None,
        log: LogSink | None = None,
        conversation: Conversation | None = None,
    ) -> None:
        self._answer: Any = answer  # nobody asks for the one of these two that is None
        self._conversation: Any = conversation
        self._limits = limits
        self._body = body
        self._log = log
        self._lock = threading.Lock()
        self.value: Any = None
        self.has_value = False
        self.retry_after_s: int | None = None  # where the app says that asking again may help
        self.is_body_too_large = False
        if conversation is not None:
            self._targets = _OF_SOCKET
        else:
            self._targets = _OF_EVENT if answer is None else _OF_REQUEST

    @property
    def told(self) -> frozenset[str]:
        """Targets whose effects need no answer where their arguments are right."""
        return _TOLD_BY_REQUESTS if self._answer is not None else _TOLD_BY_OTHERS

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - of the port
        """Perform one effect."""
        perform = self._targets.get(request.target)
        if perform is None:
            known = ", ".join(sorted(self._targets))
            raise EffectFailure(
                _UNKNOWN, f"there is no effect app.{request.target[:80]} here; there are {known}"
            )
        if request.target == _RECEIVE:  # messages come while others are sent: it waits for nobody
            return perform(self, request.args)
        with self._lock:
            return perform(self, request.args)

    def _read(self, args: Any) -> dict[str, str] | None:
        if self._body is None:
            return None
        limit_bytes = self._limits.apps.request_piece_limit_bytes
        wanted = args.get("max_bytes") if isinstance(args, dict) else None
        if type(wanted) is int and wanted > 0:
            limit_bytes = min(wanted, limit_bytes)
        try:
            piece = self._body.read(limit_bytes)
        except ClientGoneError:
            raise EffectFailure(CLIENT_GONE, "the client left before its body was whole") from None
        except AppRequestTooLargeError as error:
            self.is_body_too_large = True
            raise EffectFailure(error.code, error.message) from None
        return {"b64": base64.b64encode(piece).decode()} if piece else None

    def _write_log(self, args: Any) -> None:
        fields = args.get("fields", {}) if isinstance(args, dict) else None
        if not isinstance(fields, dict) or not isinstance(args.get("message"), str):
            raise EffectFailure(_ARGUMENTS, "a line of the log has level, message and fields")
        if self._log is not None:
            level = args.get("level")
            limit_bytes = self._limits.apps.log_line_limit_bytes
            message = args["message"].encode(errors="replace")[:limit_bytes].decode(errors="ignore")
            size_bytes = len(encode_plain(fields))
            if size_bytes > limit_bytes:
                fields = {"left_out": f"{size_bytes} bytes of fields; at most {limit_bytes} fit"}
            self._log.log(level if level in LEVELS else "info", message, fields)

    def _note_retry(self, args: Any) -> None:
        after_ms = args.get("retry_after_ms") if isinstance(args, dict) else None
        if isinstance(after_ms, bool) or not isinstance(after_ms, int | float):
            after_ms = 0
        after_s = math.ceil(min(max(after_ms, 0), RETRY_AFTER_MS_MAX) / MS_PER_S)
        self.retry_after_s = max(1, after_s)

    def _return(self, args: Any) -> None:
        if self.has_value:
            raise EffectFailure("ALREADY_ANSWERED", "this event has its value already")
        self.value = args.get("value") if isinstance(args, dict) else None
        self.has_value = True


# By target. Functions, not methods of each: those would keep a request's objects for the collector.
_OF_ALL: Final[_Targets] = {
    "log": AppEffects._write_log,
    "retry": AppEffects._note_retry,
}
_OF_EVENT: Final[_Targets] = {**_OF_ALL, "return": AppEffects._return}
_OF_REQUEST: Final[_Targets] = {
    **_OF_ALL,
    "respond": lambda effects, args: effects._answer.respond(args),
    "respond.start": lambda effects, args: effects._answer.start(args),
    "respond.write": lambda effects, args: effects._answer.write(args),
    "respond.end": lambda effects, _args: effects._answer.end(),
    "request.read": AppEffects._read,
}
_OF_SOCKET: Final[_Targets] = {
    **_OF_ALL,
    "socket.accept": lambda effects, args: effects._conversation.accept(args),
    "socket.send": lambda effects, args: effects._conversation.send(args),
    "socket.close": lambda effects, args: effects._conversation.close(args),
    _RECEIVE: lambda effects, _args: effects._conversation.receive(),
}

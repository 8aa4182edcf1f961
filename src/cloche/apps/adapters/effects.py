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

MS_PER_S: Final = 1000
RETRY_AFTER_MS_MAX: Final = 3_600_000  # nobody is told to wait for longer than an hour
LEVELS: Final = ("debug", "info", "warn", "error")
_TOLD: Final = frozenset({"respond", "log"})
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
        self._limits = limits
        self._body = body
        self._log = log
        self._lock = threading.Lock()
        self.value: Any = None
        self.has_value = False
        self.retry_after_s: int | None = None  # where the app says that asking again may help
        self._targets: dict[str, Callable[[Any], Any]] = {
            "log": self._write_log,
            "retry": self._note_retry,
        }
        # Messages come while others are sent, so these wait for nobody.
        self._at_once: dict[str, Callable[[Any], Any]] = {}
        if conversation is not None:
            self._targets |= {
                "socket.accept": conversation.accept,
                "socket.send": conversation.send,
                "socket.close": conversation.close,
            }
            self._at_once["socket.receive"] = lambda _args: conversation.receive()
        elif answer is None:
            self._targets["return"] = self._return
        else:
            self._targets |= {
                "respond": answer.respond,
                "respond.start": answer.start,
                "respond.write": answer.write,
                "respond.end": lambda _args: answer.end(),
                "request.read": self._read,
            }

    @property
    def told(self) -> frozenset[str]:
        """Targets whose effects need no answer where their arguments are right."""
        return _TOLD & self._targets.keys()

    def perform(self, request: EffectRequest, run_id: str) -> Any:  # noqa: ARG002 - of the port
        """Perform one effect."""
        at_once = self._at_once.get(request.target)
        if at_once is not None:
            return at_once(request.args)
        perform = self._targets.get(request.target)
        if perform is None:
            known = ", ".join(sorted(self._targets))
            raise EffectFailure(
                _UNKNOWN, f"there is no effect app.{request.target[:80]} here; there are {known}"
            )
        with self._lock:
            return perform(request.args)

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

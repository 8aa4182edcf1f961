"""A session by WebSocket: programs go in, what they print comes out, on one connection.

    GET /v1/sessions/{id}/attach        Upgrade: websocket

Messages are JSON texts. Owns one attached client. Invariants:
- a message that is wrong is answered with an error and changes nothing; the connection stays;
- at most `server.attach_run_count_max` runs of one client have not ended, and their output is sent
  no faster than the client reads;
- a message of a key that has ended does nothing, and ends the connection;
- runs go on when the client leaves: they are the session's, and can be listened to again.

| the client sends | and gets, each with the `id` that it gave |
|---|---|
| `{"op": "run", "id", "code", …}`: a program | `started`, `stdout`, `stderr`, at last `ended` |
| `{"op": "follow", "id", "run", "after"}` | the same, for a run that somebody else started |
| `{"op": "cancel", "id"}` | the run of this `id` ends |
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.errors import ClocheError
from cloche.server.documents import KeptRequest, SessionRunBody
from cloche.server.errors import HostError, InvalidFieldError, QuotaError, status_of, unavailable
from cloche.server.events import parse_position
from cloche.server.guard import CHALLENGE, key_of
from cloche.server.requests import error_body
from cloche.web.errors import (
    BadRequestError,
    ChannelClosedError,
    HttpError,
    UnauthorizedError,
)
from cloche.web.websocket.channel import REFUSED, WebSocket

if TYPE_CHECKING:
    from cloche.server.context import Context
    from cloche.server.guard import Guard
    from cloche.server.keys import Key
    from cloche.server.live import LiveRun
    from cloche.store.rows import Session
    from cloche.web.app import App

SUBPROTOCOL: Final = "cloche.v1"
_ID_LENGTH_MAX: Final = 100


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of a client: fields of a run beside what it wants."""

    op: Literal["run", "follow", "cancel"]
    id: str
    run: str | None = None
    after: str | None = None
    code: str | None = None
    entrypoint: str | None = None
    filename: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str = ""
    timeout_ms: int | None = None


class _Named(msgspec.Struct, frozen=True):
    """What of a wrong message can be told back."""

    id: str


class Attachment:
    """One client of one session.

    Args:
        context: of the server.
        socket: open.
        key: that opened it; when it ends, so does what it may do here.
        session: that belongs to the tenant of the key.
    """

    def __init__(self, context: Context, socket: WebSocket, key: Key, session: Session) -> None:
        self._context = context
        self._socket = socket
        self._key = key
        self._tenant = key.tenant
        self._session = session
        self._runs: dict[str, tuple[LiveRun, asyncio.Task[None]]] = {}

    async def serve(self) -> None:
        """Answer messages until the client is gone."""
        session = self._session
        try:
            await self._send("ready", "", session_id=session.id, language=session.language)
            async for text in self._socket:
                if not await self._context.call(self._is_allowed):
                    await self._fail("", UnauthorizedError(challenge=CHALLENGE))
                    await self._socket.close(REFUSED, "the key has ended")
                    return
                await self._answer(text)
        except ChannelClosedError:
            return
        finally:
            tasks = [task for _, task in self._runs.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _is_allowed(self) -> bool:
        key = self._context.keyring.good(self._key.id)
        return key is not None and key.may("session")

    async def _answer(self, text: str | bytes) -> None:
        message_id = ""
        try:
            asked = _read(text)
            message_id = asked.id
            if asked.op == "cancel":
                await self._cancel(asked)
            else:
                await self._begin(asked)
        except ChannelClosedError:
            return  # the loop that reads ends, too
        except ClocheError as error:
            with contextlib.suppress(ChannelClosedError):
                await self._fail(message_id or _id_in(text), error)

    async def _begin(self, asked: Asked) -> None:
        most = self._context.limits.server.attach_run_count_max
        if asked.id in self._runs:
            raise InvalidFieldError(field="id", problem="a run of this id has not ended")
        if len(self._runs) >= most:
            raise QuotaError(what="runs", limit="server.attach_run_count_max", count=most)
        position = parse_position(asked.after)
        live = await self._context.call(lambda: self._live(asked))
        following = self._follow(asked.id, live, position)
        self._runs[asked.id] = (live, asyncio.ensure_future(following))

    def _live(self, asked: Asked) -> LiveRun:
        context = self._context
        if asked.op == "follow":
            live = context.runs.find(self._tenant, asked.run or "")
            if live.row.session_id != self._session.id:
                raise InvalidFieldError(field="run", problem="it is none of this session")
            return live
        fields = {
            name: getattr(asked, name)
            for name in ("code", "entrypoint", "filename", "args", "env", "stdin")
        }
        limits = None if asked.timeout_ms is None else {"time_ms": asked.timeout_ms}
        body = msgspec.convert({**fields, "limits": limits}, SessionRunBody)
        kept = KeptRequest(tenant=self._tenant, action="session_run", session_run=body)
        return context.runs.start(kept, session=self._session)

    async def _follow(self, message_id: str, live: LiveRun, position: Any) -> None:
        """Send what a run prints, and its end."""
        runs = self._context.runs
        # Nobody is there to be told: whoever comes back finds the run.
        with contextlib.suppress(ChannelClosedError):
            try:
                await self._send("started", message_id, run_id=live.row.id)
                async for piece in runs.follow(live, position):
                    after = str(piece.position)
                    await self._send(piece.stream, message_id, text=piece.text, after=after)
                document = msgspec.to_builtins(await runs.wait(live))
                # What was printed was sent.
                document.update(stdout="", stderr="")
                del self._runs[message_id]
                await self._send("ended", message_id, run=document)
            except ChannelClosedError:
                raise
            except ClocheError as error:
                self._runs.pop(message_id, None)
                await self._fail(message_id, error)

    async def _cancel(self, asked: Asked) -> None:
        found = self._runs.get(asked.id)
        if found is None:
            raise InvalidFieldError(field="id", problem="no run of this id goes on")
        run_id = found[0].row.id
        await self._context.call(lambda: self._context.runs.cancel(self._tenant, run_id))

    async def _fail(self, message_id: str, error: ClocheError) -> None:
        retry_after_ms = self._context.limits.server.retry_after_ms
        shown: ClocheError = unavailable(error, retry_after_ms=retry_after_ms) or error
        if not isinstance(shown, HttpError) and status_of(shown) is None:
            shown = HostError()
        await self._send("error", message_id, error=msgspec.to_builtins(error_body(shown)))

    async def _send(self, kind: str, message_id: str, **fields: Any) -> None:
        await self._socket.send_json({"type": kind, "id": message_id, **fields})


def _read(text: str | bytes) -> Asked:
    if isinstance(text, bytes):
        raise BadRequestError(where="message", problem="it is bytes; send a text of JSON")
    try:
        asked = msgspec.json.decode(text, type=Asked)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidFieldError(field="message", problem=str(error)) from None
    if not 0 < len(asked.id) <= _ID_LENGTH_MAX:
        raise InvalidFieldError(field="id", problem=f"it has 1 to {_ID_LENGTH_MAX} characters")
    return asked


def _id_in(text: str | bytes) -> str:
    """Return the id of a message that is wrong otherwise, empty where there is none."""
    try:
        named = msgspec.json.decode(text, type=_Named)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    return named.id if len(named.id) <= _ID_LENGTH_MAX else ""


def add_attach(app: App, context: Context, guard: Guard) -> None:
    """Add the route of attached sessions to a server."""

    async def attach(socket: WebSocket, id: str) -> None:  # noqa: A002 - as the path has it
        key = key_of(socket.request)
        try:
            session = await context.call(lambda: context.sessions.row(key.tenant, id))
        except ClocheError as error:
            # A handshake is answered before its handler runs: what is wrong is the first message.
            shown = error_body(error)
            await socket.send_json({"type": "error", "id": "", "error": msgspec.to_builtins(shown)})
            await socket.close(REFUSED, error.code)
            return
        await Attachment(context, socket, key, session).serve()

    app.add_websocket(
        "/v1/sessions/:id/attach",
        attach,
        subprotocols=(SUBPROTOCOL,),
        middleware=(guard.errors(), guard.socket_key("session")),
    )

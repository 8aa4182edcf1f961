"""Between a WebSocket on the event loop and the thread that runs an app for it.

Invariants: at most `MESSAGE_COUNT_MAX` messages wait for the app, then its client waits; who closes
first, the other side is told with its next call.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from typing import TYPE_CHECKING, Final

from cloche.apps.ports import ClientGoneError
from cloche.web.errors import ChannelClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from cloche.web.ports import Channel

MESSAGE_COUNT_MAX: Final = 16
CLOSE_S: Final = 5.0


class Talk:
    """One WebSocket of an app (an `AppSocket`). Made on the loop.

    Args:
        on_gone: called when the client leaves.
    """

    def __init__(self, on_gone: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_gone = on_gone
        self._decided: asyncio.Future[str | None] = self._loop.create_future()
        self._opened: asyncio.Future[Channel] = self._loop.create_future()
        self._over = asyncio.Event()
        self._room = asyncio.Semaphore(MESSAGE_COUNT_MAX)
        self._messages: queue.SimpleQueue[str | bytes | None] = queue.SimpleQueue()
        self._is_closed = False

    # --- on the app's thread ---

    def accept(self, protocol: str | None) -> None:
        """See `AppSocket`."""
        self._call(self._accepted(protocol))

    def receive(self, timeout_s: float) -> str | bytes | None:
        """See `AppSocket`."""
        if self._is_closed and self._messages.empty():
            return None
        try:
            content = self._messages.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise TimeoutError from None
        self._tell(self._room.release)
        return content

    def send(self, content: str | bytes) -> None:
        """See `AppSocket`."""
        self._call(self._sent(content))

    def close(self, code: int, reason: str) -> None:
        """See `AppSocket`."""
        with contextlib.suppress(ClientGoneError):
            self._call(self._closed(code, reason))

    def end(self, refused: BaseException | None) -> None:
        """The app's run is over; `refused` answers a handshake that was not accepted."""

        def work() -> None:
            if not self._decided.done() and refused is not None:
                self._decided.set_exception(refused)
            self._over.set()

        self._tell(work)

    def _tell(self, work: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(work)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (ChannelClosedError, RuntimeError):
            work.close()
            raise ClientGoneError from None

    # --- on the loop ---

    async def _accepted(self, protocol: str | None) -> None:
        if self._decided.done():
            raise ChannelClosedError(close_code=1006)
        self._decided.set_result(protocol)
        await asyncio.shield(self._opened)

    async def _sent(self, content: str | bytes) -> None:
        await self._opened.result().send(content)

    async def _closed(self, code: int, reason: str) -> None:
        if self._opened.done() and not self._opened.cancelled():
            await asyncio.wait_for(self._opened.result().close(code, reason), CLOSE_S)

    async def protocol(self) -> str | None:
        """Return the subprotocol that the app accepts with, or raise what refuses the handshake."""
        try:
            return await self._decided
        except asyncio.CancelledError:
            self._leave()
            raise

    async def run(self, channel: Channel) -> None:
        """Carry messages until the app's run is over (what an `Upgrade` runs)."""
        self._opened.set_result(channel)
        pump = asyncio.ensure_future(self._pump(channel))
        try:
            await self._over.wait()
        finally:
            self._leave()
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump
            await channel.close()

    async def _pump(self, channel: Channel) -> None:
        while True:
            await self._room.acquire()
            try:
                content = await channel.receive()
            except ChannelClosedError:
                self._is_closed = True
                self._messages.put(None)
                return
            self._messages.put(content)

    def _leave(self) -> None:
        if not self._over.is_set():
            self._is_closed = True
            self._messages.put(None)
            self._on_gone()

"""A WebSocket as handlers see it, over the channel of whatever adapter is below.

Invariants:
- a handler that ends closes the WebSocket with 1000, one that raises an `HttpError` with 1008 and
  its code, one that raises anything else with 1011, and what that was stays in the log;
- a client that goes away is the end of the handler's loop and no failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from cloche.web.errors import BadRequestError, ChannelClosedError
from cloche.web.request import decode_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloche.web.ports import Channel
    from cloche.web.request import Request

Value = TypeVar("Value")

REFUSED: Final = 1008
INTERNAL: Final = 1011
_encode_json: Final = msgspec.json.Encoder(order="deterministic").encode


class WebSocket:
    """An open WebSocket. Iterate over it for its messages, until it is closed.

    `request` is the one that opened it.
    """

    __slots__ = ("_channel", "request", "subprotocol")

    def __init__(self, channel: Channel, request: Request, subprotocol: str | None) -> None:
        self._channel = channel
        self.request = request
        self.subprotocol = subprotocol

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ChannelClosedError: there is none any more.
        """
        return await self._channel.receive()

    async def receive_text(self) -> str:
        """Return the next message, which is text.

        Raises:
            BadRequestError: it is bytes.
            ChannelClosedError: there is none any more.
        """
        content = await self._channel.receive()
        if isinstance(content, bytes):
            raise BadRequestError(where="message", problem="it is bytes; send text")
        return content

    async def receive_json(self, type_: type[Value]) -> Value:
        """Return the next message, JSON of a type.

        Raises:
            BadRequestError: it is no JSON.
            ValidationFailedError: it is, and has not this type.
            ChannelClosedError: there is none any more.
        """
        content = await self._channel.receive()
        return decode_json(content.encode() if isinstance(content, str) else content, type_)

    async def send(self, content: str | bytes) -> None:
        """Send text or bytes as one message; waits while the client reads too slowly.

        Raises:
            ChannelClosedError: nobody is there any more.
        """
        await self._channel.send(content)

    async def send_json(self, value: object) -> None:
        """Send a value as a text of JSON.

        Raises:
            ChannelClosedError: nobody is there any more.
        """
        await self._channel.send(_encode_json(value).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it. What is closed stays as it is."""
        await self._channel.close(code, reason)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Yield the messages until it is closed."""
        while True:
            try:
                content = await self._channel.receive()
            except ChannelClosedError:
                return
            yield content

"""Frames in, messages out; messages in, frames out.

Invariants:
- any split of the same bytes gives the same events;
- a rule that is broken ends the connection with the code that RFC 6455 section 7.4.1 names for it,
  as soon as the bytes show it: text that is no UTF-8 is not collected first;
- after a close or a failure nothing further is interpreted;
- what is kept is at most one message and its limit is checked before its bytes are there.

It does no I/O and answers nothing itself: a ping is an event, and whoever owns the connection sends
the pong.
"""

from __future__ import annotations

import codecs
import zlib
from typing import Final, Literal

import msgspec

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
BAD_DATA: Final = 1007
TOO_LARGE: Final = 1009

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_CONTROL: Final = 0x8  # the bit that all control frames have
_CONTROL_SIZE_MAX: Final = 125
_SIZE_16, _SIZE_64 = 126, 127
_FIN, _RSV1, _RSV, _MASKED = 0x80, 0x40, 0x70, 0x80
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
_REASON_SIZE_MAX: Final = _CONTROL_SIZE_MAX - 2
_DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"


class Message(msgspec.Struct, frozen=True):
    """A whole message: text as `str`, binary as `bytes`."""

    content: str | bytes


class Ping(msgspec.Struct, frozen=True):
    """Answer with a pong of the same payload."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping, or a sign of life."""

    payload: bytes


class Close(msgspec.Struct, frozen=True):
    """The other side ends the connection. `code` is None where it gave none. The last event."""

    code: int | None
    reason: str


class Failure(msgspec.Struct, frozen=True):
    """A rule was broken: close with this code. The last event."""

    code: int
    reason: str


Event = Message | Ping | Pong | Close | Failure


class _BrokenError(Exception):
    """Carries a failure out of the reader."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Reads the frames of one side.

    Args:
        role: who reads. A server reads masked frames only, a client none (section 5.1).
        message_limit_bytes: size of a message, after decompression.
        fragment_count_max: frames of a message.
        deflate: whether permessage-deflate without context takeover was agreed on (RFC 7692).
    """

    __slots__ = (
        "_compressed",
        "_count",
        "_decoder",
        "_deflate",
        "_fin",
        "_fragment_count_max",
        "_kind",
        "_left",
        "_limit_bytes",
        "_mask",
        "_opcode",
        "_parts",
        "_payload",
        "_rest",
        "_size",
        "_wants_mask",
        "is_closed",
    )

    def __init__(
        self,
        *,
        role: Literal["server", "client"] = "server",
        message_limit_bytes: int = 1 << 20,
        fragment_count_max: int = 4096,
        deflate: bool = False,
    ) -> None:
        self._wants_mask = role == "server"
        self._limit_bytes = message_limit_bytes
        self._fragment_count_max = fragment_count_max
        self._deflate = deflate
        self.is_closed = False
        self._rest = b""  # of a frame header that is not complete
        self._left = -1  # bytes of the payload to come; -1 between frames
        self._opcode = 0
        self._fin = False
        self._mask = b""
        self._payload = bytearray()  # of a control frame
        self._kind = _CONTINUATION  # of the message; this where none is open
        self._compressed = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._parts: list[str | bytes] = []
        self._size = 0  # of all frames of the message so far
        self._count = 0

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that these bytes complete."""
        events: list[Event] = []
        if self.is_closed:
            return events
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        try:
            while not self.is_closed:
                if self._left < 0:
                    header_size = self._read_header(data, position)
                    if not header_size:
                        self._rest = data[position:]
                        break
                    position += header_size
                part = data[position : position + self._left]
                position += len(part)
                self._take(part)
                if self._left:
                    break
                self._left = -1
                self._finish_frame(events)
        except _BrokenError as broken:
            self._shut()
            events.append(Failure(broken.code, broken.reason))
        return events

    def _read_header(self, data: bytes, start: int) -> int:
        """Return the size of the header at `start`, 0 where it is not complete."""
        if len(data) - start < 2:  # noqa: PLR2004 - the smallest header
            # The first byte alone can already be wrong.
            if len(data) > start:
                self._check_first(data[start])
            return 0
        first, second = data[start], data[start + 1]
        self._check_first(first)
        masked, size = second & _MASKED, second & ~_MASKED
        if bool(masked) != self._wants_mask:
            raise _BrokenError(PROTOCOL_ERROR, "a frame has a mask and must not, or has none")
        if first & _CONTROL and size > _CONTROL_SIZE_MAX:
            raise _BrokenError(PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
        extra = {_SIZE_16: 2, _SIZE_64: 8}.get(size, 0)
        end = start + 2 + extra
        if extra:
            if len(data) < end:
                return 0
            size = _read_size(data[start + 2 : end])
        header_end = end + (4 if masked else 0)
        if not first & _CONTROL:
            self._check_size(size)
        if len(data) < header_end:
            return 0
        self._begin_frame(first, size, data[end:header_end])
        return header_end - start

    def _check_first(self, first: int) -> None:
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise _BrokenError(PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        may_deflate = self._deflate and opcode in {_TEXT, _BINARY}
        if first & _RSV & ~(_RSV1 if may_deflate else 0):
            raise _BrokenError(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode & _CONTROL:
            if not first & _FIN:
                raise _BrokenError(PROTOCOL_ERROR, "a control frame is fragmented")
        elif (opcode == _CONTINUATION) != (self._kind != _CONTINUATION):
            raise _BrokenError(PROTOCOL_ERROR, "a fragment is out of order")

    def _check_size(self, size: int) -> None:
        if self._size + size > self._limit_bytes:
            problem = f"a message is larger than {self._limit_bytes} bytes"
            raise _BrokenError(TOO_LARGE, problem)
        if self._count >= self._fragment_count_max:
            problem = f"a message has more than {self._fragment_count_max} frames"
            raise _BrokenError(TOO_LARGE, problem)

    def _begin_frame(self, first: int, size: int, mask: bytes) -> None:
        self._opcode = first & 0x0F
        self._fin = bool(first & _FIN)
        self._left = size
        self._mask = mask
        self._payload.clear()
        if self._opcode & _CONTROL:
            return
        self._size += size
        self._count += 1
        if self._opcode != _CONTINUATION:
            self._kind = self._opcode
            self._compressed = bool(first & _RSV1)
            if self._kind == _TEXT and not self._compressed:
                self._decoder = codecs.getincrementaldecoder("utf-8")()

    def _take(self, part: bytes) -> None:
        self._left -= len(part)
        if self._mask and part:
            part = mask_bytes(part, self._mask)
            turn = len(part) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        if self._opcode & _CONTROL:
            self._payload += part
        elif self._decoder is not None:
            self._parts.append(_decode(self._decoder, part, final=False))
        else:
            self._parts.append(part)

    def _finish_frame(self, events: list[Event]) -> None:
        payload = bytes(self._payload)
        if self._opcode == _PING:
            events.append(Ping(payload))
        elif self._opcode == _PONG:
            events.append(Pong(payload))
        elif self._opcode == _CLOSE:
            events.append(_read_close(payload))
            self._shut()
        elif self._fin:
            events.append(Message(self._finish_message()))
            self._reset_message()

    def _finish_message(self) -> str | bytes:
        if self._decoder is not None:
            self._parts.append(_decode(self._decoder, b"", final=True))
            return "".join(part for part in self._parts if isinstance(part, str))
        content = b"".join(part for part in self._parts if isinstance(part, bytes))
        if self._compressed:
            content = _inflate(content, self._limit_bytes)
        if self._kind == _BINARY:
            return content
        return _decode(codecs.getincrementaldecoder("utf-8")(), content, final=True)

    def _reset_message(self) -> None:
        self._kind = _CONTINUATION
        self._compressed = False
        self._decoder = None
        self._parts = []
        self._size = 0
        self._count = 0

    def _shut(self) -> None:
        self.is_closed = True
        self._rest = b""
        self._payload.clear()
        self._reset_message()


def write_message(
    content: str | bytes, *, mask: bytes = b"", fin: bool = True, deflate: bool = False
) -> bytes:
    """Return a message as one frame; without `fin`, its first fragment.

    `mask` is four random bytes for a client, nothing for a server.
    """
    opcode, payload = (_TEXT, content.encode()) if isinstance(content, str) else (_BINARY, content)
    first = opcode | (_FIN if fin else 0)
    if deflate:
        first |= _RSV1
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
        payload = packed.removesuffix(_DEFLATE_TAIL)
    return _frame(first, payload, mask)


def write_fragment(payload: bytes, *, mask: bytes = b"", fin: bool = False) -> bytes:
    """Return the next fragment of a message."""
    return _frame(_CONTINUATION | (_FIN if fin else 0), payload, mask)


def write_ping(payload: bytes = b"", *, mask: bytes = b"") -> bytes:
    """Return a ping; its payload has at most 125 bytes."""
    return _control(_PING, payload, mask)


def write_pong(payload: bytes = b"", *, mask: bytes = b"") -> bytes:
    """Return a pong; its payload has at most 125 bytes."""
    return _control(_PONG, payload, mask)


def write_close(code: int | None = NORMAL, reason: str = "", *, mask: bytes = b"") -> bytes:
    """Return a close. A reason is cut at a character so that it fits in 123 bytes."""
    if code is None:
        return _control(_CLOSE, b"", mask)
    assert code in _CLOSE_CODES, f"{code} is never sent"
    cut = reason.encode()[:_REASON_SIZE_MAX].decode(errors="ignore")
    return _control(_CLOSE, code.to_bytes(2, "big") + cut.encode(), mask)


def mask_bytes(data: bytes, mask: bytes) -> bytes:
    """Return data with a mask of four bytes put on, or taken off."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    # One operation on large integers: ten times as fast as a loop over bytes.
    number = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


def _control(opcode: int, payload: bytes, mask: bytes) -> bytes:
    assert len(payload) <= _CONTROL_SIZE_MAX, "a control frame has at most 125 bytes"
    return _frame(_FIN | opcode, payload, mask)


def _frame(first: int, payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    masked = _MASKED if mask else 0
    if size < _SIZE_16:
        head = bytes((first, masked | size))
    elif size <= 0xFFFF:  # noqa: PLR2004 - what two bytes hold
        head = bytes((first, masked | _SIZE_16)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | _SIZE_64)) + size.to_bytes(8, "big")
    return head + mask + (mask_bytes(payload, mask) if mask else payload)


def _read_size(field: bytes) -> int:
    size = int.from_bytes(field, "big")
    smallest = _SIZE_16 if len(field) == 2 else 1 << 16  # noqa: PLR2004 - the 16-bit form
    if size < smallest or size >> 63:
        raise _BrokenError(PROTOCOL_ERROR, "a length is not in its shortest form")
    return size


def _read_close(payload: bytes) -> Close:
    if not payload:
        return Close(None, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in _CLOSE_CODES:
        raise _BrokenError(PROTOCOL_ERROR, "a close has a code that is never sent")
    return Close(code, _decode(codecs.getincrementaldecoder("utf-8")(), payload[2:], final=True))


def _decode(decoder: codecs.IncrementalDecoder, part: bytes, *, final: bool) -> str:
    try:
        return decoder.decode(part, final)
    except UnicodeDecodeError:
        raise _BrokenError(BAD_DATA, "text is no UTF-8") from None


def _inflate(content: bytes, limit_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(content + _DEFLATE_TAIL, limit_bytes + 1)
    except zlib.error:
        raise _BrokenError(BAD_DATA, "a message is no deflate data") from None
    if len(found) > limit_bytes:
        raise _BrokenError(TOO_LARGE, f"a message is larger than {limit_bytes} bytes")
    return found

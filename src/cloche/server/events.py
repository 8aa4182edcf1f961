"""What a run says while it runs, and how somebody goes on listening where they stopped.

Pure; `live.py` shares one between threads. Invariants:
- a position counts bytes of UTF-8 text of each stream, so it means the same in every process and
  after a restart; what is no UTF-8 was replaced before it is counted, as in results;
- who reads from any position gets everything behind it once, and then the end;
- memory is the output and at most `_SWITCH_COUNT_MAX` places where the stream changes; beyond
  these the order between the two streams is lost, never the text.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from cloche.server.errors import InvalidFieldError
from cloche.web.response import event

StreamName = Literal["stdout", "stderr"]
_STREAMS: Final[tuple[StreamName, StreamName]] = ("stdout", "stderr")
_SWITCH_COUNT_MAX: Final = 65_536
_POSITION: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
END: Final = "end"
_INSIDE: Final = 0x80  # the upper bits of a byte of UTF-8 that begins no character


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How much somebody has seen, in bytes; `ended` when the end too."""

    stdout: int = 0
    stderr: int = 0
    ended: bool = False

    def __str__(self) -> str:
        return END if self.ended else f"{self.stdout}-{self.stderr}"


START: Final = Position()


def parse_position(text: str | None) -> Position:
    """Return the position that an event's id names; the beginning where there is none.

    Raises:
        InvalidFieldError: it is no id of an event.
    """
    if not text:
        return START
    if text == END:
        return Position(ended=True)
    match = _POSITION.fullmatch(text)
    if match is None:
        raise InvalidFieldError(
            field="Last-Event-ID", problem="it is no id of an event of a run; leave it out"
        )
    return Position(stdout=int(match[1]), stderr=int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some output, and the position behind it."""

    stream: StreamName
    text: str
    position: Position


class Output:
    """The output of one run, as it comes. For one thread at a time."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = (decoder("replace"), decoder("replace"))
        self._texts = (bytearray(), bytearray())
        # (stream, where it ends): the order in which the streams were written.
        self._order: list[tuple[int, int]] = []

    def write(self, stream: StreamName, data: bytes) -> None:
        """Add what a program wrote."""
        index = _STREAMS.index(stream)
        self._add(index, self._decoders[index].decode(data))

    def write_text(self, stream: StreamName, text: str) -> None:
        """Add text that was decoded before."""
        self._add(_STREAMS.index(stream), text)

    def end(self) -> None:
        """Add what is left of a character that nobody finished."""
        for index, decoder in enumerate(self._decoders):
            self._add(index, decoder.decode(b"", final=True))

    def _add(self, index: int, text: str) -> None:
        if not text:
            return
        content = self._texts[index]
        content += text.encode("utf-8", "replace")
        order = self._order
        if order and order[-1][0] == index:
            order[-1] = (index, len(content))
        elif len(order) < _SWITCH_COUNT_MAX:
            order.append((index, len(content)))

    def read(self, position: Position, limit_bytes: int | None = None) -> list[Piece]:
        """Return what is behind a position; of so many bytes, and three more at most, if told."""
        seen = [position.stdout, position.stderr]
        left = sum(map(len, self._texts)) if limit_bytes is None else limit_bytes
        pieces: list[Piece] = []
        for index, end in [*self._order, *enumerate(map(len, self._texts))]:
            if end > seen[index] and left > 0:
                content, begin = self._texts[index], seen[index]
                seen[index] = _whole(content, min(end, begin + left))
                left -= seen[index] - begin
                text = content[begin : seen[index]].decode("utf-8", "replace")
                behind = Position(stdout=seen[0], stderr=seen[1])
                pieces.append(Piece(stream=_STREAMS[index], text=text, position=behind))
        return pieces


def _whole(content: bytearray, end: int) -> int:
    """Return where the character ends that an end would cut."""
    while end < len(content) and content[end] & 0xC0 == _INSIDE:
        end += 1
    return end


def start_event(run_id: str, position: Position) -> bytes:
    """Return the first event of a stream."""
    return event(_json({"id": run_id}), name="start", identity=str(position))


def piece_event(piece: Piece) -> bytes:
    """Return the event of some output."""
    return event(_json({"text": piece.text}), name=piece.stream, identity=str(piece.position))


def end_event(run: msgspec.Struct, position: Position) -> bytes:
    """Return the last event of a stream: the run."""
    return event(_json(run), name=END, identity=str(position))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

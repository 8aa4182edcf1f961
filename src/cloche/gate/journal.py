"""The ordered, hash-chained record of a run, as bytes.

Owns format 1 of the journal (docs/architecture/encodings/journal-v1.md): records, the chain and
the file framing. What entries say stands in `entries`, their rules of order in `order`.
Invariants:
- a record is the msgpack array [index, previous_hash, body, hash]; hash = SHA-256(previous_hash +
  body); the first previous_hash is the SHA-256 of the file header;
- one entry has one encoding: what decodes but encodes to other bytes is corrupt;
- reading holds at most one record plus one chunk, and stops at the first bad byte with the index;
- nothing is truncated: too large is an error.

A chain proves that no record was changed, added or taken from the middle. That none was taken
from the end is proven by the `RunFinished` entry, or by comparing the last hash.
It does no I/O.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from cloche.gate.canonical import decode, encode_canonical, encode_plain
from cloche.gate.effect import EffectError
from cloche.gate.entries import (
    CANONICAL_FIELDS,
    ENTRY_NAMES,
    FORMAT_VERSION,
    PLAIN_FIELDS,
    Content,
    EffectCompleted,
    EffectRefused,
    Entry,
    RunFinished,
    RunInputs,
    RunStarted,
    join_inputs,
)
from cloche.gate.errors import (
    JournalCorruptError,
    JournalError,
    JournalTooLargeError,
    JournalTruncatedError,
    JournalValueTooLargeError,
    JournalVersionError,
    ValueInvalidError,
)
from cloche.gate.order import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cloche.limits import Limits

# The first byte is no text and the last is a line feed: a transfer as text breaks the magic.
MAGIC = b"\x89CLOCHE\n"
HEADER = MAGIC + FORMAT_VERSION.to_bytes(2, "little") + b"\x00\x00"
GENESIS_HASH = hashlib.sha256(HEADER).digest()

_LENGTH_BYTES = 4
_RECORD_OVERHEAD_BYTES = 128

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_body = msgspec.msgpack.Decoder(Entry).decode


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One link of the chain; `body` is the encoded entry."""

    index: int
    previous_hash: bytes
    body: bytes
    hash: bytes


_decode_record = msgspec.msgpack.Decoder(Record, strict=True).decode


class Chain:
    """Encodes entries into records and keeps the head of the chain.

    Raises (from `append`):
        JournalValueTooLargeError, JournalTooLargeError: nothing was appended; absorbing.
    """

    __slots__ = ("_entry_limit_bytes", "_record_count_max", "_size_limit_bytes", "count", "head",
                 "size_bytes")  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._entry_limit_bytes = limits.gate.journal_entry_limit_bytes
        self._record_count_max = limits.gate.journal_entry_count_max
        self._size_limit_bytes = limits.gate.journal_limit_bytes
        self.head = GENESIS_HASH
        self.count = 0
        self.size_bytes = len(HEADER)

    def append(self, entry: Entry) -> bytes:
        """Return the encoded record of an entry, which becomes the head of the chain."""
        body = _encode(entry)
        if len(body) > self._entry_limit_bytes:
            raise JournalValueTooLargeError(
                what="journal entry",
                limit="gate.journal_entry_limit_bytes",
                limit_bytes=self._entry_limit_bytes,
                size_bytes=len(body),
            )
        if self.count >= self._record_count_max:
            raise JournalTooLargeError(
                limit="gate.journal_entry_count_max", limit_value=self._record_count_max
            )
        head = hashlib.sha256(self.head + body).digest()
        data = _encode(Record(index=self.count, previous_hash=self.head, body=body, hash=head))
        size_bytes = self.size_bytes + _LENGTH_BYTES + len(data)
        if size_bytes > self._size_limit_bytes:
            raise JournalTooLargeError(
                limit="gate.journal_limit_bytes", limit_value=self._size_limit_bytes
            )
        self.head = head
        self.count += 1
        self.size_bytes = size_bytes
        return data


def frame(record: bytes) -> bytes:
    """Return a record as it stands in a file: its length, 4 bytes little-endian, then itself."""
    return len(record).to_bytes(_LENGTH_BYTES, "little") + record


def encode_file(records: Iterable[bytes]) -> bytes:
    """Return a whole journal file made of encoded records."""
    return HEADER + b"".join(frame(record) for record in records)


class JournalReader:
    """Reads a journal file in chunks of any size: `feed` until the end, then `close`.

    Every record that `feed` returned is verified: index, chain, encoding, order of entries.

    Raises (from `feed` and `close`; absorbing, the reader is of no more use):
        JournalCorruptError, JournalTruncatedError, JournalVersionError, JournalTooLargeError.
    """

    def __init__(self, limits: Limits) -> None:
        self._chain = Chain(limits)
        self._record_limit_bytes = limits.gate.journal_entry_limit_bytes + _RECORD_OVERHEAD_BYTES
        self._order = Order()
        self._buffer = bytearray()
        self._header_done = False
        self._failure: JournalError | None = None

    @property
    def head(self) -> bytes:
        """Hash of the last record read; of the header before the first."""
        return self._chain.head

    @property
    def count(self) -> int:
        """How many records were read."""
        return self._chain.count

    @property
    def finished(self) -> bool:
        """Whether the last entry read says that the run finished."""
        return self._order.finished

    def feed(self, chunk: bytes) -> list[tuple[bytes, Entry]]:
        """Return the records that this chunk completes, encoded and decoded.

        A bad record after good ones is reported by the next call, so that no good one is lost.
        """
        self._raise_failure()
        self._buffer += chunk
        found: list[tuple[bytes, Entry]] = []
        start = 0
        try:
            if not self._header_done and not self._take_header():
                return found
            while (record := self._take_record(start)) is not None:
                start += _LENGTH_BYTES + len(record)
                found.append((record, self._accept(record)))
        except JournalError as failure:
            self._failure = failure
            if not found:
                raise
        del self._buffer[:start]
        return found

    def close(self) -> None:
        """Check that nothing is left over: a journal ends with a record, and has at least one."""
        self._raise_failure()
        if not self._header_done:
            missing = len(HEADER) - len(self._buffer)
            raise JournalTruncatedError(index=0, missing_bytes=missing)
        if self._buffer:
            missing = _LENGTH_BYTES - len(self._buffer)
            if missing <= 0:
                size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "little")
                missing = _LENGTH_BYTES + size - len(self._buffer)
            raise JournalTruncatedError(index=self.count, missing_bytes=missing)
        if self.count == 0:
            raise JournalTruncatedError(index=0, missing_bytes=_LENGTH_BYTES)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _take_header(self) -> bool:
        head = bytes(self._buffer[: len(MAGIC)])
        if not MAGIC.startswith(head):
            raise JournalCorruptError(index=0, problem="the file does not start as a journal does")
        if len(self._buffer) < len(HEADER):
            return False
        version = int.from_bytes(self._buffer[8:10], "little")
        if version != FORMAT_VERSION:
            raise JournalVersionError(found=version, expected=FORMAT_VERSION)
        if self._buffer[10:12] != b"\x00\x00":
            raise JournalCorruptError(index=0, problem="reserved bytes of the header are not zero")
        del self._buffer[: len(HEADER)]
        self._header_done = True
        return True

    def _take_record(self, start: int) -> bytes | None:
        body_start = start + _LENGTH_BYTES
        if len(self._buffer) < body_start:
            return None
        size = int.from_bytes(self._buffer[start:body_start], "little")
        if not 0 < size <= self._record_limit_bytes:
            problem = f"a length of {size} bytes, expected 1 to {self._record_limit_bytes}"
            raise JournalCorruptError(index=self.count, problem=problem)
        if len(self._buffer) < body_start + size:
            return None
        return bytes(self._buffer[body_start : body_start + size])

    def _accept(self, data: bytes) -> Entry:
        index = self.count
        try:
            record = _decode_record(data)
        except (msgspec.DecodeError, ValueError) as error:
            raise JournalCorruptError(index=index, problem=f"no record: {error}") from error
        if record.index != index:
            problem = f"it says to be record {record.index}"
            raise JournalCorruptError(index=index, problem=problem)
        if record.previous_hash != self.head:
            problem = "its previous_hash is not the hash of the record before"
            raise JournalCorruptError(index=index, problem=problem)
        entry = _decode_entry(index, record.body)
        if self._chain.append(entry) != data:
            # The same entry, encoded and hashed by us, gives other bytes: a changed body with the
            # old hash, or a second spelling of the same data.
            problem = "its hash or its encoding is not the one of its entry"
            raise JournalCorruptError(index=index, problem=problem)
        problem_of_order = self._order.step(entry)
        if problem_of_order:
            raise JournalCorruptError(index=index, problem=problem_of_order)
        return entry


def _decode_entry(index: int, body: bytes) -> Entry:
    try:
        entry: Entry = _decode_body(body)
        _check_documents(entry)
    except (msgspec.DecodeError, ValueError, ValueInvalidError, RecursionError) as error:
        raise JournalCorruptError(index=index, problem=f"no entry: {error}") from error
    return entry


def _check_documents(entry: Entry) -> None:
    """Check that JSON fields hold JSON in its one spelling; whoever replays or shows relies on it.

    Raises:
        ValueError, msgspec.DecodeError, ValueInvalidError: a field does not.
    """
    tag = ENTRY_NAMES[type(entry)]
    for name in CANONICAL_FIELDS.get(tag, ()):
        _check_text(name, getattr(entry, name), encode_canonical)
    for name in PLAIN_FIELDS.get(tag, ()):
        _check_text(name, getattr(entry, name), encode_plain)
    if isinstance(entry, EffectCompleted | EffectRefused) and entry.error is not None:
        msgspec.json.decode(entry.error, type=EffectError)


def _check_text(name: str, text: bytes | None, encode: Callable[[Any], bytes]) -> None:
    if text is not None and encode(decode(text)) != text:
        raise ValueError(f"`{name}` is JSON in another spelling")


class Journal:
    """A whole verified journal in memory, for replay and display.

    `entries` are all entries in order; `inputs` what the run was given; `finish` how it ended, or
    None where the journal stops before the end; `hash` the last hash, 64 hexadecimal digits.

    Raises (on construction):
        JournalCorruptError: contents do not match what `run_started` names.
    """

    __slots__ = ("entries", "finish", "hash", "inputs")

    def __init__(self, entries: tuple[Entry, ...], head: bytes) -> None:
        started = entries[0]
        assert isinstance(started, RunStarted)
        contents = [entry for entry in entries if isinstance(entry, Content)]
        try:
            self.inputs: RunInputs = join_inputs(started, contents)
        except ValueError as error:
            raise JournalCorruptError(index=0, problem=str(error)) from error
        last = entries[-1]
        self.entries = entries
        self.finish = last if isinstance(last, RunFinished) else None
        self.hash = head.hex()

    def moved(self, *, image_id: str, state: str) -> Journal:
        """Return this journal as if its run had started from another image and state.

        It answers a replay there. As no such run was recorded it has no hash.
        """
        started = msgspec.structs.replace(self.entries[0], image_id=image_id, state=state)
        return Journal((started, *self.entries[1:]), b"")


def load_journal(chunks: bytes | Iterable[bytes], limits: Limits) -> Journal:
    """Return the journal in these bytes.

    Raises:
        JournalError: as `JournalReader` and `Journal`.
    """
    reader = JournalReader(limits)
    entries = tuple(entry for _, entry in read_records(chunks, reader))
    return Journal(entries, reader.head)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found in a valid journal. `hash` has 64 hexadecimal digits."""

    record_count: int
    hash: str
    finished: bool


def verify(chunks: bytes | Iterable[bytes], limits: Limits) -> Verification:
    """Read a whole journal in bounded memory and return what it is.

    Raises:
        JournalError: as `JournalReader`; contents are not compared with their digests.
    """
    reader = JournalReader(limits)
    for _ in read_records(chunks, reader):
        pass
    return Verification(record_count=reader.count, hash=reader.head.hex(), finished=reader.finished)


def read_records(
    chunks: bytes | Iterable[bytes], reader: JournalReader
) -> Iterator[tuple[bytes, Entry]]:
    """Yield each verified record, encoded and decoded; raises as `JournalReader`."""
    for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
        yield from reader.feed(chunk)
    reader.close()

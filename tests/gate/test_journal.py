"""Tests of the journal as bytes: round trip, chain, strict and streaming reading."""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.gate.entries import (
    CONTENT_PART_BYTES,
    Content,
    Delivered,
    InputFile,
    RunFinished,
    join_inputs,
    split_inputs,
)
from cloche.gate.errors import (
    JournalCorruptError,
    JournalError,
    JournalTooLargeError,
    JournalTruncatedError,
    JournalValueTooLargeError,
    JournalVersionError,
)
from cloche.gate.journal import (
    HEADER,
    Chain,
    JournalReader,
    encode_file,
    frame,
    load_journal,
    read_records,
    verify,
)
from gate.journals import FINISHED, completed, effect, file_of, journals, started
from gate.support import ZERO_SHA256, make_inputs, make_limits, small_file, small_run

FILE = small_file()
LIMITS = make_limits()


def record_ends():
    """Return the offsets in FILE where a record ends, the header included."""
    ends = [len(HEADER)]
    for record in small_run():
        ends.append(ends[-1] + 4 + len(record))
    return ends


def test_file_layout():
    """The file is magic, version, zero, then length-prefixed records (independent decoding)."""
    assert FILE[:12] == b"\x89CLOCHE\n\x01\x00\x00\x00"
    offset, previous = 12, hashlib.sha256(FILE[:12]).digest()
    index = 0
    while offset < len(FILE):
        size = int.from_bytes(FILE[offset : offset + 4], "little")
        record = msgspec.msgpack.decode(FILE[offset + 4 : offset + 4 + size])
        head = hashlib.sha256(previous + record[2]).digest()
        assert record == [index, previous, record[2], head]
        offset, previous, index = offset + 4 + size, head, index + 1
    assert verify(FILE, LIMITS).hash == previous.hex()


def test_verify_says_what_it_found():
    """A whole journal is valid and finished; one without its last record is valid, unfinished."""
    found = verify(FILE, LIMITS)
    assert (found.record_count, found.finished) == (13, True)
    cut = verify(FILE[: record_ends()[-2]], LIMITS)
    assert (cut.record_count, cut.finished) == (12, False)


def read_all(chunks):
    """Return what a reader gives: the records, and the error that ended it or None."""
    found = []
    try:
        for item in read_records(chunks, JournalReader(LIMITS)):
            found += [item]
    except JournalError as error:
        return found, (type(error), error.message)
    return found, None


@given(st.lists(st.integers(0, len(FILE)), max_size=30), st.integers(0, len(FILE)))
def test_any_chunking_gives_the_same(cuts, end):
    """However a file, whole or cut short, is split into chunks: same records, same error."""
    data = FILE[:end]
    edges = [0, *sorted(cut for cut in cuts if cut <= end), end]
    chunks = [data[left:right] for left, right in pairwise(edges)]
    assert read_all(chunks) == read_all([data])


def test_byte_at_a_time():
    """Fed byte by byte, a reader gives every record as soon as it is complete."""
    reader = JournalReader(LIMITS)
    ends = []
    for offset in range(len(FILE)):
        ends += [offset + 1] * len(reader.feed(FILE[offset : offset + 1]))
    reader.close()
    assert ends == record_ends()[1:]


def test_any_flipped_byte_is_found():
    """Changing any one byte to any of three other values is an error at or before its record."""
    ends = record_ends()
    for offset in range(len(FILE)):
        for flip in (0x01, 0x80, 0xFF):
            data = bytearray(FILE)
            data[offset] ^= flip
            _, error = read_all([bytes(data)])
            assert error is not None, (offset, flip)
            found = verify_error(bytes(data))
            index = sum(end <= offset for end in ends[1:])
            assert found.fields.get("index", 0) == index, (offset, flip)


def verify_error(data, limits=LIMITS):
    """Return the error that reading this file gives."""
    with pytest.raises(JournalError) as caught:
        load_journal(data, limits)
    return caught.value


def test_any_cut_is_found():
    """A file cut anywhere but at the end of a record is truncated at that record."""
    ends = record_ends()
    for end in range(len(FILE)):
        if end in ends[1:]:
            assert not verify(FILE[:end], LIMITS).finished
            continue
        error = verify_error(FILE[:end])
        assert type(error) is JournalTruncatedError
        assert error.fields["index"] == sum(mark <= end for mark in ends[1:])
        if end > 16 and end - max(mark for mark in ends if mark <= end) >= 4:
            missing = min(mark for mark in ends if mark > end) - end
            assert error.fields["missing_bytes"] == missing


def test_trailing_bytes_are_found():
    """Anything after the last record is an error."""
    assert verify_error(FILE + b"\x00").code == "JOURNAL_TRUNCATED"
    assert verify_error(FILE + b"\x00" * 4).message == (
        "journal is corrupt at record 13: a length of 0 bytes, expected 1 to 16777344"
    )


def test_records_before_a_bad_one_are_kept():
    """Good records of the chunk that holds a bad one are returned; the next call fails."""
    data = FILE[: record_ends()[5]] + b"\x05\x00\x00\x00wrong"
    found, error = read_all([data])
    assert len(found) == 5
    assert error[0] is JournalCorruptError


def test_removed_swapped_and_repeated_records_are_found():
    """A record taken out, doubled, or exchanged with the next breaks the chain."""
    records = small_run()
    for index in range(len(records) - 1):
        swapped = list(records)
        swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
        without = records[:index] + records[index + 1 :]
        doubled = records[: index + 1] + records[index:]
        for damaged in (swapped, without, doubled):
            assert verify_error(encode_file(damaged)).code == "JOURNAL_CORRUPT"


def test_versions():
    """A journal of another version says which; another kind of file says so."""
    error = verify_error(b"\x89CLOCHE\n\x02\x00\x00\x00")
    assert (type(error), error.message) == (
        JournalVersionError,
        "journal has format version 2, this cloche reads version 1",
    )
    assert verify_error(b"PK\x03\x04").message == (
        "journal is corrupt at record 0: the file does not start as a journal does"
    )
    assert verify_error(b"\x89CLOCHE\n\x01\x00\x01\x00").message == (
        "journal is corrupt at record 0: reserved bytes of the header are not zero"
    )
    assert verify_error(HEADER).code == "JOURNAL_TRUNCATED"
    assert verify_error(b"").code == "JOURNAL_TRUNCATED"


def test_header_is_part_of_the_chain():
    """The first record is bound to the header: a chain that starts from zeros is refused."""
    body = msgspec.msgpack.encode(started()[0], order="deterministic")
    head = hashlib.sha256(bytes(32) + body).digest()
    record = msgspec.msgpack.encode([0, bytes(32), body, head])
    assert verify_error(encode_file([record])).message == (
        "journal is corrupt at record 0: its previous_hash is not the hash of the record before"
    )


def test_second_spelling_is_refused():
    """A body that says the same in other bytes, correctly hashed, is refused."""
    body = msgspec.msgpack.encode(started()[0], order="deterministic")
    plain = msgspec.msgpack.decode(body)
    other = msgspec.msgpack.encode(dict(reversed(plain.items())))
    previous = hashlib.sha256(HEADER).digest()
    head = hashlib.sha256(previous + other).digest()
    record = msgspec.msgpack.encode([0, previous, other, head])
    assert verify_error(encode_file([record])).message == (
        "journal is corrupt at record 0: its hash or its encoding is not the one of its entry"
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((effect(0),), "record 0: the first entry is not run_started"),
        ((started()[0], started()[0]), "record 1: a second run_started"),
        ((*started(), effect(1)), "record 4: effect 1 where effect 0 is due"),
        ((*started(), effect(0), effect(0)), "record 5: effect 0 where effect 1 is due"),
        ((*started(), completed(0)), "record 4: effect 0 is complete but was not open"),
        (
            (*started(), effect(0), completed(0), completed(0)),
            "record 6: effect 0 is complete but was not open",
        ),
        (
            (*started(), effect(0), completed(0, None)),
            "record 5: effect 0 needs a value or an error, not both",
        ),
        (
            (*started(), effect(0), Delivered(sequences=(0,), clock_advance_ns=0)),
            "record 5: effect 0 is delivered but has no answer to deliver",
        ),
        (
            (*started(), effect(0), completed(0), Delivered(sequences=(0, 0), clock_advance_ns=0)),
            "record 6: effect 0 is delivered but has no answer to deliver",
        ),
        ((*started(), effect(0), started()[1]), "record 5: a content after the first effect"),
        ((*started(), FINISHED, effect(0)), "record 5: an entry after run_finished"),
        (
            (*started(), effect(0, args=b"{")),
            "record 4: no entry: Input data was truncated",
        ),
        (
            (*started(), effect(0, args=b'{"z":1,"a":2}')),
            "record 4: no entry: `args` is JSON in another spelling",
        ),
        (
            (*started(), effect(0), completed(0, b"[1, 2]")),
            "record 5: no entry: `value` is JSON in another spelling",
        ),
        (
            (*started(), effect(0), completed(0, b"[" * 513 + b"]" * 513)),
            "record 5: no entry: value at $" + "[0]" * 512 + " is nested too deep",
        ),
        (
            (*started(), effect(0, args=b"[" * 100_000)),
            "record 4: no entry: maximum recursion depth exceeded while deserializing an object",
        ),
        (
            (*started(), effect(0), completed(0, None, b"{}")),
            "record 5: no entry: Object missing required field `code`",
        ),
        (
            (msgspec.structs.replace(started()[0], format=2),),
            "record 0: run_started has format 2, the file 1",
        ),
    ],
)
def test_order_of_entries(entries, message):
    """A chain that is whole but tells an impossible story is corrupt, with the place."""
    assert verify_error(file_of(*entries)).message == f"journal is corrupt at {message}"


def test_contents_must_match():
    """A content with other bytes than its name, missing or too much is corrupt."""
    first, *contents = started()
    wrong = [msgspec.structs.replace(contents[0], data=b"tools.add(1, 3)"), *contents[1:]]
    extra = [*contents, Content(sha256=ZERO_SHA256, offset=0, data=b"x")]
    for parts in (wrong, contents[:-1], contents[::-1], extra):
        assert verify_error(file_of(first, *parts, FINISHED)).code == "JOURNAL_CORRUPT"


@pytest.mark.parametrize("size_bytes", [0, 1, CONTENT_PART_BYTES, 2 * CONTENT_PART_BYTES + 1])
def test_inputs_round_trip(size_bytes):
    """Inputs are split into bounded parts and put together again, each content once."""
    content = random.Random(size_bytes).randbytes(size_bytes)
    inputs = make_inputs(stdin=content, files=(InputFile(path="/same", content=content),))
    first, *contents = split_inputs(inputs)
    assert join_inputs(first, contents) == inputs
    assert max((len(part.data) for part in contents), default=0) <= CONTENT_PART_BYTES
    assert sum(len(part.data) for part in contents) == size_bytes + len(inputs.code)


@given(journals())
def test_round_trip(entries):
    """Every story that the rules allow is read back as it was written."""
    journal = load_journal(file_of(*entries), LIMITS)
    assert journal.entries == entries
    assert journal.inputs == join_inputs(
        entries[0], [entry for entry in entries if isinstance(entry, Content)]
    )
    assert (journal.finish is not None) == isinstance(entries[-1], RunFinished)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_an_error(data, with_header):
    """Noise is a typed error, never another exception."""
    error = verify_error(HEADER + data if with_header else data)
    assert error.code in {"JOURNAL_CORRUPT", "JOURNAL_TRUNCATED", "JOURNAL_VERSION"}


def test_announced_length_is_not_believed():
    """A record that claims to be larger than the limit is refused before it is buffered."""
    reader = JournalReader(LIMITS)
    with pytest.raises(JournalCorruptError, match="a length of 4294967295 bytes"):
        reader.feed(HEADER + b"\xff\xff\xff\xff")


def test_writing_over_a_limit():
    """An entry, a count or a total over its limit is an error, and the chain stays as it was."""
    first = started(cwd="/" * 2000)[0]
    chain = Chain(make_limits(journal_entry_limit_bytes=1024))
    with pytest.raises(JournalValueTooLargeError) as caught:
        chain.append(first)
    assert caught.value.message.endswith(
        "over gate.journal_entry_limit_bytes = 1024; recorded values are never truncated. "
        "Make it smaller or raise the limit"
    )
    assert (chain.count, chain.size_bytes) == (0, len(HEADER))
    chain = Chain(make_limits(journal_entry_count_max=1))
    chain.append(first)
    with pytest.raises(JournalTooLargeError, match=r"over gate\.journal_entry_count_max = 1"):
        chain.append(first)
    with pytest.raises(JournalTooLargeError, match=r"over gate\.journal_limit_bytes = 1024"):
        Chain(make_limits(journal_limit_bytes=1024)).append(first)


def test_limits_of_size_are_exact():
    """A journal of exactly the limits is written and read; one byte or record less is not."""
    assert verify(FILE, make_limits(journal_limit_bytes=len(FILE))).finished
    assert verify(FILE, make_limits(journal_entry_count_max=13)).finished
    for limits in (
        make_limits(journal_limit_bytes=len(FILE) - 1),
        make_limits(journal_entry_count_max=12),
    ):
        assert verify_error(FILE, limits).code == "JOURNAL_TOO_LARGE"


def test_frame():
    """A record is framed by its length, four bytes little-endian."""
    assert frame(b"abc") == b"\x03\x00\x00\x00abc"


def test_index_is_checked():
    """A record in its place that says another index is told so."""
    index, previous, body, head = msgspec.msgpack.decode(small_run()[0])
    record = msgspec.msgpack.encode([index + 1, previous, body, head])
    assert verify_error(encode_file([record])).message == (
        "journal is corrupt at record 0: it says to be record 1"
    )

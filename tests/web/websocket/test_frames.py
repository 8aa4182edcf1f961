"""Frames: messages read whole, every broken rule with its code, any split the same."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.web.websocket.frames import (
    Close,
    Failure,
    FrameReader,
    Message,
    Ping,
    Pong,
    mask_bytes,
    write_close,
    write_fragment,
    write_message,
    write_ping,
    write_pong,
)

MASK = b"\x37\xfa\x21\x3d"


def read(raw, **options):
    """Return the events of some bytes, the same for every way of cutting them in two."""
    whole = FrameReader(**options).feed(raw)
    for cut in range(1, len(raw)) if len(raw) < 400 else (1, 2, 3, 200):
        reader = FrameReader(**options)
        assert reader.feed(raw[:cut]) + reader.feed(raw[cut:]) == whole, cut
    reader = FrameReader(**options)
    events = []
    for byte in raw:
        events += reader.feed(bytes((byte,)))
    assert events == whole
    return whole


def frame(first, payload=b"", *, size=None):
    """Return a masked frame with any first byte, and perhaps a length of its own."""
    head = bytes((first, 0x80 | len(payload))) if size is None else bytes((first,)) + size
    return head + MASK + mask_bytes(payload, MASK)


def failure_of(raw, **options):
    """Return the code that ends some bytes."""
    events = read(raw, **options)
    assert isinstance(events[-1], Failure)
    return events[-1].code


def test_the_examples_of_the_standard():
    """RFC 6455 section 5.7, byte for byte."""
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    assert read(hello) == [Message("Hello")]
    assert write_message("Hello", mask=MASK) == hello
    assert write_message("Hello") == bytes.fromhex("810548656c6c6f")
    assert write_message("Hel", fin=False) == bytes.fromhex("010348656c")
    assert write_fragment(b"lo", fin=True) == bytes.fromhex("80026c6f")
    assert write_ping(b"Hello") == bytes.fromhex("890548656c6c6f")
    assert read(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [Pong(b"Hello")]
    assert write_message(b"x" * 256)[:4] == bytes.fromhex("827e0100")
    assert write_message(b"x" * 65536)[:10] == bytes.fromhex("827f0000000000010000")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_sizes(size):
    """Every form of the length, both ways."""
    content = b"x" * size
    assert read(write_message(content, mask=MASK)) == [Message(content)]
    reader = FrameReader(role="client")
    assert reader.feed(write_message(content)) == [Message(content)]


def test_fragments():
    """Fragments are one message, and control frames may come between them."""
    raw = (
        write_message("a\u00f6"[:1], fin=False, mask=MASK)
        + write_ping(b"1", mask=MASK)
        + write_fragment(b"\xc3", mask=MASK)
        + write_pong(b"2", mask=MASK)
        + write_fragment(b"\xb6", fin=True, mask=MASK)
        + write_message(b"", mask=MASK)
    )
    assert read(raw) == [Ping(b"1"), Pong(b"2"), Message("aö"), Message(b"")]


def test_close():
    """A close has a code and a reason or neither, and is the last event."""
    closed = write_close(1000, "bye", mask=MASK)
    assert read(closed + write_ping(mask=MASK)) == [Close(1000, "bye")]
    assert read(write_close(None, mask=MASK)) == [Close(None, "")]
    reader = FrameReader()
    reader.feed(closed)
    assert reader.is_closed
    assert reader.feed(write_ping(mask=MASK)) == []


def test_a_long_reason():
    """A reason is cut at a character."""
    (event,) = read(write_close(1001, "ö" * 100, mask=MASK))
    assert event == Close(1001, "ö" * 61)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
def test_codes_that_are_sent(code):
    """The registered codes, and those of libraries and applications."""
    assert read(frame(0x88, code.to_bytes(2, "big"))) == [Close(code, "")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_are_never_sent(code):
    """A code that only stands for something inside of a program breaks the protocol."""
    assert failure_of(frame(0x88, code.to_bytes(2, "big"))) == 1002


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x81\x05Hello", 1002),  # no mask
        (frame(0x83), 1002),  # reserved opcodes
        (frame(0x87), 1002),
        (frame(0x8B), 1002),
        (frame(0x8F), 1002),
        (frame(0xC1), 1002),  # reserved bits
        (frame(0xA1), 1002),
        (frame(0x91), 1002),
        (frame(0xC9), 1002),
        (frame(0x09), 1002),  # control frames are whole and short
        (frame(0x08), 1002),
        (frame(0x89, size=b"\xfe\x00\x7e"), 1002),
        (frame(0x80), 1002),  # nothing to continue
        (frame(0x00), 1002),
        (frame(0x01) + frame(0x81), 1002),  # a message inside of a message
        (frame(0x02) + frame(0x02), 1002),
        (frame(0x82, size=b"\xfe\x00\x7d"), 1002),  # lengths that are too long
        (frame(0x82, size=b"\xff" + b"\x00" * 6 + b"\xff\xff"), 1002),
        (frame(0x82, size=b"\xff\x80" + b"\x00" * 7), 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b"\xc3"), 1007),
        (frame(0x81, b"\xed\xa0\x80"), 1007),
        (frame(0x81, b"\xf4\x90\x80\x80"), 1007),
        (frame(0x01, b"\xc3") + frame(0x80, b"("), 1007),
        (frame(0x82, size=b"\xff\x00\x00\x00\x00\x7f\xff\xff\xff"), 1009),
    ],
)
def test_broken_rules(raw, code):
    """Each broken rule ends the connection with its code, and nothing behind it is read."""
    assert failure_of(raw + frame(0x89)) == code


def test_what_ends_early():
    """A rule that is broken is known before the frame is complete."""
    assert FrameReader().feed(b"\x83")[0].code == 1002
    assert FrameReader().feed(b"\x81\x05")[0].code == 1002
    large = FrameReader(message_limit_bytes=1000)
    assert large.feed(b"\x82\xfe\x03\xe9")[0].code == 1009
    text = FrameReader()
    assert text.feed(b"\x01\xfe\x10\x00" + MASK + mask_bytes(b"ok\xff", MASK))[0].code == 1007


def test_a_client_reads_frames_without_masks():
    """A mask from a server breaks the protocol."""
    assert failure_of(frame(0x81), role="client") == 1002


def test_limits():
    """A message may have so many bytes and frames, together over its fragments."""
    first, last = write_message(b"x" * 6, fin=False, mask=MASK), frame(0x80, b"x" * 4)
    assert read(first + last, message_limit_bytes=10) == [Message(b"x" * 10)]
    assert failure_of(first + last, message_limit_bytes=9) == 1009
    empty = write_message(b"", fin=False, mask=MASK) + frame(0x00) + frame(0x80)
    assert read(empty * 2, fragment_count_max=3) == [Message(b"")] * 2
    assert failure_of(empty, fragment_count_max=2) == 1009


def test_compression():
    """A compressed message is what it was; without agreement it breaks the protocol."""
    raw = write_message("hello " * 50, deflate=True, mask=MASK)
    assert len(raw) < 40
    assert read(raw, deflate=True) == [Message("hello " * 50)]
    assert failure_of(raw) == 1002
    fragment = write_message(b"x" * 99, deflate=True, fin=False, mask=MASK)
    assert read(fragment + frame(0x80), deflate=True) == [Message(b"x" * 99)]
    assert failure_of(frame(0xC2, b"\xff\xff"), deflate=True) == 1007
    assert failure_of(frame(0x02) + frame(0xC0), deflate=True) == 1002
    for bad_text in (b"\xff", b"\xc3"):
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(bad_text) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert failure_of(frame(0xC1, packed[:-4]), deflate=True) == 1007


def test_compression_bombs():
    """What unpacks to more than the limit is refused without unpacking all of it."""
    bomb = write_message(b"\0" * (1 << 20), deflate=True, mask=MASK)
    assert len(bomb) < 2000
    assert failure_of(bomb, deflate=True, message_limit_bytes=10_000) == 1009
    exact = write_message(b"\0" * 10_000, deflate=True, mask=MASK)
    assert read(exact, deflate=True, message_limit_bytes=10_000) == [Message(b"\0" * 10_000)]


CONTENTS = st.text(st.characters(codec="utf-8"), max_size=40) | st.binary(max_size=40)
MASKS = st.binary(min_size=4, max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(CONTENTS, MASKS, st.booleans()), max_size=4), st.data())
def test_what_is_written_is_read(messages, data):
    """Messages come back in order, masked and compressed or not, cut anywhere."""
    raw = b"".join(write_message(content, mask=mask, deflate=d) for content, mask, d in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    reader, events = FrameReader(deflate=True), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        events += reader.feed(raw[start:end])
    assert events == [Message(content) for content, _, _ in messages]


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_noise(raw, deflate):
    """Arbitrary bytes never raise, and events do not depend on how they are cut."""
    for noise in (raw, b"\x81\x85" + raw, b"\xc1\x8a" + raw, b"\x01\x83" + raw):
        events = read(noise, deflate=deflate, message_limit_bytes=100)
        assert all(not isinstance(event, Close | Failure) for event in events[:-1])

"""Every number that names an error of the web room, in one table.

Owns the spaces (disjoint ranges) and the codes in them.
Invariants:
- a number is in exactly one space and means one thing for ever;
- a name is unique over all spaces, so either is enough to look a code up;
- an HTTP status is given where the failure can be answered with a response.

It raises nothing: errors that carry these numbers are in `errors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A range of numbers, both ends included."""

    name: str
    first: int
    last: int
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One failure. `status` is the HTTP status that answers it, 0 where no answer is possible."""

    number: int
    name: str
    summary: str
    status: int = 0


NET: Final = Space(name="NET_ERR", first=1, last=999, summary="the network refused or broke")
REPLAY: Final = Space(name="REPLAY", first=2000, last=2014, summary="a cassette cannot answer")
HTTP1: Final = Space(
    name="SPEC_ERR_HTTP1", first=0x6200, last=0x62FF, summary="a message is not HTTP/1.1"
)
SPEC: Final = Space(
    name="SPEC_ERR", first=2_000_000_000, last=2_000_099_999, summary="bytes break their encoding"
)
SLICES: Final = Space(
    name="SPEC_ERR_X7SL", first=0x7E510000, last=0x7E5100FF, summary="bytes are no slice list"
)
BUDGET: Final = Space(
    name="BUDGET", first=0x80000001, last=0x800000FF, summary="a budget of another runtime is spent"
)
SPACES: Final = (NET, REPLAY, HTTP1, SPEC, SLICES, BUDGET)

# Blocks of the space SPEC_ERR: ten thousand numbers for each encoding, the same five in each.
_BLOCKS: Final = (
    ("", 0, "any other encoding"),
    ("HEADERS_", 10_000, "X7HT"),
    ("HTTP_REQ_", 20_000, "X7RQ"),
    ("HTTP_RESP_", 30_000, "X7RS"),
    ("CASSETTE_", 50_000, "X7WC"),
    ("TLS_CONFIG_", 60_000, "X7TL"),
    ("CAPS_", 70_000, "X7HC and EWHC"),
    ("REQ_DOC_", 80_000, "EWHR"),
    ("DATA_MODEL_", 90_000, "DataModel value and document"),
)
_IN_EACH_BLOCK: Final = (
    (1, "TRUNCATED", "the bytes end before the {} does"),
    (2, "BAD_MAGIC", "the first bytes are not those of {}"),
    (3, "BAD_VERSION", "a version of {} that is not known"),
    (4, "OVERFLOW", "a number that {} cannot hold"),
    (5, "LIMIT_EXCEEDED", "more than a limit of {} allows"),
    (6, "BAD_VALUE", "a field of {} outside of its range"),
    (7, "BAD_LENGTH", "bytes are left over after {}, or a length does not fit"),
    (8, "NOT_CANONICAL", "{} in an order or spelling that no writer makes"),
)


def _spec_codes() -> tuple[Code, ...]:
    return tuple(
        Code(
            number=SPEC.first + base + offset,
            name=f"SPEC_ERR_{block}{name}",
            summary=summary.format(subject),
            status=400,
        )
        for block, base, subject in _BLOCKS
        for offset, name, summary in _IN_EACH_BLOCK
    )


def _numbered(
    space: Space, first: int, prefix: str, rows: tuple[tuple[str, int, str], ...]
) -> tuple[Code, ...]:
    codes = tuple(
        Code(number=first + index, name=f"{prefix}{name}", status=status, summary=summary)
        for index, (name, status, summary) in enumerate(rows)
    )
    assert codes[-1].number <= space.last
    return codes


_NET_CODES: Final = _numbered(
    NET,
    1,
    "NET_ERR_",
    (
        ("POLICY_DENIED", 403, "the policy does not allow it"),
        ("INVALID_REQ", 400, "the request makes no sense"),
        ("TIMEOUT", 504, "it took too long"),
        ("TOO_LARGE", 413, "more bytes than a limit allows"),
        ("DNS", 502, "the name has no address"),
        ("CONNECT", 502, "no connection was made"),
        ("TLS", 502, "the handshake failed"),
        ("INTERNAL", 500, "a defect"),
    ),
)

_REPLAY_CODES: Final = _numbered(
    REPLAY,
    2000,
    "REPLAY_",
    (
        ("CONFIG_INVALID", 0, "the configuration is malformed"),
        ("CONFIG_UNSUPPORTED", 0, "the configuration asks for what is not there"),
        ("OPEN_FAILED", 0, "the cassette cannot be opened"),
        ("CASSETTE_BYTES", 0, "the cassette is larger than allowed"),
        ("ENTRY_COUNT", 0, "the cassette has more entries than allowed"),
        ("REQUEST_BYTES", 0, "a request is larger than allowed"),
        ("RESPONSE_BYTES", 0, "a response is larger than allowed"),
        ("KEY_BYTES", 0, "a key is larger than allowed"),
        ("ENTRY_INVALID", 0, "an entry is malformed"),
        ("MISS", 500, "no unused entry answers this request"),
        ("KIND_MISMATCH", 500, "the next entry is of another kind"),
        ("OPERATION_MISMATCH", 500, "the next entry is another operation"),
        ("NOT_REPLAYING", 0, "the mode has no replay"),
        ("NOT_RECORDING", 0, "the mode does not append"),
        ("TRUNCATED", 0, "the cassette ends inside an entry"),
    ),
)

_HTTP1_CODES: Final = _numbered(
    HTTP1,
    0x6200,
    "SPEC_ERR_HTTP1_",
    (
        ("BAD_START_LINE", 400, "the request line is not `method SP target SP version CRLF`"),
        ("UNSUPPORTED_VERSION", 505, "the version is not HTTP/1.1"),
        ("BAD_METHOD", 501, "the method is none that is implemented"),
        ("HEADER_TOO_LARGE", 431, "the head or one field line is longer than allowed"),
        ("TOO_MANY_HEADERS", 431, "more field lines than allowed"),
        ("BAD_HEADER_LINE", 400, "a field line is not `name: value CRLF`"),
        ("OBS_FOLD", 400, "a field line begins with white space"),
        ("TRANSFER_ENCODING_UNSUPPORTED", 501, "a transfer coding that is not implemented"),
        ("CONTENT_LENGTH_INVALID", 400, "the Content-Length is no number"),
        ("CONTENT_LENGTH_CONFLICT", 400, "several values of Content-Length differ"),
        ("BODY_WITHOUT_CONTENT_LENGTH", 400, "bytes follow a request that has no body"),
        ("BODY_SIZE_MISMATCH", 400, "the body is not as long as Content-Length says"),
        ("TE_AND_CL", 400, "Transfer-Encoding and Content-Length together"),
        ("BAD_TRANSFER_ENCODING", 400, "`chunked` is not the last and only coding"),
        ("BAD_CHUNK", 400, "the chunked framing is broken"),
        ("CHUNK_OVERHEAD", 413, "too much framing for the data it carries"),
        ("BAD_TRAILER", 400, "the trailer section is malformed, too large or forbidden"),
        ("BODY_TOO_LARGE", 413, "the body is longer than allowed"),
        ("LINE_TOO_LONG", 414, "the request line is longer than allowed"),
        ("BAD_TARGET", 400, "the target has no form that its method allows"),
        ("BAD_HOST", 400, "there is not exactly one valid Host"),
        ("EXPECTATION_UNKNOWN", 417, "an expectation other than 100-continue"),
        ("TRUNCATED", 400, "the connection ended inside a message"),
        ("BAD_STATUS", 500, "a response has no status from 100 to 599, or a final one is needed"),
        ("BAD_FIELD", 500, "a field of a response cannot be written"),
        ("BAD_BODY", 500, "the body of a response does not fit its status or length"),
    ),
)

_SLICE_CODES: Final = _numbered(
    SLICES,
    0x7E510001,
    "SPEC_ERR_X7SL_",
    (
        ("TRUNCATED", 400, "the bytes end before the slice list does"),
        ("BAD_VERSION", 400, "a version of the slice list that is not known"),
        ("BAD_LENGTH", 400, "bytes are left over after the slice list"),
        ("BAD_MAGIC", 400, "the first bytes are not those of a slice list"),
        ("NOT_CANONICAL", 400, "slices that do not ascend"),
    ),
)

# Kept for blobs that other runtimes write: Python counts neither copies nor allocations.
_BUDGET_CODES: Final = _numbered(
    BUDGET,
    0x80000001,
    "BUDGET_",
    (
        ("ALLOCATED_BYTES", 0, "more bytes were allocated than allowed"),
        ("ALLOCATIONS", 0, "more allocations than allowed"),
        ("REALLOCATIONS", 0, "more reallocations than allowed"),
        ("COPIED_BYTES", 0, "more bytes were copied than allowed"),
        ("SCHEDULER_TICKS", 0, "more turns of the scheduler than allowed"),
    ),
)

CODES: Final = (
    *_NET_CODES,
    *_REPLAY_CODES,
    *_HTTP1_CODES,
    *_spec_codes(),
    *_SLICE_CODES,
    *_BUDGET_CODES,
)
BY_NUMBER: Final = {code.number: code for code in CODES}
BY_NAME: Final = {code.name: code for code in CODES}


def space_of(number: int) -> Space | None:
    """Return the space that a number is in, or None where it is in no space."""
    return next((space for space in SPACES if space.first <= number <= space.last), None)


def spec_code(block: str, failure: str) -> Code:
    """Return a code of the space SPEC_ERR, as `spec_code("HEADERS", "BAD_MAGIC")`."""
    return BY_NAME[f"SPEC_ERR_{block}_{failure}" if block else f"SPEC_ERR_{failure}"]

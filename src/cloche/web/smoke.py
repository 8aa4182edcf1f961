"""Smoke suites: cases of bytes in and bytes out, for the pure functions of the room.

A suite is JSON, `smoke_suite@0.1.0`: `suite_id`, `world` (always `solve-pure`), `program`, and
`cases` of `name`, `input_b64`, `expected_b64`. Programs, with what goes in and comes out:

| program | input | output |
|---|---|---|
| `http1.parse_req_v1` | a request as on the wire | 1 and its EWHR, or 0 and the code (4 bytes) |
| `http1.build_resp_v1` | status and length of X7HT (4 bytes each), X7HT, body | 1 and the bytes, or 0 and the code |
| `headers.canonicalize_v1` | X7HT | X7HT |
| `fixture.run_v1` | X7WC | X7RS of the application |

Invariant: every case is run twice, and both runs give the same bytes.
"""  # noqa: E501 - a row of a table is one line

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.errors import ClocheError
from cloche.web.encodings.errors import DecodeError, EncodeError
from cloche.web.encodings.headers import decode_headers, encode_headers
from cloche.web.http1.errors import Http1Error, Http1ResponseError
from cloche.web.http1.one_shot import parse_req_v1
from cloche.web.http1.serializer import build_resp_v1

if TYPE_CHECKING:
    from collections.abc import Callable

    Program = Callable[[bytes], bytes]

RUN: Final = "fixture.run_v1"
_PREFIX_SIZE: Final = 8


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input and what has to come out."""

    name: str
    input_b64: str
    expected_b64: str


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cases of one program."""

    schema_version: Literal["smoke_suite@0.1.0"]
    suite_id: str
    world: Literal["solve-pure"]
    program: str
    cases: list[Case]


class SuiteError(ClocheError):
    """A suite is malformed, or asks for a program that is not there. State: nothing was run."""

    code = "WEB_SMOKE_SUITE"
    blame = "caller"

    def __init__(self, *, problem: str) -> None:
        super().__init__(f"smoke suite: {problem}", problem=problem)


class Outcome(msgspec.Struct, frozen=True):
    """How a case went; `problem` is empty where it passed."""

    suite_id: str
    name: str
    problem: str


def read_suite(text: bytes) -> Suite:
    """Return the suite of a JSON text.

    Raises:
        SuiteError: it is none.
    """
    try:
        return msgspec.json.decode(text, type=Suite)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise SuiteError(problem=str(failure)) from None


def run_suite(
    suite: Suite, run_v1: Program | None = None, reason: Callable[[], str] = str
) -> list[Outcome]:
    """Return how each case of a suite went.

    Args:
        suite: what to run.
        run_v1: the application for `fixture.run_v1`, from X7WC to X7RS.
        reason: why the last answer of the application is a failure, empty where it is none; it is
            told with a case that fails.

    Raises:
        SuiteError: the program is not known, or needs an application.
    """
    if suite.program == RUN and run_v1 is None:
        raise SuiteError(problem=f"{RUN} needs an application")
    programs: dict[str, Any] = {**_PROGRAMS, RUN: run_v1}
    if suite.program not in programs:
        known = ", ".join(sorted(programs))
        raise SuiteError(problem=f"no program {suite.program}; known are {known}")
    program = programs[suite.program]
    outcomes = []
    for case in suite.cases:
        problem = _problem(program, case)
        why = reason() if problem and suite.program == RUN else ""
        outcomes.append(Outcome(suite.suite_id, case.name, f"{problem}; {why}" if why else problem))
    return outcomes


def _problem(program: Program, case: Case) -> str:
    try:
        data = base64.b64decode(case.input_b64, validate=True)
        expected = base64.b64decode(case.expected_b64, validate=True)
    except ValueError:
        raise SuiteError(problem=f"{case.name} has bytes that are no base64") from None
    try:
        first, second = program(data), program(data)
    except ClocheError as failure:
        return f"{failure.code}: {failure.message}"
    if first != second:
        return "two runs gave different bytes"
    if first == expected:
        return ""
    at = next(
        (index for index, (a, b) in enumerate(zip(first, expected, strict=False)) if a != b),
        min(len(first), len(expected)),
    )
    return f"{len(first)} bytes, expected {len(expected)}; the first difference is at byte {at}"


def _parse(data: bytes) -> bytes:
    try:
        return b"\x01" + parse_req_v1(data)
    except Http1Error as refused:
        return _code(refused)


def _build(data: bytes) -> bytes:
    status, size = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    end = _PREFIX_SIZE + size
    try:
        return b"\x01" + build_resp_v1(status, data[_PREFIX_SIZE:end], data[end:])
    except (Http1ResponseError, DecodeError, EncodeError) as refused:
        return _code(refused)


def _canonicalize(data: bytes) -> bytes:
    return encode_headers(decode_headers(data).canonical())


def _code(refused: ClocheError) -> bytes:
    number: int = refused.fields["number"]
    return b"\x00" + number.to_bytes(4, "little")


_PROGRAMS: Final[dict[str, Program]] = {
    "http1.parse_req_v1": _parse,
    "http1.build_resp_v1": _build,
    "headers.canonicalize_v1": _canonicalize,
}

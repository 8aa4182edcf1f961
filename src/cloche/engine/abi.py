"""The words that host and guest exchange: operations, turn inputs, turn reports, stops.

Owns the guest ABI, version 1. One host call carries everything: an operation number and bytes.
Pure: parsing here never trusts the guest; a report that is not what the ABI says is a stop of kind
`protocol`, not an exception.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Final, Literal

import msgspec

ABI_VERSION: Final = 1
APP_PROGRAM: Final = "<app>"  # a program of this name is no source: it is what an app is asked for
DURATION_LIMIT_NS: Final = (1 << 63) - 1  # clocks keep times in signed 64 bits

# What reading bad JSON can raise. Text is decoded late, so that bad UTF-8 raises in its own way.
MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Op(IntEnum):
    """What a guest asks of the host in one call. 16 and up: only guests without WASI."""

    EFFECT = 1
    SUBMIT = 2
    REPORT = 3
    WAIT = 4
    OUT_OF_MEMORY = 6
    SEAL = 7  # answered only while an image is made
    ABANDON = 8
    STDOUT = 16
    STDERR = 17
    CLOCK = 18
    RANDOM = 19
    SLEEP = 20
    STDIN = 21
    EXIT = 22
    FS = 32
    TRANSFORM = 33


StopKind = Literal[
    "exit",
    "cancelled",
    "suspended",
    "time",
    "memory",
    "fuel",
    "output",
    "host_calls",
    "stack",
    "trap",
    "protocol",
    "gate",
    "turns",
    "effects",
]
Resource = Literal["memory", "files", "stack"]


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why the host ended a turn. After a stop nothing more of that instance is believed.

    Args:
        kind: which limit, or `exit` (the guest asked), `trap` (it crashed), `protocol` (it broke
            the ABI), `gate` (the gate refused to go on).
        exit_code: for `exit`.
        message: one line for people.
    """

    kind: StopKind
    exit_code: int | None = None
    message: str = ""


class GuestStopped(BaseException):
    """Ends the turn from inside a host function.

    Derives from BaseException so that no `except Exception` on the way swallows it.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.kind)
        self.stop = stop


class GuestError(msgspec.Struct, frozen=True, kw_only=True):
    """An uncaught error as the guest tells it."""

    name: str = ""
    message: str = ""
    stack: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest says at the end of a turn.

    Args:
        state: `done`, `waiting` (for submitted effects or a timer), `failed`.
        exit_code: for done and failed.
        wake_ns: virtual time of the earliest timer, for waiting.
        stage: where a failure happened.
        resource: what a failure ran out of, if anything.
    """

    state: Literal["done", "waiting", "failed"]
    exit_code: int = 0
    wake_ns: int | None = None
    stage: Literal["compile", "run"] = "run"
    error: GuestError | None = None
    resource: Resource | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """An effect that a guest asks for; `id` is the guest's own name for the pending call."""

    kind: str
    target: str
    args: Any = None
    id: int | None = None


class UnreadableArgs:
    """Stands for arguments that are JSON no host can hold: too deep, a number out of range.

    No gate admits it, so that the guest gets an error for one call and can go on.
    """


class WaitInput(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a WAIT call."""

    timeout_ns: Annotated[int, msgspec.Meta(ge=0, le=DURATION_LIMIT_NS)] | None = None


class AbandonInput(msgspec.Struct, frozen=True, kw_only=True):
    """Body of an ABANDON call: the guest's own name for a pending call that it gives up."""

    id: int


class TransformInput(msgspec.Struct, frozen=True, kw_only=True):
    """Body of a TRANSFORM call."""

    filename: str
    source: str


class StartInput(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", tag="start"):
    """The first turn input of a run. What differs between the runs of a session comes last."""

    language: str
    filename: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    path: list[str]
    persist: bool = False
    seed: int
    now_ns: str  # on the virtual clock; text, as it has more digits than a double keeps
    code: str


WAKE: Final = b'{"op":"wake"}'
"""Turn input: a timer of a waiting guest is due."""


def deliver_input(completions: list[bytes]) -> bytes:
    """Return the turn input that hands JSON completions to a waiting guest."""
    return b'{"op":"deliver","completions":[' + b",".join(completions) + b"]}"


def ask_input(question: str, *, now_ns: int) -> bytes:
    """Return the turn input that asks a guest of which an app has become the image.

    Everything else is as it was said when the image was made. For the JavaScript guest alone.
    """
    return b"ask %d %s" % (now_ns, question.encode())


_ARGS: Final = b',"args":'  # guests put them last; inside a string the quotes would be escaped
_encoder = msgspec.json.Encoder()
_report_decoder = msgspec.json.Decoder(Report)
_submission_decoder = msgspec.json.Decoder(Submission)
_wait_decoder = msgspec.json.Decoder(WaitInput)
_abandon_decoder = msgspec.json.Decoder(AbandonInput)
_transform_decoder = msgspec.json.Decoder(TransformInput)


def encode(value: object) -> bytes:
    """Return the JSON bytes of a start input or a reply."""
    return _encoder.encode(value)


def decode_report(body: bytes) -> Report:
    """Parse a turn report, or stop the guest.

    An exit code keeps its low eight bits, as a shell sees it; a time is brought into its range.
    """
    try:
        report = _report_decoder.decode(body)
    except MALFORMED as error:
        raise GuestStopped(_broken("turn report", error)) from None
    exit_code, wake_ns = report.exit_code & 0xFF, report.wake_ns
    if wake_ns is not None:
        wake_ns = max(0, min(wake_ns, DURATION_LIMIT_NS))
    if (exit_code, wake_ns) == (report.exit_code, report.wake_ns):
        return report
    return msgspec.structs.replace(report, exit_code=exit_code, wake_ns=wake_ns)


def decode_submission(body: bytes) -> Submission:
    """Parse an effect request, or stop the guest."""
    try:
        return _submission_decoder.decode(body)
    except MALFORMED as error:
        envelope, has_args, _ = body.partition(_ARGS)
        try:
            submission = _submission_decoder.decode(envelope + b"}") if has_args else None
        except MALFORMED:
            submission = None
        if submission is None:
            raise GuestStopped(_broken("effect request", error)) from None
        return msgspec.structs.replace(submission, args=UnreadableArgs())


def decode_wait(body: bytes) -> WaitInput:
    """Parse a wait request, or stop the guest."""
    try:
        return _wait_decoder.decode(body)
    except MALFORMED as error:
        raise GuestStopped(_broken("wait request", error)) from None


def decode_abandon(body: bytes) -> int:
    """Parse which call is given up, or stop the guest."""
    try:
        return _abandon_decoder.decode(body).id
    except MALFORMED as error:
        raise GuestStopped(_broken("request to give up a call", error)) from None


def decode_transform(body: bytes) -> tuple[str, str]:
    """Parse a transform request into (source, filename), or stop the guest."""
    try:
        request = _transform_decoder.decode(body)
    except MALFORMED as error:
        raise GuestStopped(_broken("transform request", error)) from None
    return request.source, request.filename


def _broken(what: str, error: Exception) -> Stop:
    return Stop(kind="protocol", message=f"the guest sent a malformed {what}: {error}")

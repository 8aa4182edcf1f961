"""What the server and a worker process say to one another.

Owns the frames and their bytes: a length (4 bytes, little-endian), then one message in msgpack.
Invariants:
- everything that comes from a worker is data of these types, never code: a worker that a guest
  took over can say wrong things about its own runs, and no more;
- a frame has a size limit, known before its body is read.

Pure: sockets, processes and threads are elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.engine.snapshot import Snapshot  # noqa: TC001 - read at run time by msgspec
from cloche.engine.vfs import StoredFile
from cloche.errors import ClocheError
from cloche.exec.request import RunRequest
from cloche.exec.types import ExecResult  # noqa: TC001 - read at run time by msgspec
from cloche.gate.journal import Chain, encode_file
from cloche.gate.policy import Policy
from cloche.limits import Limits
from cloche.server.worker_errors import ErrorFrame  # noqa: TC001 - read at run time by msgspec

if TYPE_CHECKING:
    from cloche.gate.journal import Journal

LENGTH_BYTES: Final = 4
_KEPT: Final = 64  # limits and policies that are not encoded, or decoded, again
Journaling = Literal["none", "late", "each"]
Heard = Literal["stdout", "stderr", "respond", "log"]
TOLD: Final = frozenset({"respond", "log"})  # of them, effects of an app that need no answer


class Frame(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One message; `job` is the server's number of what it belongs to."""

    job: int


class RequestFrame(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A `RunRequest`; policy and limits are JSON, empty for those that the worker has anyway."""

    language: str
    code: str
    filename: str
    files: list[tuple[str, bytes, bool]]
    args: list[str]
    env: dict[str, str]
    stdin: bytes
    cwd: str
    seed: int
    now_ns: int
    image: str | None
    limits: bytes
    policy: bytes
    state: str | None
    real_time: bool = False


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How a request is run.

    Args:
        request: what.
        run_id: its id.
        kinds: effects that somebody performs; the value says whether they can be cancelled.
        journal: `none`; `late`, with the end; `each`, before the run goes on.
        is_recorded: whether there is a journal at all.
        replay: a journal file that answers every effect.
        resume: a journal file that the run goes on behind.
        is_streamed: whether output is told as it is written.
        secrets: `egress.secrets.Secret`s in JSON that are taken out of what is printed.
        has_pictures: whether the pictures that it wrote come with the end.
    """

    request: RequestFrame
    run_id: str = ""
    kinds: dict[str, bool] = {}
    journal: Journaling = "none"
    is_recorded: bool = True
    replay: bytes | None = None
    resume: bytes | None = None
    is_streamed: bool = True
    secrets: bytes = b""
    has_pictures: bool = False


# --- to a worker ---


class Start(Frame, frozen=True, kw_only=True, array_like=True, tag=8):
    """The first frame: what a worker is.

    Args:
        limits: in JSON, those of its process.
        cache: folder of compiled modules and memories, which are there.
        javascript_path: guest module instead of the packaged one.
        python_path: likewise.
        images: those that it is to have at hand.
        run_count_max: runs that it executes at once.
    """

    limits: bytes
    cache: str
    javascript_path: str | None
    python_path: str | None
    images: list[str]
    run_count_max: int


class Run(Frame, frozen=True, kw_only=True, array_like=True, tag=1):
    """Run something by itself."""

    options: RunOptions


class Wake(Frame, frozen=True, kw_only=True, array_like=True, tag=2):
    """Make a machine of a session; its number is that of the job.

    Args:
        settings: `SessionSettings` in JSON.
        limits: in JSON.
        key: signs and checks its snapshots.
        snapshot: where it starts.
        tail: `Step`s in msgpack.
    """

    settings: bytes
    limits: bytes
    key: bytes
    snapshot: bytes | None
    tail: bytes


class Call(Frame, frozen=True, kw_only=True, array_like=True, tag=3):
    """Do something with a machine; `args` in msgpack, as the method takes them."""

    machine: int
    method: str
    args: bytes = b""


class RunIn(Frame, frozen=True, kw_only=True, array_like=True, tag=4):
    """Run something in a machine."""

    machine: int
    options: RunOptions


class Evaluate(Frame, frozen=True, kw_only=True, array_like=True, tag=10):
    """Evaluate the top level of an app. The `value` of the end is an `EvaluatedFrame`.

    Args:
        image: name in the catalogue.
        fuel: whether its code counts instructions.
        files: content by absolute path.
        request: the run that evaluates.
    """

    image: str
    fuel: bool
    files: dict[str, bytes]
    request: RequestFrame


class HoldApp(Frame, frozen=True, kw_only=True, array_like=True, tag=11):
    """Have a version of an app at hand. Two descriptors come along: see `engine.adapters.handout`.

    Args:
        app: the server's number of it.
        image_id: of its image.
        base: name of the image that this was derived from.
        fuel: whether its code counts instructions.
        memory_bytes: size of its memory.
        request: what its requests have in common.
        kinds: effects that somebody performs, as in `RunOptions`.
        is_warm: whether its instances live on.
    """

    app: int
    image_id: str
    base: str
    fuel: bool
    memory_bytes: int
    request: RequestFrame
    kinds: dict[str, bool]
    is_warm: bool


class DropApp(Frame, frozen=True, kw_only=True, array_like=True, tag=12):
    """Let go of a version of an app."""

    app: int


class RunApp(Frame, frozen=True, kw_only=True, array_like=True, tag=13):
    """Let a version of an app answer.

    Args:
        app: its number.
        code: what it is asked, as for all that follow.
        stdin: input.
        seed: of the randomness.
        now_ns: start of the clock.
        run_id: of the run.
        limits: in JSON, where they are not those of the version.
        journal: which journals come with the end: none, that of a run that failed, all.
        told: effects of kind `app` that are told and not asked for, where they can be right.
        replay: a journal file that answers every effect.
        request: what is run in a replay, instead of what is said above.
        secrets: as in `RunOptions`.
    """

    app: int
    code: str
    stdin: bytes
    seed: int
    now_ns: int
    run_id: str
    limits: bytes = b""
    journal: Literal["none", "failed", "all"] = "none"
    told: list[str] = []
    replay: bytes | None = None
    request: RequestFrame | None = None
    secrets: bytes = b""


class Ping(Frame, frozen=True, kw_only=True, array_like=True, tag=9):
    """Say again that you are there."""


class Cancel(Frame, frozen=True, kw_only=True, array_like=True, tag=5):
    """Stop a job."""


class Answer(Frame, frozen=True, kw_only=True, array_like=True, tag=6):
    """Answers a question of a job.

    Args:
        question: its number.
        kind: `value`, then `data` is it, in JSON for an effect, and empty when it is none;
            `failure`, an `EffectError` in JSON; `suspended`, a due
            time or null in JSON; `stop`, a `Stop` in JSON; `fault`: the job cannot go on.
    """

    question: int
    kind: Literal["value", "failure", "suspended", "stop", "fault"]
    data: bytes = b""


class Close(Frame, frozen=True, kw_only=True, array_like=True, tag=7):
    """Free a machine."""

    machine: int


# --- from a worker ---


class Hello(Frame, frozen=True, kw_only=True, array_like=True, tag=16):
    """A worker is ready; `protections` are those that the kernel gave it."""

    protections: list[str]


class Output(Frame, frozen=True, kw_only=True, array_like=True, tag=17):
    """A program wrote something, or an app said something: an effect that needs no answer.

    Args:
        stream: or the target of the effect.
        data: or its arguments, in JSON.
    """

    stream: Heard
    data: bytes


class Records(Frame, frozen=True, kw_only=True, array_like=True, tag=18):
    """A question: keep these records of the journal. The answer is a value without data."""

    question: int
    records: list[bytes]


class Effect(Frame, frozen=True, kw_only=True, array_like=True, tag=19):
    """A question: perform an effect. As `EffectRequest`; `args` is JSON."""

    question: int
    run_id: str
    sequence: int
    task: str
    ordinal: int
    kind: str
    target: str
    args: bytes
    args_text: bytes | None


class CancelEffect(Frame, frozen=True, kw_only=True, array_like=True, tag=20):
    """Nobody wants the answer to an effect any more."""

    question: int


class Fetch(Frame, frozen=True, kw_only=True, array_like=True, tag=21):
    """A question: something that is kept. `name` is a digest, or the id of a run.

    The answer is bytes; of a journal a `KeptRun`.
    """

    question: int
    what: Literal["content", "journal"]
    name: str


class KeptRun(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A run of the past: its journal as a file, and the request that it stands for."""

    journal: bytes
    request: RequestFrame


class Done(Frame, frozen=True, kw_only=True, array_like=True, tag=22):
    """A job is over.

    Args:
        execution: of a run that came to an end.
        error: what the host could not do.
        is_fault: what the server itself met when it was asked; it knows the error.
        records: the journal, where it comes with the end.
        value: what a call returned, in msgpack.
        output: what the program wrote last.
        is_awake: whether the machine of the job lives on.
    """

    execution: ExecutionFrame | None = None
    error: ErrorFrame | None = None
    is_fault: bool = False
    records: list[bytes] = []
    value: bytes = b""
    is_awake: bool = True
    output: list[tuple[Heard, bytes]] = []


class ExecutionFrame(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An `Execution`; of its files the pictures alone, where they were asked for."""

    run_id: str
    language: str
    result: ExecResult
    error: ErrorFrame | None
    exit_code: int
    journal_hash: str | None
    image: str
    fuel_used: int | None
    is_suspended: bool = False
    due_ns: int | None = None
    pictures: dict[str, bytes] = {}


class EvaluatedFrame(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What came of evaluating the top level of an app, beside how its run ended."""

    handlers: list[str] | None
    asked: list[str]
    printed: bytes
    snapshot: Snapshot | None


ToWorker = (
    Start | Run | Wake | Call | RunIn | Evaluate | HoldApp | DropApp | RunApp
    | Cancel | Answer | Close | Ping
)  # fmt: skip
FromWorker = Hello | Output | Records | Effect | CancelEffect | Fetch | Done

_encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode


class FrameTooLargeError(ClocheError):
    """A frame is larger than its limit; the connection is of no more use."""

    code = "WORKER_FRAME"
    blame = "limit"

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"a frame of {size_bytes} bytes, at most {limit_bytes} are let through",
            size_bytes=size_bytes,
            limit_bytes=limit_bytes,
            limit="server.worker_frame_limit_bytes",
        )


def encode(frame: Frame, limit_bytes: int) -> bytes:
    """Return a frame's bytes, with their length.

    Raises:
        FrameTooLargeError: larger than the limit.
    """
    body = _encode(frame)
    check_size(len(body), limit_bytes)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Raise FrameTooLargeError when a body is larger than the limit."""
    if size_bytes > limit_bytes:
        raise FrameTooLargeError(size_bytes=size_bytes, limit_bytes=limit_bytes)


class FrameBuffer:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that are complete by now.

        Raises:
            FrameTooLargeError: absorbing; before its body is held.
        """
        held = self._held
        held += data
        found: list[bytes] = []
        start = 0
        while len(held) - start >= LENGTH_BYTES:
            size = int.from_bytes(held[start : start + LENGTH_BYTES], "little")
            check_size(size, self._limit_bytes)
            end = start + LENGTH_BYTES + size
            if len(held) < end:
                break
            found.append(bytes(held[start + LENGTH_BYTES : end]))
            start = end
        if start:
            del held[:start]
        return found


# --- requests ---


class LimitTexts:
    """Encodes limits once: they come with every run, and are nearly always the same objects."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Limits, bytes]] = {}

    def of(self, limits: Limits) -> bytes:
        """Return limits in JSON."""
        found = self._texts.get(id(limits))
        if found is None:
            if len(self._texts) >= _KEPT:
                self._texts.clear()
            found = self._texts[id(limits)] = limits, msgspec.json.encode(limits.to_dict())
        return found[1]


_texts = LimitTexts()


def limits_text(limits: Limits) -> bytes:
    """Return limits in JSON."""
    return _texts.of(limits)


@lru_cache(maxsize=_KEPT)
def limits_of(text: bytes) -> Limits:
    """Return the limits that a text stands for."""
    return Limits().replace(msgspec.json.decode(text))


@lru_cache(maxsize=_KEPT)
def _policy_of(text: bytes) -> Policy:
    return Policy.from_document(msgspec.json.decode(text)) if text else Policy()


def request_frame(request: RunRequest, base: Limits | None = None) -> RequestFrame:
    """Return what is told of a request to a worker whose own limits are `base`."""
    policy = request.policy
    is_empty = not policy.kinds and policy.net is None
    return RequestFrame(
        language=request.language,
        code=request.code,
        filename=request.filename,
        files=[(file.path, file.content, file.read_only) for file in request.files],
        args=list(request.args),
        env=dict(request.env),
        stdin=request.stdin,
        cwd=request.cwd,
        seed=request.seed,
        now_ns=request.now_ns,
        image=request.image,
        limits=b"" if request.limits is base else limits_text(request.limits),
        policy=b"" if is_empty else msgspec.json.encode(policy.to_document()),
        state=request.state,
        real_time=getattr(request, "real_time", False),
    )


def request_of_frame(frame: RequestFrame, base: Limits) -> RunRequest:
    """Return the request that was told to a worker whose own limits are `base`."""
    more: dict[str, Any] = {"real_time": True} if frame.real_time else {}
    return RunRequest(
        language=frame.language,
        code=frame.code,
        filename=frame.filename,
        files=tuple(
            StoredFile(path=path, content=content, read_only=read_only)
            for path, content, read_only in frame.files
        ),
        args=tuple(frame.args),
        env=frame.env,
        stdin=frame.stdin,
        cwd=frame.cwd,
        seed=frame.seed,
        now_ns=frame.now_ns,
        image=frame.image,
        limits=limits_of(frame.limits) if frame.limits else base,
        policy=_policy_of(frame.policy),
        state=frame.state,
        **more,
    )


def journal_bytes(journal: Journal, limits: Limits) -> bytes:
    """Return a journal as a file: one entry has one encoding, so these are the bytes it came from.

    One that was moved to another image or state gets a chain of its own.
    """
    chain = Chain(limits)
    return encode_file([chain.append(entry) for entry in journal.entries])

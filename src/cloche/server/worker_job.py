"""One job in a worker: its questions to the server, its effects, its output, its journal.

Invariants: a question is answered, or its job ends; what a program writes is told in its order, and
all of it before the job is said to be done.
"""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
import time
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.engine.abi import GuestStopped, Stop
from cloche.exec.adapters.effects import CancelToken
from cloche.gate.canonical import decode, encode_plain
from cloche.gate.effect import EffectError
from cloche.gate.ports import EffectFailure, EffectSuspended
from cloche.server import worker_frames as frames
from cloche.server.worker_frames import Answer, FrameBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.gate.effect import EffectRequest

_RECEIVE_BYTES: Final = 1 << 18
_PASSED_BYTES: Final = socket.CMSG_SPACE(4 * array("i").itemsize)
_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_TELLING_PAUSE_S: Final = 0.001
_STREAM_PAUSE_S: Final = 0.002
_STREAM_HELD_BYTES: Final = 1 << 16
_STREAM_HELD_COUNT: Final = 256


class Fault(BaseException):
    """The server could not do what a run asked for, and knows why. Ends the run."""


class Connection:
    """The socket to the server: frames in order, from and to any thread."""

    def __init__(self, sock: socket.socket, limit_bytes: int) -> None:
        self._socket = sock
        self._limit_bytes = limit_bytes
        self._buffer = FrameBuffer(limit_bytes)
        self._bodies: deque[bytes] = deque()
        self.descriptors: deque[int] = deque()  # in the order of the frames that they came with
        self._sending = threading.Lock()
        self._untold = bytearray()
        self._untold_since_s = 0.0

    def read(self) -> frames.ToWorker:
        """Return the next frame; the process ends when there is none. One thread at a time."""
        while not self._bodies:
            self.flush()
            try:
                data, passed, _, _ = self._socket.recvmsg(
                    _RECEIVE_BYTES, _PASSED_BYTES, _CLOSE_ON_EXEC
                )
            except ConnectionError:
                data, passed = b"", []
            for _, _, numbers in passed:
                self.descriptors.extend(array("i", numbers))
            if not data:
                os._exit(0)
            self._bodies += self._buffer.feed(data)
        frame: frames.ToWorker = frames.decode_to_worker(self._bodies.popleft())
        return frame

    def send(self, frame: frames.Frame) -> None:
        """Send a frame.

        Raises:
            FrameTooLargeError: nothing was sent.
        """
        data = frames.encode(frame, self._limit_bytes)
        with self._sending:
            self._untold += data
            self._send_untold()

    def tell(self, frame: frames.Frame) -> None:
        """Send a frame, a moment later where more is to be done at once.

        The server is waked once for what several jobs came to. By the thread that reads alone.

        Raises:
            FrameTooLargeError: nothing was sent.
        """
        data = frames.encode(frame, self._limit_bytes)
        with self._sending:
            now_s = time.monotonic()
            if not self._untold:
                self._untold_since_s = now_s
            self._untold += data
            if not self._bodies or now_s - self._untold_since_s >= _TELLING_PAUSE_S:
                self._send_untold()

    def flush(self) -> None:
        """Send what was to be told a moment later."""
        if self._untold:
            with self._sending:
                self._send_untold()

    def _send_untold(self) -> None:
        data, self._untold = self._untold, bytearray()
        try:
            self._socket.sendall(data)
        except ConnectionError:
            os._exit(0)


class Job:
    """What the server asked for, as long as it lasts."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.cancel = CancelToken()
        self.is_led = True  # until the thread that executes it is no more the one that reads
        self.hand_over: Callable[[Job], None] = lambda _job: None
        self.tend: Callable[[], None] | None = None  # what is left to do behind the end
        self._numbers = itertools.count(1)
        self._asked: dict[int, queue.SimpleQueue[Answer]] = {}

    def ask(self, make: Callable[[int], frames.Frame]) -> Answer:
        """Send a question and return its answer.

        Raises:
            Fault: the server cannot answer. GuestStopped: the run is to stop.
        """
        self.hand_over(self)
        number = next(self._numbers)
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._asked[number] = answers
        try:
            self.connection.send(make(number))
            answer = answers.get()
        finally:
            del self._asked[number]
        if answer.kind == "fault":
            raise Fault
        if answer.kind == "stop":
            raise GuestStopped(msgspec.json.decode(answer.data, type=Stop))
        return answer

    def take(self, answer: Answer) -> None:
        """Hand an answer to who asked."""
        answers = self._asked.get(answer.question)
        if answers is not None:
            answers.put(answer)


class Streams:
    """Tells what programs write a moment later, in larger pieces; the last ones go with the end.

    Most runs are over before that moment, and tell all of their output with one frame: what a job
    writes before it is handed over is held, and wakes nobody.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._held: dict[Job, list[tuple[frames.Heard, bytearray]]] = {}
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, job: Job, stream: frames.Heard, data: bytes) -> None:
        """Tell of a piece of output soon, or of an effect that needs no answer."""
        with self._lock:
            held = self._held.setdefault(job, [])
            if held and held[-1][0] == stream and stream not in frames.TOLD:
                held[-1][1].extend(data)
            else:
                held.append((stream, bytearray(data)))
            if len(held[-1][1]) >= _STREAM_HELD_BYTES or len(held) >= _STREAM_HELD_COUNT:
                self._flush(job)
            is_urgent = not job.is_led
        if is_urgent:
            self._wake()

    def release(self, job: Job) -> None:
        """From now on tell soon what a job writes: it takes a while."""
        with self._lock:
            job.is_led = False
            is_urgent = job in self._held
        if is_urgent:
            self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="cloche-output", daemon=True)
            self._thread.start()
        if not self._wanted.is_set():
            self._wanted.set()

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(_STREAM_PAUSE_S)
            self._wanted.clear()
            with self._lock:
                for job in tuple(self._held):
                    if not job.is_led:
                        self._flush(job)

    def _flush(self, job: Job) -> None:
        for stream, text in self._held.pop(job, ()):
            self._connection.send(frames.Output(job=job.number, stream=stream, data=bytes(text)))

    def flush(self, job: Job) -> None:
        """Tell now what a job has written."""
        with self._lock:
            self._flush(job)

    def end(self, job: Job) -> list[tuple[frames.Heard, bytes]]:
        """Return what a job has written and nobody was told of."""
        with self._lock:
            return [(stream, bytes(text)) for stream, text in self._held.pop(job, ())]


class Handlers:
    """Performs effects by asking the server. Behaves as a mapping of handlers by kind.

    Args:
        job: that asks.
        kinds: those that somebody performs; the value says whether they can be cancelled.
        own: who performs effects otherwise.
    """

    def __init__(
        self, job: Job, kinds: dict[str, bool], own: Mapping[str, Any] | None = None
    ) -> None:
        self._found: dict[str, Any] = {
            kind: (_CancellingHandler if cancels else AskingHandler)(job)
            for kind, cancels in kinds.items()
        } | dict(own or {})

    def get(self, kind: str, default: Any = None) -> Any:
        """Return who performs effects of a kind."""
        return self._found.get(kind, default)


class AskingHandler:
    """Performs effects by asking the server (an `EffectHandler`)."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._questions: dict[int, int] = {}

    def perform(self, request: EffectRequest, run_id: str) -> Any:
        """Perform one."""

        def question(number: int) -> frames.Effect:
            self._questions[request.sequence] = number
            return frames.Effect(
                job=self._job.number,
                question=number,
                run_id=run_id,
                sequence=request.sequence,
                task=request.task,
                ordinal=request.ordinal,
                kind=request.kind,
                target=request.target,
                args=encode_plain(request.args),
                args_text=request.args_text,
            )

        try:
            answer = self._job.ask(question)
        finally:
            self._questions.pop(request.sequence, None)
        if answer.kind == "failure":
            failure = EffectFailure("", "")
            failure.error = msgspec.json.decode(answer.data, type=EffectError)
            raise failure
        if answer.kind == "suspended":
            raise EffectSuspended(due_ns=msgspec.json.decode(answer.data))
        # What is no JSON is refused by the gate, with the words it has for that.
        return decode(answer.data) if answer.data else object()


class _CancellingHandler(AskingHandler):
    def cancel(self, request: EffectRequest) -> None:
        number = self._questions.get(request.sequence)
        if number is not None:
            job = self._job
            job.connection.send(frames.CancelEffect(job=job.number, question=number))


class AskingSink:
    """Keeps a journal by sending it to the server, which answers when it is kept."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def append(self, records: Sequence[bytes]) -> None:
        """Let records be kept."""
        job = self._job
        job.ask(
            lambda number: frames.Records(job=job.number, question=number, records=list(records))
        )

    def close(self) -> None:
        """Nothing is held."""


class HoldingSink:
    """Keeps a journal until the run is over."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def append(self, records: Sequence[bytes]) -> None:
        """Hold records."""
        self.records += records

    def close(self) -> None:
        """The records go with the end."""

"""Worker processes: started, listened to, replaced when they end, ended.

Owns the processes and the sockets to them. Invariants:
- a worker is a program of its own, run afresh: nothing of this process's memory is in it, and of
  its environment only what says where Python is;
- whoever waits for a worker that ends is told so at once;
- a worker that ends is replaced: at once when it lived for a while, else later and later, so that
  one that cannot live does not take the machine with it;
- the kernel ends a worker with the *thread* that started it, so one thread starts them all and
  lives as long as the pool.

What is said over the sockets stands in `worker_frames.py`, who says it in `remote.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from cloche.errors import ClocheError
from cloche.exec.errors import WorkerLostError, WorkersStoppedError
from cloche.server import worker_frames as frames
from cloche.server.errors import ServeError
from cloche.server.worker_frames import FrameBuffer, Hello

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from cloche.limits import Limits

_RECEIVE_BYTES: Final = 1 << 18
_SOCKET_BYTES: Final = 1 << 20
_END_S: Final = 2.0
_DEAF_S: Final = 30
_ENDED: Final = "it ended"
_DEAF: Final = "it did not listen"
MS_PER_S: Final = 1000
_FIRST_DELAY_S: Final = 0.1
_DOUBLING_MAX: Final = 20
# What a worker may know of this process's environment: where Python, its modules and its texts are.
_PASSED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")


class Box(Protocol):
    """Gets what a worker says of one job."""

    def put(self, frame: frames.FromWorker | None, /) -> None:
        """Take a frame, None when the worker was lost. On the thread that reads; never blocks."""


class HeldApps:
    """Which apps a worker has at hand.

    Attributes:
        sending: held while it is told of apps, so that this has an order; may take long.
        lock: held while `uses` is looked at.
        uses: by the number of an app: how many of its runs go on. Those used last are last.
    """

    def __init__(self) -> None:
        self.sending = threading.Lock()
        self.lock = threading.Lock()
        self.uses: OrderedDict[int, int] = OrderedDict()


class WorkerProcess:
    """One worker, from its start to its end.

    Args:
        start: the first frame.
        limit_bytes: of a frame.
        changed: called when it is ready, when it is lost.
    """

    def __init__(
        self,
        start: frames.Start,
        limit_bytes: int,
        changed: Callable[[WorkerProcess], None],
    ) -> None:
        self._limit_bytes = limit_bytes
        self._changed = changed
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._boxes: dict[int, Box] = {}
        self.started_s = time.monotonic()
        self.machine_count = 0
        self.is_ready = False
        self.is_lost = False
        self.is_condemned = False  # whether this process has ended it
        self.apps = HeldApps()
        self._is_stopped = False
        self.problem = _ENDED
        self.protections: tuple[str, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buffer = FrameBuffer(limit_bytes)
        self._socket, theirs = socket.socketpair()
        for side in (self._socket, theirs):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python
                [sys.executable, "-P", "-m", "cloche.server.worker",
                 str(theirs.fileno()), str(limit_bytes)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
            )  # fmt: skip
        self.send(start)
        threading.Thread(
            target=self._read, name=f"cloche-worker-{self._process.pid}", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def load(self) -> tuple[int, int]:
        """How much it does: jobs, then machines that wait in it."""
        return len(self._boxes), self.machine_count

    # --- saying ---

    def open(self, box: Box) -> int:
        """Return the number of a new job, whose frames the box gets until `close`.

        Raises:
            WorkerLostError: there is no such process any more.
        """
        with self._lock:
            if self.is_lost:
                raise self.loss()
            number = next(self._numbers)
            self._boxes[number] = box
        return number

    def close(self, job: int) -> None:
        """Listen to a job no more."""
        with self._lock:
            self._boxes.pop(job, None)

    def send(self, frame: frames.Frame) -> None:
        """Send a frame; to a worker that is lost nothing is sent, and its boxes know it.

        Raises:
            FrameTooLargeError: nothing was sent.
        """
        data = frames.encode(frame, self._limit_bytes)
        with self._sending:
            self._send_all(data)

    def send_with(self, frame: frames.Frame, descriptors: Sequence[int]) -> None:
        """Send a frame and open files, which the worker then has, too.

        Raises:
            FrameTooLargeError: nothing was sent.
        """
        data = frames.encode(frame, self._limit_bytes)
        with self._sending:
            count = self._send_some(
                lambda: socket.send_fds(self._socket, [data], descriptors, socket.MSG_DONTWAIT)
            )
            if count:
                self._send_all(data[count:])

    def _send_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            piece = left
            count = self._send_some(lambda: self._socket.send(piece, socket.MSG_DONTWAIT))  # noqa: B023
            if not count:
                return
            left = left[count:]

    def _send_some(self, send: Callable[[], int]) -> int:
        """Return how much was sent, after waiting for room; nothing to a worker that is lost.

        Whether the socket itself waits is not ours to say: some event loops say it does not.
        """
        try:
            while True:
                with contextlib.suppress(BlockingIOError):
                    return send()
                if not self._waited_for_room():
                    # A worker always listens, also while it computes; who does not would hold
                    # threads here. A frame that was begun cannot be ended any more.
                    self.kill(_DEAF)
                    return 0
        except (OSError, ValueError):
            return 0  # it is lost, and its boxes know it

    def _waited_for_room(self) -> bool:
        room = select.poll()
        room.register(self._socket.fileno(), select.POLLOUT)
        return bool(room.poll(_DEAF_S * MS_PER_S))

    def send_now(self, frame: frames.Frame) -> bool:
        """Send a frame without waiting; False when that cannot be, and nothing was sent."""
        data = frames.encode(frame, self._limit_bytes)
        if not self._sending.acquire(blocking=False):
            return False
        count = 0
        try:
            count = self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # it is lost, and its boxes know it
        finally:
            if count == len(data) or not count:
                self._sending.release()
        if count < len(data):
            threading.Thread(target=self._send_rest, args=(data[count:],), daemon=True).start()
        return True

    def _send_rest(self, data: bytes) -> None:
        try:
            self._send_all(data)
        finally:
            self._sending.release()

    def loss(self) -> WorkerLostError:
        """Return what is said of a job when the process is gone."""
        return WorkersStoppedError() if self._is_stopped else WorkerLostError(self.problem)

    # --- listening ---

    def listen_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read on an event loop from now on: who waits there is then told without a thread."""
        self._loop = loop
        if self.is_ready:
            self.send(frames.Ping(job=0))  # the thread that reads hands over when it hears of it

    def _read(self) -> None:
        while self._read_some():
            if self._loop is not None and self.is_ready:
                try:
                    self._loop.call_soon_threadsafe(self._begin_on_loop, self._loop)
                except RuntimeError:
                    continue  # it is closed: the thread goes on
                return
        self._end()

    def _begin_on_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._socket.fileno(), self._read_on_loop, loop)

    def _read_on_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._read_some():
            loop.remove_reader(self._socket.fileno())
            threading.Thread(target=self._end, name="cloche-worker-end", daemon=True).start()

    def _read_some(self) -> bool:
        """Take what there is to read; False when nothing comes any more."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
            for body in self._buffer.feed(data):
                self._take(frames.decode_from_worker(body))
        except BlockingIOError:
            return True  # there was nothing after all
        except OSError:
            return False  # the process ended with bytes under way
        except Exception as error:  # noqa: BLE001 - whatever it says wrongly, it is not believed
            self.problem = f"it said what no worker says: {error}"
            return False
        return bool(data)

    def _take(self, frame: frames.FromWorker) -> None:
        if isinstance(frame, Hello):
            if not self.is_ready:
                self.protections = tuple(frame.protections)
                self.is_ready = True
                self._changed(self)
            return
        with self._lock:
            box = self._boxes.get(frame.job)
        if box is not None:
            box.put(frame)

    def _end(self) -> None:
        try:
            code = self._process.wait(_END_S if self.problem == _ENDED else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()  # it lives, and does not speak
            code = self._process.wait()
        with self._lock:
            if self.problem == _ENDED:
                self.problem = f"it ended with {_ending(code)}"
            self.is_lost = True
            boxes, self._boxes = list(self._boxes.values()), {}
        self._socket.close()
        for box in boxes:
            box.put(None)
        self._changed(self)

    # --- ending ---

    def kill(self, problem: str) -> None:
        """End the process at once; who waits for it is told why."""
        with self._lock:
            if self.is_lost:
                return
            self.problem = problem
            self.is_condemned = True
        self._process.kill()

    def stop(self) -> None:
        """Let the process end: it does when nobody speaks with it any more."""
        self._is_stopped = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {**found, "PYTHONDONTWRITEBYTECODE": "1"}


class _Slot:
    """A place for a worker, and how its workers did so far."""

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self.failure_count = 0
        self.due_s = 0.0


class Processes:
    """A pool of workers.

    Args:
        limits: group `server`.
        count: how many.
        start: what each of them is told first.
        log: gets a record of each that ends.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        count: int,
        start: frames.Start,
        log: Callable[[dict[str, object]], None],
    ) -> None:
        self._server = limits.server
        self._start = start
        self._log = log
        self._changed = threading.Condition()
        self._slots = [_Slot() for _ in range(count)]
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._problem = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start all workers and wait until one is ready.

        Raises:
            ServeError: none could be started; what they said is on standard error.
        """
        self._thread = threading.Thread(target=self._keep, name="cloche-workers", daemon=True)
        self._thread.start()
        deadline_s = time.monotonic() + self._server.worker_start_ms / MS_PER_S
        with self._changed:
            while not self._ready():
                problem = self._start_problem(time.monotonic() >= deadline_s)
                if problem:
                    break
                self._changed.wait(deadline_s - time.monotonic())
            else:
                return
        self.stop()
        raise ServeError(
            f"no worker process could be started: {problem}; see `cloche doctor`, or serve with "
            "--workers 0 to run guests in the process of the server"
        )

    def _start_problem(self, is_late: bool) -> str:
        failed = [slot for slot in self._slots if slot.failure_count]
        if len(failed) == len(self._slots):
            return self._problem
        return f"none was ready within {self._server.worker_start_ms} ms" if is_late else ""

    def _ready(self) -> list[WorkerProcess]:
        return [
            slot.process
            for slot in self._slots
            if slot.process is not None and slot.process.is_ready and not slot.process.is_lost
        ]

    # --- keeping them alive ---

    def _keep(self) -> None:
        while True:
            with self._changed:
                if self._is_stopped:
                    return
                now_s = time.monotonic()
                for slot in self._slots:
                    self._note_end(slot, now_s)
                self._changed.notify_all()
                late_s = self._end_late(now_s)
                missing = [slot for slot in self._slots if slot.process is None]
                due = [slot for slot in missing if slot.due_s <= now_s]
                if not due:
                    times_s = [slot.due_s - now_s for slot in missing]
                    times_s += [] if late_s is None else [late_s]
                    self._changed.wait(min(times_s, default=None))
                    continue
            for slot in due:
                self._fill(slot)

    def _end_late(self, now_s: float) -> float | None:
        """End workers that do not become ready; return when to look again, None for never."""
        left = []
        for slot in self._slots:
            process = slot.process
            if process is None or process.is_ready or process.is_lost:
                continue
            left_s = process.started_s + self._server.worker_start_ms / MS_PER_S - now_s
            if left_s <= 0:
                process.kill(f"it was not ready within {self._server.worker_start_ms} ms")
            else:
                left.append(left_s)
        return min(left, default=None)

    def _note_end(self, slot: _Slot, now_s: float) -> None:
        process = slot.process
        if process is None or not process.is_lost:
            return
        lived_ms = (now_s - process.started_s) * MS_PER_S
        was_well = process.is_ready and lived_ms >= self._server.worker_settled_ms
        slot.failure_count = 0 if was_well else slot.failure_count + 1
        slot.due_s = now_s + self._delay_s(slot.failure_count)
        slot.process = None
        self._problem = process.problem
        if self._is_stopped:
            return
        self._log(
            {
                "event": "worker",
                "pid": process.pid,
                "problem": process.problem,
                "lived_ms": int(lived_ms),
                "next_ms": int((slot.due_s - now_s) * MS_PER_S),
            }
        )

    def _delay_s(self, failure_count: int) -> float:
        if failure_count <= 1:
            return 0.0
        doubled = _FIRST_DELAY_S * 2.0 ** min(failure_count - 2, _DOUBLING_MAX)
        return min(doubled, self._server.worker_retry_ms_max / MS_PER_S)

    def _fill(self, slot: _Slot) -> None:
        try:
            process = WorkerProcess(
                self._start, self._server.worker_frame_limit_bytes, self._process_changed
            )
        except (OSError, ClocheError) as error:
            with self._changed:
                slot.failure_count += 1
                slot.due_s = time.monotonic() + max(
                    _FIRST_DELAY_S, self._delay_s(slot.failure_count)
                )
                self._problem = str(error)
                self._changed.notify_all()
            self._log({"event": "worker", "problem": str(error)})
            return
        with self._changed:
            slot.process = process
            is_stopped = self._is_stopped
            if self._loop is not None:
                process.listen_on(self._loop)
        if is_stopped:
            process.stop()

    def _process_changed(self, process: WorkerProcess) -> None:
        del process
        with self._changed:
            self._changed.notify_all()

    def listen_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read what workers say on an event loop, which runs for as long as they are used."""
        with self._changed:
            self._loop = loop
            processes = [slot.process for slot in self._slots if slot.process is not None]
        for process in processes:
            process.listen_on(loop)

    # --- using them ---

    def pick(self) -> WorkerProcess:
        """Return the worker that has least to do; waits a while when there is none.

        Raises:
            WorkerLostError: there is none.
        """
        deadline_s = time.monotonic() + self._server.worker_start_ms / MS_PER_S
        with self._changed:
            while not (ready := self._ready()):
                left_s = deadline_s - time.monotonic()
                if self._is_stopped:
                    raise WorkersStoppedError
                if left_s <= 0:
                    raise WorkerLostError("none is there")
                self._changed.wait(left_s)
        return min(ready, key=lambda process: process.load)

    def pick_now(self) -> WorkerProcess | None:
        """Return the worker that has least to do, None when there is none now."""
        ready = self._ready()
        return min(ready, key=lambda process: process.load) if ready else None

    def all(self) -> list[WorkerProcess]:
        """Return those that are ready."""
        with self._changed:
            return self._ready()

    def stop(self) -> None:
        """End them all; what they do is lost."""
        with self._changed:
            self._is_stopped = True
            processes = [slot.process for slot in self._slots if slot.process is not None]
            self._changed.notify_all()
        for process in processes:
            process.stop()

"""A run that waits or runs in this process, shared by the worker that executes it and who listens.

Invariants: the worker alone changes a run that was begun; listeners are called outside of the lock;
when `ended` is true nothing more comes, and the row says how it ended.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.exec.adapters.effects import CancelToken
from cloche.server.events import Output
from cloche.server.requests import error_body, run_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.errors import ClocheError
    from cloche.exec.request import RunRequest
    from cloche.server.documents import KeptRequest, KeptResult, RunDocument
    from cloche.server.events import Piece, Position, StreamName
    from cloche.store.rows import Run, RunStatus


READ_BYTES: Final = 65_536


class LiveOutput:
    """The output of a run, for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._output = Output()
        self._listeners: list[Callable[[], None]] = []
        self._sizes: dict[StreamName, int] = {"stdout": 0, "stderr": 0}
        self._result: KeptResult | None = None  # what is to be added when somebody reads
        self.ended = False

    def write(self, stream: StreamName, data: bytes) -> None:
        """Add what a program wrote, and tell who listens."""
        with self._lock:
            self._output.write(stream, data)
            self._sizes[stream] += len(data)
            listeners = tuple(self._listeners)
        _tell(listeners)

    def again(self) -> Callable[[StreamName, bytes], None]:
        """Return what takes the output of a run from its beginning.

        A run that is executed once more prints the same bytes; those that are here are passed over.
        """
        to_skip = dict(self._sizes)

        def write(stream: StreamName, data: bytes) -> None:
            skipped = min(to_skip[stream], len(data))
            if skipped:
                to_skip[stream] -= skipped
                data = data[skipped:]
            if data:
                self.write(stream, data)

        return write

    def write_result(self, result: KeptResult) -> None:
        """Add all that a run has printed and is not here; the order of its streams is not kept.

        The last that is added before the end. Most who wait for a run read nothing of this.
        """
        self._result = result

    def _add_result(self) -> None:
        result, self._result = self._result, None
        if result is None:
            return
        left = dict(self._sizes)
        for stage in (result.compile, result):
            if stage is not None:
                self._add_rest("stdout", stage.stdout, left)
                self._add_rest("stderr", stage.stderr, left)
        self._output.end()

    def _add_rest(self, stream: StreamName, text: str, left: dict[StreamName, int]) -> None:
        data = text.encode("utf-8", "replace")
        skipped = min(left[stream], len(data))
        left[stream] -= skipped
        self._output.write(stream, data[skipped:])
        self._sizes[stream] += len(data) - skipped

    def end(self) -> None:
        """Say that nothing more comes."""
        with self._lock:
            if self._sizes["stdout"] or self._sizes["stderr"]:
                self._add_result()  # before a character that is here in part
                self._output.end()
            self.ended = True
            listeners = tuple(self._listeners)
        _tell(listeners)

    def read(self, position: Position) -> tuple[list[Piece], bool]:
        """Return what is behind a position, and whether that is the end."""
        with self._lock:
            self._add_result()
            return self._output.read(position), self.ended

    def read_some(self, position: Position) -> tuple[list[Piece], bool]:
        """Return the next of what is behind a position; the end comes with nothing.

        Who listens slowly is held with so much, and not with all that there is.
        """
        if position.ended:
            return [], self.ended
        with self._lock:
            self._add_result()
            pieces = self._output.read(position, READ_BYTES)
            return pieces, self.ended and not pieces

    def listen(self, listener: Callable[[], None], limit: int) -> bool:
        """Call somebody, from any thread, whenever there is more; False when too many listen."""
        with self._lock:
            if len(self._listeners) >= limit:
                return False
            self._listeners.append(listener)
            return True

    def leave(self, listener: Callable[[], None]) -> None:
        """Call somebody no more."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


def _nothing() -> None:
    """Stand for the work of a run that is over."""


def _tell(listeners: tuple[Callable[[], None], ...]) -> None:
    for listener in listeners:
        listener()


class LiveRun:
    """A run that waits or runs in this process.

    Args:
        row: as it is kept.
        request: what was asked for.
        alone: for a run of its own: what is executed.
    """

    def __init__(self, row: Run, request: KeptRequest, alone: RunRequest | None = None) -> None:
        self.row = row
        self.request = request
        self.alone = alone
        self.output = LiveOutput()
        self.cancel = CancelToken()
        self.status: RunStatus = "queued"
        self.failure: ClocheError | None = None  # the host's, not the program's
        self.is_recovered = False
        self.is_streamed = True  # else what it prints is told at its end
        self.pictures: dict[str, bytes] | None = None  # by path, where somebody will look at them
        self.work: Callable[[], None] = _nothing

    @property
    def is_kept(self) -> bool:
        """Whether the store knows of it."""
        return self.request.run is None or self.request.run.keep

    def end(self) -> None:
        """Say that it has ended, when its row says how."""
        # What works on a run knows the run: with all that it printed, both would stay in memory
        # until Python's collector comes.
        self.work = _nothing
        self.output.end()

    def document(self) -> RunDocument:
        """Return the run as it is now."""
        status = None if self.output.ended else self.status
        return run_document(self.row, status=status)

    def end_document(self) -> RunDocument:
        """Return the run as it ended; what the host met is its error."""
        document = self.document()
        if self.failure is None or document.error is not None:
            return document
        return msgspec.structs.replace(document, error=error_body(self.failure))

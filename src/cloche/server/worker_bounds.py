"""How much a worker may say of one job, and of what.

Pure. A worker counts for itself what its guest does, and stops it; so whoever says more than these
bounds is no worker that obeys: it is ended, and what it said is not taken. Invariants:
- what a job makes the server hold is bounded by the limits of its run, whatever its worker says;
- what a worker may fetch of what is kept are the steps of the session that it wakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloche.errors import ClocheError
from cloche.server import worker_frames as frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.exec.session_log import Step
    from cloche.limits import Limits

_FRAME_BYTES: Final = 256  # about what a frame takes without what is in it
_STREAM_COUNT: Final = 2
_SLACK_BYTES: Final = 1 << 20  # what replaces a cut character or line, names, hashes
_SLACK_COUNT: Final = 1000
# An effect that was given up is still being performed for a while.
_EFFECT_FACTOR: Final = 4
_FETCH_COUNT: Final = 2  # of each name


class WorkerLiesError(ClocheError):
    """A worker said what none says that does as it was told; it is ended."""

    code = "WORKER_LIES"

    def __init__(self, problem: str) -> None:
        super().__init__(f"a worker {problem}", problem=problem)


def size_of(frame: frames.FromWorker | None) -> int:
    """Return about how many bytes a frame holds in memory."""
    size = _FRAME_BYTES
    if isinstance(frame, frames.Output):
        size += len(frame.data)
    elif isinstance(frame, frames.Records):
        size += sum(len(record) + _FRAME_BYTES for record in frame.records)
    elif isinstance(frame, frames.Effect):
        size += len(frame.args) + len(frame.args_text or b"") + len(frame.target)
    return size


class Said:
    """What a worker said so far of one job.

    Args:
        limits: of the run.
        tail: the steps of the session that is woken.
    """

    def __init__(self, limits: Limits, tail: Iterable[Step] = ()) -> None:
        self._limits = limits
        self._output_bytes = self._record_bytes = self._record_count = self._effect_count = 0
        self._fetches: dict[str, int] = {}
        for step in tail:
            for field in ("run_id", "sha256"):
                name = getattr(step.operation, field, None)
                if name is not None:
                    self._fetches[name] = self._fetches.get(name, 0) + _FETCH_COUNT

    def output(self, size_bytes: int) -> None:
        """Count output.

        Raises:
            WorkerLiesError: more than a guest can write; as everywhere below.
        """
        self._output_bytes += size_bytes
        most = _STREAM_COUNT * self._limits.guests.output_limit_bytes + _SLACK_BYTES
        if self._output_bytes > most:
            raise WorkerLiesError("tells of more output than a run may have")

    def records(self, records: list[bytes]) -> None:
        """Count records of a journal."""
        gate = self._limits.gate
        self._record_bytes += sum(map(len, records))
        self._record_count += len(records) + 1
        if (
            self._record_bytes > gate.journal_limit_bytes + _SLACK_BYTES
            or self._record_count > 2 * gate.journal_entry_count_max + _SLACK_COUNT
        ):
            raise WorkerLiesError("has more records than a journal may have")

    def effect(self, frame: frames.Effect, running_count: int) -> None:
        """Count an effect that is asked for."""
        gate = self._limits.gate
        self._effect_count += 1
        if self._effect_count > gate.effect_count_max + _SLACK_COUNT:
            raise WorkerLiesError("asks for more effects than a run may have")
        if running_count > _EFFECT_FACTOR * gate.effect_concurrency_max:
            raise WorkerLiesError("asks for more effects at once than a run may have")
        size = max(len(frame.args), len(frame.args_text or b""))
        too_long = len(frame.target.encode()) > gate.target_limit_bytes + _SLACK_COUNT
        if size > gate.args_limit_bytes + _SLACK_BYTES or too_long:
            raise WorkerLiesError("asks for a larger effect than a run may have")

    def told(self, size_bytes: int) -> None:
        """Count an effect that needs no answer."""
        gate = self._limits.gate
        self._effect_count += 1
        if self._effect_count > gate.effect_count_max + _SLACK_COUNT:
            raise WorkerLiesError("tells of more effects than a run may have")
        if size_bytes > gate.args_limit_bytes + _SLACK_BYTES:
            raise WorkerLiesError("tells of a larger effect than a run may have")

    def fetch(self, name: str) -> None:
        """Count something that is fetched."""
        left = self._fetches.get(name, 0)
        if not left:
            raise WorkerLiesError("asks for what its job has nothing to do with")
        self._fetches[name] = left - 1

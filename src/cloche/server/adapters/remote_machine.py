"""The machine of a session that is awake in a worker process.

Invariants: it has the calls of `SessionMachine` and none of its memory; when its worker is lost, or
a call did not come back, it is asleep, and the session is woken from what is kept.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cloche.exec.adapters.session_machine import FileEntry, SessionMachine
from cloche.exec.errors import SessionImageError
from cloche.server import worker_frames as frames
from cloche.server.adapters.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, OutputListener
    from cloche.exec.adapters.session_machine import Kept
    from cloche.exec.request import RunRequest
    from cloche.exec.session_log import SessionSettings, Step
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits
    from cloche.server.adapters.remote import WorkerRunner

T = TypeVar("T")


class RemoteMachine(SessionMachine):
    """A session that is awake in a worker; see `SessionMachine`.

    Raises:
        WorkerLostError: the worker ended meanwhile; as all calls below.
    """

    def __init__(
        self,
        runner: WorkerRunner,
        settings: SessionSettings,
        limits: Limits,
        *,
        key: bytes,
        snapshot: bytes | None,
        tail: Iterable[Step],
        kept: Kept,
    ) -> None:
        image = runner.images.get(settings.image)
        if image.id != settings.image_id:
            raise SessionImageError(settings.image, expected=settings.image_id, found=image.id)
        if image.language == "javascript":
            runner.images.typescript()
        self._remote = runner
        self._lock = threading.Lock()
        self._process = runner.processes.pick()
        self._number = 0
        self._is_awake = False

        steps = list(tail)

        def wake(job: int) -> frames.Wake:
            self._number = job
            return frames.Wake(
                job=job,
                settings=msgspec.json.encode(settings),
                limits=frames.limits_text(limits),
                key=key,
                snapshot=snapshot,
                tail=msgspec.msgpack.encode(steps),
            )

        Conversation(runner, kept=kept, limits=limits, tail=steps).talk(self._process, wake)
        self._process.machine_count += 1
        self._is_awake = True

    @property
    def awake(self) -> bool:
        """Whether there is an instance."""
        return self._is_awake and not self._process.is_lost

    def run(
        self,
        request: RunRequest,
        *,
        run_id: str,
        handlers: Mapping[str, EffectHandler] | None = None,
        on_output: OutputListener | None = None,
        sink: JournalSink | None = None,
        replay: Journal | None = None,
        resume: Journal | None = None,
        record: bool = True,
        cancel: CancelToken | None = None,
    ) -> Execution:
        """Run in the session; see `Runner.execute_in`."""
        conversation = Conversation(
            self._remote,
            request,
            handlers=handlers,
            on_output=on_output,
            sink=sink,
            cancel=cancel,
        )
        options = conversation.options(run_id, replay=replay, resume=resume, record=record)
        is_done = False
        try:
            found = conversation.run(
                self._process,
                lambda job: frames.RunIn(job=job, machine=self._number, options=options),
            )
            is_done = True
        finally:
            if not is_done:
                self.close()
        if not conversation.is_awake:
            self.close()
        return found

    # --- files ---

    def upload(self, path: str, content: bytes, read_only: bool = False) -> None:
        """Put a file in place; see `SessionMachine`, as for all that follow."""
        self._call("upload", path, content, read_only)

    def check_vacant(self, path: str) -> None:
        """Raise unless a folder can be mounted here."""
        self._call("check_vacant", path)

    def mount(self, path: str, picture: bytes, *, writable: bool) -> None:
        """Put a picture of a folder in place."""
        self._call("mount", path, picture, writable)

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        self._call("remove", path)

    def download(self, path: str) -> bytes:
        """Return the content of a file."""
        return self._value(bytes, "download", path)

    def list_files(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a directory."""
        return self._value(list[FileEntry], "list_files", path, recursive)

    def is_directory(self, path: str) -> bool:
        """Return whether there is a directory."""
        return self._value(bool, "is_directory", path)

    def size_bytes(self) -> int:
        """Return about how much a snapshot would hold."""
        return self._value(int, "size_bytes")

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return self._value(bytes, "snapshot")

    def close(self) -> None:
        """Free the memory; what is not kept is lost."""
        with self._lock:
            was_awake, self._is_awake = self._is_awake, False
        if was_awake:
            self._process.machine_count -= 1
            self._process.send(frames.Close(job=0, machine=self._number))

    def _call(self, method: str, *args: Any) -> bytes:
        conversation = Conversation(self._remote)
        return conversation.talk(
            self._process,
            lambda job: frames.Call(
                job=job,
                machine=self._number,
                method=method,
                args=msgspec.msgpack.encode(list(args)),
            ),
        ).value

    def _value(self, kind: type[T], method: str, *args: Any) -> T:
        return msgspec.msgpack.decode(self._call(method, *args), type=kind)

"""Sessions for programs on an event loop: every call of `Session`, awaited.

A call runs on a thread, so a long run blocks nobody; cancelling the awaiting task stops the guest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.session import Session, ended
from cloche.exec.types import Failed, Finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from cloche.exec.adapters.runner import Execution
    from cloche.exec.adapters.session_machine import FileEntry
    from cloche.exec.mounts import Mount
    from cloche.exec.session_log import Step
    from cloche.exec.types import ExecEvent, ExecResult, File

T = TypeVar("T")


class AsyncSession:
    """A handle of one session; see `Session` for what each call does and raises."""

    def __init__(self, session: Session) -> None:
        self.sync = session
        self.id = session.id
        self.name = session.name
        self.language = session.language

    @classmethod
    async def create(cls, language: str, **options: Any) -> AsyncSession:
        """Create a session."""
        return cls(await asyncio.to_thread(Session.create, language, **options))

    @classmethod
    async def open(cls, id_or_name: str, **options: Any) -> AsyncSession:
        """Return a handle of a session that is kept."""
        return cls(await asyncio.to_thread(Session.open, id_or_name, **options))

    async def run(
        self,
        code: str | None = None,
        *,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        **options: Any,
    ) -> ExecResult:
        """Run a program; cancelling this call stops it."""
        return ended(await self.execute(code, tools=tools, **options))

    async def execute(
        self,
        code: str | None = None,
        *,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        **options: Any,
    ) -> Execution:
        """Run a program; a failure of the program is data in what is returned."""
        return await _stoppable(self.sync.execute, code, tools=tools, **options)

    async def resume(self, *, tools: Mapping[str, Callable[..., Any]] | None = None) -> ExecResult:
        """Go on with the run that was put away; cancelling this call stops it."""
        return await _stoppable(self.sync.resume, tools=tools)

    async def cancel_suspended(self) -> None:
        """Give up the run that was put away."""
        await asyncio.to_thread(self.sync.cancel_suspended)

    async def suspended(self) -> str | None:
        """Return the id of the run that was put away, None if there is none."""
        return await asyncio.to_thread(lambda: self.sync.suspended)

    async def run_streaming(
        self,
        code: str | None = None,
        *,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        **options: Any,
    ) -> AsyncIterator[ExecEvent]:
        """Run a program and yield its events."""
        events: Iterator[ExecEvent] = self.sync.run_streaming(code, tools=tools, **options)
        try:
            while True:
                event = await asyncio.to_thread(next, events)
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            await asyncio.to_thread(_close, events)

    async def upload(self, file: File, *, read_only: bool = False) -> None:
        """Put a file in place."""
        await asyncio.to_thread(self.sync.upload, file, read_only=read_only)

    async def mount(self, mount: Mount) -> None:
        """Put a picture of a folder of the host in place."""
        await asyncio.to_thread(self.sync.mount, mount)

    async def write_file(self, path: str, content: bytes, *, read_only: bool = False) -> None:
        """Put bytes in place as a file."""
        await asyncio.to_thread(self.sync.write_file, path, content, read_only=read_only)

    async def download(self, path: str) -> bytes:
        """Return the content of a file."""
        return await asyncio.to_thread(self.sync.download, path)

    async def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        await asyncio.to_thread(self.sync.remove, path)

    async def list_files(self, path: str = ".", *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a directory."""
        return await asyncio.to_thread(self.sync.list_files, path, recursive=recursive)

    async def set_working_dir(self, path: str) -> None:
        """Change where runs start."""
        await asyncio.to_thread(self.sync.set_working_dir, path)

    async def working_dir(self) -> str:
        """Return where runs start."""
        return await asyncio.to_thread(lambda: self.sync.working_dir)

    async def history(self) -> list[Step]:
        """Return every operation so far."""
        return await asyncio.to_thread(self.sync.history)

    async def fork(self, name: str | None = None) -> AsyncSession:
        """Return a new session in the same state."""
        return AsyncSession(await asyncio.to_thread(self.sync.fork, name))

    async def snapshot(self) -> str:
        """Keep the state of now."""
        return await asyncio.to_thread(self.sync.snapshot)

    async def restore(self, snapshot: str) -> None:
        """Go back to a snapshot."""
        await asyncio.to_thread(self.sync.restore, snapshot)

    async def revert(self, *, last: int | None = None, to: int | None = None) -> None:
        """Undo the last runs."""
        await asyncio.to_thread(self.sync.revert, last=last, to=to)

    async def update(self, image: str | None = None) -> None:
        """Move the session to another image by replay."""
        await asyncio.to_thread(self.sync.update, image)

    async def export(self, *, key: bytes | None = None) -> bytes:
        """Return the whole session as one signed archive."""
        return await asyncio.to_thread(self.sync.export, key=key)

    @classmethod
    async def import_(cls, archive: bytes, **options: Any) -> AsyncSession:
        """Create a session from what `export` returned."""
        return cls(await asyncio.to_thread(Session.import_, archive, **options))

    async def close(self) -> None:
        """Let go of the session."""
        await asyncio.to_thread(self.sync.close)

    async def delete(self) -> None:
        """Remove the session for ever."""
        await asyncio.to_thread(self.sync.delete)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


async def _stoppable(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Await a call that takes a cancel token; cancelling stops the guest, and waits for that."""
    cancel = CancelToken()
    work = asyncio.ensure_future(asyncio.to_thread(call, *arguments, cancel=cancel, **options))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancel.cancel()
        await asyncio.wait([work])
        raise


def _close(events: Iterator[ExecEvent]) -> None:
    events.close()  # type: ignore[attr-defined]

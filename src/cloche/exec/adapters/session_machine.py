"""The live half of a session: one instance, woken from what is kept, working one thing at a time.

Owns the instance and its file tree. Invariants:
- waking repeats every operation since the snapshot; a run is answered from its journal, and must
  come to the same end, or the session is not woken;
- a guest that was stopped takes the instance with it: the session is then asleep, and what is kept
  is the state before that run.

It keeps nothing durable and decides nothing about when: `sessions.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cloche.engine.adapters.instance import Instance
from cloche.engine.adapters.machine import Machine
from cloche.engine.nodes import Directory, Errno, File, FileSystemError
from cloche.engine.pages import PAGE_BYTES
from cloche.engine.snapshot import Snapshot, seal, unseal
from cloche.engine.vfs import StoredFile
from cloche.exec.adapters.pictures import put_picture
from cloche.exec.errors import FileAccessError, SessionImageError
from cloche.exec.mounts import decode_picture
from cloche.exec.session_log import Mounted, Ran, Remove, SessionSettings, Step, Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloche.engine.adapters.images import Image
    from cloche.engine.nodes import Node
    from cloche.engine.vfs import FileSystem
    from cloche.exec.adapters.effects import CancelToken
    from cloche.exec.adapters.runner import Execution, OutputListener, Runner
    from cloche.exec.request import RunRequest
    from cloche.exec.session_log import Operation
    from cloche.gate.journal import Journal
    from cloche.gate.ports import EffectHandler, JournalSink
    from cloche.limits import Limits

EntryKind = Literal["file", "directory", "symlink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One line of a listing: absolute path, kind, size in bytes, whether it can be written."""

    path: str
    kind: EntryKind
    size_bytes: int
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How waking gets at what is kept.

    Args:
        content: returns the blob with this digest.
        journal: returns the journal of the run with this id.
        request: returns the request that a journal's inputs stand for.
    """

    content: Callable[[str], bytes]
    journal: Callable[[str], Journal]
    request: Callable[[Journal], RunRequest]


class SessionMachine:
    """A session that is awake.

    Args:
        runner: executes; also knows the images.
        settings: of the session.
        limits: for files that the host puts in place between runs.
        key: signs and checks snapshots.
        snapshot: where to start; None for the image.
        tail: the steps since, repeated now.
        kept: where contents and journals are.

    Raises:
        SessionImageError: this machine's image is not the one of the session.
        SnapshotError: the snapshot was changed, or signed with another key.
        DivergenceError: a run did not come to the recorded end.
    """

    def __init__(
        self,
        runner: Runner,
        settings: SessionSettings,
        limits: Limits,
        *,
        key: bytes,
        snapshot: bytes | None,
        tail: Iterable[Step],
        kept: Kept,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._limits = limits
        self._key = key
        image = runner.images.get(settings.image)
        if image.id != settings.image_id:
            raise SessionImageError(settings.image, expected=settings.image_id, found=image.id)
        self._instance = self._start(image, snapshot)
        try:
            for step in tail:
                self._repeat(step, kept)
        except BaseException:
            self._instance.close()
            raise

    def _start(self, image: Image, blob: bytes | None) -> Instance:
        settings = self._settings
        instance = Instance(image)
        instance.attach(
            Machine(
                self._limits,
                now_ns=settings.now_ns,
                seed=settings.seed,
                sink=lambda _stream, _data: None,
            )
        )
        if blob is not None:
            instance.restore(unseal(blob, self._key, limits=self._limits, image_id=image.id))
        return instance

    def _repeat(self, step: Step, kept: Kept) -> None:
        operation = step.operation
        if isinstance(operation, Ran):
            journal = kept.journal(operation.run_id)
            self.run(kept.request(journal), run_id=operation.run_id, replay=journal)
        else:
            self.apply(operation, kept.content)

    def apply(self, operation: Operation, content: Callable[[str], bytes]) -> None:
        """Repeat an operation that is no run; `content` returns the blob with a digest."""
        if isinstance(operation, Upload):
            self.upload(operation.path, content(operation.sha256), operation.read_only)
        elif isinstance(operation, Mounted):
            self.mount(operation.path, content(operation.sha256), writable=operation.writable)
        elif isinstance(operation, Remove):
            self.remove(operation.path)

    @property
    def awake(self) -> bool:
        """Whether there is an instance; False after a guest was stopped, or `close`."""
        return not self._instance.closed

    @property
    def files(self) -> FileSystem:
        """The session's file tree."""
        return self._instance.machine.files

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
        return self._runner.execute_in(
            self._instance,
            request,
            run_id=run_id,
            handlers=handlers,
            on_output=on_output,
            sink=sink,
            replay=replay,
            resume=resume,
            record=record,
            cancel=cancel,
        )

    # --- files ---

    def upload(self, path: str, content: bytes, read_only: bool = False) -> None:
        """Put a file in place, over one that is there, even a read-only one.

        Raises:
            FileAccessError: over a quota, or the path leads through a file; nothing changed.
        """
        files = self.files
        files.set_limits(self._limits)
        with _translated(path):
            before = _found(files, path)
            if before is not None and not isinstance(before, File):
                raise FileSystemError(Errno.ISDIR)
            _check_room(files, path, before, len(content), self._limits)
            if before is not None:
                before.read_only = False
            files.add(StoredFile(path=path, content=content, read_only=read_only))

    def check_vacant(self, path: str) -> None:
        """Raise unless a folder can be mounted here.

        Raises:
            FileAccessError: EXIST, there is something; an empty directory is nothing.
        """
        node = _found(self.files, path)
        if path == "/" or not (node is None or (isinstance(node, Directory) and not node.entries)):
            raise FileAccessError(path, "EXIST")

    def mount(self, path: str, picture: bytes, *, writable: bool) -> None:
        """Put a picture of a folder in place, instead of what is there.

        Raises:
            FileAccessError: over a quota, or the path leads through a file; nothing changed.
        """
        files = self.files
        files.set_limits(self._limits)
        with _translated(path):
            put_picture(files, path, decode_picture(picture), self._limits, writable=writable)

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        files = self.files
        with _translated(path):
            node = files.lookup(path, follow=False)
            if isinstance(node, Directory):
                files.remove_directory(path)
            else:
                files.unlink(path)

    def download(self, path: str) -> bytes:
        """Return the content of a file."""
        with _translated(path):
            node = self.files.lookup(path)
            if not isinstance(node, File):
                raise FileSystemError(Errno.ISDIR)
            return bytes(node.data)

    def list_files(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a directory, sorted by the UTF-8 bytes of the path."""
        with _translated(path):
            directory = self.files.directory(path)
        return sorted(_entries(directory, path, recursive), key=lambda entry: entry.path.encode())

    def is_directory(self, path: str) -> bool:
        """Return whether there is a directory."""
        return isinstance(_found(self.files, path), Directory)

    # --- keeping ---

    def size_bytes(self) -> int:
        """Return about how much a snapshot would hold, before compression."""
        return len(self._instance.written_pages()) * PAGE_BYTES + self.files.used_bytes

    def snapshot(self) -> bytes:
        """Return the whole state, compressed and signed; only between runs."""
        taken: Snapshot = self._instance.snapshot()
        return seal(taken, self._key)

    def close(self) -> None:
        """Free the memory; what is not kept is lost."""
        self._instance.close()


def _found(files: FileSystem, path: str) -> Node | None:
    try:
        return files.lookup(path)
    except FileSystemError as error:
        if error.errno is Errno.NOENT:
            return None
        raise


def _check_room(
    files: FileSystem, path: str, before: File | None, size: int, limits: Limits
) -> None:
    """Refuse a file that has no room before anything is touched: a refused one leaves no trace.

    Not even directories: nothing would say in a replay that they are there.
    """
    guests = limits.guests
    old = 0 if before is None else before.size
    if size > guests.file_limit_bytes:
        raise FileSystemError(Errno.FBIG)
    if files.used_bytes - old + size > guests.files_limit_bytes:
        raise FileSystemError(Errno.NOSPC)
    if before is None:
        depth, missing = _way_to(files, path)
        if missing and depth + missing >= guests.path_depth_max:
            raise FileSystemError(Errno.NAMETOOLONG)
        if files.file_count + missing + 1 > guests.file_count_max:
            raise FileSystemError(Errno.NOSPC)


def _way_to(files: FileSystem, path: str) -> tuple[int, int]:
    """Return the depth of the last directory on a path that is there, and how many are missing."""
    folders = files.split(path)[:-1]
    node: Node | None = files.root
    for count in range(len(folders), 0, -1):
        found = _found(files, "/" + "/".join(folders[:count]))
        if found is not None:
            node, folders = found, folders[count:]
            break
    depth = -1
    while isinstance(node, Directory):
        depth, node = depth + 1, node.parent
    return depth, len(folders)


def _entries(directory: Directory, path: str, recursive: bool) -> Iterable[FileEntry]:
    for name in directory.names():
        node = directory.entries[name]
        full = f"{path.rstrip('/')}/{name}"
        kind: EntryKind = "symlink"
        size_bytes = 0
        if isinstance(node, Directory):
            kind = "directory"
        elif isinstance(node, File):
            kind, size_bytes = "file", node.size
        yield FileEntry(path=full, kind=kind, size_bytes=size_bytes, read_only=node.read_only)
        if recursive and isinstance(node, Directory):
            yield from _entries(node, full, recursive)


class _translated:  # noqa: N801 - used as a statement
    """Turns a file system error into one that names the path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, FileSystemError):
            raise FileAccessError(self._path, error.errno.name) from None

r"""Sessions: a machine whose heap, files and directory live across runs, restarts and hosts.

    session = Session.create("python", name="notes")
    session.run("total = 40")
    session.run("total += 2; print(total)").run.stdout      # "42\n"
    Session.open("notes").fork("other")

A handle is cheap and holds nothing: the session itself lives in its store. Every call is atomic; a
run that was stopped by a limit leaves the state as it was before.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from cloche.engine.adapters.keys import load_key
from cloche.engine.catalogue import definition_of
from cloche.errors import ClocheError
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.adapters.session_mounts import mount_folder
from cloche.exec.adapters.session_runs import SessionRuns
from cloche.exec.adapters.session_travel import SessionTravel
from cloche.exec.adapters.sessions import Sessions
from cloche.exec.adapters.tools import TOOL_KIND, ToolHandler
from cloche.exec.api import SEED_BITS, default_runner, request_of
from cloche.exec.errors import (
    FileAccessError,
    InvalidRunError,
    RunSuspendedError,
    SessionClosedError,
    SessionError,
    UnsupportedLanguageError,
)
from cloche.exec.promises import complete_promise
from cloche.exec.request import LANGUAGES, RunRequest, check_start, full_language
from cloche.exec.session_log import (
    ChangeDirectory,
    Remove,
    Step,
    Upload,
    first_head,
    normal_path,
)
from cloche.exec.session_log import SessionSettings as Settings
from cloche.exec.session_request import (
    RUN_OPTIONS,
    limit_overrides,
    program_in,
    session_request,
)
from cloche.exec.stores import store_at
from cloche.exec.types import (
    ExecEvent,
    ExecResult,
    Failed,
    File,
    Finished,
    StderrChunk,
    StdoutChunk,
)
from cloche.exec.types import Limits as RunLimits
from cloche.limits.adapters.settings import load_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from cloche.engine.virtual_os import Stream
    from cloche.exec.adapters.runner import Execution
    from cloche.exec.adapters.session_live import Live
    from cloche.exec.adapters.session_machine import FileEntry
    from cloche.exec.mounts import Mount
    from cloche.gate.policy import Policy
    from cloche.limits import Limits
    from cloche.store.ports import Store
    from cloche.store.rows import Session as SessionRow

    Tools = Mapping[str, Callable[..., Any]]

__all__ = ["Session", "complete_promise", "ended", "sessions_of"]

_lock = threading.Lock()
_open: dict[int, Sessions] = {}


def sessions_of(store: Store) -> Sessions:
    """Return the sessions of a store in this process, made on first use, until they are closed."""
    with _lock:
        for key in [key for key, sessions in _open.items() if sessions.closed]:
            del _open[key]
        found = _open.get(id(store))
        if found is None:
            found = _open[id(store)] = Sessions(
                store,
                default_runner(),
                limits=load_limits(),
                key=load_key(),
                request_of=lambda journal: request_of(journal.inputs),
            )
        return found


class Session:
    """A handle of one session. Callable from any thread; use it with `with`, or `close` it.

    Make one with `create` or `open`.
    """

    def __init__(self, sessions: Sessions, row: SessionRow) -> None:
        self._sessions = sessions
        self._runs = SessionRuns(sessions)
        self._travel = SessionTravel(sessions)
        self.id = row.id
        self.name = row.name
        self.language = row.language
        self._closed = False

    @classmethod
    def create(
        cls,
        language: str,
        *,
        name: str | None = None,
        modules: Iterable[File] = (),
        mounts: Iterable[Mount] = (),
        limits: Limits | RunLimits | None = None,
        policy: Policy | None = None,
        image: str | None = None,
        seed: int | None = None,
        now_ns: int | None = None,
        repeat_in_flight: bool = True,
        store: Store | None = None,
    ) -> Session:
        """Create a session.

        Args:
            language: "javascript", "typescript" or "python", or a short form of these.
            name: unique in the store; a session can be opened by it.
            modules: files that are there from the start.
            mounts: folders of the host that are there from the start; see `mount`.
            limits: for every run that brings none of its own.
            policy: what its runs may do.
            image: by name, such as "python+pandas".
            seed: of its randomness, 64 bits; chosen if not given.
            now_ns: start of its clock.
            repeat_in_flight: what becomes of an effect that was in flight when a process died: it
                is performed again with the same key, or (False) never, and its run is interrupted.
            store: where it is kept; the default store if not given.

        Raises:
            UnsupportedLanguageError, InvalidRunError, UnknownImageError, SessionExistsError.
        """
        if language not in LANGUAGES:
            raise UnsupportedLanguageError(
                f"cloche does not run {language!r}; it runs javascript, typescript and python",
                language=language,
            )
        check_start(seed=seed, now_ns=now_ns)
        sessions = sessions_of(store or store_at(None))
        guest = LANGUAGES[language]
        image = image or guest
        if definition_of(image).language != guest:
            raise InvalidRunError(f"the image {image} does not run {language}")
        settings = Settings(
            language=full_language(language),
            image=image,
            image_id=sessions.image_id(image),
            seed=secrets.randbits(SEED_BITS) if seed is None else seed,
            now_ns=sessions.now_ns() if now_ns is None else now_ns,
            limits=limit_overrides(limits),
            policy=b"" if policy is None else json.dumps(policy.to_document()).encode(),
            repeat_in_flight=repeat_in_flight,
        )
        files = [(file.name, file.data()) for file in modules]
        session = cls(sessions, sessions.create(settings, name=name))
        try:
            for path, content in files:
                session.write_file(path, content)
            for mount in mounts:
                session.mount(mount)
        except ClocheError:
            session.delete()
            raise
        return session

    @classmethod
    def open(cls, id_or_name: str, *, store: Store | None = None) -> Session:
        """Return a handle of a session that is kept.

        Raises:
            SessionNotFoundError: there is none.
        """
        sessions = sessions_of(store or store_at(None))
        return cls(sessions, sessions.find(id_or_name))

    # --- runs ---

    def run(
        self, code: str | None = None, *, tools: Tools | None = None, **options: Any
    ) -> ExecResult:
        """Run a program in the session; what it defines is there for the next one.

        Args:
            code: the program, or None to run the session's file `entrypoint`.
            tools: host functions by name, as for `cloche.run`.
            options: `entrypoint`, `args`, `env`, `stdin`, `limits`, `policy`, `filename`, and
                `wait` (True): whether to wait while another run goes on in the session.

        Returns:
            the result of a program that ended by itself, whatever its exit code.

        Raises:
            ExecError: as `cloche.run`. After a limit or a crash the session is as it was before
                the run; after an error of the program, what it did until then stays.
            SessionBusyError, SessionClosedError, InvalidRunError, FileAccessError: nothing ran.
        """
        return ended(self.execute(code, tools=tools, **options))

    def execute(
        self,
        code: str | None = None,
        *,
        tools: Tools | None = None,
        entrypoint: str | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        cancel: CancelToken | None = None,
        wait: bool = True,
        **options: Any,
    ) -> Execution:
        """Run a program; a failure of the program is data in what is returned. See `run`."""
        self._check_open()
        if (code is None) == (entrypoint is None):
            raise InvalidRunError("a run needs either a program or an entrypoint, and not both")
        unknown = options.keys() - RUN_OPTIONS
        if unknown:
            raise InvalidRunError(f"a session's run takes no {', '.join(sorted(unknown))}")

        def make_request(live: Live, seed: int, now_ns: int) -> RunRequest:
            text, filename = code, options.get("filename", "")
            if entrypoint is not None:
                filename = normal_path(entrypoint, live.head.cwd)
                text = program_in(self._sessions.awake(live), filename)
            assert text is not None
            return session_request(
                live.settings,
                live.head,
                text,
                limits=self._sessions.limits,
                tools=sorted(tools or ()),
                seed=seed,
                now_ns=now_ns,
                options={**options, "filename": filename},
            )

        return self._runs.run(
            self.id,
            make_request,
            handlers={TOOL_KIND: ToolHandler(tools)} if tools else {},
            on_output=on_output,
            cancel=cancel,
            wait=wait,
        )

    def resume(
        self,
        *,
        tools: Tools | None = None,
        on_output: Callable[[Stream, bytes], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> ExecResult:
        """Go on with the run that was put away (see `RunSuspendedError`), from any process.

        Args:
            tools: as for the run; what was called before is not called again.
            on_output: gets all output of the run, from its beginning.
            cancel: stops the run.

        Raises:
            SessionError: none was put away. RunSuspendedError: it waits again. Else as `run`.
        """
        self._check_open()
        handlers = {TOOL_KIND: ToolHandler(tools)} if tools else {}
        return ended(
            self._runs.resume(self.id, handlers=handlers, on_output=on_output, cancel=cancel)
        )

    def cancel_suspended(self) -> None:
        """Give up the run that was put away; nothing happens if there is none."""
        self._check_open()
        self._runs.cancel_suspended(self.id)

    @property
    def suspended(self) -> str | None:
        """Id of the run that was put away, None if there is none."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            run = self._runs.suspended(live)
            return None if run is None else run.id

    def run_streaming(
        self, code: str | None = None, *, tools: Tools | None = None, **options: Any
    ) -> Iterator[ExecEvent]:
        """Run a program and yield its output as it is written, then `Finished` or `Failed`.

        Closing the iterator stops the run.

        Raises:
            RunSuspendedError: the run was put away. Else as `execute`.
        """
        self._check_open()
        produced: queue.SimpleQueue[ExecEvent | BaseException] = queue.SimpleQueue()
        cancel = CancelToken()

        def on_output(stream: Stream, data: bytes) -> None:
            produced.put(StdoutChunk(data=data) if stream == "stdout" else StderrChunk(data=data))

        def work() -> None:
            try:
                done = self.execute(
                    code, tools=tools, on_output=on_output, cancel=cancel, **options
                )
            except (ClocheError, OSError) as error:
                produced.put(error)
                return
            if done.suspension is not None:
                produced.put(_put_away(done))
            elif done.error is not None:
                produced.put(Failed(error=done.error))
            else:
                produced.put(Finished(result=done.result))

        threading.Thread(target=work, name="cloche-session-run", daemon=True).start()
        try:
            while True:
                event = produced.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            cancel.cancel()

    # --- files ---

    def upload(self, file: File, *, read_only: bool = False) -> None:
        """Put a file in place; folders are made, a file that is there is replaced.

        Raises:
            InvalidFileError: the content is not what its encoding says.
            FileAccessError: over a quota, or the path leads through a file. Nothing changed.
        """
        self.write_file(file.name, file.data(), read_only=read_only)

    def write_file(self, path: str, content: bytes, *, read_only: bool = False) -> None:
        """Put bytes in place as a file. See `upload`."""
        self._check_open()
        with self._changing() as live:
            machine = self._sessions.awake(live)
            full = normal_path(path, live.head.cwd)
            if full == "/":
                raise FileAccessError(full, "ISDIR")
            machine.upload(full, content, read_only)
            kept = self._sessions.store.blobs.put(content, now_ns=self._sessions.now_ns())
            self._sessions.keep(
                live,
                Upload(path=full, sha256=kept.sha256, size_bytes=len(content), read_only=read_only),
            )

    def mount(self, mount: Mount) -> None:
        """Take a picture of a folder of the host, and put it in place; again to renew it.

        Raises:
            InvalidRunError: the folder cannot be read, or holds more than the limits allow.
            FileAccessError: something else is at its place, or it does not fit. Nothing changed.
        """
        self._check_open()
        with self._changing() as live:
            mount_folder(self._sessions, live, mount)

    def download(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileAccessError: there is none, or it is a directory.
        """
        self._check_open()
        with self._sessions.turn(self.id) as live:
            machine = self._sessions.awake(live)
            return machine.download(normal_path(path, live.head.cwd))

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        self._check_open()
        with self._changing() as live:
            full = normal_path(path, live.head.cwd)
            self._sessions.awake(live).remove(full)
            self._sessions.keep(live, Remove(path=full))

    def list_files(self, path: str = ".", *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a directory, sorted by path: uploads and what programs made."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            full = normal_path(path, live.head.cwd)
            return self._sessions.awake(live).list_files(full, recursive=recursive)

    def set_working_dir(self, path: str) -> None:
        """Change where runs start and what relative paths mean.

        Raises:
            FileAccessError: there is no such directory.
        """
        self._check_open()
        with self._changing() as live:
            full = normal_path(path, live.head.cwd)
            if not self._sessions.awake(live).is_directory(full):
                raise FileAccessError(full, "NOENT")
            self._sessions.keep(live, ChangeDirectory(path=full))

    @property
    def working_dir(self) -> str:
        """Where runs start."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            return live.head.cwd

    # --- time travel ---

    def history(self) -> list[Step]:
        """Return every operation so far, in order."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            return self._sessions.history(live)

    def fork(self, name: str | None = None) -> Session:
        """Return a new session in the same state; the two go their own ways."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            return Session(self._sessions, self._travel.fork(live, name=name))

    def snapshot(self) -> str:
        """Keep the state of now; return its name, for `restore`."""
        self._check_open()
        with self._sessions.turn(self.id) as live:
            self._sessions.awake(live)
            head = self._sessions.keep_snapshot(live)
            return f"{head.ordinal}:{head.state}"

    def restore(self, snapshot: str) -> None:
        """Go back to a snapshot of this session; what came later is forgotten.

        Raises:
            SessionError: it is no snapshot of this session.
        """
        self._check_open()
        ordinal, _, state = snapshot.partition(":")
        with self._changing() as live:
            states = {"0": first_head(live.settings).state}
            states |= {str(step.ordinal): step.state for step in self._sessions.history(live)}
            if states.get(ordinal) != state:
                raise SessionError(f"{snapshot!r} is no snapshot of session {self.id}")
            self._travel.revert(live, int(ordinal))

    def revert(self, *, last: int | None = None, to: int | None = None) -> None:
        """Undo the last runs, with everything since the first of them, or go back to an operation.

        Args:
            last: how many runs to undo.
            to: ordinal of the operation to go back to (see `history`); 0 is the beginning.

        Raises:
            SessionError: there are not so many. Nothing changed.
        """
        self._check_open()
        if (last is None) == (to is None):
            raise SessionError("revert needs either last=N or to=N")
        with self._changing() as live:
            if to is None:
                assert last is not None
                to = self._travel.before_runs(live, last)
            self._travel.revert(live, to)

    def update(self, image: str | None = None) -> None:
        """Move the session to another image, or to this machine's version of its own, by replay.

        Args:
            image: by name; the session's own if not given.

        Raises:
            DivergenceError: a run does something else on it (`run_id` says which); the session is
                as it was, on its old image.
        """
        self._check_open()
        with self._changing() as live:
            self._travel.update(live, image or live.settings.image)

    # --- elsewhere ---

    def export(self, *, key: bytes | None = None) -> bytes:
        """Return the whole session as one signed archive.

        Args:
            key: 32 bytes that whoever imports it needs too; this machine's key if not given.
        """
        self._check_open()
        with self._sessions.turn(self.id) as live:
            return self._travel.export(live, key or load_key())

    @classmethod
    def import_(
        cls,
        archive: bytes,
        *,
        name: str | None = None,
        key: bytes | None = None,
        store: Store | None = None,
    ) -> Session:
        """Create a session from what `export` returned.

        Raises:
            ArchiveError: it is none, was changed, or was signed with another key.
            SessionExistsError: the name is taken.
        """
        sessions = sessions_of(store or store_at(None))
        return cls(sessions, SessionTravel(sessions).take_in(archive, key or load_key(), name=name))

    # --- its end ---

    def close(self) -> None:
        """Let go of the session; it is kept, and its memory freed. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._sessions.sleep(self.id)

    def delete(self) -> None:
        """Remove the session for ever, with its files and journals."""
        self._check_open()
        self._sessions.delete(self.id)
        self._closed = True

    @contextmanager
    def _changing(self) -> Iterator[Live]:
        """Hold the session for a change of its state: no run is left that stands on it."""
        with self._sessions.turn(self.id) as live:
            self._runs.settle(live)
            yield live

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError(self.name or self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Session {self.id}{name} {self.language}{' closed' if self._closed else ''}>"


def ended(execution: Execution) -> ExecResult:
    """Return the result of a run that ended by itself; raise what else became of it."""
    if execution.suspension is not None:
        raise _put_away(execution)
    if execution.error is not None:
        raise execution.error
    return execution.result


def _put_away(execution: Execution) -> RunSuspendedError:
    assert execution.suspension is not None
    return RunSuspendedError(
        execution.run_id,
        due_ns=execution.suspension.due_ns,
        stdout=execution.result.run.stdout,
    )

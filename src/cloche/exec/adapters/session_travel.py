"""Sessions in time and space: back to an earlier state, into a second session, into a file.

Invariants: what is forgotten is only what was asked to be; a fork has the whole past of its origin;
an archive is checked to the last digest before anything of it is kept.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from cloche.engine.catalogue import definition_of
from cloche.engine.snapshot import seal, unseal
from cloche.exec.adapters.partial import StopAtLive, journal_until
from cloche.exec.adapters.runner import new_run_id
from cloche.exec.adapters.session_live import head_row, step_row
from cloche.exec.adapters.session_store import StoreSink, read_records
from cloche.exec.adapters.sessions import ID_BYTES, check_name
from cloche.exec.archive import Archive, pack, unpack
from cloche.exec.errors import (
    ArchiveError,
    InvalidRunError,
    RunNotFoundError,
    SessionError,
)
from cloche.exec.session_log import Ran, advance, content_of, first_head
from cloche.gate.errors import DivergenceError
from cloche.gate.journal import encode_file, load_journal
from cloche.store.rows import Run, Session, Snapshot

if TYPE_CHECKING:
    from cloche.exec.adapters.runner import Execution, OutputListener
    from cloche.exec.adapters.session_live import Live
    from cloche.exec.adapters.session_machine import SessionMachine
    from cloche.exec.adapters.sessions import Sessions
    from cloche.exec.session_log import Head, Operation, SessionSettings
    from cloche.store.ports import Store
    from cloche.store.rows import Step as StepRow

_json = msgspec.json.Encoder()


class SessionTravel:
    """Reverts, forks, exports and imports the sessions of one process."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._store = sessions.store

    def revert(self, live: Live, ordinal: int) -> None:
        """Go back to the state after an operation; what came later is forgotten.

        Raises:
            SessionError: there is no such operation.
        """
        steps = self._sessions.history(live)
        if not 0 <= ordinal <= len(steps):
            has = f"has operations 1 to {len(steps)}" if steps else "has no operations"
            raise SessionError(
                f"session {live.row.id} {has}; {ordinal} is none of them, and 0 is the beginning"
            )
        head = first_head(live.settings)
        for step in steps[:ordinal]:
            head, _ = advance(head, step.operation)
        head = self._with_snapshot(live, head)
        state = live.head.state
        self._sessions.apply(live, head, forget_after=ordinal)
        if live.machine is not None and head.state != state:
            live.machine.close()
            live.machine = None
        live.tail = [s for s in steps[:ordinal] if s.ordinal > head.snapshot_ordinal]

    def before_runs(self, live: Live, count: int) -> int:
        """Return the ordinal of the operation before the last so many runs.

        Raises:
            SessionError: there are not so many, or none were asked for.
        """
        steps = self._sessions.history(live)
        runs = [step.ordinal for step in steps if isinstance(step.operation, Ran)]
        if 1 <= count <= len(runs):
            return runs[-count] - 1
        problem = f"has no {'runs' if steps else 'operations'} to undo"
        if runs:
            problem = f"has {len(runs)} {'run' if len(runs) == 1 else 'runs'} to undo, not {count}"
        raise SessionError(f"session {live.row.id} {problem}")

    def fork(self, live: Live, *, name: str | None = None) -> Session:
        """Create a session in the same state, with the same past.

        No state is written: a snapshot behind which repeating would cost more is there already.
        """
        check_name(name, self._sessions.limits)
        now_ns = self._sessions.now_ns()
        session_id = f"ses-{secrets.token_hex(ID_BYTES)}"
        row = replace(
            live.row, id=session_id, name=name, created_ns=now_ns, changed_ns=now_ns, revision=0
        )
        self._sessions.add(
            row, self._sessions.rows(live), self._store.sessions.snapshots(live.row.id)
        )
        return row

    def replay(
        self,
        run_id: str,
        *,
        until: int | None = None,
        on_output: OutputListener | None = None,
    ) -> Execution:
        """Execute a run of a session again, from the state it started from, to the same bytes.

        The session itself is not touched. A run that a limit ended, or that was interrupted, is
        repeated as far as its journal goes.

        Args:
            run_id: which.
            until: number of the effect to stop at, before it is answered.
            on_output: gets each piece of output.

        Raises:
            ReplayStopped: the effect `until` was asked for.
            DivergenceError: it did something else; both sides are in the error.
            SessionError: no session has it in its history, so its first state is not known.
        """
        sessions = self._sessions
        run = self._store.runs.get(run_id)
        if run is None:
            raise RunNotFoundError(run_id)
        journal = sessions.journal(run_id)
        row = None if run.session_id is None else self._store.sessions.get(run.session_id)
        if row is None:
            raise SessionError(f"run {run_id} is in no session's history: its state is not known")
        with sessions.turn(row.id) as live:
            before = self._before(live, journal.inputs.state)
            machine = sessions.wake(live, before)
        part = None if until is None else journal_until(journal, until)
        try:
            return machine.run(
                sessions.request_of(journal),
                run_id=run_id,
                on_output=on_output,
                handlers=None if part is None else StopAtLive(),
                replay=journal if part is None else None,
                resume=part,
            )
        finally:
            machine.close()

    def _before(self, live: Live, state: str) -> Head:
        """Return the head of a session where it had this state, with the nearest snapshot."""
        head = first_head(live.settings)
        for step in self._sessions.history(live):
            if head.state == state:
                break
            head, _ = advance(head, step.operation)
        if head.state != state:
            raise SessionError("the state that the run started from was reverted since")
        return self._with_snapshot(live, head)

    def _with_snapshot(self, live: Live, head: Head) -> Head:
        for kept in self._store.sessions.snapshots(live.row.id):
            if kept.ordinal <= head.ordinal:
                head = msgspec.structs.replace(
                    head, snapshot=kept.blob, snapshot_ordinal=kept.ordinal
                )
        return head

    def update(self, live: Live, image: str) -> None:
        """Move a session to another image, or to this machine's version of its own, by replay.

        Every operation is repeated on the new image, every run answered from its journal. Only when
        all come to the recorded end is the session moved, with new journals.

        Raises:
            DivergenceError: a run does something else there; `run_id` says which. Nothing changed.
            InvalidRunError: the image runs another language.
        """
        sessions = self._sessions
        if definition_of(image).language != definition_of(live.settings.image).language:
            raise InvalidRunError(f"the image {image} does not run {live.settings.language}")
        settings = msgspec.structs.replace(
            live.settings, image=image, image_id=sessions.image_id(image)
        )
        moving = _Moving(self._store, sessions, settings, live.row.id)
        machine = sessions.wake_as(settings)
        try:
            for step in sessions.history(live):
                moving.repeat(machine, step.operation)
            snapshot = self._store.blobs.put(machine.snapshot(), now_ns=sessions.now_ns())
        finally:
            machine.close()
        head = msgspec.structs.replace(
            moving.head, snapshot=snapshot.sha256, snapshot_ordinal=moving.head.ordinal
        )
        kept = Snapshot(
            ordinal=head.ordinal,
            blob=snapshot.sha256,
            size_bytes=snapshot.size_bytes,
            created_ns=sessions.now_ns(),
        )
        sessions.drop_machine(live)
        live.row = replace(live.row, settings=_json.encode(settings), image_id=settings.image_id)
        live.settings = settings
        sessions.apply(live, head, steps=tuple(moving.rows), snapshots=(kept,), forget_after=0)
        live.tail = []

    def export(self, live: Live, key: bytes) -> bytes:
        """Return a session as one signed archive."""
        if live.head.ordinal:
            self._sessions.keep_snapshot(live)
        steps = self._sessions.history(live)
        journals: dict[str, list[bytes]] = {}
        contents: dict[str, bytes] = {}
        for step in steps:
            operation = step.operation
            if isinstance(operation, Ran):
                journals[operation.run_id] = read_records(self._store, operation.run_id)
            elif (sha256 := content_of(operation)) is not None:
                contents[sha256] = self._store.blobs.get(sha256)
        sealed = None
        if live.head.snapshot is not None:
            # The archive's key is all that whoever imports it needs to have.
            kept = self._store.blobs.get(live.head.snapshot)
            taken = unseal(kept, self._sessions.key, limits=self._sessions.limits)
            sealed = seal(taken, key)
        archive = Archive(
            settings=live.settings,
            steps=steps,
            snapshot=sealed,
            snapshot_ordinal=live.head.snapshot_ordinal,
            contents=contents,
            journals=journals,
        )
        return pack(archive, key)

    def take_in(self, data: bytes, key: bytes, *, name: str | None = None) -> Session:
        """Create a session from an archive.

        Raises:
            ArchiveError: the archive cannot be taken in.
        """
        check_name(name, self._sessions.limits)
        archive = unpack(data, key, limit_bytes=self._sessions.limits.sessions.archive_limit_bytes)
        head = first_head(archive.settings)
        now_ns = self._sessions.now_ns()
        rows: list[StepRow] = []
        renamed: dict[str, str] = {}
        for step in archive.steps:
            operation = step.operation
            if (sha256 := content_of(operation)) is not None:
                self._take_content(archive, sha256, now_ns)
            if isinstance(operation, Ran):
                # Run ids are unique in a store; the journal says what the run was.
                renamed[operation.run_id] = new_run_id()
                operation = msgspec.structs.replace(operation, run_id=renamed[operation.run_id])
            head, moved = advance(head, operation)
            if moved.state != step.state:
                raise ArchiveError("the archive's history does not lead to its states")
            rows.append(step_row(moved))
        snapshots: tuple[Snapshot, ...] = ()
        if archive.snapshot is not None:
            taken = unseal(
                archive.snapshot,
                key,
                limits=self._sessions.limits,
                image_id=archive.settings.image_id,
            )
            kept = self._store.blobs.put(seal(taken, self._sessions.key), now_ns=now_ns)
            snapshots = (
                Snapshot(
                    ordinal=archive.snapshot_ordinal,
                    blob=kept.sha256,
                    size_bytes=kept.size_bytes,
                    created_ns=now_ns,
                ),
            )
            head = msgspec.structs.replace(
                head, snapshot=kept.sha256, snapshot_ordinal=archive.snapshot_ordinal
            )
        for old, new in renamed.items():
            self._take_run(archive, old, new, now_ns)
        row = Session(
            id=f"ses-{secrets.token_hex(ID_BYTES)}",
            name=name,
            language=archive.settings.language,
            image_id=archive.settings.image_id,
            created_ns=now_ns,
            changed_ns=now_ns,
            settings=_json.encode(archive.settings),
            head=head_row(head),
            working_dir=head.cwd,
        )
        self._sessions.add(row, rows, snapshots)
        return row

    def _take_content(self, archive: Archive, sha256: str, now_ns: int) -> None:
        content = archive.contents.get(sha256)
        if content is None or self._store.blobs.put(content, now_ns=now_ns).sha256 != sha256:
            raise ArchiveError(f"the archive lacks the content {sha256}")

    def _take_run(self, archive: Archive, old: str, new: str, now_ns: int) -> None:
        records = archive.journals.get(old, [])
        load_journal(encode_file(records), self._sessions.limits)
        self._store.runs.create(
            Run(
                id=new,
                language=archive.settings.language,
                status="completed",
                created_ns=now_ns,
                started_ns=now_ns,
                ended_ns=now_ns,
            ),
            entries=records,
        )


class _Moving:
    """A history that is being repeated on another image."""

    def __init__(
        self, store: Store, sessions: Sessions, settings: SessionSettings, session_id: str
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._session_id = session_id
        self._image_id = settings.image_id
        self.head = first_head(settings)
        self.rows: list[StepRow] = []

    def repeat(self, machine: SessionMachine, operation: Operation) -> None:
        """Repeat one operation, and note it."""
        if isinstance(operation, Ran):
            operation = self._run(machine, operation)
        else:
            machine.apply(operation, self._store.blobs.get)
        self.head, step = advance(self.head, operation)
        self.rows.append(step_row(step))

    def _run(self, machine: SessionMachine, operation: Ran) -> Ran:
        recorded = self._sessions.journal(operation.run_id).moved(
            image_id=self._image_id, state=self.head.state
        )
        run_id = new_run_id()
        now_ns = self._sessions.now_ns()
        old = self._store.runs.get(operation.run_id)
        assert old is not None
        row = replace(old, id=run_id, session_id=self._session_id, status="running", ended_ns=None)
        self._store.runs.create(row)
        try:
            execution = machine.run(
                self._sessions.request_of(recorded),
                run_id=run_id,
                sink=StoreSink(self._store, run_id),
                replay=recorded,
            )
        except DivergenceError as error:
            self._store.runs.delete(run_id)
            error.fields["run_id"] = operation.run_id
            raise
        self._store.runs.update(
            replace(row, status="completed", ended_ns=now_ns), expected="running"
        )
        assert execution.journal_hash is not None
        return msgspec.structs.replace(
            operation, run_id=run_id, journal_hash=execution.journal_hash
        )

"""Script runs in a store: begun, put away, taken up by whoever goes on with them, ended.

Owns the row of a run and the right to work on it. Invariants:
- a run is worked on by one process at a time: who takes it up changes its status, or takes over
  from a process of this machine that is gone, or that did not renew its claim for
  `sessions.lease_ms`;
- who lost a run is told by the first thing it wants to keep, and keeps nothing any more;
- while a run is put away it is rows, and nothing else.

What is in the rows: `request` says what was to be run, `usage` what it used and which calls failed,
`result` is the `ScriptResult` as it is now.
"""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from cloche.gate.entries import EffectCompleted, EffectStarted, Entry
from cloche.gate.journal import Record, encode_file, load_journal
from cloche.script.errors import ScriptRunBusyError, ScriptRunUnknownError
from cloche.script.finder import Language  # noqa: TC001 - msgspec reads it
from cloche.script.items import ScriptResult
from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document, JournalAppend, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.gate.journal import Journal
    from cloche.limits import Limits
    from cloche.store.ports import Store

NS_PER_MS: Final = 1_000_000
# The harness answers it itself; a tool that changes nothing; a tool that may change something.
Quietness = Literal["own", "reads", "changes"]
CLAIM_KIND: Final = "script-claim"
LEASE_SHARE: Final = 3  # a claim is renewed when a third of it is over
REQUEST_TYPE: Final = "script"
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_request_encoder = msgspec.json.Encoder()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was to be run: the document `request` of a row.

    Args:
        script_id: of its call in the message.
        language: of the script.
        source: the script.
        sha256: of it.
        session_id: what lasting decisions hold for.
        params: JSON text of the parameters, if it has any.
        limits: of the group `scripts`, where they are not those of everything.
        forked_from: the run whose first calls it shares, if there is one.
        type: tells these rows from those of other runs.
    """

    script_id: str
    language: Language
    source: str
    sha256: str
    session_id: str
    params: str | None = None
    limits: dict[str, int] = {}
    forked_from: str = ""
    type: str = REQUEST_TYPE


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a run used until it was put away, how calls failed, and who has it in hands since."""

    time_ms: int = 0
    failures: dict[str, dict[str, Any]] = {}
    owner: str = ""


class Taken:
    """A run that this process may work on."""

    def __init__(self, row: Run, *, since_ns: int, claim: Document | None = None) -> None:
        self.row = row
        self.since_ns = since_ns
        self.claim = claim
        self.is_lost = False
        self.on_loss: Callable[[], None] | None = None


class ShelfSink:
    """Keeps the journal of a run; the row of a new run is made with its first record.

    What need not be durable yet waits for what must be, and is kept with that: a call that changes
    nothing may begin again after a crash, so its beginning can wait; an answer of a tool cannot,
    because no answered call is made again. Usable from any thread.

    Args:
        store: where.
        row: of the run.
        count: records that are there already.
        is_new: whether the row is to be made.
        quietness: of a target: whether calling it twice is of any account.
        on_append: called before anything is kept: from here on the run does something new.
    """

    def __init__(
        self,
        store: Store,
        row: Run,
        *,
        count: int = 0,
        is_new: bool = False,
        quietness: Callable[[str], Quietness] = lambda _: "changes",
        on_append: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._row = row
        self.count = count
        self._is_new = is_new
        self._quietness = quietness
        self._open: set[int] = set()
        self._answered: set[int] = set()
        self._held: list[bytes] = []
        self._own: set[int] = set()  # effects that are answered here, and change nothing
        self._lock = threading.Lock()
        self._on_append = on_append

    def append(self, records: Sequence[bytes]) -> None:
        """Append encoded records; what has to be durable is so on return."""
        self._on_append()
        with self._lock:
            self._held += records
            # All are looked at: what they say of effects is needed later.
            urgent = [record for record in records if self._is_urgent(record)]
            if urgent:
                self._write()

    def flush(self, *, is_lazy: bool = False) -> None:
        """Keep everything that was appended.

        Args:
            is_lazy: something that is durable follows: the loss of power may undo this until then.
        """
        with self._lock:
            self._write(is_lazy=is_lazy)

    def _is_urgent(self, record: bytes) -> bool:
        entry = _decode_entry(_decode_record(record).body)
        if isinstance(entry, EffectStarted):
            self._open.add(entry.sequence)
            quietness = self._quietness(entry.target)
            if quietness == "own":
                self._own.add(entry.sequence)
            return quietness == "changes"
        if isinstance(entry, EffectCompleted):
            self._open.discard(entry.sequence)
            self._answered.add(entry.sequence)
            return entry.sequence not in self._own
        return False  # the end of a run is kept with its row: see `end`

    def _write(self, *, is_lazy: bool = False) -> None:
        if not self._held:
            return
        held, self._held = self._held, []
        if self._is_new:
            self._store.runs.create(self._row, entries=held)
            self._is_new = False
            self.count += len(held)
            return
        self.count = self._store.journals.append(
            self._row.id, held, expected_count=self.count, is_lazy=is_lazy
        )

    def end(self, row: Run) -> None:
        """Keep the end of the run and all that was appended, in one change.

        Raises:
            StoreChangedError: somebody else works on it by now; nothing was kept.
        """
        if self._is_new:
            with self._lock:
                held, self._held = self._held, []
                self._store.runs.create(row, entries=held)
                self._is_new = False
                self.count += len(held)
        else:
            self._store.runs.update(row, expected="running", append=self.take())

    def take(self) -> JournalAppend:
        """Return what is held of the journal of a run that ends; the caller keeps it."""
        with self._lock:
            held, self._held = tuple(self._held), []
            append = JournalAppend(run_id=self._row.id, entries=held, expected_count=self.count)
            self.count += len(held)
            return append

    def open_sequences(self, before: Journal | None) -> set[int]:
        """Return the effects that were begun and have no answer in the journal.

        Args:
            before: the journal behind which this sink wrote.
        """
        return self._open | (_open_in(before) - self._answered)

    def close(self) -> None:
        """Nothing is held."""


class Shelf:
    """The script runs of a store. Usable from any thread.

    Args:
        store: where.
        now_ns: wall clock.
        owner: a name that no other process has.
        is_gone: whether the process with such a name certainly has ended.
        limits: the groups `scripts` and `sessions`.
    """

    def __init__(
        self,
        store: Store,
        *,
        now_ns: Callable[[], int],
        owner: str,
        is_gone: Callable[[str], bool],
        limits: Limits,
    ) -> None:
        self.store = store
        self.now_ns = now_ns
        self._owner = owner
        self._is_gone = is_gone
        self._limits = limits
        self._lease_ns = limits.sessions.lease_ms * NS_PER_MS
        self._lock = threading.Lock()
        self._active: set[Taken] = set()
        self._renewer: threading.Thread | None = None
        self._is_shared = not store.url.startswith("memory:")

    def row(self, run_id: str) -> Run:
        """Return the row of a script run.

        Raises:
            ScriptRunUnknownError: there is none, or it is a run of something else.
        """
        row = self.store.runs.get(run_id) if run_id.isprintable() and run_id else None
        if row is None or not self.is_script(row):
            raise ScriptRunUnknownError(run_id=run_id, store=self.store.url)
        return row

    def is_script(self, row: Run) -> bool:
        """Whether a row is one of a script's run."""
        return b'"type":"script"' in row.request

    def asked(self, row: Run) -> Asked:
        """Return what was to be run."""
        return msgspec.json.decode(row.request, type=Asked)

    def used(self, row: Run) -> Used:
        """Return what a run used until it was put away."""
        return msgspec.json.decode(row.usage, type=Used)

    def result(self, row: Run) -> ScriptResult | None:
        """Return what is known of a run; None before it was put away or ended."""
        document = msgspec.json.decode(row.result)
        if not document:
            return None
        return msgspec.convert({"type": "script_result", **document}, ScriptResult)

    def journal(self, run_id: str) -> Journal | None:
        """Return the journal of a run, verified; None where it has not begun.

        Raises:
            JournalError: it was changed.
        """
        records: list[bytes] = []
        most = self._limits.store.page_count_max
        while page := self.store.journals.read(run_id, start=len(records), limit=most):
            records += page
            if len(page) < most:
                break
        return load_journal(encode_file(records), self._limits) if records else None

    # --- the right to work on it ---

    def begin(self, run_id: str, asked: Asked) -> Taken:
        """Return a new run; it is kept with the first record of its journal."""
        now_ns = self.now_ns()
        row = Run(
            id=run_id,
            language=asked.language,
            status="running",
            created_ns=now_ns,
            started_ns=now_ns,
            request=_request_encoder.encode(asked),
            usage=self._in_hands(Used()),
        )
        return self._hold(Taken(row, since_ns=now_ns))

    def take(self, row: Run) -> Taken:
        """Take up a run that was put away, or that a dead process left.

        Raises:
            ScriptRunBusyError: somebody works on it.
        """
        now_ns = self.now_ns()
        used = self.used(row)
        again = replace(
            row, status="running", started_ns=now_ns, ended_ns=None, usage=self._in_hands(used)
        )
        claim: Document | None = None
        if row.status != "suspended":
            claim = self.store.documents.get(CLAIM_KIND, row.id)
        if row.status in {"running", "queued"}:
            until_ns = max(
                (row.started_ns or 0) + self._lease_ns, 0 if claim is None else _until_ns(claim)
            )
            owner = used.owner if claim is None else _owner_of(claim)
            if now_ns < until_ns and not self._is_gone(owner):
                raise ScriptRunBusyError(run_id=row.id, until_ms=until_ns // NS_PER_MS + 1)
        try:
            if row.status != "suspended":
                claim = self._claimed(row.id, claim, now_ns)
            # Nothing is done before something else is kept, and the disk has this with that.
            self.store.runs.update(again, expected=row.status, is_lazy=True)
        except StoreChangedError:
            until_ns = now_ns + self._lease_ns
            raise ScriptRunBusyError(run_id=row.id, until_ms=until_ns // NS_PER_MS) from None
        return self._hold(Taken(again, since_ns=now_ns, claim=claim))

    def _in_hands(self, used: Used) -> bytes:
        return msgspec.json.encode(msgspec.structs.replace(used, owner=self._owner))

    def give_back(self, taken: Taken) -> None:
        """Work on a run no more."""
        with self._lock:
            self._active.discard(taken)
        if taken.claim is not None:
            name, revision = taken.claim.name, taken.claim.revision
            self.store.documents.remove(CLAIM_KIND, name, revision=revision)
            taken.claim = None

    def renew(self) -> bool:
        """Renew the claims of what is at work; return whether anything is."""
        now_ns = self.now_ns()
        with self._lock:
            active = list(self._active)
        for taken in active:
            until_ns = taken.since_ns + self._lease_ns
            if taken.claim is not None:
                until_ns = max(until_ns, _until_ns(taken.claim))
            if until_ns - now_ns > self._lease_ns * (LEASE_SHARE - 1) // LEASE_SHARE:
                continue
            try:
                taken.claim = self._claimed(taken.row.id, taken.claim, now_ns)
            except StoreChangedError:
                taken.is_lost = True
                if taken.on_loss is not None:
                    taken.on_loss()
        return bool(active)

    def _claimed(self, run_id: str, before: Document | None, now_ns: int) -> Document:
        data = {"owner": self._owner, "until_ns": now_ns + self._lease_ns}
        claim = Document(
            kind=CLAIM_KIND,
            name=run_id,
            data=msgspec.json.encode(data),
            revision=1 if before is None else before.revision + 1,
        )
        self.store.documents.put(claim)
        return claim

    def _hold(self, taken: Taken) -> Taken:
        with self._lock:
            self._active.add(taken)
            if self._is_shared and (self._renewer is None or not self._renewer.is_alive()):
                period_s = self._lease_ns / LEASE_SHARE / 2 / 1_000_000_000
                self._renewer = threading.Thread(
                    target=_renew, args=(weakref.ref(self), period_s), daemon=True
                )
                self._renewer.start()
        return taken

    # --- its end ---

    def park(self, taken: Taken, used: Used, result: ScriptResult) -> None:
        """Put a run away.

        Raises:
            StoreChangedError: somebody else works on it by now; nothing was kept.
        """
        away = replace(
            taken.row,
            status="suspended",
            usage=msgspec.json.encode(used),
            result=msgspec.json.encode(result.to_document()),
        )
        self.store.runs.update(away, expected="running")
        self.give_back(taken)


def _open_in(journal: Journal | None) -> set[int]:
    """Return the effects that have no answer in a journal."""
    entries = () if journal is None else journal.entries
    begun = {entry.sequence for entry in entries if isinstance(entry, EffectStarted)}
    return begun - {entry.sequence for entry in entries if isinstance(entry, EffectCompleted)}


def ended_row(row: Run, result: ScriptResult, *, now_ns: int) -> Run:
    """Return the row of a run that is over."""
    status: Any = {"completed": "completed", "failed": "failed"}.get(result.status, "cancelled")
    document = msgspec.json.encode(result.to_document())
    return replace(row, status=status, ended_ns=now_ns, result=document)


def _owner_of(claim: Document) -> str:
    return str(msgspec.json.decode(claim.data)["owner"])


def _until_ns(claim: Document) -> int:
    return int(msgspec.json.decode(claim.data)["until_ns"])


def _renew(shelf_ref: weakref.ref[Shelf], period_s: float) -> None:
    while True:
        time.sleep(period_s)
        shelf = shelf_ref()
        if shelf is None or not shelf.renew():
            return
        del shelf

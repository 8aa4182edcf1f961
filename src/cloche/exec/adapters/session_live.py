"""A session as one process knows it, and how its parts stand in rows of the store.

Owns the fields of a session that is looked at, and the translation between a step or a head and its
row. It keeps nothing and waits for nobody: `sessions.py` does.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from cloche.exec.session_log import Head, Ran, SessionSettings, Step, content_of
from cloche.store.rows import Head as HeadRow
from cloche.store.rows import Step as StepRow

if TYPE_CHECKING:
    from cloche.exec.adapters.session_machine import SessionMachine
    from cloche.store.rows import Lease, Session

_json = msgspec.json.Encoder()


class Live:
    """A session as this process knows it. Touched only by who holds `lock`.

    What it is made of is known from the first lease on: `row`, `settings`, `head`, the `tail` since
    its snapshot; `is_settled` says that no run is left in it that has to go on.
    """

    row: Session
    settings: SessionSettings
    head: Head

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.lock = threading.Lock()
        self.users = 0  # who holds it, or is on the way to it; changed under the sessions' lock
        self.waiting = 0
        self.used_ns = 0
        self.machine: SessionMachine | None = None
        self.lease: Lease | None = None
        self.tail: list[Step] = []
        self.is_settled = False

    def take(self, row: Session) -> None:
        """Believe this row, and forget an instance in another state."""
        head = head_of(row)
        if self.machine is not None and head.state != self.head.state:
            self.machine.close()
            self.machine = None
        if self.machine is None:
            self.tail = []
        self.tail = [step for step in self.tail if step.ordinal > head.snapshot_ordinal]
        self.row, self.head = row, head
        self.settings = msgspec.json.decode(row.settings, type=SessionSettings)
        self.is_settled = False


def step_row(step: Step) -> StepRow:
    """Return the row that keeps a step."""
    operation = step.operation
    return StepRow(
        ordinal=step.ordinal,
        run_id=operation.run_id if isinstance(operation, Ran) else None,
        blob=content_of(operation),
        document=_json.encode(step),
    )


def head_of(row: Session) -> Head:
    """Return the head that a session's row stands for."""
    kept = row.head
    return Head(
        ordinal=kept.ordinal,
        state=kept.document.decode(),
        cwd=row.working_dir,
        snapshot=kept.snapshot,
        snapshot_ordinal=kept.snapshot_ordinal,
    )


def head_row(head: Head) -> HeadRow:
    """Return the row that keeps a head."""
    return HeadRow(
        ordinal=head.ordinal,
        snapshot=head.snapshot,
        snapshot_ordinal=head.snapshot_ordinal,
        document=head.state.encode(),
    )

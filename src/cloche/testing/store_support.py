"""What the checks of a store share: rows to keep, threads that start together."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cloche.store.rows import (
    Approval,
    Run,
    RunStatus,
    Session,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.errors import ClocheError


NOW_NS: Final = 1_700_000_000_000_000_000
ABSENT: Final = "0" * 64


def new_session(session_id: str, **changes: Any) -> Session:
    """Return a session that a check can create."""
    session = Session(
        id=session_id, language="python", image_id="image", created_ns=NOW_NS, changed_ns=NOW_NS
    )
    return replace(session, **changes)


def new_run(run_id: str, status: RunStatus = "running", **changes: Any) -> Run:
    """Return a run that a check can create."""
    ended_ns = NOW_NS if status in {"completed", "failed", "interrupted", "cancelled"} else None
    run = Run(id=run_id, language="python", status=status, created_ns=NOW_NS, ended_ns=ended_ns)
    return replace(run, **changes)


def new_approval(approval_id: str, **changes: Any) -> Approval:
    """Return an approval that a check can create: of the run `r`."""
    approval = Approval(
        id=approval_id,
        run_id="r",
        seq=0,
        document=b"question",
        created_ns=NOW_NS,
        expires_ns=NOW_NS + 100,
    )
    return replace(approval, **changes)


def raises(error: type[ClocheError], call: Callable[[], object], **fields: Any) -> None:
    """Check that a call raises an error with these fields."""
    try:
        call()
    except error as raised:
        found = {name: raised.fields[name] for name in fields}
        assert found == fields, f"{error.__name__} has {found}, expected {fields}"
    else:
        raise AssertionError(f"{error.__name__} was not raised")


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what each of many threads returned or raised; they start together."""
    outcomes: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def body(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = work(index)
        except Exception as error:  # noqa: BLE001 - the outcome is what is checked
            outcomes[index] = error

    threads = [threading.Thread(target=body, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes

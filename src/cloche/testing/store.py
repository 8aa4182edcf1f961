"""Conformance suite of the store's port.

Public: whoever writes a store runs every function of `CHECKS` in a test, each with a store of its
own that is empty. The suite states the behaviour once; it knows nothing of how a store keeps.
A check raises AssertionError when the store breaks a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cloche.store.errors import (
    StoreClosedError,
    StoreInvalidError,
    StoreTooLargeError,
)
from cloche.testing.store_records import (
    check_changes_of_approvals,
    check_concurrent_changes_of_approvals,
    check_overdue_approvals,
    check_small_documents,
)
from cloche.testing.store_runs import (
    check_blobs,
    check_concurrent_appends,
    check_failed_puts,
    check_garbage,
    check_garbage_against_puts,
    check_journals,
    check_lazy_changes,
    check_retention,
    check_run_pages,
    check_runs,
    check_runs_with_entries,
)
from cloche.testing.store_sessions import (
    check_changes,
    check_concurrent_changes,
    check_concurrent_leases,
    check_forks_and_deletion,
    check_leases,
    check_refused_changes,
    check_rewinding,
    check_session_pages,
    check_sessions,
)
from cloche.testing.store_support import (
    new_run,
    raises,
)
from cloche.testing.store_waits import (
    check_approvals,
    check_concurrent_answers,
    check_expiry,
    check_promises,
    check_timers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.store.ports import Store

    Check: TypeAlias = Callable[[Store], None]


def check_closing(store: Store) -> None:
    """A closed store answers nothing more, and can be closed again."""
    store.runs.create(new_run("r"))
    store.journals.append("r", [b"x"], expected_count=0)
    store.close()
    store.close()
    calls: list[Callable[[], object]] = [
        store.sessions.list,
        lambda: store.runs.create(new_run("q")),
        lambda: store.journals.append("r", [b"x"], expected_count=1),
        lambda: store.blobs.put(b"x", now_ns=0),
        store.timers.next_due_ns,
    ]
    for call in calls:
        raises(StoreClosedError, call, store=store.url)


def check_documents(store: Store) -> None:
    """A document over the limit or of another type is refused, never cut."""
    store.runs.create(new_run("r"))
    large = bytes((64 << 20) + 1)
    raises(StoreTooLargeError, lambda: store.runs.create(new_run("q", request=large)))
    text: Any = "text"
    raises(StoreInvalidError, lambda: store.runs.create(new_run("q", request=text)))
    raises(StoreInvalidError, lambda: store.journals.append("r", [text], expected_count=0))
    assert store.runs.get("q") is None


CHECKS: Final[tuple[Check, ...]] = (
    check_sessions,
    check_session_pages,
    check_changes,
    check_refused_changes,
    check_rewinding,
    check_forks_and_deletion,
    check_concurrent_changes,
    check_leases,
    check_concurrent_leases,
    check_runs,
    check_run_pages,
    check_retention,
    check_journals,
    check_lazy_changes,
    check_runs_with_entries,
    check_concurrent_appends,
    check_blobs,
    check_failed_puts,
    check_garbage,
    check_garbage_against_puts,
    check_promises,
    check_timers,
    check_approvals,
    check_expiry,
    check_concurrent_answers,
    check_changes_of_approvals,
    check_overdue_approvals,
    check_concurrent_changes_of_approvals,
    check_small_documents,
    check_closing,
    check_documents,
)

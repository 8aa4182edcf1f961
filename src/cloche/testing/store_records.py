"""Checks of a store: the audit, documents, and the changes that tie them to approvals."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloche.store.errors import StoreChangedError, StoreInvalidError, StoreUnknownError
from cloche.store.rows import ApprovalChange, AuditHead, AuditRow, Document
from cloche.testing.store_support import NOW_NS, at_once, new_approval, new_run, raises

if TYPE_CHECKING:
    from cloche.store.ports import Store


def _row(data: bytes, run_id: str = "r") -> AuditRow:
    return AuditRow(run_id=run_id, data=data, hash=hashlib.sha256(data).digest())


def check_changes_of_approvals(store: Store) -> None:
    """A change of approvals, runs, documents and the audit happens whole, once, or not at all."""
    store.runs.create(new_run("r", "suspended"))
    assert store.audit.head() == AuditHead()
    asked = ApprovalChange(
        expected_count=0,
        audit=(_row(b"one"), _row(b"two", "gone")),
        approvals=(new_approval("a"), new_approval("b", seq=1)),
        documents=(Document(kind="k", name="n", data=b"1"),),
        is_lazy=True,
    )
    head = store.approvals.apply(asked)
    assert head == store.audit.head() == AuditHead(count=2, hash=_row(b"two").hash)
    assert [row.id for row in store.approvals.list(run_id="r")] == ["a", "b"]
    assert store.approvals.count("pending") == 2  # noqa: PLR2004 - put in above
    yes = new_approval("a", status="approved", decision=b"yes", decided_ns=NOW_NS)
    over = new_run("r", "cancelled", result=b"over")
    decided = ApprovalChange(
        expected_count=2,
        audit=(_row(b"three"),),
        approvals=(yes,),
        runs=((over, "suspended"),),
        documents=(Document(kind="k", name="n", data=b"2", revision=2),),
    )
    for wrong in (
        replace(decided, expected_count=1),
        replace(decided, expected_count=3),
        replace(decided, runs=((over, "running"),)),
        replace(decided, documents=(Document(kind="k", name="n", data=b"3", revision=3),)),
    ):
        raises(StoreChangedError, partial(store.approvals.apply, wrong))
    lost = replace(decided, approvals=(new_approval("c", run_id="absent"),))
    raises(StoreUnknownError, lambda: store.approvals.apply(lost), what="run", id="absent")
    assert store.approvals.get("a") == new_approval("a")
    assert store.audit.head() == head
    store.approvals.apply(decided)
    assert store.approvals.get("a") == yes
    found = store.runs.get("r")
    assert found is not None
    assert (found.status, found.result) == ("cancelled", b"over")
    again = replace(decided, expected_count=3, runs=(), documents=())
    raises(StoreChangedError, lambda: store.approvals.apply(again), id="a", found="approved")
    assert [row.data for row in store.audit.read()] == [b"one", b"two", b"three"]
    assert list(store.audit.read(start=1, limit=1)) == [_row(b"two", "gone")]
    assert store.runs.delete("r")
    assert [row.run_id for row in store.audit.read()] == ["r", "gone", "r"]
    raises(StoreInvalidError, lambda: ApprovalChange(expected_count=0, audit=()))


def check_overdue_approvals(store: Store) -> None:
    """What is over by a time can be listed without being changed."""
    store.runs.create(new_run("r"))
    for index in range(3):
        store.approvals.create(new_approval(f"a{index}", seq=index, expires_ns=NOW_NS + index))
    found = store.approvals.list(status="pending", expired_ns=NOW_NS + 1)
    assert [row.id for row in found] == ["a0", "a1"]
    assert store.approvals.count("pending") == 3  # noqa: PLR2004 - put in above
    assert store.approvals.count("expired") == 0


def check_concurrent_changes_of_approvals(store: Store) -> None:
    """Of changes at the same time that know the same audit, one happens."""
    store.runs.create(new_run("r"))

    def add(index: int) -> Any:
        row = _row(b"%d" % index)
        approval = new_approval(f"a{index}", seq=index)
        change = ApprovalChange(expected_count=0, audit=(row,), approvals=(approval,))
        return store.approvals.apply(change)

    outcomes = at_once(6, add)
    assert sum(isinstance(outcome, AuditHead) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StoreChangedError) for outcome in outcomes) == 5  # noqa: PLR2004
    assert store.audit.head().count == store.approvals.count("pending") == 1


def check_small_documents(store: Store) -> None:
    """A document is replaced by those who know its revision, and listed by name."""
    first = Document(kind="k", name="é", data=b"1")
    store.documents.put(first)
    store.documents.put(Document(kind="other", name="z", data=b""))
    raises(StoreChangedError, lambda: store.documents.put(first), what="document", found="1")
    late = Document(kind="k", name="new", data=b"", revision=2)
    raises(StoreChangedError, lambda: store.documents.put(late), found="0")
    second = replace(first, data=b"2", revision=2)
    store.documents.put(second)
    store.documents.put(Document(kind="k", name="B", data=b""))
    assert store.documents.get("k", "é") == second
    assert store.documents.get("other", "é") is None
    assert [row.name for row in store.documents.list("k")] == ["B", "é"]
    assert [row.name for row in store.documents.list("k", after="B")] == ["é"]
    assert not store.documents.remove("k", "é", revision=1)
    removed = at_once(4, lambda _: store.documents.remove("k", "é", revision=2))
    assert sorted(map(str, removed)) == ["False", "False", "False", "True"]
    assert not store.documents.remove("k", "absent")

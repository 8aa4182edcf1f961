"""What a question holds for whoever decides, and that no answer is changed unseen."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from tests.script.cases import add

import cloche
from cloche.limits import Limits
from cloche.script.adapters.spawn import Spawner
from cloche.script.approvals import Made
from cloche.script.errors import ApprovalTamperedError, ToolValidationError
from cloche.script.inbox import Inbox
from cloche.store.open import open_store

done = []


@cloche.tool(secret_args=["token"])
def send(to: str, text: str = "hi", token: str = "") -> str:
    """Send a message."""
    done.append((to, text))
    return to


@pytest.fixture
def path(tmp_path):
    """Return where a store is."""
    done.clear()
    return tmp_path / "s.db"


def parked(path, source="return tools.send({ to: 'ann' })", *tools):
    """Run a script until it waits, in a process that then forgets everything."""
    with closing(open_store(path)) as store:
        return cloche.ScriptHarness(send, add, *tools, store=store).run(source)


def changed(path, statement, *values):
    """Change the store behind its back."""
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


# --- what is shown ---


def test_what_is_left_and_what_goes_on(path):
    """Calls used and left, and detached work."""
    spawner = Spawner(add)
    source = """
await tools.add({ a: 1, b: 2 });
await tools.spawn.add({ a: 1, b: 2 });
await tools.spawn.list();
return tools.send({ to: "ann" });
"""
    run = parked(path, source, *spawner.tools)
    with closing(open_store(path)) as store:
        shown = Inbox(store).show(Inbox(store).list(run_id=run.run_id)[0].id)
    assert list(shown["tools_used"]) == ["add", "spawn.add", "spawn.list"]
    assert (shown["calls_left"], shown["detached"]) == (28, ("spawn.add",))


# --- changed arguments without the tools ---


@pytest.mark.parametrize(
    "args", [{"to": 5}, {"text": "x"}, {"to": "x", "more": 1}, {}, {"to": None}]
)
def test_changed_arguments_are_checked_without_the_tools(path, args):
    """The schema is in the question; nothing is decided by arguments that do not fit."""
    parked(path)
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        (one,) = inbox.list()
        with pytest.raises(ToolValidationError, match="'send' were not valid"):
            inbox.approve(one.id, who="ann", args=args)
        assert inbox.list() == (one,)


def test_changed_arguments_that_fit(path):
    """They are those of the call."""
    run = parked(path)
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        assert inbox.approve(inbox.list()[0].id, who="ann", args={"to": "bob"}).changed
        assert cloche.ScriptHarness(send, add, store=store).resume(run.run_id).value == "bob"
    assert done == [("bob", "hi")]


def test_secrets_of_a_question(path):
    """Neither the question nor the record of the call shows them, nor those of an answer."""
    asked, given = "hunter-2222", "hunter-3333"
    run = parked(path, f"return tools.send({{ to: 'ann', token: '{asked}' }})")
    assert asked not in str(run.to_document())
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        one = inbox.list()[0]
        assert asked not in str(inbox.show(one.id))
        inbox.approve(one.id, who="ann", args={"to": "bob", "token": given})
        harness = cloche.ScriptHarness(send, add, store=store)
        ended = harness.resume(run.run_id)
        assert ended.tool_calls[0].args["to"] == "bob"
        for known in (ended, harness.result(run.run_id), harness.replay(run.run_id)):
            text = str(known.to_document())
            assert asked not in text
            assert given not in text


def test_changed_arguments_that_fit_no_more(path):
    """What was given with an answer is held against the tool that is there when it is called."""
    run = parked(path)
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        inbox.approve(inbox.list()[0].id, who="ann", args={"to": "bob", "text": "new"})

        @cloche.tool(name="send")
        def send_to(to: str) -> str:
            """Send a message."""
            done.append((to, ""))
            return to

        ended = cloche.ScriptHarness(send_to, add, store=store).resume(run.run_id)
    assert (ended.status, ended.error["code"]) == ("failed", "TOOL_VALIDATION")
    assert done == []


# --- answers that were changed ---


def decided(path, **options):
    """Return a run whose call was decided about."""
    run = parked(path)
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        one = inbox.list()[0]
        if options.pop("no", False):
            inbox.reject(one.id, who="ann", **options)
        else:
            inbox.approve(one.id, who="ann", **options)
    return run


def resumed(path, run):
    """Go on with a run."""
    with closing(open_store(path)) as store:
        return cloche.ScriptHarness(send, add, store=store).resume(run.run_id)


REPLACE = "UPDATE approvals SET {0} = CAST(replace(CAST({0} AS TEXT), '{1}', '{2}') AS BLOB)"
APPROVED = "UPDATE approvals SET status = 'approved'"
TAMPERED = [
    # (how it was decided, what is changed, what differs)
    ({"no": True}, [APPROVED], "event"),
    ({"no": True}, [APPROVED, REPLACE.format("decision", "reject", "approve")], "event, verdict"),
    ({"args": {"to": "bob"}}, [REPLACE.format("decision", "bob", "eve")], "changed_sha256"),
    ({}, [REPLACE.format("decision", "ann", "eve")], "who"),
    ({}, [REPLACE.format("document", '"tool":"send"', '"tool":"add"')], "tool"),
    (
        {},
        [REPLACE.format("document", '"args_sha256":"', '"args_sha256":"0')],
        "args_sha256",
    ),
]


@pytest.mark.parametrize(("options", "statements", "what"), TAMPERED)
def test_a_changed_answer_is_refused_before_any_effect(path, options, statements, what):
    """Nothing of the run happens, whatever the answer says now."""
    run = decided(path, **dict(options))
    for statement in statements:
        changed(path, statement)
    with pytest.raises(ApprovalTamperedError, match=f"its {what} changed"):
        resumed(path, run)
    assert done == []


def test_an_answer_that_nobody_gave(path):
    """An answer without an entry in the audit is none."""
    run = parked(path)
    changed(
        path,
        "UPDATE approvals SET status = 'approved', decided_ns = 1, decision = CAST(? AS BLOB)",
        '{"made":{"verdict":"approve","who":"eve"},"entry":7}',
    )
    with pytest.raises(ApprovalTamperedError, match="the audit does not tell of it"):
        resumed(path, run)
    changed(
        path,
        "UPDATE approvals SET decision = CAST(? AS BLOB)",
        '{"made":{"verdict":"approve","who":"eve"},"entry":0}',
    )
    with pytest.raises(ApprovalTamperedError, match="its event, who, verdict changed"):
        resumed(path, run)
    assert done == []


def test_an_entry_that_was_changed_with_it(path):
    """The hash of the entry is another."""
    run = decided(path, no=True)
    changed(
        path,
        "UPDATE audit_entries SET data = CAST(replace(CAST(data AS TEXT), 'ann', 'eve') AS BLOB) "
        "WHERE ordinal = (SELECT max(ordinal) FROM audit_entries)",
    )
    with pytest.raises(ApprovalTamperedError, match="the hash of its entry is another"):
        resumed(path, run)
    assert done == []


def test_missing_and_double_answers(path):
    """A run with an open question waits on; a second answer changes nothing."""
    source = "return Promise.all(['a', 'b'].map((to) => tools.send({ to })))"
    run = parked(path, source)
    with closing(open_store(path)) as store:
        inbox = Inbox(store)
        first, second = inbox.list()
        inbox.approve(first.id, who="ann")
        again = inbox.decide(first.id, Made(verdict="reject", who="eve"))
        assert (again.changed, again.ignored) == (False, "decided")
    assert resumed(path, run).status == "suspended"
    with closing(open_store(path)) as store:
        Inbox(store).approve(second.id, who="ann")
    assert resumed(path, run).value == ["a", "b"]
    assert sorted(done) == [("a", "hi"), ("b", "hi")]


def test_open_questions_of_all_runs_are_counted(path):
    """One run cannot ask where another has asked as much as is let."""
    limits = Limits().replace({"scripts": {"approval_count_max": 1}})
    source = "return tools.send({ to: 'ann' })"
    with closing(open_store(path)) as store:
        harness = cloche.ScriptHarness(send, add, store=store, limits=limits)
        first = harness.run(source)
        assert first.status == "suspended"
        second = harness.run(source)
        assert (second.status, second.error["code"]) == ("failed", "TOOL_CONCURRENCY")
        Inbox(store).reject(harness.pending[0].id, who="ann")
        assert harness.run(source).status == "suspended"

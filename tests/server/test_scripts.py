"""Scripts over HTTP: they end, wait for people, go on, are undone, and survive their server."""

from __future__ import annotations

import gc
import hashlib
import json
import weakref

import msgspec
import pytest

from cloche.errors import InternalError
from cloche.script.adapters.shelf import Asked
from cloche.script.harness import ScriptHarness
from cloche.script.inbox import Inbox
from cloche.server.documents import KeptScript, ScriptBody
from cloche.server.errors import StateError
from cloche.store.errors import StoreUnavailableError
from cloche.store.rows import Run

from .support import Asker
from .tools import TOOLS, placed, sent

ASKING = "return await tools.send({to: 'ann'})"


@pytest.fixture
def asker():
    """A server with tools, whose tools have done nothing."""
    sent.clear()
    placed.clear()
    return Asker(tools={"default": TOOLS})


def broken(*_args, **_options):
    """Fail, in the place of a harness."""
    raise InternalError("it broke")


def start(asker, source=ASKING, **options):
    """Return the document of a script that was answered."""
    answer = asker.post("/v1/scripts", {"source": source, **options})
    assert answer.status in (200, 202), answer.body
    return answer.document


def waiting(asker):
    """Return what waits."""
    return asker.get("/v1/approvals").document["items"]


def test_a_script_that_ends(asker):
    """It answers with its value, output and calls, and can be looked at later."""
    source = "console.log('on it'); return await tools.double({number: 21})"
    done = start(asker, source, session="s")
    assert (done["status"], done["value"], done["output"]) == ("completed", 42, "on it\n")
    assert [call["tool"] for call in done["tool_calls"]] == ["double"]
    assert (done["tools"], done["session"]) == ("default", "s")
    assert asker.get(f"/v1/scripts/{done['id']}").document == done
    listed = asker.get("/v1/scripts").document
    assert listed == {"items": [{**done, "output": "", "tool_calls": []}], "next": None}


def test_the_order_of_a_list(asker):
    """However many there are, the newest is the first; what was refused is not there."""
    owners = asker.server.scripts._owners
    ids = [f"{(7919 * n) % 400:032x}" for n in range(400)]
    for n, run_id in enumerate(ids):
        owners.add_script("default", run_id, KeptScript(tools="t", session="s", created_ms=n // 2))
    again = KeptScript(tools="t", session="s", created_ms=999)
    with pytest.raises(StateError):
        owners.add_script("default", ids[0], again)
    owners.remove_script("default", ids[7])
    seen, after = [], ""
    while after is not None:
        page = asker.get(f"/v1/scripts?limit=90&after={after}").document
        seen += [each["id"] for each in page["items"]]
        after = page["next"]
    wanted = sorted((-(n // 2), run_id) for n, run_id in enumerate(ids) if run_id != ids[7])
    assert seen == [run_id for _, run_id in wanted]
    assert asker.get(f"/v1/scripts?after={ids[7]}").status == 404
    assert (
        asker.get("/v1/scripts", key=asker.new_key("admin", tenant="other")).document["items"] == []
    )


def test_python_and_parameters(asker):
    """A script is in any language of scripts, and finds its parameters."""
    done = start(
        asker,
        "(await tools.double(number=context['params']['n']))",
        language="python",
        params={"n": 4},
    )
    assert (done["status"], done["value"]) == ("completed", 8)


def test_a_script_that_nothing_ran_of(asker):
    """A broken one fails, a dry run is checked; neither has an id."""
    checked = start(asker, mode="dry-run")
    assert (checked["status"], checked["id"]) == ("checked", "")
    assert checked["value"]["tools"] == [{"tool": "send", "line": 1, "known": True}]
    refused = start(asker, "eval('1')")
    assert (refused["status"], refused["error"]["code"]) == ("failed", "SCRIPT_BANNED_IDENTIFIER")
    left = start(asker, "eval('1')", wait=False)
    assert asker.get(f"/v1/scripts/{left['id']}").document["error"] == refused["error"]
    assert [each["id"] for each in asker.get("/v1/scripts").document["items"]] == [left["id"]]


def test_a_script_that_the_server_could_not_begin(asker, monkeypatch):
    """It has failed, and does not wait for anybody: not now, and not after the next start."""
    monkeypatch.setattr(ScriptHarness, "run", broken)
    left = start(asker, wait=False)
    seen = asker.get(f"/v1/scripts/{left['id']}").document
    assert (seen["status"], seen["error"]["code"]) == ("failed", "INTERNAL")
    assert asker.server.scripts._owners.left_scripts() == []


def test_a_script_whose_end_could_not_be_kept(asker, monkeypatch):
    """While the store is away nothing is lost: it is gone on with when the store is back."""

    def away(*_args):
        raise StoreUnavailableError(store="s.db", reason="it is away")

    monkeypatch.setattr(ScriptHarness, "run", broken)
    monkeypatch.setattr(asker.server.scripts._owners, "keep_result", away)
    left = start(asker, "return 1", wait=False)
    assert asker.get(f"/v1/scripts/{left['id']}").document["status"] == "queued"
    monkeypatch.undo()
    asker.server.scripts.take_up()
    assert asker.get(f"/v1/scripts/{left['id']}").document["value"] == 1


def test_going_on_with_a_script_that_never_began(asker):
    """One that is over gives its end again, as any other, also to who asks with its key again."""
    fields = [("idempotency-key", b"k")]
    body = {"source": "eval('1')", "wait": False}
    left = asker.post("/v1/scripts", body, fields=fields).document
    path = f"/v1/scripts/{left['id']}"
    ended = asker.get(path).document
    assert ended["error"]["code"] == "SCRIPT_BANNED_IDENTIFIER"
    answer = asker.post(f"{path}/resume")
    assert (answer.status, answer.document) == (200, ended)
    asker.server.context.answers.forget("default", "k")
    answer = asker.post("/v1/scripts", body, fields=fields)
    assert (answer.status, answer.document) == (202, ended)
    assert asker.get(path).document == ended


def test_an_end_that_is_kept_stays(asker, monkeypatch):
    """What goes wrong behind it is the server's: the script has ended as it had."""
    owners = asker.server.scripts._owners
    settle, troubles = owners.settle_script, [StoreUnavailableError(store="s.db", reason="away")]

    def settle_later(run_id):
        if troubles:
            raise troubles.pop()
        settle(run_id)

    monkeypatch.setattr(owners, "settle_script", settle_later)
    left = start(asker, "eval('1')", wait=False)
    ended = asker.get(f"/v1/scripts/{left['id']}").document
    assert (ended["status"], ended["error"]["code"]) == ("failed", "SCRIPT_BANNED_IDENTIFIER")
    assert (troubles, owners.left_scripts()) == ([], [])


def test_a_script_that_waits_when_the_server_fails(asker, monkeypatch):
    """It goes on waiting: what it asks can be decided when the server is well again."""
    begun = start(asker)
    path = f"/v1/scripts/{begun['id']}"
    monkeypatch.setattr(ScriptHarness, "resume", broken)
    assert asker.post(f"{path}/resume").status == 500
    monkeypatch.undo()
    assert asker.get(path).document["status"] == "suspended"
    (one,) = waiting(asker)
    asker.post(f"/v1/approvals/{one['id']}/approve")
    assert asker.get(path).document["value"] == "sent to ann"


def test_unknown_tools(asker):
    """A set that the server has not is 422, and says which there are."""
    answer = asker.post("/v1/scripts", {"source": "1", "tools": "other"})
    assert (answer.status, answer.document["code"]) == (422, "SERVER_INVALID")
    assert answer.document["message"].endswith("this server has: default")
    assert Asker().post("/v1/scripts", {"source": "1"}).status == 422


def test_approval_with_other_arguments(asker):
    """A call waits, is approved with other arguments, and its script goes on by itself."""
    begun = start(asker)
    assert (begun["status"], sent) == ("suspended", [])
    (one,) = waiting(asker)
    assert (one["tool"], one["args"], one["status"]) == ("send", {"to": "ann"}, "pending")
    assert (one["run_id"], one["line"], one["decision"]) == (begun["id"], 1, None)
    assert "tools.send" in one["excerpt"]
    path = f"/v1/approvals/{one['id']}"
    bad = asker.post(f"{path}/approve", {"args": {"whom": "bob"}})
    assert (bad.status, bad.document["code"], sent) == (422, "TOOL_VALIDATION", [])
    key = asker.new_key("approve", name="ops")
    done = asker.post(f"{path}/approve", {"args": {"to": "bob"}, "reason": "ok"}, key=key).document
    assert done["status"] == "approved"
    who = f"ops ({key.split('_')[1]})"
    assert done["decision"] == {
        "verdict": "approve", "who": who, "reason": "ok", "args": {"to": "bob"}
    }  # fmt: skip
    assert sent == ["bob"]
    ended = asker.get(f"/v1/scripts/{begun['id']}").document
    assert (ended["status"], ended["value"]) == ("completed", "sent to bob")
    assert waiting(asker) == []
    assert asker.get(path).document == done
    entries = Inbox(asker.store).audit()
    assert [(entry.event, entry.who) for entry in entries] == [
        ("pending", "cloche"),
        ("approved", who),
    ]
    assert entries[1].changed_sha256


def test_the_session_of_an_approval(asker):
    """It is what the script was given; empty where that is nothing, also in a message."""
    for session in ("", "night shift"):
        start(asker, session=session)
        text = f"<tool-calls>{ASKING}</tool-calls>"
        message = {"role": "assistant", "content": text}
        body = {"message": message, "api": "openai.chat", "session": session}
        assert asker.post("/v1/messages", body).status == 200
    found = waiting(asker)
    assert sorted(one["session"] for one in found) == ["", "", "night shift", "night shift"]
    for one in found:
        assert asker.get(f"/v1/approvals/{one['id']}").document == one


def test_a_decision_twice(asker):
    """The same again is 200 and does nothing; another one is 409."""
    start(asker)
    path = f"/v1/approvals/{waiting(asker)[0]['id']}"
    first = asker.post(f"{path}/approve")
    assert asker.post(f"{path}/approve").document == first.document
    answer = asker.post(f"{path}/reject")
    assert (answer.status, answer.document["code"]) == (409, "SERVER_STATE")
    assert sent == ["ann"]


def test_rejections(asker):
    """A script reads why a call was rejected; a run that is rejected ends."""
    source = "try { await tools.send({to: 'a'}) } catch (error) { return error.code }"
    caught = start(asker, source)
    path = f"/v1/approvals/{waiting(asker)[0]['id']}"
    assert asker.post(f"{path}/reject", {"reason": "no"}).document["status"] == "rejected"
    ended = asker.get(f"/v1/scripts/{caught['id']}").document
    assert (ended["status"], ended["value"]) == ("completed", "APPROVAL_DENIED")
    ended = start(asker, source)
    path = f"/v1/approvals/{waiting(asker)[0]['id']}"
    assert asker.post(f"{path}/reject", {"run": True, "never": True}).status == 422
    asker.post(f"{path}/reject", {"run": True})
    assert asker.get(f"/v1/scripts/{ended['id']}").document["status"] == "rejected"
    assert sent == []


def test_a_decision_while_it_is_at_work(asker):
    """What is decided while a script is being worked on is seen when that work is done."""
    begun = start(
        asker, "const s = tools.send; return await Promise.all([s({to:'a'}), s({to:'b'})])"
    )
    first, second = waiting(asker)
    asker.host.workers.is_held = True
    assert asker.post(f"/v1/approvals/{first['id']}/approve").status == 200
    job = asker.server.scripts.resume("default", begun["id"])
    work = job.act

    def act():
        found = work()
        assert asker.post(f"/v1/approvals/{second['id']}/approve").status == 200
        return found

    job.act = act
    asker.host.workers.release()
    assert asker.get(f"/v1/scripts/{begun['id']}").document["status"] == "completed"
    assert sorted(sent) == ["a", "b"]


def test_always_and_never(asker):
    """They hold for the tool in the session of one tenant, and let all go on that waited."""
    ids = [start(asker, session="s")["id"] for _ in range(2)]
    other_key = asker.new_key("admin", tenant="other")
    body = {"source": ASKING, "session": "s"}
    other = asker.post("/v1/scripts", body, key=other_key).document
    path = f"/v1/approvals/{waiting(asker)[0]['id']}"
    assert asker.post(f"{path}/approve", {"always": True, "args": {}}).status == 422
    assert asker.post(f"{path}/approve", {"always": True}).status == 200
    for run_id in ids:
        assert asker.get(f"/v1/scripts/{run_id}").document["status"] == "completed"
    assert start(asker, session="s")["status"] == "completed"
    assert start(asker)["status"] == "suspended"
    kept = asker.get(f"/v1/scripts/{other['id']}", key=other_key).document
    assert kept["status"] == "suspended"
    path = f"/v1/approvals/{waiting(asker)[0]['id']}"
    asker.post(f"{path}/reject", {"never": True})
    assert len(sent) == 3


def test_lists_in_pages(asker):
    """Approvals and scripts come in pages, the former of one script too."""
    ids = [start(asker)["id"] for _ in range(3)]
    page = asker.get("/v1/approvals?limit=2").document
    rest = asker.get(f"/v1/approvals?limit=2&after={page['next']}").document
    assert sorted(one["run_id"] for one in [*page["items"], *rest["items"]]) == sorted(ids)
    assert rest["next"] is None
    (own,) = asker.get(f"/v1/approvals?run={ids[1]}").document["items"]
    assert own["run_id"] == ids[1]
    assert asker.get("/v1/approvals?run=x").status == 404
    found, after = [], ""
    while after is not None:
        page = asker.get(f"/v1/scripts?limit=2&after={after}").document
        found += [one["id"] for one in page["items"]]
        after = page["next"]
    assert found == sorted(ids)


def test_the_beginning_of_an_id_is_none(asker):
    """An approval is found by its whole id alone."""
    start(asker)
    one = waiting(asker)[0]["id"]
    assert asker.get(f"/v1/approvals/{one[:12]}").status == 404


def test_cancel_and_resume(asker):
    """A script that waits is still waiting when resumed, and over when cancelled."""
    begun = start(asker)
    path = f"/v1/scripts/{begun['id']}"
    assert asker.post(f"{path}/resume").document["status"] == "suspended"
    assert asker.post(f"{path}/cancel").document["status"] == "cancelled"
    assert waiting(asker) == []
    assert asker.post(f"{path}/cancel").document["status"] == "cancelled"
    assert asker.post(f"{path}/resume").document["status"] == "cancelled"


def test_cancel_before_the_beginning(asker):
    """A script whose turn has not come ends when it comes, and calls nothing."""
    asker.host.workers.is_held = True
    begun = start(asker, "return await tools.place({name: 'x'})", wait=False)
    assert begun["status"] == "queued"
    asker.post(f"/v1/scripts/{begun['id']}/cancel")
    asker.host.workers.release()
    assert asker.get(f"/v1/scripts/{begun['id']}").document["status"] == "cancelled"
    assert placed == []


def test_a_script_that_waits_for_its_turn_is_of_its_tenant(asker):
    """Before it has begun, too, nobody else sees it, goes on with it or ends it."""
    other = asker.new_key("admin", tenant="other")
    asker.host.workers.is_held = True
    path = f"/v1/scripts/{start(asker, 'return 1', wait=False)['id']}"
    for method, target in (
        ("GET", path),
        ("GET", f"{path}/journal"),
        ("GET", f"{path}/timeline"),
        ("POST", f"{path}/resume"),
        ("POST", f"{path}/cancel"),
        ("POST", f"{path}/rollback"),
    ):
        answer = asker.ask(method, target, key=other)
        assert (answer.status, answer.document["code"]) == (404, "SERVER_NOT_FOUND"), target
    asker.host.workers.release()
    assert asker.get(path).document["status"] == "completed"


def test_cancelling_what_begins_to_wait(asker):
    """A script that asks just as it is cancelled waits for nobody."""
    asker.host.workers.is_held = True
    begun = start(asker, wait=False)
    job = asker.server.scripts.busy("default", begun["id"])
    act = job.act

    def ask_and_be_cancelled():
        result = act()
        asker.post(f"/v1/scripts/{begun['id']}/cancel")
        return result

    job.act = ask_and_be_cancelled
    asker.host.workers.release()
    assert asker.get(f"/v1/scripts/{begun['id']}").document["status"] == "cancelled"
    assert waiting(asker) == []
    assert sent == []


def test_rollback(asker):
    """What a script did is undone, once."""
    done = start(asker, "return await tools.place({name: 'x'})")
    assert placed == ["x"]
    path = f"/v1/scripts/{done['id']}/rollback"
    undone = asker.post(path).document
    assert (undone["status"], undone["tool_calls"][0]["status"]) == ("rolled_back", "reverted")
    assert placed == []
    assert asker.post(path).document == undone


def test_journal_and_timeline(asker):
    """What a script did can be read as any other run's."""
    done = start(asker, "return await tools.double({number: 1})")
    path = f"/v1/scripts/{done['id']}"
    lines = asker.get(f"{path}/journal").body.decode().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    kinds = [
        (each["kind"], each["target"]) for each in asker.get(f"{path}/timeline").document["effects"]
    ]
    assert ("tool", "double") in kinds
    assert asker.get("/v1/runs").document["items"] == []


def test_a_message(asker):
    """The scripts of a message run in their order; the first that waits skips the rest."""
    text = "<tool-calls>return 1</tool-calls> then <tool-calls>return 2</tool-calls>"
    body = {"message": {"role": "assistant", "content": text}, "api": "openai.chat"}
    answer = asker.post("/v1/messages", body)
    assert answer.status == 200, answer.body
    assert [(one["script_id"], one["value"]) for one in answer.document["items"]] == [
        ("script_1", 1),
        ("script_2", 2),
    ]
    assert asker.post("/v1/messages", {"message": 1, "api": "openai.chat"}).status == 422


def test_the_same_key_again(asker):
    """A script with an Idempotency-Key runs once, also when its server died before answering."""
    fields = [("idempotency-key", b"k")]
    body = {"source": "return await tools.place({name: 'x'})"}
    first = asker.post("/v1/scripts", body, fields=fields)
    assert asker.post("/v1/scripts", body, fields=fields).document == first.document
    asker.server.context.answers.forget("default", "k")
    assert asker.post("/v1/scripts", body, fields=fields).document == first.document
    assert placed == ["x"]


def test_a_message_again(asker):
    """A message whose answer was lost begins nothing a second time."""
    fields = [("idempotency-key", b"k")]
    text = "<tool-calls>return await tools.place({name: 'x'})</tool-calls>"
    body = {"message": {"role": "assistant", "content": text}, "api": "openai.chat"}
    assert asker.post("/v1/messages", body, fields=fields).status == 200
    asker.server.context.answers.forget("default", "k")
    assert asker.post("/v1/messages", body, fields=fields).status == 409
    assert placed == ["x"]


def test_what_a_dead_server_left(asker):
    """What was acknowledged and had not begun begins with the next server, once."""
    asker.host.workers.is_held = True
    begun = start(asker, "return await tools.place({name: 'x'})", wait=False)
    again = Asker(store=asker.store, seed=1, tools={"default": TOOLS})
    assert again.server.recover() == 1
    again.server.maintain()
    again.server.maintain()
    ended = again.get(f"/v1/scripts/{begun['id']}").document
    assert (ended["status"], placed) == ("completed", ["x"])
    assert Asker(store=asker.store, seed=2).server.recover() == 0


def begun_and_dead(asker, source):
    """Return the id of a script at which a server died, and the next server."""
    asker.host.workers.is_held = True
    begun = start(asker, source, wait=False)
    request = Asked(
        script_id="script_1",
        language="typescript",
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        session_id="default/s",
    )
    again = Asker(store=asker.store, seed=1, tools={"default": TOOLS})
    now_ns = again.host.now_ns()
    asker.store.runs.create(
        Run(
            id=begun["id"],
            language="typescript",
            status="running",
            created_ns=now_ns,
            started_ns=now_ns,
            request=msgspec.json.encode(request),
        )
    )
    return begun["id"], again


def test_what_a_dead_server_was_at(asker):
    """What it had begun goes on when its claim is over, however often it is looked at before."""
    run_id, again = begun_and_dead(asker, "return await tools.place({name: 'x'})")
    assert again.server.recover() == 1
    for _ in range(2):
        again.server.maintain()
        assert again.get(f"/v1/scripts/{run_id}").document["status"] == "running"
    assert placed == []
    again.host.time_ns += (again.limits.sessions.lease_ms + 1) * 1_000_000
    again.server.maintain()
    ended = again.get(f"/v1/scripts/{run_id}").document
    assert (ended["status"], placed) == ("completed", ["x"])


def test_what_a_dead_server_was_at_and_nobody_can_go_on_with(asker, monkeypatch):
    """It ends, and does not seem to run for ever."""
    run_id, again = begun_and_dead(asker, "return await tools.place({name: 'x'})")
    again.server.recover()
    again.host.time_ns += (again.limits.sessions.lease_ms + 1) * 1_000_000
    monkeypatch.setattr(ScriptHarness, "resume", broken)
    again.server.maintain()
    assert again.get(f"/v1/scripts/{run_id}").document["status"] == "cancelled"
    assert placed == []


def test_a_full_queue(asker):
    """Where there is no room it is 429, and nothing is kept."""
    full = Asker(tools={"default": TOOLS}, tenant_queue_length_max=1)
    full.host.workers.is_held = True
    start(full, wait=False)
    answer = full.post("/v1/scripts", {"source": "1", "wait": False})
    assert (answer.status, answer.document["code"]) == (429, "SERVER_QUEUE_FULL")
    assert len(full.get("/v1/scripts").document["items"]) == 1


def test_nothing_of_a_job_stays(asker):
    """What a script printed is let go of with its end, not when Python's collector comes."""
    gc.collect()
    gc.disable()
    try:
        body = ScriptBody(source="console.log(1)", language="javascript")
        job = asker.server.scripts.start("default", body)
        assert job.result.status == "completed"
        kept = weakref.ref(job)
        del job
        assert kept() is None
    finally:
        gc.enable()


def test_tools(asker):
    """They are listed by set, with what they take and whether they ask; a model is told of them."""
    listed = asker.get("/v1/tools").document
    assert [(each["id"], each["asks"]) for each in listed["items"]] == [
        ("default/double", "no"),
        ("default/place", "no"),
        ("default/send", "yes"),
    ]
    assert listed["items"][0] == {
        "id": "default/double",
        "tools": "default",
        "name": "double",
        "description": "Double a number.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"description": "which.", "type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
        "returns": {"type": "integer"},
        "read_only": False,
        "asks": "no",
    }
    page = asker.get("/v1/tools?tools=default&limit=2").document
    assert page["next"] == "default/place"
    rest = asker.get(f"/v1/tools?limit=2&after={page['next']}").document
    assert page["items"] + rest["items"] == listed["items"]
    assert rest["next"] is None
    python = asker.get("/v1/tools/default/prompt?language=python")
    assert "def double(" in python.body.decode()
    assert "double(" in asker.get("/v1/tools/default/prompt").body.decode()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/tools?tools=nope", 404),
        ("/v1/tools/nope/prompt", 404),
        ("/v1/tools/default/prompt?language=ruby", 422),
    ],
)
def test_tools_that_are_not_there(asker, target, status):
    """A set or a language that is none is an error; a server without tools has an empty list."""
    assert asker.get(target).status == status
    assert Asker().get("/v1/tools").document == {"items": [], "next": None}


def test_wrong_arguments_are_not_tried_again(asker):
    """They are refused without `Retry-After`: the same again would be refused, too."""
    start(asker)
    decide = f"/v1/approvals/{waiting(asker)[0]['id']}/approve"
    answer = asker.post(decide, {"args": {"to": 5}})
    assert (answer.status, answer.document["code"]) == (422, "TOOL_VALIDATION")
    assert "retry-after" not in answer.fields
    assert asker.post(decide, {"args": {"to": "bob"}}).status == 200

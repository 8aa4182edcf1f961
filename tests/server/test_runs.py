"""Runs over HTTP: results, events, lists, cancelling, replay, refusals."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from cloche.server.documents import KeptRequest, RunBody
from cloche.server.events import START
from cloche.web.adapters.fixture import run_now
from cloche.web.errors import UnavailableError

from .support import EVENTS, Asker


@pytest.fixture(scope="module")
def asker():
    """A server that the tests of this module share."""
    return Asker()


def test_a_run(asker):
    """The answer is the whole run."""
    answer = asker.post(
        "/v1/run",
        {
            "code": (
                "import sys\nprint(open('a.txt').read(), sys.argv, sys.stdin.read())\nsys.exit(3)"
            ),
            "language": "python",
            "files": [{"name": "a.txt", "content": "aMOp", "encoding": "base64"}],
            "args": ["x"],
            "stdin": "6869",
            "stdin_encoding": "hex",
            "seed": 7,
            "now_ns": 1_700_000_000_000_000_000,
        },
    )
    assert answer.status == 200
    document = answer.document
    assert document.pop("id") == answer.fields["cloche-run"]
    assert document.pop("time_ms") >= 0
    assert document.pop("memory_bytes") > 0
    assert len(document.pop("journal_hash")) == 64
    assert document == {
        "session_id": None,
        "language": "python",
        "status": "completed",
        "created_ms": 1_700_000_000_000,
        "ended_ms": 1_700_000_000_000,
        "exit_code": 3,
        "stdout": "hé ['main.py', 'x'] hi\n",
        "stderr": "",
        "signal": None,
        "compile": None,
        "error": None,
    }


def test_a_program_that_fails(asker):
    """A failing program is answered with 200: the server did what it was asked for."""
    document = asker.run("print('a')\nraise ValueError('b')")
    assert (document["status"], document["exit_code"], document["stdout"]) == ("failed", 1, "a\n")
    assert document["error"]["code"] == "RUNTIME_FAILED"
    assert document["error"]["blame"] == "guest"


def test_a_program_that_is_none(asker):
    """What does not compile says so."""
    document = asker.run("const = 1", "javascript")
    assert (document["status"], document["error"]["code"]) == ("failed", "COMPILATION_FAILED")


def test_a_program_that_never_ends(asker):
    """It is stopped by the limit that the request brings."""
    document = asker.run("while True: pass", limits={"time_ms": 30})
    assert (document["status"], document["error"]["code"]) == ("failed", "TIMEOUT")
    assert document["signal"] == "SIGKILL"


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({}, 422, "WEB_VALIDATION", "body: Object missing required field `code`"),
        (
            {"code": "1", "colour": 1},
            422,
            "WEB_VALIDATION",
            "body: Object contains unknown field `colour`",
        ),
        (
            {"code": "1", "language": "cobol"},
            422,
            "UNSUPPORTED_LANGUAGE",
            "cloche does not run 'cobol'; it runs javascript, typescript and python",
        ),
        (
            {"code": "1", "stdin": "x", "stdin_encoding": "hex"},
            422,
            "SERVER_INVALID",
            "stdin: is no hex",
        ),
        (
            {"code": "1", "limits": {"time_ms": 300_001}},
            422,
            "SERVER_INVALID",
            "limits.time_ms: is 300001, above 300000",
        ),
        (
            {"code": "1", "limits": {"memory_bytes": 1 << 40}},
            422,
            "SERVER_INVALID",
            f"limits.memory_bytes: is {1 << 40}, above {1 << 30}",
        ),
        (
            {"code": "1", "policy": {"net": {}}},
            403,
            "SERVER_POLICY",
            (
                "this server performs no effects of kind net; a policy here names durable, and "
                "with --allow-net http and net"
            ),
        ),
        (
            {"code": "1", "files": [{"name": "a", "content": "abc", "encoding": "base64"}]},
            422,
            "INVALID_FILE",
            "the file 'a' is not valid base64: Incorrect padding",
        ),
    ],
)
def test_requests_that_cannot_be(asker, body, status, code, message):
    """What is wrong is said, and nothing is kept."""
    before = asker.get("/v1/runs?limit=1").document["items"]
    answer = asker.post("/v1/run", body)
    assert (answer.status, answer.document["code"]) == (status, code)
    assert answer.document["message"] == message
    assert asker.get("/v1/runs?limit=1").document["items"] == before


@pytest.mark.parametrize(
    ("content", "fields", "status"),
    [
        (b"{", [("content-type", b"application/json")], 400),
        (b'{"code": "1"}', [("content-type", b"text/plain")], 415),
        (b'{"code": "1"}', [], 415),
    ],
)
def test_bodies_that_are_no_json(asker, content, fields, status):
    """Malformed JSON and other types are told apart."""
    assert asker.post("/v1/run", content=content, fields=fields).status == status


def test_a_body_that_is_too_large():
    """The limit of the server holds, not that of the web room."""
    most = 1 << 20
    asker = Asker(body_limit_bytes=most, storage={"max_upload": most})
    answer = asker.post("/v1/run", {"code": "#" * most})
    assert (answer.status, answer.document["fields"]) == (413, {"limit_bytes": most})
    asker = Asker()
    assert asker.post("/v1/run", {"code": "1", "stdin": "x" * (1 << 21)}).status == 200


def test_events(asker):
    """A run as events: its id, its output in order, its end."""
    answer = asker.post(
        "/v1/run",
        {"code": "console.log('a'); console.error('b'); console.log('c')", "language": "js"},
        fields=EVENTS,
    )
    assert answer.fields["content-type"] == "text/event-stream"
    events = answer.events
    assert [(name, identity) for name, identity, _ in events] == [
        ("start", "0-0"),
        ("stdout", "2-0"),
        ("stderr", "2-2"),
        ("stdout", "4-2"),
        ("end", "end"),
    ]
    run_id = answer.fields["cloche-run"]
    assert events[0][2] == {"id": run_id}
    assert events[-1][2] == asker.get(f"/v1/runs/{run_id}").document


def test_listening_again(asker):
    """Whoever comes back with the id of an event gets what came behind it."""
    run_id = asker.run("print('abc')")["id"]

    def heard(last):
        fields = [("last-event-id", last)] if last else []
        answer = asker.get(f"/v1/runs/{run_id}/events", fields=fields)
        return [data["text"] if name == "stdout" else name for name, _, data in answer.events]

    assert heard(b"") == ["start", "abc\n", "end"]
    assert heard(b"2-0") == ["start", "c\n", "end"]
    assert heard(b"end") == ["start", "end"]
    assert asker.get(f"/v1/runs/{run_id}/events", fields=[("last-event-id", b"x")]).status == 422


def test_output_as_text(asker):
    """Each stream can be had as it is."""
    run_id = asker.run("import sys\nprint('a')\nprint('b', file=sys.stderr)")["id"]
    assert asker.get(f"/v1/runs/{run_id}/output").body == b"a\n"
    assert asker.get(f"/v1/runs/{run_id}/output?stream=stderr").body == b"b\n"
    assert asker.get(f"/v1/runs/{run_id}/output?stream=both").status == 422


def test_the_journal(asker):
    """It is JSON Lines whose last hash is the name of the run."""
    document = asker.run("print(1)")
    answer = asker.get(f"/v1/runs/{document['id']}/journal")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [lines[0]["entry"], lines[-1]["entry"]] == ["run_started", "run_finished"]
    assert lines[-1]["hash"] == document["journal_hash"]
    assert answer.fields["content-type"] == "application/jsonl"


def test_replay(asker):
    """A run is executed again to the same bytes."""
    document = asker.run("import random\nprint(random.random())")
    answer = asker.post(f"/v1/runs/{document['id']}/replay")
    assert answer.document == {
        "run_id": document["id"],
        "same": True,
        "journal_hash": document["journal_hash"],
    }


def test_started_and_left():
    """A run that was started is queued, then there with its output."""
    asker = Asker()
    asker.host.workers.is_held = True
    answer = asker.post("/v1/runs", {"code": "print(1)"})
    run_id = answer.document["id"]
    assert (answer.status, answer.document["status"]) == (202, "queued")
    assert answer.fields["location"] == f"/v1/runs/{run_id}"
    assert asker.get(f"/v1/runs/{run_id}").document["status"] == "queued"
    assert asker.get("/v1/runs").document["items"][0]["status"] == "queued"
    assert asker.post(f"/v1/runs/{run_id}/replay").status == 409
    asker.host.workers.release()
    assert asker.get(answer.fields["location"]).document["stdout"] == "1\n"


def test_cancelling_what_waits():
    """It never runs, and stays cancelled however often it is asked."""
    asker = Asker()
    asker.host.workers.is_held = True
    run_id = asker.post("/v1/runs", {"code": "print(1)"}).document["id"]
    for _ in range(2):
        answer = asker.post(f"/v1/runs/{run_id}/cancel")
        assert (answer.status, answer.document["status"]) == (200, "cancelled")
    asker.host.workers.release()
    assert asker.get(f"/v1/runs/{run_id}").document["stdout"] == ""
    assert asker.host.workers.counts() == (0, 0)


def test_cancelling_what_has_ended(asker):
    """It stays as it is."""
    document = asker.run("print(1)")
    assert asker.post(f"/v1/runs/{document['id']}/cancel").document == document


def test_lists_in_pages():
    """Pages follow one another, newest first, and the last one says so."""
    asker = Asker()
    ids = [asker.run("1", "javascript")["id"] for _ in range(5)]
    found, after = [], ""
    for count in (2, 2, 1):
        page = asker.get(f"/v1/runs?limit=2&after={after}").document
        assert len(page["items"]) == count
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert (found, after) == (ids[::-1], None)
    for query in ("limit=0", "limit=201", "limit=x", "after=nothing"):
        assert asker.get(f"/v1/runs?{query}").status in {404, 422}


def test_a_queue_that_is_full():
    """A tenant with too much waiting is told when to come back; another one is not."""
    asker = Asker(tenant_queue_length_max=1, queue_length_max=2, retry_after_ms=2500)
    other = asker.new_key("run", tenant="other")
    third = asker.new_key("run", tenant="third")
    asker.host.workers.is_held = True
    body = {"code": "1", "language": "javascript"}
    assert asker.post("/v1/runs", body).status == 202
    answer = asker.post("/v1/runs", body)
    assert (answer.status, answer.document["code"]) == (429, "SERVER_QUEUE_FULL")
    assert answer.fields["retry-after"] == "3"
    assert asker.post("/v1/runs", body, key=other).status == 202
    answer = asker.post("/v1/runs", body, key=third)
    assert (answer.status, answer.fields["retry-after"]) == (503, "3")
    assert len(asker.get("/v1/runs").document["items"]) == 1


def test_a_host_that_fails():
    """What the host met is logged; the run says that it was interrupted, and no more."""
    asker = Asker()

    def fail(*_arguments, **_options):
        raise OSError("/secret/place is full")

    asker.server.runs._execution._runner = type("Broken", (), {"execute": fail})()
    answer = asker.post("/v1/run", {"code": "1"})
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert asker.get("/v1/runs").document["items"][0]["status"] == "interrupted"
    assert asker.records[0]["message"] == "/secret/place is full"


def test_a_run_that_is_not_kept():
    """It is answered like any other, and nothing of it is left to come back to."""
    asker = Asker()
    body = {"code": "print(1)", "language": "python", "keep": False}
    answer = asker.post("/v1/run", body)
    assert (answer.document["stdout"], answer.document["journal_hash"]) == ("1\n", None)
    assert asker.post("/v1/run", body, fields=EVENTS).events[1][2] == {"text": "1\n"}
    assert asker.get("/v1/runs").document["items"] == []
    assert asker.get(f"/v1/runs/{answer.document['id']}").status == 404
    assert asker.store.runs.list() == []
    assert asker.post("/v1/runs", body).status == 422
    keyed = [("idempotency-key", b"k")]
    first, second = (asker.post("/v1/run", body, fields=keyed) for _ in range(2))
    assert first.body == second.body


def test_a_kept_run_is_two_changes_of_the_store(monkeypatch):
    """Whose it is comes with its row, its journal with its end: each change is a write."""
    asker = Asker()
    made = []
    changes = (("runs", "create"), ("runs", "update"), ("journals", "append"), ("documents", "put"))
    for name, change in changes:
        part = getattr(asker.store, name)
        monkeypatch.setattr(part, change, _noted(f"{name}.{change}", getattr(part, change), made))
    asker.run("print(1)", keep=False)
    made.clear()  # when the key was used first
    run = asker.run("print(1)")
    assert made == ["runs.create", "runs.update"]
    assert asker.store.journals.head(run["id"]).count > 1
    assert asker.get(f"/v1/runs/{run['id']}").document["stdout"] == "1\n"
    asker.run("print(1)", keep=False)
    assert made == ["runs.create", "runs.update"]


def _noted(name, change, made):
    """Return what makes a change, and notes it."""

    def noted(*args, **options):
        made.append(name)
        return change(*args, **options)

    return noted


def test_a_run_that_waits_is_of_its_tenant():
    """Before it has ended, too, nobody else sees it, hears it or ends it."""
    asker = Asker()
    other = asker.new_key("run", tenant="other")
    asker.host.workers.is_held = True
    path = f"/v1/runs/{asker.post('/v1/runs', {'code': 'print(1)'}).document['id']}"
    for method, target in (
        ("GET", path),
        ("GET", f"{path}/events"),
        ("GET", f"{path}/output"),
        ("POST", f"{path}/cancel"),
    ):
        answer = asker.ask(method, target, key=other)
        assert (answer.status, answer.document["code"]) == (404, "SERVER_NOT_FOUND"), target
    asker.host.workers.release()
    assert asker.get(path).document["status"] == "completed"


def test_a_queue_that_filled_in_between():
    """A run that there was room for a moment ago is refused, and nothing of it is kept."""
    asker = Asker(tenant_queue_length_max=1)
    workers = asker.host.workers
    workers.is_held = True
    assert asker.post("/v1/runs", {"code": "1"}).status == 202
    has_room = workers.has_room

    def room_once(_tenant):
        workers.has_room = has_room

    workers.has_room = room_once
    answer = asker.post("/v1/runs", {"code": "1"})
    assert (answer.status, answer.document["code"]) == (429, "SERVER_QUEUE_FULL")
    assert len(asker.get("/v1/runs").document["items"]) == 1
    assert [run.status for run in asker.store.runs.list()] == ["queued"]


def test_a_page_of_a_session_begins_behind_a_run_of_the_tenant(asker):
    """A run of another tenant is no place to go on from."""
    other = asker.new_key("admin", tenant="other")
    body = {"code": "1", "language": "python"}
    theirs = asker.post("/v1/run", body, key=other).document["id"]
    asker.post("/v1/sessions", {"language": "python", "name": "paged"})
    asker.post("/v1/sessions/paged/run", {"code": "1"})
    answer = asker.get(f"/v1/runs?session=paged&after={theirs}")
    assert (answer.status, answer.document["code"]) == (404, "SERVER_NOT_FOUND")


def test_listeners_of_a_run():
    """So many listen to a run as the limit says, and who leaves makes room for another."""
    asker = Asker(subscriber_count_max=1)
    asker.host.workers.is_held = True
    run_id = asker.post("/v1/runs", {"code": "print(1)"}).document["id"]
    runs = asker.server.runs
    live = runs.find("default", run_id)
    live.output.write("stdout", b"x")
    for _ in range(2):
        listening = runs.follow(live, START)
        assert run_now(anext(listening)).text == "x"
        with pytest.raises(UnavailableError, match="1 listen to this run already"):
            run_now(anext(runs.follow(live, START)))
        run_now(listening.aclose())


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_of_a_run_stays(keep):
    """What ran is let go of with its end, not when Python's collector comes."""
    runs = Asker().server.runs
    request = KeptRequest(tenant="acme", action="run", run=RunBody(code="print(1)", keep=keep))
    gc.collect()
    gc.disable()
    try:
        live = runs.start(request)
        assert live.row.status == "completed"
        kept = weakref.ref(live)
        del live
        assert kept() is None
    finally:
        gc.enable()

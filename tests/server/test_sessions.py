"""Sessions over HTTP: state, files, names, time travel, archives, runs that wait."""

from __future__ import annotations

import pytest

from .support import EVENTS, Asker


@pytest.fixture
def asker():
    """A server with a session named s."""
    found = Asker()
    found.session = found.post("/v1/sessions", {"language": "python", "name": "s"}).document
    return found


def run(asker, code, session="s", **options):
    """Return the document of a run in a session."""
    answer = asker.post(f"/v1/sessions/{session}/run", {"code": code, **options})
    assert answer.status == 200, answer.body
    return answer.document


def test_state_lives_on(asker):
    """What a run defines is there for the next one, by id and by name."""
    run(asker, "x = 40")
    document = run(asker, "print(x + 2)", asker.session["id"])
    assert (document["stdout"], document["session_id"]) == ("42\n", asker.session["id"])
    found = asker.get("/v1/sessions/s").document
    assert (found["name"], found["operation_count"], found["cwd"]) == ("s", 2, "/")
    runs = asker.get("/v1/runs?session=s").document["items"]
    assert runs[0]["id"] == document["id"]
    assert len(runs) == 2


def test_events_of_a_run_in_a_session(asker):
    """They are those of any run; its id leads to it."""
    answer = asker.post("/v1/sessions/s/run", {"code": "print(1)"}, fields=EVENTS)
    assert [name for name, _, _ in answer.events] == ["start", "stdout", "end"]
    run_id = answer.fields["cloche-run"]
    assert asker.get(f"/v1/runs/{run_id}").document == answer.events[-1][2]
    assert asker.post(f"/v1/runs/{run_id}/replay").document["same"] is True


def test_runs_of_a_session_wait_for_one_another():
    """Two that were started run one after the other, in order."""
    asker = Asker()
    asker.post("/v1/sessions", {"language": "python", "name": "s"})
    asker.host.workers.is_held = True
    ids = [
        asker.post("/v1/sessions/s/runs", {"code": code}).document["id"]
        for code in ("x = 1", "x += 1", "print(x)")
    ]
    asker.host.workers.release()
    documents = [asker.get(f"/v1/runs/{run_id}").document for run_id in ids]
    assert [document["status"] for document in documents] == ["completed"] * 3
    assert documents[-1]["stdout"] == "2\n"


def test_an_entrypoint(asker):
    """A run can be that of a file of the session."""
    asker.ask("PUT", "/v1/sessions/s/files/main.py", content=b"print('from a file')")
    answer = asker.post("/v1/sessions/s/run", {"entrypoint": "main.py"})
    assert answer.document["stdout"] == "from a file\n"
    for body in ({}, {"code": "1", "entrypoint": "main.py"}):
        assert asker.post("/v1/sessions/s/run", body).status == 422
    missing = asker.post("/v1/sessions/s/run", {"entrypoint": "nothing.py"})
    assert (missing.status, missing.document["code"]) == (404, "FILE_ACCESS")


def test_files(asker):
    """A file goes up, is seen by programs, is listed, comes down, and is removed."""
    content = bytes(range(256))
    target = "/v1/sessions/s/files/d/%C3%A9.bin"
    assert asker.ask("PUT", target, content=content).status == 204
    assert run(asker, "print(len(open('/d/é.bin', 'rb').read()))")["stdout"] == "256\n"
    listed = asker.get("/v1/sessions/s/files?recursive=true").document["items"]
    assert listed == [
        {"path": "/d", "kind": "directory", "size_bytes": 0, "read_only": False},
        {"path": "/d/é.bin", "kind": "file", "size_bytes": 256, "read_only": False},
    ]
    answer = asker.get(target)
    assert (answer.body, answer.fields["content-type"]) == (content, "application/octet-stream")
    assert answer.fields["x-content-type-options"] == "nosniff"
    assert asker.ask("DELETE", target).status == 204
    answer = asker.get(target)
    assert (answer.status, answer.document["code"]) == (404, "FILE_ACCESS")


def test_files_of_a_form(asker):
    """Several files come in one form; the filename of each is its path."""
    form = (
        b'--b\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\n\r\nA\r\n'
        b'--b\r\ncontent-disposition: form-data; name="f"; filename="d/b.txt"\r\n\r\nBB\r\n'
        b'--b\r\ncontent-disposition: form-data; name="note"\r\n\r\nno file\r\n--b--\r\n'
    )
    fields = [("content-type", b"multipart/form-data; boundary=b")]
    answer = asker.post("/v1/sessions/s/files?read_only=true", content=form, fields=fields)
    assert answer.document["items"] == [
        {"path": "/a.txt", "kind": "file", "size_bytes": 1, "read_only": True},
        {"path": "/d/b.txt", "kind": "file", "size_bytes": 2, "read_only": True},
    ]
    assert asker.get("/v1/sessions/s/files/d/b.txt").body == b"BB"
    none = b'--b\r\ncontent-disposition: form-data; name="note"\r\n\r\nx\r\n--b--\r\n'
    assert asker.post("/v1/sessions/s/files", content=none, fields=fields).status == 422


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("..%2F..%2Fetc", None),
        ("a/../../b", None),
        ("%2e%2e/%2e%2e/b", None),
        ("a%00b", None),
        ("a%5C..%5Cb", "/a\\..\\b"),
    ],
)
def test_tricks_with_paths(asker, target, path):
    """A path stays below the session's own root, whatever it looks like, or is refused."""
    answer = asker.ask("PUT", f"/v1/sessions/s/files/{target}", content=b"x")
    assert answer.status in {204, 400, 404, 422}
    listed = asker.get("/v1/sessions/s/files?recursive=true").document["items"]
    files = [item["path"] for item in listed if item["kind"] == "file"]
    if answer.status == 204:
        assert all(found.startswith("/") and "/../" not in found for found in files)
        assert path in (None, *files)
    else:
        assert files == []


def test_a_file_that_is_too_large():
    """The upload limit of the server holds, before the file is anywhere."""
    asker = Asker(storage={"max_upload": 1 << 20}, body_limit_bytes=1024)
    asker.post("/v1/sessions", {"language": "javascript", "name": "s"})
    answer = asker.ask("PUT", "/v1/sessions/s/files/a", content=bytes((1 << 20) + 1))
    assert (answer.status, answer.document["code"]) == (413, "WEB_CONTENT_TOO_LARGE")


def test_the_working_directory(asker):
    """It is where relative paths begin, and has to exist."""
    asker.ask("PUT", "/v1/sessions/s/files/d/a.txt", content=b"x")
    assert asker.ask("PUT", "/v1/sessions/s/cwd", body={"path": "d"}).document == {"path": "/d"}
    assert asker.get("/v1/sessions/s/cwd").document == {"path": "/d"}
    assert run(asker, "print(open('a.txt').read())")["stdout"] == "x\n"
    assert asker.ask("PUT", "/v1/sessions/s/cwd", body={"path": "no"}).status == 404


def test_names(asker):
    """A name is taken once by each tenant, may be taken again when it is free, and is checked."""
    body = {"language": "python", "name": "s"}
    answer = asker.post("/v1/sessions", body)
    assert (answer.status, answer.document["code"]) == (409, "SERVER_NAME_TAKEN")
    other = asker.new_key("session", tenant="other")
    assert asker.post("/v1/sessions", body, key=other).status == 201
    assert asker.ask("DELETE", "/v1/sessions/s").status == 204
    assert asker.get("/v1/sessions/s", key=other).status == 200
    assert asker.post("/v1/sessions", body).status == 201
    for name in ("", "a\nb", "ses-1", "a/b", "x" * 201):
        assert asker.post("/v1/sessions", {**body, "name": name}).status == 422
    assert len(asker.get("/v1/sessions").document["items"]) == 1


def test_how_many():
    """A tenant has so many sessions at most."""
    asker = Asker(session_count_max=1)
    body = {"language": "javascript"}
    assert asker.post("/v1/sessions", body).status == 201
    answer = asker.post("/v1/sessions", body)
    assert (answer.status, answer.document["code"]) == (409, "SERVER_QUOTA")


def test_pages_of_files_and_history(asker):
    """They come whole, or in pages where a limit is given."""
    asker.post("/v1/sessions", {"language": "javascript", "name": "paged"})
    for name in "abc":
        asker.ask("PUT", f"/v1/sessions/paged/files/d/{name}.txt", content=b"1")
    for path, names in (
        ("/v1/sessions/paged/files?path=/d", ["/d/a.txt", "/d/b.txt", "/d/c.txt"]),
        ("/v1/sessions/paged/history?", [1, 2, 3]),
    ):
        whole = asker.get(path).document
        found = [each.get("ordinal") or each["path"] for each in whole["items"]]
        assert (found, whole["next"]) == (names, None)
        first = asker.get(f"{path}&limit=2").document
        assert first["items"] == whole["items"][:2]
        second = asker.get(f"{path}&limit=2&after={first['next']}").document
        assert (second["items"], second["next"]) == (whole["items"][2:], None)
        assert asker.get(f"{path}&after={first['next']}").document == second
        assert asker.get(f"{path}&limit=2&after=nothing").status == 404
    empty = asker.get("/v1/sessions/paged/files?path=/&limit=1").document
    assert [each["path"] for each in empty["items"]] == ["/d"]


def test_time_travel(asker):
    """Forks go their own ways; snapshots and reverts go back."""
    run(asker, "x = 1")
    snapshot = asker.post("/v1/sessions/s/snapshot").document
    fork = asker.post("/v1/sessions/s/fork", {"name": "f"}).document
    run(asker, "x = 2")
    assert run(asker, "print(x)", "f")["stdout"] == "1\n"
    assert fork["operation_count"] == 1
    assert asker.post("/v1/sessions/s/restore", snapshot).document["operation_count"] == 1
    assert run(asker, "print(x)")["stdout"] == "1\n"
    assert asker.post("/v1/sessions/s/revert", {"last": 2}).document["operation_count"] == 0
    history = asker.get("/v1/sessions/f/history").document["items"]
    assert [step["operation"] for step in history] == ["run", "run"]
    for body in ({}, {"last": 1, "to": 1}):
        assert asker.post("/v1/sessions/s/revert", body).status == 422
    assert asker.post("/v1/sessions/s/revert", {"last": 9}).status == 409
    assert asker.post("/v1/sessions/s/restore", {"snapshot": "9:x"}).status == 409


def test_archives(asker):
    """A session leaves as bytes and comes back as another one; changed bytes do not."""
    run(asker, "x = 5")
    archive = asker.get("/v1/sessions/s/export").body
    made = asker.post("/v1/sessions/import?name=t", content=archive)
    assert (made.status, made.document["name"]) == (201, "t")
    assert run(asker, "print(x)", "t")["stdout"] == "5\n"
    changed = archive[:-1] + bytes([archive[-1] ^ 1])
    answer = asker.post("/v1/sessions/import", content=changed)
    assert (answer.status, answer.document["code"]) == (422, "SESSION_ARCHIVE")
    assert len(asker.get("/v1/sessions").document["items"]) == 2


def test_an_archive_with_a_policy():
    """An archive brings no policy into a server that would not have given it."""
    generous = Asker(allow_net=True)
    body = {"language": "javascript", "name": "s", "policy": {"net": {}}}
    assert generous.post("/v1/sessions", body).status == 201
    archive = generous.get("/v1/sessions/s/export").body
    strict = Asker()
    answer = strict.post("/v1/sessions/import", content=archive)
    assert (answer.status, answer.document["code"]) == (403, "SERVER_POLICY")
    assert strict.get("/v1/sessions").document["items"] == []
    assert strict.post("/v1/sessions", body).status == 403


def test_a_run_that_is_put_away(asker):
    """It holds nothing while it waits; what its session is told goes on with it, or gives it up."""
    code = "import cloche\nprint('a', flush=True)\ncloche.sleep(3600)\nprint('b')"
    document = run(asker, code)
    assert (document["status"], document["stdout"]) == ("suspended", "a\n")
    busy = asker.post("/v1/sessions/s/run", {"code": "1"})
    assert (busy.status, busy.document["code"]) == (409, "SESSION_BUSY")
    again = asker.post("/v1/sessions/s/resume").document
    assert (again["id"], again["status"]) == (document["id"], "suspended")
    path = f"/v1/runs/{document['id']}"
    again = asker.post(f"{path}/resume").document
    assert (again["id"], again["status"]) == (document["id"], "suspended")
    again = asker.post(f"{path}/resume", fields=EVENTS)
    assert [name for name, _, _ in again.events][-1] == "end"
    cancelled = asker.post(f"{path}/cancel").document
    assert cancelled["status"] == "cancelled"
    over = asker.post(f"{path}/resume")
    assert (over.status, over.document["message"]) == (
        409,
        f"run {document['id']} is cancelled: only a run that was put away goes on",
    )
    assert asker.post("/v1/sessions/s/resume").status == 409
    assert run(asker, "print(1)")["stdout"] == "1\n"

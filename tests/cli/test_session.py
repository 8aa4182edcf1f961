"""`cloche session` and `cloche runs` as people use them: each command, each wrong input."""

from __future__ import annotations

import json
import signal
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from tests.cli.support import START, cloche, environment

from cloche.cli.runs import app as runs_app
from cloche.cli.session import app as session_app
from cloche.exec.session import Session, sessions_of
from cloche.store.open import open_store

IDENTITY = {"id", "name", "language"}


class Shop:
    """A folder with a store, and the command line working on it."""

    def __init__(self, folder):
        self.folder = folder
        self.store = str(folder / "cloche.db")

    def say(self, *arguments, **options):
        """Run a command."""
        options.setdefault("cwd", self.folder)
        env = {"CLOCHE_STORE": self.store, **options.pop("env", {})}
        return cloche(*arguments, env=env, **options)

    def told(self, *arguments, **options):
        """Run a command that must end well; return what it printed."""
        done = self.say(*arguments, **options)
        assert (done.exit_code, done.stderr) == (0, ""), arguments
        return done.stdout

    def document(self, *arguments, **options):
        """The same with --json; return the object."""
        return json.loads(self.told(*arguments, "--json", **options))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One store for the tests of this file."""
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def box(shop, request):
    """A new session in the shop, by name."""
    name = request.node.name
    shop.told("session", "new", "-l", "js", "--name", name)
    return name


# --- each command ---


def test_new(shop, tmp_path):
    """A session is made with its files, limits and image; nameless ones are told by id."""
    (tmp_path / "lib.py").write_text("def f(): return 42", encoding="utf-8")
    options = ["--language", "py", "--name", "made", "--file", str(tmp_path / "lib.py")]
    options += ["--seed", "7", "--image", "python", "--timeout", "300ms", "--memory", "128MiB"]
    made = shop.document("session", "new", *options)
    assert set(made) == IDENTITY
    assert (made["name"], made["language"]) == ("made", "python")
    assert shop.told("session", "run", "made", "-c", "import lib; print(lib.f())") == "42\n"
    done = shop.say("session", "run", made["id"], "-c", "while True: pass")
    assert (done.exit_code, "300 ms" in done.stderr) == (124, True)
    assert shop.told("session", "new", "-l", "js").startswith("ses-")


def test_mounts(shop, tmp_path):
    """A folder is there from the start or put in place later; nothing comes back to it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    new = ["session", "new", "-l", "py", "--name", "mounting"]
    shop.told(*new, "--mount", f"{folder}:/ro", "--mount", f"{folder}:/over:overlay")
    shop.told("session", "run", "mounting", "-c", "open('/over/a.txt', 'a').write('b')")
    assert shop.told("session", "download", "mounting", "/over/a.txt") == "ab"
    done = shop.say("session", "run", "mounting", "-c", "open('/ro/a.txt', 'a')")
    assert (done.exit_code, "PermissionError" in done.stderr) == (1, True)
    (folder / "a.txt").write_bytes(b"new")
    said = shop.told("session", "mount", "mounting", f"{folder}:/ro")
    assert said == f"{folder} is at /ro\n"
    assert set(shop.document("session", "mount", "mounting", f"{folder}:/ro:ro")) == IDENTITY
    assert shop.told("session", "download", "mounting", "/ro/a.txt") == "new"
    assert (folder / "a.txt").read_bytes() == b"new"
    for wrong in ("nonsense", f"{folder}:relative", f"{folder}/missing:/m"):
        done = shop.say("session", "mount", "mounting", wrong)
        assert (done.exit_code, done.stdout) == (2, "")


def test_list(shop, box):
    """All sessions are listed, more than one page too."""
    rows = shop.document("session", "list")["sessions"]
    (row,) = [row for row in rows if row["name"] == box]
    assert row["language"] == "javascript"
    assert (row["operations"], row["working_dir"], row["status"]) == (0, "/", "idle")
    assert row["created_ns"] <= row["changed_ns"]
    assert box in shop.told("session", "list")
    for options, there in [
        (["--name", f"{box[:6]}*", "--status", "idle", "--newer", "1h"], True),
        (["--older", "1h"], False),
        (["--language", "py"], False),
        (["--status", "running"], False),
    ]:
        rows = shop.document("session", "list", *options)["sessions"]
        assert (box in [row["name"] for row in rows]) is there, options
    for wrong in (["--status", "nonsense"], ["--older", "soon"]):
        assert shop.say("session", "list", *wrong).exit_code == 2
    listed = cloche("session", "list", "--store", "memory:", "--json").document
    assert listed == {"sessions": []}


def test_run(shop, box, tmp_path):
    """A program comes as text, file, input or entrypoint; what it defines stays."""
    assert shop.told("session", "run", box, "-c", "let n = 1; console.log(n)") == "1\n"
    (tmp_path / "next.ts").write_text("n += 1 as number; console.log(n)", encoding="utf-8")
    assert shop.told("session", "run", box, str(tmp_path / "next.ts")) == "2\n"
    assert shop.told("session", "run", box, "-", stdin=b"console.log(++n)") == "3\n"
    (tmp_path / "main.js").write_text("console.log('main', n)", encoding="utf-8")
    shop.told("session", "upload", box, str(tmp_path / "main.js"))
    assert shop.told("session", "run", box, "--entrypoint", "main.js") == "main 3\n"
    code = "console.log(process.argv[2], process.env.K, require('fs').readFileSync(0, 'utf8'))"
    options = ["--arg", "a", "--env", "K=v", "--stdin", "in"]
    assert shop.told("session", "run", box, "-c", code, *options) == "a v in\n"
    done = shop.say("session", "run", box, "-c", "console.error('e'); process.exit(7)")
    assert (done.exit_code, done.stdout, done.stderr) == (7, "", "e\n")


def test_run_in_json(shop, box):
    """One object, as of `cloche run`; the exit code is the program's."""
    done = shop.say("session", "run", box, "-c", "console.log(1); process.exit(3)", "--json")
    assert done.exit_code == 3
    document = done.document
    assert document["result"]["run"]["stdout"] == "1\n"
    assert (document["error"], document["suspended"]) == (None, None)
    done = shop.say("session", "run", box, "-c", "null.x", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.document["error"]["code"] == "RUNTIME_FAILED"
    done = shop.say("session", "run", box, "-c", "for (;;);", "--timeout", "50", "--json")
    assert (done.exit_code, done.document["error"]["code"]) == (124, "TIMEOUT")


def test_failures_are_told_once(shop, box):
    """The guest tells its own errors, the tool tells limits."""
    done = shop.say("session", "run", box, "-c", "throw new TypeError('no')")
    assert (done.exit_code, done.stderr.count("TypeError: no")) == (1, 1)
    assert "cloche:" not in done.stderr
    done = shop.say("session", "run", box, "-c", "for (;;);", "--timeout", "50")
    assert done.exit_code == 124
    assert done.stderr.startswith("cloche: the program ran longer than 50 ms")


def test_files(shop, box, tmp_path):
    """Files go in, are listed, and come back; bytes pass unchanged."""
    (tmp_path / "a.bin").write_bytes(b"\x00\xff\n")
    source = str(tmp_path / "a.bin")
    assert shop.told("session", "upload", box, source) == "a.bin: 3 bytes\n"
    sent = shop.document("session", "upload", box, source, "d/b.bin", "--read-only")
    assert (set(sent), sent["size_bytes"]) == ({*IDENTITY, "size_bytes"}, 3)
    found = shop.document("session", "files", box, "--recursive")["files"]
    assert [(e["path"], e["kind"], e["size_bytes"], e["read_only"]) for e in found] == [
        ("/a.bin", "file", 3, False),
        ("/d", "directory", 0, False),
        ("/d/b.bin", "file", 3, True),
    ]
    table = shop.told("session", "files", box, "d")
    assert "/d/b.bin" in table
    assert "/a.bin" not in table
    assert shop.told("session", "download", box, "d/b.bin", str(tmp_path / "back")) == ""
    assert (tmp_path / "back").read_bytes() == b"\x00\xff\n"
    document = shop.document("session", "download", box, "a.bin")
    assert b64decode(document["content"]) == b"\x00\xff\n"
    to_file = shop.document("session", "download", box, "a.bin", str(tmp_path / "again"))
    assert (to_file["size_bytes"], "content" in to_file) == (3, False)
    raw = subprocess.run(
        [*START, "session", "download", box, "a.bin", "--store", shop.store],
        capture_output=True,
        env=environment(),
        check=True,
    )
    assert raw.stdout == b"\x00\xff\n"


def test_cd(shop, box, tmp_path):
    """Runs and relative paths start there."""
    (tmp_path / "x").write_text("in", encoding="utf-8")
    shop.told("session", "upload", box, str(tmp_path / "x"), "d/e/x")
    assert shop.told("session", "cd", box, "d") == "/d\n"
    assert shop.document("session", "cd", box, "e")["working_dir"] == "/d/e"
    assert shop.told("session", "run", box, "-c", "console.log(process.cwd())") == "/d/e\n"
    assert shop.told("session", "download", box, "x") == "in"


def test_time_travel(shop, box):
    """Fork, snapshot, restore, revert and history are about the same states."""
    shop.told("session", "run", box, "-c", "let n = 1")
    kept = shop.told("session", "snapshot", box).strip()
    assert shop.document("session", "snapshot", box)["snapshot"] == kept
    shop.told("session", "run", box, "-c", "n = 2")
    assert shop.told("session", "fork", box, "--name", "forked") == "forked\n"
    forked = shop.document("session", "fork", box)
    assert forked["name"] is None
    steps = shop.document("session", "history", box)["steps"]
    assert [step["operation"]["type"] for step in steps] == ["run", "run"]
    assert kept == f"1:{steps[0]['state']}"
    assert steps[1]["state"][:12] in shop.told("session", "history", "forked")
    assert shop.told("session", "revert", box) == f"{box} has 1 operations\n"
    assert shop.told("session", "run", box, "-c", "console.log(n)") == "1\n"
    assert shop.told("session", "restore", box, kept) == f"{box} is at {kept}\n"
    assert shop.document("session", "restore", box, kept)["snapshot"] == kept
    assert shop.document("session", "revert", box, "--to", "0")["operations"] == 0
    assert shop.told("session", "run", "forked", "-c", "console.log(n)") == "2\n"


def test_export_and_import(shop, box, tmp_path):
    """A session travels as one file, which is never overwritten."""
    shop.told("session", "run", box, "-c", "let n = 5")
    target = str(tmp_path / "a.session")
    assert shop.told("session", "export", box, target).startswith(target)
    size = (tmp_path / "a.session").stat().st_size
    again = shop.document("session", "export", box, str(tmp_path / "b.session"))
    assert again["size_bytes"] == (tmp_path / "b.session").stat().st_size
    done = shop.say("session", "export", box, target)
    assert (done.exit_code, done.stderr) == (2, f"cloche: cannot write {target}: File exists\n")
    assert (tmp_path / "a.session").stat().st_size == size
    other = ["--store", str(tmp_path / "other.db")]
    assert shop.told("session", "import", target, "--name", "moved", *other) == "moved\n"
    assert set(shop.document("session", "import", target, *other)) == IDENTITY
    assert shop.told("session", "run", "moved", "-c", "console.log(n)", *other) == "5\n"


def test_close_and_rm(shop, box):
    """Closing keeps it; removing does not."""
    shop.told("session", "run", box, "-c", "let n = 5")
    assert shop.told("session", "close", box) == f"{box} is kept\n"
    assert set(shop.document("session", "close", box)) == IDENTITY
    assert shop.told("session", "run", box, "-c", "console.log(n)") == "5\n"
    assert shop.told("session", "rm", box) == f"{box} is gone\n"
    assert shop.say("session", "rm", box).exit_code == 2
    shop.told("session", "new", "-l", "js", "--name", box)
    assert shop.document("session", "rm", box)["name"] == box


WAIT = """
const id = await cloche.promise.create();
console.log(id);
console.log(await cloche.promise.get(id));
"""


def test_a_run_that_waits(shop, box):
    """It is put away, can be resumed once its promise has a value, and says so each time."""
    env = {"CLOCHE_SESSIONS_SUSPEND_AFTER_MS": "20"}
    done = shop.say("session", "run", box, "-c", WAIT, env=env)
    assert done.exit_code == 75
    assert done.stderr == (
        "cloche: the run waits for something and is put away; go on with "
        f"`cloche session resume {box}`\n"
    )
    promise = done.stdout.strip()
    done = shop.say("session", "run", box, "-c", "1")
    assert (done.exit_code, "put away" in done.stderr) == (2, True)
    again = shop.say("session", "resume", box, "--json", env=env)
    assert (again.exit_code, again.document["error"]["code"]) == (75, "RUN_SUSPENDED")
    assert shop.document("session", "promise", promise, '{"a":1}')["completed"] is True
    late = shop.told("session", "promise", promise, "2")
    assert late == "it had a value already; that one stays\n"
    assert shop.told("session", "resume", box) == f"{promise}\n{{ a: 1 }}\n"
    done = shop.say("session", "resume", box)
    assert (done.exit_code, "has no run that was put away" in done.stderr) == (2, True)

    second = shop.say("session", "run", box, "-c", WAIT, "--json", env=env)
    assert (second.exit_code, second.document["suspended"]) == (75, {"due_ns": None})
    promise = second.document["result"]["run"]["stdout"].strip()
    assert shop.told("session", "promise", promise) == "completed\n"
    resumed = shop.document("session", "resume", box)
    assert resumed["stdout"] == f"{promise}\nnull\n"
    assert resumed["run_id"] == second.document["run_id"]


# --- runs ---


def test_runs(shop, box):
    """Runs are listed newest first, of all sessions or of one, and shown with their output."""
    shop.told("session", "run", box, "-c", "console.log('first')")
    shop.say("session", "run", box, "-c", "throw 1")
    listed = shop.document("runs", "list", "--session", box)["runs"]
    assert [run["status"] for run in listed] == ["failed", "completed"]
    assert len(shop.document("runs", "list", "--limit", "1")["runs"]) == 1
    table = shop.told("runs", "list", "--session", box)
    assert listed[0]["id"] in table
    shown = shop.document("runs", "show", listed[1]["id"])
    assert shown["result"]["stdout"] == "first\n"
    assert shown["session_id"] == listed[1]["session_id"]
    assert "first" in shop.told("runs", "show", listed[1]["id"])
    assert shop.told("runs", "cancel", listed[1]["id"]) == f"{listed[1]['id']} is completed\n"


def test_cancelling_a_run_that_was_put_away(shop, box):
    """The session is free again, as it was before the run."""
    env = {"CLOCHE_SESSIONS_SUSPEND_AFTER_MS": "20"}
    assert shop.say("session", "run", box, "-c", WAIT, env=env).exit_code == 75
    (run,) = shop.document("runs", "list", "--session", box)["runs"]
    assert shop.document("runs", "cancel", run["id"])["status"] == "cancelled"
    assert shop.told("session", "run", box, "-c", "console.log(1)") == "1\n"


def test_waking_what_is_due(shop, box):
    """Runs whose time has come go on; the others are left alone."""
    env = {"CLOCHE_SESSIONS_SUSPEND_AFTER_MS": "20"}
    code = "await cloche.sleep(5); console.log('up')"
    assert shop.say("session", "run", box, "-c", code, env=env).exit_code == 75
    woken = []
    while not woken:
        woken = shop.document("runs", "wake")["woken"]
    (run,) = shop.document("runs", "list", "--session", box)["runs"]
    assert woken == [{"run_id": run["id"], "outcome": "completed"}]
    assert run["result"]["stdout"] == "up\n"
    assert "Woken" in shop.told("runs", "wake")


# --- wrong input ---


def wrong(shop, *arguments):
    """Check that a command is refused; return the error."""
    done = shop.say(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (2, "")
    return done.document["error"]


def test_errors_are_told_in_words(shop, standing):
    """Without --json the message of the same error stands on stderr, and nothing on stdout."""
    for arguments in (
        ["session", "fork", standing, "--name", standing],
        ["session", "run", "nobody", "-c", "1"],
        ["runs", "show", "nothing"],
    ):
        error = wrong(shop, *arguments)
        plain = shop.say(*arguments)
        assert (plain.exit_code, plain.stdout) == (2, "")
        assert plain.stderr == f"cloche: {error['message']}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["session", "run", "nobody", "-c", "1"],
        ["session", "resume", "nobody"],
        ["session", "upload", "nobody", "/dev/null"],
        ["session", "download", "nobody", "x"],
        ["session", "files", "nobody"],
        ["session", "cd", "nobody", "/"],
        ["session", "fork", "nobody"],
        ["session", "snapshot", "nobody"],
        ["session", "restore", "nobody", "0:0"],
        ["session", "revert", "nobody"],
        ["session", "history", "nobody"],
        ["session", "export", "nobody", "x"],
        ["session", "close", "nobody"],
        ["session", "rm", "nobody"],
        ["runs", "list", "--session", "nobody"],
    ],
    ids=lambda arguments: arguments[1],
)
def test_unknown_session(shop, arguments):
    """Each command says that there is none, and makes nothing."""
    assert wrong(shop, *arguments)["code"] == "SESSION_NOT_FOUND"
    assert not (shop.folder / "x").exists()


def test_the_prompt_of_an_unknown_session(shop):
    """The same for the command that has no --json."""
    done = shop.say("session", "repl", "nobody")
    message = "cloche: there is no session 'nobody'; `cloche session list` shows all\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_unknown_run(shop, command):
    """Each says that there is none."""
    assert wrong(shop, "runs", command, "nothing")["code"] == "RUN_NOT_FOUND"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["new", "-l", "cobol"], "UNSUPPORTED_LANGUAGE", "'cobol'"),
        (["new", "-l", "js", "--image", "python"], "INVALID_RUN", "does not run js"),
        (["new", "-l", "js", "--image", "what"], "IMAGE_UNKNOWN", "'what'"),
        (["new", "-l", "js", "--name", "ses-1"], "INVALID_RUN", "cannot start with 'ses-'"),
        (["new", "-l", "js", "--name", "a\nb"], "INVALID_RUN", "is no name"),
        (["new", "-l", "js", "--name", "BOX"], "SESSION_EXISTS", "BOX"),
        (["new", "-l", "js", "--file", "/none"], "INVALID_RUN", "cannot read /none"),
        (["new", "-l", "js", "--timeout", "soon"], None, "soon"),
        (["new", "-l", "js", "--seed", "-1"], "INVALID_RUN", "seed"),
        (["run", "BOX"], "INVALID_RUN", "there is no program"),
        (["run", "BOX", "/none.js"], "INVALID_RUN", "cannot read /none.js"),
        (["run", "BOX", "-c", "1", "--entrypoint", "a"], "INVALID_RUN", "not both"),
        (["run", "BOX", "--entrypoint", "a.js"], "FILE_ACCESS", "/a.js"),
        (["run", "BOX", "-c", "1", "--env", "x"], "INVALID_RUN", "x"),
        (["fork", "BOX", "--name", "BOX"], "SESSION_EXISTS", "BOX"),
        (["upload", "BOX", "/none"], "INVALID_RUN", "cannot read /none"),
        (["upload", "BOX", "/dev/zero"], "INVALID_RUN", "more than 33554432 bytes"),
        (["upload", "BOX", "/dev/null", "/"], "FILE_ACCESS", "directory"),
        (["download", "BOX", "none"], "FILE_ACCESS", "no such file"),
        (["download", "BOX", "/"], "FILE_ACCESS", "directory"),
        (["files", "BOX", "none"], "FILE_ACCESS", "no such file"),
        (["cd", "BOX", "none"], "FILE_ACCESS", "no such file"),
        (["restore", "BOX", "words"], "SESSION_ERROR", "'words' is no snapshot"),
        (["restore", "BOX", "0:0"], "SESSION_ERROR", "'0:0' is no snapshot"),
        (["revert", "BOX", "--last", "9"], "SESSION_ERROR", "has no operations to undo"),
        (["revert", "BOX", "--to", "9"], "SESSION_ERROR", "has no operations; 9 is none of them"),
        (["revert", "BOX", "--to", "0", "--last", "1"], "SESSION_ERROR", "either"),
        (["export", "BOX", "/none/x"], "INVALID_RUN", "cannot write /none/x"),
        (["import", "/none"], "INVALID_RUN", "cannot read /none"),
        (["import", "/dev/null"], "SESSION_ARCHIVE", "no exported session"),
        (["promise", "prm-none"], "STORE_UNKNOWN", "prm-none"),
        (["promise", "prm-none", "{"], "INVALID_RUN", "is no JSON"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_input(shop, standing, arguments, code, words):
    """One message that says what is wrong, and exit code 2."""
    given = [word.replace("BOX", standing) for word in arguments]
    error = wrong(shop, "session", *given)
    assert code is None or error["code"] == code
    assert words.replace("BOX", standing) in error["message"]


@pytest.fixture(scope="module")
def standing(shop):
    """A session that nothing happens to."""
    shop.told("session", "new", "-l", "js", "--name", "standing")
    return "standing"


@pytest.mark.parametrize("change", ["cut", "changed", "another key"])
def test_bad_archives(shop, standing, tmp_path, change):
    """A file that is not what was exported here is refused, and nothing is imported."""
    target = tmp_path / "x.session"
    shop.told("session", "export", standing, str(target))
    data = bytearray(target.read_bytes())
    env = {}
    if change == "cut":
        del data[-5:]
    elif change == "changed":
        data[50] ^= 1
    else:
        (tmp_path / "key").write_bytes(bytes(range(32)))
        (tmp_path / "key").chmod(0o600)
        env = {"CLOCHE_KEY_FILE": str(tmp_path / "key")}
    target.write_bytes(data)
    count = len(shop.document("session", "list")["sessions"])
    done = shop.say("session", "import", str(target), "--json", env=env)
    assert (done.exit_code, done.document["error"]["code"]) == (2, "SESSION_ARCHIVE")
    assert "signature does not match" in done.document["error"]["message"]
    assert len(shop.document("session", "list")["sessions"]) == count


def test_unreadable_stores(shop, tmp_path):
    """A folder or a foreign file is no store; the error says so."""
    (tmp_path / "words.db").write_text("words " * 1000, encoding="utf-8")
    for url in (str(tmp_path), str(tmp_path / "words.db"), "ftp://x"):
        done = shop.say("session", "list", "--store", url, "--json")
        assert done.exit_code != 0
        assert done.document["error"]["code"].startswith("STORE_")


def test_busy(shop, box):
    """While another process works in a session, commands are refused and may be repeated."""
    with subprocess.Popen(
        [*START, "session", "run", box, "-c", "console.log('in'); for (;;);", "--timeout", "600s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(CLOCHE_STORE=shop.store),
    ) as process:
        assert process.stdout.readline() == b"in\n"
        for command in (["run", box, "-c", "1"], ["files", box], ["rm", box]):
            error = wrong(shop, "session", *command)
            assert (error["code"], error["retryable"]) == ("SESSION_BUSY", True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert shop.told("session", "run", box, "-c", "console.log('free')") == "free\n"
    statuses = [run["status"] for run in shop.document("runs", "list", "--session", box)["runs"]]
    assert statuses == ["completed", "cancelled"]


def test_the_store_is_the_one_of_python(shop, box):
    """What the command line made is there for a program, and the other way."""
    shop.told("session", "run", box, "-c", "let n = 1")
    store = open_store(shop.store)
    try:
        with Session.open(box, store=store) as session:
            assert session.run("console.log(++n)").run.stdout == "2\n"
    finally:
        sessions_of(store).close()
        store.close()
    assert shop.told("session", "run", box, "-c", "console.log(n)") == "2\n"


def test_every_command_is_tried():
    """The tests of this file name each command of both groups."""
    source = Path(__file__).read_text(encoding="utf-8")
    for group, app in (("session", session_app), ("runs", runs_app)):
        for command in app.registered_commands:
            assert f'"{group}", "{command.name}"' in source, (group, command.name)

"""Tests of sessions: the matrix of golem:exec for both languages, and time travel."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

import cloche
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.async_session import AsyncSession
from cloche.exec.errors import (
    ArchiveError,
    CompilationFailedError,
    FileAccessError,
    InvalidFileError,
    InvalidRunError,
    ResourceExceededError,
    RuntimeFailedError,
    SessionBusyError,
    SessionClosedError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    TimeoutExceededError,
    UnsupportedLanguageError,
)
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import Encoding, File, Finished, StdoutChunk
from cloche.exec.types import Limits as RunLimits
from cloche.gate.errors import DivergenceError
from cloche.gate.policy import Policy
from cloche.store.open import open_store

LANGUAGES = ("javascript", "python")

# What each test says in both languages.
SAY = {
    "set": {
        "javascript": "let x = [1]; const f = () => x;",
        "python": "x = [1]\ndef f(): return x",
    },
    "push": {
        "javascript": "x.push(2); console.log(f().length)",
        "python": "x.append(2); print(len(f()))",
    },
    "count": {"javascript": "console.log(f().length)", "python": "print(len(f()))"},
    "loop": {"javascript": "x.push(9); for (;;) {}", "python": "x.append(9)\nwhile True: pass"},
    "throw": {
        "javascript": "x.push(3); console.log('so far'); throw new Error('no')",
        "python": "x.append(3); print('so far'); raise ValueError('no')",
    },
    "syntax": {"javascript": "let = ;", "python": "def f(:"},
    "exit": {
        "javascript": "x.push(4); process.exit(3)",
        "python": "x.append(4); import sys; sys.exit(3)",
    },
    "read": {
        "javascript": "console.log(require('fs').readFileSync('a.txt', 'utf8'))",
        "python": "print(open('a.txt').read())",
    },
    "write": {
        "javascript": "require('fs').writeFileSync('out.bin', Buffer.from([0, 255, 10]))",
        "python": "open('out.bin', 'wb').write(bytes([0, 255, 10]))",
    },
    "overwrite": {
        "javascript": "require('fs').writeFileSync('a.txt', 'mine')",
        "python": "open('a.txt', 'w').write('mine')",
    },
    "memory": {
        "javascript": "globalThis.big = []; for (;;) big.push(new Uint8Array(1 << 20).fill(1))",
        "python": "big = []\nwhile True: big.append(bytearray(1 << 20))",
    },
    "args": {
        "javascript": "console.log(process.argv.slice(2).join(), process.env.K)",
        "python": "import sys, os; print(','.join(sys.argv[1:]), os.environ.get('K'))",
    },
    "stdin": {
        "javascript": "console.log(require('fs').readFileSync(0, 'utf8'))",
        "python": "import sys; print(sys.stdin.read())",
    },
    "random": {
        "javascript": "console.log(Math.random(), crypto.randomUUID())",
        "python": "import random, uuid; print(random.random(), uuid.uuid4())",
    },
}


# What touches the store is tested on each kind that lasts.
both_stores = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="module")
def store(request, tmp_path_factory):
    """One store for the tests of this file: SQLite, where a test does not want both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        url = str(tmp_path_factory.mktemp("store") / "cloche.db")
    else:
        url = request.getfixturevalue("server").new_url()
    opened = open_store(url, durability="normal")
    yield opened
    sessions_of(opened).close()
    opened.close()


@pytest.fixture(params=LANGUAGES)
def session(request, store):
    """A fresh session in each language."""
    with Session.create(request.param, store=store) as made:
        yield made


def say(session, name, **options):
    """Run one of the programs; return what it printed."""
    return session.run(SAY[name][session.language], **options).run.stdout


def asleep(session, *, snapshot=True):
    """Put a session to sleep, so that what comes next wakes it: from a snapshot, if one is kept."""
    if snapshot:
        session.snapshot()
    sessions_of(session._sessions.store).sleep(session.id)


# --- state ---


@both_stores
def test_variables_persist(session):
    """What one run defines is there in the next, functions and closures too."""
    say(session, "set")
    assert say(session, "push") == "2\n"
    assert say(session, "push") == "3\n"


@both_stores
def test_state_survives_sleep(session):
    """A session that was put to sleep wakes as it was."""
    say(session, "set")
    say(session, "push")
    asleep(session)
    assert say(session, "push") == "3\n"


@both_stores
def test_state_survives_without_a_snapshot(session, monkeypatch):
    """Where no snapshot could be taken the operations are repeated."""
    say(session, "set")
    say(session, "push")
    sessions = session._sessions
    with sessions.turn(session.id) as live:
        sessions.drop(live)
    assert say(session, "push") == "3\n"


@both_stores
def test_a_short_past_is_repeated_and_a_long_one_kept(session, monkeypatch):
    """What is repeated in less time than a snapshot takes costs none when the session sleeps."""
    store = session._sessions.store
    monkeypatch.setattr("cloche.exec.session_log.SNAPSHOT_BASE_MS", 1e9)
    say(session, "set")
    say(session, "push")
    asleep(session, snapshot=False)
    assert store.sessions.snapshots(session.id) == []
    assert say(session, "push") == "3\n"
    monkeypatch.setattr("cloche.exec.session_log.SNAPSHOT_BASE_MS", 2.5)
    asleep(session, snapshot=False)
    (kept,) = store.sessions.snapshots(session.id)
    assert kept.ordinal == 3
    monkeypatch.setattr("cloche.exec.session_log.SNAPSHOT_BASE_MS", 1e9)
    assert say(session, "push") == "4\n"
    asleep(session, snapshot=False)
    assert store.sessions.snapshots(session.id) == [kept]
    assert say(session, "push") == "5\n"


@both_stores
def test_state_survives_the_process(store, tmp_path):
    """Another process opens the session by name and goes on."""
    with Session.create("python", name="across", store=store) as made:
        made.run("import collections\nd = collections.OrderedDict(a=1)")
        asleep(made)
        program = (
            "from cloche.exec.session import Session\n"
            "from cloche.store.open import open_store\n"
            f"session = Session.open('across', store=open_store({store.url!r}))\n"
            "print(session.run('d[\"b\"] = 2; print(d)').run.stdout, end='')\n"
            "session.close()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout == "OrderedDict({'a': 1, 'b': 2})\n"
        assert made.run("print(len(d))").run.stdout == "2\n"


@both_stores
def test_an_error_keeps_what_was_done(session):
    """A program that fails leaves what it did before, and its output."""
    say(session, "set")
    with pytest.raises(RuntimeFailedError) as caught:
        say(session, "throw")
    assert caught.value.result.run.stdout == "so far\n"
    assert say(session, "count") == "2\n"


@both_stores
def test_a_stopped_run_changes_nothing(session):
    """After a limit the session is as it was before the run."""
    say(session, "set")
    with pytest.raises(TimeoutExceededError):
        say(session, "loop", limits=RunLimits(time_ms=150))
    assert say(session, "count") == "1\n"
    assert [step.ordinal for step in session.history()] == [1, 2]


def test_a_cancelled_run_says_so(session):
    """It is cancelled in its result and in its row, and the session is as it was."""
    say(session, "set")
    cancel = CancelToken()
    cancel.cancel()
    done = session.execute(SAY["loop"][session.language], cancel=cancel)
    assert done.error.fields["reason"] == "cancelled"
    assert session._sessions.store.runs.get(done.run_id).status == "cancelled"
    assert say(session, "count") == "1\n"


def test_running_out_of_memory_changes_nothing(session):
    """The same for memory, and the limit does not stick."""
    say(session, "set")
    with pytest.raises(ResourceExceededError):
        say(session, "memory", limits=RunLimits(memory_bytes=64 << 20, time_ms=20_000))
    assert say(session, "count") == "1\n"


@both_stores
def test_exit_keeps_the_state(session):
    """Leaving a program with a code is no failure of the session."""
    say(session, "set")
    assert session.run(SAY["exit"][session.language]).run.exit_code == 3
    assert say(session, "count") == "2\n"


@both_stores
def test_a_syntax_error_changes_nothing(session):
    """Nothing of it ran."""
    say(session, "set")
    with pytest.raises(CompilationFailedError):
        say(session, "syntax")
    assert say(session, "count") == "1\n"


def test_arguments_environment_and_input_belong_to_a_run(session):
    """Each run has its own."""
    assert say(session, "args", args=["a", "b"], env={"K": "v"}) == "a,b v\n"
    assert say(session, "args").split()[-1] in ("undefined", "None")
    assert say(session, "stdin", stdin="one") == "one\n"
    assert say(session, "stdin", stdin="two") == "two\n"


@both_stores
def test_randomness(store):
    """Two sessions differ, equal seeds are equal, and each run has new numbers."""
    for language in LANGUAGES:
        options = {"store": store, "now_ns": 10**18}
        with (
            Session.create(language, seed=1, **options) as one,
            Session.create(language, seed=1, **options) as same,
            Session.create(language, seed=2, **options) as other,
        ):
            first = say(one, "random")
            assert say(same, "random") == first
            assert say(other, "random") != first
            assert say(one, "random") != first


@both_stores
@pytest.mark.parametrize(
    ("language", "first", "second", "output"),
    [
        ("javascript", "import { sep } from 'node:path'", "console.log(sep)", "/\n"),
        ("javascript", "const a = 1", "const a = 2; console.log(a)", "2\n"),
        ("javascript", "class A {}", "let A = 3; console.log(A)", "3\n"),
        ("javascript", "var v = 1; let w = 1", "let v = 2; var w = 2; console.log(v, w)", "2 2\n"),
        (
            "javascript",
            "let done; const p = new Promise((r) => { done = r })",
            "p.then((v) => console.log('later', v)); done(5)",
            "later 5\n",
        ),
        (
            "javascript",
            "const v = await new Promise((r) => setTimeout(r, 9, 7))",
            "console.log(v)",
            "7\n",
        ),
        ("javascript", "function* g() { yield 1; yield 2 } const i = g(); i.next()",
         "console.log(i.next().value)", "2\n"),
        ("python", "import math as m", "print(m.pi > 3)", "True\n"),
        ("python", "class A:\n  n = 1\na = A()", "a.n += 1; print(a.n, A.n)", "2 1\n"),
        ("python", "f = open('t', 'w+'); f.write('abc'); f.seek(1)", "print(f.read())", "bc\n"),
        ("python", "def g():\n  yield 1\n  yield 2\ni = g(); next(i)", "print(next(i))", "2\n"),
        ("python", "import asyncio\nv = await asyncio.sleep(1, 7)", "print(v)", "7\n"),
        ("python", "import numpy as np; a = np.arange(3)", "print(a.sum())", "3\n"),
    ],
)  # fmt: skip
def test_what_lives_on(store, language, first, second, output):
    """Imports, classes, generators, promises, open files, arrays: asleep in between."""
    with Session.create(language, store=store) as session:
        session.run(first)
        asleep(session)
        assert session.run(second).run.stdout == output


@both_stores
def test_modules_and_entrypoints(store):
    """Modules are there from the start; a file can be run by name."""
    modules = {
        "javascript": [File(name="lib/m.mjs", content=b"export const f = (n) => n * 2")],
        "python": [File(name="lib/__init__.py", content=b"def f(n): return n * 2")],
    }
    programs = {
        "javascript": "import { f } from 'lib/m.mjs'; console.log(f(21))",
        "python": "from lib import f; print(f(21))",
    }
    for language in LANGUAGES:
        with Session.create(language, modules=modules[language], store=store) as session:
            assert session.run(programs[language]).run.stdout == "42\n"
            name = {"javascript": "main.js", "python": "main.py"}[language]
            session.write_file(name, programs[language].encode())
            assert session.run(entrypoint=name).run.stdout == "42\n"


def test_typescript(store):
    """Types are stripped from each snippet."""
    with Session.create("typescript", store=store) as session:
        session.run("interface P { n: number }\nlet p: P = { n: 1 };")
        assert session.run("const q: P = p; console.log(q.n as number)").run.stdout == "1\n"


# --- files ---


@both_stores
def test_upload_run_download(session):
    """Files go in and out; what a program made is there too."""
    session.upload(File(name="a.txt", content="héllo".encode()))
    assert say(session, "read") == "héllo\n"
    say(session, "write")
    assert session.download("out.bin") == bytes([0, 255, 10])
    asleep(session)
    assert session.download("/out.bin") == bytes([0, 255, 10])


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"aGk=", Encoding.BASE64),
        (b"6869", Encoding.HEX),
        (b"hi", Encoding.UTF8),
        (b"hi", None),
    ],
)
def test_encodings(session, content, encoding):
    """A content may be written down in three ways."""
    session.upload(File(name="a.txt", content=content, encoding=encoding))
    assert session.download("a.txt") == b"hi"


def test_wrong_encoding_changes_nothing(session):
    """It is refused before anything is put in place."""
    with pytest.raises(InvalidFileError, match=r"'a.txt' is not valid hex"):
        session.upload(File(name="a.txt", content=b"xyz", encoding=Encoding.HEX))
    assert session.list_files() == []


@both_stores
def test_listing(session):
    """Sorted, with kinds and sizes; files of the caller and of the program alike."""
    session.upload(File(name="b/é.txt", content=b"123"))
    session.upload(File(name="a.txt", content=b""))
    say(session, "write")
    found = [(e.path, e.kind, e.size_bytes) for e in session.list_files(recursive=True)]
    assert found == [
        ("/a.txt", "file", 0),
        ("/b", "directory", 0),
        ("/b/é.txt", "file", 3),
        ("/out.bin", "file", 3),
    ]
    assert [entry.path for entry in session.list_files("b")] == ["/b/é.txt"]


@both_stores
def test_read_only_files(session):
    """A program cannot write one, the caller can replace it."""
    session.upload(File(name="a.txt", content=b"theirs"), read_only=True)
    with pytest.raises(RuntimeFailedError, match=r"(?i)not permitted|permission|EPERM"):
        say(session, "overwrite")
    assert session.download("a.txt") == b"theirs"
    session.upload(File(name="a.txt", content=b"new"))
    say(session, "overwrite")
    assert session.download("a.txt") == b"mine"


@both_stores
def test_working_directory(session):
    """Runs start there, relative paths mean below it, before the first run too."""
    session.upload(File(name="d/a.txt", content=b"inside"))
    session.set_working_dir("d")
    assert session.working_dir == "/d"
    assert say(session, "read") == "inside\n"
    assert [entry.path for entry in session.list_files()] == ["/d/a.txt"]
    asleep(session)
    assert say(session, "read") == "inside\n"
    with pytest.raises(FileAccessError, match="no such file"):
        session.set_working_dir("nowhere")
    assert session.working_dir == "/d"


@pytest.mark.parametrize("path", ["../../etc/passwd", "/../../etc/passwd", "a/../../../b", "..\\x"])
def test_no_path_leaves_the_root(session, path):
    """Dots end at the root: what was named so is inside."""
    session.upload(File(name=path, content=b"here"))
    assert session.download(path) == b"here"
    assert all(entry.path.startswith("/") for entry in session.list_files(recursive=True))


@pytest.mark.parametrize("path", ["", "a\0b", "/"])
def test_what_is_no_file_name(session, path):
    """It is refused with an error that says why."""
    with pytest.raises((InvalidRunError, FileAccessError)):
        session.upload(File(name=path, content=b""))


def test_symbolic_links_stay_inside(session):
    """A link to the host's files leads to the session's own root."""
    link = {
        "javascript": "require('fs').symlinkSync('/etc/passwd', 'l')",
        "python": "import os; os.symlink('/etc/passwd', 'l')",
    }
    session.run(link[session.language])
    with pytest.raises(FileAccessError, match="no such file"):
        session.download("l")


def test_quota_of_files(session):
    """An upload that does not fit changes nothing."""
    session.upload(File(name="a.txt", content=b"old"))
    with pytest.raises(FileAccessError, match="file_limit_bytes"):
        session.write_file("a.txt", bytes(33 << 20))
    assert session.download("a.txt") == b"old"


@both_stores
def test_removing(session):
    """A file is gone, in the next run and after waking."""
    session.upload(File(name="a.txt", content=b"x"))
    session.remove("a.txt")
    asleep(session)
    assert session.list_files() == []
    with pytest.raises(FileAccessError, match="no such file"):
        session.remove("a.txt")


# --- one at a time ---


@both_stores
def test_a_second_run_waits(session):
    """Two threads take turns; both are done."""
    say(session, "set")
    outputs = []
    threads = [
        threading.Thread(target=lambda: outputs.append(say(session, "push"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == ["2\n", "3\n", "4\n", "5\n"]


def test_a_second_run_is_refused_if_it_will_not_wait(session):
    """The error is retryable, and nothing happened."""
    entered, leave = threading.Event(), threading.Event()

    def tool():
        entered.set()
        leave.wait(30)

    program = {"javascript": "await tools.hold({})", "python": "tools.hold()"}[session.language]
    thread = threading.Thread(target=lambda: session.run(program, tools={"hold": tool}))
    thread.start()
    entered.wait(30)
    with pytest.raises(SessionBusyError) as caught:
        say(session, "count", wait=False)
    assert caught.value.retryable
    leave.set()
    thread.join()


@both_stores
def test_who_is_on_the_way_to_a_session_finds_it(session):
    """A session that is put to sleep under somebody is not forgotten: two would work in it."""
    session.run("1")
    sessions = session._sessions
    live = sessions._entry(session.id)
    asleep(session)
    with sessions.turn(session.id) as again:
        assert again is live
    sessions._leave(live)
    asleep(session, snapshot=False)
    with sessions.turn(session.id) as again:
        assert again is not live


def test_what_is_no_session_is_not_remembered(tmp_path):
    """Asking for it leaves nothing behind."""
    store = open_store(tmp_path / "cloche.db", durability="normal")
    sessions = sessions_of(store)
    with pytest.raises(SessionNotFoundError), sessions.turn("ses-absent"):
        pass
    assert not sessions._live
    sessions.close()
    store.close()


def test_another_process_moved_it_to_another_image(tmp_path):
    """Whoever comes back to it goes on on that image, with what it was made with by now."""
    ours, theirs = (open_store(tmp_path / "cloche.db", durability="normal") for _ in range(2))
    with Session.create("python", store=ours) as session:
        session.run("x = 1")
        hour_ns = 3600 * 10**9
        sessions_of(theirs).now_ns = lambda: time.time_ns() + hour_ns  # our lease is over
        with Session.open(session.id, store=theirs) as moved:
            moved.update("python+numpy")
        sessions_of(ours).now_ns = lambda: time.time_ns() + 2 * hour_ns
        assert session.run("import numpy; print(numpy.array([x]))").run.stdout == "[1]\n"
    for store in (ours, theirs):
        sessions_of(store).close()
        store.close()


@both_stores
def test_another_process_holds_it(store):
    """A lease that is not over keeps others out; released, it lets them in."""
    with Session.create("javascript", store=store) as session:
        session.run("let x = 1")
        asleep(session)
        now_ns = session._sessions.now_ns()
        lease = store.leases.acquire(
            session.id, owner="somebody", now_ns=now_ns, until_ns=now_ns + 10**12
        ).lease
        with pytest.raises(SessionBusyError, match="another process"):
            session.run("x")
        store.leases.release(lease)
        assert session.run("console.log(x)").run.stdout == "1\n"


@both_stores
def test_sessions_do_not_see_each_other(store):
    """Neither variables nor files."""
    with (
        Session.create("python", store=store) as one,
        Session.create("python", store=store) as other,
    ):
        one.run("secret = 1; open('s.txt', 'w').write('x')")
        assert other.list_files() == []
        with pytest.raises(RuntimeFailedError, match="NameError"):
            other.run("secret")


# --- time travel ---


@both_stores
def test_fork(session):
    """Two sessions go on from the same point, each its own way."""
    say(session, "set")
    session.upload(File(name="a.txt", content=b"shared"))
    with session.fork() as forked:
        assert say(forked, "push") == "2\n"
        assert say(forked, "push") == "3\n"
        assert say(session, "push") == "2\n"
        forked.upload(File(name="a.txt", content=b"mine"))
        assert session.download("a.txt") == b"shared"
        assert [s.state for s in forked.history()][:2] == [s.state for s in session.history()][:2]


@both_stores
def test_revert(session):
    """The last runs are undone with all they did."""
    say(session, "set")
    say(session, "push")
    say(session, "write")
    session.revert(last=2)
    assert say(session, "count") == "1\n"
    assert session.list_files() == []
    session.revert(to=0)
    assert session.history() == []
    with pytest.raises(RuntimeFailedError):
        say(session, "count")


@both_stores
def test_revert_too_far(session):
    """There are not so many runs; nothing changed."""
    say(session, "set")
    for wrong in ({"last": 2}, {"last": 0}, {"to": 5}, {"to": -1}, {}, {"last": 1, "to": 1}):
        with pytest.raises(SessionError):
            session.revert(**wrong)
    assert say(session, "count") == "1\n"


@both_stores
def test_snapshot_and_restore(session):
    """Back to a state that was kept, as often as one likes."""
    say(session, "set")
    kept = session.snapshot()
    for _ in range(2):
        assert say(session, "push") == "2\n"
        session.restore(kept)
    assert say(session, "count") == "1\n"
    with pytest.raises(SessionError, match="no snapshot"):
        session.restore("1:" + "0" * 64)
    with pytest.raises(SessionError, match="no snapshot"):
        session.restore("nonsense")


@both_stores
def test_export_and_import(session, store):
    """One file holds everything: state, files, history; any changed byte is found."""
    say(session, "set")
    session.upload(File(name="a.txt", content=b"carried"))
    archive = session.export()
    with Session.import_(archive, name=f"copy-{session.language}", store=store) as copy:
        assert say(copy, "push") == "2\n"
        assert copy.download("a.txt") == b"carried"
        assert [s.state for s in copy.history()][:2] == [s.state for s in session.history()]
        copy.revert(to=1)
        assert copy.list_files() == []
    for index in (0, 4, 10, len(archive) // 2, len(archive) - 1):
        changed = bytearray(archive)
        changed[index] ^= 1
        with pytest.raises(ArchiveError):
            Session.import_(bytes(changed), store=store)
    with pytest.raises(ArchiveError, match="another key"):
        Session.import_(archive, key=bytes(32), store=store)
    with pytest.raises(ArchiveError):
        Session.import_(b"", store=store)


@both_stores
def test_archive_with_a_key_of_its_own(session, store):
    """Two machines share a key for the archive, not their own."""
    say(session, "set")
    key = bytes(range(32))
    with Session.import_(session.export(key=key), key=key, store=store) as copy:
        assert say(copy, "count") == "1\n"


# --- handles ---


@both_stores
def test_names(store):
    """A name is unique and opens the session; ids do too."""
    with Session.create("python", name="n1", store=store) as session:
        session.run("x = 5")
        with pytest.raises(SessionExistsError, match="n1"):
            Session.create("python", name="n1", store=store)
        assert Session.open("n1", store=store).id == session.id
        assert Session.open(session.id, store=store).name == "n1"
        with pytest.raises(SessionNotFoundError, match="nobody"):
            Session.open("nobody", store=store)
        for wrong in ("", " ", "a\nb", "x" * 201, "ses-1"):
            with pytest.raises(InvalidRunError):
                Session.create("python", name=wrong, store=store)


@both_stores
def test_closing(session):
    """Closing twice is fine, using a closed handle is a typed error, the session is kept."""
    say(session, "set")
    session.close()
    session.close()
    with pytest.raises(SessionClosedError):
        say(session, "count")
    with pytest.raises(SessionClosedError):
        session.list_files()
    again = Session.open(session.id, store=session._sessions.store)
    assert say(again, "count") == "1\n"
    again.close()


@both_stores
def test_deleting(store):
    """It is gone, with its runs."""
    session = Session.create("javascript", store=store)
    session.run("1")
    session.delete()
    with pytest.raises(SessionClosedError):
        session.run("1")
    with pytest.raises(SessionNotFoundError):
        Session.open(session.id, store=store)
    assert store.runs.list(session_id=session.id) == []


def test_short_forms_of_languages(store):
    """A session says the full name of its language, however it was asked for."""
    names = {"js": "javascript", "ts": "typescript", "py": "python"}
    for short, name in names.items():
        with Session.create(short, store=store) as session:
            assert session.language == name


def test_wrong_creation(store):
    """What cannot be a session."""
    with pytest.raises(UnsupportedLanguageError):
        Session.create("cobol", store=store)
    with pytest.raises(InvalidRunError, match="does not run"):
        Session.create("python", image="javascript", store=store)


def test_wrong_runs(session):
    """A run needs a program or an entrypoint; nothing else is taken."""
    for options in ({}, {"code": "1", "entrypoint": "a"}, {"code": "1", "seed": 4}):
        with pytest.raises(InvalidRunError):
            session.run(**options)
    with pytest.raises(FileAccessError):
        session.run(entrypoint="missing.py")


def test_arguments_of_the_wrong_shape(session):
    """The letters of one text are not many arguments; nothing ran."""
    for options in ({"args": "ab"}, {"env": "A=1"}, {"stdin": 5}, {"stdin": "\ud800"}):
        with pytest.raises(InvalidRunError, match=next(iter(options))):
            session.run("1", **options)
    assert session.history() == []


@both_stores
def test_streaming(session):
    """Output comes as it is written, then the end."""
    program = {
        "javascript": "console.log('a'); console.log('b')",
        "python": "print('a'); print('b')",
    }
    events = list(session.run_streaming(program[session.language]))
    text = b"".join(event.data for event in events if isinstance(event, StdoutChunk))
    assert text == b"a\nb\n"
    assert isinstance(events[-1], Finished)


@both_stores
def test_async_sessions(store):
    """The same calls, awaited; cancelling stops the guest and the session lives on."""

    async def story():
        async with await AsyncSession.create("python", store=store) as session:
            await session.run("x = 1")
            assert [e async for e in session.run_streaming("print(x)")][
                -1
            ].result.run.exit_code == 0
            await session.upload(File(name="a.txt", content=b"hi"))
            assert await session.download("a.txt") == b"hi"
            task = asyncio.create_task(session.run("x = 2\nwhile True: pass"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return (await session.run("print(x)")).run.stdout

    assert asyncio.run(story()) == "1\n"


def test_the_async_front_is_whole():
    """Whatever a handle can do can be awaited."""
    calls = {name for name in vars(Session) if not name.startswith("_")}
    assert calls - set(vars(AsyncSession)) == set()


@both_stores
def test_idle_sessions_sleep(store, monkeypatch):
    """What nobody used for a while holds nothing, and wakes when it is used."""
    with Session.create("python", store=store) as session:
        session.run("x = 41")
        sessions = session._sessions
        monkeypatch.setattr(sessions, "_monotonic_ns", lambda: 1 << 62)
        assert sessions.sleep_idle() >= 1
        monkeypatch.undo()
        assert session.id not in sessions._live
        assert session.run("x += 1; print(x)").run.stdout == "42\n"


def test_the_front_door_has_sessions():
    """`cloche.Session` is this class."""
    assert cloche.Session is Session
    assert cloche.AsyncSession is AsyncSession


# --- another image ---


@both_stores
def test_update_moves_a_session_to_another_image(store):
    """All is repeated there; variables, files and answers of tools are as they were."""
    calls = []
    with Session.create("python", store=store) as session:
        session.upload(File(name="a.txt", content=b"kept"))
        session.run("x = tools.ask(1)", tools={"ask": lambda n: calls.append(n) or 41})
        session.update("python+numpy")
        assert calls == [1]
        program = "import sys; print(x + 1, 'numpy' in sys.modules, open('a.txt').read())"
        assert session.run(program).run.stdout == "42 True kept\n"
        asleep(session)
        assert session.run("print(x)").run.stdout == "41\n"
        session.revert(to=1)
        assert [entry.path for entry in session.list_files()] == ["/a.txt"]
        for step in session.history():
            assert step.ordinal == 1


@both_stores
def test_update_is_refused_where_a_run_differs(store):
    """Both sides are shown, the run is named, and the session is as it was."""
    with Session.create("python", store=store) as session:
        session.run("import sys; x = 1")
        run = session.execute("print('numpy' in sys.modules)")
        with pytest.raises(DivergenceError) as caught:
            session.update("python+numpy")
        assert caught.value.fields["run_id"] == run.run_id
        assert session.run("print(x, 'numpy' in sys.modules)").run.stdout == "1 False\n"
        assert len(session.history()) == 3
        with pytest.raises(InvalidRunError, match="does not run"):
            session.update("javascript")


@both_stores
def test_many_sessions_at_once(store):
    """Threads work in sessions of both languages; none sees anything of another."""
    sessions = [Session.create(LANGUAGES[n % 2], store=store) for n in range(12)]
    wrong = []

    def work(number, session):
        programs = {
            "python": f"n = globals().get('n', {number}) + 100; print(n)",
            "javascript": f"var n = (globalThis.n ?? {number}) + 100; console.log(n)",
        }
        for turn in range(1, 4):
            printed = session.run(programs[session.language]).run.stdout
            if printed != f"{number + 100 * turn}\n":
                wrong.append((number, turn, printed))

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        session.close()
    assert wrong == []


# --- policy ---


def test_tools_without_a_policy_are_allowed(session):
    """A session that was given no policy lets a run use what the run is given."""
    program = {"javascript": "console.log(await tools.a({}))", "python": "print(tools.a())"}
    printed = session.run(program[session.language], tools={"a": lambda: 1}).run.stdout
    assert printed == "1\n"


def test_the_policy_of_a_session_holds_for_every_run(store):
    """Bringing a tool does not allow it; a policy of the run's own goes before the session's."""
    calls = []
    tools = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    for policy in (Policy(), Policy.allow(tool=["b"])):
        with Session.create("python", policy=policy, store=store) as session:
            with pytest.raises(RuntimeFailedError, match="POLICY_DENIED"):
                session.run("tools.a()", tools=tools)
            assert calls == []
    with Session.create("python", policy=Policy(), store=store) as session:
        session.run("tools.b()", tools=tools, policy=Policy.allow(tool=["b"]))
    assert calls == ["b"]


def test_closed_sessions_are_not_used_again(tmp_path):
    """After the end of all work on a store, the next handle begins anew."""
    store = open_store(tmp_path / "cloche.db")
    with Session.create("javascript", name="again", store=store) as session:
        session.run("var x = 1")
    first = sessions_of(store)
    first.close()
    second = sessions_of(store)
    assert second is not first
    assert sessions_of(store) is second
    with Session.open("again", store=store) as session:
        assert session.run("console.log(x)").run.stdout == "1\n"
    second.close()
    store.close()


def test_a_fork_writes_no_state(store):
    """It has the past of its origin, and is woken from that; a snapshot would cost more."""
    with Session.create("python", store=store) as session:
        session.run("x = [1]")
        with session.fork() as forked:
            assert store.sessions.snapshots(forked.id) == []
            assert forked.run("x.append(2); print(x)").run.stdout == "[1, 2]\n"
        assert store.sessions.snapshots(session.id) == []
        assert session.run("print(x)").run.stdout == "[1]\n"

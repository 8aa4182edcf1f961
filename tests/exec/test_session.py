"""Sessions: state that lives on, the matrix of golem:exec for both languages."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.exec.session_support import LANGUAGES, SAY, asleep, both_stores, say

from cloche.exec.adapters.effects import CancelToken
from cloche.exec.errors import (
    CompilationFailedError,
    ResourceExceededError,
    RuntimeFailedError,
    TimeoutExceededError,
)
from cloche.exec.session import Session
from cloche.exec.types import File
from cloche.exec.types import Limits as RunLimits


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
        say(session, "memory", limits=RunLimits(memory_bytes=64 << 20, time_ms=60_000))
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

"""What the tests of sessions share: programs in both languages, and a session on a store."""

from __future__ import annotations

import pytest

from cloche.exec.session import Session, sessions_of
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

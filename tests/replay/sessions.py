"""Sessions of version 1, as files: `python -m tests.replay.sessions` made them.

`sessions-v1.db` is a store with a session in each language, `session-*-v1.clsa` are the same
sessions as archives. They are never made again: every later cloche must open them, verify their
journals, and come to the same state when it repeats them on its own images.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from cloche.exec.errors import RuntimeFailedError
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import File
from cloche.store.open import open_store

HERE = Path(__file__).parent
STORE = HERE / "sessions-v1.db"
KEY = bytes(range(32))
LANGUAGES = ("javascript", "python")
SEED = 42
NOW_NS = 1_700_000_000_000_000_000

MODULES = {
    "javascript": File(name="lib/twice.mjs", content=b"export const twice = (n) => n * 2;\n"),
    "python": File(name="lib/__init__.py", content=b"def twice(n):\n    return n * 2\n"),
}
# In order: variables, modules, effects in a row and at once, files, chance, time, a failure.
PROGRAMS = {
    "javascript": (
        (
            "import { twice } from 'lib/twice.mjs'; let total = twice(20); class Box { n = 1 }; "
            "const box = new Box(); console.log(total)"
        ),
        (
            "total += await tools.add({ n: 2 }); const both = await Promise.all("
            "[tools.add({ n: 3 }), tools.add({ n: 4 })]); console.log(total, both)"
        ),
        (
            "const fs = require('fs'); fs.mkdirSync('d'); fs.writeFileSync('d/out.txt', 'é' + "
            "total); console.log(fs.readdirSync('/'))"
        ),
        (
            "const chance = [Math.random(), crypto.randomUUID()]; console.log(chance.length); "
            "await new Promise((r) => setTimeout(r, 1500)); console.error('late')"
        ),
        (
            "console.log('key', (await cloche.idempotencyKey()).length); "
            "try { await tools.fail() } catch (error) { console.log(error.code) }"
        ),
        "box.n = 5; console.log('before'); throw new TypeError('no')",
        (
            "console.log(typeof twice, box.n, process.argv[2], process.env.K, "
            "fs.readFileSync(0, 'utf8'))"
        ),
    ),
    "python": (
        (
            "from lib import twice\ntotal = twice(20)\n"
            "class Box:\n    n = 1\nbox = Box(); print(total)"
        ),
        (
            "import asyncio\ntotal += tools.add(n=2)\nboth = [tools.add(n=3), tools.add(n=4)]\n"
            "print(total, both)"
        ),
        (
            "import os\nos.mkdir('d'); open('d/out.txt', 'w').write('é' + str(total))\n"
            "f = open('d/out.txt'); print(sorted(os.listdir('/')))"
        ),
        (
            "import random, uuid, sys\nchance = [random.random(), uuid.uuid4()]\n"
            "print(len(chance))\n"
            "await asyncio.sleep(1.5); print('late', file=sys.stderr)"
        ),
        (
            "import cloche\nprint('key', len(cloche.idempotency_key()))\n"
            "try:\n    tools.fail()\nexcept cloche.EffectError as error:\n    print(error.code)"
        ),
        "box.n = 5; print('before'); raise TypeError('no')",
        "print(callable(twice), box.n, sys.argv[1], os.environ['K'], sys.stdin.read())",
    ),
}
OUTPUTS = {
    "javascript": (
        "40\n",
        "42 [ 3, 4 ]\n",
        "[ 'd', 'lib', 'ro.txt' ]\n",
        "2\n",
        "key 64\nTOOL_ERROR\n",
        "before\n",
        "function 5 a v in\n",
    ),
    "python": (
        "40\n",
        "42 [3, 4]\n",
        "['d', 'lib', 'ro.txt']\n",
        "2\n",
        "key 64\nTOOL_ERROR\n",
        "before\n",
        "True 5 a v in\n",
    ),
}
# What a program says of all that, after everything was repeated.
LOOK = {
    "javascript": "console.log(total, box.n, chance, fs.readFileSync('/d/out.txt', 'utf8'))",
    "python": "print(total, box.n, chance, f.read(), open('/d/out.txt').read())",
}


def archive(language: str) -> Path:
    """Return where the archive of a language is."""
    return HERE / f"session-{language}-v1.clsa"


def fail() -> None:
    """Fail, as tools do."""
    raise ValueError("no")


def work(session: Session) -> None:
    """Do in a session all that a history can hold."""
    tools = {"add": lambda n: n, "fail": fail}
    session.upload(File(name="ro.txt", content=b"theirs"), read_only=True)
    session.write_file("gone.txt", b"x")
    session.remove("gone.txt")
    for program in PROGRAMS[session.language]:
        try:
            session.run(program, tools=tools, args=["a"], env={"K": "v"}, stdin="in")
        except RuntimeFailedError as error:
            assert error.result.run.stdout == "before\n"  # noqa: PT017 - it is wanted
    session.set_working_dir("d")


def main() -> None:
    """Make the files."""
    with TemporaryDirectory() as folder:
        key_file = Path(folder) / "key"
        key_file.write_bytes(KEY)
        key_file.chmod(0o600)
        os.environ["CLOCHE_KEY_FILE"] = str(key_file)
        store = open_store(STORE)
        for language in LANGUAGES:
            with Session.create(
                language,
                name=f"golden-{language}",
                modules=[MODULES[language]],
                seed=SEED,
                now_ns=NOW_NS,
                store=store,
            ) as session:
                work(session)
                archive(language).write_bytes(session.export(key=KEY))
        sessions_of(store).close()
        store.close()


if __name__ == "__main__":
    main()

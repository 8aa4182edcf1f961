"""A process that works in a session and is killed: run by test_session_crash.py.

    crash_child.py STORE EFFECTS PLAN

PLAN is `none`, or `METHOD:before|after:N`: the N-th call of that method of the store kills the
process, with SIGKILL, before or after it is done; `tool:N` kills inside the N-th tool call, and
`time:MS` after so many milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from cloche.exec.errors import ExecError
from cloche.exec.session import Session
from cloche.store.open import open_store

PROGRAMS = {
    "python": """
done = globals().get("done", 0)
for n in range(3):
    tools.step(f"{done}-{n}")
    print("step", n)
done += 1
open("done.txt", "w").write(str(done))
print("done", done)
""",
    "javascript": """
var done = globalThis.done ?? 0;
for (let n = 0; n < 3; n++) {
  await tools.step(`${done}-${n}`);
  console.log("step", n);
}
globalThis.done = done + 1;
require("fs").writeFileSync("done.txt", String(globalThis.done));
console.log("done", globalThis.done);
""",
}


def die():
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Killer:
    """Wraps a part of the store: the N-th call of one method is the last thing that happens."""

    def __init__(self, inner, method, when, number):
        self._inner, self._method, self._when, self._left = inner, method, when, number

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name != self._method:
            return found

        def call(*args, **options):
            self._left -= 1
            if self._left == 0 and self._when == "before":
                die()
            result = found(*args, **options)
            if self._left == 0 and self._when == "after":
                die()
            return result

        return call


class KillingStore:
    """A store one of whose parts kills."""

    def __init__(self, inner, part, killer):
        self._inner, self._part, self._killer = inner, part, killer

    def __getattr__(self, name):
        return self._killer if name == self._part else getattr(self._inner, name)


def main():
    """Make one run, and say what it printed."""
    url, effects, plan, language, runs = sys.argv[1:6]
    store = open_store(Path(url))
    kind, *rest = plan.split(":")
    kill_at = int(rest[0]) if kind == "tool" else 0
    if kind == "time":
        threading.Timer(int(rest[0]) / 1000, die).start()
    elif kind not in ("none", "tool"):
        part, method = kind.split(".")
        killer = Killer(getattr(store, part), method, rest[0], int(rest[1]))
        store = KillingStore(store, part, killer)
    count = 0

    def step(name):
        nonlocal count
        count += 1
        with Path(effects).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        if count == kill_at:
            die()
        return name

    session = Session.open("worker", store=store)
    for _ in range(int(runs)):
        try:
            result = session.run(PROGRAMS[language], tools={"step": step})
            print(result.run.stdout.splitlines()[-1], flush=True)  # noqa: T201
        except ExecError as error:
            print(error.case, flush=True)  # noqa: T201
    session.close()
    os._exit(0)


if __name__ == "__main__":
    main()

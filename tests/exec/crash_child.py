"""Processes that work in a session and are killed: run by test_session_crash.py.

    crash_child.py STORE EFFECTS LANGUAGE

Reads plans from standard input, one JSON object on a line, forks a child for each, and answers with
one JSON object: how the child ended and what it said. Forking saves the imports of every child.

A plan has `kind`:
- `none`: nobody kills;
- `count`: nobody kills; the answer's `points` are the changes of the store that were made;
- `point`: `method` is a name such as `journals.append`; its `number`-th call kills the process,
  `when` says whether before or after it is done;
- `tool`: the `number`-th tool call kills;
- `time`: killed from outside after `after_ms`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import alembic.command  # noqa: F401 - imported for the children
import psycopg  # noqa: F401 - the same
import sqlalchemy.dialects.postgresql  # noqa: F401 - the same

from cloche.exec.adapters.tools import ToolHandler
from cloche.exec.errors import SessionBusyError
from cloche.exec.session import Session
from cloche.gate.effect import idempotency_key
from cloche.store.open import open_store

BUSY_PAUSE_S = 0.02
BUSY_COUNT_MAX = 500
CHANGES = {
    "runs": ("create", "update"),
    "journals": ("append",),
    "sessions": ("apply",),
    "blobs": ("put",),
    "leases": ("acquire", "release"),
}
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


class Part:
    """A part of the store: its changes are counted, and one of them kills."""

    def __init__(self, inner, name, plan, points):
        self._inner, self._name, self._plan, self._points = inner, name, plan, points

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name not in CHANGES[self._name]:
            return found
        method, plan = f"{self._name}.{name}", self._plan

        def call(*args, **options):
            number = self._points[method] = self._points.get(method, 0) + 1
            hit = plan.get("method") == method and plan["number"] == number
            if hit and plan["when"] == "before":
                die()
            result = found(*args, **options)
            if hit:
                die()
            return result

        return call


class CountedStore:
    """A store whose changes are counted."""

    def __init__(self, inner, plan):
        self.points = {}
        self._inner = inner
        self._parts = {
            name: Part(getattr(inner, name), name, plan, self.points) for name in CHANGES
        }

    def __getattr__(self, name):
        return self._parts.get(name) or getattr(self._inner, name)


LINE_LENGTH = 128


class Steps(ToolHandler):
    """Performs the effects: each leaves its name and its key in a file, and may be the last."""

    def __init__(self, path, plan):
        super().__init__({"step": str})
        self._path = path
        self._left = plan["number"] if plan["kind"] == "tool" else 0

    def perform(self, request, run_id):
        """Leave a line outside, durably."""
        name = request.args if isinstance(request.args, str) else request.args[0]
        with self._path.open("a", encoding="utf-8") as file:
            # Of a length that no page ends inside of: a kill can cut a write between two pages.
            line = f"{name} {idempotency_key(run_id, request)}"
            file.write(line.ljust(LINE_LENGTH - 1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._left -= 1
        if self._left == 0:
            die()
        return name


def work(url, effects, language, plan, say):
    """Run, upload and keep a snapshot, as often as the plan says."""
    store = CountedStore(open_store(url), plan)
    steps = Steps(effects, plan)
    session = Session.open("worker", store=store)
    session._runs = _WithSteps(session._runs, steps)
    for round_number in range(plan.get("runs", 1)):
        result = _patiently(
            lambda: session.run(PROGRAMS[language], tools={"step": str}), first=round_number == 0
        )
        count = result.run.stdout.split()[-1]
        say(f"done {count}")
        session.write_file(f"up-{count}.txt", count.encode())
        say(f"uploaded {count}")
        session.snapshot()
        say("snapshot")
    session.close()
    return store.points


class _WithSteps:
    """Runs of a session, with the effects of this test."""

    def __init__(self, runs, steps):
        self._runs, self._steps = runs, steps

    def __getattr__(self, name):
        return getattr(self._runs, name)

    def run(self, session_id, make_request, *, handlers, **options):
        """Run with the steps as tools."""
        return self._runs.run(session_id, make_request, handlers={"tool": self._steps}, **options)


def _patiently(act, *, first):
    """Wait for the lease of the process that died before."""
    for _ in range(BUSY_COUNT_MAX if first else 1):
        try:
            return act()
        except SessionBusyError:
            time.sleep(BUSY_PAUSE_S)
    return act()


def child(arguments, plan, said):
    """Work, and leave what was said in a file: each line is there when it was said."""
    url, effects, language = arguments
    code = 1
    try:
        with said.open("w", encoding="utf-8") as file:
            points = work(
                url, Path(effects), language, plan, lambda line: print(line, file=file, flush=True)
            )
            print(f"points {json.dumps(points)}", file=file, flush=True)
        code = 0
    except Exception:  # noqa: BLE001 - tells the test why
        traceback.print_exc()
    finally:
        os._exit(code)


def main():
    """Serve plans until the end of input."""
    arguments = sys.argv[1:4]
    said = Path(arguments[1]).with_name("said.txt")
    for line in sys.stdin:
        plan = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(arguments, plan, said)
        if plan["kind"] == "time":
            time.sleep(plan["after_ms"] / 1000)
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = said.read_text(encoding="utf-8").splitlines() if said.exists() else []
        said.unlink(missing_ok=True)
        points = {}
        if lines and lines[-1].startswith("points "):
            points = json.loads(lines.pop().removeprefix("points "))
        answer = {"code": code, "lines": lines, "points": points}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()

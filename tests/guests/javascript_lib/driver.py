"""Runs the bundled library in a QuickJS engine with the engine room's own virtual file system.

Owns the test bench: one engine per run, a core prelude in miniature (`core.js`), and the host
operations the library uses, answered by the parts that answer them in production.
"""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickjs_rs import Runtime

import cloche.guests
from cloche.engine.file_operations import perform
from cloche.engine.vfs import FileSystem, StoredFile
from cloche.engine.virtual_os import Clock, Entropy
from cloche.limits import Limits

HERE = Path(__file__).parent
LIBRARY = Path(cloche.guests.__file__).parent / "javascript" / "lib"
BUNDLE = LIBRARY / "dist" / "lib.js"
START_NS = 1_700_000_000_000_000_000
TIMEOUT_S = 30.0
STEPS_MAX = 10_000


class ExitedError(Exception):
    """The program ended itself."""


@dataclass
class Run:
    """What a program did."""

    lines: list[str] = field(default_factory=list)
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    uncaught: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


def bundle_is_possible() -> bool:
    """Whether the bundle is there or node is there to make it."""
    return BUNDLE.exists() or shutil.which("node") is not None


def run(
    code: str,
    *,
    stdin: bytes = b"",
    files: dict[str, bytes] | None = None,
    environment: dict[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    seed: int = 1,
) -> Run:
    """Evaluate `code` in a fresh engine, run its event loop to the end, and tell what happened."""
    host = _Host(stdin=stdin, environment=environment or {}, arguments=arguments, seed=seed)
    for path, content in (files or {}).items():
        host.files.add(StoredFile(path=path, content=content))
    with Runtime() as runtime, runtime.new_context(timeout=TIMEOUT_S) as context:
        context.register("__hostCall", host.call)
        context.eval((HERE / "core.js").read_text())
        context.eval(BUNDLE.read_text())
        context.eval(
            "globalThis.__library = __cloche.library; delete globalThis.__cloche;"
            "globalThis.require = (name) => __library.getModule(name); __library.beginRun(); 0"
        )
        wrapped = f"(async () => {{ {code}\n }})().catch((e) => __failures.push(String(e))); 0"
        _drive(context, host, wrapped)
        result = host.result
        result.lines = json.loads(context.eval("JSON.stringify(__log)"))
        result.uncaught += json.loads(context.eval("JSON.stringify(__failures)"))
    result.files = {file.path: file.content for file in host.files.files()}
    return result


def _drive(context: Any, host: _Host, code: str) -> None:
    step = code
    for _ in range(STEPS_MAX):
        try:
            going = context.eval(step)
            while context._engine_ctx.run_pending_jobs() > 0:
                pass
        except Exception as error:  # noqa: BLE001 - whatever the program threw is what it did
            if host.result.exit_code is None:
                host.result.uncaught.append(str(error))
            else:
                return
            going = True
        if host.result.exit_code is not None or going is False:
            return
        step = "__pump()"
    raise AssertionError("the program did not end")


class _Host:
    """The host operations of the guest ABI that the library uses."""

    def __init__(
        self, *, stdin: bytes, environment: dict[str, str], arguments: tuple[str, ...], seed: int
    ) -> None:
        self.clock = Clock(START_NS)
        self.entropy = Entropy(seed)
        self.files = FileSystem(Limits(), lambda: self.clock.now_ns)
        self.result = Run()
        self._stdin = stdin
        self._input = {
            "argv": ["main.js", *arguments],
            "env": environment,
            "cwd": "/",
            "now_ns": str(START_NS),
        }

    def call(self, op: int, payload: bytes | str) -> bytes | int | str:
        """Answer one operation."""
        body = payload.encode() if isinstance(payload, str) else payload
        if op == 0:
            return json.dumps(self._input)
        if op == 16:
            self.result.stdout += body
        elif op == 17:
            self.result.stderr += body
        elif op == 18:
            return struct.pack("<Q", self.clock.read())
        elif op == 19:
            return self.entropy.take(struct.unpack("<I", body)[0])
        elif op == 21:
            count = struct.unpack("<I", body)[0]
            piece, self._stdin = self._stdin[:count], self._stdin[count:]
            return piece
        elif op == 22:
            self.result.exit_code = struct.unpack("<I", body)[0]
            raise ExitedError
        elif op == 32:
            return perform(self.files, body)
        return b""

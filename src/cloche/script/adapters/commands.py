"""Commands of this machine that scripts may run: `tools.exec`. Off unless somebody makes one.

Owns the list of what is allowed. Invariants:
- no shell: a command is a list of texts, and each reaches the program as it is;
- what may run is found when the tool is made, by its full path; scripts name it like the list;
- what may run is found by its full path when the tool is made; scripts name it like the list;
  an entry should hold what makes the command harmless (`git log`, not `git`);
- of the environment a command gets a fixed path and what the list allows, no more;
- when time is over, or nobody waits any more, the command and all that it started are stopped.

A command is a program of this machine with the rights of this process, and no part of the sandbox:
it asks before every run unless a rule says otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from cloche.gate.ports import EffectFailure
from cloche.script.errors import ToolDeclarationError
from cloche.script.tools import Tool, ToolContext, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PATH: Final = "/usr/local/bin:/usr/bin:/bin"
OUTPUT_LIMIT_BYTES: Final = 256 * 1024  # of each stream; a mark says where it was cut
TRUNCATED: Final = "\n<truncated>"
_TIMEOUT_MS: Final = 30_000
_LOOK_S: Final = 0.02
_KILL_AFTER_S: Final = 1.0
_PIECE_BYTES: Final = 65536


class CommandResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a command ended. A `exit_code` below 0 is the number of a signal."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    duration_ms: int


class Commands:
    """What may run, and where.

    Args:
        allowed: each the words that a command begins with, such as `("git", "log")`.
        folder: where commands start; `cwd` leads below it.
        environment: names of variables that a script may set.
        timeout_ms: the most that a command may take.

    Raises:
        ToolDeclarationError: a program is not there, or the list is empty.
    """

    def __init__(
        self,
        allowed: Iterable[Sequence[str] | str],
        *,
        folder: Path | str,
        environment: Iterable[str] = (),
        timeout_ms: int = _TIMEOUT_MS,
    ) -> None:
        self.folder = Path(folder).resolve()
        self._names = frozenset(environment)
        self._timeout_ms = timeout_ms
        self._programs: dict[tuple[str, ...], str] = {}
        for entry in allowed:
            words = tuple(entry.split()) if isinstance(entry, str) else tuple(entry)
            program = shutil.which(words[0], path=PATH) if words else None
            if program is None:
                problem = f"there is no program {words[0] if words else ''!r} on {PATH}"
                raise ToolDeclarationError(where="exec", problem=problem)
            self._programs[words] = program
        if not self._programs:
            raise ToolDeclarationError(where="exec", problem="the list of commands is empty")

    @property
    def tools(self) -> tuple[Tool, ...]:
        """`exec`, which asks."""

        def run_command(
            command: list[str],
            context: ToolContext,
            cwd: str = ".",
            env: dict[str, str] | None = None,
            timeoutMs: int | None = None,  # noqa: N803 - as scripts write it
        ) -> CommandResult:
            return self.run(
                command, cwd=cwd, env=env, timeout_ms=timeoutMs, is_cancelled=context.cancelled
            )

        known = ", ".join(" ".join(words) for words in self._programs)
        run_command.__doc__ = f"""Run a command without a shell: {known}.

        Args:
            command: the program and its arguments.
            cwd: folder to start in, below the workspace.
            env: variables to set; allowed: {", ".join(sorted(self._names)) or "none"}.
            timeoutMs: at most {self._timeout_ms}.
        """
        return (tool(name="exec", requires_approval=True, pack="commands")(run_command),)

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: str = ".",
        env: dict[str, str] | None = None,
        timeout_ms: int | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> CommandResult:
        """Run a command to its end.

        Raises:
            EffectFailure: it is not allowed (nothing ran), or cannot be started.
        """
        arguments = [self._program_of(command), *command[1:]]
        folder = self._folder_of(cwd)
        if refused := sorted(set(env or {}) - self._names):
            raise EffectFailure("COMMAND_DENIED", f"these variables may not be set: {refused}")
        variables = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": str(self.folder), **(env or {})}
        started_s = time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, and its program is on our own list
                arguments,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise EffectFailure("COMMAND_FAILED", f"it cannot be started: {error}") from error
        outputs = [_Output(process.stdout), _Output(process.stderr)]
        limit_ms = min(timeout_ms or self._timeout_ms, self._timeout_ms)
        timed_out = self._wait(process, started_s + limit_ms / 1000, is_cancelled)
        stdout, stderr = (output.text() for output in outputs)
        return CommandResult(
            exit_code=process.returncode,
            stdout=stdout,
            stderr=stderr,
            timed_out=timed_out,
            duration_ms=int((time.monotonic() - started_s) * 1000),
        )

    def _program_of(self, command: Sequence[str]) -> str:
        if any("\0" in word for word in command):
            raise EffectFailure("COMMAND_DENIED", "a command has no NUL in it")
        for words, program in self._programs.items():
            if tuple(command[: len(words)]) == words:
                return program
        known = ", ".join(" ".join(words) for words in self._programs)
        shown = " ".join(command)[:200]
        raise EffectFailure(
            "COMMAND_DENIED", f"{shown!r} is not allowed; a command begins: {known}"
        )

    def _folder_of(self, cwd: str) -> Path:
        folder = (self.folder / cwd).resolve() if "\0" not in cwd else self.folder.parent
        if not folder.is_relative_to(self.folder):
            raise EffectFailure("COMMAND_DENIED", f"the folder {cwd[:200]!r} is not below ours")
        return folder

    @staticmethod
    def _wait(
        process: subprocess.Popen[bytes], until_s: float, is_cancelled: Callable[[], bool]
    ) -> bool:
        """Wait for the end; return whether time was over before."""
        timed_out = False
        while True:
            try:
                process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                timed_out = time.monotonic() >= until_s
                if timed_out or is_cancelled():
                    _stop(process, signal.SIGTERM)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_KILL_AFTER_S)
                    break
            else:
                break
        _stop(process, signal.SIGKILL)  # and what it left behind
        process.wait()
        return timed_out


class _Output:
    """Reads one stream to its end, and keeps the beginning."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._data = bytearray()
        self._is_cut = False
        self._thread = threading.Thread(target=self._read, name="cloche-command", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream, suppress(OSError, ValueError):
            while piece := os.read(self._stream.fileno(), _PIECE_BYTES):
                room = OUTPUT_LIMIT_BYTES - len(self._data)
                self._data += piece[:room]
                self._is_cut = self._is_cut or len(piece) > room

    def text(self) -> str:
        # Somebody who left the group of the command may hold the stream for ever.
        self._thread.join(_KILL_AFTER_S)
        text = bytes(self._data).decode("utf-8", "replace")
        return text + TRUNCATED if self._is_cut else text


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)

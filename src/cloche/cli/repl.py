"""A prompt on a session: history, several lines, colours; Ctrl-C stops the guest, not the tool.

`:files`, `:cd`, `:fork`, `:undo`, `:history`, `:help` and `:quit` are for the session itself.
"""

from __future__ import annotations

import codeop
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs
from rich.console import Console
from rich.table import Table

from cloche.engine.tokens import tokenize
from cloche.errors import ClocheError
from cloche.exec.adapters.effects import CancelToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.exec.session import Session

HISTORY_LENGTH_MAX: Final = 10_000
FILENAME: Final = "<repl>"
INTERRUPTED: Final = 130

_HELP: Final = (
    (":files [DIR]", "list files"),
    (":cd DIR", "change where programs start"),
    (":fork [NAME]", "make a second session in this state"),
    (":undo [N]", "undo the last run, or the last N"),
    (":history", "what happened so far"),
    (":help", "this"),
    (":quit", "leave; the session is kept"),
)


class Repl:
    """Reads programs and runs them in a session until the end of input.

    Args:
        session: open.
        read: returns one line for a prompt; raises EOFError at the end.
    """

    def __init__(self, session: Session, *, read: Callable[[str], str] = input) -> None:
        self._session = session
        self._read = read
        self._out = Console(highlight=False, soft_wrap=True)
        self._commands: dict[str, Callable[[str], None]] = {
            "files": self._files,
            "cd": self._cd,
            "fork": self._fork,
            "undo": self._undo,
            "history": self._history,
            "help": self._help,
        }

    def run(self) -> None:
        """Read and run until `:quit` or the end of input."""
        history = _load_history()
        name = self._session.name or self._session.id
        self._out.print(
            f"[bold]{name}[/] in {self._session.language}; :help for commands, Ctrl-D to leave"
        )
        try:
            while (program := self._program()) is not None:
                if program.startswith(":"):
                    if program.strip() in (":quit", ":q", ":exit"):
                        return
                    self._command(program)
                elif program.strip():
                    self._execute(program)
        finally:
            _save_history(history)

    def _program(self) -> str | None:
        """Return the next whole program, None at the end of input."""
        lines: list[str] = []
        while True:
            try:
                lines.append(self._read("... " if lines else ">>> "))
            except EOFError:
                self._out.print()
                return "\n".join(lines) if lines else None
            except KeyboardInterrupt:
                self._out.print()
                return ""
            text = "\n".join(lines)
            if text.startswith(":") or is_whole(text, self._session.language):
                return text

    def _execute(self, program: str) -> None:
        cancel = CancelToken()
        try:
            execution = self._session.execute(
                program, filename=FILENAME, on_output=self._show, cancel=cancel
            )
        except KeyboardInterrupt:
            cancel.cancel()
            self._out.print("[yellow]stopped; the session is as it was before[/]")
            return
        except ClocheError as error:
            self._problem(error)
            return
        failure = execution.error
        if failure is not None and failure.case not in ("runtime-failed", "compilation-failed"):
            self._problem(failure)
        elif execution.exit_code and failure is None:
            self._out.print(f"[dim]exit code {execution.exit_code}[/]")

    def _show(self, stream: str, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        if stream == "stdout" or not self._out.is_terminal:
            target = sys.stdout if stream == "stdout" else sys.stderr
            target.write(text)
            target.flush()
        else:
            self._out.print(text, style="red", end="", markup=False)

    def _problem(self, error: ClocheError) -> None:
        self._out.print(f"[red]{error.code}[/] ", end="")
        self._out.print(error.message, markup=False)

    # --- commands ---

    def _command(self, line: str) -> None:
        word, _, rest = line[1:].strip().partition(" ")
        command = self._commands.get(word)
        if command is None:
            self._out.print(f"no command :{word}; :help lists them", markup=False)
            return
        try:
            command(rest.strip())
        except ClocheError as error:
            self._problem(error)

    def _files(self, path: str) -> None:
        for entry in self._session.list_files(path or "."):
            size = "dir" if entry.kind == "directory" else str(entry.size_bytes)
            self._out.print(f"{size:>10}  {entry.path}", markup=False)

    def _cd(self, path: str) -> None:
        self._session.set_working_dir(path or "/")

    def _fork(self, name: str) -> None:
        forked = self._session.fork(name or None)
        self._out.print(f"forked as {forked.name or forked.id}", markup=False)
        forked.close()

    def _undo(self, count: str) -> None:
        self._session.revert(last=int(count) if count.isdecimal() else 1)

    def _history(self, _rest: str) -> None:
        for step in self._session.history():
            kind = type(step.operation).__name__.lower()
            self._out.print(f"{step.ordinal:>5}  {kind:<16} {step.state[:12]}", markup=False)

    def _help(self, _rest: str) -> None:
        grid = Table.grid(padding=(0, 2))
        for command, text in _HELP:
            grid.add_row(command, text)
        self._out.print(grid)


def is_whole(text: str, language: str) -> bool:
    """Return whether a program can be run, or goes on on the next line."""
    if language == "python":
        return _is_whole_python(text)
    depth = 0
    for token in tokenize(text):
        if token.text in ("(", "[", "{") or token.text.endswith("${"):
            depth += 1
        elif token.text in (")", "]", "}") or (
            token.text.startswith("}") and token.text.endswith("`")
        ):
            depth -= 1
    return depth <= 0


def _is_whole_python(text: str) -> bool:
    try:
        return codeop.compile_command(text, symbol="single") is not None
    except (SyntaxError, ValueError, OverflowError):
        return True  # the guest says what is wrong, or knows better


def _history_path() -> Path:
    return Path(platformdirs.user_state_dir("cloche")) / "history"


def _load_history() -> object | None:
    try:
        import readline  # noqa: PLC0415 - not on every Python
    except ImportError:
        return None
    path = _history_path()
    if path.is_file():
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LENGTH_MAX)
    return readline


def _save_history(readline: object | None) -> None:
    if readline is None:
        return
    path = _history_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    readline.write_history_file(path)  # type: ignore[attr-defined]

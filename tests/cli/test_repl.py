"""The prompt on a session, line by line; and once with a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time

import pytest
from tests.cli.support import START, environment
from tests.clock import stop_clock

from cloche.cli import repl as module
from cloche.cli.repl import HISTORY_LENGTH_MAX, Repl, is_whole
from cloche.exec.session import Session, sessions_of
from cloche.exec.types import Limits
from cloche.store.open import open_store

TERMINAL_TIMEOUT_S = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for the tests of this file."""
    opened = open_store(tmp_path_factory.mktemp("store") / "cloche.db", durability="normal")
    yield opened
    sessions_of(opened).close()
    opened.close()


@pytest.fixture(autouse=True)
def history_file(tmp_path, monkeypatch):
    """Where the history of this test's prompts is."""
    path = tmp_path / "state/history"
    monkeypatch.setattr(module, "_history_path", lambda: path)
    return path


@pytest.fixture(params=["python", "javascript"])
def session(request, store):
    """A session in each language."""
    with Session.create(request.param, store=store) as made:
        yield made


class Typist:
    """Types lines; an exception is raised instead, a function called before. Notes the prompts."""

    def __init__(self, lines):
        self._lines = list(lines)
        self.prompts = []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        if not self._lines:
            raise EOFError
        line = self._lines.pop(0)
        while callable(line):
            line()
            line = self._lines.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line


def typed(session, capsys, *lines):
    """Type lines at a prompt until its end; return what was shown, without the greeting."""
    typist = Typist(lines)
    Repl(session, read=typist).run()
    shown = capsys.readouterr()
    _, _, rest = shown.out.partition("\n")
    return rest, shown.err, typist.prompts


# --- programs ---

SAY = {
    "set": {"python": "x = 41", "javascript": "let x = 41"},
    "show": {"python": "print(x + 1)", "javascript": "console.log(x + 1)"},
    "block": {
        "python": ["def f():", "    return 7", "", "print(f())"],
        "javascript": ["function f() {", "  return 7", "}", "console.log(f())"],
    },
    "wrong": {"python": "1 / 0", "javascript": "null.x"},
    "syntax": {"python": "def :", "javascript": "let = )"},
    "exit": {"python": "import sys; sys.exit(3)", "javascript": "process.exit(3)"},
    "loop": {"python": "x = 2\nwhile True: pass", "javascript": "x = 2; for (;;) {}"},
}


def test_variables_live_on_from_line_to_line(session, capsys):
    """Each line is a run of the session, and its output is shown."""
    language = session.language
    out, err, prompts = typed(session, capsys, SAY["set"][language], SAY["show"][language])
    assert (out, err) == ("42\n\n", "")
    assert prompts == [">>> "] * 3
    assert len(session.history()) == 2


def test_several_lines(session, capsys):
    """A program that is not whole goes on, with another prompt."""
    lines = SAY["block"][session.language]
    out, _, prompts = typed(session, capsys, *lines)
    assert out == "7\n\n"
    assert prompts[:3] == [">>> ", "... ", "... "]
    assert prompts[len(lines)] == ">>> "
    assert len(session.history()) == 2


@pytest.mark.parametrize(
    ("language", "text", "whole"),
    [
        ("python", "x = (1,", False),
        ("python", "x = (1,\n2)", True),
        ("python", "if 1:", False),
        ("python", "if 1:\n  pass", False),
        ("python", "if 1:\n  pass\n", True),
        ("python", "'''a", False),
        ("python", "def :", True),
        ("python", "x = '\0'", True),
        ("javascript", "f(", False),
        ("javascript", "f(`${[", False),
        ("javascript", "f(`${[1]}`)", True),
        ("javascript", "'('", True),
        ("javascript", "// (", True),
        ("javascript", "/[(]/", True),
        ("javascript", "})", True),
        ("typescript", "let p: {", False),
    ],
)
def test_what_is_whole(language, text, whole):
    """Brackets in strings and comments do not count; what is wrong is for the guest to say."""
    assert is_whole(text, language) is whole


def test_the_end_of_input_within_a_program(session, capsys):
    """What was typed until then is run."""
    text = {"python": "if 1:\n  print(5)", "javascript": "console.log(5"}[session.language]
    out, err, _ = typed(session, capsys, *text.split("\n"))
    if session.language == "python":
        assert (out.split(), err) == (["5"], "")
    else:
        assert "SyntaxError" in err


def test_errors_are_told_by_the_guest(session, capsys):
    """On the stream for errors; what was done stays, and the prompt goes on."""
    language = session.language
    out, err, _ = typed(
        session, capsys, SAY["set"][language], SAY["wrong"][language], SAY["show"][language]
    )
    assert out == "42\n\n"
    assert {"python": "ZeroDivisionError", "javascript": "TypeError"}[language] in err
    assert "<repl>" in err
    _, err, _ = typed(session, capsys, SAY["syntax"][language])
    assert "SyntaxError" in err


def test_exit_codes_are_shown(session, capsys):
    """Leaving a program does not leave the prompt."""
    language = session.language
    out, _, _ = typed(
        session, capsys, SAY["set"][language], SAY["exit"][language], SAY["show"][language]
    )
    assert out == "exit code 3\n42\n\n"


def test_a_limit_is_told_by_the_tool(store, capsys, monkeypatch):
    """With its code and what to do; the session is as it was."""
    clock = stop_clock(monkeypatch)
    endless = (clock.start, "while True: pass", "", clock.stop)
    with Session.create("python", store=store, limits=Limits(time_ms=200)) as session:
        out, _, _ = typed(session, capsys, "x = 41", *endless, "print(x + 1)")
    assert out.startswith("TIMEOUT the program ran longer than 200 ms")
    assert out.endswith("42\n\n")


# --- Ctrl-C ---


def test_ctrl_c_while_typing_forgets_the_program(session, capsys):
    """And asks anew."""
    first = {"python": "if 1:", "javascript": "f("}[session.language]
    out, err, prompts = typed(session, capsys, first, KeyboardInterrupt())
    assert (out, err) == ("\n\n", "")
    assert prompts == [">>> ", "... ", ">>> "]
    assert session.history() == []


def test_ctrl_c_stops_the_program(session, capsys, monkeypatch):
    """Not the tool: the session is as it was before, and the prompt is there again."""
    language = session.language

    class Impatient(Typist):
        """Types, and sends the signal a moment after the program that does not end."""

        def __call__(self, prompt):
            line = super().__call__(prompt)
            if line == SAY["loop"][language]:
                signal.setitimer(signal.ITIMER_REAL, 0.3)
            return line

    def ctrl_c(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        monkeypatch.setattr(module, "is_whole", lambda _text, _language: True)
        Repl(
            session,
            read=Impatient([SAY["set"][language], SAY["loop"][language], SAY["show"][language]]),
        ).run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    out = capsys.readouterr().out
    assert "stopped; the session is as it was before\n42\n" in out
    assert len(session.history()) == 2


# --- commands ---


def test_files_and_directories(session, capsys):
    """`:files` lists, `:cd` moves."""
    session.write_file("d/a.txt", b"12345")
    out, _, _ = typed(session, capsys, ":files", ":cd d", ":files", ":files /", ":cd nowhere")
    lines = out.splitlines()
    assert lines[:3] == ["       dir  /d", "         5  /d/a.txt", "       dir  /d"]
    assert lines[3].startswith("FILE_ACCESS /d/nowhere: there is no such file")
    assert session.working_dir == "/d"


def test_undo(session, capsys):
    """The last run, or the last N."""
    language = session.language
    change = {"python": "x += 1", "javascript": "void x++"}[language]
    lines = [SAY["set"][language], *[change] * 3, ":undo", SAY["show"][language]]
    assert typed(session, capsys, *lines)[0] == "44\n\n"
    out, _, _ = typed(session, capsys, ":undo 3", SAY["show"][language], ":undo 99", ":undo x")
    assert out.startswith("42\nSESSION_ERROR")


def test_fork_and_history(session, store, capsys):
    """`:fork` makes a second session, `:history` tells what happened."""
    language, name = session.language, f"forked-{session.language}"
    out, _, _ = typed(
        session, capsys, SAY["set"][language], f":fork {name}", f":fork {name}", ":fork", ":history"
    )
    lines = out.splitlines()
    assert lines[0] == f"forked as {name}"
    assert lines[1].startswith("SESSION_EXISTS")
    assert lines[2].startswith("forked as ses-")
    assert lines[3].split()[:2] == ["1", "ran"]
    with Session.open(name, store=store) as forked:
        assert forked.run(SAY["show"][language]).run.stdout == "42\n"


@pytest.mark.parametrize("leave", [":quit", ":q", ":exit"])
def test_leaving(session, capsys, leave):
    """Nothing after it is run, and the session is kept."""
    out, _, prompts = typed(session, capsys, leave, SAY["set"][session.language])
    assert (out, prompts) == ("", [">>> "])


def test_help_and_what_is_no_command(session, capsys):
    """Every command is in the help; another is told."""
    out, _, _ = typed(session, capsys, ":help", ":nonsense")
    commands = ["files", "cd", "fork", "undo", "history", "help", "quit"]
    assert [line.split()[0] for line in out.splitlines()[:7]] == [f":{word}" for word in commands]
    assert "no command :nonsense; :help lists them" in out


def test_markup_is_not_read(session, capsys):
    """What a program or a user says is shown as it is."""
    text = {"python": "print('[red]x[/]')", "javascript": "console.log('[red]x[/]')"}
    out, _, _ = typed(session, capsys, text[session.language], ":[bold]")
    assert out == "[red]x[/]\nno command :[bold]; :help lists them\n\n"


# --- history, and a real terminal ---


class Terminal:
    """A process behind a pseudo-terminal."""

    def __init__(self, arguments, variables):
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*START, *arguments], variables)
        self.shown = ""

    def type(self, text):
        """Press keys."""
        os.write(self._fd, text.encode())

    def wait_for(self, text):
        """Read until a text was shown; return all that was shown until then, and forget it."""
        until = time.monotonic() + TERMINAL_TIMEOUT_S
        while text not in self.shown:
            assert time.monotonic() < until, self.shown
            self.shown += os.read(self._fd, 4096).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def close(self):
        """Return how the process ended."""
        try:
            while os.read(self._fd, 4096):
                pass
        except OSError:
            pass  # the end of a pseudo-terminal
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_real_terminal(tmp_path):
    """Lines, Ctrl-C, colours, and the arrow up for what an earlier process was told."""
    store = str(tmp_path / "cloche.db")
    opened = open_store(store)
    Session.create("python", name="box", store=opened).close()
    sessions_of(opened).close()
    opened.close()
    state = {"XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"}
    variables = {**environment(**state), "CLOCHE_STORE": store}
    variables.pop("NO_COLOR")
    first = Terminal(["session", "repl", "box"], variables)
    first.wait_for(">>> ")
    first.type("x = 20 + 1\n")
    first.wait_for(">>> ")
    first.type("print(x * 2)\n")
    assert "42" in first.wait_for(">>> ").split("print(x * 2)")[-1]
    first.type("while True: print('on', flush=True)\n\n")
    first.wait_for("on\r\n")
    first.type("\x03")
    assert "stopped" in first.wait_for(">>> ")
    first.type("1 / 0\n")
    assert "\x1b[31m" in first.wait_for(">>> ")
    first.type("\x04")
    assert first.close() == 0
    second = Terminal(["session", "repl", "box"], variables)
    second.wait_for(">>> ")
    second.type("\x1b[A\x1b[A\x1b[A\n")
    assert "42\r\n" in second.wait_for(">>> ")
    second.type(":quit\n")
    assert second.close() == 0


def test_the_history_has_an_end(session, capsys, history_file):
    """It is a file that does not grow for ever, made when there is none."""
    assert not history_file.exists()
    typed(session, capsys, ":help")
    assert history_file.exists()
    history_file.write_text("\n".join(f"line {n}" for n in range(HISTORY_LENGTH_MAX + 500)))
    typed(session, capsys, ":help")
    assert len(history_file.read_text().splitlines()) <= HISTORY_LENGTH_MAX + 1


def test_values_are_shown(session, capsys):
    """What an expression is worth, where a program ends in one; nothing where it is nothing."""
    nothing = {"python": "None", "javascript": "undefined"}[session.language]
    assert typed(session, capsys, "20 + 1", nothing)[0] == "21\n\n"

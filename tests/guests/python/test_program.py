"""How a program starts, reads, fails and ends."""

from __future__ import annotations

import pytest

from .driver import output, run


def test_start_state() -> None:
    """A program is `__main__` of its file, and sees nothing of the prelude."""
    code = """
import sys
print(__name__, __file__, sys.argv, sys.path[0], __doc__)
print(sorted(name for name in globals() if not name.startswith("__")))
"""
    assert output(code) == "__main__ main.py ['main.py'] / None\n['sys']\n"


def test_arguments_environment_and_folder() -> None:
    """`sys.argv`, `os.environ` and the working directory are what the caller gave."""
    code = "import os, sys\nprint(sys.argv[1:], dict(os.environ), os.getcwd(), os.path.exists('f'))"
    text = output(code, args=["a", "b c"], env={"K": "v"}, files={"/d/f": ""}, cwd="/d")
    assert text == "['a', 'b c'] {'K': 'v'} /d True\n"


def test_input() -> None:
    """`input()` prints its prompt and reads a line; the rest is still there."""
    code = (
        "import sys\nname = input('name? ')\nprint(f'<{name}>', input(), sys.stdin.read().split())"
    )
    assert output(code, stdin="Ada\nsecond\nx y\nz") == "name? <Ada> second ['x', 'y', 'z']\n"


def test_input_by_line_and_by_byte() -> None:
    """Iterating `sys.stdin` and its buffer work as everywhere."""
    assert (
        output("import sys\nprint([l.strip() for l in sys.stdin])", stdin="a\nb") == "['a', 'b']\n"
    )
    code = "import sys\nprint(sys.stdin.buffer.read())"
    assert output(code, stdin=b"\x00\xff\n") == "b'\\x00\\xff\\n'\n"


def test_input_at_the_end() -> None:
    """`input()` without input is an EOFError."""
    outcome = run("input()")
    assert outcome.stderr.endswith("EOFError: EOF when reading a line\n")
    assert outcome.error == "RuntimeFailedError"


@pytest.mark.parametrize(
    ("ending", "exit_code", "stderr"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(256 + 7)", 7, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit(True)", 1, ""),
        ("sys.exit('gone wrong')", 1, "gone wrong\n"),
        ("sys.exit([1])", 1, "[1]\n"),
        ("raise SystemExit(4)", 4, ""),
        ("exit(5)", 5, ""),
        ("quit()", 0, ""),
        ("os._exit(6)", 6, ""),
        ("def f():\n  try: sys.exit(8)\n  finally: print('', end='')\nf()", 8, ""),
        ("import asyncio\nasync def m(): sys.exit(9)\nasyncio.run(m())", 9, ""),
        ("import asyncio\nawait asyncio.sleep(1)\nsys.exit(10)", 10, ""),
    ],
)
def test_exit_codes(ending: str, exit_code: int, stderr: str) -> None:
    """However a program ends itself, its code is what a shell would see; it is no failure."""
    outcome = run(f"import os, sys\nprint('before', flush=True)\n{ending}")
    assert (outcome.exit_code, outcome.stderr, outcome.error) == (exit_code, stderr, "")
    assert outcome.stdout == "before\n"


def test_atexit_runs_last() -> None:
    """Functions registered with `atexit` run after the program, also when it fails."""
    register = "import atexit, sys\natexit.register(print, 'one')\natexit.register(print, 'two')\n"
    assert output(register + "print('main')") == "main\ntwo\none\n"
    outcome = run(register + "1 / 0")
    assert (outcome.stdout, outcome.exit_code) == ("two\none\n", 1)
    outcome = run("import atexit\ndef last(): 1 / 0\natexit.register(last)")
    assert "<cloche>" not in outcome.stderr
    assert "line 2, in last\n" in outcome.stderr


def test_traceback_has_the_programs_frames_only() -> None:
    """The lines are right, with carets, and no frame of the sandbox or the library is shown."""
    outcome = run("import json\n\ndef f(text):\n    return json.loads(text)\n\nf('{')\n")
    assert outcome.stderr == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 6, in <module>\n'
        "    f('{')\n"
        "    ~^^^^^\n"
        '  File "main.py", line 4, in f\n'
        "    return json.loads(text)\n"
        "           ~~~~~~~~~~^^^^^^\n"
        "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)\n"
    )
    assert (outcome.error, outcome.exit_code) == ("RuntimeFailedError", 1)


def test_traceback_of_another_file() -> None:
    """A frame in an imported file is shown with that file's line."""
    outcome = run(
        "import lib\nlib.go()", files={"/lib.py": "\n\ndef go():\n    raise KeyError('k')\n"}
    )
    assert outcome.stderr == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 2, in <module>\n'
        "    lib.go()\n"
        "    ~~~~~~^^\n"
        '  File "/lib.py", line 4, in go\n'
        "    raise KeyError('k')\n"
        "KeyError: 'k'\n"
    )


def test_traceback_of_a_chain() -> None:
    """Causes, contexts and groups keep the program's frames only, too."""
    code = """
def inner():
    import json
    try:
        json.loads("")
    except ValueError as error:
        raise RuntimeError("outer") from error
try:
    inner()
except RuntimeError as error:
    raise ExceptionGroup("group", [error, KeyError(1)])
"""
    stderr = run(code).stderr
    assert "/usr/local/lib" not in stderr
    assert "<cloche>" not in stderr
    for line in ("direct cause", "line 5, in inner\n", "ExceptionGroup: group (2 sub-exceptions)"):
        assert line in stderr


def test_traceback_of_a_coroutine() -> None:
    """An error in a task shows where the program awaited, and nothing of asyncio."""
    code = "import asyncio\nasync def f():\n    await asyncio.sleep(1)\n    1 / 0\nawait f()\n"
    assert run(code).stderr == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 5, in <module>\n'
        "    await f()\n"
        '  File "main.py", line 4, in f\n'
        "    1 / 0\n"
        "    ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


@pytest.mark.parametrize(
    ("code", "first", "last"),
    [
        ("x = 1\nx = (\n", '  File "main.py", line 2', "SyntaxError: '(' was never closed"),
        (
            "if True:\nprint(1)",
            '  File "main.py", line 2',
            ("IndentationError: expected an indented block after 'if' statement on line 1"),
        ),
        ("return 5", '  File "main.py", line 1', "SyntaxError: 'return' outside function"),
        ("x = '\0'", "", "SyntaxError: source code string cannot contain null bytes"),
    ],
)
def test_syntax_error(code: str, first: str, last: str) -> None:
    """A program that does not parse fails before anything runs, with place and reason alone."""
    outcome = run(code)
    assert outcome.error == "CompilationFailedError"
    assert (outcome.stdout, outcome.exit_code) == ("", 1)


def test_syntax_error_is_shown() -> None:
    """The text has the line and a caret, and no traceback."""
    outcome = run("print('no')\nx = = 1\n")
    assert outcome.message.startswith("SyntaxError: invalid syntax (main.py, line 2)")
    assert outcome.stdout == ""


def test_syntax_error_while_running_is_a_failure_of_the_run() -> None:
    """Bad source given to `eval`, or in an imported file, is an error of the running program."""
    assert run("eval('1 +')").error == "RuntimeFailedError"
    assert run("import lib", files={"/lib.py": "x = ="}).error == "RuntimeFailedError"


def test_excepthook() -> None:
    """A program's own `sys.excepthook` shows its errors; a broken one is shown with its error."""
    outcome = run("import sys\nsys.excepthook = lambda t, e, tb: print(t.__name__, e)\n1 / 0")
    assert (outcome.stdout, outcome.stderr) == ("ZeroDivisionError division by zero\n", "")
    outcome = run("import sys\nsys.excepthook = None\n1 / 0")
    assert "ZeroDivisionError: division by zero\n" in outcome.stderr
    assert outcome.stderr.endswith("TypeError: 'NoneType' object is not callable\n")


def test_error_without_a_text() -> None:
    """An error whose own `__str__` fails is still reported."""
    outcome = run("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E")
    assert outcome.stderr.endswith("E: <exception str() failed>\n")
    assert outcome.message == "E: <no message: RuntimeError>"


def test_output_order_and_buffers() -> None:
    """What was printed comes out, without a newline and through the buffer, whatever the end."""
    code = "import sys\nprint('a', end='')\nsys.stdout.buffer.write(b'b')\nsys.stdout.write('c')\n"
    assert run(code + "1 / 0").stdout == "abc"
    assert output("import sys\nsys.stdout.write('x')\nsys.stdout.close()") == "x"


def test_closed_or_replaced_streams_do_no_harm() -> None:
    """A program may replace or drop its streams; it ends as it would otherwise."""
    assert run("import sys\nsys.stdout = None\nprint(1)").exit_code == 0
    assert run("import sys, io\nsys.stdout = io.StringIO()\nprint(1)\nsys.exit(3)").exit_code == 3


def test_source_of_functions_is_known() -> None:
    """`inspect.getsource` and warnings find the program's text."""
    code = "import inspect, warnings\ndef f(): return 1\nprint(inspect.getsource(f), end='')\n"
    outcome = run(code + "warnings.warn('careful')")
    assert outcome.stdout == "def f(): return 1\n"
    assert outcome.stderr == "main.py:4: UserWarning: careful\n  warnings.warn('careful')\n"


def test_memory_is_a_limit() -> None:
    """A program that allocates without end is stopped by its limit and says where."""
    outcome = run("l = []\nwhile True: l.append(bytearray(10 ** 7))")
    assert outcome.error == "ResourceExceededError"
    assert 'File "main.py", line 2, in <module>' in outcome.stderr
    assert outcome.stderr.endswith("MemoryError\n")


def test_memory_error_can_be_caught() -> None:
    """One allocation that is too large is a MemoryError that a program can go on from."""
    code = "try:\n  bytearray(10 ** 9)\nexcept MemoryError:\n  print('small', len(bytearray(9)))"
    assert output(code) == "small 9\n"


@pytest.mark.parametrize(
    "code",
    [
        "def f(n): return f(n + 1)\nf(0)",
        "import functools\n@functools.lru_cache\ndef f(n): return f(n + 1)\nf(0)",
        "class A:\n    def __getattr__(self, name): return getattr(self, name)\nA().x",
        "import json\nx = []\nfor _ in range(100_000): x = [x]\njson.dumps(x)",
        "import json\njson.loads('[' * 100_000)",
        "import re\nre.compile('(' * 5000 + ')' * 5000)",
        "repr(eval('[' * 90 + ']' * 90)) and exec('x = ' + '-' * 50_000 + '1')",
    ],
)
def test_recursion_is_an_error(code: str) -> None:
    """Recursion in Python, in C and in the compiler ends as an error that can be caught."""
    code = code.replace("\n", "\n  ")
    text = output(f"try:\n  {code}\nexcept (RecursionError, MemoryError): print('caught')")
    assert text == "caught\n"


def test_recursion_without_a_limit_is_stopped() -> None:
    """A program that lifts the recursion limit is stopped by the sandbox's."""
    outcome = run("import sys\nsys.setrecursionlimit(10 ** 7)\ndef f(): f()\nf()")
    assert outcome.error == "ResourceExceededError"


def test_runs_are_the_same_again() -> None:
    """The same seed and clock give the same output, whatever a program asks for."""
    code = """
import random, os, uuid, time, datetime, tempfile, secrets
print(random.random(), os.urandom(4), uuid.uuid4(), uuid.uuid1(), secrets.randbelow(10**9))
print(time.time_ns(), time.monotonic(), datetime.datetime.now(), tempfile.mkdtemp())
print(hash("a"), {"x", "y", "z"}, id(object()), object())
"""
    first = output(code, seed=7, now_ns=10**18)
    assert first == output(code, seed=7, now_ns=10**18)
    assert first != output(code, seed=8, now_ns=10**18)

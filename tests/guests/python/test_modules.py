"""Programs of several files: modules, packages, relative imports, `__main__` blocks."""

from __future__ import annotations

from .driver import output, run

PACKAGE = {
    "/app/__init__.py": "from .core import VALUE\nname = __name__",
    "/app/core.py": "from . import helpers\nfrom .sub.deep import up\nVALUE = up(20) * 2",
    "/app/helpers.py": "def double(n): return n * 2",
    "/app/sub/__init__.py": "",
    "/app/sub/deep.py": "from ..helpers import double\nup = lambda n: double(n) // 2 + 1",
    "/app/__main__.py": "print('running', __name__, __package__)",
    "/app/data.txt": "hello",
}


def test_packages_and_relative_imports() -> None:
    """Imports across a package work, up and down."""
    assert output("import app\nprint(app.VALUE, app.name)", files=PACKAGE) == "42 app\n"


def test_main_block() -> None:
    """The program's own `__main__` block runs, an imported module's does not."""
    files = {"/lib.py": "print('lib', __name__)\nif __name__ == '__main__': print('never')"}
    code = "import lib\nif __name__ == '__main__':\n    print('main')"
    assert output(code, files=files) == "lib lib\nmain\n"


def test_runpy_and_importlib() -> None:
    """`runpy`, `importlib` and `importlib.resources` find the program's files."""
    code = """
import importlib, runpy
from importlib import resources
runpy.run_module("app", run_name="__main__")
print(importlib.import_module("app.sub.deep").up(1), resources.read_text("app", "data.txt"))
"""
    assert output(code, files=PACKAGE) == "running __main__ app\n2 hello\n"


def test_file_beats_the_library() -> None:
    """A file beside the program comes before a module of the library that is not loaded yet."""
    assert output("import this_is_mine\n", files={"/this_is_mine.py": "print('mine')"}) == "mine\n"
    assert output("import cmd\nprint(cmd.x)", files={"/cmd.py": "x = 1"}) == "1\n"


def test_modules_written_while_running() -> None:
    """A module that the program writes can be imported, and reloaded when it changes."""
    code = """
import importlib, pathlib, time
pathlib.Path("made.py").write_text("x = 1")
import made
print(made.x)
time.sleep(5)
pathlib.Path("made.py").write_text("x = 22")
importlib.reload(made)
print(made.x)
"""
    assert output(code) == "1\n22\n"


def test_failing_imports() -> None:
    """What is not there says so in one plain line; nothing advises installations."""
    outcome = run("import flask")
    assert outcome.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'flask'"
    outcome = run("import app.nothing", files=PACKAGE)
    assert outcome.message == "ModuleNotFoundError: No module named 'app.nothing'"
    outcome = run("from . import x")
    assert outcome.message == "ImportError: attempted relative import with no known parent package"


def test_circular_import() -> None:
    """A cycle of modules ends in Python's own error."""
    files = {"/a.py": "from b import y\nx = 1", "/b.py": "from a import x\ny = 1"}
    outcome = run("import a", files=files)
    assert "ImportError: cannot import name 'x' from partially initialized module" in outcome.stderr


def test_files_that_a_program_leaves() -> None:
    """What a program writes is in the result; temporary files and byte code are not."""
    code = """
import lib, pathlib, tempfile
pathlib.Path("out").mkdir()
pathlib.Path("out/a.txt").write_text("x")
tempfile.mkstemp()
"""
    files = run(code, files={"/lib.py": ""}).files
    assert files == {"/lib.py": b"", "/out/a.txt": b"x"}

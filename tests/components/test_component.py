"""`exec-python.wasm` runs programs for a host that knows nothing of cloche but the WIT."""

from __future__ import annotations

import pytest
from tests.components import support
from tests.components.support import failure, file, limits, plain
from wasmtime import WasmtimeError

from cloche.components.build import ComponentToolError

pytestmark = pytest.mark.timeout(600)  # the first of the tests builds, and it is any of them


@pytest.fixture(scope="session")
def compiled():
    """Return the component, built and compiled once."""
    try:
        path = support.built()
    except ComponentToolError as error:
        pytest.skip(error.message)
    return support.load(path)


@pytest.fixture
def host(compiled):
    """Return an instance of its own for each test."""
    return support.Host(*compiled)


def test_a_program_runs(host):
    """The result has the output, the exit code and the time; no stage to compile, no memory."""
    result = host.run("import sys\nprint('hello')\nprint('aside', file=sys.stderr)")
    assert plain(result.run) == {
        "stdout": "hello\n",
        "stderr": "aside\n",
        "exit-code": 0,
        "signal": None,
    }
    assert result.compile is None
    assert getattr(result, "time-ms") >= 0
    assert getattr(result, "memory-bytes") is None


def test_the_program_gets_what_it_is_given(host):
    """Standard input, arguments and environment are those of the options, and nothing else."""
    snippet = "import os, sys\nprint(input(), sys.stdin.read(), sys.argv, dict(os.environ))"
    given = {"stdin": "one\ntwo", "args": ["a", "é"], "env": [("K", "v")]}
    assert host.run(snippet, **given).run.stdout == "one two ['main.py', 'a', 'é'] {'K': 'v'}\n"
    assert host.run("import os\nprint(dict(os.environ))").run.stdout == "{}\n"


def test_modules_are_imported_from_memory(host):
    """A module, a package with a relative import, and one in base64, without a file outside."""
    modules = [
        file("plain.py", "x = 1"),
        file("pkg/__init__.py", "from .inner import y"),
        file("pkg/inner.py", "y = 2"),
        file("coded.py", "eiA9IDM=", "base64"),
        file("data.hex", "c3a9", "hex"),
    ]
    snippet = "import plain, pkg, coded\nprint(plain.x, pkg.y, coded.z, open('data.hex').read())"
    assert host.run(snippet, *modules).run.stdout == "1 2 3 é\n"


def test_runs_do_not_share_modules_files_or_names(host):
    """What one run imported, wrote and named is not there in the next."""
    assert host.run("import m\nopen('f', 'w')\nx = m.x", file("m.py", "x = 1")).run.stdout == ""
    snippet = "import os\nprint('x' in globals(), os.listdir())\nimport m"
    tag, stage = failure(host.run(snippet))
    assert tag == "runtime-failed"
    assert stage.stdout == "False []\n"
    assert stage.stderr.endswith("ModuleNotFoundError: No module named 'm'\n")


def test_a_syntax_error_fails_the_compilation(host):
    """Nothing ran, and the message shows the place."""
    tag, stage = failure(host.run("print('not seen')\nx = ("))
    assert tag == "compilation-failed"
    assert stage.stdout == ""
    assert stage.stderr == (
        "  File \"main.py\", line 2\n    x = (\n        ^\nSyntaxError: '(' was never closed\n"
    )
    assert getattr(stage, "exit-code") == 1


def test_an_exception_fails_the_run_and_keeps_the_output(host):
    """The traceback has the program's frames and lines only."""
    tag, stage = failure(host.run("print('before')\ndef f():\n    1 / 0\nf()"))
    assert (tag, stage.stdout) == ("runtime-failed", "before\n")
    assert stage.stderr == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 4, in <module>\n    f()\n    ~^^\n'
        '  File "main.py", line 3, in f\n    1 / 0\n    ~~^~~\n'
        "ZeroDivisionError: division by zero\n"
    )


@pytest.mark.parametrize(
    "snippet", ["import sys; sys.stderr.close(); 1/0", "import sys; sys.stderr = None; 1/0"]
)
def test_a_program_cannot_hide_its_traceback(host, snippet):
    """It is told to the host even if the program has closed or replaced its stderr."""
    tag, stage = failure(host.run(snippet))
    assert tag == "runtime-failed"
    assert stage.stdout == ""
    assert stage.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("exit_", "code", "stderr"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(-1)", 255, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("os._exit(4)", 4, ""),
    ],
)
def test_exit_codes(host, exit_, code, stderr):
    """A program that exits by itself has not failed, and the instance goes on."""
    stage = host.run(f"import os, sys\n{exit_}").run
    assert (getattr(stage, "exit-code"), stage.stderr) == (code, stderr)
    assert host.run("print(1)").run.stdout == "1\n"


def test_javascript_is_refused(host):
    """In all three ways to run; a session says it at the first call, its constructor cannot."""
    arguments = (support.language("javascript"), [], "1", support.options())
    assert failure(host.call("run", *arguments)) == ("unsupported-language", None)
    assert failure(host.call("run-streaming", *arguments)) == ("unsupported-language", None)
    with host.session(kind="javascript") as session:
        assert failure(session.run("1")) == ("unsupported-language", None)
        session.call("close")


def test_content_that_is_not_in_its_encoding(host):
    """Is refused with the name of the file; a session says it at the first call."""
    bad = file("a.bin", "xyz", "hex")
    tag, message = failure(host.run("", bad))
    assert (tag, message.partition(":")[0]) == ("internal", "'a.bin' is not hex")
    with host.session(bad) as session:
        assert failure(session.run("")) == (tag, message)


@pytest.mark.parametrize(
    ("snippet", "given"),
    [
        ("while True: print('x' * 65536)", {}),
        ("try:\n    print('x' * 2**23)\nexcept BaseException: pass", {}),
        ("open('f', 'wb', 0).write(bytes(11))", {"limits": limits(file_size_bytes=10)}),
        ("for n in range(9): open(str(n), 'wb').write(bytes(2**24))", {}),
        ("for n in range(10_001): open(str(n), 'w')", {}),
    ],
    ids=["output", "caught", "file", "files", "count"],
)
def test_ceilings(host, snippet, given):
    """Output, one file, all files, and their number; the instance goes on."""
    assert failure(host.run(snippet, **given)) == ("resource-exceeded", None)
    assert host.run("print(1)").run.stdout == "1\n"


def test_memory_is_limited_by_the_host(compiled):
    """A program that does not get memory has met a limit, and the instance goes on."""
    host = support.Host(*compiled, memory_bytes=2**27)
    assert failure(host.run("x = bytes(2**27)")) == ("resource-exceeded", None)
    assert host.run("x = bytes(2**20)\nprint(len(x))").run.stdout == "1048576\n"


def test_time_is_limited_by_the_host(compiled):
    """Whoever instantiates the component stops it; the limit in the options does not."""
    host = support.Host(*compiled)
    with host.time_limit(0.1), pytest.raises(WasmtimeError, match="wasm trap: interrupt"):
        host.run("while True: pass", limits=limits(time_ms=1))


def test_a_limit_does_not_stick(host):
    """The next run of a session has the ordinary ceilings again."""
    with host.session() as session:
        small = limits(file_size_bytes=1)
        assert failure(session.run("open('f', 'wb', 0).write(b'22')", limits=small))[0] == (
            "resource-exceeded"
        )
        assert session.output("print(open('f', 'wb', 0).write(b'22'))") == "2\n"


def test_streaming(host):
    """Chunks come in the order of writing, then the end, then nothing."""
    snippet = "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')"
    *chunks, (last, result) = host.stream(snippet)
    assert chunks == [
        ("stdout-chunk", b"a\n"),
        ("stderr-chunk", b"b\n"),
        ("stdout-chunk", b"c\n"),
    ]
    assert (last, result["run"]["stdout"]) == ("finished", "a\nc\n")
    assert host.stream("print(1); 1 / 0")[-1][1][0] == "runtime-failed"


def test_streaming_in_a_session(host):
    """Its runs stream as well, and see what the runs before left."""
    with host.session() as session:
        session.run("x = 'kept'")
        events = host.drain(session.call("run-streaming", "print(x)", support.options()))
    assert events[0] == ("stdout-chunk", b"kept\n")
    assert [tag for tag, _ in events] == ["stdout-chunk", "finished"]


def test_a_session_keeps_names_modules_and_files(host):
    """And a second session has none of them."""
    with host.session(file("m.py", "n = 0")) as one, host.session() as two:
        assert one.output("import m\nm.n += 1\nx = 5\nopen('f.txt', 'w').write('kept')") == ""
        assert one.output("import m\nprint(m.n, x, open('f.txt').read())") == "1 5 kept\n"
        assert two.output("import os, sys\nprint('x' in globals(), os.listdir())") == "False []\n"
        assert failure(two.run("import m"))[0] == "runtime-failed"
        assert failure(one.run("1 / 0"))[0] == "runtime-failed"
        assert one.output("print(x)") == "5\n"


def test_files_of_a_session(host):
    """Uploads are found by programs, what they write is listed and downloaded, bytes unchanged."""
    with host.session() as session:
        assert session.call("upload", file("in/data.bin", b"\x00\xff")) is None
        snippet = (
            "import pathlib, shutil, os\n"
            "pathlib.Path('out/deep').mkdir(parents=True)\n"
            "shutil.copy('in/data.bin', 'out/deep/copy.bin')\n"
            "os.rename('out/deep/copy.bin', 'out/new.bin')\n"
            "print(sorted(str(p) for p in pathlib.Path('.').rglob('*')), os.stat('out/new.bin')[6])"
        )
        found = "['in', 'in/data.bin', 'out', 'out/deep', 'out/new.bin'] 2\n"
        assert session.output(snippet) == found
        assert session.call("list-files", "/out") == ["deep/", "new.bin"]
        assert session.call("download", "out/new.bin") == b"\x00\xff"


def test_the_working_folder(host):
    """Relative paths and runs start there; it has to exist."""
    with host.session(file("a/m.py", "x = 7")) as session:
        assert session.call("set-working-dir", "a") is None
        assert session.output("import m, os\nprint(m.x, os.getcwd())\nos.chdir('/')") == "7 /a\n"
        assert session.call("list-files", ".") == ["m.py"]
        tag, message = failure(session.call("set-working-dir", "none"))
        assert (tag, message) == ("internal", "'none': No such file or directory")


def test_a_path_does_not_leave_the_root(host):
    """Dots end at the root, and there is nothing of the component's or the host's to see."""
    with host.session(file("../../up.txt", "x")) as session:
        assert session.call("list-files", "/..") == ["up.txt"]
        assert session.output("import os\nprint(os.path.exists('/python'))") == "False\n"
        assert failure(session.call("download", "a\0b"))[0] == "internal"


def test_a_closed_session(host):
    """Closing twice is fine; every other call says that it is closed."""
    with host.session() as session:
        assert session.call("close") is None
        assert session.call("close") is None
        closed = ("internal", "the session is closed; make a new one")
        assert failure(session.run("1")) == closed
        assert failure(session.call("run-streaming", "1", support.options())) == closed
        assert failure(session.call("upload", file("a", ""))) == closed
        assert failure(session.call("download", "a")) == closed
        assert failure(session.call("list-files", ".")) == closed
        assert failure(session.call("set-working-dir", ".")) == closed


def test_a_folder_of_the_host(compiled, tmp_path):
    """If the host gives a folder as the root, that is where the files are."""
    (tmp_path / "m.py").write_text("x = 3")
    host = support.Host(*compiled, folder=tmp_path)
    with host.session(file("sub/given.txt", "g")) as session:
        snippet = "import m, pathlib\nprint(m.x)\npathlib.Path('made.txt').write_text('w')"
        assert session.output(snippet) == "3\n"
        assert session.call("list-files", "/") == ["m.py", "made.txt", "sub/"]
    assert (tmp_path / "made.txt").read_text() == "w"
    assert (tmp_path / "sub" / "given.txt").read_text() == "g"


def test_asyncio(host):
    """Coroutines run and sleep; a program that waits for nothing is told so."""
    snippet = "import asyncio\nprint(asyncio.run(asyncio.sleep(0.001, 'done')))"
    assert host.run(snippet).run.stdout == "done\n"
    tag, stage = failure(host.run("import asyncio\nasyncio.run(asyncio.Event().wait())"))
    assert tag == "runtime-failed"
    assert "nothing is left that could wake this program" in stage.stderr


def test_two_instances_differ_in_randomness(compiled):
    """The generator's state is not that of the build."""
    snippet = "import random\nprint(random.random())"
    numbers = {support.Host(*compiled).run(snippet).run.stdout for _ in range(3)}
    assert len(numbers) == 3

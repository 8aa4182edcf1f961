"""What goes into a run and what comes out; one run does not touch the next."""

from __future__ import annotations

import base64
import threading
import time

from tests.exec.support import ENDLESS, both, printed, small, start

import cloche
from cloche import Encoding, File
from cloche.exec.adapters.effects import CancelToken


def test_run():
    """The result of a run has what it printed, its exit code, real time and real memory."""
    result = cloche.run("import sys; print(6 * 7); print('e', file=sys.stderr)", language="python")
    assert (result.run.stdout, result.run.stderr) == ("42\n", "e\n")
    assert (result.run.exit_code, result.run.signal, result.compile) == (0, None, None)


def test_typescript():
    """TypeScript runs as JavaScript, with its types stripped."""
    code = "interface A { n: number }\nconst a: A = { n: 2 };\nconsole.log(a.n as number);"
    assert printed(code, "typescript") == "2\n"


@both
def test_exit_code(language):
    """A program's own exit code is no error, and what it printed is there."""
    code = {
        "python": "import sys; print('x'); sys.exit(3)",
        "javascript": "console.log('x'); process.exit(3)",
    }[language]
    execution = start(code, language)
    run = execution.result.run
    assert (run.exit_code, run.stdout, run.signal) == (3, "x\n", None)
    assert (execution.exit_code, execution.error) == (3, None)


ECHO = {
    "python": "import os, sys\nprint(sys.stdin.read(), sys.argv, os.environ['NAME'], os.getcwd())",
    "javascript": (
        "const text = require('fs').readFileSync(0, 'utf8');\n"
        "console.log(text, JSON.stringify(process.argv.slice(1)), process.env.NAME, process.cwd());"
    ),
}


@both
def test_inputs(language):
    """Standard input, arguments, environment and working directory reach the program."""
    found = printed(
        ECHO[language],
        language,
        stdin="line 1\nzwei ☂",
        args=["a b", "ü", ""],
        env={"NAME": "Änne=1"},
        cwd="/work",
        filename="echo.py" if language == "python" else "echo.js",
    )
    shown = {
        "python": "line 1\nzwei ☂ ['echo.py', 'a b', 'ü', ''] Änne=1 /work\n",
        "javascript": 'line 1\nzwei ☂ ["echo.js","a b","ü",""] Änne=1 /work\n',
    }
    # JavaScript programs see a path where Python ones see a name, as in node.
    assert found.replace('"/work/echo.js"', '"echo.js"') == shown[language]


def test_programs_of_nodes_tutorials():
    """Hello, lines as events, lines by iteration, arguments, environment: as node prints them."""
    lines = "const rl = require('readline').createInterface({ input: process.stdin });"
    events = (
        lines + "rl.on('line', (l) => console.log('> ' + l)).on('close', () => console.log(0));"
    )
    iterated = lines + "for await (const l of rl) console.log('> ' + l); console.log(0);"
    assert printed("console.log('Hello, world!')", "javascript") == "Hello, world!\n"
    for code in (events, iterated):
        assert printed(code, "javascript", stdin="a\nb\n") == "> a\n> b\n0\n"
    code = "console.log(process.argv.slice(2), process.env.NAME, process.env.NONE)"
    found = printed(code, "javascript", args=["x", "--y=1"], env={"NAME": "z"})
    assert found == "[ 'x', '--y=1' ] z undefined\n"


@both
def test_stdin_of_bytes(language):
    """Standard input is bytes: what is no text arrives unchanged."""
    code = {
        "python": "import sys; print(list(sys.stdin.buffer.read()))",
        "javascript": "console.log(JSON.stringify([...require('fs').readFileSync(0)]))",
    }[language]
    found = printed(code, language, stdin=b"\x00\xff\n")
    assert found.replace(" ", "") == "[0,255,10]\n"


@both
def test_unicode(language):
    """Any text passes the border both ways: program, output, error output."""
    text = "é ☂ 𝄞 \u0000 \u2028 \U0010ffff"
    code = {
        "python": f"t = {text!r}\nprint(t)\nimport sys\nprint(t, file=sys.stderr)",
        "javascript": "const t = {};\nconsole.log(t);\nconsole.error(t);".format(
            '"é ☂ 𝄞 \\u0000 \\u2028 \\u{10ffff}"'
        ),
    }[language]
    run = start(code, language).result.run
    assert (run.stdout, run.stderr) == (text + "\n", text + "\n")


MODULES = {
    "python": (
        "from tools_of_mine.sums import add\nimport flat\nprint(add(1, 2), flat.NAME)",
        {
            "tools_of_mine/__init__.py": "",
            "tools_of_mine/sums.py": "def add(a, b): return a + b",
            "flat.py": "NAME = 'flat'",
        },
    ),
    "javascript": (
        (
            "import { add } from './lib/sums.js';\nimport { NAME } from './flat.ts';\n"
            "console.log(add(1, 2), NAME);"
        ),
        {
            "lib/sums.js": "import { zero } from '../zero.mjs';\n"
            "export const add = (a, b) => zero + a + b;",
            "zero.mjs": "export const zero = 0;",
            "flat.ts": "export const NAME: string = 'flat';",
        },
    ),
}


@both
def test_modules_in_several_files(language):
    """A program imports the modules that were given with it, from folders too."""
    code, sources = MODULES[language]
    files = [File(name=name, content=text.encode()) for name, text in sources.items()]
    assert printed(code, language, files=files) == "3 flat\n"


@both
def test_binary_files(language):
    """A file's bytes are the same to the program in each of the three encodings."""
    data = bytes(range(256))
    files = [
        File(name="text.txt", content="é☂".encode(), encoding=Encoding.UTF8),
        File(name="in/b64.bin", content=base64.b64encode(data), encoding=Encoding.BASE64),
        File(name="in/hex.bin", content=data.hex().encode(), encoding=Encoding.HEX),
    ]
    code = {
        "python": (
            "d = bytes(range(256))\n"
            "print(all(open(f'/in/{n}.bin', 'rb').read() == d for n in ('b64', 'hex')))\n"
            "print(open('text.txt', encoding='utf-8').read())"
        ),
        "javascript": (
            "const fs = require('node:fs');\n"
            "console.log(['b64', 'hex'].every((n) => fs.readFileSync(`/in/${n}.bin`)"
            ".every((b, i, all) => b === i && all.length === 256)) ? 'True' : 'False');\n"
            "console.log(fs.readFileSync('text.txt', 'utf8'));"
        ),
    }[language]
    assert printed(code, language, files=files) == "True\né☂\n"


@both
def test_files_come_out(language):
    """The files that a program leaves are in the execution, sorted, with those it was given."""
    code = {
        "python": "import os; os.mkdir('d'); os.remove('gone'); open('d/b', 'wb').write(b'\\xff')",
        "javascript": (
            "const fs = require('fs'); fs.mkdirSync('d');\n"
            "fs.writeFileSync('d/b', new Uint8Array([255])); fs.unlinkSync('gone');"
        ),
    }[language]
    given = [File(name="kept", content=b"k"), File(name="gone", content=b"g")]
    execution = start(code, language, files=given)
    assert [(file.path, file.content) for file in execution.files] == [
        ("/d/b", b"\xff"),
        ("/kept", b"k"),
    ]


@both
def test_memory_is_real(language):
    """Memory grows with what is held."""
    work = {
        "python": "x = bytearray({size})",
        "javascript": "const x = new Uint8Array({size}).fill(1);",
    }[language]
    little = start(work.format(size=1), language).result
    much = start(work.format(size=64 << 20), language).result
    assert little.memory_bytes < much.memory_bytes < 256 << 20
    assert much.memory_bytes - little.memory_bytes > 60 << 20


def test_time_is_wall_time():
    """The time of a run that is stopped is what passed, whoever used it."""
    cancel = CancelToken()

    def on_output(stream, data):
        time.sleep(0.2)
        cancel.cancel()

    before_ns = time.monotonic_ns()
    execution = start(ENDLESS["python"], "python", cancel=cancel, on_output=on_output)
    elapsed_ms = (time.monotonic_ns() - before_ns) // 10**6
    assert execution.exit_code == 130
    assert 200 <= execution.result.time_ms <= elapsed_ms


# --- one run does not touch the next ---


@both
def test_limits_do_not_stick(language):
    """A run with small limits leaves the next one its own."""
    flood = {
        "python": "while True: print('y' * 99)",
        "javascript": "for (;;) console.log('y'.repeat(99));",
    }[language]
    for _ in range(2):
        assert start(flood, language, limits=small(output_limit_bytes=1000)).exit_code == 1
        big = {
            "python": "x = bytearray(100 << 20); print('y' * 2000)",
            "javascript": "new Uint8Array(100 << 20).fill(1); console.log('y'.repeat(2000))",
        }[language]
        assert start(big, language, limits=small(memory_limit_bytes=32 << 20)).exit_code != 0
        assert len(printed(big, language)) == 2001


@both
def test_nothing_is_left_behind(language):
    """Variables, files, environment and patched builtins of one run are not in the next."""
    dirty = {
        "python": "import builtins, os\nbuiltins.x = 1\nopen('/f', 'w').close()\n"
        "os.environ['X'] = '1'\nlen.__self__.print = None",
        "javascript": "globalThis.x = 1; require('fs').writeFileSync('/f', '');\n"
        "process.env.X = '1'; Array.prototype.map = null;",
    }[language]
    clean = {
        "python": "import builtins, os\n"
        "print(hasattr(builtins, 'x'), os.path.exists('/f'), 'X' in os.environ)",
        "javascript": "console.log([typeof x !== 'undefined', require('fs').existsSync('/f'), "
        "'X' in process.env].map((b) => b ? 'True' : 'False').join(' '));",
    }[language]
    for _ in range(3):
        assert start(dirty, language).exit_code == 0
        assert printed(clean, language) == "False False False\n"


@both
def test_two_runs_in_threads(language):
    """Runs in two threads at once do not see each other, and each has its own output."""
    code = {
        "python": "import sys\nname = sys.argv[1]\nopen('/f', 'w').write(name)\n"
        "for i in range(2000): globals()['n'] = name\n"
        "print(open('/f').read(), n, sys.argv[1])",
        "javascript": "const fs = require('fs'); const name = process.argv[2];\n"
        "fs.writeFileSync('/f', name);\nfor (let i = 0; i < 2000; i++) globalThis.n = name;\n"
        "console.log(fs.readFileSync('/f', 'utf8'), n, process.argv[2]);",
    }[language]
    found, gate = {}, threading.Barrier(4)

    def work(name):
        gate.wait(60)
        for _ in range(5):
            found.setdefault(name, []).append(printed(code, language, args=[name]))

    threads = [threading.Thread(target=work, args=(f"run{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"run{n}": [f"run{n} run{n} run{n}\n"] * 5 for n in range(4)}

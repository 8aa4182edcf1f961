"""`cloche run` as people use it: every option, the output and the exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess

import pytest
from tests.cli.support import LATE, START, cloche, environment

from cloche.exec.types import ExecResult, StageResult

SHOW = """
import json, os, sys, time, random
print(json.dumps([
    sys.argv, os.environ["NAME"], sys.stdin.read(), time.time(), open("data/in.txt").read(),
    sorted(os.listdir("/")), open("top.bin", "rb").read().hex(),
]))
print(random.random(), file=sys.stderr)
os.makedirs("made/deep"); open("made/deep/ü.txt", "w").write("out")
sys.exit(5)
"""


def test_every_option_of_a_file(tmp_path):
    """A file with arguments, environment, input, files, clock, seed and record, in one run."""
    (tmp_path / "show.py").write_text(SHOW, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/in.txt").write_text("é", encoding="utf-8")
    (tmp_path / "x.bin").write_bytes(b"\x00\xff")
    options = [
        *("--arg", "a b", "--arg", "ü", "--env", "NAME=v=1", "--stdin", "in", "--file", "data"),
        *("--file", "top.bin=x.bin", "--now", "2026-01-31T12:00:00Z", "--seed", "7"),
        *("--timeout", "20s", "--memory", "128MiB", "--image", "python"),
    ]
    first = cloche(
        "run", "show.py", *options, "--out", "out", "--record", "run.journal", cwd=tmp_path
    )
    assert first.exit_code == 5
    found = json.loads(first.stdout)
    assert 1769860800 <= found.pop(3) < 1769860801
    assert found == [
        ["show.py", "a b", "ü"],
        "v=1",
        "in",
        "é",
        ["data", "top.bin"],
        "00ff",
    ]
    out = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert out == {"made/deep/ü.txt"}
    second = cloche("run", "show.py", *options, cwd=tmp_path)
    assert (second.stdout, second.stderr) == (first.stdout, first.stderr)
    other = cloche("run", "show.py", *options, "--seed", "8", cwd=tmp_path)
    assert (other.stdout, other.stderr == first.stderr) == (first.stdout, False)
    again = cloche("replay", "run.journal", cwd=tmp_path)
    assert (again.exit_code, again.stdout) == (0, first.stdout)


def test_json():
    """`--json` prints one object of the documented shape, and nothing else."""
    done = cloche("run", "-l", "js", "-c", "console.log('ä'); console.error('e')", "--json")
    document = done.document
    assert (done.exit_code, done.stderr) == (0, "")
    assert set(document) >= {"language", "result", "error", "run_id", "journal_hash"}
    assert set(document["result"]) == set(ExecResult.__dataclass_fields__)
    assert set(document["result"]["run"]) == set(StageResult.__dataclass_fields__)
    assert (document["language"], document["error"]) == ("javascript", None)
    assert document["result"]["run"] == {
        "stdout": "ä\n",
        "stderr": "e\n",
        "exit_code": 0,
        "signal": None,
    }
    assert document["result"]["compile"] is None
    assert document["result"]["memory_bytes"] > 1 << 20
    assert document["result"]["time_ms"] >= 0
    assert [len(document[name]) for name in ("run_id", "journal_hash")] == [32, 64]


GROW = "console.log('x'); const a = []; for (;;) a.push(new Array(1e5).fill(1))"
# (options, exit code, error code, case of stderr without --json)
FAILURES = {
    "compile": (["-l", "ts", "-c", "let x: = 1"], 1, "COMPILATION_FAILED", "SyntaxError"),
    "run": (["-c", "print('x'); 1/0"], 1, "RUNTIME_FAILED", "ZeroDivisionError"),
    "time": (
        ["-c", "print('x', flush=True)\nwhile 1: pass", "--timeout", "100"],
        124,
        "TIMEOUT",
        (
            "cloche: the program ran longer than 100 ms; raise guests.timeout_ms (--timeout) if it "
            "needs more\n"
        ),
    ),
    "memory": (
        [
            "--timeout",
            "60s",
            "--memory",
            "32MiB",
            "-l",
            "js",
            "-c",
            GROW,
        ],
        137,
        "RESOURCE_EXCEEDED",
        (
            "cloche: the program ran out of memory: guests.memory_limit_bytes is 33554432; raise "
            "it (--memory) if the program needs more\n"
        ),
    ),
    "fuel": (
        ["--timeout", "60s", "-l", "js", "-c", "console.log('x'); for (;;);", "--fuel", "9000000"],
        1,
        "RESOURCE_EXCEEDED",
        (
            "cloche: the program ran out of fuel: guests.fuel is 9000000; raise it (--fuel) if the "
            "program needs more\n"
        ),
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name):
    """Each way to fail has its exit code, its error in JSON, and one telling of it on stderr."""
    options, exit_code, code, told = FAILURES[name]
    start = LATE if name == "time" else START
    plain, in_json = (cloche("run", *options, *more, start=start) for more in ((), ("--json",)))
    assert (plain.exit_code, in_json.exit_code) == (exit_code, exit_code)
    document = in_json.document
    assert set(document["error"]) == {"code", "message", "blame", "retryable", "fields"}
    assert document["error"]["code"] == code
    if name in {"compile", "run"}:
        assert told in plain.stderr
        assert "cloche:" not in plain.stderr
    else:
        assert plain.stderr == told
    if name == "compile":
        assert document["result"]["compile"]["exit_code"] == 1
    else:
        assert plain.stdout == document["result"]["run"]["stdout"] == "x\n"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "print('live', flush=True)\nimport sys\nwhile True: pass"),
        ("javascript", "console.log('live'); for (;;);"),
    ],
)
def test_live_output_and_interrupt(language, code):
    """Output comes at once; Ctrl-C ends the run with 130, long before its time limit."""
    with subprocess.Popen(
        [*START, "run", "-l", language, "-c", code, "--timeout", "600s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout.readline() == b"live\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_reader_that_goes_away():
    """A closed pipe ends the run in silence."""
    with subprocess.Popen(
        [*START, "run", "-c", "while True: print('y' * 1000)", "--timeout", "600s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_where_programs_come_from(tmp_path):
    """Standard input, a file of any language, a first line with #! — and a pipe is the input."""
    done = cloche("run", "-", "-l", "js", stdin=b"console.log(1 + 1)")
    assert (done.exit_code, done.stdout) == (0, "2\n")
    (tmp_path / "a.ts").write_text("const n: number = 3; console.log(n)", encoding="utf-8")
    assert cloche("run", "a.ts", cwd=tmp_path).stdout == "3\n"
    (tmp_path / "tool").write_text("#!/usr/bin/env node\nconsole.log(4)", encoding="utf-8")
    assert cloche("run", str(tmp_path / "tool")).stdout == "4\n"
    done = cloche("run", "-c", "print(input(), input())", stdin="é\nb".encode())
    assert done.stdout == "é b\n"


def test_where_input_comes_from(tmp_path):
    """`--stdin` takes text, a file, or ours; bytes pass unchanged, text or not."""
    (tmp_path / "in").write_bytes(b"\x00\xff")
    code = "import sys; print(sys.stdin.buffer.read())"
    assert cloche("run", "-c", code, "--stdin", "@in", cwd=tmp_path).stdout == "b'\\x00\\xff'\n"
    assert cloche("run", "-c", code, "--stdin", "-", stdin=b"\xfe").stdout == "b'\\xfe'\n"
    assert cloche("run", "-c", code, "--stdin", os.fsdecode(b"a\xff")).stdout == "b'a\\xff'\n"


def test_out_writes_nothing_outside(tmp_path):
    """Files come back into the folder only: not those that were given, not through links."""
    (tmp_path / "given").write_text("g", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path / "elsewhere")
    code = "import os\nos.chdir('/')\nopen('../../a', 'wb').write(b'\\xff')"
    done = cloche("run", "-c", code, "--file", "given", "--out", "out", cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "link"]
    assert (tmp_path / "out/a").read_bytes() == b"\xff"
    code = "import os\nos.mkdir('link'); open('link/b', 'w').write('x')"
    done = cloche("run", "-c", code, "--out", "out", cwd=tmp_path)
    assert done.exit_code == 2
    assert done.stderr == (
        "cloche: out/link/b leads out of out through a link; nothing is written there\n"
    )
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_configuration(tmp_path):
    """Limits come from the file and the environment; `--config` names another file."""
    (tmp_path / "cloche.toml").write_text("[limits.guests]\ntimeout_ms = 50\n", encoding="utf-8")
    (tmp_path / "other.toml").write_text(
        "[limits.guests]\noutput_limit_bytes = 2\n", encoding="utf-8"
    )
    code = ["run", "-l", "js", "-c", "console.log('long'); for (;;);"]
    done = cloche(*code, cwd=tmp_path)
    assert (done.exit_code, "50 ms" in done.stderr) == (124, True)
    done = cloche(*code, "--config", "other.toml", cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (1, "lo")
    done = cloche(*code, cwd=tmp_path, env={"EXEC_TIMEOUT_MS": "60"})
    assert "60 ms" in done.stderr


CASSETTE = "try:\n  print(tools.it())\nexcept Exception as e:\n  print(e.code)"


def test_fixture_world(tmp_path):
    """In the fixture world a cassette answers; a program that asks for more diverges."""
    options = ["--seed", "1", "--now", "2026-01-31T12:00:00+01:00", "--stdin", ""]
    first = cloche("run", "-c", CASSETTE, *options, "--record", "c.journal", cwd=tmp_path)
    assert first.stdout == "POLICY_DENIED\n"
    fixture = ["--world", "fixture", "--cassette", "c.journal"]
    again = cloche("run", "-c", CASSETTE, *options, *fixture, cwd=tmp_path)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    other = cloche("run", "-c", CASSETTE.replace("it()", "x()"), *options, *fixture, cwd=tmp_path)
    assert other.exit_code != 0
    assert "Traceback" not in other.stderr
    assert other.stderr.startswith("cloche: ")
    alone = cloche("run", "-c", CASSETTE, *options, "--world", "fixture", cwd=tmp_path)
    assert (alone.exit_code, alone.stderr) == (
        2,
        "cloche: --world fixture needs --cassette, the journal that answers\n",
    )


def test_a_crash_leaves_no_core_file():
    """What the process holds, secrets too, is not written to the disk when it dies."""

    def allow_core_files():
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    with subprocess.Popen(
        [*START, "run", "-c", "print('up')\nwhile True: pass", "--timeout", "600s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment(),
        preexec_fn=allow_core_files,  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdout.readline() == b"up\n"
        soft, _ = resource.prlimit(process.pid, resource.RLIMIT_CORE)
        process.kill()
    assert soft == 0

"""The process object: input, output, end of the run, and what a run leaves for the next."""

from __future__ import annotations

import pytest

from .driver import run


def test_stdout_write_adds_nothing() -> None:
    """Output is exactly what was written, in the encoding asked for."""
    done = run(
        "process.stdout.write('a'); process.stdout.write(Buffer.from([255]));"
        "process.stdout.write('\\u00e9', 'latin1'); process.stderr.write('e\\n')"
    )

    assert (done.stdout, done.stderr) == (b"a\xff\xe9", b"e\n")


def test_stdout_write_refuses_what_is_not_text_or_bytes() -> None:
    """A number is a TypeError, not text."""
    done = run("process.stdout.write(5)")

    assert "".join(done.uncaught) == (
        'TypeError: The "chunk" argument must be of type string or an instance of Buffer, '
        "TypedArray, or DataView. Received type number (5)"
    )


def test_stdout_is_a_stream() -> None:
    """A pipeline can end in standard output."""
    done = run(
        "const {pipeline, Readable} = require('stream');"
        "pipeline(Readable.from(['x', 'y']), process.stdout, (e) => console.log(String(e)))"
    )

    assert (done.stdout, done.uncaught) == (b"xy", [])


def test_argv_and_environment_are_those_of_the_run() -> None:
    """The first two arguments are the engine and the program, as in node."""
    done = run(
        "console.log(process.argv.join()); console.log(JSON.stringify(process.env))",
        arguments=("-x", "é"),
        environment={"A": "1"},
    )

    assert done.lines == ["/usr/local/bin/node,/main.js,-x,é", '{"A":"1"}']


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("process.exit(3)", 3),
        ("process.exit()", 0),
        ("process.exitCode = 4; process.exit()", 4),
        ("process.on('exit', () => { process.exitCode = 9 }); process.exit(1)", 9),
        ("process.exit('7')", 7),
        ("process.exit(256 + 2)", 2),
        ("try { process.exit(5) } finally { console.log('no') }", 5),
        ("process.abort()", 134),
    ],
)
def test_exit_ends_the_run_with_its_code(code: str, expected: int) -> None:
    """The code is what the program said last, kept to a byte."""
    assert run(code).exit_code == expected


def test_exit_event_has_the_code_and_comes_once() -> None:
    """A listener that calls exit again does not start the event again."""
    done = run(
        "process.on('exit', (c) => { process.stdout.write(`exit ${c};`); process.exit(8) });"
        "process.exit(2)"
    )

    assert (done.stdout, done.exit_code) == (b"exit 2;", 8)


def test_ticks_come_before_promise_callbacks_queued_after() -> None:
    """A tick keeps its own order, also for ticks that ticks add."""
    done = run(
        "process.nextTick((x) => { console.log(x);"
        "process.nextTick(() => console.log('t3')) }, 't1');"
        "Promise.resolve().then(() => console.log('micro'));"
        "process.nextTick(() => console.log('t2')); setImmediate(() => console.log('macro'))"
    )

    assert done.lines == ["t1", "t2", "t3", "micro", "macro"]


def test_a_tick_that_throws_does_not_stop_the_others() -> None:
    """The error reaches the event loop; the next tick still runs."""
    done = run(
        "process.nextTick(() => { throw new Error('one') });"
        "process.nextTick(() => console.log('two'))"
    )

    assert done.lines == ["two"]


@pytest.mark.parametrize(
    "code",
    [
        """process.stdin.setEncoding('utf8'); process.stdin.on('data', (c) => { t += c });
        process.stdin.on('end', () => show(t))""",
        "for await (const c of process.stdin) t += c; show(t)",
        "show(require('fs').readFileSync(0, 'utf8'))",
        "show(require('fs').readFileSync('/dev/stdin', 'utf8'))",
        """const rl = require('readline').createInterface({input: process.stdin});
        const l = []; rl.on('line', (x) => l.push(x)).on('close', () => show(l.join('\\n')))""",
        """const rl = require('readline').createInterface({input: process.stdin});
        const l = []; for await (const x of rl) l.push(x); show(l.join('\\n'))""",
    ],
)
def test_standard_input_can_be_read_in_every_way(code: str) -> None:
    """Events, iteration, files and lines all give the same text."""
    start = "let t = ''; const show = (text) => console.log(JSON.stringify(text));"

    assert run(start + code, stdin="é1\nb\n\nend".encode()).lines == ['"é1\\nb\\n\\nend"']


def test_questions_are_answered_line_by_line() -> None:
    """Lines that come together wait for the question they answer."""
    done = run(
        "const rl = require('readline/promises').createInterface("
        "{input: process.stdin, output: process.stdout});"
        "const a = await rl.question('name? '); const b = await rl.question('age? ');"
        "console.log(a, b); rl.close()",
        stdin=b"Ada\n36\nmore\n",
    )

    assert (done.lines, done.stdout) == (["Ada 36"], b"name? age? ")


def test_a_question_after_the_interface_is_closed_is_an_error() -> None:
    """The error has node's code."""
    done = run(
        "const rl = require('readline').createInterface({input: process.stdin}); rl.close();"
        "try { rl.question('?', () => {}) } catch (e) { console.log(e.code) }"
    )

    assert done.lines == ["ERR_USE_AFTER_CLOSE"]


def test_a_new_run_of_a_session_starts_clean() -> None:
    """What a run did to argv, the environment and the directory does not reach the next one."""
    done = run(
        "require('fs').mkdirSync('/d'); process.chdir('/d');"
        "process.env.X = '1'; process.argv.push('z');"
        "process.exitCode = 3; process.on('exit', () => console.log('stale'));"
        "console.log(process.cwd()); __library.beginRun();"
        "console.log(process.cwd(), String(process.env.X), process.argv.length,"
        "String(process.exitCode));"
        "__library.emitExit()"
    )

    assert done.lines == ["/d", "/ undefined 2 undefined"]


def test_randomness_comes_from_the_seed() -> None:
    """The same seed gives the same values, another seed others."""
    code = (
        "console.log(crypto.randomUUID(), require('crypto').randomBytes(8).toString('hex'),"
        "require('fs').mkdtempSync('/t-'), String(crypto.getRandomValues(new Uint8Array(4))))"
    )

    first, same, other = run(code, seed=7), run(code, seed=7), run(code, seed=8)

    assert first.lines == same.lines != other.lines


def test_time_is_that_of_the_virtual_clock() -> None:
    """The performance object counts from the start of the run, hrtime is the clock itself."""
    done = run(
        "console.log(performance.timeOrigin > 1.6e12, performance.now() < 50, process.uptime() < 1,"
        "process.hrtime.bigint() > 1600000000000000000n)"
    )

    assert done.lines == ["true true true true"]

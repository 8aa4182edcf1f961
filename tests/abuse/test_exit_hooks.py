"""Attack: code that waits for the end of the program and then does not let it end."""

from __future__ import annotations

import pytest

from abuse.support import attack, completes, exceeds, times_out


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import atexit\n@atexit.register\ndef f():\n    while True: pass", "python"),
        ("import sys\ndef h(*a):\n    while True: pass\nsys.excepthook = h\n1 / 0", "python"),
        ("process.on('exit', () => { for (;;); })", "javascript"),
        (
            "process.on('uncaughtException', () => { for (;;); });setTimeout(() => { throw 1 }, 1)",
            "javascript",
        ),
        ("process.on('unhandledRejection', () => { for (;;); }); Promise.reject(1)", "javascript"),
        ("throw new Proxy({}, { get() { for (;;); } })", "javascript"),
        (
            "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
            "python",
        ),
        (
            (
                "import sys\nclass S:\n    def write(self, text): pass\n"
                "    def flush(self):\n        while True: pass\nsys.stdout = S()"
            ),
            "python",
        ),
    ],
)
def test_a_hook_that_never_ends(code, language):
    """Hooks run inside the time limit."""
    times_out(code, language)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import atexit\n@atexit.register\ndef f():\n    while True: print('x' * 99)", "python"),
        ("process.on('exit', () => { for (;;) console.log('x'.repeat(99)) })", "javascript"),
    ],
)
def test_a_hook_that_prints_for_ever(code, language):
    """Hooks run inside the output limit."""
    exceeds("output", code, language)


def test_hooks_that_register_more_hooks():
    """Python runs what was registered before the end, and no more."""
    completes("import atexit\ndef f(): atexit.register(f)\nf()", "python")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("import atexit, os\natexit.register(os._exit, 7)", "python"),
        ("process.on('exit', () => process.exit(7))", "javascript"),
        ("process.on('exit', () => { process.exitCode = 7 })", "javascript"),
    ],
)
def test_a_hook_may_choose_the_exit_code(code, language):
    """That is what such hooks are for."""
    completes(code, language, exit_code=7)


def test_hooks_do_not_run_after_a_stop():
    """What the host ended says nothing more."""
    code = "import atexit\natexit.register(print, 'still here')\nwhile True: pass"
    assert "still here" not in times_out(code, "python").run.stdout
    code = "process.on('exit', () => console.log('still here')); for (;;);"
    assert "still here" not in times_out(code, "javascript").run.stdout


def test_work_that_is_started_while_exiting():
    """Timers and promises that an exit listener starts are not waited for."""
    code = "process.on('exit', () => { setInterval(() => console.log('still here'), 1) })"
    assert completes(code, "javascript") == ""


def test_one_handler_after_another():
    """An error in the handler of an error is the end."""
    _, error = attack("process.on('uncaughtException', () => { throw 1 }); throw 2", "javascript")
    assert error is not None
    assert error.case == "runtime-failed"

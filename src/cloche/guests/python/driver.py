"""Turns: start a program, go on with it, say how it ended.

The host has a job executed as if it were source; everything else is behind it. A turn ends with one
report, or with none: the program is done, exit code 0.
"""

import _random
import ast
import atexit
import builtins
import gc
import linecache
import os
import random
import sys
import types

import __main__

from _cloche import app, display, host
from _cloche.loop import Loop, tell_unheard

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_CO_COROUTINE = 0x80
_REPL = "<repl>"  # programs of this name show their last value, as at a prompt
_COMPILE_ERRORS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)

_cwd = "/"
_task = None
_loop = None
_DONE = {"state": "done", "exit_code": 0}
# Made ahead: when it is needed there is no memory to make it.
_MEMORY_BYTES = (
    b'\x03{"state":"failed","stage":"run","exit_code":1,"resource":"memory",'
    b'"error":{"name":"MemoryError","message":""}}'
)


def turn(text):
    try:
        try:
            report = _run(host.decode(text))
        except BaseException as error:
            # What ends a run calls the program's own code (streams, hooks, `__str__`), which may
            # raise anything. The run ends all the same, and says why.
            report = _report_of(error)
            _show_plainly(error)
        if report is _DONE:
            return
        host.send(host.REPORT, report)
    except MemoryError:
        host._call(_MEMORY_BYTES)
    raise SystemExit(1)  # caught by the module, whose status it is: there is a report


def take_jobs(reactor):
    """Let the module run jobs, which are JSON objects, beside sources.

    It would parse a source into a tree of objects and compile that, which takes longer than a turn.

    Args:
        reactor: the globals of the module's own Python code.
    """
    plain = reactor["_run_turn"]

    def run(text, name):
        if text.startswith("{"):
            _cloche_turn(text)
        else:
            plain(text, name)

    reactor["_run_turn"] = run


builtins._cloche_turn = turn


def _run(job):
    op = job["op"]
    try:
        if op == "start":
            report = _start(job)
        else:
            if op == "deliver":
                host.deliver(job["completions"])
            report = _drive()
    except BaseException as error:
        report = _failed(error)
    if report["state"] != "waiting":
        report = _exit(report)
        if report.get("resource") != "memory":
            tell_unheard()
    _flush(sys.stdout)
    _flush(sys.stderr)
    return report


def _flush(stream):
    try:
        stream.flush()
    except BaseException:
        # The program closed or replaced its stream; what it cannot print is lost by its own wish.
        pass


def _start(job):
    global _task, _loop
    _task = _loop = None
    host.pending.clear()  # answers to what an earlier run asked for never come
    filename, source = job["filename"], job["code"]
    _prepare(job)
    if filename == app.NAME:
        asked = app.ask(source)
        return _DONE if asked is None else _begin(asked)
    try:
        program = _echoing(source, filename) if filename == _REPL else source
        code = compile(program, filename, "exec", flags=_FLAGS, dont_inherit=True)
    except _COMPILE_ERRORS as error:
        display.show_syntax(error)
        return {
            "state": "failed",
            "stage": "compile",
            "exit_code": 1,
            "error": display.describe(error),
        }
    namespace = __main__.__dict__
    linecache.cache[filename] = (lambda: source,)
    if code.co_flags & _CO_COROUTINE:
        return _begin(types.FunctionType(code, namespace)())
    exec(code, namespace)
    return _DONE


def _begin(coroutine):
    """Run a coroutine as far as it comes in this turn."""
    global _task, _loop
    _loop = Loop()
    _loop.enter()
    try:
        _task = _loop.create_task(coroutine)
    finally:
        _loop.leave()
    return _drive()


def _echoing(source, filename):
    """Return the program as a tree that shows the value of its last expression."""
    tree = compile(source, filename, "exec", flags=_FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body[-1]
        show = ast.parse("__import__('sys').displayhook(0)", mode="eval").body
        show.args = [last.value]
        tree.body[-1] = ast.copy_location(ast.Expr(show), last)
        ast.fix_missing_locations(tree)
    return tree


def _prepare(job):
    if not job.get("persist") or "__cloche_started__" not in globals():
        _reset(job["filename"])
        globals()["__cloche_started__"] = True
    sys.argv = job["argv"]
    sys.path[:0] = [path for path in job["path"] if path not in sys.path]
    if os.environ or job["env"]:
        os.environ.clear()
        os.environ.update(job["env"])
    global _cwd
    if job["cwd"] != _cwd:
        _cwd = job["cwd"]
        os.chdir(_cwd)
    # As random.seed, without its checks: this is on the path of every run.
    _random.Random.seed(random._inst, job["seed"])
    random._inst.gauss_next = None
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(job["seed"] % 2**32)


def _reset(filename):
    namespace = __main__.__dict__
    namespace.clear()
    namespace.update(
        __name__="__main__",
        __doc__=None,
        __package__=None,
        __loader__=None,
        __spec__=None,
        __builtins__=builtins,
        __file__=filename,
    )


def _drive():
    loop, task = _loop, _task
    loop.enter()
    try:
        while not task.done():
            if not loop.step():
                return {"state": "waiting", "wake_ns": loop.wake_ns()}
    finally:
        loop.leave()
        if task.done() and not task.cancelled():
            task.exception()  # the run ends with it, also where the loop raised it (SystemExit)
    task.result()
    return _DONE


def _failed(error):
    if isinstance(error, SystemExit):
        return _exited(error.code)
    if isinstance(error, BaseExceptionGroup):
        matching, _ = error.split(SystemExit)
        if matching is not None and len(matching.exceptions) == 1:
            return _exited(getattr(matching.exceptions[0], "code", 1))
    resource = display.resource(error)
    if resource == "memory":
        error.__traceback__ = display._strip(error.__traceback__)
        __main__.__dict__.clear()
        gc.collect()
    report = _report_of(error)
    try:
        display.show(error)
    except MemoryError:
        report["resource"] = "memory"
    except BaseException as problem:
        # A broken excepthook: show what it was to show, then what it did.
        sys.excepthook = sys.__excepthook__
        _show_plainly(error)
        _show_plainly(problem)
    return report


def _report_of(error):
    return {
        "state": "failed",
        "stage": "run",
        "exit_code": 1,
        "error": display.describe(error),
        "resource": display.resource(error),
    }


def _show_plainly(error):
    try:
        import traceback

        display.strip(error)
        traceback.print_exception(error, file=sys.stderr)
    except BaseException:
        # The program broke stderr too. The report still names the error.
        pass


def _exited(code):
    if code is None:
        return _DONE
    if isinstance(code, int):
        code = int.__and__(code, 0xFF)
        return {"state": "done", "exit_code": code} if code else _DONE
    print(code, file=sys.stderr)
    return {"state": "done", "exit_code": 1}


def _exit(report):
    """Run what the program asked to be run at its end."""
    try:
        atexit._run_exitfuncs()
    except SystemExit as error:
        return _exited(error.code)
    except BaseException as error:
        if report["state"] == "done":
            return _failed(error)
    return report

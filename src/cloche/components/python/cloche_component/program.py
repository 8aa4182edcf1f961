"""Runs programs: a sandbox's names, files and modules, one program at a time, its output captured.

Invariants: between two programs nothing of a sandbox is left in `sys.modules`, `sys.argv` or the
environment; output is kept in the order in which it was written. Time and memory are not limited
here: the host that instantiates the component does it.
"""

import base64
import binascii
import errno
import io
import linecache
import os
import sys
import time
import traceback
import types as python

from cloche_component import modules, route
from cloche_component.files import FILE_LIMIT_BYTES, Tree
from componentize_py_types import Err
from wit_world.exports import types

FILENAME = "main.py"
OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024
CHUNK_LIMIT_BYTES = 64 * 1024
STDOUT, STDERR = 0, 1
FULL = {errno.EFBIG, errno.ENOSPC}


def internal(message):
    """Return the error of a request that cannot be done."""
    return Err(types.Error_Internal(message))


class OutputLimitError(BaseException):
    """The program has written more than is kept; no `except Exception` holds it."""


class Output:
    """What a program writes, as chunks in order."""

    def __init__(self):
        self.chunks = []
        self.size = 0
        self.full = False

    def write(self, stream, data):
        """Keep a chunk, or end the program."""
        data = data[: OUTPUT_LIMIT_BYTES - self.size]
        self.size += len(data)
        last = self.chunks[-1] if self.chunks else None
        if last and last[0] == stream and len(last[1]) + len(data) <= CHUNK_LIMIT_BYTES:
            last[1].extend(data)
        elif data:
            self.chunks.append((stream, bytearray(data)))
        if self.size >= OUTPUT_LIMIT_BYTES:
            self.full = True
            raise OutputLimitError

    def text(self, stream):
        """Return all of one stream; what is no UTF-8 is replaced."""
        return b"".join(data for to, data in self.chunks if to == stream).decode(errors="replace")


class Writer(io.BufferedIOBase):
    """The bytes of `sys.stdout` or `sys.stderr`."""

    def __init__(self, output, stream):
        self._output, self._stream = output, stream

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        self._output.write(self._stream, data)
        return len(data)

    def text(self):
        """Return the text file on top."""
        return io.TextIOWrapper(self, "utf-8", "backslashreplace", write_through=True)


class Sandbox:
    """The names, files and modules that programs share; in a folder of the host if it gave one."""

    def __init__(self, language, initial):
        if language.kind is not types.LanguageKind.PYTHON:
            raise Err(types.Error_UnsupportedLanguage())
        self.cwd = "/"
        self.modules = {}
        self.main = python.ModuleType("__main__")
        self.main.__file__ = FILENAME
        self.tree = None if route.folder_given() else Tree()
        for file in initial:
            self.write(file)

    def __enter__(self):
        modules.install()
        route.use(self.tree)
        os.chdir(self.cwd)
        modules.enter(self.modules)

    def __exit__(self, *_):
        modules.leave(self.modules)
        route.use(None)

    def _do(self, action, path):
        try:
            with self:
                return action()
        except (OSError, ValueError) as error:
            raise internal(f"{path!r}: {getattr(error, 'strerror', None) or error}") from None

    def write(self, file):
        """Make a file and the folders that it is in."""
        data = decoded(file)

        def action():
            path = os.path.abspath(file.name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as target:
                target.write(data)

        self._do(action, file.name)

    def read(self, path):
        """Return the bytes of a file."""

        def action():
            with open(path, "rb") as source:
                return source.read()

        return self._do(action, path)

    def names(self, folder):
        """Return what is in a folder, sorted; a folder's name ends in a slash."""

        def action():
            with os.scandir(folder or ".") as entries:
                return sorted(entry.name + "/" * entry.is_dir() for entry in entries)

        return self._do(action, folder)

    def enter_folder(self, path):
        """Change where programs start."""

        def action():
            os.chdir(path)
            self.cwd = os.getcwd()

        self._do(action, path)

    def run(self, snippet, options):
        """Run a program to its end.

        Returns:
            its output, and the `ExecResult` or the error that it ended with.
        """
        output = Output()
        with self:
            began = time.monotonic_ns()
            self._prepare(output, options)
            try:
                stage, exit_code = self._execute(snippet, output)
            except OutputLimitError:
                stage, exit_code = "limit", None
            took_ms = (time.monotonic_ns() - began) // 10**6
        if output.full or stage == "limit":
            return output, types.Error_ResourceExceeded()
        result = types.StageResult(output.text(STDOUT), output.text(STDERR), exit_code, None)
        if stage == "compile":
            return output, types.Error_CompilationFailed(result)
        if stage == "failed":
            return output, types.Error_RuntimeFailed(result)
        return output, types.ExecResult(None, result, took_ms, None)

    def _prepare(self, output, options):
        sys.modules["__main__"] = self.main
        sys.argv[:] = [FILENAME, *(options.args or ())]
        os.environ.clear()
        os.environ.update(options.env or ())
        stdin = io.BytesIO((options.stdin or "").encode())
        sys.stdin = io.TextIOWrapper(stdin, "utf-8", "surrogateescape")
        sys.stdout = Writer(output, STDOUT).text()
        sys.stderr = Writer(output, STDERR).text()
        if self.tree is not None:
            asked = options.limits.file_size_bytes if options.limits else None
            self.tree.file_limit_bytes = FILE_LIMIT_BYTES if asked is None else asked

    def _execute(self, snippet, output):
        try:
            code = compile(snippet, FILENAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            # MemoryError is also what the parser says of too many brackets.
            report(output, error, None)
            return "compile", 1
        lines = snippet.splitlines(keepends=True)
        linecache.cache[FILENAME] = (len(snippet), None, lines, FILENAME)
        try:
            exec(code, self.main.__dict__)
        except SystemExit as error:
            return "done", exit_code(output, error)
        except OutputLimitError:
            raise
        except BaseException as error:
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in FULL:
                return "limit", None
            # The first frame is this one.
            report(output, error, error.__traceback__.tb_next)
            return "failed", 1
        return "done", 0


def report(output, error, trace):
    """Write the traceback of an error; the program may have closed or replaced `sys.stderr`."""
    text = "".join(traceback.format_exception(error.with_traceback(trace)))
    output.write(STDERR, text.encode(errors="backslashreplace"))


def exit_code(output, error):
    """Return what a shell would see of a `SystemExit`; a message goes to stderr."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    output.write(STDERR, f"{error.code}\n".encode(errors="backslashreplace"))
    return 1


def decoded(file):
    """Return the bytes of a `File`, or raise `internal`."""
    content = bytes(file.content)
    try:
        if file.encoding is types.Encoding.BASE64:
            return base64.b64decode(content, validate=True)
        if file.encoding is types.Encoding.HEX:
            return bytes.fromhex(content.decode("ascii"))
        if file.encoding is types.Encoding.UTF8:
            content.decode("utf-8")
    except (binascii.Error, ValueError) as error:
        name = file.encoding.name.lower()
        raise internal(f"{file.name!r} is not {name}: {error}") from None
    return content

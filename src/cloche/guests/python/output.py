"""Standard output that loses nothing: what is written is with the host when `write` returns.

A run that a limit ends cannot flush. So nothing is held back, not even a line without its end; and
`print` writes a line at once, as writing it in pieces would cost a host call for each.
"""

import builtins
import io
import sys
import time

_JOINED_MAX = 1 << 16  # longer text is not copied only to have its end
_print = builtins.print


def _stream(fd, errors):
    raw = io.FileIO(fd, "wb", closefd=False)
    raw.name = "<stdout>" if fd == 1 else "<stderr>"
    return io.TextIOWrapper(raw, "utf-8", errors, newline="\n", write_through=True)


def print(*args, sep=None, end=None, file=None, flush=False):
    """Print the values to a stream, or to sys.stdout by default.

    sep
      string inserted between values, default a space.
    end
      string appended after the last value, default a newline.
    file
      a file-like object (stream); defaults to the current sys.stdout.
    flush
      whether to forcibly flush the stream.
    """
    if (file is None or file is _stdout) and sys.stdout is _stdout:  # nothing is left to flush
        try:
            text = (" " if sep is None else sep).join(map(str, args))
            end = "\n" if end is None else end
            if len(text) < _JOINED_MAX:
                text, end = text + end, ""
        except (AttributeError, TypeError):
            pass  # wrong arguments, or a value that cannot be shown: said as always
        else:
            _write(text)
            if end:
                _write(end)
            return
    _print(*args, sep=sep, end=end, file=file, flush=flush)


def limit(count_max, rate_max):
    """Let a program print so many lines, and so many a second; what is begun on a line is one."""
    global _write
    inner = _stdout.write
    left, since_s, count = count_max, time.monotonic(), 0
    is_open = is_new = True

    def may_write():
        nonlocal left, since_s, count
        if left <= 0:
            if left == 0:
                inner("<more console output was dropped>\n")
            left = -1
            return False
        now_s = time.monotonic()
        if now_s - since_s >= 1:
            since_s, count = now_s, 0
        count += 1
        if count > rate_max:
            if count == rate_max + 1:
                inner(f"<lines beyond {rate_max} a second were dropped>\n")
            return False
        left -= 1
        return True

    def write(text):
        nonlocal is_open, is_new
        if text and is_new:
            is_open = may_write()
        if text:
            is_new = text.endswith("\n")
        if is_open:
            inner(text)
        return len(text)

    _stdout.write = _write = write


def install():
    """Put the streams and `print` in place of the interpreter's."""
    global _stdout, _write
    sys.stdout = sys.__stdout__ = _stdout = _stream(1, "strict")
    sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace")
    _write = _stdout.write
    print.__module__ = "builtins"
    builtins.print = print

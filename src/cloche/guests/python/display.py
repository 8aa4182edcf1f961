"""Tracebacks as their reader wants them: the frames of the program, none of the sandbox's."""

import errno
import sys
import traceback
import types

_HIDDEN = ("<cloche>/", "<turn ", "<frozen ", "/usr/local/lib/")
_FILE_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def _strip(tb):
    kept = []
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(_HIDDEN):
            kept.append(tb)
        tb = tb.tb_next
    stripped = None
    for entry in reversed(kept):
        stripped = types.TracebackType(stripped, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return stripped


def strip(error):
    """Leave only the program's frames in an error and all that it is chained to."""
    pending, seen = [error], set()
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _strip(current.__traceback__)
        pending += (current.__cause__, current.__context__)
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions


def show(error):
    """Write an uncaught error to stderr, as the program wants it shown."""
    sys.stdout.flush()
    strip(error)
    if sys.excepthook is not sys.__excepthook__:
        sys.excepthook(type(error), error, error.__traceback__)
    else:
        traceback.print_exception(error, file=sys.stderr)


def _show_unraisable(problem):
    frames = _strip(problem.exc_traceback)
    fields = (problem.exc_type, problem.exc_value, frames, problem.err_msg, problem.object)
    sys.__unraisablehook__(type(problem)(fields))


sys.unraisablehook = _show_unraisable


def show_syntax(error):
    """Write a syntax error to stderr: where it is, without any frames."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    traceback.print_exception(error, file=sys.stderr)


def describe(error):
    """Return an error as the turn report has it."""
    try:
        message = str.__str__(str(error))
    except BaseException as problem:
        message = f"<no message: {_name_of(problem)}>"
    return {"name": _name_of(error), "message": _sendable(message[:10000]), "stack": ""}


def _name_of(error):
    # Past any metaclass of the program's.
    return type.__dict__["__name__"].__get__(type(error))


def _sendable(text):
    # Half a surrogate pair cannot be encoded.
    return text.encode("utf-8", "replace").decode()


def resource(error):
    """Return what an error says that the program ran out of, or None."""
    if isinstance(error, MemoryError):
        # The parser has a stack of its own, and calls its end a lack of memory.
        return "stack" if _is_parser_stack(error) else "memory"
    if isinstance(error, RecursionError):
        return "stack"
    if isinstance(error, OSError) and _errno(error) in _FILE_ERRORS:
        return "files"
    return None


def _is_parser_stack(error):
    said = error.args[0] if error.args else None
    return type(said) is str and said.startswith("Parser stack overflowed")


def _errno(error):
    number = error.errno  # anything the program put there
    return number if type(number) is int else None

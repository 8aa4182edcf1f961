"""The resources of `golem:exec/executor`; the name of this module is that of the interface."""

from cloche_component.program import STDOUT, Sandbox, internal
from componentize_py_types import Err
from wit_world.exports import types


def result_of(sandbox, snippet, options):
    """Run a program, and return its result or raise its error."""
    _, ending = sandbox.run(snippet, options)
    if isinstance(ending, types.ExecResult):
        return ending
    raise Err(ending)


def stream_of(sandbox, snippet, options):
    """Run a program, and return the stream of its events."""
    output, ending = sandbox.run(snippet, options)
    events = [
        (types.ExecEvent_StdoutChunk if to == STDOUT else types.ExecEvent_StderrChunk)(bytes(data))
        for to, data in output.chunks
    ]
    ended = isinstance(ending, types.ExecResult)
    events.append((types.ExecEvent_Finished if ended else types.ExecEvent_Failed)(ending))
    return ExecStream(events)


class ExecStream:
    """Events of a run that is over: a component has one thread, and its host has it meanwhile."""

    def __init__(self, events):
        self._events = iter(events)

    def get_next(self):
        return next(self._events, None)

    def blocking_get_next(self):
        return next(self._events, None)


class Session:
    """A sandbox that stays. A constructor cannot fail in WIT, so its error waits for a call."""

    def __init__(self, lang, modules):
        self._sandbox = self._error = None
        try:
            self._sandbox = Sandbox(lang, modules)
        except Err as error:
            self._error = error.value

    def _open(self):
        if self._error is not None:
            raise Err(self._error)
        if self._sandbox is None:
            raise internal("the session is closed; make a new one")
        return self._sandbox

    def upload(self, file):
        self._open().write(file)

    def run(self, snippet, options):
        return result_of(self._open(), snippet, options)

    def run_streaming(self, snippet, options):
        return stream_of(self._open(), snippet, options)

    def download(self, path):
        return self._open().read(path)

    def list_files(self, dir):
        return self._open().names(dir)

    def set_working_dir(self, path):
        self._open().enter_folder(path)

    def close(self):
        self._sandbox = None

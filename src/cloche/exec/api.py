"""What a program calls: run, run_streaming, events, replay.

One `Runner` serves the process; the first call may compile and warm images, which `cloche images
build` does ahead of time. Nothing here decides anything: see `request` and `outcome`.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloche.engine.adapters.images import Images
from cloche.engine.vfs import StoredFile
from cloche.errors import ClocheError
from cloche.exec.adapters.effects import CancelToken
from cloche.exec.adapters.runner import Execution, Runner
from cloche.exec.adapters.tools import TOOL_KIND, ToolHandler
from cloche.exec.errors import ExecError
from cloche.exec.request import (
    RunRequest,
    check_shapes,
    encoded,
    invalid,
    language_of_file,
)
from cloche.exec.types import (
    ExecEvent,
    ExecResult,
    Failed,
    File,
    Finished,
    StderrChunk,
    StdoutChunk,
)
from cloche.exec.types import Limits as RunLimits
from cloche.gate.adapters.file import FileSink, read_journal
from cloche.gate.policy import Policy
from cloche.limits import RETIRED, Limits
from cloche.limits.adapters.settings import guest_modules, load_limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from cloche.engine.virtual_os import Stream

SEED_BITS: Final = 64

_lock = threading.Lock()
_runner: Runner | None = None


def default_runner() -> Runner:
    """Return the runner of this process, made on first use from the configured limits."""
    global _runner  # noqa: PLW0603 - one per process is the point
    if _runner is None:
        with _lock:
            if _runner is None:
                limits = load_limits()
                images = Images(limits, modules=guest_modules())
                _runner = Runner(images, pool_size=limits.engine.pool_size)
    return _runner


def use_runner(runner: Runner | None) -> None:
    """Let a runner execute what this process runs from now on; None for one of its own.

    What was opened before keeps the runner that it has.
    """
    global _runner  # noqa: PLW0603 - see default_runner
    with _lock:
        _runner = runner


def make_request(
    code: str,
    *,
    language: str | None = None,
    filename: str = "",
    files: Iterable[File | StoredFile] = (),
    args: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    stdin: str | bytes = b"",
    limits: Limits | RunLimits | None = None,
    policy: Policy | None = None,
    tools: Mapping[str, Callable[..., Any]] | None = None,
    seed: int | None = None,
    now_ns: int | None = None,
    image: str | None = None,
    cwd: str = "/",
) -> RunRequest:
    """Return a complete request; see `run` for the arguments."""
    check_shapes(files=files, args=args, env=env, stdin=stdin)
    if policy is None:
        policy = Policy.allow(tool=sorted(tools)) if tools else Policy()
    return RunRequest(
        language=language or language_of_file(filename) or "python",
        code=code,
        filename=filename,
        files=tuple(_stored(file) for file in files),
        args=tuple(args),
        env=dict(env or {}),
        stdin=encoded(stdin) if isinstance(stdin, str) else stdin,
        cwd=cwd,
        seed=secrets.randbits(SEED_BITS) if seed is None else seed,
        now_ns=time.time_ns() if now_ns is None else now_ns,
        image=image,
        limits=_limits(limits),
        policy=policy,
    )


def _stored(file: File | StoredFile) -> StoredFile:
    if isinstance(file, StoredFile):
        return file
    if not isinstance(file, File):
        raise invalid("files", file, "File or StoredFile")
    return StoredFile(path=file.name, content=file.data())


def _limits(limits: Limits | RunLimits | None) -> Limits:
    if isinstance(limits, Limits):
        return limits
    overrides: dict[str, int] = {}
    if limits is not None:
        named = {
            "timeout_ms": limits.time_ms,
            "memory_limit_bytes": limits.memory_bytes,
            "file_limit_bytes": limits.file_size_bytes,
        }
        overrides = {name: value for name, value in named.items() if value is not None}
    return load_limits({"guests": overrides} if overrides else None)


def execute(
    request: RunRequest,
    *,
    tools: Mapping[str, Callable[..., Any]] | None = None,
    record: str | Path | None = None,
    on_output: Callable[[Stream, bytes], None] | None = None,
    cancel: CancelToken | None = None,
) -> Execution:
    """Run a request; a guest's failure is data in what is returned.

    Args:
        request: from `make_request`.
        tools: host functions that the guest may call, if the policy lets it.
        record: write the journal to this file; it must not exist.
        on_output: gets each piece of output.
        cancel: stops the run from another thread.
    """
    handlers = {TOOL_KIND: ToolHandler(tools)} if tools else {}
    sink = FileSink(Path(record)) if record is not None else None
    try:
        return default_runner().execute(
            request, handlers=handlers, on_output=on_output, sink=sink, cancel=cancel
        )
    finally:
        if sink is not None:
            sink.close()


def run(
    code: str,
    *,
    tools: Mapping[str, Callable[..., Any]] | None = None,
    record: str | Path | None = None,
    **options: Any,
) -> ExecResult:
    """Run a program once, in a sandbox of its own.

    Args:
        code: the program.
        tools: host functions by name; the guest calls `tools.name(…)`. Without a policy of their
            own, the named tools are allowed and nothing else is.
        record: write the journal to this file.
        options: `language` ("python", "javascript", "typescript"; by `filename` if not given),
            `filename`, `files` (`File`s), `args`, `env`, `stdin`, `limits` (`Limits`, or
            `exec.types.Limits` for the four of golem:exec), `policy`, `seed`, `now_ns`, `image`,
            `cwd`.

    Returns:
        the result of a program that ended by itself, whatever its exit code.

    Raises:
        CompilationFailedError, RuntimeFailedError, TimeoutExceededError, ResourceExceededError,
            InternalExecError: see `exec.errors`; each has `.result` with all output so far.
        UnsupportedLanguageError, InvalidRunError, LimitError: nothing ran.
    """
    execution = execute(make_request(code, tools=tools, **options), tools=tools, record=record)
    error, result = execution.error, execution.result
    if error is None:
        return result
    del execution  # the error's traceback would keep it, with all files of the run
    try:
        raise error
    finally:
        del error  # nor may the traceback keep itself


def replay(journal: str | Path) -> Execution:
    """Run a recorded run again, answering every effect from its journal.

    Raises:
        DivergenceError: it did something else than was recorded; both sides are in the error.
        JournalError: the file is no intact journal.
    """
    recorded = read_journal(Path(journal))
    return default_runner().execute(request_of(recorded.inputs), replay=recorded)


def request_of(inputs: Any) -> RunRequest:
    """Return the request that a journal's inputs stand for.

    Raises:
        InvalidRunError, UnsupportedLanguageError, LimitError, PolicyInvalidError: no run can have
            had these inputs; the chain of hashes says that a file is whole, not who wrote it.
    """
    try:
        code = inputs.code.decode()
    except UnicodeDecodeError:
        raise invalid("code", inputs.code, "UTF-8") from None
    return RunRequest(
        language=inputs.language,
        code=code,
        filename=inputs.filename,
        files=tuple(
            StoredFile(path=file.path, content=file.content, read_only=file.read_only)
            for file in inputs.files
        ),
        args=inputs.args,
        env=dict(inputs.env),
        stdin=inputs.stdin,
        cwd=inputs.cwd,
        seed=inputs.seed,
        now_ns=inputs.now_ns,
        limits=load_limits(_recorded_limits(inputs.limits)),
        policy=Policy.from_document(_recorded_document("policy", inputs.policy)),
        state=inputs.state or None,
    )


def _recorded_limits(text: bytes) -> dict[str, Any]:
    document = _recorded_document("limits", text)
    for path in RETIRED:
        group, _, name = path.partition(".")
        if isinstance(entries := document.get(group), dict):
            entries.pop(name, None)
    return document


def _recorded_document(field_name: str, text: bytes) -> dict[str, Any]:
    import json  # noqa: PLC0415 - only replays need it

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid(field_name, text, "an object in JSON")
    return document


def events(
    code: str, *, tools: Mapping[str, Callable[..., Any]] | None = None, **options: Any
) -> Iterator[ExecEvent]:
    """Run a program and yield its output as it is written, then `Finished` or `Failed`.

    Closing the iterator stops the run. Arguments as for `run`.
    """
    request = make_request(code, tools=tools, **options)
    produced: queue.SimpleQueue[ExecEvent | BaseException] = queue.SimpleQueue()
    cancel = CancelToken()
    threading.Thread(
        target=_produce,
        args=(request, tools, produced.put, cancel),
        name="cloche-run",
        daemon=True,
    ).start()
    try:
        while True:
            event = produced.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Finished | Failed):
                return
    finally:
        cancel.cancel()


async def run_streaming(
    code: str, *, tools: Mapping[str, Callable[..., Any]] | None = None, **options: Any
) -> AsyncIterator[ExecEvent]:
    """Run a program and yield its events; the async form of `events`."""
    request = make_request(code, tools=tools, **options)
    import asyncio  # noqa: PLC0415 - slow to import, and whoever awaits has it already

    loop = asyncio.get_running_loop()
    produced: asyncio.Queue[ExecEvent | BaseException] = asyncio.Queue()
    cancel = CancelToken()

    def put(event: ExecEvent | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed, maybe just now: nobody listens any more
            loop.call_soon_threadsafe(produced.put_nowait, event)

    threading.Thread(
        target=_produce, args=(request, tools, put, cancel), name="cloche-run", daemon=True
    ).start()
    try:
        while True:
            event = await produced.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Finished | Failed):
                return
    finally:
        cancel.cancel()


def _produce(
    request: RunRequest,
    tools: Mapping[str, Callable[..., Any]] | None,
    put: Callable[[ExecEvent | BaseException], None],
    cancel: CancelToken,
) -> None:
    def on_output(stream: Stream, data: bytes) -> None:
        put(StdoutChunk(data=data) if stream == "stdout" else StderrChunk(data=data))

    try:
        execution = execute(request, tools=tools, on_output=on_output, cancel=cancel)
    except (ClocheError, OSError) as error:
        put(error)
        return
    failure = execution.error
    put(Finished(result=execution.result) if failure is None else Failed(error=failure))


__all__ = [
    "ExecError",
    "default_runner",
    "events",
    "execute",
    "make_request",
    "replay",
    "request_of",
    "run",
    "run_streaming",
    "use_runner",
]

"""What is said to a server, and what its answers mean. Pure: no connection, no clock.

Each function returns a `Call`: what to send, and how to read the answer. Both clients send the
same calls, one of them awaits.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote

import msgspec

from cloche.client.errors import error_of, run_error
from cloche.exec.errors import InvalidRunError, RunSuspendedError
from cloche.exec.types import (
    Encoding,
    ExecEvent,
    ExecResult,
    Failed,
    File,
    Finished,
    Limits,
    StageResult,
    StderrChunk,
    StdoutChunk,
)
from cloche.server.documents import (
    CwdDocument,
    FileDocument,
    FileList,
    HistoryDocument,
    KeyDocument,
    KeyList,
    PromiseDocument,
    ReplayDocument,
    RunDocument,
    RunList,
    SessionDocument,
    SessionList,
    SnapshotDocument,
    StepDocument,
    TimelineDocument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloche.gate.policy import Policy

T = TypeVar("T")
Struct = TypeVar("Struct", bound=msgspec.Struct)
_FAILED: Final = 400
_BYTES: Final = "application/octet-stream"
_TEXT_ENCODINGS: Final = {Encoding.BASE64: "base64", Encoding.HEX: "hex"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, read whole."""

    status: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """Something to say.

    Args:
        read: returns what the answer means; not called for refusals.
        body: is sent as JSON, `content` as it is, of its `media_type`.
    """

    method: str
    path: str
    read: Callable[[Reply], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content: bytes | None = None
    media_type: str = _BYTES

    def payload(self) -> tuple[bytes | None, str]:
        """Return the bytes of the body, and their type."""
        if self.body is not None:
            return _encoded(self.body), "application/json"
        return self.content, self.media_type

    def answer(self, reply: Reply) -> T:
        """Return what an answer means.

        Raises:
            ClocheError: a refusal.
        """
        if reply.status >= _FAILED:
            raise refusal(reply)
        return self.read(reply)


def _encoded(body: object) -> bytes:
    """Return a body as JSON.

    Raises:
        InvalidRunError: a text in it is no valid Unicode.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        at = f"{error.object[error.start : error.end]!r} at {error.start}"
        raise InvalidRunError(
            f"a text cannot be sent: {at}; it must be valid Unicode without lone surrogates"
        ) from None


def refusal(reply: Reply) -> Exception:
    """Return the error that a refusal stands for."""
    try:
        document = msgspec.json.decode(reply.content, type=dict[str, Any])
    except msgspec.DecodeError:
        document = {}
    return error_of(reply.status, document)


def _struct(kind: type[Struct]) -> Callable[[Reply], Struct]:
    return lambda reply: msgspec.json.decode(reply.content, type=kind)


def _nothing(reply: Reply) -> None:
    del reply


def _lines(reply: Reply) -> list[str]:
    return [line for line in reply.content.decode().split("\n") if line]


# --- runs ---


def run(code: str, options: Mapping[str, Any]) -> Call[ExecResult]:
    """Run a program and wait for its end."""
    body = {"code": code, **run_options(options)}
    return Call(method="POST", path="/v1/run", body=body, read=_result)


def start(code: str, options: Mapping[str, Any]) -> Call[RunDocument]:
    """Start a run."""
    body = {"code": code, **run_options(options)}
    return Call(method="POST", path="/v1/runs", body=body, read=_struct(RunDocument))


def run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `cloche.run` as they are sent.

    Raises:
        TypeError: one that cannot be sent; tools are functions of this process.
    """
    known = {
        "language", "filename", "files", "args", "env", "stdin", "limits", "policy", "seed",
        "now_ns", "image", "cwd", "entrypoint", "keep",
    }  # fmt: skip
    unknown = sorted(options.keys() - known)
    if unknown:
        raise TypeError(f"a server's run takes no {', '.join(unknown)}")
    sent = {name: value for name, value in options.items() if value is not None}
    if "files" in sent:
        sent["files"] = _files(sent["files"])
    if "args" in sent:
        sent["args"] = list(sent["args"])
    if isinstance(sent.get("stdin"), bytes):
        sent["stdin"] = base64.b64encode(sent["stdin"]).decode()
        sent["stdin_encoding"] = "base64"
    if "limits" in sent:
        sent["limits"] = _limits(sent["limits"])
    if "policy" in sent:
        policy: Policy = sent["policy"]
        sent["policy"] = policy.to_document()
    return sent


def _files(files: Iterable[File]) -> list[dict[str, str]]:
    return [
        {
            "name": each.name,
            "content": base64.b64encode(each.data()).decode(),
            "encoding": "base64",
        }
        for each in files
    ]


def _limits(limits: Limits) -> dict[str, int | None]:
    return {
        "time_ms": limits.time_ms,
        "memory_bytes": limits.memory_bytes,
        "file_size_bytes": limits.file_size_bytes,
        "max_processes": limits.max_processes,
    }


def _result(reply: Reply) -> ExecResult:
    return result_of(msgspec.json.decode(reply.content, type=RunDocument))


def exec_result(document: RunDocument) -> ExecResult:
    """Return a run as `cloche.run` does, whatever became of it."""
    compiled = document.compile
    return ExecResult(
        compile=None
        if compiled is None
        else StageResult(
            stdout=compiled.stdout,
            stderr=compiled.stderr,
            exit_code=compiled.exit_code,
            signal=compiled.signal,
        ),
        run=StageResult(
            stdout=document.stdout,
            stderr=document.stderr,
            # A program that was stopped, or never ran, has no exit code; a shell still sees one.
            exit_code=None if document.signal or compiled else document.exit_code,
            signal=document.signal,
        ),
        time_ms=document.time_ms,
        memory_bytes=document.memory_bytes,
    )


def result_of(document: RunDocument) -> ExecResult:
    """Return the result of a run that ended by itself; raise what else became of it.

    Raises:
        RunSuspendedError: it was put away. ExecError: it failed. ClocheError: it was interrupted.
    """
    result = exec_result(document)
    if document.status == "suspended":
        raise RunSuspendedError(document.id, due_ns=None, stdout=document.stdout)
    if document.error is not None:
        raise run_error(msgspec.to_builtins(document.error), result)
    if document.status != "completed":
        problem = {
            "code": "RUN_ENDED",
            "message": f"run {document.id} is {document.status}",
            "retryable": document.status == "interrupted",
        }
        raise run_error(problem, result)
    return result


def last_event(document: RunDocument) -> ExecEvent:
    """Return the last event of a run; raise where its end is none of the program's.

    Raises:
        ClocheError: it was put away or interrupted.
    """
    from cloche.exec.errors import ExecError  # noqa: PLC0415 - for this check alone

    try:
        return Finished(result=result_of(document))
    except ExecError as error:
        return Failed(error=error)


def get_run(run_id: str) -> Call[RunDocument]:
    """Return a run."""
    return Call(method="GET", path=f"/v1/runs/{_part(run_id)}", read=_struct(RunDocument))


def list_runs(session: str | None, limit: int | None, after: str | None) -> Call[RunList]:
    """Return a page of runs."""
    query = _query(session=session, limit=limit, after=after)
    return Call(method="GET", path="/v1/runs", query=query, read=_struct(RunList))


def cancel_run(run_id: str) -> Call[RunDocument]:
    """Stop a run."""
    path = f"/v1/runs/{_part(run_id)}/cancel"
    return Call(method="POST", path=path, read=_struct(RunDocument))


def resume_run(run_id: str) -> Call[ExecResult]:
    """Go on with a run that was put away."""
    return Call(method="POST", path=f"/v1/runs/{_part(run_id)}/resume", read=_result)


def replay_run(run_id: str) -> Call[ReplayDocument]:
    """Execute a run again."""
    path = f"/v1/runs/{_part(run_id)}/replay"
    return Call(method="POST", path=path, read=_struct(ReplayDocument))


def run_journal(run_id: str) -> Call[list[str]]:
    """Return the lines of a run's journal."""
    return Call(method="GET", path=f"/v1/runs/{_part(run_id)}/journal", read=_lines)


def run_timeline(run_id: str) -> Call[TimelineDocument]:
    """Return the effects of a run."""
    path = f"/v1/runs/{_part(run_id)}/timeline"
    return Call(method="GET", path=path, read=_struct(TimelineDocument))


def run_events(run_id: str) -> Call[None]:
    """Listen to a run."""
    return Call(method="GET", path=f"/v1/runs/{_part(run_id)}/events", read=_nothing)


def complete_promise(promise_id: str, value: Any) -> Call[PromiseDocument]:
    """Give a promise its value."""
    path = f"/v1/promises/{_part(promise_id)}/complete"
    return Call(method="POST", path=path, body={"value": value}, read=_struct(PromiseDocument))


class EventReader:
    """Reads events from bytes, as they come.

    Lines end with a line feed alone: text of programs may hold every other kind of line end.
    `run_id` is whose events they are; `last_id` is what to come back with; `end` is the run when
    it has ended.
    """

    def __init__(self, run_id: str = "") -> None:
        self.run_id = run_id
        self.last_id = ""
        self.end: RunDocument | None = None
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> list[ExecEvent]:
        """Take some bytes; return the output that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := self._line(line)) is not None]

    def restart(self) -> None:
        """Forget what a broken connection left half."""
        self._rest, self._fields = b"", {}

    def _line(self, line: bytes) -> ExecEvent | None:
        if line:
            name, _, value = line.partition(b":")
            self._fields[name] = value.removeprefix(b" ")
            return None
        fields, self._fields = self._fields, {}
        if b"id" in fields:
            self.last_id = fields[b"id"].decode()
        kind, data = fields.get(b"event"), fields.get(b"data", b"")
        if kind == b"start":
            self.run_id = msgspec.json.decode(data, type=dict[str, str])["id"]
        elif kind == b"end":
            self.end = msgspec.json.decode(data, type=RunDocument)
        elif kind in (b"stdout", b"stderr"):
            text = msgspec.json.decode(data, type=dict[str, str])["text"].encode()
            return StdoutChunk(data=text) if kind == b"stdout" else StderrChunk(data=text)
        return None


# --- sessions ---


def create_session(language: str, options: Mapping[str, Any]) -> Call[SessionDocument]:
    """Create a session."""
    body = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(
        body.keys() - {"name", "modules", "limits", "policy", "image", "seed", "now_ns"}
    )
    if unknown:
        raise TypeError(f"a server's session takes no {', '.join(unknown)}")
    if "modules" in body:
        body["modules"] = _files(body["modules"])
    if "limits" in body:
        body["limits"] = _limits(body["limits"])
    if "policy" in body:
        body["policy"] = body["policy"].to_document()
    return Call(
        method="POST",
        path="/v1/sessions",
        body={"language": language, **body},
        read=_struct(SessionDocument),
    )


def get_session(name: str) -> Call[SessionDocument]:
    """Return a session."""
    return Call(method="GET", path=_session(name), read=_struct(SessionDocument))


def list_sessions(limit: int | None, after: str | None) -> Call[SessionList]:
    """Return a page of sessions."""
    query = _query(limit=limit, after=after)
    return Call(method="GET", path="/v1/sessions", query=query, read=_struct(SessionList))


def delete_session(name: str) -> Call[None]:
    """Remove a session."""
    return Call(method="DELETE", path=_session(name), read=_nothing)


def run_in_session(name: str, code: str | None, options: Mapping[str, Any]) -> Call[ExecResult]:
    """Run in a session and wait for its end."""
    body = {"code": code, **run_options(options)}
    return Call(method="POST", path=_session(name, "run"), body=body, read=_result)


def start_in_session(name: str, code: str | None, options: Mapping[str, Any]) -> Call[RunDocument]:
    """Start a run in a session."""
    body = {"code": code, **run_options(options)}
    return Call(method="POST", path=_session(name, "runs"), body=body, read=_struct(RunDocument))


def resume_session(name: str) -> Call[ExecResult]:
    """Go on with the run that was put away."""
    return Call(method="POST", path=_session(name, "resume"), read=_result)


def write_file(name: str, path: str, content: bytes, *, read_only: bool) -> Call[None]:
    """Put bytes in place as a file."""
    query = {"read_only": "true"} if read_only else {}
    return Call(method="PUT", path=_file(name, path), query=query, content=content, read=_nothing)


def download(name: str, path: str) -> Call[bytes]:
    """Return the content of a file."""
    return Call(method="GET", path=_file(name, path), read=lambda reply: reply.content)


def remove(name: str, path: str) -> Call[None]:
    """Remove a file."""
    return Call(method="DELETE", path=_file(name, path), read=_nothing)


def list_files(name: str, path: str, *, recursive: bool) -> Call[list[FileDocument]]:
    """Return what is in a directory."""
    query = {"path": path, "recursive": "true" if recursive else "false"}
    read = _struct(FileList)
    return Call(
        method="GET",
        path=_session(name, "files"),
        query=query,
        read=lambda reply: read(reply).items,
    )


def get_cwd(name: str) -> Call[str]:
    """Return the working directory."""
    read = _struct(CwdDocument)
    return Call(method="GET", path=_session(name, "cwd"), read=lambda reply: read(reply).path)


def set_cwd(name: str, path: str) -> Call[None]:
    """Change the working directory."""
    return Call(method="PUT", path=_session(name, "cwd"), body={"path": path}, read=_nothing)


def history(name: str) -> Call[list[StepDocument]]:
    """Return every operation so far."""
    read = _struct(HistoryDocument)
    return Call(method="GET", path=_session(name, "history"), read=lambda reply: read(reply).items)


def fork(name: str, new_name: str | None) -> Call[SessionDocument]:
    """Create a session in the same state."""
    body = {"name": new_name}
    return Call(
        method="POST", path=_session(name, "fork"), body=body, read=_struct(SessionDocument)
    )


def snapshot(name: str) -> Call[str]:
    """Keep the state of now."""
    read = _struct(SnapshotDocument)
    return Call(
        method="POST", path=_session(name, "snapshot"), read=lambda reply: read(reply).snapshot
    )


def restore(name: str, kept: str) -> Call[None]:
    """Go back to a state that was kept."""
    body = {"snapshot": kept}
    return Call(method="POST", path=_session(name, "restore"), body=body, read=_nothing)


def revert(name: str, last: int | None, to: int | None) -> Call[None]:
    """Undo the last runs, or go back to an operation."""
    body = {"last": last, "to": to}
    return Call(method="POST", path=_session(name, "revert"), body=body, read=_nothing)


def export(name: str) -> Call[bytes]:
    """Return a whole session as bytes."""
    return Call(method="GET", path=_session(name, "export"), read=lambda reply: reply.content)


def import_session(archive: bytes, name: str | None) -> Call[SessionDocument]:
    """Create a session from what `export` returned."""
    return Call(
        method="POST",
        path="/v1/sessions/import",
        query=_query(name=name),
        content=archive,
        read=_struct(SessionDocument),
    )


# --- keys ---


def create_key(
    scopes: Iterable[str],
    *,
    name: str,
    tenant: str | None,
    expires_ms: int | None,
    apps: Iterable[str],
) -> Call[KeyDocument]:
    """Make a key."""
    body = {"scopes": list(scopes), "name": name, "tenant": tenant, "expires_ms": expires_ms}
    if named := list(apps):
        body["apps"] = named
    return Call(method="POST", path="/v1/keys", body=body, read=_struct(KeyDocument))


def list_keys(limit: int | None, after: str | None) -> Call[KeyList]:
    """Return a page of keys."""
    query = _query(limit=limit, after=after)
    return Call(method="GET", path="/v1/keys", query=query, read=_struct(KeyList))


def rotate_key(key_id: str, overlap_ms: int) -> Call[KeyDocument]:
    """Make a key that may do the same."""
    path, body = f"/v1/keys/{_part(key_id)}/rotate", {"overlap_ms": overlap_ms}
    return Call(method="POST", path=path, body=body, read=_struct(KeyDocument))


def revoke_key(key_id: str) -> Call[KeyDocument]:
    """End a key."""
    return Call(method="DELETE", path=f"/v1/keys/{_part(key_id)}", read=_struct(KeyDocument))


# --- the server ---


def limits() -> Call[dict[str, dict[str, int]]]:
    """Return the limits in force."""
    kind = dict[str, dict[str, int]]
    return Call(
        method="GET",
        path="/api/system/limits",
        read=lambda reply: msgspec.json.decode(reply.content, type=kind),
    )


def limits_schema() -> Call[dict[str, dict[str, dict[str, Any]]]]:
    """Return label, unit and range of every limit."""
    kind = dict[str, dict[str, dict[str, Any]]]
    return Call(
        method="GET",
        path="/api/system/limits/schema",
        read=lambda reply: msgspec.json.decode(reply.content, type=kind),
    )


def _session(name: str, rest: str = "") -> str:
    path = f"/v1/sessions/{_part(name)}"
    return f"{path}/{rest}" if rest else path


def _file(name: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    return _session(name, "files/" + "/".join(map(_part, parts)))


def _part(text: str) -> str:
    """Return a name as one part of a path.

    Raises:
        InvalidRunError: it would lead elsewhere, or is no valid Unicode.
    """
    if text in {".", ".."}:
        raise InvalidRunError(f"{text!r} is no name: in a path it leads elsewhere")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidRunError(f"{text!r} is no name: it is not valid Unicode") from None


def _query(**values: object) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}

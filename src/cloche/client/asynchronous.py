"""The client for programs on an event loop. See the package for how to use it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from cloche.client import admin_calls, archive_calls, calls
from cloche.client.admin import AsyncNet, AsyncTenants, AsyncWebhooks
from cloche.client.apps import AsyncApps
from cloche.client.calls import EventReader, Reply
from cloche.client.errors import ServerUnreachableError
from cloche.client.scripts import AsyncApprovals, AsyncScripts
from cloche.client.wire import (
    CONNECT_S,
    Heard,
    Sending,
    default_headers,
    httpx_module,
    pause_s,
    sending_of,
)
from cloche.exec.session_log import normal_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    from cloche.client.calls import Call
    from cloche.exec.types import ExecEvent, ExecResult, File
    from cloche.server.documents import (
        FileDocument,
        KeyDocument,
        KeyList,
        ReplayDocument,
        RunDocument,
        RunList,
        SessionDocument,
        SessionList,
        StepDocument,
        TimelineDocument,
    )
    from cloche.server.documents_admin import AuditList

    Events = AsyncGenerator[ExecEvent, None]

T = TypeVar("T")
_OK: Final = 200


class AsyncClient:
    """A server. Use it with `async with`, or `close` it.

    Args:
        url: of the server, such as `https://runs.example.org`.
        key: see `cloche keys`.
        attempt_count: how often a request is sent at most when the connection breaks, or the
            server says when to come back.
        timeout_s: of waiting for an answer; a run may take long, so None waits.
        verify: False for a certificate that nobody vouches for, or an `ssl.SSLContext`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        attempt_count: int = 3,
        timeout_s: float | None = None,
        verify: Any = True,
    ) -> None:
        self._httpx = httpx_module()
        self._url = url
        self._attempt_count = attempt_count
        self._http = self._httpx.AsyncClient(
            base_url=url,
            headers=default_headers(key),
            timeout=self._httpx.Timeout(timeout_s, connect=CONNECT_S),
            verify=verify,
        )
        self.Session = AsyncSessions(self)
        self.scripts = AsyncScripts(self)
        self.approvals = AsyncApprovals(self)
        self.apps = AsyncApps(self)
        self.net = AsyncNet(self)
        self.tenants = AsyncTenants(self)
        self.webhooks = AsyncWebhooks(self)

    async def _send(self, call: Call[T]) -> T:
        sending = sending_of(call)
        for attempt in range(1, self._attempt_count + 1):
            reply, retry_after, problem = None, None, ""
            try:
                response = await self._http.request(
                    sending.method,
                    sending.url,
                    params=sending.params,
                    headers=sending.headers,
                    content=sending.content,
                )
                reply = Reply(status=response.status_code, content=response.content)
                retry_after = response.headers.get("retry-after")
            except self._httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            wait_s = pause_s(reply, retry_after, attempt)
            if reply is not None and (wait_s is None or attempt == self._attempt_count):
                return call.answer(reply)
            if attempt < self._attempt_count:
                await asyncio.sleep(wait_s or 0)
        raise ServerUnreachableError(url=self._url, problem=problem)

    # --- runs ---

    async def run(self, code: str, **options: Any) -> ExecResult:
        """Run a program once, as `cloche.run`; tools and `record` stay at home.

        Raises:
            ExecError: as `cloche.run`, with all output so far in `.result`.
            ClientError: the server was not reached, or refused.
        """
        return await self._send(calls.run(code, options))

    async def events(self, code: str, **options: Any) -> Events:
        """Run a program and yield its output, then `Finished` or `Failed`, as `cloche.events`.

        A connection that breaks is made again where it was. Closing the iterator stops the run.
        """
        async with aclosing(self._own_events(calls.run(code, options))) as found:
            async for event in found:
                yield event

    async def _own_events(self, call: Call[Any]) -> Events:
        """Yield the events of a run that is this caller's own: it ends with the iterator."""
        reader = EventReader()
        try:
            async with aclosing(self._listen_on(sending_of(call, as_events=True), reader)) as found:
                async for event in found:
                    yield event
        finally:
            if reader.run_id and reader.end is None:
                await self.cancel_run(reader.run_id)

    async def start(self, code: str, **options: Any) -> RunDocument:
        """Start a run and return at once; `follow` or `get_run` tell what becomes of it."""
        return await self._send(calls.start(code, options))

    async def follow(self, run_id: str) -> Events:
        """Yield what a run prints, from its beginning, then `Finished` or `Failed`.

        Of a run that has ended, the order between the two streams is not kept.

        Raises:
            RunNotFoundError: there is none. RunSuspendedError: it was put away.
        """
        sending = sending_of(calls.run_events(run_id))
        async with aclosing(self._listen_on(sending, EventReader(run_id))) as found:
            async for event in found:
                yield event

    async def _listen_on(self, first: Sending, reader: EventReader) -> Events:
        """Listen until the end, over as many connections as that takes."""
        sending, failed_count = first, 0
        while reader.end is None:
            seen, heard = reader.last_id, Heard()
            try:
                async with aclosing(self._listen(sending, reader, heard)) as found:
                    async for event in found:
                        yield event
            except self._httpx.TransportError as error:
                heard.problem = str(error) or type(error).__name__
            if reader.end is not None:
                break
            failed_count = 1 if reader.last_id != seen else failed_count + 1
            wait_s = pause_s(heard.refusal, heard.retry_after, failed_count)
            if heard.refusal is not None and (
                wait_s is None or failed_count >= self._attempt_count
            ):
                raise calls.refusal(heard.refusal)
            if failed_count >= self._attempt_count:
                raise ServerUnreachableError(url=self._url, problem=heard.problem)
            await asyncio.sleep(wait_s or 0)
            if reader.run_id:
                again = sending_of(calls.run_events(reader.run_id))
                sending = again.listening_from(reader.last_id)
        yield calls.last_event(reader.end)

    async def _listen(self, sending: Sending, reader: EventReader, heard: Heard) -> Events:
        reader.restart()
        async with self._http.stream(
            sending.method,
            sending.url,
            params=sending.params,
            headers=sending.headers,
            content=sending.content,
        ) as response:
            if response.status_code != _OK:
                content = await response.aread()
                heard.refusal = Reply(status=response.status_code, content=content)
                heard.retry_after = response.headers.get("retry-after")
                return
            async for piece in response.aiter_bytes():
                for event in reader.feed(piece):
                    yield event

    async def _pieces(self, call: Call[None]) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an answer that is a stream, as they come."""
        sending = sending_of(call, as_events=True)
        try:
            async with self._http.stream(
                sending.method, sending.url, params=sending.params, headers=sending.headers
            ) as response:
                if response.status_code != _OK:
                    content = await response.aread()
                    raise calls.refusal(Reply(status=response.status_code, content=content))
                async for piece in response.aiter_bytes():
                    yield piece
        except self._httpx.TransportError as error:
            problem = str(error) or type(error).__name__
            raise ServerUnreachableError(url=self._url, problem=problem) from error

    async def get_run(self, run_id: str) -> RunDocument:
        """Return a run."""
        return await self._send(calls.get_run(run_id))

    async def list_runs(
        self, *, session: str | None = None, limit: int | None = None, after: str | None = None
    ) -> RunList:
        """Return a page of runs, newest first."""
        return await self._send(calls.list_runs(session, limit, after))

    async def cancel_run(self, run_id: str) -> RunDocument:
        """Stop a run; one that has ended stays as it is."""
        return await self._send(calls.cancel_run(run_id))

    async def resume_run(self, run_id: str) -> ExecResult:
        """Go on with a run that was put away, and wait for its end.

        Raises:
            ExecError: as `run`; `RunSuspendedError` where it was put away again.
            ServerAnswerError: it is over, or still runs.
        """
        return await self._send(calls.resume_run(run_id))

    async def replay_run(self, run_id: str) -> ReplayDocument:
        """Execute a run again from its journal.

        Raises:
            ServerAnswerError: it does something else now; the answer says what.
        """
        return await self._send(calls.replay_run(run_id))

    async def run_journal(self, run_id: str) -> list[str]:
        """Return the lines of a run's journal, JSON each."""
        return await self._send(calls.run_journal(run_id))

    async def run_timeline(self, run_id: str) -> TimelineDocument:
        """Return the effects of a run in the order in which they began."""
        return await self._send(calls.run_timeline(run_id))

    async def complete_promise(self, promise_id: str, value: Any) -> bool:
        """Give a promise of a program its value; the run that waits for it goes on by itself.

        Args:
            promise_id: from the guest.
            value: plain JSON.

        Returns:
            False if it has a value already, which stays.

        Raises:
            StoreUnknownError: the tenant has no such promise.
        """
        return (await self._send(calls.complete_promise(promise_id, value))).completed

    # --- keys ---

    async def create_key(
        self,
        scopes: Iterable[str],
        *,
        name: str = "",
        tenant: str | None = None,
        expires_ms: int | None = None,
        apps: Iterable[str] = (),
    ) -> KeyDocument:
        """Make a key; its text is in `key` of what is returned, and nowhere else.

        With `apps` it is for these alone, and has the scope `app`.
        """
        return await self._send(
            calls.create_key(scopes, name=name, tenant=tenant, expires_ms=expires_ms, apps=apps)
        )

    async def list_keys(self, *, limit: int | None = None, after: str | None = None) -> KeyList:
        """Return a page of keys."""
        return await self._send(calls.list_keys(limit, after))

    async def rotate_key(self, key_id: str, *, overlap_ms: int = 0) -> KeyDocument:
        """Make a key that may do the same; the old one ends after the overlap."""
        return await self._send(calls.rotate_key(key_id, overlap_ms))

    async def revoke_key(self, key_id: str) -> KeyDocument:
        """End a key now."""
        return await self._send(calls.revoke_key(key_id))

    # --- the server ---

    async def audit(self, *, limit: int | None = None, after: str | None = None) -> AuditList:
        """Return a page of the changes that admin keys made, newest first."""
        return await self._send(admin_calls.list_audit(limit, after))

    async def limits(self) -> dict[str, dict[str, int]]:
        """Return the limits in force, by group."""
        return await self._send(calls.limits())

    async def limits_schema(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return label, unit and range of every limit, by group."""
        return await self._send(calls.limits_schema())

    # --- its end ---

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncSessions:
    """The sessions of a server: in the place of the class `cloche.Session`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, language: str, **options: Any) -> AsyncRemoteSession:
        """Create a session, as `cloche.Session.create`."""
        made = await self._client._send(calls.create_session(language, options))
        return AsyncRemoteSession(self._client, made)

    async def open(self, id_or_name: str) -> AsyncRemoteSession:
        """Return a handle of a session that is kept.

        Raises:
            SessionNotFoundError: there is none.
        """
        return AsyncRemoteSession(
            self._client, await self._client._send(calls.get_session(id_or_name))
        )

    async def import_(self, archive: bytes, *, name: str | None = None) -> AsyncRemoteSession:
        """Create a session from what `export` returned.

        Raises:
            ArchiveError: it is none.
        """
        made = await self._client._send(calls.import_session(archive, name))
        return AsyncRemoteSession(self._client, made)

    async def list(self, *, limit: int | None = None, after: str | None = None) -> SessionList:
        """Return a page of sessions."""
        return await self._client._send(calls.list_sessions(limit, after))


class AsyncRemoteSession:
    """A session of a server, with the verbs of `cloche.Session`."""

    def __init__(self, client: AsyncClient, document: SessionDocument) -> None:
        self._client = client
        self.id = document.id
        self.name = document.name
        self.language = document.language

    async def run(self, code: str | None = None, **options: Any) -> ExecResult:
        """Run a program in the session."""
        return await self._client._send(calls.run_in_session(self.id, code, options))

    async def run_streaming(self, code: str | None = None, **options: Any) -> Events:
        """Run a program and yield its output, then `Finished` or `Failed`."""
        async with aclosing(
            self._client._own_events(calls.run_in_session(self.id, code, options))
        ) as found:
            async for event in found:
                yield event

    async def start(self, code: str | None = None, **options: Any) -> RunDocument:
        """Start a run and return at once."""
        return await self._client._send(calls.start_in_session(self.id, code, options))

    async def resume(self) -> ExecResult:
        """Go on with the run that was put away."""
        return await self._client._send(calls.resume_session(self.id))

    async def upload(self, file: File, *, read_only: bool = False) -> None:
        """Put a file in place."""
        await self.write_file(file.name, file.data(), read_only=read_only)

    async def write_file(self, path: str, content: bytes, *, read_only: bool = False) -> None:
        """Put bytes in place as a file."""
        path = await self._absolute(path)
        await self._client._send(calls.write_file(self.id, path, content, read_only=read_only))

    async def download(self, path: str) -> bytes:
        """Return the content of a file."""
        return await self._client._send(calls.download(self.id, await self._absolute(path)))

    async def upload_archive(
        self, archive: bytes, path: str = ".", *, read_only: bool = False
    ) -> list[FileDocument]:
        """Put the files of a ZIP, a tar or a tar with gzip in place below a directory; return them.

        Raises:
            ServerAnswerError: it is no such archive, or has links or paths that leave it; nothing
                of it is in place.
        """
        call = archive_calls.upload_archive(self.id, archive, path, read_only=read_only)
        return await self._client._send(call)

    async def download_archive(self, path: str = ".") -> bytes:
        """Return a directory with all below it as a ZIP; links are left out."""
        return await self._client._send(archive_calls.download_archive(self.id, path))

    async def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""
        await self._client._send(calls.remove(self.id, await self._absolute(path)))

    async def _absolute(self, path: str) -> str:
        """Return where a path leads; from where, if it does not begin at /, the server knows."""
        return normal_path(path, "/" if path.startswith("/") else await self.working_dir())

    async def list_files(self, path: str = ".", *, recursive: bool = False) -> list[FileDocument]:
        """Return what is in a directory, sorted by path."""
        return await self._client._send(calls.list_files(self.id, path, recursive=recursive))

    async def set_working_dir(self, path: str) -> None:
        """Change where runs start."""
        await self._client._send(calls.set_cwd(self.id, path))

    async def working_dir(self) -> str:
        """Return where runs start."""
        return await self._client._send(calls.get_cwd(self.id))

    async def history(self) -> list[StepDocument]:
        """Return every operation so far."""
        return await self._client._send(calls.history(self.id))

    async def fork(self, name: str | None = None) -> AsyncRemoteSession:
        """Return a new session in the same state."""
        return AsyncRemoteSession(self._client, await self._client._send(calls.fork(self.id, name)))

    async def snapshot(self) -> str:
        """Keep the state of now; return its name, for `restore`."""
        return await self._client._send(calls.snapshot(self.id))

    async def restore(self, snapshot: str) -> None:
        """Go back to a state that was kept."""
        await self._client._send(calls.restore(self.id, snapshot))

    async def revert(self, *, last: int | None = None, to: int | None = None) -> None:
        """Undo the last runs, or go back to an operation."""
        await self._client._send(calls.revert(self.id, last, to))

    async def export(self) -> bytes:
        """Return the whole session as one signed archive."""
        return await self._client._send(calls.export(self.id))

    async def delete(self) -> None:
        """Remove the session for ever."""
        await self._client._send(calls.delete_session(self.id))

    async def close(self) -> None:
        """Do nothing: the server holds nothing for a handle."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<AsyncRemoteSession {self.id}{name} {self.language}>"

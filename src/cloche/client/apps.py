"""Hosted apps of a server: `client.apps`."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from cloche.client import app_calls as calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping

    from cloche.client.app_calls import Source
    from cloche.client.asynchronous import AsyncClient
    from cloche.client.synchronous import Client
    from cloche.server.app_documents import (
        ActionDocument,
        AppDocument,
        DeployDocument,
        LogDocument,
        RequestDocument,
        RequestReplayDocument,
        VersionDocument,
    )

    # Inside the classes `list` is a verb.
    Actions = list[ActionDocument]
    Found = list[AppDocument]
    Lines = list[str]
    Logs = list[LogDocument]
    Requests = list[RequestDocument]
    Versions = list[VersionDocument]


class Apps:
    """The hosted apps of a server, for keys with the scope `app`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def deploy(
        self,
        name: str,
        source: Source,
        *,
        env: Mapping[str, str] | None = None,
        canary: int | None = None,
    ) -> DeployDocument:
        """Deploy an app, or a new version of it: it is evaluated first, and answers then.

        Args:
            name: of the app; made when there is none of this name.
            source: an archive (ZIP, tar, tar with gzip) as bytes or the path of one, or a folder,
                of which hidden files, `__pycache__` and `node_modules` stay at home.
            env: variables, besides those that it has.
            canary: answer so many of 100 clients, 1 to 99; all when None.

        Raises:
            BundleError: a folder has a link or something that is no file.
            ServerAnswerError: the server does not take it; the version before goes on answering.
        """
        return self._client._send(calls.deploy(name, calls.packed(source), env, canary))

    def list(self) -> Found:
        """Return the apps in the order of their names."""
        return self._client._send(calls.list_apps()).items

    def get(self, name: str) -> AppDocument:
        """Return an app: what answers, where, and how often it was asked."""
        return self._client._send(calls.get_app(name))

    def remove(self, name: str) -> None:
        """Remove an app with everything that it has kept."""
        self._client._send(calls.remove_app(name))

    def versions(self, name: str) -> Versions:
        """Return the versions of an app, newest first."""
        return self._client._send(calls.list_versions(name)).items

    def actions(self, name: str) -> Actions:
        """Return what was done to an app, newest first."""
        return self._client._send(calls.list_actions(name)).items

    def rollback(self, name: str, to: str = "") -> AppDocument:
        """Let the version before answer at once, or the one that `to` names."""
        return self._client._send(calls.roll_back(name, to))

    def promote(self, name: str) -> AppDocument:
        """Let the canary answer everybody."""
        return self._client._send(calls.change_app(name, "promote"))

    def stop(self, name: str) -> AppDocument:
        """Let an app answer nothing."""
        return self._client._send(calls.change_app(name, "stop"))

    def start(self, name: str) -> AppDocument:
        """Let a stopped app answer again."""
        return self._client._send(calls.change_app(name, "start"))

    def set_env(
        self, name: str, values: Mapping[str, str] | None = None, *, remove: Iterable[str] = ()
    ) -> AppDocument:
        """Set and remove variables; what is set cannot be read again."""
        return self._client._send(calls.set_env(name, values or {}, remove))

    def logs(
        self,
        name: str,
        *,
        level: str | None = None,
        request: str | None = None,
        after_ms: int | None = None,
        limit: int | None = None,
    ) -> Logs:
        """Return the newest lines of an app's log, oldest first.

        Args:
            name: of the app.
            level: the least grave: debug, info, warn or error.
            request: only lines of this request.
            after_ms: only lines behind this time.
            limit: how many, 100 when None.
        """
        return self._client._send(calls.logs(name, level, request, after_ms, limit)).items

    def follow_logs(
        self, name: str, *, level: str | None = None, request: str | None = None
    ) -> Iterator[LogDocument]:
        """Yield lines of an app's log as they are written, until the iterator is closed.

        Raises:
            ServerUnreachableError: the connection broke; `logs` has what was written meanwhile.
        """
        reader = calls.LogReader()
        with closing(self._client._pieces(calls.follow_logs(name, level, request))) as pieces:
            for piece in pieces:
                yield from reader.feed(piece)

    def requests(self, name: str, *, limit: int | None = None) -> Requests:
        """Return recorded requests of an app, newest first."""
        return self._client._send(calls.list_requests(name, limit)).items

    def request_journal(self, name: str, request_id: str) -> Lines:
        """Return the lines of a recorded request's journal, JSON each."""
        return self._client._send(calls.request_journal(name, request_id))

    def replay(self, name: str, request_id: str) -> RequestReplayDocument:
        """Execute a recorded request again from its journal, to the same bytes.

        Raises:
            ServerAnswerError: it does something else now; the answer says what.
        """
        return self._client._send(calls.replay_request(name, request_id))


class AsyncApps:
    """The hosted apps of a server, for keys with the scope `app`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def deploy(
        self,
        name: str,
        source: Source,
        *,
        env: Mapping[str, str] | None = None,
        canary: int | None = None,
    ) -> DeployDocument:
        """Deploy an app, or a new version of it: it is evaluated first, and answers then.

        Args:
            name: of the app; made when there is none of this name.
            source: an archive (ZIP, tar, tar with gzip) as bytes or the path of one, or a folder,
                of which hidden files, `__pycache__` and `node_modules` stay at home.
            env: variables, besides those that it has.
            canary: answer so many of 100 clients, 1 to 99; all when None.

        Raises:
            BundleError: a folder has a link or something that is no file.
            ServerAnswerError: the server does not take it; the version before goes on answering.
        """
        return await self._client._send(calls.deploy(name, calls.packed(source), env, canary))

    async def list(self) -> Found:
        """Return the apps in the order of their names."""
        return (await self._client._send(calls.list_apps())).items

    async def get(self, name: str) -> AppDocument:
        """Return an app: what answers, where, and how often it was asked."""
        return await self._client._send(calls.get_app(name))

    async def remove(self, name: str) -> None:
        """Remove an app with everything that it has kept."""
        await self._client._send(calls.remove_app(name))

    async def versions(self, name: str) -> Versions:
        """Return the versions of an app, newest first."""
        return (await self._client._send(calls.list_versions(name))).items

    async def actions(self, name: str) -> Actions:
        """Return what was done to an app, newest first."""
        return (await self._client._send(calls.list_actions(name))).items

    async def rollback(self, name: str, to: str = "") -> AppDocument:
        """Let the version before answer at once, or the one that `to` names."""
        return await self._client._send(calls.roll_back(name, to))

    async def promote(self, name: str) -> AppDocument:
        """Let the canary answer everybody."""
        return await self._client._send(calls.change_app(name, "promote"))

    async def stop(self, name: str) -> AppDocument:
        """Let an app answer nothing."""
        return await self._client._send(calls.change_app(name, "stop"))

    async def start(self, name: str) -> AppDocument:
        """Let a stopped app answer again."""
        return await self._client._send(calls.change_app(name, "start"))

    async def set_env(
        self, name: str, values: Mapping[str, str] | None = None, *, remove: Iterable[str] = ()
    ) -> AppDocument:
        """Set and remove variables; what is set cannot be read again."""
        return await self._client._send(calls.set_env(name, values or {}, remove))

    async def logs(
        self,
        name: str,
        *,
        level: str | None = None,
        request: str | None = None,
        after_ms: int | None = None,
        limit: int | None = None,
    ) -> Logs:
        """Return the newest lines of an app's log, oldest first.

        Args:
            name: of the app.
            level: the least grave: debug, info, warn or error.
            request: only lines of this request.
            after_ms: only lines behind this time.
            limit: how many, 100 when None.
        """
        return (await self._client._send(calls.logs(name, level, request, after_ms, limit))).items

    async def follow_logs(
        self, name: str, *, level: str | None = None, request: str | None = None
    ) -> AsyncGenerator[LogDocument, None]:
        """Yield lines of an app's log as they are written, until the iterator is closed.

        Raises:
            ServerUnreachableError: the connection broke; `logs` has what was written meanwhile.
        """
        reader = calls.LogReader()
        async with aclosing(
            self._client._pieces(calls.follow_logs(name, level, request))
        ) as pieces:
            async for piece in pieces:
                for line in reader.feed(piece):
                    yield line

    async def requests(self, name: str, *, limit: int | None = None) -> Requests:
        """Return recorded requests of an app, newest first."""
        return (await self._client._send(calls.list_requests(name, limit))).items

    async def request_journal(self, name: str, request_id: str) -> Lines:
        """Return the lines of a recorded request's journal, JSON each."""
        return await self._client._send(calls.request_journal(name, request_id))

    async def replay(self, name: str, request_id: str) -> RequestReplayDocument:
        """Execute a recorded request again from its journal, to the same bytes.

        Raises:
            ServerAnswerError: it does something else now; the answer says what.
        """
        return await self._client._send(calls.replay_request(name, request_id))

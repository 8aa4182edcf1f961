"""A server in a thread of its own, for programs that ask it from outside."""

from __future__ import annotations

import asyncio
import threading

from cloche.web.adapters.server import Server

START_S = 60


class Background:
    """Serves an application until its context ends."""

    def __init__(self, app, *, loop=None, **options):
        self._app = app
        self._loop_factory = loop
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloche-test-server")

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(START_S), "the server did not start"
        return self

    def __exit__(self, *failure):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)

    def _run(self):
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Server(self._app, "127.0.0.1:0", **self._options) as server:
            self.server, self.address = server, server.address
            self._ready.set()
            await self._stop.wait()
            server.hub.abort()

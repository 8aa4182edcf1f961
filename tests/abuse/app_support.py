"""A whole server with apps, on a store in memory: every request goes through all of its layers."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import sys
import termios
import threading
import time
import zipfile
from contextlib import contextmanager

from cloche.apps.open import open_apps
from cloche.limits import Limits
from cloche.server.adapters.inline import InlineHost
from cloche.server.api import Server
from cloche.store.open import open_store
from cloche.web.adapters.fixture import FixtureServices
from cloche.web.request import Request

WAIT_S = 100  # for what comes, however slow the machine
# A busy machine ends no request; where a test has an end of its own, it says so.
AT_LEISURE = {
    "runtime": {"exec_timeout": 10_000},
    "apps": {
        "build_timeout_ms": 60_000,
        "request_timeout_ms": 60_000,
        "request_stall_ms": 60_000,
        "sql_timeout_ms": 60_000,
    },
}

ECHO = """
export default {
  async fetch(request) {
    const headers = [...request.headers];
    return Response.json({ url: request.url, headers, body: await request.text() });
  },
};
"""


def packed(code=ECHO, *, files=None, **manifest):
    """Return an app as a ZIP: its main module, further files, its manifest."""
    manifest = {"main": "main.js", "limits": {"timeout_ms": 60_000}, **manifest}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as whole:
        whole.writestr("cloche.app.json", json.dumps(manifest))
        whole.writestr(manifest["main"], code)
        for path, content in (files or {}).items():
            whole.writestr(path, content)
    return out.getvalue()


class Answer:
    """What came back: status, fields as (name, value), body."""

    def __init__(self, status, fields, body):
        self.status = status
        self.fields = [(name.decode(), value.decode("latin-1")) for name, value in fields]
        self.body = body

    @property
    def document(self):
        """The body as JSON."""
        return json.loads(self.body)

    def all(self, name):
        """Return every value of a field."""
        return [value for found, value in self.fields if found == name]


class Place:
    """A server, its keys, and how to ask it.

    Args:
        names: host names that apps may have.
        limits: by group.
    """

    def __init__(self, names=None, **limits):
        self.limits = Limits().replace(AT_LEISURE).replace(limits)
        self.store = open_store("memory:")
        self.apps = open_apps(self.store, self.limits, names=names)
        self.records = []
        self.server = Server(
            self.store,
            self.limits,
            host=InlineHost(self.limits),
            log=self.records.append,
            apps=self.apps,
        )
        self.server.is_warm.set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.key = self.new_key("admin")

    def new_key(self, *scopes, tenant="default"):
        """Return the text of a new key."""
        return self.server.keyring.make(tenant=tenant, scopes=scopes)[1]

    def ask(self, method, target, *, host="127.0.0.1:8787", fields=(), body=b"", key=None):
        """Return what the server answers."""
        if isinstance(body, dict):
            body, fields = (
                json.dumps(body).encode(),
                [*fields, ("content-type", b"application/json")],
            )
        sent = [("host", host.encode()), *fields]
        if key is not None:
            sent.append(("authorization", f"Bearer {key}".encode()))
        request = Request(
            method=method,
            target=target,
            services=FixtureServices(),
            fields=tuple((name.encode(), value) for name, value in sent),
            body=body,
            client="192.0.2.1",
        )

        async def work():
            response = await self.server.app.handle(request)
            content = response.body
            if response.is_stream:
                pieces = [piece async for piece in _each(content)]
                content = b"".join(pieces)
            return Answer(response.status, response.fields, content)

        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(WAIT_S)

    def get(self, target, **options):
        """Return what a GET answers."""
        return self.ask("GET", target, **options)

    def deploy(self, name="shop", code=ECHO, *, key=None, expected=201, **options):
        """Deploy over the API; return the document of the answer."""
        answer = self.ask(
            "POST",
            f"/v1/apps/{name}/versions",
            key=key or self.key,
            fields=[("content-type", b"application/zip")],
            body=packed(code, **{"name": name, **options}),
        )
        assert answer.status == expected, answer.body
        return answer.document

    def settle(self):
        """Wait until what ran has been told of: a response comes before its run has ended."""
        end_s = time.monotonic() + WAIT_S
        while any(each.running for each in self.server.apps.numbers.values()):
            assert time.monotonic() < end_s, "it does not end"
            time.sleep(0.005)

    def close(self):
        """End it."""
        self.server.apps.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.store.close()


async def until_flooded(connection, waiting_bytes=1 << 15):
    """Wait until so much of what a server sends is there, and nobody has read it."""
    descriptor = connection.transport.get_extra_info("socket").fileno()
    async with asyncio.timeout(WAIT_S):
        while _unread_bytes(descriptor) < waiting_bytes:  # noqa: ASYNC110 - only the kernel knows
            await asyncio.sleep(0.01)


def _unread_bytes(descriptor):
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


async def _each(body):
    if hasattr(body, "__aiter__"):
        async for piece in body:
            yield piece
    else:
        for piece in body:
            yield piece


@contextmanager
def place(names=None, **limits):
    """Have a server for a while."""
    found = Place(names, **limits)
    try:
        yield found
    finally:
        found.close()


def random_name():
    """Return a name that nobody has taken."""
    return f"x{os.urandom(4).hex()}"

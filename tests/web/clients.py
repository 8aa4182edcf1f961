"""Clients of the conformance suite: of a fixture, of an ASGI application, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import io

import aiohttp

from cloche.testing.web import Answer, Conversation
from cloche.web.adapters.fixture import FixtureChannel, FixtureServices, converse, read_body
from cloche.web.request import Request

WAIT_S = 60


class FixtureClient:
    """Asks an application without a server."""

    def __init__(self, app):
        self._app = app

    async def request(self, method, target, fields=(), body=b""):
        """Return the answer."""
        request = Request(
            method=method,
            target=target,
            fields=(*fields, (b"host", b"fixture")),
            body=body,
            services=FixtureServices(),
        )
        request.limit_body(8 << 20)
        response = await self._app.handle(request)
        content = await read_body(response)
        return Answer(response.status, response.fields, b"" if method == "HEAD" else content)

    async def converse(self, target, messages=(), subprotocols=()):
        """Return what was said."""
        offered = ((b"sec-websocket-protocol", ", ".join(subprotocols).encode()),)
        found = converse(self._app, target, messages, fields=offered if subprotocols else ())
        if isinstance(found, FixtureChannel):
            chosen = next((name for name in subprotocols if name == "chat"), None)
            return Conversation(found.sent, found.close_code, chosen)
        return Answer(found.status, found.fields, b"")


class AsgiClient:
    """Calls an ASGI application as a server would, without one."""

    def __init__(self, app, *, size=4096):
        self._app = app
        self._size = size

    def scope(self, kind, target, fields, **more):
        """Return the scope of a request."""
        path, _, query = target.partition("?")
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"Host", b"asgi"), *fields],
            "client": ("192.0.2.1", 1),
            "server": ("192.0.2.2", 80),
            **more,
        }

    async def request(self, method, target, fields=(), body=b""):
        """Return the answer, the body of the request sent in small messages."""
        length = ((b"content-length", b"%d" % len(body)),) if body else ()
        scope = self.scope("http", target, (*fields, *length), method=method, scheme="http")
        pieces = [body[at : at + self._size] for at in range(0, len(body), self._size)] or [b""]
        sent = []

        async def receive():
            if not pieces:
                await asyncio.Event().wait()
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message):
            sent.append(message)

        await self._app(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start"
        assert [part["more_body"] for part in rest] == [True] * (len(rest) - 1) + [False]
        content = b"".join(part["body"] for part in rest)
        return Answer(start["status"], tuple(start["headers"]), content)

    async def converse(self, target, messages=(), subprotocols=()):
        """Return what was said."""
        scope = self.scope("websocket", target, (), scheme="ws", subprotocols=list(subprotocols))
        offered = (b"sec-websocket-protocol", ", ".join(subprotocols).encode())
        scope["headers"] += [offered] if subprotocols else []
        scope["extensions"] = {"websocket.http.response": {}}
        said = [{"type": "websocket.connect"}]
        for message in messages:
            kind = "text" if isinstance(message, str) else "bytes"
            said.append({"type": "websocket.receive", kind: message})
        said.append({"type": "websocket.disconnect", "code": 1000})
        sent = []

        async def receive():
            return said.pop(0)

        async def send(message):
            sent.append(message)

        await self._app(scope, receive, send)
        if sent[0]["type"] != "websocket.accept":
            start = sent[0]
            return Answer(start["status"], tuple(start["headers"]), sent[1]["body"])
        heard = [
            message.get("text", message.get("bytes"))
            for message in sent
            if message["type"] == "websocket.send"
        ]
        codes = [message["code"] for message in sent if message["type"] == "websocket.close"]
        return Conversation(heard, codes[0] if codes else 1000, sent[0]["subprotocol"])


class HttpClient:
    """Asks over a socket. Use as an async context manager."""

    def __init__(self, base, *, ssl=None):
        self._base = base
        self._ssl = ssl

    async def __aenter__(self):
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=WAIT_S)
        )
        return self

    async def __aexit__(self, *failure):
        await self._session.close()

    def _url(self, target):
        import yarl

        return yarl.URL(self._base + target, encoded=True)

    async def request(self, method, target, fields=(), body=b""):
        """Return the answer."""
        headers = [(name.decode(), value.decode()) for name, value in fields]
        async with self._session.request(
            method,
            self._url(target),
            headers=headers,
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
            ssl=self._ssl or True,
            skip_auto_headers=("content-type", "accept-encoding"),
        ) as found:
            content = await found.read()
            raw = tuple((name.lower(), value) for name, value in found.raw_headers)
            return Answer(found.status, raw, content)

    async def converse(self, target, messages=(), subprotocols=()):
        """Return what was said."""
        try:
            socket = await self._session.ws_connect(
                self._url(target), protocols=subprotocols, ssl=self._ssl or True
            )
        except aiohttp.WSServerHandshakeError as refused:
            return Answer(refused.status, (), b"")
        heard = []
        async with socket:
            for message in messages:
                with contextlib.suppress(ConnectionError):
                    await (
                        socket.send_str(message)
                        if isinstance(message, str)
                        else socket.send_bytes(message)
                    )
                answer = await socket.receive(WAIT_S)
                if answer.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                    break
                heard.append(answer.data)
        return Conversation(heard, socket.close_code, socket.protocol)

"""The servers that bench/web.py measures: `python bench/web_servers.py NAME PORT`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

PLAIN = b"Hello, world!"
PIECE = bytes(65_536)
PIECES = 16_384  # 1 GiB


def main(name: str, port: int) -> None:
    """Serve until killed."""
    globals()[name.replace("-", "_")](port)


def _cloche_app():
    import msgspec

    from cloche.web.app import App
    from cloche.web.request import Request
    from cloche.web.response import Response, stream
    from cloche.web.websocket.channel import WebSocket

    class Shown(msgspec.Struct):
        number: int
        name: str

    app = App()
    plain = Response(200, ((b"content-type", b"text/plain"),), PLAIN)

    def home() -> Response:
        return plain

    def item(number: int, verbose: bool = False) -> Shown:
        return Shown(number, "verbose" if verbose else "short")

    async def upload(request: Request) -> str:
        size = 0
        body = request.body_reader()
        while piece := await body.read():
            size += len(piece)
        return str(size)

    def download() -> Response:
        return stream((PIECE for _ in range(PIECES)), length=PIECES * len(PIECE))

    async def echo(socket: WebSocket) -> None:
        async for message in socket:
            await socket.send(message)

    names = {"Request": Request, "Response": Response, "WebSocket": WebSocket, "Shown": Shown}
    for handler in (home, item, upload, download, echo):
        handler.__annotations__ = {
            key: names.get(value, eval(value)) if value in {"int", "str", "bool"} else names[value]
            for key, value in handler.__annotations__.items()
            if value != "None"
        }
    app.add("GET", "/", home)
    app.add("GET", "/items/:number", item)
    app.add("POST", "/upload", upload)
    app.add("GET", "/download", download)
    app.add_websocket("/ws", echo)
    return app


def _cloche(app, port: int) -> None:
    from cloche.limits import Limits
    from cloche.limits.web_groups import WebLimits
    from cloche.web.adapters.server import serve

    web = WebLimits(
        connection_request_count_max=1_000_000_000,
        connection_count_max=20_000,
        body_limit_bytes=2 << 30,
        idle_timeout_ms=600_000,
    )
    serve(app, f"127.0.0.1:{port}", limits=Limits(web=web))


def cloche(port: int) -> None:
    """Our server on uvloop."""
    _cloche(_cloche_app(), port)


def cloche_asyncio(port: int) -> None:
    """Our server on the loop of the standard library."""
    sys.modules["uvloop"] = None
    _cloche(_cloche_app(), port)


def cloche_full(port: int) -> None:
    """Our server with the middleware that every application should have."""
    from cloche.web.middleware.basics import access_log, catch_errors, request_id
    from cloche.web.middleware.security import security_headers

    app = _cloche_app()
    for each in (request_id(), access_log(), catch_errors(), security_headers()):
        app.use(each)
    _cloche(app, port)


async def _asgi(scope, receive, send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(PLAIN))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PLAIN})


def _uvicorn(app, port: int) -> None:
    import uvicorn

    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="critical",
        lifespan="off",
    )


def uvicorn(port: int) -> None:
    """Raw ASGI on uvicorn with httptools and uvloop."""
    _uvicorn(_asgi, port)


def granian(port: int) -> None:
    """Raw ASGI on granian."""
    os.chdir(Path(__file__).parent)
    os.execv(
        sys.executable,
        [
            sys.executable,
            *("-m", "granian", "--interface", "asgi", "--port", str(port)),
            *("--no-access-log", "--log-level", "critical", "web_servers:_asgi"),
        ],
    )


def starlette(port: int) -> None:
    """Starlette on uvicorn."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def home(_):
        return PlainTextResponse(PLAIN)

    async def item(request):
        number = int(request.path_params["number"])
        return JSONResponse({"number": number, "name": "short"})

    _uvicorn(Starlette(routes=[Route("/", home), Route("/items/{number}", item)]), port)


def fastapi(port: int) -> None:
    """FastAPI on uvicorn."""
    import fastapi as library
    from fastapi.responses import PlainTextResponse

    app = library.FastAPI()

    @app.get("/")
    async def home():
        return PlainTextResponse(PLAIN)

    async def item(number: int, verbose: bool = False):
        return {"number": number, "name": "verbose" if verbose else "short"}

    item.__annotations__ = {"number": int, "verbose": bool}
    app.get("/items/{number}")(item)
    _uvicorn(app, port)


def aiohttp(port: int) -> None:
    """Aiohttp on uvloop."""
    import uvloop
    from aiohttp import web

    async def home(_):
        return web.Response(body=PLAIN, content_type="text/plain")

    async def item(request):
        return web.json_response({"number": int(request.match_info["number"]), "name": "short"})

    async def upload(request):
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        return web.Response(text=str(size))

    async def download(request):
        found = web.StreamResponse(headers={"content-length": str(PIECES * len(PIECE))})
        await found.prepare(request)
        for _ in range(PIECES):
            await found.write(PIECE)
        return found

    async def echo(request):
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    async def run():
        app = web.Application(client_max_size=2 << 30)
        app.router.add_get("/", home)
        app.router.add_get("/items/{number}", item)
        app.router.add_post("/upload", upload)
        app.router.add_get("/download", download)
        app.router.add_get("/ws", echo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    uvloop.run(run())


def websockets(port: int) -> None:
    """The library websockets on uvloop."""
    import uvloop
    from websockets.asyncio.server import serve

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def run():
        async with serve(echo, "127.0.0.1", port, compression=None):
            await asyncio.Event().wait()

    uvloop.run(run())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""Hosted apps: a request of the host becomes a `Request`, what the app returns becomes effects.

Programs of the name `<app>` are no sources but what an app is asked to do, as JSON. `load` imports
its module, once, when the app's image is made; everything else is asked of that image's instances.
A request is answered at most once; a client that left ends the stream that was meant for it.
"""

import asyncio
import base64
import importlib.util
import inspect
import json
import os
import struct
import sys
import types
from urllib.parse import parse_qsl, unquote

from _cloche import host, tools

NAME = "<app>"
_KIND = "app"
_METHODS = (None, "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")  # of X7RQ
_HEAD_BYTES = 8  # of X7RQ, and of X7HT
_ROW = struct.Struct("<IIII")
_U32 = struct.Struct("<I")
# A piece of a response; the host takes effects of a megabyte, and base64 is a third longer.
_PIECE_BYTES = 512 * 1024
_PIECE_LETTERS = 128 * 1024  # in JSON each may become twelve bytes
_WEB = "/web"
# The host cannot give memory between runs: what requests take lies ready in the image.
_ROOM_BYTES = 1 << 20

_handlers = {}
_entry = None  # the module, or its `cloche.web` application


# --- what programs see ---


class Headers:
    """Fields of a request: names in any case, values of one name joined with a comma."""

    __slots__ = ("_lines",)

    def __init__(self, lines):
        self._lines = lines

    def __getitem__(self, name):
        found = self.get_all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def get(self, name, default=None):
        found = self.get_all(name)
        return ", ".join(found) if found else default

    def get_all(self, name):
        wanted = name.lower()
        return [value for known, value in self._lines if known == wanted]

    def items(self):
        return list(self._lines)

    def keys(self):
        return list(dict.fromkeys(name for name, _ in self._lines))

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __contains__(self, name):
        return bool(self.get_all(name))

    def __repr__(self):
        return f"Headers({self._lines!r})"


class Request:
    """One request: `method`, `url`, `path`, `query`, `headers`, `client`, and a body.

    `body` is all of it, `stream()` gives its pieces; `text()`, `json()` and `form()` read it.
    """

    __slots__ = ("_body", "_is_large", "client", "headers", "method", "origin", "target")

    def __init__(self, method, target, headers, body, *, origin, client, large):
        self.method, self.target, self.headers = method, target, headers
        self.origin, self.client = origin, client
        self._body, self._is_large = body, large

    @property
    def is_large(self):
        """Whether the body is still to be read."""
        return self._is_large

    @property
    def url(self):
        return self.origin + self.path_text

    @property
    def path_text(self):
        return "/" if self.target == "*" else self.target

    @property
    def path(self):
        return unquote(self.path_text.partition("?")[0])

    @property
    def query_string(self):
        return self.path_text.partition("?")[2]

    @property
    def query(self):
        """The last value of each name."""
        return dict(self.query_items)

    @property
    def query_items(self):
        return parse_qsl(self.query_string, keep_blank_values=True)

    @property
    def cookies(self):
        pairs = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, found, value in pairs if found}

    @property
    def body(self):
        if self._is_large:
            self._body = b"".join(self.stream())
        return self._body

    def stream(self):
        """The body in pieces. A large one is read from the client meanwhile, and only once."""
        if not self._is_large:
            yield self._body
            return
        self._is_large, self._body = False, b""
        while (piece := host.effect(_KIND, "request.read", {})) is not None:
            yield base64.b64decode(piece["b64"])

    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def form(self):
        return dict(parse_qsl(self.text(), keep_blank_values=True))

    def __repr__(self):
        return f"<Request {self.method} {self.path_text}>"


class Response:
    """What a handler returns when a plain value does not say enough.

    `body` is text, bytes, what JSON can hold, None, or a generator of texts and bytes, async or not.
    """

    __slots__ = ("body", "headers", "is_exact", "status")

    def __init__(self, body=None, status=200, headers=None, content_type=None):
        self.body, self.status = body, status
        self.is_exact = False  # whether it gets no type of its own
        pairs = headers.items() if hasattr(headers, "items") else headers or ()
        self.headers = [(str(name), str(value)) for name, value in pairs]
        if content_type is not None:
            self.headers.append(("content-type", content_type))


class Socket:
    """What a handler of WebSockets gets: `accept`, then messages by `receive` or by iterating.

    In async code `receive` and iterating are awaited; a handler that is not async waits there.
    """

    __slots__ = ("_is_accepted", "request")

    def __init__(self, request):
        self.request, self._is_accepted = request, False

    def accept(self, protocol=None):
        host.effect(_KIND, "socket.accept", {} if protocol is None else {"protocol": protocol})
        self._is_accepted = True

    def send(self, data):
        """Send a text or bytes; False once the client is gone."""
        try:
            host.effect(_KIND, "socket.send", {"data": _argument(data)})
        except host.EffectError as error:
            if error.code != "CLIENT_GONE":
                raise
            return False
        return True

    def receive(self):
        """The next message, text or bytes; None once the WebSocket is closed."""
        if tools.wants_await(sys._getframe(1)):
            return self._coming()
        return _message(host.effect(_KIND, "socket.receive", {}))

    async def _coming(self):
        future = asyncio.get_running_loop().create_future()
        return _message(await host.submit(_KIND, "socket.receive", {}, future))

    def close(self, code=1000, reason=""):
        host.effect(_KIND, "socket.close", {"code": code, "reason": reason})

    def __iter__(self):
        if not self._is_accepted:
            self.accept()
        while (message := _message(host.effect(_KIND, "socket.receive", {}))) is not None:
            yield message

    async def __aiter__(self):
        if not self._is_accepted:
            self.accept()
        while (message := await self._coming()) is not None:
            yield message


def _message(value):
    if value is None:
        return None
    return value["text"] if "text" in value else base64.b64decode(value["b64"])


class _Log:
    """`log.info("text", user=1)`: lines of the app's log, with fields."""

    def _write(self, level, message, fields):
        host.effect(_KIND, "log", {"level": level, "message": str(message), "fields": fields})

    def debug(self, message, /, **fields):
        self._write("debug", message, fields)

    def info(self, message, /, **fields):
        self._write("info", message, fields)

    def warning(self, message, /, **fields):
        self._write("warn", message, fields)

    warn = warning

    def error(self, message, /, **fields):
        self._write("error", message, fields)


module = types.ModuleType("cloche_app", "What the host offers to an app.")
module.env = {}
module.log = _Log()
module.Request, module.Response, module.Headers = Request, Response, Headers
module.Socket = Socket
module.EffectError = host.EffectError


def _offer_storage():
    """Take what app_storage.py made: `names` (name -> facade), and `job` (document -> job)."""
    storage = sys.modules.get("_cloche.app_storage")
    module.__dict__.update(getattr(storage, "names", {}))


def _job_of(document):
    make = getattr(sys.modules.get("_cloche.app_storage"), "job", None)
    return document if make is None else make(document)


# --- requests ---


def _request(document):
    data = sys.stdin.buffer.read()
    target_end = _HEAD_BYTES + 4 + _U32.unpack_from(data, _HEAD_BYTES)[0]
    headers_end = target_end + 4 + _U32.unpack_from(data, target_end)[0]
    return Request(
        _METHODS[data[5]],
        data[_HEAD_BYTES + 4 : target_end].decode("ascii"),
        Headers(_lines(data[target_end + 4 : headers_end])),
        data[headers_end + 4 :],
        origin=document["origin"],
        client=document.get("client", ""),
        large=document.get("large", False),
    )


def _lines(table):
    (count,) = struct.unpack_from("<H", table, 6)
    payload = table[_HEAD_BYTES + _ROW.size * count :].decode("latin-1")
    rows = [_ROW.unpack_from(table, _HEAD_BYTES + _ROW.size * index) for index in range(count)]
    rows.sort()  # in the order of arrival
    return [
        (payload[name : name + name_size], payload[value : value + value_size])
        for name, name_size, value, value_size in rows
    ]


# --- responses ---


def _response(value):
    if isinstance(value, Response):
        return value
    if isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[0], int):
            return Response(value[1], value[0])
        if len(value) == 3 and isinstance(value[0], int):
            return Response(value[2], value[0], value[1])
        raise TypeError(
            "a handler returns a body, (status, body), (status, headers, body) or a Response, "
            f"not a tuple of {len(value)}"
        )
    return Response(value, 204 if value is None else 200)


def _content(body):
    """Return (text or bytes, its type), or None for a stream."""
    if body is None:
        return "", None
    if isinstance(body, str):
        return body, "text/plain; charset=utf-8"
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), "application/octet-stream"
    if isinstance(body, (dict, list, int, float)):
        return json.dumps(body, ensure_ascii=False, allow_nan=False), "application/json"
    # A collection is no stream: it is whole, and in no form that says how to send it.
    is_stream = hasattr(body, "__aiter__") or hasattr(body, "__iter__")
    if is_stream and not hasattr(body, "__len__"):
        return None, "text/plain; charset=utf-8"
    raise TypeError(
        f"a response cannot be made of a value of type {type(body).__name__}; return text, bytes, "
        "a dict, list or number as JSON, or a generator of texts and bytes"
    )


def _argument(piece):
    if isinstance(piece, str):
        return piece
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return {"b64": base64.b64encode(piece).decode()}
    raise TypeError(f"a piece of a response is text or bytes, not {type(piece).__name__}")


def _write(content):
    """Write a piece; False once the client is gone."""
    size = _PIECE_LETTERS if isinstance(content, str) else _PIECE_BYTES
    pieces = [content]
    if isinstance(content, (str, bytes, bytearray, memoryview)):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
    for piece in pieces:
        try:
            host.effect(_KIND, "respond.write", {"data": _argument(piece)})
        except host.EffectError as error:
            if error.code == "CLIENT_GONE":
                return False
            raise
    return True


def _end():
    host.effect(_KIND, "respond.end", {})


def _respond(value):
    """Answer; return a coroutine where the body is an async generator."""
    response = _response(value)
    content, kind = _content(response.body)
    headers = response.headers
    if (
        kind is not None
        and not response.is_exact
        and all(name.lower() != "content-type" for name, _ in headers)
    ):
        headers = [*headers, ("content-type", kind)]
    head = {"status": response.status, "headers": headers}
    if content is not None:
        size = _PIECE_LETTERS if isinstance(content, str) else _PIECE_BYTES
        if len(content) <= size:
            host.effect(_KIND, "respond", {**head, "body": _argument(content)})
            return None
        host.effect(_KIND, "respond.start", head)
        if _write(content):
            _end()
        return None
    host.effect(_KIND, "respond.start", head)
    if hasattr(response.body, "__aiter__"):
        return _stream(response.body)
    for piece in response.body:
        if not _write(piece):
            close = getattr(response.body, "close", None)
            if close is not None:
                close()
            return None
    _end()
    return None


async def _stream(body):
    async for piece in body:
        if not _write(piece):
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
            return
    _end()


# --- what is asked ---


def _take_application(application):
    """Let an application of `cloche.web` answer, where the module has one."""
    web = sys.modules.get("cloche.web.app")
    if web is not None and isinstance(application, web.App):
        _handlers["fetch"] = importlib.import_module("cloche_app_web").handler_of(application)


def _load(main):
    module.env.update(os.environ)
    _offer_storage()
    if os.path.isdir(_WEB):
        # The host has put `cloche.web` there, since the app imports it.
        sys.path.append(_WEB)
        sys.modules["cloche"].__path__ = [f"{_WEB}/cloche"]
    folder = os.path.dirname(main)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = os.path.splitext(os.path.basename(main))[0]
    spec = importlib.util.spec_from_file_location(name, main)
    entry = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    for found in ("fetch", "scheduled", "job", "websocket"):
        handler = "handle" if found == "fetch" else found
        function = getattr(entry, handler, None)
        if function is None:
            continue
        if not callable(function):
            raise TypeError(f"`{handler}` is no function but a {type(function).__name__}")
        _handlers[found] = function
    if _WEB in sys.path and "fetch" not in _handlers:
        _take_application(getattr(entry, "app", None))
    host.effect(_KIND, "ready", {"handlers": sorted(_handlers)})
    bytearray(_ROOM_BYTES)


def ask(text):
    """Do what the host asks; return a coroutine where that takes time."""
    document = json.loads(text)
    name = document["do"]
    if name == "load":
        return _load(document["main"])
    handler = _handlers[name]
    if name == "fetch":
        finish, event = _respond, _request(document)
    elif name == "websocket":
        finish, event = _finish_socket, Socket(_request(document))
    else:
        finish, event = _return, document["event"]
        if name == "job":
            event = _job_of(event)
    try:
        value = handler(event)
        if inspect.isawaitable(value):
            return _awaited(value, finish)
        rest = finish(value)
    except Exception as error:
        _tell_retry(error)
        raise
    return None if rest is None else _awaited(rest, lambda value: None)


async def _awaited(value, finish):
    try:
        rest = finish(await value)
        if rest is not None:
            await rest
    except Exception as error:
        _tell_retry(error)
        raise


def _tell_retry(error):
    """Tell the host that it may be asked again, where that is what an error says."""
    if getattr(error, "retryable", False) is not True:
        return
    after_ms = getattr(error, "retry_after_ms", None)
    if after_ms is None and isinstance(getattr(error, "retry_after", None), (int, float)):
        after_ms = error.retry_after * 1000
    host.effect(_KIND, "retry", {} if after_ms is None else {"retry_after_ms": after_ms})


def _finish_socket(_value):
    """What a handler of WebSockets returns is nothing to anybody."""


def _return(value):
    host.effect(_KIND, "return", {"value": value})


sys.modules["cloche_app"] = module

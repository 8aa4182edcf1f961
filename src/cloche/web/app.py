"""The application: routes, middleware, and one function from request to response.

Invariants:
- `handle` always returns a response: what a handler raises becomes an error document, and what it
  was stays in the log, not in the answer;
- middleware is a chain that is built once, when the first request comes or `build` is called; after
  that neither routes nor middleware can be added;
- an application has no state of its own but `state`, which start hooks fill.

    app = App()

    @app.get("/users/:id")
    def user(id: int) -> dict[str, int]:
        return {"id": id}
"""

from __future__ import annotations

from collections import deque
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.web.binding import Parameter, bind, read_signature, reader_of
from cloche.web.errors import (
    ChannelClosedError,
    HttpError,
    MethodNotAllowedError,
    RouteError,
)
from cloche.web.response import Response, Upgrade, empty, error, json
from cloche.web.router import Router
from cloche.web.websocket.channel import INTERNAL, REFUSED, WebSocket
from cloche.web.websocket.handshake import accept_handshake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from cloche.web.binding import Handler
    from cloche.web.ports import Channel
    from cloche.web.request import Request

    Next = Callable[[Request], Awaitable[Response]]
    Middleware = Callable[[Request, Next], Awaitable[Response]]
    Hook = Callable[[dict[str, Any]], Awaitable[None]]

_SWITCHING: Final = 101
_WHERE_COUNT_MAX: Final = 5  # lines of a failure that the log has
INTERNAL_DOCUMENT: Final[dict[str, Any]] = {
    "code": "INTERNAL",
    "message": "the server failed; the failure was logged",
    "blame": "cloche",
    "retryable": False,
    "fields": {},
}


class Endpoint:
    """A handler at its route: what the router finds, and what OpenAPI is made of."""

    __slots__ = ("handler", "middleware", "parameters", "run")

    def __init__(
        self, handler: Handler, parameters: tuple[Parameter, ...], middleware: list[Middleware]
    ) -> None:
        self.handler = handler
        self.parameters = parameters
        self.middleware = middleware  # of the sub-applications it came through, outermost first
        self.run: Next = _chain(self.middleware, self._answerer())

    def _answerer(self) -> Next:
        """Return what answers at the end of the chain."""
        return bind(self.handler, self.parameters)


class SocketEndpoint(Endpoint):
    """A handler of WebSockets at its route: a GET that is answered with a 101."""

    __slots__ = ("deflate", "origins", "subprotocols")

    def __init__(
        self,
        handler: Handler,
        parameters: tuple[Parameter, ...],
        middleware: list[Middleware],
        *,
        subprotocols: tuple[str, ...],
        origins: tuple[str, ...],
        deflate: bool,
    ) -> None:
        super().__init__(handler, parameters, middleware)
        self.subprotocols = subprotocols
        self.origins = origins
        self.deflate = deflate

    def _answerer(self) -> Next:
        return self._answer

    async def _answer(self, request: Request) -> Response:
        accepted = accept_handshake(
            request,
            subprotocols=self.subprotocols,
            origins=self.origins,
            deflate=self.deflate,
        )
        arguments = {
            each.name: reader_of(each)(request)
            for each in self.parameters
            if each.source != "socket"
        }

        async def run(channel: Channel) -> None:
            socket = WebSocket(channel, request, accepted.subprotocol)
            found = {each.name: socket for each in self.parameters if each.source == "socket"}
            try:
                await self.handler(**arguments, **found)
            except ChannelClosedError:
                pass  # the client went away; nobody is there to tell
            except HttpError as failure:
                await channel.close(REFUSED, failure.code)
            except Exception as raised:  # noqa: BLE001 - becomes a close, and a line of the log
                answer_failure(request, raised)
                await channel.close(INTERNAL)
            else:
                await channel.close()

        upgrade = Upgrade(run, accepted.subprotocol, accepted.deflate)
        return Response(_SWITCHING, accepted.fields, upgrade)


class App:
    """Routes and middleware. Add them, then give the application to an adapter."""

    def __init__(self) -> None:
        self.router: Router[Endpoint] = Router()
        self.state: dict[str, Any] = {}
        self._middleware: list[Middleware] = []
        self._start_hooks: list[Hook] = []
        self._stop_hooks: list[Hook] = []
        self._run: Callable[[Request], Coroutine[Any, Any, Response]] | None = None

    def route(self, method: str, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator that adds a handler for a method at a template.

        Raises:
            RouteError: when it decorates; the template, the shape or the signature is wrong.
        """

        def decorate(handler: Handler) -> Handler:
            self.add(method, template, handler)
            return handler

        return decorate

    def get(self, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator for GET, and so for HEAD."""
        return self.route("GET", template)

    def post(self, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator for POST."""
        return self.route("POST", template)

    def put(self, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator for PUT."""
        return self.route("PUT", template)

    def patch(self, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator for PATCH."""
        return self.route("PATCH", template)

    def delete(self, template: str) -> Callable[[Handler], Handler]:
        """Return a decorator for DELETE."""
        return self.route("DELETE", template)

    def add(
        self,
        method: str,
        template: str,
        handler: Handler,
        *,
        middleware: tuple[Middleware, ...] = (),
    ) -> None:
        """Add a handler, with middleware of its own around it.

        Raises:
            RouteError: the template, the shape or the signature is wrong, or requests came already.
        """
        parameters = self._read(method, template, handler)
        if any(parameter.source == "socket" for parameter in parameters):
            problem = "it takes a WebSocket; add it with app.websocket"
            raise RouteError(route=f"{method} {template}", problem=problem)
        self.router.add(method, template, Endpoint(handler, parameters, list(middleware)))

    def websocket(
        self,
        template: str,
        *,
        subprotocols: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        deflate: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that adds an async handler of WebSockets.

        Middleware sees the handshake, a GET whose response is a 101. The arguments are those of
        `websocket.handshake.accept_handshake`.

        Raises:
            RouteError: when it decorates, as `route`.
        """

        def decorate(handler: Handler) -> Handler:
            self.add_websocket(
                template, handler, subprotocols=subprotocols, origins=origins, deflate=deflate
            )
            return handler

        return decorate

    def add_websocket(
        self,
        template: str,
        handler: Handler,
        *,
        subprotocols: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        deflate: bool = False,
        middleware: tuple[Middleware, ...] = (),
    ) -> None:
        """Add a handler of WebSockets, with middleware of its own around the handshake.

        Raises:
            RouteError: as `add`, or the handler takes no WebSocket or is not async.
        """
        parameters = self._read("GET", template, handler)
        sources = [parameter.source for parameter in parameters]
        if sources.count("socket") != 1 or "body" in sources or not iscoroutinefunction(handler):
            problem = "a handler of WebSockets is async, takes one WebSocket and no body"
            raise RouteError(route=f"GET {template}", problem=problem)
        endpoint = SocketEndpoint(
            handler,
            parameters,
            list(middleware),
            subprotocols=subprotocols,
            origins=origins,
            deflate=deflate,
        )
        self.router.add("GET", template, endpoint)

    def _read(self, method: str, template: str, handler: Handler) -> tuple[Parameter, ...]:
        """Return the parameters of a handler that may be added."""
        place = f"{method} {template}"
        self._check_open(place)
        names = tuple(part[1:] for part in template.split("/") if part[:1] in {":", "*"})
        return read_signature(handler, names, place)

    def use(self, middleware: Middleware) -> None:
        """Put middleware around everything, inside of what was put there before.

        Raises:
            RouteError: requests came already, or it is no function.
        """
        self._check_open("middleware")
        _check_middleware(middleware)
        self._middleware.append(middleware)

    def wrap(self, middleware: Middleware) -> None:
        """Put middleware around everything, outside of what was put there before.

        Raises:
            RouteError: requests came already, or it is no function.
        """
        self._check_open("middleware")
        _check_middleware(middleware)
        self._middleware.insert(0, middleware)

    def mount(self, prefix: str, other: App) -> None:
        """Add the routes of another application below a prefix, with its middleware and hooks.

        Raises:
            RouteError: the prefix ends in a slash, a shape is taken, or the other is no App.
        """
        if not isinstance(other, App):
            raise RouteError(route=prefix, problem=f"{type(other).__name__} is no App")
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise RouteError(route=prefix, problem="a prefix begins with / and does not end so")
        for route in other.router.routes:
            endpoint = route.target
            chain = (*other._middleware, *endpoint.middleware)
            template = prefix if route.template == "/" else prefix + route.template
            if isinstance(endpoint, SocketEndpoint):
                self.add_websocket(
                    template,
                    endpoint.handler,
                    subprotocols=endpoint.subprotocols,
                    origins=endpoint.origins,
                    deflate=endpoint.deflate,
                    middleware=chain,
                )
            else:
                self.add(route.method, template, endpoint.handler, middleware=chain)
        self._start_hooks += other._start_hooks
        self._stop_hooks += other._stop_hooks

    def on_start(self, hook: Hook) -> Hook:
        """Call a hook with `state` before the first request. Decorates."""
        self._start_hooks.append(hook)
        return hook

    def on_stop(self, hook: Hook) -> Hook:
        """Call a hook with `state` after the last request, last added first. Decorates."""
        self._stop_hooks.append(hook)
        return hook

    async def start(self) -> None:
        """Run the start hooks, in order. What one raises stops the start."""
        self.build()
        for hook in self._start_hooks:
            await hook(self.state)

    async def stop(self) -> None:
        """Run all stop hooks, whatever one of them raises; raise the first failure at the end."""
        failure: Exception | None = None
        for hook in reversed(self._stop_hooks):
            try:
                await hook(self.state)
            except Exception as raised:  # noqa: BLE001 - the others still have to close what is theirs
                failure = failure or raised
        if failure is not None:
            raise failure

    def build(self) -> None:
        """Close the application for additions."""
        if self._run is None:
            chain = _chain(self._middleware, self._dispatch)
            # Middleware may raise; what dispatches does not.
            self._run = _guarded(chain) if self._middleware else self._dispatch

    def handle(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Return the response to a request, to be awaited. Never raises an Exception."""
        if self._run is None:
            self.build()
            assert self._run is not None
        request.context["app"] = self
        return self._run(request)

    async def _dispatch(self, request: Request) -> Response:
        """Return what a route answers; errors are answered here so that middleware sees them."""
        try:
            match = self.router.find(request.method, request.path)
            request.params = match.parameters
            request.template = match.route.template
            return await match.route.target.run(request)
        except HttpError as failure:
            if request.method == "OPTIONS" and not request.template:
                return await self._options(request, failure)
            return error(failure)
        except Exception as raised:  # noqa: BLE001 - becomes a response, and a line of the log
            return answer_failure(request, raised)

    async def _options(self, request: Request, failure: HttpError) -> Response:
        """Return what a path allows; no route of its own answers OPTIONS there.

        The middleware of the route that a preflight asks about stands around the answer, of
        another one if it asks about none: it may have something to say, as CORS has.
        """
        if request.path != "*" and not isinstance(failure, MethodNotAllowedError):
            return error(failure)
        allowed = self.router.allowed(request.path)
        answer = empty().with_field(b"allow", ", ".join(allowed).encode())
        if request.path == "*":
            return answer
        asked = request.header("access-control-request-method")
        method = next(one for one in (asked, *allowed) if one in allowed and one != "OPTIONS")
        match = self.router.find(method, request.path)
        if not match.route.target.middleware:
            return answer
        request.params, request.template = match.parameters, match.route.template

        async def last(_: Request) -> Response:
            return answer

        try:
            return await _chain(match.route.target.middleware, last)(request)
        except Exception as raised:  # noqa: BLE001 - as `_dispatch`, it does not raise
            return answer_failure(request, raised)

    def _check_open(self, place: str) -> None:
        if self._run is not None:
            problem = "the application answers requests already; add everything before"
            raise RouteError(route=place, problem=problem)


def answer_failure(request: Request, raised: Exception) -> Response:
    """Return the response to a failure; what the client may not know goes to the log."""
    if isinstance(raised, HttpError):
        return error(raised)
    record: dict[str, object] = {
        "event": "failure",
        "method": request.method,
        "template": request.template,
        "type": type(raised).__name__,
        "message": str(raised),
        "where": _where(raised),
    }
    if isinstance(raised, ClocheError):
        record["code"] = raised.code
    if "request_id" in request.context:
        record["request_id"] = request.context["request_id"]
    request.services.log(record)
    identity = request.context.get("request_id")
    document = {**INTERNAL_DOCUMENT, "fields": {"request_id": identity} if identity else {}}
    return json(document, 500)


def _where(raised: BaseException) -> list[str]:
    """Return the innermost lines that a failure passed, the last one where it was raised."""
    lines: deque[str] = deque(maxlen=_WHERE_COUNT_MAX)
    step = raised.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        lines.append(f"{code.co_filename}:{step.tb_lineno} in {code.co_qualname}")
        step = step.tb_next
    return list(lines)


def _check_middleware(middleware: object) -> None:
    if not callable(middleware):
        problem = f"{type(middleware).__name__} is no async function of a request and what follows"
        raise RouteError(route="middleware", problem=problem)


def _guarded(run: Next) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await run(request)
        except Exception as raised:  # noqa: BLE001 - the last place that can answer
            return answer_failure(request, raised)

    return guarded


def _chain(middleware: list[Middleware], last: Next) -> Next:
    run = last
    for each in reversed(middleware):
        run = _link(each, run)
    return run


def _link(middleware: Middleware, inner: Next) -> Next:
    # Not async: a coroutine that only awaits another one would cost each request a step of its own.
    return lambda request: middleware(request, inner)

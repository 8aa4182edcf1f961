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

from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.web.binding import Parameter, bind, read_signature
from cloche.web.errors import HttpError, MethodNotAllowedError, RouteError
from cloche.web.response import Response, empty, error, from_value, json
from cloche.web.router import Router

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloche.web.binding import Handler
    from cloche.web.request import Request

    Next = Callable[[Request], Awaitable[Response]]
    Middleware = Callable[[Request, Next], Awaitable[Response]]
    Hook = Callable[[dict[str, Any]], Awaitable[None]]

INTERNAL_DOCUMENT: Final[dict[str, Any]] = {
    "code": "INTERNAL",
    "message": "the server failed; the failure was logged",
    "blame": "cloche",
    "retryable": False,
    "fields": {},
}


class Endpoint:
    """A handler at its route: what the router finds, and what OpenAPI is made of."""

    __slots__ = ("call", "handler", "middleware", "parameters", "run")

    def __init__(
        self, handler: Handler, parameters: tuple[Parameter, ...], middleware: list[Middleware]
    ) -> None:
        self.handler = handler
        self.parameters = parameters
        self.middleware = middleware  # of the sub-applications it came through, outermost first
        self.call = bind(handler, parameters)
        self.run: Next = _chain(self.middleware, self._answer)

    async def _answer(self, request: Request) -> Response:
        return from_value(await self.call(request))


class App:
    """Routes and middleware. Add them, then give the application to an adapter."""

    def __init__(self) -> None:
        self.router: Router[Endpoint] = Router()
        self.state: dict[str, Any] = {}
        self._middleware: list[Middleware] = []
        self._start_hooks: list[Hook] = []
        self._stop_hooks: list[Hook] = []
        self._run: Next | None = None

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
        place = f"{method} {template}"
        self._check_open(place)
        names = tuple(part[1:] for part in template.split("/") if part[:1] in {":", "*"})
        parameters = read_signature(handler, names, place)
        self.router.add(method, template, Endpoint(handler, parameters, list(middleware)))

    def use(self, middleware: Middleware) -> None:
        """Put middleware around everything, inside of what was put there before.

        Raises:
            RouteError: requests came already.
        """
        self._check_open("middleware")
        self._middleware.append(middleware)

    def mount(self, prefix: str, other: App) -> None:
        """Add the routes of another application below a prefix, with its middleware and hooks.

        Raises:
            RouteError: the prefix ends in a slash, or a shape is taken.
        """
        if not prefix.startswith("/") or prefix.endswith("/"):
            raise RouteError(route=prefix, problem="a prefix begins with / and does not end so")
        for route in other.router.routes:
            endpoint = route.target
            chain = (*other._middleware, *endpoint.middleware)
            template = prefix if route.template == "/" else prefix + route.template
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
            self._run = _chain(self._middleware, self._dispatch)

    async def handle(self, request: Request) -> Response:
        """Return the response to a request. Never raises an Exception."""
        if self._run is None:
            self.build()
            assert self._run is not None
        request.context["app"] = self
        try:
            return await self._run(request)
        except Exception as raised:  # noqa: BLE001 - the last place that can answer
            return answer_failure(request, raised)

    async def _dispatch(self, request: Request) -> Response:
        """Return what a route answers; errors are answered here so that middleware sees them."""
        try:
            match = self.router.find(request.method, request.path)
            request.params = match.parameters
            request.template = match.route.template
            return await match.route.target.run(request)
        except HttpError as failure:
            if request.method == "OPTIONS" and not request.template:
                return self._options(request, failure)
            return error(failure)
        except Exception as raised:  # noqa: BLE001 - becomes a response, and a line of the log
            return answer_failure(request, raised)

    def _options(self, request: Request, failure: HttpError) -> Response:
        """Return what a path allows; no route of its own answers OPTIONS there."""
        if request.path != "*" and not isinstance(failure, MethodNotAllowedError):
            return error(failure)
        allowed = ", ".join(self.router.allowed(request.path))
        return empty().with_field(b"allow", allowed.encode())

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
    }
    if isinstance(raised, ClocheError):
        record["code"] = raised.code
    if "request_id" in request.context:
        record["request_id"] = request.context["request_id"]
    request.services.log(record)
    identity = request.context.get("request_id")
    document = {**INTERNAL_DOCUMENT, "fields": {"request_id": identity} if identity else {}}
    return json(document, 500)


def _chain(middleware: list[Middleware], last: Next) -> Next:
    run = last
    for each in reversed(middleware):
        run = _link(each, run)
    return run


def _link(middleware: Middleware, inner: Next) -> Next:
    async def run(request: Request) -> Response:
        return await middleware(request, inner)

    return run

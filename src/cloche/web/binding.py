"""How a handler's parameters are filled.

A handler is any function, sync or async. Its parameters say what it needs, by name and type:

| parameter | filled with |
|---|---|
| annotated `Request`, or named `request` without annotation | the request |
| annotated `WebSocket`, of a handler that was added with `websocket` | the open WebSocket |
| named as a parameter of the path | that segment, as its type |
| annotated with a `msgspec.Struct` or a dataclass | the JSON body, checked |
| anything else | a value of the query; a list takes all; a default makes it optional |

Invariant: everything that can be wrong with a signature is found when the route is added.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import msgspec

from cloche.web.errors import RouteError, ValidationFailedError
from cloche.web.request import Request
from cloche.web.response import Response, from_value
from cloche.web.websocket.channel import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Handler = typing.Callable[..., Any]
_SCALARS: Final = frozenset({str, int, float, bool})
_KINDS: Final = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a handler: its name, where it comes from, its type, its default."""

    name: str
    source: str  # request, socket, path, body, query
    type_: Any
    default: Any = inspect.Parameter.empty

    @property
    def is_required(self) -> bool:
        """Whether a request must have it."""
        return self.default is inspect.Parameter.empty


def read_signature(handler: Handler, names: tuple[str, ...], place: str) -> tuple[Parameter, ...]:
    """Return the parameters of a handler for a path with these parameters.

    Raises:
        RouteError: a parameter that cannot be filled, or one of the path that is not taken.
    """
    try:
        hints = typing.get_type_hints(handler)
    except (NameError, TypeError) as error:
        problem = f"a type of the handler cannot be found: {error}"
        raise RouteError(route=place, problem=problem) from None
    found = []
    for parameter in inspect.signature(handler).parameters.values():
        if parameter.kind not in _KINDS:
            problem = f"{parameter.name} is not a parameter with a name of its own"
            raise RouteError(route=place, problem=problem)
        found.append(_source_of(parameter, hints.get(parameter.name), names, place))
    missing = set(names) - {parameter.name for parameter in found if parameter.source == "path"}
    takes_request = any(parameter.source in {"request", "socket"} for parameter in found)
    if missing and not takes_request:
        raise RouteError(route=place, problem=f"the handler does not take {sorted(missing)}")
    if sum(parameter.source == "body" for parameter in found) > 1:
        raise RouteError(route=place, problem="two parameters want the body")
    return tuple(found)


def bind(
    handler: Handler, parameters: tuple[Parameter, ...]
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Return a function of the request alone that gives what the handler answers."""
    is_async = inspect.iscoroutinefunction(handler)
    if all(parameter.source != "body" for parameter in parameters) and not is_async:
        return _bind_plain(handler, parameters)

    readers = [(each.name, reader_of(each)) for each in parameters if each.source != "body"]
    bodies = [(each.name, each.type_) for each in parameters if each.source == "body"]

    async def call(request: Request) -> Response:
        arguments = {name: read(request) for name, read in readers}
        for name, type_ in bodies:
            arguments[name] = await request.json(type_)
        found = handler(**arguments)
        if is_async or hasattr(found, "__await__"):
            found = await found
        return found if type(found) is Response else from_value(found)

    if is_async and [parameter.source for parameter in parameters] == ["request"]:

        async def call_with_request(request: Request) -> Response:
            found = await handler(request)
            return found if type(found) is Response else from_value(found)

        return call_with_request
    return call


def _bind_plain(
    handler: Handler, parameters: tuple[Parameter, ...]
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    if not parameters:

        async def call_bare(request: Request) -> Response:
            del request
            found = handler()
            if type(found) is Response:
                return found
            return from_value(await found if hasattr(found, "__await__") else found)

        return call_bare

    readers = [(each.name, reader_of(each)) for each in parameters]

    async def call(request: Request) -> Response:
        found = handler(**{name: read(request) for name, read in readers})
        if type(found) is Response:
            return found
        return from_value(await found if hasattr(found, "__await__") else found)

    return call


def _source_of(
    parameter: inspect.Parameter, hint: Any, names: tuple[str, ...], place: str
) -> Parameter:
    name = parameter.name
    if hint is Request or (hint is None and name == "request" and name not in names):
        return Parameter(name, "request", Request)
    if hint is WebSocket:
        return Parameter(name, "socket", WebSocket)
    type_ = str if hint is None else hint
    if name in names:
        if type_ not in _SCALARS:
            raise RouteError(route=place, problem=f"{name} of the path is text or a number")
        return Parameter(name, "path", type_)
    if isinstance(type_, type) and (
        issubclass(type_, msgspec.Struct) or dataclasses.is_dataclass(type_)
    ):
        return Parameter(name, "body", type_)
    if not _is_simple(type_):
        problem = f"{name} is no text, number, boolean, or list of them"
        raise RouteError(route=place, problem=problem)
    return Parameter(name, "query", type_, parameter.default)


def _is_simple(type_: Any) -> bool:
    origin = get_origin(type_)
    if origin is list:
        return get_args(type_)[0] in _SCALARS
    if origin in {typing.Union, UnionType}:
        return all(part is type(None) or _is_simple(part) for part in get_args(type_))
    return type_ in _SCALARS or origin is typing.Literal


def reader_of(parameter: Parameter) -> Callable[[Request], Any]:
    """Return what reads a parameter from a request; not for bodies, which have to be awaited.

    What it returns raises `ValidationFailedError` where the value is missing or not of its type,
    and `BadRequestError` where the query is malformed.
    """
    if parameter.source == "request":
        return lambda request: request
    name = parameter.name
    convert = _converter(parameter)
    if parameter.source == "path":
        return lambda request: convert(request.params[name])
    is_required, default = parameter.is_required, parameter.default

    def read_list(request: Request) -> Any:
        values = request.query.values(name)
        return convert(values) if values or is_required else default

    def read(request: Request) -> Any:
        value = request.query.get(name)
        if value is not None:
            return convert(value)
        if not is_required:
            return default
        raise ValidationFailedError(where="query", name=name, problem="it is missing")

    return read_list if get_origin(parameter.type_) is list else read


def _converter(parameter: Parameter) -> Callable[[Any], Any]:
    type_ = parameter.type_
    if type_ is str:
        return lambda value: value

    def convert(value: str | list[str]) -> Any:
        try:
            return msgspec.convert(value, type_, strict=False)
        except msgspec.ValidationError as error:
            raise ValidationFailedError(
                where=parameter.source, name=parameter.name, problem=str(error)
            ) from None

    return convert

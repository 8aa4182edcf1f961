"""OpenAPI 3.1 from the routes: what is written down is what is answered.

Invariant: the same application gives the same bytes: sorted keys, one line end at the end.
"""

from __future__ import annotations

import inspect
import itertools
import re
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from cloche.web import errors
from cloche.web.app import SocketEndpoint
from cloche.web.errors import HttpError, SettingError
from cloche.web.response import Response
from cloche.web.websocket.handshake import UpgradeRequiredError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.web.app import App, Endpoint
    from cloche.web.binding import Parameter
    from cloche.web.router import Route

VERSION: Final = "3.1.0"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PATH_PARAMETER: Final = re.compile(r"[:*]([A-Za-z_][A-Za-z0-9_]*)")
_REFERENCE: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_SHOWN_MAX: Final = 200  # characters of a value that differs
_PLAIN: Final = frozenset({str, int, float, bool})
_ERROR_NAMES: Final = ("Error", "ErrorDocument")  # the first that no type has
_encode: Final = msgspec.json.Encoder(order="sorted").encode
# Methods that OpenAPI has a place for; a route of another one is not in the document.
_METHODS: Final = frozenset("GET PUT POST DELETE OPTIONS HEAD PATCH TRACE".split())
_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["blame", "code", "fields", "message", "retryable"],
    "properties": {
        "code": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"},
        "message": {"type": "string"},
        "blame": {"enum": ["caller", "cloche", "environment", "guest", "limit", "remote"]},
        "retryable": {"type": "boolean"},
        "fields": {"type": "object"},
    },
}


def describe(
    app: App, *, title: str, version: str, servers: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the document of an application.

    The first line of a handler's docstring is its summary, all of it its description. What it
    returns is described where it is annotated with a type that has a schema.

    Operations are named by their handlers; where a handler has several routes, those behind the
    first are numbered. What has no schema is described as any value. `x-errors` has the codes that
    every application can answer with, by status.

    Raises:
        SettingError: types have the names that the error document could have.
    """
    routes = [
        route
        for route in app.router.routes
        if route.method in _METHODS and not isinstance(route.target, SocketEndpoint)
    ]
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    identities: set[str] = set()
    for route in routes:
        identity = _identity(route, identities)
        identities.add(identity)
        operation = {"operationId": identity, **_operation(route, schemas)}
        path = _PATH_PARAMETER.sub(r"{\1}", route.template)
        paths.setdefault(path, {})[route.method.lower()] = operation
    document: dict[str, Any] = {
        "openapi": VERSION,
        "jsonSchemaDialect": DIALECT,
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": {**schemas.components, schemas.error_name: _ERROR_SCHEMA}},
    }
    document["x-errors"] = _error_statuses()
    if servers:
        document["servers"] = [{"url": url} for url in servers]
    return document


def render(document: dict[str, Any]) -> bytes:
    """Return a document as canonical JSON with a line end."""
    return _encode(document) + b"\n"


def differences(kept: Any, document: dict[str, Any]) -> list[str]:
    """Return what an API has and a kept document has not, or otherwise, by place and in order.

    `info` is left out: what an API is called says nothing of what it does.
    """
    if not isinstance(kept, dict):
        return ["the kept document is no object"]
    before = {name: value for name, value in kept.items() if name != "info"}
    now = {name: value for name, value in document.items() if name != "info"}
    return list(_compare("", before, msgspec.to_builtins(now)))


def _compare(place: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            inside = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in now:
                yield f"{inside}: is not there any more"
            elif name not in before:
                yield f"{inside}: is new"
            else:
                yield from _compare(inside, before[name], now[name])
    elif before != now:
        yield f"{place}: was {_shown(before)}, is {_shown(now)}"


def _shown(value: Any) -> str:
    text = _encode(value).decode()
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


class _Schemas:
    """The schemas of all types, and where the shared ones are."""

    def __init__(self, types: list[Any]) -> None:
        self._types = types
        try:
            found, components = msgspec.json.schema_components(
                types, ref_template=_REFERENCE, schema_hook=_any_value
            )
        except TypeError as error:
            raise SettingError(setting="OpenAPI", problem=str(error)) from None
        free = [name for name in _ERROR_NAMES if name not in components]
        if not free:
            problem = f"types have the names {' and '.join(_ERROR_NAMES)}; rename one"
            raise SettingError(setting="OpenAPI", problem=problem)
        self._found = found
        self.error_name = free[0]
        self.components: dict[str, Any] = components

    def of(self, type_: Any) -> dict[str, Any]:
        """Return the schema of a type, or a reference to it."""
        return self._found[self._types.index(type_)]


def _error_statuses() -> dict[str, int]:
    """Return the errors that every application can answer with; its own come on top."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {
        "INTERNAL": 500,
        **{
            kind.code: kind.status
            for kind in [*kinds, UpgradeRequiredError]
            if issubclass(kind, HttpError) and kind is not HttpError
        },
    }


def _any_value(type_: type) -> dict[str, Any]:
    del type_
    return {"description": "Any value"}


def _schemas(routes: list[Route[Endpoint]]) -> _Schemas:
    types: list[Any] = []
    for route in routes:
        found = [each.type_ for each in route.target.parameters if each.source != "request"]
        returned = _returned(route.target)
        types += [*found, *([] if returned is None else [returned])]
    return _Schemas(types)


def _identity(route: Route[Endpoint], taken: set[str]) -> str:
    """Return a name that no operation has."""
    name: str = getattr(route.target.handler, "__name__", route.method.lower())
    names = (f"{name}_{number}" if number > 1 else name for number in itertools.count(1))
    return next(each for each in names if each not in taken)


def _operation(route: Route[Endpoint], schemas: _Schemas) -> dict[str, Any]:
    endpoint = route.target
    text = inspect.getdoc(endpoint.handler) or ""
    operation: dict[str, Any] = {
        "responses": {
            **_successes(endpoint, schemas),
            "default": {
                "description": "What went wrong",
                "content": {
                    _JSON: {"schema": {"$ref": _REFERENCE.format(name=schemas.error_name)}}
                },
            },
        },
    }
    if text:
        operation["summary"] = text.partition("\n")[0]
        operation["description"] = text
    parameters = [
        _parameter(each, schemas)
        for each in endpoint.parameters
        if each.source in {"path", "query"}
    ]
    parameters += _untyped(route)
    if parameters:
        operation["parameters"] = parameters
    for each in endpoint.parameters:
        if each.source == "body":
            operation["requestBody"] = {
                "required": True,
                "content": {_JSON: {"schema": schemas.of(each.type_)}},
            }
    return operation


def _successes(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    """Return the answers by status: 204 where nothing may be returned; a `Response` has its own."""
    annotated = get_type_hints(endpoint.handler).get("return", object)
    nothing = {"204": {"description": "Nothing"}}
    if annotated is Response:
        return {status: {"description": "Done"} for status in ("2XX", "3XX")}
    if annotated is NoneType:
        return nothing
    found: dict[str, Any] = {"200": {"description": "Done"}}
    returned = _returned(endpoint)
    if returned is not None:
        media_type = "text/plain" if returned is str else _JSON
        found["200"]["content"] = {media_type: {"schema": schemas.of(returned)}}
    return {**found, **nothing} if NoneType in get_args(annotated) else found


def _parameter(parameter: Parameter, schemas: _Schemas) -> dict[str, Any]:
    schema = schemas.of(parameter.type_)
    if not parameter.is_required and parameter.default is not None:
        schema = {**schema, "default": parameter.default}
    return {
        "name": parameter.name,
        "in": parameter.source,
        "required": parameter.source == "path" or parameter.is_required,
        "schema": schema,
    }


def _untyped(route: Route[Endpoint]) -> list[dict[str, Any]]:
    """Return the parameters of the path that the handler reads from the request itself."""
    typed = {each.name for each in route.target.parameters if each.source == "path"}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.names
        if name not in typed
    ]


def _returned(endpoint: Endpoint) -> Any:
    """Return the type that a handler is annotated with, where it has a schema; else None."""
    found = get_type_hints(endpoint.handler).get("return")
    if get_origin(found) in {Union, UnionType}:
        some = [each for each in get_args(found) if each is not NoneType]
        found = some[0] if len(some) == 1 else None
    if found is Response:
        return None
    is_known = (
        isinstance(found, type)
        and (issubclass(found, msgspec.Struct) or is_dataclass(found) or found in _PLAIN)
    ) or (get_origin(found) in {list, dict} and bool(get_args(found)))
    return found if is_known else None

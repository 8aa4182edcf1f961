"""What an OpenAPI document offers, as tools: operations, their schemas, and the requests they make.

Pure. Owns the reading of documents of OpenAPI 3. Invariants:
- GET, HEAD and OPTIONS only read; whatever else asks;
- what a script gives goes where the document says: a value in a path stays in its segment, one of
  a query in its pair, one of a header in its line;
- nothing outside of the document is read: a `$ref` elsewhere is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from cloche.script.errors import ToolDeclarationError
from cloche.script.json_schemas import clean_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METHODS: Final = ("get", "head", "options", "post", "put", "patch", "delete")
READ_ONLY: Final = frozenset({"get", "head", "options"})
BODY: Final = "body"
_PLACES: Final = frozenset({"path", "query", "header"})  # cookies belong to nobody here
_OWN_HEADERS: Final = frozenset({"accept", "content-type", "authorization", "host", "cookie"})
_DEPTH_MAX: Final = 32  # of what a document refers to; deeper parts accept anything
_PLACEHOLDER: Final = re.compile(r"\{([^{}/]+)\}")
_NODE_COUNT_MAX: Final = 20_000  # of one schema with all that it refers to


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument: its name for scripts, and its name and place in the request."""

    name: str
    wire_name: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Args:
        name: for scripts.
        method: in small letters.
        path: with `{name}` where arguments stand.
        description: for models.
        parameters: apart from the body, which is the argument `body`.
        schema: of all arguments, one object.
    """

    name: str
    method: str
    path: str
    description: str
    parameters: tuple[Parameter, ...]
    schema: dict[str, Any]

    @property
    def read_only(self) -> bool:
        """Whether its method says that it changes nothing."""
        return self.method in READ_ONLY

    def request(self, base_url: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request that checked arguments make: `method`, `url`, `headers`, `body`.

        Raises:
            ValueError: an argument cannot stand where it belongs.
        """
        path, query, headers = self.path, [], {"accept": "application/json"}
        for parameter in self.parameters:
            if parameter.name not in args:
                continue
            value = args[parameter.name]
            if parameter.place == "path":
                path = path.replace(f"{{{parameter.wire_name}}}", _segment(parameter.name, value))
            elif parameter.place == "query":
                items = value if isinstance(value, list) else [value]
                query += [(parameter.wire_name, _plain(item)) for item in items]
            else:
                headers[parameter.wire_name.lower()] = _line(parameter.name, value)
        request: dict[str, Any] = {"method": self.method.upper(), "headers": headers}
        if BODY in args and self.method not in {"get", "head"}:
            headers["content-type"] = "application/json"
            request["body"] = json.dumps(args[BODY], ensure_ascii=False, allow_nan=False)
        request["url"] = base_url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        return request


def read_operations(document: Any) -> tuple[Operation, ...]:
    """Return what a document offers, in its order.

    Raises:
        ToolDeclarationError: it is no document of OpenAPI 3, or refers to another.
    """
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise _invalid("the document", 'has no "openapi": "3.…"')
    paths = document.get("paths")
    if not isinstance(paths, dict):
        raise _invalid("paths", "is no object")
    found: list[Operation] = []
    taken: list[str] = []
    for path, item in paths.items():
        if not isinstance(path, str) or not path.startswith("/") or not isinstance(item, dict):
            raise _invalid(f"paths[{str(path)[:80]!r}]", "is no path with operations")
        for method in METHODS:
            if isinstance(item.get(method), dict):
                operation = _operation(document, path, method, item, taken)
                taken.append(operation.name)
                found.append(operation)
    return tuple(found)


def base_url_of(document: Any) -> str | None:
    """Return the address that a document says its server has, if it says one in full."""
    servers = document.get("servers") if isinstance(document, dict) else None
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    if isinstance(url, str) and "{" not in url and url.startswith(("https://", "http://")):
        return url
    return None


def _operation(
    document: Any, path: str, method: str, item: dict[str, Any], taken: list[str]
) -> Operation:
    body = item[method]
    where = f"{method} {path}"
    name = clean_name(str(body.get("operationId") or f"{method}_{path.strip('/')}"), taken)
    properties: dict[str, Any] = {}
    required: list[str] = []
    parameters: list[Parameter] = []
    for one in _parameters(document, item, body, where):
        short = clean_name(one["name"], [*properties, BODY])
        schema = one.get("schema") or _first_schema(one.get("content")) or {}
        properties[short] = _resolved(document, schema, where)
        if one.get("description"):
            properties[short] = {**properties[short], "description": str(one["description"])}
        if one.get("required") or one["in"] == "path":
            required.append(short)
        parameters.append(Parameter(name=short, wire_name=one["name"], place=one["in"]))
    declared = {one.wire_name for one in parameters if one.place == "path"}
    for wire_name in _PLACEHOLDER.findall(path):
        if wire_name not in declared:  # else it would be sent as it stands
            short = clean_name(wire_name, [*properties, BODY])
            properties[short] = {"type": "string"}
            required.append(short)
            parameters.append(Parameter(name=short, wire_name=wire_name, place="path"))
            declared.add(wire_name)
    request_body = _follow(document, body.get("requestBody") or {}, where)
    schema = _first_schema(request_body.get("content"))
    if schema is not None:
        properties[BODY] = _resolved(document, schema, where)
        if request_body.get("required"):
            required.append(BODY)
    lines = [str(body.get(key)) for key in ("summary", "description") if body.get(key)]
    return Operation(
        name=name,
        method=method,
        path=path,
        description="\n\n".join(dict.fromkeys(lines)) or f"{method.upper()} {path}",
        parameters=tuple(parameters),
        schema={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    )


def _parameters(
    document: Any, item: dict[str, Any], body: dict[str, Any], where: str
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of an operation; its own come instead of those of its path."""
    merged: dict[tuple[Any, Any], dict[str, Any]] = {}
    for holder in (item, body):
        listed = holder.get("parameters") or []
        if not isinstance(listed, list):
            raise _invalid(where, "has parameters that are no list")
        for one in listed:
            known = _follow(document, one, where)
            merged[known.get("name"), known.get("in")] = known
    for (name, place), one in merged.items():
        if not isinstance(name, str) or not name:
            raise _invalid(where, "has a parameter without a name")
        if place in _PLACES and not (place == "header" and name.lower() in _OWN_HEADERS):
            yield one


def _first_schema(content: Any) -> dict[str, Any] | None:
    if not isinstance(content, dict):
        return None
    for kind, one in content.items():
        if "json" in str(kind) and isinstance(one, dict) and isinstance(one.get("schema"), dict):
            schema: dict[str, Any] = one["schema"]
            return schema
    return None


def _follow(document: Any, value: Any, where: str) -> dict[str, Any]:
    """Return an object, or the one that it refers to."""
    for _ in range(_DEPTH_MAX):
        if not isinstance(value, dict):
            break
        reference = value.get("$ref")
        if reference is None:
            return value
        value = _at(document, reference, where)
    raise _invalid(where, "refers to no object")


def _at(document: Any, reference: Any, where: str) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise _invalid(where, f"refers to {str(reference)[:100]!r}, which is elsewhere")
    value = document
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, dict) or key not in value:
            raise _invalid(where, f"refers to {reference[:100]!r}, which is not there")
        value = value[key]
    return value


def _resolved(document: Any, schema: Any, where: str) -> dict[str, Any]:
    """Return a schema with what it refers to in its place; a circle ends in one for anything."""
    left = _NODE_COUNT_MAX

    def resolve(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _DEPTH_MAX:
            return {}
        if isinstance(value, list):
            return [resolve(one, depth + 1) for one in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("$ref"), str):
            return resolve(_at(document, value["$ref"], where), depth + 1)
        out = {key: resolve(one, depth + 1) for key, one in value.items()}
        return _as_json_schema(out)

    resolved = resolve(schema, 0)
    return resolved if isinstance(resolved, dict) else {}


def _as_json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return one level of a schema without what OpenAPI 3.0 says otherwise than JSON Schema."""
    if schema.pop("nullable", False) is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if isinstance(schema.get(key), bool):
            del schema[key]
    return schema


def _segment(name: str, value: Any) -> str:
    text = _plain(value)
    if text in {"", ".", ".."}:
        raise ValueError(f"{name} is {text!r}, which no part of a path may be")
    return quote(text, safe="")


def _line(name: str, value: Any) -> str:
    text = _plain(value)
    if not text.isprintable():
        raise ValueError(f"{name} has characters that no header may have")
    return text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _invalid(where: str, problem: str) -> ToolDeclarationError:
    return ToolDeclarationError(where="openapi", problem=f"{where} {problem}")

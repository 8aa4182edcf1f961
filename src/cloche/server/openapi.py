"""The API as OpenAPI 3.1, and as a page for people: both from the table of operations.

Pure. Invariant: the same table gives the same bytes.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.web.openapi import describe, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.server.conditions import Conditions
    from cloche.server.operations import Operation
    from cloche.web.app import App

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_REFERENCE: Final = "#/components/schemas/{name}"
_TYPES: Final = {str: "string", int: "integer", bool: "boolean"}
_SECURITY: Final = "key"
_IDEMPOTENCY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key again gets the same answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_LAST_EVENT: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that was seen.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH: Final[dict[str, Any]] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of an answer that is known: 304 when it still holds.",
    "schema": {"type": "string"},
}
_IF_MATCH: Final[dict[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what shall be changed: 412 when it is something else by now.",
    "schema": {"type": "string"},
}
_TEXT: Final = {"type": "string"}
# Of a stream: one of its events.
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["data", "event", "id"],
    "properties": {
        "data": {"type": "string", "description": "JSON."},
        "event": {"enum": ["start", "stdout", "stderr", "end"]},
        "id": {"type": "string"},
    },
}
_BINARY: Final = {"type": "string", "format": "binary"}


def document_of(
    app: App, operations: Sequence[Operation], *, version: str, conditions: Conditions
) -> bytes:
    """Return the description of an application that was built from these operations."""
    document = describe(app, title="cloche", version=version)
    types = [kind for each in operations for kind in (each.body, each.answer) if kind is not None]
    _, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    document["components"]["schemas"].update(components)
    document["components"]["securitySchemes"] = {_SECURITY: {"type": "http", "scheme": "bearer"}}
    by_name = {each.handler.__name__: each for each in operations}
    for path in document["paths"].values():
        for operation in path.values():
            known = by_name[operation["operationId"]]
            _complete(operation, known)
            _add_conditions(operation, known, conditions)
    return render(document)


def _complete(operation: dict[str, Any], known: Operation) -> None:
    """Add what the table says beyond the handler's signature."""
    parts = known.template.split("/")
    operation["tags"] = [parts[2] if parts[1] == "v1" else "server"]
    operation["responses"] = {
        **{str(status): _success(known) for status in (known.status, *known.also)},
        "default": operation["responses"]["default"],
    }
    if known.access == "key":
        operation["security"] = [{_SECURITY: []}]
        if known.scope is not None:
            operation["x-scope"] = known.scope
    parameters = operation.setdefault("parameters", [])
    for name, kind, description in known.query:
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": {"type": _TYPES[kind]},
            }
        )
    if known.method == "POST":
        parameters.append(_IDEMPOTENCY)
    if known.media_type == _EVENTS:
        parameters.append(_LAST_EVENT)
    if known.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {_JSON: {"schema": _reference(known.body)}},
        }
    elif known.request_type is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {known.request_type: {"schema": _BINARY}},
        }


def _add_conditions(operation: dict[str, Any], known: Operation, conditions: Conditions) -> None:
    if known.method == "GET" and known.media_type != _EVENTS:
        operation["parameters"].append(_IF_NONE_MATCH)
        operation["responses"]["304"] = {"description": "It is what If-None-Match names"}
    elif conditions.getter_of(known) is not None:
        operation["parameters"].append(_IF_MATCH)
        operation["responses"]["412"] = {
            **operation["responses"]["default"],
            "description": "It is not what If-Match names",
        }


def _success(known: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"description": "Done"}
    content: dict[str, Any] = {}
    if known.answer is not None:
        content[_JSON] = {"schema": _reference(known.answer)}
    elif known.media_type is not None:
        content[known.media_type] = {"schema": _TEXT if known.media_type != _EVENTS else _EVENT}
    elif known.status == 200:  # noqa: PLR2004 - JSON without a shape of its own
        content[_JSON] = {"schema": {"type": "object"}}
    if known.streams:
        content[_EVENTS] = {"schema": _EVENT}
    return {**found, "content": content} if content else found


def _reference(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


_HEAD: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>cloche API</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font: 0.9em ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.4rem 0.6rem; border-bottom: 1px solid #8885; }
td { vertical-align: top; }
</style></head><body><h1>cloche API</h1>
<p>Send a key as <code>Authorization: Bearer …</code>. The same as
<a href="/openapi.json">OpenAPI 3.1</a>. Errors have one shape: <code>code</code>,
<code>message</code>, <code>blame</code>, <code>retryable</code>, <code>fields</code>.</p>
<table><thead><tr><th>route</th><th>scope</th><th>what it does</th></tr></thead><tbody>
"""


def page_of_operations(operations: Sequence[Operation]) -> bytes:
    """Return the page for people."""
    rows = []
    for each in operations:
        scope = "" if each.access == "anybody" else each.scope or "any key"
        summary = (each.handler.__doc__ or "").partition("\n")[0]
        rows.append(
            f"<tr><td><code>{each.method} {html.escape(each.template)}</code></td>"
            f"<td>{scope}</td><td>{html.escape(summary)}</td></tr>\n"
        )
    return (_HEAD + "".join(rows) + "</tbody></table></body></html>\n").encode()

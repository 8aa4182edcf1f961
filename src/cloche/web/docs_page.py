"""A page that shows the routes of an application, from its OpenAPI document.

Invariants:
- one page of HTML without scripts, pictures or anything from another place; its policy allows none;
- every text of the document is escaped;
- it is made when it is asked for, so it has all routes, and the same routes give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.web.openapi import describe, render
from cloche.web.response import JSON, Response, html

if TYPE_CHECKING:
    from cloche.web.app import App

_METHODS: Final = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:56rem;margin:2rem auto;padding:0 1rem}
code,pre{font:.875rem/1.4 ui-monospace,monospace}
pre{overflow:auto;padding:.75rem;background:#8882;border-radius:.25rem}
details{border:1px solid #8886;border-radius:.25rem;margin:.5rem 0;padding:.5rem .75rem}
summary{cursor:pointer}
table{border-collapse:collapse}
th,td{text-align:left;padding:.125rem 1rem .125rem 0;vertical-align:top}
.method{display:inline-block;min-width:4.5rem;font-weight:600}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
).encode()


def add_docs(app: App, *, title: str, version: str, prefix: str = "") -> None:
    """Add `/docs`, the page, and `/openapi.json`, the document, below a prefix.

    Raises:
        RouteError: a route has one of the two paths already.
    """
    document_path = f"{prefix}/openapi.json"

    def openapi_document() -> Response:
        """Return the OpenAPI document."""
        body = render(describe(app, title=title, version=version))
        return Response(200, ((b"content-type", JSON),), body)

    def docs_page() -> Response:
        """Show the routes."""
        document = describe(app, title=title, version=version)
        return _page(document, document_path)

    app.add("GET", document_path, openapi_document)
    app.add("GET", f"{prefix}/docs", docs_page)


def write_page(document: dict[str, Any], document_path: str) -> str:
    """Return the page of an OpenAPI document; `document_path` is where that is."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    operations = "".join(
        _operation(method, path, found[method])
        for path, found in document["paths"].items()
        for method in _METHODS
        if method in found
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_json(schema)}</details>"
        for name, schema in document.get("components", {}).get("schemas", {}).items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p><a href="{escape(document_path)}">OpenAPI document</a></p>'
        f"<h2>Routes</h2>{operations}<h2>Types</h2>{schemas}</body></html>\n"
    )


def _page(document: dict[str, Any], document_path: str) -> Response:
    response = html(write_page(document, document_path))
    return response.with_field(b"content-security-policy", _POLICY)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    name = f'<span class="method">{escape(method.upper())}</span><code>{escape(path)}</code>'
    identity, summary = escape(operation["operationId"]), escape(operation.get("summary", ""))
    parts = [f'<details id="{identity}"><summary>{name} {summary}</summary>']
    if operation.get("description", "") != operation.get("summary", ""):
        parts.append(f"<p>{escape(operation['description'])}</p>")
    rows = [
        (each["name"], each["in"], "yes" if each.get("required") else "no", each["schema"])
        for each in operation.get("parameters", ())
    ]
    if rows:
        parts.append(_table(rows))
    if "requestBody" in operation:
        parts.append(f"<h3>Body</h3>{_content(operation['requestBody'])}")
    parts += [
        f"<h3>{escape(status)}</h3><p>{escape(answer['description'])}</p>{_content(answer)}"
        for status, answer in operation["responses"].items()
    ]
    return "".join(parts) + "</details>"


def _table(rows: list[tuple[str, str, str, dict[str, Any]]]) -> str:
    head = "<tr><th>parameter<th>in<th>required<th>type"
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(place)}<td>{required}"
        f"<td><code>{escape(_text(schema))}</code>"
        for name, place, required, schema in rows
    )
    return f"<table>{head}{cells}</table>"


def _content(found: dict[str, Any]) -> str:
    return "".join(
        f"<p><code>{escape(kind)}</code></p>{_json(each.get('schema', {}))}"
        for kind, each in found.get("content", {}).items()
    )


def _json(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(msgspec.json.format(_text(schema), indent=2))}</pre>"


def _text(schema: dict[str, Any]) -> str:
    return msgspec.json.encode(schema, order="sorted").decode()

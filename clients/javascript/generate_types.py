"""Writes the types of the server's documents: `python clients/javascript/generate_types.py`.

They are made from the server's OpenAPI, so that no shape is written twice. Invariant: the same
description gives the same bytes. Fields of answers are all there; of what is sent, only the ones
without a default have to be.
"""

# ruff: noqa: INP001 - a script, no part of a package

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from cloche.apps.open import open_apps
from cloche.limits import Limits
from cloche.server.adapters.inline import InlineHost
from cloche.server.api import Server
from cloche.store.open import open_store
from cloche.web.adapters.fixture import FixtureServices, read_body, run_now
from cloche.web.request import Request

TARGET: Final = Path(__file__).with_name("src") / "documents.d.ts"
_HEAD: Final = "// Made from the server's OpenAPI by generate_types.py; do not edit.\n"
_PREFIX: Final = "#/components/schemas/"
_SIMPLE: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
# What the client's own signatures name; what they hold is added.
_ROOTS: Final = (
    "ActionDocument",
    "AppDocument",
    "ApprovalList",
    "ApproveBody",
    "AuditList",
    "CacheDocument",
    "CallBody",
    "CallList",
    "DeliveryDocument",
    "DeployDocument",
    "EntryBody",
    "EntryList",
    "FileDocument",
    "KeyBody",
    "KeyList",
    "LimitsBody",
    "LogDocument",
    "MessageBody",
    "PromiseDocument",
    "RejectBody",
    "ReplayDocument",
    "RequestDocument",
    "RequestReplayDocument",
    "RunBody",
    "RunList",
    "ScriptBody",
    "ScriptList",
    "SecretBody",
    "SecretList",
    "SecretValueBody",
    "SessionBody",
    "SessionList",
    "SessionRunBody",
    "StatsDocument",
    "StepDocument",
    "TenantList",
    "TimelineDocument",
    "ToolList",
    "VerdictDocument",
    "WebhookBody",
    "WebhookDocument",
)


def _ignore(record: dict[str, Any]) -> None:
    """Drop what the server reports: it serves one request, from memory."""
    del record


def openapi() -> dict[str, Any]:
    """Return the description that a server gives of itself."""
    limits, store = Limits(), open_store("memory:")
    host, apps = InlineHost(limits, seed=0), open_apps(store, limits)
    server = Server(store, limits, host=host, log=_ignore, apps=apps)
    asked = Request(
        method="GET", target="/openapi.json", services=FixtureServices(), client="192.0.2.1"
    )
    answer = run_now(server.app.handle(asked))
    document: dict[str, Any] = json.loads(run_now(read_body(answer)))
    return document


def types_of(document: dict[str, Any]) -> str:
    """Return the declarations of the documents that the client names.

    Raises:
        ValueError: a schema says something that has no words here yet.
    """
    schemas, wanted, found = document["components"]["schemas"], list(_ROOTS), set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += _references(schemas[name])
    return _HEAD + "".join(_interface(name, schemas[name]) for name in sorted(found))


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for each in schema for name in _references(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].removeprefix(_PREFIX)] if "$ref" in schema else []
    return own + [name for each in schema.values() for name in _references(each)]


def _interface(name: str, schema: dict[str, Any]) -> str:
    is_sent, required = (
        name.endswith("Body") and name != "ErrorBody",
        set(schema.get("required", ())),
    )
    lines = [
        f"  {key}{'?' if is_sent and key not in required else ''}: {_type(value)};\n"
        for key, value in schema["properties"].items()
    ]
    text = " ".join(schema["description"].split())
    return f"\n/** {text} */\nexport interface {name} {{\n{''.join(lines)}}}\n"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_PREFIX)
    if "anyOf" in schema:
        parts = [_type(each) for each in schema["anyOf"]]
        return " | ".join(sorted(parts, key=lambda text: (text == "null", text)))
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"])
    return _plain(schema)


def _plain(schema: dict[str, Any]) -> str:
    """Return the type of a schema that says `type`, or that takes anything."""
    kind = schema.get("type")
    if kind == "array":
        return f"Array<{_type(schema['items'])}>"
    if kind == "object":
        inside = schema.get("additionalProperties")
        return f"Record<string, {_type(inside) if isinstance(inside, dict) else 'unknown'}>"
    if kind is None and not schema.keys() - {"default", "description"}:
        return "unknown"
    if kind not in _SIMPLE:
        raise ValueError(f"no type for {schema}")
    return _SIMPLE[kind]


if __name__ == "__main__":
    TARGET.write_text(types_of(openapi()), encoding="utf-8")

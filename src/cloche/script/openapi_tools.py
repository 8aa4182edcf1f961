"""Tools of an OpenAPI document, on the gate's own way out.

Owns how operations are called. Invariants:
- every call goes to the server that whoever made the tools named, and to nowhere else: it passes
  the same checks of names, addresses and redirects as any outbound call;
- what authorises a call is a secret of the store, by its name: no script and no record sees it;
- an answer that says failure (4xx, 5xx) is an error, with the start of what the server said.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from cloche.egress.adapters.handler import HttpHandler
from cloche.egress.allowlist import Entry, NetPolicy
from cloche.egress.message import target_of
from cloche.egress.url import parse_url
from cloche.gate.effect import EffectRequest
from cloche.gate.ports import EffectFailure
from cloche.limits import Limits
from cloche.script.errors import ToolDeclarationError
from cloche.script.json_schemas import clean_name, schema_tool
from cloche.script.openapi import base_url_of, read_operations
from cloche.script.tools import ToolContext, pack
from cloche.script.way_out import service_for

if TYPE_CHECKING:
    from cloche.egress.adapters.service import NetService
    from cloche.script.openapi import Operation
    from cloche.script.tools import ToolSet

PACK: Final = "http"
_FAILED: Final = 400
_SHOWN_CHARACTERS: Final = 500  # of an answer that says failure


def openapi_tools(
    name: str,
    document: Any,
    *,
    base_url: str | None = None,
    secret: str | None = None,
    service: NetService | None = None,
    limits: Limits | None = None,
) -> ToolSet:
    """Return the operations of a document as tools `<name>.<operationId>`.

    Args:
        name: the namespace.
        document: of OpenAPI 3, as JSON-ready data or JSON text.
        base_url: the server; None for the first one that the document names.
        secret: name of a secret of the store that authorises the calls.
        service: what makes calls; None for that of the store where the script runs.
        limits: None for the defaults.

    Raises:
        ToolDeclarationError: the document is none, or there is no server.
        NetError: `base_url` is no URL that can be called.
    """
    if isinstance(document, str | bytes):
        try:
            document = json.loads(document)
        except ValueError as error:
            problem = f"it is no JSON: {error}"
            raise ToolDeclarationError(where="openapi", problem=problem) from None
    url = base_url or base_url_of(document)
    if url is None:
        problem = "the document names no server; give base_url"
        raise ToolDeclarationError(where="openapi", problem=problem)
    caller = _Caller(url, secret, service, limits or Limits())
    space = clean_name(name)
    return pack(
        PACK,
        *(
            schema_tool(
                f"{space}.{operation.name}",
                caller.function(operation),
                description=operation.description,
                parameters=operation.schema,
                context_name="context",
                read_only=operation.read_only,
            )
            for operation in read_operations(document)
        ),
    )


class _Caller:
    """Makes the calls of one document."""

    def __init__(
        self, base_url: str, secret: str | None, service: NetService | None, limits: Limits
    ) -> None:
        self._limits = limits
        self._base_url = base_url
        self._secret = secret
        self._service = service
        url = parse_url(base_url, limit_bytes=limits.egress.url_limit_bytes)
        entry = Entry(
            host=f"[{url.host}]" if ":" in url.host else url.host,
            http=url.scheme == "http",
            ports=(url.port,),
            # The folder of the server's address: what stands beside it is another API.
            paths=(url.path,) if url.path.rstrip("/") else (),
        )
        self._policy = NetPolicy(
            allow=(entry,),
            allow_literals=url.address is not None,
            secrets=() if secret is None else (secret,),
        )

    def function(self, operation: Operation) -> Any:
        """Return what performs an operation."""

        def call(args: dict[str, Any], context: ToolContext) -> Any:
            return self._call(operation, args, context)

        return call

    def _call(self, operation: Operation, args: dict[str, Any], context: ToolContext) -> Any:
        try:
            request = operation.request(self._base_url, args)
        except ValueError as error:
            raise EffectFailure("OPENAPI_ARGUMENT", str(error)) from None
        if self._secret is not None:
            request["auth"] = self._secret
        url = parse_url(request["url"], limit_bytes=self._limits.egress.url_limit_bytes)
        handler = HttpHandler(self._service or service_for(context), self._policy, self._limits)
        effect = EffectRequest(
            sequence=0,
            task="main",
            ordinal=0,
            kind="http.fetch",
            target=target_of(request["method"], url),
            args=request,
        )
        answer = handler.perform(effect, context.run_id)
        value = _body(answer)
        if answer["status"] >= _FAILED:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            said = f"{answer['status']} {answer['reason']}: {shown[:_SHOWN_CHARACTERS]}"
            raise EffectFailure("HTTP_STATUS", said)
        return value


def _body(answer: dict[str, Any]) -> Any:
    """Return what a server said: JSON if it is, else text, else its bytes as base64."""
    body = answer["body"]
    kind = next((value for name, value in answer["headers"] if name == "content-type"), "")
    text = body if isinstance(body, str) else _text(body["base64"])
    if text is None:
        return body
    if "json" in kind:
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            return text
    return text


def _text(encoded: str) -> str | None:
    try:
        return base64.b64decode(encoded).decode()
    except UnicodeDecodeError:
        return None

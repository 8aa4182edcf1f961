"""Spans of OpenTelemetry (the extra `telemetry`): each request is one, in the trace of its caller.

Invariants:
- the trace of a request is what its `traceparent` says (W3C trace context), read by the same strict
  reader as `observe.trace`;
- a name or attribute is the template of a route, never a path that a client chose;
- which SDK and exporter get the spans is for the application to say; without one nothing happens.

Source: semantic conventions for HTTP spans, https://opentelemetry.io/docs/specs/semconv/http/.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import ClocheError
from cloche.web.middleware.observe import Trace, continue_trace
from cloche.web.router import METHODS

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

_SERVER_ERROR: Final = 500
_SCOPE: Final = "cloche.web"


class TelemetryMissingError(ClocheError):
    """The library for traces is not installed. State: nothing was set up."""

    code = "WEB_TELEMETRY_MISSING"
    blame = "environment"

    def __init__(self) -> None:
        super().__init__("spans need opentelemetry-api; install cloche[telemetry]")


def spans(provider: Any = None) -> Middleware:
    """Make each request a span; `context["trace"]` is its place, for requests that it makes.

    Args:
        provider: a `TracerProvider`; the global one if not given.

    Raises:
        TelemetryMissingError: opentelemetry-api is not installed.
    """
    if find_spec("opentelemetry") is None:
        raise TelemetryMissingError
    api = import_module("opentelemetry.trace")
    tracer = api.get_tracer(_SCOPE, tracer_provider=provider)

    async def middleware(request: Request, following: Next) -> Response:
        found = continue_trace(request)
        method = request.method if request.method in METHODS else "_OTHER"
        with tracer.start_as_current_span(
            method,
            context=_parent(api, found),
            kind=api.SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "url.scheme": request.scheme,
                "client.address": request.client,
            },
        ) as span:
            place = span.get_span_context()
            if place.is_valid:
                found = Trace(
                    f"{place.trace_id:032x}",
                    f"{place.span_id:016x}",
                    found.parent_id,
                    sampled=place.trace_flags.sampled,
                )
            request.context["trace"] = found
            response = await following(request)
            if request.template:
                span.update_name(f"{method} {request.template}")
                span.set_attribute("http.route", request.template)
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= _SERVER_ERROR:
                span.set_status(api.StatusCode.ERROR)
                span.set_attribute("error.type", str(response.status))
            return response

    return middleware


def _parent(api: Any, found: Trace) -> Any:
    """Return the context of a request's caller; an empty one where it has none."""
    context = import_module("opentelemetry.context").Context()
    if not found.parent_id:
        return context
    place = api.SpanContext(
        int(found.trace_id, 16),
        int(found.parent_id, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(int(found.sampled)),
    )
    return api.set_span_in_context(api.NonRecordingSpan(place), context)

"""Spans of OpenTelemetry: one per request, in the trace of its caller."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from cloche.web.adapters import telemetry as module
from cloche.web.adapters.telemetry import TelemetryMissingError, spans
from cloche.web.app import App
from cloche.web.response import empty

from ..support import ask  # noqa: TID252 - the tests of a room are one package

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{}"


def traced(target, *, fields=(), method="GET"):
    """Return the spans of a request, and the header it would send on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = App()
    app.use(spans(provider))
    seen = []
    app.get("/items/:number")(lambda request, number: seen.append(request.context["trace"]))
    app.get("/broken")(lambda: empty(503))
    ask(app, method, target, fields=fields)
    return exporter.get_finished_spans(), seen


def test_a_request_is_a_span():
    """It is named by the route, and its attributes hold nothing that a client chose."""
    (span,), (trace,) = traced("/items/secret?q=secret")
    assert (span.name, span.kind, span.parent) == ("GET /items/:number", SpanKind.SERVER, None)
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "client.address": "192.0.2.1",
        "http.route": "/items/:number",
        "http.response.status_code": 204,
    }
    assert trace.header() == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def test_the_trace_of_the_caller():
    """Its id goes on, and the caller's span is the parent."""
    fields = [(b"traceparent", PARENT.format("01").encode())]
    (span,), (trace,) = traced("/items/1", fields=fields)
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:016x}" == trace.parent_id == "b7ad6b7169203331"


def test_a_caller_that_does_not_sample():
    """Nothing is recorded, and what is sent on says so."""
    fields = [(b"traceparent", PARENT.format("00").encode())]
    found, (trace,) = traced("/items/1", fields=fields)
    assert (found, trace.sampled) == ((), False)


def test_failures():
    """A status of 500 and more is an error, and no route or method of a client's is a name."""
    (span,), _ = traced("/broken")
    assert span.status.status_code is StatusCode.ERROR
    (span,), _ = traced("/none", method="SECRET")
    assert (span.name, span.status.status_code) == ("_OTHER", StatusCode.ERROR)
    (span,), _ = traced("/none")
    assert (span.name, span.status.status_code) == ("GET", StatusCode.UNSET)


def test_without_the_library(monkeypatch):
    """It is said what to install."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(TelemetryMissingError, match="install"):
        spans()

"""Metrics and traces."""

from __future__ import annotations

import pytest

from cloche.web.adapters.fixture import FixtureServices
from cloche.web.middleware.observe import Metrics, metrics, trace
from cloche.web.response import empty

from .support import ask, wrapped

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


def test_metrics():
    """Requests are counted by route and status, their times in buckets that add up."""
    numbers = Metrics()
    seen = []

    def handler(request):
        seen.append(numbers.in_flight)
        request.services.time_ns += int(request.header("x")) * 1000
        return empty()

    app = wrapped(handler, metrics(numbers))
    for microseconds in (b"1000", b"1001", b"20000000"):
        ask(app, fields=[(b"x", microseconds)])
    ask(app, target="/a" * 100)
    ask(app, "BREW")
    assert (seen, numbers.in_flight) == ([1, 1, 1], 0)
    response = numbers.response()
    assert response.get(b"content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    text = response.body.decode()
    assert text == numbers.render().decode()
    name = 'http_request_duration_seconds_bucket{method="GET",route="/",le='
    for line in (
        'http_requests_total{method="GET",route="/",status="204"} 3',
        'http_requests_total{method="GET",route="none",status="404"} 1',
        'http_requests_total{method="other",route="none",status="501"} 1',
        "http_requests_in_flight 0",
        name + '"0.001"} 1',
        name + '"0.0025"} 2',
        name + '"10"} 2',
        name + '"+Inf"} 3',
        'http_request_duration_seconds_sum{method="GET",route="/"} 20.002001000',
        'http_request_duration_seconds_count{method="GET",route="/"} 3',
    ):
        assert line in text.splitlines()


def test_metrics_of_what_raises():
    """A failure of middleware inside is counted too."""

    async def broken(request, following):
        raise ValueError

    numbers = Metrics()
    ask(wrapped(empty, metrics(numbers), broken))
    assert b'route="none",status="500"} 1' in numbers.render()


def test_routes_are_escaped():
    """A quote in a template does not end its label."""
    numbers = Metrics()
    numbers.observe("GET", '/"\\', 200, 0)
    assert b'route="/\\"\\\\",status' in numbers.render()


def traced(value=None, **options):
    """Return the trace of a request, and what was logged."""
    services = FixtureServices(**options)
    fields = [] if value is None else [(b"traceparent", value)]
    kept = []
    ask(
        wrapped(lambda request: kept.append(request.context["trace"]), trace()),
        fields=fields,
        services=services,
    )
    return kept[0], services.records


@pytest.mark.parametrize(("flags", "sampled"), [(b"01", True), (b"00", False), (b"03", True)])
def test_a_trace_goes_on(flags, sampled):
    """The trace stays, the span is new, and what is not sampled is not logged."""
    found, records = traced(b"00-" + TRACE + b"-" + SPAN + b"-" + flags)
    assert (found.trace_id.encode(), found.parent_id.encode()) == (TRACE, SPAN)
    assert found.span_id.encode() != SPAN
    assert found.sampled is sampled
    assert found.header() == f"00-{found.trace_id}-{found.span_id}-{'01' if sampled else '00'}"
    assert [record["event"] for record in records] == ["span"] * sampled


def test_a_later_version():
    """What a later version adds behind is passed over."""
    found, _ = traced(b"01-" + TRACE + b"-" + SPAN + b"-01-more")
    assert found.trace_id.encode() == TRACE


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-" + TRACE + b"-" + SPAN,
        b"00-" + TRACE + b"-" + SPAN + b"-01-more",
        b"ff-" + TRACE + b"-" + SPAN + b"-01",
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"00-" + TRACE.upper() + b"-" + SPAN + b"-01",
    ],
)
def test_a_trace_begins(value):
    """Without a valid header a request is the root of its own trace."""
    found, records = traced(value)
    assert found.parent_id == ""
    assert found.trace_id.encode() != TRACE
    assert (len(found.trace_id), len(found.span_id), found.sampled) == (32, 16, True)
    assert records[0]["name"] == "GET /"

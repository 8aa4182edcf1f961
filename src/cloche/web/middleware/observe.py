"""Numbers for Prometheus, and the trace that a request belongs to (W3C trace context).

Invariants:
- a label is the template of a route, its method or its status, never text that a client chose, so
  the number of series is bounded by the application;
- a trace header that is malformed is as if it were not there.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.web.response import data
from cloche.web.router import METHODS

if TYPE_CHECKING:
    from cloche.web.app import Middleware, Next
    from cloche.web.request import Request
    from cloche.web.response import Response

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_MS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
_NS_PER_MS: Final = 1_000_000
_MS_PER_S: Final = 1000
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VERSION: Final = "00"
_ZERO: Final = re.compile(r"0+")


class Metrics:
    """Counts of requests and a histogram of their times, by route. For one event loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._sums_ns: dict[tuple[str, str], int] = {}

    def observe(self, method: str, template: str, status: int, duration_ns: int) -> None:
        """Count one request."""
        key = (method, template, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        place = (method, template)
        buckets = self._buckets.setdefault(place, [0] * (len(BOUNDS_MS) + 1))
        buckets[bisect_left(BOUNDS_MS, duration_ns / _NS_PER_MS)] += 1
        self._sums_ns[place] = self._sums_ns.get(place, 0) + duration_ns

    def render(self) -> bytes:
        """Return all numbers in the text format of Prometheus, in a fixed order."""
        lines = [
            "# HELP http_requests_total Requests that were answered.",
            "# TYPE http_requests_total counter",
        ]
        for (method, template, status), count in sorted(self._counts.items()):
            labels = f'{_labels(method, template)},status="{status}"'
            lines.append(f"http_requests_total{{{labels}}} {count}")
        lines += [
            "# HELP http_requests_in_flight Requests that are being answered.",
            "# TYPE http_requests_in_flight gauge",
            f"http_requests_in_flight {self.in_flight}",
            "# HELP http_request_duration_seconds Time until a response began.",
            "# TYPE http_request_duration_seconds histogram",
        ]
        for place, buckets in sorted(self._buckets.items()):
            lines += self._histogram(_labels(*place), buckets, self._sums_ns[place])
        return ("\n".join(lines) + "\n").encode()

    def _histogram(self, labels: str, buckets: list[int], sum_ns: int) -> list[str]:
        lines, total = [], 0
        for bound, count in zip((*BOUNDS_MS, None), buckets, strict=True):
            total += count
            shown = "+Inf" if bound is None else f"{bound / _MS_PER_S:g}"
            name = f'http_request_duration_seconds_bucket{{{labels},le="{shown}"}}'
            lines.append(f"{name} {total}")
        seconds = sum_ns / (_NS_PER_MS * _MS_PER_S)
        lines.append(f"http_request_duration_seconds_sum{{{labels}}} {seconds:.9f}")
        lines.append(f"http_request_duration_seconds_count{{{labels}}} {total}")
        return lines

    def response(self) -> Response:
        """Return all numbers as a response, for a route of the application."""
        return data(self.render(), content_type=EXPOSITION)


def metrics(numbers: Metrics) -> Middleware:
    """Count each request in some metrics; what raises counts as 500."""

    async def middleware(request: Request, following: Next) -> Response:
        started_ns = request.services.monotonic_ns()
        numbers.in_flight += 1
        status = 500
        try:
            response = await following(request)
            status = response.status
        finally:
            numbers.in_flight -= 1
            method = request.method if request.method in METHODS else "other"
            duration_ns = request.services.monotonic_ns() - started_ns
            numbers.observe(method, request.template or "none", status, duration_ns)
        return response

    return middleware


class Trace(msgspec.Struct, frozen=True):
    """Where a request is in a trace: ids in hexadecimal. `parent_id` is empty at its root."""

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool

    def header(self) -> str:
        """Return the value of `traceparent` for requests that this one makes."""
        return f"{_VERSION}-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def trace() -> Middleware:
    """Give each request `context["trace"]` and log its span when its response begins.

    Source: https://www.w3.org/TR/trace-context/
    """

    async def middleware(request: Request, following: Next) -> Response:
        found = continue_trace(request)
        request.context["trace"] = found
        started_ns = request.services.monotonic_ns()
        response = await following(request)
        if found.sampled:
            request.services.log(
                {
                    "event": "span",
                    "trace_id": found.trace_id,
                    "span_id": found.span_id,
                    "parent_id": found.parent_id,
                    "name": f"{request.method} {request.template}",
                    "status": response.status,
                    "duration_us": (request.services.monotonic_ns() - started_ns) // 1000,
                }
            )
        return response

    return middleware


def continue_trace(request: Request) -> Trace:
    """Return a new span of the trace that a request names, or of a new one."""
    span_id = request.services.random_bytes(8).hex()
    values = request.headers("traceparent")
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if (
        match is None
        or match[1] == "ff"
        or (match[1] == _VERSION and match[5] is not None)
        or _ZERO.fullmatch(match[2])
        or _ZERO.fullmatch(match[3])
    ):
        return Trace(request.services.random_bytes(16).hex(), span_id, "", sampled=True)
    return Trace(match[2], span_id, match[3], sampled=bool(int(match[4], 16) & 1))


def _labels(method: str, template: str) -> str:
    escaped = template.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'method="{method}",route="{escaped}"'

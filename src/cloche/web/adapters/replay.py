"""Recorded traffic against an application: the same requests, the same world, the same bytes?

Nothing waits and nothing is asked for: an application that needs more than its services, such as a
database, is told apart from one that answers differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cloche.web.adapters.fixture import BrokenOffError, SuspendedError, read_body, run_now
from cloche.web.encodings.errors import EncodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import HttpResponse, encode_response
from cloche.web.request import Request
from cloche.web.traffic import RepeatingServices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cloche.web.app import App
    from cloche.web.encodings.traffic import Exchange


class Replayed(msgspec.Struct, frozen=True):
    """One exchange, again. `problem` is empty where the bytes are those that were recorded."""

    method: str
    target: str
    status: int
    problem: str

    @property
    def is_same(self) -> bool:
        """Whether the bytes are the same."""
        return not self.problem


def replay(app: App, exchanges: Iterable[Exchange]) -> Iterator[Replayed]:
    """Yield what an application answers now to recorded requests, in order.

    The start hooks run before, and the stop hooks after.

    Raises:
        SuspendedError: a hook waits.
    """
    run_now(app.start())
    try:
        for exchange in exchanges:
            yield _again(app, exchange)
    finally:
        run_now(app.stop())


def _again(app: App, exchange: Exchange) -> Replayed:
    asked, recorded = exchange.pair.request, exchange.pair.response
    services = RepeatingServices(exchange.told)
    request = Request(
        method=asked.method.value,
        target=asked.target.decode("ascii"),
        fields=asked.headers.lines,
        body=asked.body,
        services=services,
        scheme="https" if exchange.is_secure else "http",
        client=exchange.client,
    )
    status = 0
    try:
        response = run_now(app.handle(request))
        status = response.status
        body = b"" if asked.method.value == "HEAD" else run_now(read_body(response))
        found = HttpResponse(status=status, headers=HeaderTable(response.fields), body=body)
        problem = "" if encode_response(found) == encode_response(recorded) else "other bytes"
        if problem and isinstance(recorded, HttpResponse):
            problem = _difference(recorded, found, services)
    except (BrokenOffError, SuspendedError, EncodeError) as failure:
        problem = failure.message
    return Replayed(asked.method.value, request.target, status, problem)


def _difference(recorded: HttpResponse, found: HttpResponse, services: RepeatingServices) -> str:
    """Return the first part that differs, in words."""
    if recorded.status != found.status:
        failures = [str(record["message"]) for record in services.records if "message" in record]
        reason = f" ({failures[0]})" if failures else ""
        return f"status {found.status}, recorded was {recorded.status}{reason}"
    if recorded.headers != found.headers:
        before, now = set(recorded.headers.lines), set(found.headers.lines)
        names = sorted({name.decode("ascii") for name, _ in before ^ now})
        return f"other fields: {', '.join(names) or 'their order'}"
    return f"another body: {len(found.body)} bytes, recorded were {len(recorded.body)}"

"""The sample application against what it promises: its OpenAPI document, and HTTP itself."""

from __future__ import annotations

import asyncio

import httplint
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from cloche.testing.web import sample_app
from cloche.web.adapters.asgi import AsgiApp
from cloche.web.adapters.fixture import FixtureServices, read_body
from cloche.web.adapters.static_files import MemoryFiles
from cloche.web.docs_page import add_docs
from cloche.web.http1.serializer import write_response
from cloche.web.middleware.transfer import conditional
from cloche.web.request import Request
from cloche.web.static import add_static

# One fails on purpose; of the other the document does not say that it takes forms alone.
LEFT_OUT = {"/broken", "/form"}


def documented():
    """Return the sample application with its document, and files."""
    app = sample_app()
    app.use(conditional())
    add_docs(app, title="sample", version="1")
    add_static(app, "/static", MemoryFiles({"a.css": b"p{}"}, mtime_ns=10**18))
    return app


SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", AsgiApp(documented()))
OPERATIONS = {
    f"{found.ok().method} {found.ok().path}": found.ok() for found in SCHEMA.get_all_operations()
}


def test_the_operations_are_there():
    """The tests below are not empty."""
    assert len(OPERATIONS) > 12
    assert {"get /items/{number}", "post /items"} <= set(OPERATIONS)


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if name.partition(" ")[2] not in LEFT_OUT]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_operation(name):
    """Valid and invalid requests are answered with statuses, types and bodies as documented."""

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=OPERATIONS[name].as_strategy())
    def law(case):
        case.call_and_validate()

    law()


def notes_of(method, target, fields=()):
    """Return what a strict reader says of the bytes of a response."""
    services = FixtureServices()
    given_ = [(b"host", b"a"), *fields]
    request = Request(method=method, target=target, fields=given_, services=services)

    async def run():
        response = await documented().handle(request)
        body = await read_body(response)
        dated = response.with_field(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")
        written = write_response(response.status, dated.fields, body, method=method)
        return response.status, written

    status, written = asyncio.run(run())
    head, _, body = written.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    linter = httplint.HttpResponseLinter()
    linter.process_response_topline(b"HTTP/1.1", str(status).encode(), start.split(b" ", 2)[2])
    pairs = [tuple(line.split(b": ", 1)) for line in lines]
    linter.process_headers(pairs)
    linter.feed_content(body)
    linter.finish_content(True)
    return linter.notes


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET", "/", ()),
        ("GET", "/", ((b"if-none-match", b"*"),)),
        ("GET", "/items/7", ()),
        ("GET", "/items/7", ((b"range", b"bytes=0-3"),)),
        ("GET", "/none", ()),
        ("PUT", "/items", ()),
        ("OPTIONS", "/items", ()),
        ("GET", "/cookies", ()),
        ("GET", "/old", ()),
        ("GET", "/events", ()),
        ("GET", "/docs", ()),
        ("GET", "/static/a.css", ()),
        ("GET", "/static/a.css", ((b"range", b"bytes=9-"),)),
        ("GET", "/broken", ()),
    ],
)
def test_httplint(method, target, fields):
    """Nothing in a response is bad HTTP."""
    notes = notes_of(method, target, fields)
    bad = [note for note in notes if note.level is httplint.note.levels.BAD]
    assert [str(note.summary) for note in bad] == []


def test_httplint_finds_something():
    """The reader above reads: what is wrong is said."""
    linter = httplint.HttpResponseLinter()
    linter.process_response_topline(b"HTTP/1.1", b"200", b"OK")
    linter.process_headers([(b"Date", b"yesterday"), (b"Content-Length", b"x")])
    linter.finish_content(True)
    assert [note for note in linter.notes if note.level is httplint.note.levels.BAD]

"""Request ids, the access log, errors, time and size."""

from __future__ import annotations

import pytest

from cloche.web.adapters.fixture import FixtureServices
from cloche.web.errors import SettingError
from cloche.web.middleware.basics import access_log, body_limit, catch_errors, request_id, timeout
from cloche.web.response import stream

from .support import ask, wrapped


def test_request_ids():
    """Each request has an id of its own, known to the handler and told to the client."""
    app = wrapped(lambda request: request.context["request_id"], request_id())
    services = FixtureServices()
    first = ask(app, services=services, fields=[(b"x-request-id", b"mine")])
    second = ask(app, services=services)
    assert first.get(b"x-request-id") == first.body != b"mine"
    assert len(first.body) == 32
    assert first.body != second.body


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (b"a-B_9.", True),
        (b"a" * 64, True),
        (b"a" * 65, False),
        (b"", False),
        (b"a b", False),
        (b"\xe4", False),
    ],
)
def test_trusted_request_ids(sent, taken):
    """An id from a proxy is taken over where it is a short word."""
    app = wrapped(lambda: "", request_id(trusted=True))
    assert (ask(app, fields=[(b"x-request-id", sent)]).get(b"x-request-id") == sent) is taken


def test_access_log():
    """One record for each request, without query, cookies and body."""

    def handler(request):
        request.services.time_ns += 1_500_000
        return "hello"

    services = FixtureServices()
    services.time_ns += 5_000_000_000
    app = wrapped(handler, request_id(), access_log())
    response = ask(app, target="/?secret=1", services=services)
    (record,) = services.records
    assert record == {
        "event": "request",
        "method": "GET",
        "path": "/",
        "template": "/",
        "status": 200,
        "duration_us": 1500,
        "body_bytes": 5,
        "client": "192.0.2.1",
        "request_id": response.get(b"x-request-id").decode(),
    }


def test_access_log_of_streams():
    """The size of a stream is not known unless it was said."""
    services = FixtureServices()
    ask(wrapped(lambda: stream([b"a"]), access_log()), services=services)
    assert services.records[0]["body_bytes"] is None


def test_errors_are_seen_by_what_is_outside():
    """What middleware raises is a response for the middleware around it."""

    async def broken(request, following):
        raise ValueError("secret")

    services = FixtureServices()
    app = wrapped(lambda: "", request_id(), access_log(), catch_errors(), broken)
    response = ask(app, services=services)
    identity = response.get(b"x-request-id")
    assert response.status == 500
    assert identity in response.body
    assert b"secret" not in response.body
    assert [record["event"] for record in services.records] == ["failure", "request"]


def test_timeouts():
    """A handler that is stopped is answered with 504."""

    class Late(FixtureServices):
        async def within(self, work, timeout_ms):
            work.close()
            raise TimeoutError(timeout_ms)

    app = wrapped(lambda: "in time", timeout(50))
    assert ask(app).body == b"in time"
    assert ask(app, services=Late()).status == 504


@pytest.mark.parametrize(("size", "status"), [(0, 200), (10, 200), (11, 413)])
def test_body_limit(size, status):
    """A body is refused by its stated length, and by what it is."""
    app = wrapped(lambda: "", body_limit(10))
    assert ask(app, "POST", body=b"x" * size).status == status
    assert ask(app, "POST", fields=[(b"content-length", b"%d" % size)]).status == status


@pytest.mark.parametrize("make", [lambda: timeout(0), lambda: body_limit(-1)])
def test_settings(make):
    """Settings without sense are found at once."""
    with pytest.raises(SettingError):
        make()


def test_the_least_settings():
    """A body of no bytes, and a time of one millisecond, can be asked for."""
    assert ask(wrapped(lambda: "", body_limit(0)), "POST", body=b"x").status == 413
    assert ask(wrapped(lambda: "", body_limit(0), timeout(1))).status == 200

"""The deterministic adapter: pinned bytes in and out, recorded and replayed."""

from __future__ import annotations

import pytest
from tests.web.support import NOT_SENDABLE

from cloche.web.adapters.fixture import (
    BrokenOffError,
    Cassettes,
    FixtureCallError,
    FixtureServices,
    record_v1,
    run_v1,
)
from cloche.web.app import App
from cloche.web.encodings.cassette import decode_cassette
from cloche.web.encodings.errors import DecodeError
from cloche.web.encodings.headers import HeaderTable
from cloche.web.encodings.messages import (
    HttpFailure,
    HttpRequest,
    HttpResponse,
    Method,
    decode_response,
    encode_request,
    encode_response,
)
from cloche.web.response import Response, stream


def build():
    """Return an application that uses all that could differ between two runs."""
    app = App()

    @app.get("/now")
    def now(request):
        services = request.services
        return [services.now_ns(), services.monotonic_ns(), services.random_bytes(40).hex()]

    @app.get("/stream")
    def pieces():
        async def produce():
            yield b"a"
            yield b"b"

        return stream(produce())

    return app


def request(target, method=Method.GET):
    """Return the bytes of a request."""
    headers = HeaderTable(((b"host", b"a"),))
    return encode_request(HttpRequest(method=method, target=target, headers=headers))


def test_the_same_bytes_twice():
    """An application answers a cassette with the bytes that were recorded."""
    for target in (b"/now", b"/stream", b"/none"):
        cassette = record_v1(build(), request(target))
        assert run_v1(build(), cassette) == encode_response(decode_cassette(cassette).response)


def test_what_is_recorded():
    """Streams are read to their end, and HEAD has no body."""
    answer = decode_response(run_v1(build(), record_v1(build(), request(b"/stream"))))
    assert isinstance(answer, HttpResponse)
    assert answer.body == b"ab"
    head = decode_cassette(record_v1(build(), request(b"/stream", Method.HEAD))).response
    assert head == HttpResponse(status=200, headers=answer.headers)


@pytest.mark.parametrize("method", [Method.GET, Method.HEAD])
@pytest.mark.parametrize(("response", "problem"), NOT_SENDABLE)
def test_a_response_that_cannot_be_sent(response, problem, method):
    """The answer is 500 as the server's is, and what is wrong is in the log."""
    app, services = App(), FixtureServices()
    app.get("/")(lambda: response)
    answer = decode_response(run_v1(app, record_v1(app, request(b"/", method)), services))
    assert (answer.status, b'"INTERNAL"' in answer.body) == (500, method is Method.GET)
    (record,) = services.records
    assert (record["event"], record["template"]) == ("failure", "/")
    assert problem in record["message"]


def test_a_stream_that_is_not_sent_is_given_back():
    """Nothing of it is read, neither for HEAD nor where it is refused; it is closed."""
    told = []

    class Pieces:
        def __aiter__(self):
            told.append("read")
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            told.append("closed")

    app = App()
    app.get("/")(lambda: stream(Pieces()))
    app.get("/none")(lambda: stream(Pieces(), status=204))
    for target, method, status in ((b"/", Method.HEAD, 200), (b"/none", Method.GET, 500)):
        answer = decode_cassette(record_v1(app, request(target, method))).response
        assert (answer.status, told) == (status, ["closed"])
        told.clear()


def _fails():
    yield b"ab"
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("pieces", "length", "sent_bytes", "problem"),
    [
        (_fails, None, 2, "the stream raised KeyError: 'gone'"),
        (_fails, 2, 2, "the stream raised KeyError: 'gone'"),
        (lambda: [b"ab", "c"], None, 2, "the stream raised TypeError: "),
        (lambda: [b"ab"], 3, 2, "3 were said, and these are all"),
        (lambda: [b"ab", b"cd"], 3, 2, "3 were said, and more come"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_the_server_breaks_off(pieces, length, sent_bytes, problem, is_async):
    """It is an error that says so, for the head was sent before; the stream is closed."""
    closed = []

    async def produce():
        try:
            for piece in pieces():
                yield piece
        finally:
            closed.append(True)

    app = App()
    app.get("/")(lambda: stream(produce() if is_async else pieces(), length=length))
    with pytest.raises(BrokenOffError) as raised:
        record_v1(app, request(b"/"))
    begins = f"the response 200 is broken off behind {sent_bytes} bytes of its body: {problem}"
    assert raised.value.message.startswith(begins)
    assert closed == [True] * is_async
    is_raised = problem.startswith("the stream")
    assert (raised.value.__cause__ is not None) == is_raised
    # Where nothing of the body is asked for, nothing of it can fail.
    head = decode_cassette(record_v1(app, request(b"/", Method.HEAD))).response
    assert head.status == 200


def test_a_stream_as_long_as_was_said():
    """It is the body."""
    app = App()
    app.get("/")(lambda: stream([b"ab", b"c"], length=3))
    assert decode_cassette(record_v1(app, request(b"/"))).response.body == b"abc"


def test_fields_are_as_they_arrive():
    """The server writes names in any case, and values with space around them; so do fixtures."""
    app = App()
    app.get("/")(lambda: Response(200, [[b"X-One", b" a "]], b""))
    answer = decode_cassette(record_v1(app, request(b"/"))).response
    assert answer == HttpResponse(status=200, headers=HeaderTable(((b"x-one", b"a"),)))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((None, b""), "an App of cloche.web first, not NoneType"),
        ((build, b""), "an App of cloche.web first, not function"),
        ((App(), None), "a blob as bytes second, not NoneType"),
        ((App(), "X7WC"), "a blob as bytes second, not str"),
        ((App(), b"", 1), "FixtureServices or nothing third, not int"),
    ],
)
def test_calls_with_other_types(arguments, problem):
    """The error says which argument, what was expected, and what was found."""
    for function in (run_v1, record_v1):
        with pytest.raises(FixtureCallError) as caught:
            function(*arguments)
        assert caught.value.message == f"{function.__name__} takes {problem}"


def test_replay():
    """Each recorded pair answers once, in order; then the failure 2009, the same for ever."""
    app = build()
    first = record_v1(app, request(b"/stream"))
    second = record_v1(app, request(b"/none"))
    cassettes = Cassettes([first, second, first])
    recorded = encode_response(decode_cassette(first).response)
    assert cassettes.answer_v1(request(b"/stream")) == recorded
    assert cassettes.answer_v1(request(b"/stream")) == recorded
    assert decode_response(cassettes.answer_v1(request(b"/stream"))) == HttpFailure(
        number=2009, message="no cassette is left for GET /stream"
    )
    with pytest.raises(DecodeError):
        cassettes.answer_v1(b"")


def test_randomness_follows_from_the_seed():
    """Two fixtures with one seed draw the same, and with another something else."""
    one, same, other = FixtureServices(1), FixtureServices(1), FixtureServices(2)
    drawn = [one.random_bytes(5), one.random_bytes(70)]
    assert drawn == [same.random_bytes(5), same.random_bytes(70)]
    assert drawn[0] != drawn[1][:5] != other.random_bytes(5)
    assert len(drawn[1]) == 70


def test_time_stands_still():
    """A fixture begins at its own beginning, and moves when it is moved."""
    services = FixtureServices()
    assert services.monotonic_ns() == 0
    services.time_ns += 7
    assert (services.monotonic_ns(), services.now_ns()) == (7, 1_700_000_000_000_000_007)

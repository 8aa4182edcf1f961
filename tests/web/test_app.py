"""The application: handlers, parameters, errors, middleware, sub-applications, hooks."""

from __future__ import annotations

import json
import re
from typing import Literal

import msgspec
import pytest

from cloche.web.adapters.fixture import FixtureServices, SuspendedError, run_now
from cloche.web.app import App
from cloche.web.errors import ForbiddenError, RouteError
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time
from cloche.web.response import Response, text

from .support import Pieces, ask, body_of


class Item(msgspec.Struct):
    """A body for tests."""

    name: str
    count: int = 1


def shop():  # noqa: C901 - a list of handlers, none with a branch
    """Return an application with one handler of each kind."""
    app = App()

    @app.get("/")
    def home():
        return "home"

    @app.get("/items/:number")
    async def item(number: int, request: Request):
        return {"number": number, "host": request.host}

    @app.post("/items")
    def add(item: Item):
        return item

    @app.get("/search")
    def search(
        q: str,
        page: int = 1,
        tag: list[str] | None = None,
        sort: Literal["up", "down"] = "up",
        *,
        deep: bool = False,
    ):
        return [q, page, tag, sort, deep]

    @app.get("/tags")
    def tags(tag: list[int]):
        return tag

    @app.delete("/items/:number")
    def remove(number: int):
        return None

    @app.get("/refused")
    def refused():
        raise ForbiddenError(problem="not today")

    @app.get("/broken")
    def broken():
        raise ValueError("the password is 1234")

    @app.get("/bytes")
    def raw():
        return b"\x00"

    @app.get("/odd")
    def odd():
        return object()

    @app.post("/echo")
    async def echo(request):
        return await request.read_all(10)

    return app


APP = shop()


def document(response):
    """Return the error document of a response."""
    assert response.get(b"content-type") == b"application/json"
    return json.loads(response.body)


@pytest.mark.parametrize(
    ("method", "target", "status", "content_type", "body"),
    [
        ("GET", "/", 200, b"text/plain; charset=utf-8", b"home"),
        ("HEAD", "/", 200, b"text/plain; charset=utf-8", b"home"),
        ("GET", "/items/7", 200, b"application/json", b'{"host":"","number":7}'),
        ("GET", "/search?q=a", 200, b"application/json", b'["a",1,null,"up",false]'),
        (
            "GET",
            "/search?q=%C3%B6&page=2&sort=down&deep=true&q=b",
            200,
            b"application/json",
            '["ö",2,null,"down",true]'.encode(),
        ),
        ("GET", "/tags?tag=1&tag=2", 200, b"application/json", b"[1,2]"),
        ("DELETE", "/items/7", 204, None, b""),
        ("GET", "/bytes", 200, b"application/octet-stream", b"\x00"),
    ],
)
def test_answers(method, target, status, content_type, body):
    """Parameters come as their types, and values become responses by theirs."""
    response = ask(APP, method, target)
    assert (response.status, response.get(b"content-type")) == (status, content_type)
    assert body_of(response) == body


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/none", 404, "WEB_NOT_FOUND"),
        ("PUT", "/items", 405, "WEB_METHOD_NOT_ALLOWED"),
        ("BREW", "/items", 501, "WEB_METHOD_UNKNOWN"),
        ("GET", "/%zz", 400, "WEB_BAD_REQUEST"),
        ("GET", "/items/x", 422, "WEB_VALIDATION"),
        ("GET", "/search", 422, "WEB_VALIDATION"),
        ("GET", "/search?q=a&page=x", 422, "WEB_VALIDATION"),
        ("GET", "/search?q=a&sort=left", 422, "WEB_VALIDATION"),
        ("GET", "/search?q=%", 400, "WEB_BAD_REQUEST"),
        ("GET", "/tags?tag=x", 422, "WEB_VALIDATION"),
        ("GET", "/refused", 403, "WEB_FORBIDDEN"),
        ("GET", "/odd", 500, "INTERNAL"),
    ],
)
def test_errors_have_one_document(method, target, status, code):
    """Whatever goes wrong, the answer is the error document with its status."""
    response = ask(APP, method, target)
    assert response.status == status
    found = document(response)
    assert found["code"] == code
    assert sorted(found) == ["blame", "code", "fields", "message", "retryable"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (b"application/json", b'{"name":"a"}', 200),
        (b"Application/JSON; charset=utf-8", b'{"name":"a","count":2}', 200),
        (b"application/vnd.x+json", b'{"name":"a"}', 200),
        (b"text/plain", b'{"name":"a"}', 415),
        (b"", b'{"name":"a"}', 415),
        (b"application/json", b'{"name":1}', 422),
        (b"application/json", b"{}", 422),
        (b"application/json", b'{"name":', 400),
        (b"application/json", b"", 400),
        (b"application/json", b'{"name":"\xff"}', 400),
        (b"application/json", b"[" * 100_000, 422),
    ],
)
def test_bodies(content_type, body, status):
    """A typed body is JSON of that type, said to be JSON."""
    fields = [(b"content-type", content_type)] if content_type else []
    assert ask(APP, "POST", "/items", fields=fields, body=body).status == status


def test_a_failure_is_told_to_the_log_alone():
    """What a handler raises by accident is in the log, and not a word of it in the answer."""
    services = FixtureServices()
    response = ask(APP, target="/broken", services=services)
    assert response.status == 500
    assert b"1234" not in response.body
    (record,) = services.records
    where = record.pop("where")
    assert record == {
        "event": "failure",
        "method": "GET",
        "template": "/broken",
        "type": "ValueError",
        "message": "the password is 1234",
    }
    assert len(where) <= 5
    assert re.fullmatch(r".*test_app\.py:\d+ in .*broken", where[-1])


def test_a_failure_that_is_deep():
    """The log has its innermost lines."""

    def deeper():
        return deeper()

    app = App()
    app.add("GET", "/", deeper)
    services = FixtureServices()
    assert ask(app, services=services).status == 500
    (record,) = services.records
    assert record["type"] == "RecursionError"
    assert [line.rpartition(".")[2] for line in record["where"]] == ["deeper"] * 5


def test_streamed_bodies():
    """A body in pieces is read with the limit of whoever reads it."""
    assert ask(APP, "POST", "/echo", body=Pieces(b"hello", b"world")).body == b"helloworld"
    assert ask(APP, "POST", "/echo", body=Pieces(b"hello", b"world", b"!")).status == 413
    assert ask(APP, "POST", "/echo", body=b"hello world").status == 413


def test_options():
    """OPTIONS tells what a path answers, and `*` what the server answers."""
    response = ask(APP, "OPTIONS", "/items/7")
    assert (response.status, response.get(b"allow")) == (204, b"DELETE, GET, HEAD, OPTIONS")
    assert ask(APP, "OPTIONS", "*").get(b"allow").startswith(b"DELETE, GET")
    assert ask(APP, "OPTIONS", "/none").status == 404


def mark(name):
    """Return middleware that writes its name around what is inside."""

    async def middleware(request, following):
        response = await following(request)
        return text(f"{name}({response.body.decode()})", response.status)

    return middleware


def test_middleware_order():
    """What is put first is outermost, and sees what the router answers."""
    app = App()
    app.use(mark("a"))
    app.use(mark("b"))
    app.add("GET", "/", lambda: "x", middleware=(mark("c"),))
    assert ask(app).body == b"a(b(c(x)))"
    assert ask(app, target="/none").body.startswith(b"a(b({")


def test_middleware_that_fails():
    """An error of middleware is answered like one of a handler."""
    app = App()

    async def refuse(request, following):
        raise ForbiddenError(problem="no")

    app.use(refuse)
    assert ask(app).status == 403


def test_sub_applications():
    """Routes, middleware and hooks of another application, below a prefix."""
    inner, middle, outer = App(), App(), App()
    inner.use(mark("inner"))
    inner.add("GET", "/", lambda: "root")
    inner.add("GET", "/:name", lambda name: name)
    middle.use(mark("middle"))
    middle.mount("/in", inner)
    outer.use(mark("outer"))
    outer.mount("/mid", middle)
    assert ask(outer, target="/mid/in").body == b"outer(middle(inner(root)))"
    assert ask(outer, target="/mid/in/7").body == b"outer(middle(inner(7)))"
    for prefix in ("", "x", "/x/"):
        with pytest.raises(RouteError):
            App().mount(prefix, inner)
    with pytest.raises(RouteError):
        outer.mount("/mid", middle)


def test_hooks():
    """Start hooks run in order, stop hooks in reverse and all of them."""
    app, seen = App(), []

    def hook(name, fails=False):
        async def run(state):
            seen.append(name)
            state[name] = True
            if fails:
                raise ValueError(name)

        return run

    app.on_start(hook("a"))
    app.on_start(hook("b"))
    app.on_stop(hook("c"))
    app.on_stop(hook("d", fails=True))
    run_now(app.start())
    with pytest.raises(ValueError, match="d"):
        run_now(app.stop())
    assert seen == ["a", "b", "d", "c"]
    assert list(app.state) == seen


def test_closed_for_additions():
    """After the first request the application does not change."""
    app = App()
    ask(app)
    with pytest.raises(RouteError):
        app.get("/x")(lambda: "")
    with pytest.raises(RouteError):
        app.use(mark("x"))


@pytest.mark.parametrize(
    ("template", "handler"),
    [
        ("/:id", lambda: ""),
        ("/", lambda *rest: ""),
        ("/", lambda **rest: ""),
        ("/", lambda a, /: ""),
    ],
)
def test_signatures_that_are_refused(template, handler):
    """A handler that cannot be called is found when it is added."""
    with pytest.raises(RouteError):
        App().add("GET", template, handler)


def test_types_that_are_refused():
    """Parameters are text, numbers, lists of them, or one body."""

    def two(a: Item, b: Item):
        return None

    def strange(a: dict):
        return None

    def path(name: list[str]):
        return None

    for template, handler in (("/", two), ("/", strange), ("/:name", path)):
        with pytest.raises(RouteError):
            App().add("GET", template, handler)


def test_a_handler_that_waits():
    """In a fixture nothing can be waited for, and that is said."""

    class Never:
        def __await__(self):
            yield

    app = App()

    @app.get("/")
    async def wait():
        await Never()

    with pytest.raises(SuspendedError):
        ask(app)


def test_responses_do_not_change():
    """Adding a field makes another response."""
    response = text("a")
    other = response.with_field(b"x", b"1").with_fields(((b"x", b"2"),)).replacing(b"x", b"3")
    assert response == text("a")
    assert other == Response(200, (*response.fields, (b"x", b"3")), b"a")


def test_each_method():
    """Each decorator adds a handler for its method."""
    app = App()
    for method in ("get", "post", "put", "patch", "delete"):
        getattr(app, method)("/")(lambda request: request.method)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert ask(app, method).body == method.encode()


def test_wrapping():
    """What wraps is outside of all that was there, and closed with the rest."""
    app = App()
    seen = []

    def noting(name):
        async def note(request, following):
            seen.append(name)
            return await following(request)

        return note

    app.use(noting("inner"))
    app.wrap(noting("outer"))
    app.get("/")(lambda: "done")
    assert ask(app).body == b"done"
    assert seen == ["outer", "inner"]
    with pytest.raises(RouteError):
        app.wrap(noting("late"))


def test_what_is_no_middleware_and_no_application():
    """Is refused where it is added, not with every request."""
    for add in (App().use, App().wrap):
        with pytest.raises(RouteError) as refused:
            add("cors")
        assert str(refused.value) == (
            "route middleware: str is no async function of a request and what follows"
        )
    with pytest.raises(RouteError) as refused:
        App().mount("/x", "shop")
    assert str(refused.value) == "route /x: str is no App"

"""The OpenAPI document says what the routes answer."""

from __future__ import annotations

import json
from typing import Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator

from cloche.web.app import App
from cloche.web.errors import SettingError
from cloche.web.openapi import describe, render
from cloche.web.request import Request  # noqa: TC001 - signatures are read at run time

from .support import ask


class Item(msgspec.Struct):
    """Something to sell."""

    name: str
    tags: list[str] = []


def shop():
    """Return an application with typed routes."""
    app = App()

    @app.get("/items/:number")
    def find(number: int, sort: Literal["up", "down"] = "up", limit: int | None = None) -> Item:
        """Find an item.

        By its number.
        """
        return Item(name=f"{number} {sort} {limit}")

    @app.post("/items")
    def add(item: Item) -> list[Item]:
        return [item]

    @app.get("/files/*path")
    def file(request: Request) -> str:
        return request.params["path"]

    @app.route("PURGE", "/items")
    def purge():
        return None

    return app


def document(app=None):
    """Return the document of an application, read back from its bytes."""
    return json.loads(render(describe(app or shop(), title="Shop", version="1")))


def test_routes():
    """Paths, methods, parameters, bodies, results."""
    found = document()
    assert (found["openapi"], found["info"]) == ("3.1.0", {"title": "Shop", "version": "1"})
    assert {path: sorted(each) for path, each in found["paths"].items()} == {
        "/items/{number}": ["get"],
        "/items": ["post"],
        "/files/{path}": ["get"],
    }
    operation = found["paths"]["/items/{number}"]["get"]
    assert (operation["operationId"], operation["summary"]) == ("find", "Find an item.")
    assert operation["description"] == "Find an item.\n\nBy its number."
    assert operation["parameters"] == [
        {"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}},
        {
            "name": "sort",
            "in": "query",
            "required": False,
            "schema": {"enum": ["down", "up"], "default": "up"},
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    ]
    reference = {"$ref": "#/components/schemas/Item"}
    assert operation["responses"]["200"]["content"] == {"application/json": {"schema": reference}}
    added = found["paths"]["/items"]["post"]
    assert added["requestBody"]["content"]["application/json"]["schema"] == reference
    file = found["paths"]["/files/{path}"]["get"]
    assert file["parameters"][0]["name"] == "path"
    assert file["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}


def test_the_same_bytes():
    """Two builds give one document, sorted, with a line end."""
    one, two = (render(describe(shop(), title="a", version="1", servers=("/x",))) for _ in "ab")
    assert one == two
    assert one.endswith(b"}\n")
    assert json.loads(one)["servers"] == [{"url": "/x"}]
    assert list(json.loads(one)) == sorted(json.loads(one))


def test_answers_fit_the_document():
    """What the application answers, and its errors, are valid by the schemas of its document."""
    found = document()

    def check(response, schema):
        Draft202012Validator({**schema, "components": found["components"]}).validate(
            json.loads(response.body)
        )

    success = found["paths"]["/items/{number}"]["get"]["responses"]["200"]
    check(ask(shop(), target="/items/7"), success["content"]["application/json"]["schema"])
    failure = found["paths"]["/items/{number}"]["get"]["responses"]["default"]
    for target in ("/items/x", "/none", "/items/7?limit=x"):
        check(ask(shop(), target=target), failure["content"]["application/json"]["schema"])


def test_names_that_collide():
    """Two operations of one name, and a type with the name of the error, are refused."""
    app = App()
    app.add("GET", "/a", lambda: "")
    app.add("GET", "/b", lambda: "")
    with pytest.raises(SettingError):
        describe(app, title="", version="")

    class Error(msgspec.Struct):
        """A type with a taken name."""

    def give():
        return None

    give.__annotations__["return"] = Error
    other = App()
    other.add("GET", "/", give)
    with pytest.raises(SettingError):
        describe(other, title="", version="")


def test_an_empty_application():
    """No routes are no paths."""
    assert document(App())["paths"] == {}
